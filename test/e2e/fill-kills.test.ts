/**
 * A process is killed in the middle of fills: of some it is the owner and loads itself, of some it is the owner while
 * another loads, of some it is the one that loads for another owner. Whoever still lives gets the value within the time
 * of the call, and the origin is called at most twice for any key.
 *
 * Five processes are killed one after the other, each replaced by a new one, so that owners, keys and ages differ.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { placed } from '../placed.ts'
import type { Load, ReadPlan, Tally } from './member.ts'
import { allReady, type MemberProcess, Processes, total, until } from './processes.ts'
import { callsOf, fatesOf, loadedBy, spread } from './storm.ts'

const NAME = 'kills'
/** Without copies: what is loaded by a copy that stands in for the owner can be a third call, of one key in some fifty. */
const PLAN = { name: NAME, backups: 0 } as const
const PROCESSES = 5
const KILLS = 4
/** Of each sort, with each kill. */
const KEYS = 4
/** In each process that lives, of each key. */
const CALLERS = 50
const CALLER_MS_MAX = 10_000
const SORTS = ['loaded by its owner', 'owned while another loads', 'loaded for another owner'] as const

type Sort = (typeof SORTS)[number]

/** What became of the keys of one sort, with one kill. */
interface Outcome {
  readonly keys: readonly string[]
  readonly got: Tally
  readonly calls: readonly number[]
  /** Which processes called the origin first. */
  readonly firstBy: readonly number[]
}

describe(`${KILLS} processes killed in the middle of fills`, () => {
  const processes = new Processes()
  const outcomes = new Map<Sort, Outcome[]>(SORTS.map(sort => [sort, []]))
  const victims: number[] = []
  let members: MemberProcess[] = []
  let slowestMs = 0

  beforeAll(async () => {
    members = await processes.mesh(PROCESSES, PLAN)
    for (let round = 0; round < KILLS; round++) await killOne(round)
  })

  afterAll(() => processes.end())

  it.each(SORTS)('call the origin at most twice for a key %s, and all who live are served', sort => {
    const all = outcomes.get(sort) as Outcome[]
    const calls = all.flatMap(each => each.calls)
    console.log(`${sort}: calls for ${calls.length} keys: ${spread(calls)}; slowest caller of all: ${slowestMs} ms`)
    expect(calls).toHaveLength(KILLS * KEYS)
    expect(Math.max(...calls)).toBeLessThanOrEqual(2)
    for (const { keys, got } of all) expect(got).toEqual(loadedBy(keys, CALLERS * (PROCESSES - 1)))
  })

  it('take away who loaded, and not only somebody', () => {
    const firstBy = (sort: Sort): readonly (readonly number[])[] =>
      (outcomes.get(sort) as Outcome[]).map(each => each.firstBy)
    const [byOwner, byOther, byCaller] = SORTS.map(firstBy)
    expect(byOwner).toEqual(victims.map(pid => Array(KEYS).fill(pid)))
    expect(byCaller).toEqual(victims.map(pid => Array(KEYS).fill(pid)))
    expect(byOther?.map((pids, round) => pids.includes(victims[round] as number))).toEqual(victims.map(() => false))
  })

  async function killOne(round: number): Promise<void> {
    const spare = processes.start()
    const victim = members.shift() as MemberProcess
    const loads = processes.loads.length
    const keys = await keysFor(victim, round)
    const [byOwner, byOther, byCaller] = SORTS.map(sort => keys.get(sort) as string[])
    // The first call for each key is still under way when its caller or owner dies.
    let isOver = (): void => {}
    const over = new Promise<void>(resolve => {
      isOver = resolve
    })
    const seen = new Set<string>()
    processes.answering(async load => {
      const isFirst = !seen.has(String(load.key))
      seen.add(String(load.key))
      if (isFirst) await over
      return { value: `loaded ${String(load.key)}` }
    })
    const hasBegun = (count: number): Promise<number> =>
      until('the loads have begun', 5_000, () => processes.loads.length - loads === count)

    // What the victim itself would have got, nobody hears any more.
    const lost = victim.ask('read', { how: 'getOrSet', cache: 'plain', keys: byCaller as string[], times: 1 })
    const isLost = expect(lost).rejects.toThrow('ended (SIGKILL)')
    await hasBegun(KEYS)
    const plans: ReadPlan[] = [
      { how: 'get', cache: 'products', keys: byOwner as string[], times: CALLERS, timeoutMs: CALLER_MS_MAX },
      { how: 'getOrSet', cache: 'plain', keys: byOther as string[], times: CALLERS, timeoutMs: CALLER_MS_MAX },
      { how: 'getOrSet', cache: 'plain', keys: byCaller as string[], times: CALLERS, timeoutMs: CALLER_MS_MAX }
    ]
    const tallies = plans.map(plan => Promise.all(members.map(member => member.ask('read', plan))))
    await hasBegun(SORTS.length * KEYS)
    await sleep(50)
    await victim.kill()
    await isLost
    // Long enough for others to have asked anew.
    await sleep(300)
    isOver()
    const got = await Promise.all(tallies)
    victims.push(victim.pid)
    const since = processes.loads.slice(loads)
    SORTS.forEach((sort, i) => {
      const of = keys.get(sort) as string[]
      const firstBy = of.map(key => (since.find(load => load.key === key) as Load).pid)
      outcomes.get(sort)?.push({ keys: of, got: total(got[i] as Tally[]), calls: callsOf(since, of), firstBy })
    })
    slowestMs = Math.max(slowestMs, (await fatesOf(members)).slowestMs)
    await spare.ask('create', PLAN)
    members.push(spare)
    await allReady(members, PROCESSES)
  }

  async function keysFor(victim: MemberProcess, round: number): Promise<Map<Sort, string[]>> {
    const seen = await victim.ask('members')
    const self = seen.find(member => member.self)?.id
    // The origin is told the key and not the cache: no two sorts share a key.
    const pick = (sort: Sort, cache: string, isOwn: boolean): [Sort, string[]] => {
      const candidates = Array.from({ length: 200 }, (_, i) => `${sort} ${round}.${i}`)
      const owners = placed(NAME, seen, cache, candidates)
      return [sort, candidates.filter((_, i) => (owners[i] === self) === isOwn).slice(0, KEYS)]
    }
    return new Map([pick(SORTS[0], 'products', true), pick(SORTS[1], 'plain', true), pick(SORTS[2], 'plain', false)])
  }
})
