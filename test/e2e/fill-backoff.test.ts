/**
 * An origin that is down is spared: after a failed call nobody in the mesh calls it for that key before the back-off is
 * over, 100 ms and twice as long each time, however many ask and wherever; meanwhile they are told so at once.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Tally } from './member.ts'
import { type MemberProcess, Processes, total } from './processes.ts'
import { KINDS } from './storm.ts'

const PROCESSES = 5
const FAILURE = { name: 'OriginDown', message: 'the origin is down', code: 'E_DOWN' }
const FAILS = 4
/** What is left of each pause at least, when clocks of two processes round it. */
const ROUNDING_MS = 2

describe('an origin that is down', () => {
  const processes = new Processes()
  let members: MemberProcess[] = []

  beforeAll(async () => {
    members = await processes.mesh(PROCESSES, { name: 'storms' })
  })

  afterAll(() => processes.end())

  it.each(KINDS)(
    'is not called again by $how before the back-off is over, and all are told ERR_MESH_BACKOFF',
    async kind => {
      const failedAtMs: number[] = []
      const pausesMs: number[] = []
      processes.answering(load => {
        const failedMs = failedAtMs.at(-1)
        // The origin's own 50 ms are behind it when it is asked for its answer.
        if (failedMs !== undefined) pausesMs.push((calledAtMs.at(-1) as number) - failedMs)
        if (failedAtMs.length === FAILS) return { value: `loaded ${String(load.key)}` }
        failedAtMs.push(performance.now())
        return { failure: FAILURE }
      })
      const calledAtMs = watchCalls(processes)
      const tallies: Tally[] = []
      const isServed = (): boolean => Object.keys(total(tallies)).some(text => text.includes('loaded'))
      while (!isServed() && calledAtMs.length <= FAILS + 1) {
        const plan = { ...kind, keys: [`down ${kind.how}`], times: 20 } as const
        tallies.push(...(await Promise.all(members.map(member => member.ask('read', plan)))))
        await sleep(5)
      }
      const told = codesIn(total(tallies))
      console.log(
        `${kind.how}: ${calledAtMs.length} origin calls, pauses of ${pausesMs.map(Math.round).join(', ')} ms; told: ${JSON.stringify(told)}`
      )
      expect(calledAtMs).toHaveLength(FAILS + 1)
      expect(pausesMs.map((ms, i) => ms >= 100 * 2 ** i - ROUNDING_MS)).toEqual(pausesMs.map(() => true))
      expect(Object.keys(told).sort()).toEqual(['ERR_MESH_BACKOFF', 'ERR_MESH_LOAD', 'value'])
    }
  )
})

/** When each call of the origin arrived from now on. */
function watchCalls(processes: Processes): number[] {
  const atMs: number[] = []
  const { loads } = processes
  const push = loads.push.bind(loads)
  loads.push = (...added) => {
    atMs.push(performance.now())
    return push(...added)
  }
  return atMs
}

function codesIn(tally: Tally): Record<string, number> {
  const codes: Record<string, number> = {}
  for (const [text, count] of Object.entries(tally)) {
    const code = (JSON.parse(text) as { code?: string }).code ?? 'value'
    codes[code] = (codes[code] ?? 0) + count
  }
  return codes
}
