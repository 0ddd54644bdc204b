/**
 * Singleflight: one load per key at its primary, any number of waiters, local or remote.
 *
 *   opened ─▶ leased (worker: this member, or a caller) ─▶ landed: stored, waiters answered
 *                │                                   └──▶ fenced meanwhile: waiters answered, nothing stored
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
import type { PeerId } from '../ports/transport.ts'
import type { Reply } from '../rpc/messages.ts'

export interface Waiter {
  readonly peer: PeerId
  /** `load`: the registered loader may run at the owner. `lease`: only this caller's own may run. */
  readonly mode: 'load' | 'lease'
  readonly respond: (reply: Reply) => void
  /** Takes it out of the flight it is in now. */
  withdraw: () => void
}

export class Flight {
  readonly namespace: string
  readonly key: string
  readonly partition: number
  readonly waiters = new Set<Waiter>()
  /** The version of the lease now running. */
  stamp = 0
  grantedAtMs = 0
  /** Who loads; undefined when this member does. */
  holder: PeerId | undefined
  /** False once anything else happened to the key: then the result is for the waiters only. */
  open = true
  /** Stops the worker's timer or the loader itself. */
  stop: () => void = () => {}

  constructor(namespace: string, key: string, partition: number) {
    this.namespace = namespace
    this.key = key
    this.partition = partition
  }
}

export class Flights {
  readonly #open = new Map<string, Flight>()
  readonly #leased = new Map<number, Flight>()

  get size(): number {
    return this.#leased.size
  }

  /** The flight that a caller of now may join. */
  find(namespace: string, key: string): Flight | undefined {
    return this.#open.get(nameOf(namespace, key))
  }

  begin(namespace: string, key: string, partition: number): Flight {
    const flight = new Flight(namespace, key, partition)
    this.#open.set(nameOf(namespace, key), flight)
    return flight
  }

  lease(flight: Flight, stamp: number, holder: PeerId | undefined): void {
    this.#leased.delete(flight.stamp)
    flight.stamp = stamp
    flight.holder = holder
    this.#leased.set(stamp, flight)
  }

  byLease(stamp: number): Flight | undefined {
    return this.#leased.get(stamp)
  }

  /** The key was written, deleted or given away: no one joins this flight any more and its result is not stored. */
  fence(namespace: string, key: string): void {
    const flight = this.find(namespace, key)
    if (flight !== undefined) this.#fence(flight)
  }

  fencePartitions(lost: (partition: number) => boolean): void {
    for (const flight of [...this.#open.values()]) if (lost(flight.partition)) this.#fence(flight)
  }

  /** A part of a cache was cleared. */
  fenceMatching(namespace: string, matches: (key: string) => boolean): void {
    for (const flight of [...this.#open.values()])
      if (flight.namespace === namespace && matches(flight.key)) this.#fence(flight)
  }

  /** It has landed, or nobody is left in it. */
  end(flight: Flight): void {
    flight.stop()
    this.#fence(flight)
    this.#leased.delete(flight.stamp)
  }

  heldBy(peer: PeerId): Flight[] {
    return [...this.#leased.values()].filter(flight => flight.holder === peer)
  }

  #fence(flight: Flight): void {
    flight.open = false
    const name = nameOf(flight.namespace, flight.key)
    if (this.#open.get(name) === flight) this.#open.delete(name)
  }
}

function nameOf(namespace: string, key: string): string {
  return `${namespace}\n${key}`
}
