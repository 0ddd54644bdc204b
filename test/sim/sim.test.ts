/**
 * The simulator on every run of the tests: a few hundred seeds, the proof that a seed replays, and the proof that the
 * checkers can see: a bug is planted for each, and it must be found.
 */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Flights } from '../../lib/fill/flight.ts'
import { Protocol } from '../../lib/membership/protocol.ts'
import { Client } from '../../lib/rpc/client.ts'
import { MeshClock } from '../../lib/store/version.ts'
import { type Run, runSeed } from './run.ts'

const SMOKE_SEEDS = 200
const PLANTED_SEEDS_MAX = 100

afterEach(() => {
  vi.restoreAllMocks()
})

describe('the simulator', () => {
  it(`finds nothing wrong in ${SMOKE_SEEDS} seeds`, { timeout: 300_000 }, async () => {
    const failures: string[] = []
    for (let seed = 1; seed <= SMOKE_SEEDS; seed++) {
      const { violation } = await runSeed(seed)
      if (violation !== undefined) failures.push(`${violation.message}; replay: npm run sim -- --seed ${seed}`)
    }
    expect(failures).toEqual([])
  })

  it('replays a seed event by event', async () => {
    for (const seed of [7, 77, 777]) {
      const [first, second] = [await runSeed(seed), await runSeed(seed)]
      expect(second.traceHash).toBe(first.traceHash)
      expect(second.steps).toBe(first.steps)
      expect(first.calls).toBeGreaterThan(50)
    }
  })

  it('gives different seeds different histories', async () => {
    expect((await runSeed(1)).traceHash).not.toBe((await runSeed(2)).traceHash)
  })
})

describe('a planted bug is found', { timeout: 300_000 }, () => {
  it('a singleflight at the owner that forgets who is flying', async () => {
    vi.spyOn(Flights.prototype, 'find').mockReturnValue(undefined)
    expect((await firstViolation()).violation?.message).toMatch(/^one origin call/)
  })

  it('a result that is stored although the key was deleted while it was loaded', async () => {
    vi.spyOn(Flights.prototype, 'fence').mockImplementation(() => {})
    expect((await firstViolation()).violation?.message).toMatch(/^(no stale read|versions rise)/)
  })

  it('a clock that stamps the same version twice', async () => {
    vi.spyOn(MeshClock.prototype, 'stamp').mockReturnValue(4_096_000)
    expect((await firstViolation()).violation?.message).toMatch(/^versions rise/)
  })

  it('a member that never contradicts its own death', async () => {
    const { step } = Protocol.prototype
    vi.spyOn(Protocol.prototype, 'step').mockImplementation(function (this: Protocol, event, nowMs) {
      if (event.type !== 'records') return step.call(this, event, nowMs)
      return step.call(this, { ...event, records: event.records.filter(record => record.id !== this.self.id) }, nowMs)
    })
    expect((await firstViolation()).violation?.message).toMatch(/^views converge/)
  })

  it('an answer that gets lost on the way to its caller', async () => {
    const { reply } = Client.prototype
    vi.spyOn(Client.prototype, 'reply').mockImplementation(function (this: Client, peer, call, answer) {
      if (answer.type !== 'loaded') reply.call(this, peer, call, answer)
    })
    expect((await firstViolation()).violation?.message).toMatch(/^reads succeed/)
  })
})

async function firstViolation(): Promise<Run> {
  for (let seed = 1; seed <= PLANTED_SEEDS_MAX; seed++) {
    const run = await runSeed(seed)
    if (run.violation !== undefined) return run
  }
  throw new Error(`not found within ${PLANTED_SEEDS_MAX} seeds`)
}
