/**
 * What was held with a backup survives processes that are killed, stand still, leave and are replaced, or join: nobody's
 * read fails and nothing is lost. How long the reads take and how often the origin was called is printed here, and
 * judged by `npm run bench:copies`, which does the same for longer.
 */
import { afterEach, describe, expect, it } from 'vitest'
import { Crew, keysOf } from './crew.ts'
import { inMs, latencyText } from './figures.ts'
import { grown, killed, type Losses, restarted, rolled, stoodStill } from './scenarios.ts'

const PLAN = { name: 'copies', backups: 1, backupAcks: 0, valueBytes: 100 } as const
const KILLS = 2
const STILL_MS = 6_000
const RATE_BYTES = 1024 ** 2
const NOTHING = { failures: [], lost: [] }

let crew: Crew | undefined

afterEach(() => crew?.end())

async function crewOf(members: number, keys: readonly string[], more: object = {}): Promise<Crew> {
  crew = await Crew.open(members, { ...PLAN, ...more })
  await crew.fill(keys)
  return crew
}

/** A few of each, for a list of twenty thousand keys says no more. */
function lossesOf({ failures, lost }: Losses): Pick<Losses, 'failures' | 'lost'> {
  return { failures: failures.slice(0, 5), lost: lost.slice(0, 5) }
}

/** On a machine that is busy with other tests one of thousands may be made; `npm run bench:copies` demands none. */
function originText({ originCalls }: Losses): string {
  return `${originCalls.length} calls of the origin`
}

describe('what has a backup', () => {
  it('is there when its owner is killed, or stands still', async () => {
    const keys = keysOf(20_000)
    const five = await crewOf(5, keys)
    const load = { keys, readsPerSecond: 200, restMs: 500 }
    for (let i = 0; i < KILLS; i++) {
      const kill = await killed(five, load)
      console.log(
        `killed with SIGKILL: ${latencyText(kill.after)}; level ${inMs(kill.levelMs)} after a new one came; ${originText(kill)}`
      )
      expect(lossesOf(kill)).toEqual(NOTHING)
      expect(kill.after.calls).toBeGreaterThan(1_000)
    }
    const still = await stoodStill(five, load, STILL_MS)
    console.log(
      `stopped with SIGSTOP: ${latencyText(still.after)}; level ${inMs(still.levelMs)} after it went on, ` +
        `${originText(still)}; when ${still.own.failures.length} of its own reads failed and ${still.own.originCalls.length} called the origin`
    )
    expect(lossesOf(still)).toEqual(NOTHING)
  })

  it('is there when all are killed and replaced in turn, the next as soon as the mesh says that it is level', async () => {
    const keys = keysOf(5_000)
    const restart = await restarted(await crewOf(3, keys), { keys, readsPerSecond: 100, restMs: 0 }, 4)
    console.log(
      `killed in turn: level after ${restart.levelMs.map(inMs).join(', ')}; ${latencyText(restart.reads)}; ${originText(restart)}`
    )
    expect(lossesOf(restart)).toEqual(NOTHING)
  })

  it('is there when all leave and are replaced in turn, and so is what was written meanwhile', async () => {
    const keys = keysOf(5_000)
    const five = await crewOf(5, keys, { backupAcks: 1 })
    const roll = await rolled(five, { keys, readsPerSecond: 100, restMs: 300 }, 20)
    console.log(
      `replaced in turn: drained in ${roll.drainMs.map(inMs).join(', ')}; reads: ${latencyText(roll.reads)}; ` +
        `writes: ${latencyText(roll.writes)}; ${originText(roll)}`
    )
    expect(lossesOf(roll)).toEqual(NOTHING)
    expect(roll.writeFailures.slice(0, 5)).toEqual([])
    expect(roll.lostWrites).toEqual([])
    expect(roll.writes.calls).toBeGreaterThan(500)
  })

  it('moves to one that joins, as much as it should and no faster than it may', async () => {
    const keys = keysOf(5_000)
    const four = await crewOf(4, keys, { valueBytes: 1_000, transferRate: `${RATE_BYTES}b` })
    const grow = await grown(four, { keys, readsPerSecond: 100, restMs: 500 })
    console.log(
      `joined: ${(grow.shareMoved * 100).toFixed(1)} % of the keys moved, ${grow.rate.bytes} bytes in ` +
        `${inMs(grow.rate.tookMs)}, at most ${Math.round(grow.highest)} in a second of ${RATE_BYTES}; reads at rest: ${latencyText(grow.atRest)}; during: ${latencyText(grow.during)}; ${originText(grow)}`
    )
    expect(lossesOf(grow)).toEqual(NOTHING)
    expect(grow.shareMoved).toBeLessThanOrEqual(1.15 / 5)
    expect(grow.pulled).toBeGreaterThan(0)
  })
})
