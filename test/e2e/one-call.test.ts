/** What the whole package is for: however many ask, in however many processes, the origin is asked once. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { contextOf, type Load, type OriginAnswer, type ReadPlan, type Tally } from './member.ts'
import { type MemberProcess, Processes, total, until } from './processes.ts'

const PROCESSES = 5
const CALLERS = 1_000

/** All of them at once, each with as many callers as the plan says; what they got, and the calls of the origin. */
async function readAtOnce(
  processes: Processes,
  members: readonly MemberProcess[],
  plan: ReadPlan
): Promise<{ got: Tally; loads: Load[] }> {
  const before = processes.loads.length
  const tallies = await Promise.all(members.map(member => member.ask('read', plan)))
  return { got: total(tallies), loads: processes.loads.slice(before) }
}

function everybodyGot(outcome: unknown, callers = PROCESSES * CALLERS): Tally {
  return { [JSON.stringify(outcome)]: callers }
}

/** In how many processes loads ran. */
function loaders(loads: readonly Load[]): number {
  return new Set(loads.map(load => load.pid)).size
}

describe('five processes with a thousand callers each', () => {
  const processes = new Processes()
  let members: MemberProcess[] = []

  beforeAll(async () => {
    members = await processes.mesh(PROCESSES, { name: 'shop' })
  })

  afterAll(() => processes.end())

  it('call the origin once for a cold key, in 20 of 20 tries', async () => {
    const loads: Load[][] = []
    for (let i = 0; i < 20; i++) {
      const key = `product ${i}`
      const read = await readAtOnce(processes, members, { how: 'get', keys: [key], times: CALLERS })
      expect(read.got).toEqual(everybodyGot({ value: `loaded ${key}` }))
      loads.push(read.loads)
    }
    const calls = loads.map(each => each.length)
    console.log(`origin calls for 20 cold keys: ${calls.join(' ')}; in ${loaders(loads.flat())} processes`)
    expect(calls).toEqual(Array.from({ length: 20 }, () => 1))
    // One call is easy when one process owns everything.
    expect(loaders(loads.flat())).toBeGreaterThanOrEqual(3)
  })

  it('call it once by getOrSet, in the process and the context of one that asked', async () => {
    const loads: Load[] = []
    for (let i = 0; i < 10; i++) {
      const key = `page ${i}`
      const plan = { how: 'getOrSet', cache: 'plain', keys: [key], times: CALLERS } as const
      const read = await readAtOnce(processes, members, plan)
      expect(read.got).toEqual(everybodyGot({ value: `loaded ${key}` }))
      expect(read.loads.length).toBe(1)
      loads.push(...read.loads)
    }
    expect(loads.map(load => load.context)).toEqual(loads.map(load => contextOf(load.pid)))
  })

  it('call it once for each of many keys by getMany', async () => {
    const keys = Array.from({ length: 20 }, (_, i) => `item ${i}`)
    const read = await readAtOnce(processes, members, { how: 'getMany', keys, times: 50 })
    expect(read.got).toEqual(everybodyGot({ value: keys.map(key => `loaded ${key}`) }, PROCESSES * 50))
    expect(read.loads.map(load => load.key).sort()).toEqual([...keys].sort())
    expect(loaders(read.loads)).toBeGreaterThanOrEqual(3)
  })

  it('never show a loader the context of a caller', async () => {
    const [caller] = members
    const keys = Array.from({ length: 30 }, (_, i) => `private ${i}`)
    const before = processes.loads.length
    for (const key of keys) await caller?.ask('read', { how: 'get', keys: [key], times: 3 })
    const loads = processes.loads.slice(before)
    expect(loads.map(load => load.context)).toEqual(keys.map(() => undefined))
    // Here and elsewhere: the way over the wire would lose the context by itself.
    const here = loads.filter(load => load.pid === caller?.pid)
    expect(here.length).toBeGreaterThan(0)
    expect(here.length).toBeLessThan(keys.length)
  })

  it('call it once when it fails, and all get the same error wherever the load ran', async () => {
    const failure = { name: 'NoSuchProduct', message: 'there is no such product', code: 'E_NONE' }
    const error = { name: 'LoadError', code: 'ERR_MESH_LOAD', cause: { isError: true, ...failure } }
    const loads: Load[] = []
    for (let i = 0; i < 10; i++) {
      const plans = [
        { how: 'get', keys: [`gone ${i}`], times: CALLERS },
        { how: 'getOrSet', cache: 'plain', keys: [`gone ${i}`], times: CALLERS }
      ] as const
      for (const plan of plans) {
        // A failure is not kept, so whoever asks after it loads again, and rightly: it comes when all wait.
        processes.answering(await onceAllWait({ failure }))
        const read = await readAtOnce(processes, members, plan)
        expect(read.got).toEqual(everybodyGot(error))
        expect(read.loads.length).toBe(1)
        loads.push(...read.loads)
      }
    }
    expect(loaders(loads)).toBeGreaterThanOrEqual(3)
  })

  async function onceAllWait(answer: OriginAnswer): Promise<() => Promise<OriginAnswer>> {
    const before = await progress()
    return async () => {
      await until('all wait for the load', 10_000, async () => {
        const { begun, served } = await progress()
        // Whoever does not own the key has asked its owner.
        return begun - before.begun >= PROCESSES * CALLERS && served - before.served >= PROCESSES - 1
      })
      return answer
    }
  }

  async function progress(): Promise<{ begun: number; served: number }> {
    const begun = await Promise.all(members.map(member => member.ask('begun')))
    const stats = await Promise.all(members.map(member => member.ask('stats')))
    return { begun: sum(begun), served: sum(stats.map(each => each.requestsServedTotal)) }
  }
})

describe('five processes that have just met', () => {
  it('call the origin once for their first key, in three fresh meshes', async () => {
    for (let i = 0; i < 3; i++) {
      const processes = new Processes()
      try {
        const members = await processes.mesh(PROCESSES, { name: `shop ${i}` })
        const key = ['tenant', i, true]
        const read = await readAtOnce(processes, members, { how: 'get', keys: [key], times: CALLERS })
        expect(read.got).toEqual(everybodyGot({ value: `loaded ${String(key)}` }))
        expect(read.loads.length).toBe(1)
      } finally {
        await processes.end()
      }
    }
  })
})

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0)
}
