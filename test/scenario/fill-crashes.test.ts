/**
 * The owner of a key, or the caller that loads it, crashes at every moment of a fill: after each event of the simulator
 * from the first get to the last answer. The origin is called at most twice for the key, and everybody else who waits
 * is served within the time of the call. Where there are copies and none has it, callers with loaders of their own do
 * not wait for a new owner: then each of the others calls it once.
 */
import { describe, expect, it } from 'vitest'
import { CALLER_MS_MAX, type Kind, Storm } from './storm.ts'
import { keyOf, times } from './story.ts'

const ORIGIN_MS = 40
const SIZE = 4
const MOMENTS = 25
const [OWNER, HOLDER] = [0, 1]
const SEED = 420

interface Walk {
  readonly kind: Kind
  readonly crashes: number
  readonly backups: number
}

let key: string | undefined

/** Member 1 asks first, and so is who loads by getOrSet; the others follow. */
async function begun({ kind, backups }: Walk): Promise<Storm> {
  const storm = new Storm(SEED, { size: SIZE, kind, backups, originMs: () => ORIGIN_MS })
  const { t } = storm
  await t.run('1s')
  key ??= keyOf(t, OWNER)
  const asked = key
  storm.read(HOLDER, asked)
  for (const ms of [5, 25])
    for (const index of times(SIZE, i => i)) {
      // A crashed process asks nothing.
      void t.sleep(ms).then(() => t.isAlive(index) && storm.read(index, asked))
    }
  return storm
}

async function measure(walk: Walk): Promise<number> {
  const storm = await begun(walk)
  const { world } = storm.t
  const before = world.steps
  const all = times(SIZE, i => i)
  while (storm.reads.length < 1 + 2 * SIZE || !Number.isFinite(storm.waitedMs(all))) await world.step()
  expect(storm.calls).toEqual([1])
  return world.steps - before
}

async function crashAfter(events: number, walk: Walk): Promise<Storm> {
  const storm = await begun(walk)
  for (let i = 0; i < events; i++) await storm.t.world.step()
  storm.t.crash(walk.crashes)
  await storm.t.run(CALLER_MS_MAX + 1_000)
  return storm
}

describe.each([
  ['load', 'the owner', OWNER, 1, 2],
  ['load', 'a caller', HOLDER, 1, 2],
  ['getOrSet', 'the owner', OWNER, 0, 2],
  ['getOrSet', 'the owner', OWNER, 1, 2],
  ['getOrSet', 'the caller that loads', HOLDER, 1, 2]
] as const)('%s: %s crashes at any moment', (kind, _, crashes, backups, most) => {
  it(`the origin is called ${most} times at most with ${backups} backups and everybody else is served`, async () => {
    const walk = { kind, crashes, backups }
    const events = await measure(walk)
    const others = times(SIZE, i => i).filter(index => index !== crashes)
    const wrong: string[] = []
    let waitedMs = 0
    let callsMax = 0
    // Copies make many more events of the same story: every few of them is looked at.
    const stride = Math.max(1, Math.floor(events / MOMENTS))
    for (let i = 0; i <= events; i += stride) {
      const storm = await crashAfter(i, walk)
      callsMax = Math.max(callsMax, storm.callsMax)
      waitedMs = Math.max(waitedMs, storm.waitedMs(others))
      if (storm.callsMax > most) wrong.push(`event ${i}: ${storm.callsMax} calls`)
      for (const each of new Set(storm.unserved(others))) wrong.push(`event ${i}: ${each}`)
    }
    console.log(
      `${kind}, member ${crashes} crashes: ${events + 1} moments, at most ${callsMax} calls and ${Math.round(waitedMs)} ms of waiting`
    )
    expect(wrong).toEqual([])
    expect(waitedMs).toBeLessThanOrEqual(CALLER_MS_MAX)
    expect(events).toBeGreaterThan(30)
  })
})
