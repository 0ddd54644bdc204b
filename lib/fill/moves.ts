/**
 * Partitions that have come to us a moment ago, and from whom: what that member was loading for them it loads still,
 * for those who waited there, and we ask it before we call the origin a second time.
 *
 * Asked only while nothing has been changed here: a load that began before the move may have read what was changed
 * since, and the clocks of two members do not tell which came first.
 *
 *   1. k is loaded at A ─ k moves to B ─ somebody deletes k at B ─ a get comes to B: it must not follow the load at A.
 *   2. A leaves ─ a clear asks all that are left, B among them, and not A ─ B learns what it has got from A: what A still
 *      has is from before the clear. So for a while after a clear nobody is followed for that cache at all.
 */
import { PARTITIONS } from '../placement/partitions.ts'
import type { Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'

/** Loads that take longer than this after a move are followed no more. */
const FOLLOW_WITHIN_MS = 30_000
const PEERS_MAX = 4_096
/** Cleared within that time; beyond it nobody is followed for any. */
const CLEARED_MAX = 1_024

/** No peer has this number. */
const NOBODY = 0

export class Moves {
  readonly #clock: Clock
  /**
   * By partition, as numbers: with each member that comes thousands of them move at once, and an object for each would
   * make the collector of young objects take the whole process for one that lives on large ones.
   */
  readonly #from = new Uint16Array(PARTITIONS)
  readonly #before = new Uint16Array(PARTITIONS)
  readonly #untilMs = new Float64Array(PARTITIONS)
  readonly #peers: PeerId[] = ['']
  readonly #numbers = new Map<PeerId, number>()
  /** When caches were cleared here, in part or in whole. */
  readonly #clearedMs = new Map<string, number>()
  #manyClearedMs = Number.NEGATIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  gained(partition: number, from: PeerId): void {
    const number = this.#numberOf(from)
    this.#from[partition] = number
    this.#before[partition] = number
    this.#untilMs[partition] = this.#clock.monotonic() + FOLLOW_WITHIN_MS
  }

  lost(lost: (partition: number) => boolean): void {
    for (let partition = 0; partition < PARTITIONS; partition++)
      if (this.#from[partition] !== NOBODY && lost(partition)) this.#from[partition] = NOBODY
  }

  /** Who may be loading for this partition still. */
  before(partition: number, namespace: string): PeerId | undefined {
    const number = this.#from[partition] as number
    if (number === NOBODY || this.#wasCleared(namespace)) return undefined
    if ((this.#untilMs[partition] as number) > this.#clock.monotonic()) return this.#peers[number]
    this.#from[partition] = NOBODY
    return undefined
  }

  /** Who owned this partition until a moment ago, whatever was changed since. */
  ownerBefore(partition: number): PeerId | undefined {
    const number = this.#before[partition] as number
    return number === NOBODY ? undefined : this.#peers[number]
  }

  /** Something was changed here. */
  changed(partition: number): void {
    this.#from[partition] = NOBODY
  }

  cleared(namespace: string): void {
    const nowMs = this.#clock.monotonic()
    for (const [name, atMs] of this.#clearedMs) if (nowMs - atMs >= FOLLOW_WITHIN_MS) this.#clearedMs.delete(name)
    if (this.#clearedMs.size < CLEARED_MAX) this.#clearedMs.set(namespace, nowMs)
    else this.#manyClearedMs = nowMs
  }

  #wasCleared(namespace: string): boolean {
    const atMs = Math.max(this.#clearedMs.get(namespace) ?? Number.NEGATIVE_INFINITY, this.#manyClearedMs)
    return this.#clock.monotonic() - atMs < FOLLOW_WITHIN_MS
  }

  /** Members that come and go for ever must not use up the numbers: then all that is known is forgotten. */
  #numberOf(peer: PeerId): number {
    const known = this.#numbers.get(peer)
    if (known !== undefined) return known
    if (this.#peers.length > PEERS_MAX) {
      this.#from.fill(NOBODY)
      this.#before.fill(NOBODY)
      this.#numbers.clear()
      this.#peers.length = 1
    }
    this.#numbers.set(peer, this.#peers.length)
    return this.#peers.push(peer) - 1
  }
}
