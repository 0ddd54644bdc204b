/**
 * How far a member trusts its own ears. One whose event loop runs late misses answers that have long arrived, so before
 * it suspects anybody it gives everybody more time: what Lifeguard calls local health.
 */
const SCORE_MAX = 3
/** Being this late is worth one point. */
const LATE_MS = 200

export class Health {
  #score = 0

  get score(): number {
    return this.#score
  }

  /** What patience with others is multiplied by. */
  get patience(): number {
    return 1 + this.#score
  }

  /** Our own loop ran late by so much. */
  ranLate(lateMs: number): void {
    this.worsen(Math.floor(lateMs / LATE_MS))
  }

  worsen(points: number): void {
    this.#score = Math.min(SCORE_MAX, this.#score + points)
  }

  improve(): void {
    this.#score = Math.max(0, this.#score - 1)
  }
}
