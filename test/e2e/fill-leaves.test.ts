/**
 * A process leaves in peace while two hundred cold keys are loaded, by it and for it, and everybody waits: each key is
 * loaded once all the same, and nobody who stays notices.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type MemberProcess, Processes, until } from './processes.ts'
import { callsOf, KINDS, loadedBy, spread, stormOf } from './storm.ts'

const PROCESSES = 5
const KEYS = 200
const CALLERS = 5
const CALLER_MS_MAX = 5_000

describe(`${KEYS} cold keys in ${PROCESSES} processes, of which one leaves`, () => {
  const processes = new Processes()
  let members: MemberProcess[] = []

  beforeAll(async () => {
    members = await processes.mesh(PROCESSES, { name: 'storms' })
  })

  afterAll(() => processes.end())

  it.each(KINDS)('are loaded once each by $how', async kind => {
    const keys = Array.from({ length: KEYS }, (_, i) => `key ${i}`)
    // Some have come before the leave, most come during it.
    processes.answering(async load => {
      await sleep(keys.indexOf(String(load.key)) * 3)
      return { value: `loaded ${String(load.key)}` }
    })
    const leaver = members.pop() as MemberProcess
    const before = processes.loads.length
    const plan = { ...kind, keys, times: CALLERS, timeoutMs: CALLER_MS_MAX } as const
    // Its own callers get a value or are told; what they get is theirs.
    const own = leaver.ask('read', plan)
    let ownGot: [string, number][] = []
    const storm = await stormOf(processes, members, plan, async () => {
      await until('all keys are being loaded', 5_000, () => processes.loads.length - before >= KEYS)
      await leaver.ask('leave')
      ownGot = Object.entries(await own)
      await leaver.kill()
    })
    const calls = callsOf(processes.loads.slice(before), keys)
    console.log(
      `${kind.how}, one of ${members.length + 1} leaves: calls for ${KEYS} keys: ${spread(calls)}; own callers not served: ${unserved(ownGot)}`
    )
    expect(storm.got).toEqual(loadedBy(keys, members.length * CALLERS))
    expect(calls.filter(count => count !== 1)).toEqual([])
  })
})

function unserved(got: readonly (readonly [string, number])[]): number {
  return got.filter(([text]) => !text.includes('loaded')).reduce((sum, [, count]) => sum + count, 0)
}
