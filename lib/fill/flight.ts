/**
 * Loads under way, by key: one for each, at the key's primary, with any number of waiters.
 *
 *   opened ─▶ leased (worker: this member, a caller, or who owned the key before) ─▶ landed: stored, waiters answered
 *                │                                   ├──▶ fenced meanwhile: waiters answered, nothing stored
 *                │                                   └──▶ moved meanwhile: the same, and the new owner waits with them
 *                └─ the holder died, left or went silent ─▶ leased again to the oldest waiter
 *
 * The lease has a version, stamped when it is granted, and that version becomes the version of the stored value. Any
 * write, delete or loss of the partition closes the flight: whoever waited gets the value, because their reads began
 * before; nothing is stored; and whoever asks afterwards starts anew. So a load that began before a write can never
 * undo it:
 *
 *   1. lease v1 ─ load reads the old row ─ delete v2 ─ fill v1 arrives: the flight is closed, nothing is stored.
 *   2. lease v1 ─ delete v2 ─ a get arrives: finds no open flight, opens its own with v3 > v2.
 */
import { recordName } from '../base/record-name.ts'
import type { PeerId } from '../ports/transport.ts'
import type { LoadReason, MessageOf, Reply } from '../rpc/messages.ts'

export interface Waiter {
  readonly peer: PeerId
  /**
   * `load`: the registered loader may run at the owner. `lease`: only this caller's own may run. `follow`: the key's new
   * owner, which waits for what runs here and has a loader of its own.
   */
  readonly mode: 'load' | 'lease' | 'follow'
  readonly wish: MessageOf<'read'>['wish']
  /** When it began to wait, by the mesh clock, where another load would do for it as well. */
  readonly sinceMs?: number
  readonly respond: (reply: Reply) => void
  /** Takes it out of the flight it is in now. */
  withdraw: () => void
  /** Ends its wait for something better than what is stale. */
  disarm: () => void
}

/** `fenced`: the key was changed meanwhile. `moved`: another member owns it now. `alone`: no owner could be asked. */
type FlightState = 'open' | 'fenced' | 'moved' | 'alone'

export class Flight {
  readonly namespace: string
  readonly key: string
  readonly partition: number
  readonly reason: LoadReason
  readonly waiters = new Set<Waiter>()
  readonly beganMs: number
  /** The version of the lease now running. */
  stamp = 0
  grantedAtMs = 0
  /** Who loads; undefined when this member does. */
  holder: PeerId | undefined
  /** Callers of the holder wait for it too. */
  holderWaits = false
  /** Wanted by the cache itself, to have something fresh: it goes on when nobody waits. */
  behind = false
  /** Whether the owner before us was asked. */
  followed = false
  state: FlightState = 'open'
  /** Stops the worker's timer or the loader itself. */
  stop: () => void = () => {}
  /** A user waits for it now. */
  promote: () => void = () => {}

  constructor(namespace: string, key: string, partition: number, reason: LoadReason, beganMs: number) {
    this.namespace = namespace
    this.key = key
    this.partition = partition
    this.reason = reason
    this.beganMs = beganMs
  }

  /** False once anything else happened to the key: then the result is for the waiters only. */
  get open(): boolean {
    return this.state === 'open'
  }

  /** Somebody else may load it already, and was not asked. */
  get mayFollow(): boolean {
    return this.open && !this.followed
  }

  /** Somebody would miss it. */
  get isWanted(): boolean {
    return this.waiters.size > 0 || this.holderWaits || this.behind
  }
}

export class Flights {
  readonly #open = new Map<string, Flight>()
  readonly #leased = new Map<number, Flight>()
  /** Running still, for those who waited when the key moved; its new owner may join them. */
  readonly #moved = new Map<string, Flight>()
  readonly #alone = new Map<string, Flight>()

  get size(): number {
    return this.#leased.size
  }

  /** Loads that somebody waits for: what a member that leaves still has to bring home. */
  get awaited(): number {
    let count = 0
    for (const { waiters, holderWaits } of this.#leased.values()) if (waiters.size > 0 || holderWaits) count++
    return count
  }

  /** The flight that a caller of now may join. */
  find(namespace: string, key: string): Flight | undefined {
    return this.#open.get(recordName(namespace, key))
  }

  /** What still runs of a key that is not ours any more. */
  findMoved(namespace: string, key: string): Flight | undefined {
    return this.#moved.get(recordName(namespace, key))
  }

  findAlone(namespace: string, key: string): Flight | undefined {
    return this.#alone.get(recordName(namespace, key))
  }

  begin(namespace: string, key: string, partition: number, reason: LoadReason = 'miss', nowMs = 0): Flight {
    const flight = new Flight(namespace, key, partition, reason, nowMs)
    this.#open.set(recordName(namespace, key), flight)
    return flight
  }

  /** For callers of this member that found no owner to ask. */
  beginAlone(namespace: string, key: string, nowMs: number): Flight {
    const flight = new Flight(namespace, key, -1, 'miss', nowMs)
    flight.state = 'alone'
    this.#alone.set(recordName(namespace, key), flight)
    return flight
  }

  lease(flight: Flight, stamp: number, holder: PeerId | undefined): void {
    this.#leased.delete(flight.stamp)
    flight.stamp = stamp
    flight.holder = holder
    flight.holderWaits = holder !== undefined
    flight.promote = () => {}
    this.#leased.set(stamp, flight)
  }

  byLease(stamp: number): Flight | undefined {
    return this.#leased.get(stamp)
  }

  /** The key was written or deleted: no one joins this flight any more and its result is not stored. */
  fence(namespace: string, key: string): void {
    const flight = this.find(namespace, key)
    if (flight !== undefined) this.#close(flight, 'fenced')
  }

  movePartitions(lost: (partition: number) => boolean): void {
    for (const flight of [...this.#open.values()]) {
      if (!lost(flight.partition)) continue
      this.#close(flight, 'moved')
      this.#moved.set(recordName(flight.namespace, flight.key), flight)
    }
  }

  /** A part of a cache was cleared. */
  fenceMatching(namespace: string, matches: (key: string) => boolean): void {
    for (const flight of [...this.#open.values()])
      if (flight.namespace === namespace && matches(flight.key)) this.#close(flight, 'fenced')
  }

  /** It has landed, or nobody is left in it. */
  end(flight: Flight): void {
    flight.stop()
    if (flight.open) this.#close(flight, 'fenced')
    this.#leased.delete(flight.stamp)
    const name = recordName(flight.namespace, flight.key)
    if (this.#moved.get(name) === flight) this.#moved.delete(name)
    if (this.#alone.get(name) === flight) this.#alone.delete(name)
  }

  heldBy(peer: PeerId): Flight[] {
    return [...this.#leased.values()].filter(flight => flight.holder === peer)
  }

  #close(flight: Flight, why: 'fenced' | 'moved'): void {
    flight.state = why
    const name = recordName(flight.namespace, flight.key)
    if (this.#open.get(name) === flight) this.#open.delete(name)
  }
}
