/**
 * How many questions may be asked twice. One more question for a read that waits is what makes it fast; one more for
 * every read, because everybody is slow, is what makes the slow slower still. So a tenth of the reads may be, and a
 * hundred beside that after a quiet time.
 *
 * What is asked again because a link was lost or a peer has fallen silent is not charged: nobody else answers that.
 */
const READS_PER_HEDGE = 10
const HEDGES_MAX = 100

export class HedgeBudget {
  /** In reads, so that what is earned is a whole number. */
  #saved = HEDGES_MAX * READS_PER_HEDGE

  earn(reads = 1): void {
    this.#saved = Math.min(this.#saved + reads, HEDGES_MAX * READS_PER_HEDGE)
  }

  /** False where nothing is left: then the read waits. */
  spend(): boolean {
    if (this.#saved < READS_PER_HEDGE) return false
    this.#saved -= READS_PER_HEDGE
    return true
  }
}
