/**
 * Calls to other members: a number for each, a deadline for each, and an end for each: its reply, its deadline, the
 * death of the link, or the caller's own cancel. Nothing waits for ever.
 *
 * `waiting` is not a reply. It says that a load is running over there, and moves the deadline from "is anybody there"
 * to "a load may take this long". `found` may come in parts, of which the last ends the call.
 *
 * How a call ended is told by a callback: it is made for every read, and a promise in between would cost as much as
 * the call. `call` wraps it in one for those who do not count.
 */
import type { Stats } from '../observe/stats.ts'
import type { Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import { Deadlines, Wait } from './deadlines.ts'
import type { MessageOf, Reply, Request } from './messages.ts'
import type { Departure, Outbox } from './outbox.ts'
import { Pulse } from './pulse.ts'

/** Calls under way to one peer; beyond it new ones are refused at once. */
const CALLS_PER_PEER_MAX = 16_384

const RING_MIN = 256

/** How often a call may be told to wait on; a load that is handed on more often than that has lost its caller. */
const WAITS_MAX = 16

/** A timer this late means that our own event loop stood still. */
const STALL_MS = 200
const GRACE_MS = 500
/** How often a call is found slow, where the first time our own loop was late. */
const SLOW_TRIES = 2

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
  /** What has come of an answer in parts, before the last. */
  readonly onPart?: ((part: MessageOf<'found'>) => void) | undefined
  /**
   * Given for what is answered at once, though it be with `waiting`: told when the peer has been slow with it, or has
   * fallen silent. The call goes on. It is told at most once of each, and of nothing once a load is known to run.
   */
  readonly onSlow?: ((why: Slowness) => void) | undefined
}

/** `slow`: nearly all its answers come sooner. `silent`: nothing at all is heard of it. */
export type Slowness = 'slow' | 'silent'

type OnEnd = (result: Reply | CallFailed) => void

export interface Call {
  readonly reply: Promise<Reply>
  /** Nobody waits any more: the other side may stop. */
  cancel(): void
}

/** A call under way. */
export class OpenCall extends Wait {
  readonly id: number
  readonly peer: PeerId
  readonly terms: CallTerms
  readonly onEnd: OnEnd
  readonly pulse: Pulse
  departure: Departure = NOT_DEPARTED
  waits = 0
  graced = false
  /** How often it may still be due as slow: a second time where the first was our own event loop's slowness. */
  slowTries = 0
  /** The part of its time that comes after it was found slow. */
  restMs = 0
  /** When it was asked, for one of those whose time is taken; else 0. */
  timedFromMs = 0

  constructor(id: number, peer: PeerId, terms: CallTerms, onEnd: OnEnd, pulse: Pulse) {
    super()
    this.id = id
    this.peer = peer
    this.terms = terms
    this.onEnd = onEnd
    this.pulse = pulse
  }
}

const NOT_DEPARTED: Departure = { sent: false }

export interface ClientDeps {
  readonly clock: Clock
  readonly outbox: Outbox
  readonly stats: Stats
  /** A peer has left a call without an answer; perhaps it cannot be heard at all. */
  readonly onTimeout?: (peer: PeerId) => void
}

export class Client {
  readonly #deps: ClientDeps
  /** By number modulo its length, a power of two: a map that is added to and taken from for every call costs more. */
  #ring = emptyRing(RING_MIN)
  #opened = 0
  /** Of those we have asked something over the link of now. */
  readonly #pulses = new Map<PeerId, Pulse>()
  readonly #deadlines: Deadlines<OpenCall>
  #lastId = 0

  constructor(deps: ClientDeps) {
    this.#deps = deps
    this.#deadlines = new Deadlines(deps.clock, open => this.#due(open))
  }

  call(peer: PeerId, request: Request, terms: CallTerms): Call {
    let open: OpenCall | undefined
    const reply = new Promise<Reply>((resolve, reject) => {
      open = this.begin(peer, request, terms, result => {
        if (result instanceof CallFailed) reject(result)
        else resolve(result)
      })
    })
    return { reply, cancel: () => open !== undefined && this.cancel(open) }
  }

