/**
 * What we hold and others may have changed without us, by partition: we stood still, and they buried us.
 *
 *   buried ─▶ all of it ─┬─ ours to decide: others have told what they have and it is here ─▶ sure
 *                        └─ a copy: its primary has compared it since, and it was equal    ─▶ sure
 *
 * One mark for both, for the role may change in between: what was doubtful as a copy is so for its new primary, and the
 * other way round.
 */
import { PARTITIONS } from '../placement/partitions.ts'

/** Clocks of members differ by less; what was sent before we were buried is older by more. */
const SKEW_MS = 1_000

export class Doubts {
  readonly #isIn = new Uint8Array(PARTITIONS)
  #sinceMs = Number.NEGATIVE_INFINITY

  all(nowMs: number): void {
    this.#isIn.fill(1)
    this.#sinceMs = nowMs
  }

  has(partition: number): boolean {
    return this.#isIn[partition] === 1
  }

  /** Everybody who may have changed it has told what they have. */
  end(partition: number): void {
    this.#isIn[partition] = 0
  }

  /** Its primary had the same at `atMs`, by its clock. */
  equal(partition: number, atMs: number): void {
    if (atMs > this.#sinceMs - SKEW_MS) this.end(partition)
  }
}
