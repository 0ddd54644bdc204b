/**
 * What fills promise beside P1, under everything the simulator can do: a call of the origin ends with its last waiter
 * and not before, its failure reaches each waiter once, and the key is left alone then. All seeds are judged by it
 * (`sim.test.ts`); here each checker is shown a bug, and must find it.
 */
import { afterEach, describe, it, vi } from 'vitest'
import { BackOffs } from '../../lib/fill/back-off.ts'
import { Client } from '../../lib/rpc/client.ts'
import type { Reply } from '../../lib/rpc/messages.ts'
import { Owner } from '../../lib/serving/owner.ts'
import { Reads } from '../../lib/serving/reads.ts'
import { type RunOptions, runSeed } from './run.ts'

const PLANTED_SEEDS_MAX = 60

/** An origin so slow that callers give up while it works. */
const IMPATIENT = { aborts: true, slowOrigin: true, failingOrigin: false, downOrigin: false, callerLoads: false }
const UNWELL = { failingOrigin: true, downOrigin: true }

afterEach(() => {
  vi.restoreAllMocks()
})

describe('a planted bug is found', { timeout: 300_000 }, () => {
  it('an owner that is not told that a caller has gone', async () => {
    vi.spyOn(Client.prototype, 'cancel').mockImplementation(() => {})
    await expectFound(/^aborted when the last has gone/, { knobs: IMPATIENT, fills: ['aborts'] }, 16)
  })

  it('an owner that ends a load for all when one has gone', async () => {
    const { read } = Owner.prototype
    const waiting = new Map<string, Set<() => void>>()
    vi.spyOn(Owner.prototype, 'read').mockImplementation(function (this: Owner, peer, ask, respond) {
      const withdraw = read.call(this, peer, ask, respond)
      if (withdraw === undefined) return undefined
      const all = waiting.get(ask.key) ?? new Set()
      waiting.set(ask.key, all.add(withdraw))
      return () => {
        const gone = [...all]
        // First: ending one may end a load that is followed, through this same door.
        all.clear()
        for (const each of gone) each()
      }
    })
    await expectFound(/^not aborted before the last has gone/, { knobs: IMPATIENT, fills: ['aborts'] }, 5)
  })

  it('an owner that gives a failure to those who come later', async () => {
    const { read } = Owner.prototype
    const failed = new WeakMap<Owner, Map<string, Reply>>()
    vi.spyOn(Owner.prototype, 'read').mockImplementation(function (this: Owner, peer, ask, respond) {
      const failures = failed.get(this) ?? new Map<string, Reply>()
      failed.set(this, failures)
      const before = failures.get(ask.key)
      if (before !== undefined && ask.mode !== 'stored') {
        respond(before)
        return undefined
      }
      return read.call(this, peer, ask, reply => {
        if (reply.type === 'loaded' && reply.code === 'ERR_MESH_LOAD') failures.set(ask.key, reply)
        respond(reply)
      })
    })
    await expectFound(/^an error once/, { knobs: UNWELL, fills: ['errors'] })
  })

  it('an error that two callers share', async () => {
    const { read } = Reads.prototype
    const known = new Map<string, unknown>()
    vi.spyOn(Reads.prototype, 'read').mockImplementation(async function (this: Reads, ...ask) {
      try {
        return await read.apply(this, ask)
      } catch (error) {
        const { message } = error as Error
        known.set(message, known.get(message) ?? error)
        throw known.get(message)
      }
    })
    await expectFound(/^an error of its own/, { knobs: UNWELL, fills: ['errors'] })
  })

  it('a key that is loaded again and again while its origin fails', async () => {
    vi.spyOn(BackOffs.prototype, 'of').mockReturnValue(undefined)
    await expectFound(/^an origin that fails is spared/, { knobs: UNWELL, fills: ['backoff'] }, 9)
  })
})

async function expectFound(checker: RegExp, options: RunOptions, from = 1): Promise<void> {
  const others = new Set<string>()
  // From a seed on that has found it before, so that looking takes no longer than it must.
  for (let seed = from; seed < from + PLANTED_SEEDS_MAX; seed++) {
    const { violation } = await runSeed(seed, options)
    if (violation !== undefined && checker.test(violation.message)) return
    if (violation !== undefined) others.add(violation.message)
  }
  throw new Error(`not found within ${PLANTED_SEEDS_MAX} seeds; found instead: ${[...others].join('; ') || 'nothing'}`)
}