  /** `onEnd` is told once, unless the call is cancelled first; within this very call when it is refused. */
  begin(peer: PeerId, request: Request, terms: CallTerms, onEnd: OnEnd): OpenCall {
    const known = this.#pulses.get(peer)
    const pulse = known ?? new Pulse(this.#deps.clock, () => this.#fellSilent(peer))
    const open = new OpenCall(this.#freeId(), peer, terms, onEnd, pulse)
    const departure = pulse.calls < CALLS_PER_PEER_MAX ? this.#deps.outbox.post(peer, open.id, request) : undefined
    if (departure === undefined) {
      this.#deps.stats.requestsOverloadedTotal++
      onEnd(new CallFailed('overloaded', false))
      return open
    }
    open.departure = departure
    pulse.calls++
    if (known === undefined) this.#pulses.set(peer, pulse)
    this.#ring[this.#placeOf(open.id)] = open
    this.#opened++
    if (terms.onSlow === undefined) this.#deadlines.set(open, terms.timeoutMs)
    else this.#watchOver(open)
    return open
  }

  /** Something has come from it: it is not silent. */
  heard(peer: PeerId): void {
    this.#pulses.get(peer)?.heard()
  }

  /** Whether nothing is heard of it although it has been asked; then others are asked first. */
  isSilent(peer: PeerId): boolean {
    return this.#pulses.get(peer)?.isSilent === true
  }

  /** A reply has come. One for a call that has ended is late, not wrong. */
  reply(peer: PeerId, call: number, reply: Reply): void {
    const open = this.#ring[this.#placeOf(call)]
    if (open === undefined || open.id !== call || open.peer !== peer) {
      // Our caller gave up while its lease was on the way: others wait for it.
      const isLease = reply.type === 'lease' || (reply.type === 'kept' && reply.lease > 0)
      if (isLease) this.#deps.outbox.post(peer, 0, { lease: reply.lease, boot: reply.boot, type: 'release' })
      return
    }
    if (reply.type === 'waiting') {
      open.slowTries = 0
      open.timedFromMs = 0
      if (++open.waits <= WAITS_MAX) this.#deadlines.set(open, open.terms.timeoutMs + (open.terms.loadMs ?? 0))
      return
    }
    if (reply.type === 'found' && !reply.last) return this.#part(open, reply)
    this.#end(open)
    if (open.timedFromMs > 0 && reply.type !== 'found')
      open.pulse.answered(this.#deps.clock.monotonic() - open.timedFromMs)
    open.onEnd(reply)
  }

  #part(open: OpenCall, part: MessageOf<'found'>): void {
    // It is at it, and how long the whole takes says nothing of how fast it is.
    open.timedFromMs = 0
    if (open.slowTries > 0) {
      open.slowTries = 0
      this.#deadlines.set(open, open.restMs)
    }
    open.terms.onPart?.(part)
  }

  /** The link to a peer is gone: so are the answers to everything asked over it. */
  linkDown(peer: PeerId): void {
    this.#pulses.get(peer)?.stop()
    this.#pulses.delete(peer)
    for (const open of [...this.#ring]) {
      if (open?.peer !== peer) continue
      // Whoever heard of one loss may have cancelled another call, and begun a new one in its place.
      if (this.#isOpen(open)) this.#fail(open, 'lost')
    }
  }

  /** Asks whether calls that are under way now still are. */
  watch(): () => boolean {
    const open = this.#ring.filter(call => call !== undefined)
    return () => open.some(call => this.#isOpen(call))
  }

  cancel(open: OpenCall): void {
    if (!this.#isOpen(open)) return
    this.#deps.outbox.post(open.peer, open.id, { type: 'cancel' })
    this.#end(open)
  }

  #watchOver(open: OpenCall): void {
    const { timeoutMs } = open.terms
    const slowMs = open.pulse.patienceMs(timeoutMs)
    open.slowTries = SLOW_TRIES
    open.restMs = timeoutMs - slowMs
    this.#deadlines.set(open, slowMs)
    const nowMs = open.dueMs - slowMs
    if (open.pulse.asked(nowMs)) open.timedFromMs = nowMs
  }

  #dueAsSlow(open: OpenCall): void {
    const lateMs = this.#deps.clock.monotonic() - open.dueMs
    const slowMs = open.terms.timeoutMs - open.restMs
    // So late is our own doing, and timers come before sockets: the answer may lie there unread.
    if (lateMs > slowMs && --open.slowTries > 0) return this.#deadlines.set(open, slowMs)
    open.slowTries = 0
    this.#deadlines.set(open, open.restMs)
    open.terms.onSlow?.('slow')
  }

  /** Whoever waits for it at this moment need not wait to be found slow. */
  #fellSilent(peer: PeerId): void {
    for (const open of this.#ring.filter(open => open?.peer === peer && open.waits === 0))
      if (open !== undefined && this.#isOpen(open)) open.terms.onSlow?.('silent')
  }

  #due(open: OpenCall): void {
    if (open.slowTries > 0) return this.#dueAsSlow(open)
    if (!open.graced && this.#deps.clock.monotonic() - open.dueMs > STALL_MS) {
      // We stood still, and timers come before sockets: the answer may lie there unread.
      open.graced = true
      this.#deadlines.set(open, GRACE_MS)
      return
    }
    this.#deps.stats.requestsTimedOutTotal++
    this.#deps.onTimeout?.(open.peer)
    this.#deps.outbox.post(open.peer, open.id, { type: 'cancel' })
    this.#fail(open, 'timeout')
  }

  #fail(open: OpenCall, end: CallEnd): void {
    this.#end(open)
    open.onEnd(new CallFailed(end, open.departure.sent))
  }

  #isOpen(open: OpenCall): boolean {
    return this.#ring[this.#placeOf(open.id)] === open
  }

  #placeOf(id: number): number {
    return id & (this.#ring.length - 1)
  }

  /** The next number whose place is free. Numbers are not used twice for as long as a late reply may be under way. */
  #freeId(): number {
    if (this.#opened * 2 >= this.#ring.length) this.#lengthen()
    do this.#lastId = (this.#lastId + 1) >>> 0
    while (this.#ring[this.#placeOf(this.#lastId)] !== undefined)
    return this.#lastId
  }

  #lengthen(): void {
    const shorter = this.#ring
    this.#ring = emptyRing(shorter.length * 2)
    for (const open of shorter) if (open !== undefined) this.#ring[this.#placeOf(open.id)] = open
  }

  #end(open: OpenCall): void {
    this.#deadlines.clear(open)
    this.#ring[this.#placeOf(open.id)] = undefined
    this.#opened--
    open.pulse.calls--
  }
}

function emptyRing(length: number): (OpenCall | undefined)[] {
  return new Array<OpenCall | undefined>(length).fill(undefined)
}
