/**
 * Ten thousand callers in five processes, one origin: as many calls as there are keys, also when the origin fails; and
 * at most two for a key while a sixth process comes.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { OriginAnswer } from './member.ts'
import { allReady, type MemberProcess, Processes } from './processes.ts'
import { callsOf, fatesOf, KINDS, loadedBy, spread, stormOf, waiting } from './storm.ts'

const PROCESSES = 5
const CALLERS = 2_000
const KEYS = 200
const FAILURE = { name: 'OriginDown', message: 'the origin is down', code: 'E_DOWN' }
const ERROR = { name: 'LoadError', code: 'ERR_MESH_LOAD', cause: { isError: true, ...FAILURE } }
const NAME = 'storms'

describe(`${PROCESSES} processes with ${CALLERS} callers each`, () => {
  const processes = new Processes()
  let members: MemberProcess[] = []

  beforeAll(async () => {
    members = await processes.mesh(PROCESSES, { name: NAME })
  })

  afterAll(() => processes.end())

  it.each(KINDS)('call the origin once for a cold key by $how', async kind => {
    const calls: number[] = []
    for (const key of ['a', 'b', 'c']) {
      const storm = await stormOf(processes, members, { ...kind, keys: [key], times: CALLERS })
      expect(storm.got).toEqual(loadedBy([key], PROCESSES * CALLERS))
      calls.push(...callsOf(storm.loads, [key]))
    }
    console.log(`${kind.how}: origin calls for a key with ${PROCESSES * CALLERS} callers: ${calls.join(' ')}`)
    expect(calls).toEqual([1, 1, 1])
  })

  it.each(KINDS)(`call it once for each of ${KEYS} cold keys at once by $how`, async kind => {
    const keys = keysOf('many')
    const storm = await stormOf(processes, members, { ...kind, keys, times: CALLERS / KEYS })
    expect(storm.got).toEqual(loadedBy(keys, (PROCESSES * CALLERS) / KEYS))
    console.log(`${kind.how}: ${storm.loads.length} origin calls for ${KEYS} keys`)
    expect(callsOf(storm.loads, keys).filter(count => count !== 1)).toEqual([])
  })

  it.each(KINDS)(
    'call it once when it fails by $how, and each waiter gets that error once, as one of its own',
    async kind => {
      const keys = ['gone 1', 'gone 2']
      const before = await fatesOf(members)
      const loads: number[] = []
      for (const key of keys) {
        const allWait = await waiting(members, PROCESSES * CALLERS)
        processes.answering(async () => {
          await allWait()
          return { failure: FAILURE }
        })
        const storm = await stormOf(processes, members, { ...kind, keys: [key], times: CALLERS })
        expect(storm.got).toEqual({ [JSON.stringify(ERROR)]: PROCESSES * CALLERS })
        loads.push(storm.loads.length)
      }
      const after = await fatesOf(members)
      const errors = after.errors - before.errors
      console.log(`${kind.how}: ${loads.join(' ')} origin calls, ${errors} errors for ${keys.length} keys that fail`)
      expect(loads).toEqual([1, 1])
      expect(errors).toBe(keys.length * PROCESSES * CALLERS)
      expect(after.ownErrors).toBe(after.errors)
    }
  )

  it.each(KINDS)('call it twice at most for a key while a process joins, by $how', async kind => {
    const keys = keysOf('moving')
    let release = (): void => {}
    const joined = new Promise<void>(resolve => {
      release = resolve
    })
    processes.answering(async (load): Promise<OriginAnswer> => {
      await joined
      return { value: `loaded ${String(load.key)}` }
    })
    const joiner = processes.start()
    const plan = { ...kind, keys, times: 2 } as const
    const storm = await stormOf(processes, members, plan, async () => {
      await joiner.ask('create', { name: NAME })
      await allReady([...members, joiner], members.length + 1)
      const second = stormOf(processes, [...members, joiner], plan)
      // They are to ask while the first calls of the origin run.
      await sleep(100)
      release()
      expect((await second).got).toEqual(loadedBy(keys, 2 * (PROCESSES + 1)))
    })
    expect(storm.got).toEqual(loadedBy(keys, 2 * PROCESSES))
    const calls = callsOf(storm.loads, keys)
    console.log(`${kind.how}, a process joins: calls for ${KEYS} keys: ${spread(calls)}`)
    expect(Math.max(...calls)).toBeLessThanOrEqual(2)
    await joiner.ask('leave')
    await joiner.kill()
    await allReady(members, PROCESSES)
  })
})

function keysOf(name: string): string[] {
  return Array.from({ length: KEYS }, (_, i) => `${name} ${i}`)
}
