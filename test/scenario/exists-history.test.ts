/**
 * Random histories: members that crash, stop, join and are split, while ids are added and filters are filled and
 * dropped. An id whose add or filling has been confirmed must be denied by nobody from then on, whatever happens.
 * Loads are never kept, so each get of each id asks a filter.
 */
import { describe, expect, it } from 'vitest'
import { seededRandom } from '../../lib/sim/random.ts'
import { type Cluster, cluster } from '../../lib/testing.ts'
import { mesh, orOurError, times } from './story.ts'

const SIZE = 5
const HISTORIES = Number(process.env.HISTORIES ?? 12)
const FIRST_SEED = Number(process.env.FIRST_SEED ?? 5_000)
const STEPS = 120

interface Counts {
  readonly wrong: string[]
  confirmed: number
  denials: number
  fills: number
  reads: number
}

async function history(seed: number): Promise<Counts> {
  const random = seededRandom(seed)
  const counts: Counts = { wrong: [], confirmed: 0, denials: 0, fills: 0, reads: 0 }
  const t: Cluster = cluster(SIZE, {
    seed,
    faults: { loss: 0, gossipLoss: 0.3 },
    start: member =>
      void member.cache('ids', {
        ttl: '1h',
        exists: { keys: 20_000 },
        load: (key: string, { store }) => {
          store(false)
          return `row of ${key}`
        }
      })
  })
  const ids = (index: number) => mesh(t, index).cache('ids', undefined) as never as ReturnType<typeof loading>
  const rows: string[] = times(50, i => `base:${i}`)
  const confirmed: string[] = []
  const running = new Set<number>(times(SIZE, i => i))
  const open = new Set<Promise<unknown>>()
  let next = 0
  let sides: number[][] = []
  let hasRestarted = false
  let fault = ''
  let healAt = 0
  const pick = <T>(list: readonly T[]): T => list[random.integer(list.length)] as T
  const begin = (work: Promise<unknown>): void => {
    const settled = orOurError(work).finally(() => open.delete(settled))
    open.add(settled)
  }

  await t.run('3s')
  for (let step = 0; step < STEPS; step++) {
    const by = pick([...running])
    const dice = random.float()
    if (dice < 0.4) {
      const fresh = times(1 + random.integer(3), () => `fresh:${next++}`)
      rows.push(...fresh)
      begin(
        ids(by)
          .exists.add(fresh)
          .then(() => confirmed.push(...fresh))
      )
    } else if (dice < 0.47) {
      const taken = [...rows]
      async function* keys(): AsyncGenerator<string> {
        for (const [i, key] of taken.entries()) {
          if (i % 40 === 0) await t.sleep(random.integer(200))
          yield key
        }
      }
      counts.fills++
      begin(
        ids(by)
          .exists.fill(keys(), { timeout: '15s' })
          .then(() => confirmed.push(...taken))
      )
    } else if (dice < 0.48) begin(ids(by).exists.clear())
    else if (dice < 0.56 && t.now > healAt) {
      if (fault !== '') {
        if (sides.length > 0) t.heal()
        if (fault.startsWith('pause')) t.resume(Number(fault.slice(6)))
        if (fault.startsWith('crash')) t.restart(Number(fault.slice(6)))
        for (let i = 0; i < SIZE; i++) running.add(i)
        sides = []
        hasRestarted = false
        fault = ''
      } else {
        const kind = random.integer(4)
        const victim = random.integer(SIZE)
        if (kind === 0) {
          const one = times(SIZE, i => i).filter(() => random.float() < 0.5)
          t.cut(
            one,
            times(SIZE, i => i).filter(i => !one.includes(i))
          )
          sides = [one, times(SIZE, i => i).filter(i => !one.includes(i))]
          fault = 'cut'
        } else if (kind === 1) {
          t.pause(victim)
          running.delete(victim)
          fault = `pause ${victim}`
        } else if (kind === 2) {
          t.crash(victim)
          running.delete(victim)
          fault = `crash ${victim}`
        } else t.disconnect(victim, (victim + 1) % SIZE)
      }
      healAt = t.now + 500 + random.integer(20_000)
    }
    // Who comes during a split knows of the other side only what one there tells it, or shows.
    if (sides.some(side => side.length > 1 && side.includes(by)) && !hasRestarted && random.float() < 0.1) {
      t.restart(by)
      hasRestarted = true
    }
    await t.run(random.integer(4) === 0 ? 2_000 : random.integer(300))
    const knows = [...confirmed]
    const asker = pick([...running])
    const wanted = [...times(Math.min(8, knows.length), () => pick(knows)), ...knows.slice(-4)]
    counts.reads += wanted.length
    const at = t.now
    for (const key of wanted)
      begin(
        ids(asker)
          .get(key)
          .then(value => {
            if (value === undefined) counts.wrong.push(`at ${at} member ${asker} was denied ${key} (${fault})`)
          })
      )
    begin(
      ids(asker)
        .get(`nowhere:${step}`)
        .then(value => {
          if (value === undefined) counts.denials++
        })
    )
  }
  t.heal()
  for (let i = 0; i < SIZE; i++) if (!running.has(i)) fault.startsWith('crash') ? t.restart(i) : t.resume(i)
  await t.run('40s')
  counts.confirmed = confirmed.length
  return counts
}

describe('whatever happens', () => {
  it.each(times(HISTORIES, i => FIRST_SEED + i))(
    'what is confirmed to exist is denied by nobody (seed %i)',
    async seed => {
      const { wrong, confirmed, denials, fills, reads } = await history(seed)
      console.log(JSON.stringify({ seed, confirmed, denials, fills, reads, wrong: wrong.length }))
      expect(wrong.slice(0, 5)).toEqual([])
    },
    120_000
  )
})

function loading(t: Cluster) {
  return mesh(t, 0).cache('ids', { ttl: '1h', load: (key: string): string | undefined => key })
}
