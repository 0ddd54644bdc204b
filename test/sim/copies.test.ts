/**
 * Bugs of copies, planted one by one: each must be found by the checker that is meant to see it, within a hundred seeds.
 * A delete that leaves no mark, a member that keeps what it had after too long an absence, and a look that waits are
 * planted in `moving.test.ts`, `horizon.test.ts` and `peeks-again.test.ts`, where they show themselves at once. The knobs of a search are those without
 * which its bug cannot show itself; all else stays what the seed chooses.
 */
import { afterEach, describe, it, vi } from 'vitest'
import { Confirmations } from '../../lib/replication/confirmations.ts'
import { Copies } from '../../lib/replication/copies.ts'
import { Intake } from '../../lib/replication/intake.ts'
import { Store } from '../../lib/store/store.ts'
import type { Knobs } from './knobs.ts'
import { runSeed } from './run.ts'

const PLANTED_SEEDS_MAX = 100

const COPIES = { copies: true, pressure: false, linger: false }
const CRASHES = { ...COPIES, crash: true }
const DRAINS = {
  ...COPIES,
  leave: true,
  rolling: true,
  crash: false,
  split: false,
  oneWay: false,
  pause: false,
  loss: false,
  lostLinks: false
}

afterEach(() => {
  vi.restoreAllMocks()
})

describe('a planted bug is found', { timeout: 300_000 }, () => {
  it('a merge in which what is as old or older wins', async () => {
    const { put } = Store.prototype
    vi.spyOn(Store.prototype, 'merge').mockImplementation(function (this: Store, entry) {
      return put.call(this, entry) ? 'kept' : 'refused'
    })
    await expectFound(/^versions rise/, COPIES)
  })

  it('an acknowledgement before the backup has it', async () => {
    const begin: Confirmations['begin'] = (_namespace, _key, acks, _ms, onOver) =>
      onOver({ isDone: true, acked: acks, wanted: acks, missing: [] })
    vi.spyOn(Confirmations.prototype, 'begin').mockImplementation(begin)
    await expectFound(/^acked writes survive/, { ...CRASHES, acks: 1 }, 121)
  })

  it('a member that drops what others do not have yet', async () => {
    const { offered } = Intake.prototype
    vi.spyOn(Intake.prototype, 'offered').mockImplementation(function (this: Intake, peer, offer) {
      const reply = offered.call(this, peer, offer)
      return reply.type === 'offered' ? { ...reply, level: offer.holdings.map(({ partition }) => partition) } : reply
    })
    await expectFound(/^drain loses nothing/, { ...DRAINS, backups: 0 }, 16)
  })

  it('a digest that is always equal', async () => {
    const { receive } = Copies.prototype
    vi.spyOn(Copies.prototype, 'receive').mockImplementation(function (this: Copies, peer, batch) {
      return { ...receive.call(this, peer, batch), differing: [] }
    })
    await expectFound(/^replica count/, COPIES)
  })
})

/** A bug may show itself in more than one way; the checker that is meant must be among those that object. */
async function expectFound(checker: RegExp, knobs: Partial<Knobs>, from = 1): Promise<void> {
  const others = new Set<string>()
  for (let seed = from; seed < from + PLANTED_SEEDS_MAX; seed++) {
    const { violation } = await runSeed(seed, { knobs })
    if (violation !== undefined && checker.test(violation.message)) return
    if (violation !== undefined) others.add(violation.message)
  }
  throw new Error(`not found within ${PLANTED_SEEDS_MAX} seeds; found instead: ${[...others].join('; ') || 'nothing'}`)
}
