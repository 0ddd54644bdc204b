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
import type { Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'

/** Loads that take longer than this after a move are followed no more. */
const FOLLOW_WITHIN_MS = 30_000

interface Move {
  readonly from: PeerId
  readonly untilMs: number
}

export class Moves {
  readonly #clock: Clock
  /** At most one for each partition there is. */
  readonly #moves = new Map<number, Move>()
  /** When caches were cleared here, in part or in whole. */
  readonly #clearedMs = new Map<string, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  gained(partition: number, from: PeerId): void {
    this.#moves.set(partition, { from, untilMs: this.#clock.monotonic() + FOLLOW_WITHIN_MS })
  }

  lost(lost: (partition: number) => boolean): void {
    for (const partition of this.#moves.keys()) if (lost(partition)) this.#moves.delete(partition)
  }

  /** Who may be loading for this partition still. */
  before(partition: number, namespace: string): PeerId | undefined {
    const move = this.#moves.get(partition)
    if (move === undefined || this.#wasCleared(namespace)) return undefined
    if (move.untilMs > this.#clock.monotonic()) return move.from
    this.#moves.delete(partition)
    return undefined
  }

  /** Something was changed here. */
  changed(partition: number): void {
    if (this.#moves.size > 0) this.#moves.delete(partition)
  }

  cleared(namespace: string): void {
    const nowMs = this.#clock.monotonic()
    for (const [name, atMs] of this.#clearedMs) if (nowMs - atMs >= FOLLOW_WITHIN_MS) this.#clearedMs.delete(name)
    this.#clearedMs.set(namespace, nowMs)
  }

  #wasCleared(namespace: string): boolean {
    const atMs = this.#clearedMs.get(namespace)
    return atMs !== undefined && this.#clock.monotonic() - atMs < FOLLOW_WITHIN_MS
  }
}
