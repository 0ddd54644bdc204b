/**
 * The simulator on every run of the tests: a few dozen seeds, the proof that a seed replays, and the proof that the
 * checkers can see: a bug is planted for each, and it must be found.
 */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Flights } from '../../lib/fill/flight.ts'
import { Membership } from '../../lib/membership/membership.ts'
import { Roster } from '../../lib/membership/roster.ts'
import { Client } from '../../lib/rpc/client.ts'
import { Done } from '../../lib/serving/done.ts'
import { Owner } from '../../lib/serving/owner.ts'
import { Store } from '../../lib/store/store.ts'
import { MeshClock } from '../../lib/store/version.ts'
import type { Knobs } from './knobs.ts'
import { runSeed } from './run.ts'

const SMOKE_SEEDS = 25
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
    await expectFound(/^one origin call/)
  })

  it('a result that is stored although the key was deleted while it was loaded', async () => {
    vi.spyOn(Flights.prototype, 'fence').mockImplementation(() => {})
    await expectFound(/^(no stale read|versions rise)/, 17)
  })

  it('a clock that stamps the same version twice', async () => {
    vi.spyOn(MeshClock.prototype, 'stamp').mockReturnValue(4_096_000)
    await expectFound(/^versions rise/)
  })

  it('a member that never contradicts its own death', async () => {
    const { hear } = Roster.prototype
    vi.spyOn(Roster.prototype, 'hear').mockImplementation(function (this: Roster, records, nowMs, spread) {
      const ofOthers = records.filter(record => record.id !== this.self.id)
      return hear.call(this, ofOthers, nowMs, spread)
    })
    await expectFound(/^views converge/)
  })

  it('a member that believes what others say of it', async () => {
    const { hear } = Roster.prototype
    vi.spyOn(Roster.prototype, 'hear').mockImplementation(function (this: Roster, records, nowMs, spread) {
      for (const record of records)
        if (record.id === this.self.id && record.status === 'dead') this.declare(record, 'dead', nowMs)
      const ofOthers = records.filter(record => record.id !== this.self.id)
      return hear.call(this, ofOthers, nowMs, spread)
    })
    await expectFound(/^own id/)
  })

  it('a contradiction that raises no incarnation', async () => {
    const { tellOfSelf } = Roster.prototype
    vi.spyOn(Roster.prototype, 'tellOfSelf').mockImplementation(function (this: Roster, self) {
      tellOfSelf.call(this, { ...self, incarnation: this.self.incarnation })
    })
    await expectFound(/^(refutation|views converge)/)
  })

  it('a member that falls silent before it has taken its leave', async () => {
    vi.spyOn(Membership.prototype, 'leave').mockImplementation(function (this: Membership) {
      return this.stop().then(() => new Promise(() => {}))
    })
    await expectFound(/^quiet leave/, 4)
  })

  it('a death that nobody declares', async () => {
    vi.spyOn(Roster.prototype, 'declare').mockImplementation(() => {})
    await expectFound(/^views converge/, 51)
  })

  it('an answer that gets lost on the way to its caller', async () => {
    const { reply } = Client.prototype
    vi.spyOn(Client.prototype, 'reply').mockImplementation(function (this: Client, peer, call, answer) {
      if (answer.type !== 'loaded') reply.call(this, peer, call, answer)
    })
    await expectFound(/^reads succeed/, 22)
  })

  it('an owner that forgets what it has done, and does it again', async () => {
    vi.spyOn(Done.prototype, 'answer').mockReturnValue(undefined)
    await expectFound(/^no add twice/, 26)
  })

  it('an add that is acknowledged and not counted', async () => {
    const { perform } = Owner.prototype
    let adds = 0
    vi.spyOn(Owner.prototype, 'perform').mockImplementation(function (this: Owner, change) {
      const lost = change.type === 'add' && ++adds % 10 === 0
      return perform.call(this, lost ? { ...change, by: 0 } : change)
    })
    await expectFound(/^no add lost/, 5)
  })

  it('a comparison that says yes to everybody', async () => {
    const { perform } = Owner.prototype
    vi.spyOn(Owner.prototype, 'perform').mockImplementation(function (this: Owner, change) {
      if (change.type !== 'compareAndSet') return perform.call(this, change)
      const reply = this.write({ ...change, type: 'write' })
      return reply.type === 'written' ? { ...reply, type: 'compared', done: true, taken: false } : reply
    })
    await expectFound(/^one compare wins/)
  })

  it('a clear that does not fence the loads that run', async () => {
    vi.spyOn(Flights.prototype, 'fenceMatching').mockImplementation(() => {})
    await expectFound(/^no stale read/, 8)
  })

  it('a clear that leaves the records where they are', async () => {
    vi.spyOn(Store.prototype, 'addFloor').mockImplementation(() => {})
    await expectFound(/^no stale read/, 3)
  })

  it('an iteration that passes over a key', async () => {
    const { keysIn } = Store.prototype
    vi.spyOn(Store.prototype, 'keysIn').mockImplementation(function* (this: Store, ...where) {
      for (const key of keysIn.apply(this, where)) if (key !== 'sk3') yield key
    })
    await expectFound(/^no key missed/, 4, { clears: true })
  })
})

/** A bug may show itself in more than one way; the checker that is meant must be among those that object. */
async function expectFound(checker: RegExp, from = 1, knobs: Partial<Knobs> = {}): Promise<void> {
  const others = new Set<string>()
  // From a seed on that has found it before, so that looking takes no longer than it must.
  for (let seed = from; seed < from + PLANTED_SEEDS_MAX; seed++) {
    const { violation } = await runSeed(seed, { knobs })
    if (violation !== undefined && checker.test(violation.message)) return
    if (violation !== undefined) others.add(violation.message)
  }
  throw new Error(`not found within ${PLANTED_SEEDS_MAX} seeds; found instead: ${[...others].join('; ') || 'nothing'}`)
}
