/**
 * Calls to other members: a number for each, a deadline for each, and an end for each: its reply, its deadline, the
 * death of the link, or the caller's own cancel. Nothing waits for ever.
 *
 * `waiting` is not a reply. It says that a load is running over there, and moves the deadline from "is anybody there"
 * to "a load may take this long".
 */
import type { Stats } from '../observe/stats.ts'
import type { Cancel, Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import type { Reply, Request } from './messages.ts'
import type { Outbox } from './outbox.ts'

/** Calls under way to one peer; beyond it new ones are refused at once. */
const CALLS_PER_PEER_MAX = 16_384

/** How often a call may be told to wait on; a load that is handed on more often than that has lost its caller. */
const WAITS_MAX = 16

/** A timer this late means that our own event loop stood still. */
const STALL_MS = 200
const GRACE_MS = 500

export type CallEnd = 'lost' | 'timeout' | 'overloaded'

/** A call that got no reply, and why. `sent` is false when the peer cannot have seen it. */
export class CallFailed extends Error {
  readonly end: CallEnd
  readonly sent: boolean

  constructor(end: CallEnd, sent: boolean) {
    super(`call ${end}`)
    this.name = 'CallFailed'
    this.end = end
    this.sent = sent
  }
}

export interface CallTerms {
  readonly timeoutMs: number
  /** The deadline after a `waiting`, counted from then. */
  readonly loadMs?: number
  readonly onSent?: () => void
}

export interface Call {
  readonly reply: Promise<Reply>
  /** Nobody waits any more: the other side may stop. */
  cancel(): void
}

interface OpenCall {
  readonly peer: PeerId
  readonly terms: CallTerms
  readonly settle: (reply: Reply) => void
  readonly fail: (failed: CallFailed) => void
  sent: boolean
  waits: number
  graced: boolean
  disarm: Cancel
}

export class Client {
  readonly #clock: Clock
  readonly #outbox: Outbox
  readonly #stats: Stats
  readonly #open = new Map<number, OpenCall>()
  readonly #openTo = new Map<PeerId, Set<number>>()
  #lastCall = 0

  readonly #onTimeout: (peer: PeerId) => void

  /** `onTimeout`: a peer has left a call without an answer; perhaps it cannot be heard at all. */
  constructor(deps: { clock: Clock; outbox: Outbox; stats: Stats; onTimeout?: (peer: PeerId) => void }) {
    this.#onTimeout = deps.onTimeout ?? (() => {})
    this.#clock = deps.clock
    this.#outbox = deps.outbox
    this.#stats = deps.stats
  }

  call(peer: PeerId, request: Request, terms: CallTerms): Call {
    const call = this.#nextCall()
    const reply = new Promise<Reply>((settle, fail) => this.#begin(call, { peer, terms, settle, fail }, request))
    return { reply, cancel: () => this.#cancel(call) }
  }

  /** A reply has come. One for a call that has ended is late, not wrong. */
  reply(peer: PeerId, call: number, reply: Reply): void {
    const open = this.#open.get(call)
    if (open?.peer !== peer) {
      // Our caller gave up while its lease was on the way: others wait for it.
      if (reply.type === 'lease') this.#outbox.post(peer, 0, { ...reply, type: 'release' })
      return
    }
    if (reply.type === 'waiting') {
      if (++open.waits > WAITS_MAX) return
      open.disarm()
      open.disarm = this.#arm(call, open.terms.timeoutMs + (open.terms.loadMs ?? 0))
      return
    }
    this.#end(call)
    open.settle(reply)
  }

  /** The link to a peer is gone: so are the answers to everything asked over it. */
  linkDown(peer: PeerId): void {
    for (const call of this.#openTo.get(peer) ?? []) this.#fail(call, 'lost')
    this.#openTo.delete(peer)
  }

  #begin(call: number, draft: Omit<OpenCall, 'sent' | 'waits' | 'graced' | 'disarm'>, request: Request): void {
    const { peer, terms } = draft
    const toPeer = this.#openTo.get(peer) ?? new Set()
    if (toPeer.size >= CALLS_PER_PEER_MAX) return draft.fail(this.#overloaded())
    const open: OpenCall = { ...draft, sent: false, waits: 0, graced: false, disarm: () => {} }
    const onSent = (): void => {
      open.sent = true
      terms.onSent?.()
    }
    if (!this.#outbox.post(peer, call, request, onSent)) return draft.fail(this.#overloaded())
    this.#openTo.set(peer, toPeer.add(call))
    this.#open.set(call, open)
    open.disarm = this.#arm(call, terms.timeoutMs)
  }

  #overloaded(): CallFailed {
    this.#stats.requestsOverloadedTotal++
    return new CallFailed('overloaded', false)
  }

  #arm(call: number, ms: number): Cancel {
    const dueMs = this.#clock.monotonic() + ms
    return this.#clock.after(ms, () => {
      const open = this.#open.get(call)
      if (open !== undefined && !open.graced && this.#clock.monotonic() - dueMs > STALL_MS) {
        // We stood still, and timers come before sockets: the answer may lie there unread.
        open.graced = true
        open.disarm = this.#arm(call, GRACE_MS)
        return
      }
      this.#stats.requestsTimedOutTotal++
      if (open !== undefined) this.#onTimeout(open.peer)
      this.#tellCancelled(call)
      this.#fail(call, 'timeout')
    })
  }

  #cancel(call: number): void {
    this.#tellCancelled(call)
    this.#end(call)
  }

  #tellCancelled(call: number): void {
    const open = this.#open.get(call)
    if (open !== undefined) this.#outbox.post(open.peer, call, { type: 'cancel' })
  }

  #fail(call: number, end: CallEnd): void {
    const open = this.#open.get(call)
    this.#end(call)
    open?.fail(new CallFailed(end, open.sent))
  }

  #end(call: number): void {
    const open = this.#open.get(call)
    if (open === undefined) return
    open.disarm()
    this.#open.delete(call)
    this.#openTo.get(open.peer)?.delete(call)
  }

  #nextCall(): number {
    this.#lastCall = (this.#lastCall + 1) >>> 0
    return this.#lastCall
  }
}
