/**
 * Loads that this member runs because a key's owner has leased them to it: its caller's own loader, or a cache's where
 * the owner has none. The lease is renewed while the loader waits or runs, the owner hears of the result, and our
 * callers do not wait for that.
 *
 * The load is not ours alone: others in the mesh wait for it at the owner. So when our callers have gone, the owner is
 * told, and only when it says that nobody is left is the loader aborted.
 *
 *   1. our caller gives up ─ idle ─▶ owner: two others wait ─ both give up ─ drop ─▶ aborted here
 *   2. the same, but the link is down: idle is said again with each renewal; an owner that is gone needs no asking
 */

import { LEASE_MS } from '../fill/fills.ts'
import type { OriginRun } from '../fill/guarded-call.ts'
import { tellFilled } from '../fill/landings.ts'
import type { LoadResult } from '../fill/load.ts'
import type { Origin } from '../fill/origin.ts'
import type { Happenings } from '../observe/happenings.ts'
import type { Cancel, Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import { CallFailed, type Client } from '../rpc/client.ts'
import type { LeaseTalk, MessageOf } from '../rpc/messages.ts'
import type { Outbox } from '../rpc/outbox.ts'
import type { Owner } from './owner.ts'

const RENEW_EVERY_MS = LEASE_MS / 3

export interface LeasedLoadsDeps {
  readonly self: PeerId
  readonly clock: Clock
  readonly client: Client
  readonly outbox: Outbox
  readonly owner: Owner
  readonly origin: Origin
  readonly happenings: Happenings
}

export interface Lease {
  readonly owner: PeerId
  readonly lease: number
  readonly boot: number
}

/** One that waits for its turn at the origin, or runs. */
interface Held extends Lease {
  readonly abort: () => void
  /** No caller of ours waits for it. */
  isIdle: boolean
  /** Its owner is gone, and with it those who waited there. */
  isOrphan: boolean
}

export class LeasedLoads {
  readonly #deps: LeasedLoadsDeps
  readonly #held = new Set<Held>()

  constructor(deps: LeasedLoadsDeps) {
    this.#deps = deps
  }

  get size(): number {
    return this.#held.size
  }

  /** `callersGone`: none of ours waits for it any more. */
  begin(lease: Lease, encodedKey: string, run: OriginRun): { done: Promise<LoadResult>; callersGone: () => void } {
    const token = { lease: lease.lease, boot: lease.boot }
    const { done, abort } = this.#deps.origin.begin(run)
    const held: Held = { ...lease, abort, isIdle: false, isOrphan: false }
    this.#held.add(held)
    const stopRenewing = this.#renewing(held)
    void done.then(async result => {
      stopRenewing()
      // Dropped by the owner: it has ended the flight, and what comes is for nobody.
      if (!this.#held.delete(held)) return
      const { code, bytes, failure, ttlMs, negative, keep, backups } = result
      const about = { namespace: run.definition.namespace, key: encodedKey, ...token }
      const kept = { ttlMs, negative, keep, backups }
      const fill = { type: 'fill', ...about, code, bytes, failure, ...kept } as const
      if (await this.#isStored(lease.owner, fill)) tellFilled(this.#deps.happenings, about, result)
    })
    const callersGone = (): void => {
      if (!this.#held.has(held)) return
      held.isIdle = true
      if (held.isOrphan) return this.#giveUp(held)
      this.#say(lease.owner, { type: 'idle', ...token })
    }
    return { done, callersGone }
  }

  /** The owner says that nobody in the mesh waits for it any more. */
  dropped(owner: PeerId, { lease, boot }: LeaseTalk): void {
    for (const held of this.#held) {
      if (held.owner !== owner || held.lease !== lease || held.boot !== boot) continue
      this.#giveUp(held)
    }
  }

  /** The owner has gone from the view, and with it those who waited there: what none of ours waits for is for nobody. */
  ownerGone(owner: PeerId): void {
    for (const held of this.#held) {
      if (held.owner !== owner) continue
      held.isOrphan = true
      if (held.isIdle) this.#giveUp(held)
    }
  }

  #giveUp(held: Held): void {
    this.#held.delete(held)
    held.abort()
  }

  #renewing(held: Held): Cancel {
    const { owner, lease, boot } = held
    let disarm: Cancel = () => {}
    const again = (): void => {
      this.#say(owner, { type: 'renew', lease, boot })
      if (held.isIdle) this.#say(owner, { type: 'idle', lease, boot })
      disarm = this.#deps.clock.after(RENEW_EVERY_MS, again)
    }
    disarm = this.#deps.clock.after(RENEW_EVERY_MS, again)
    return () => disarm()
  }

  #say(owner: PeerId, notice: LeaseTalk): void {
    if (owner === this.#deps.self) this.#deps.owner.fills.holderSays(owner, notice)
    else this.#deps.outbox.post(owner, 0, notice)
  }

  /** The owner hears of it, and says whether it has kept it. */
  async #isStored(owner: PeerId, fill: MessageOf<'fill'>): Promise<boolean> {
    if (owner === this.#deps.self) return this.#deps.owner.fills.fill(owner, fill).stored
    try {
      const reply = await this.#deps.client.call(owner, fill, { timeoutMs: LEASE_MS }).reply
      return reply.type === 'filled' && reply.stored
    } catch (error) {
      // The owner is gone or drowning. Its lease runs out and the next waiter loads; our callers have their value.
      if (!(error instanceof CallFailed)) throw error
      return false
    }
  }
}
