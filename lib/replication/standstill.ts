/**
 * Since when others may have gone on without us, when we hear that they have: since our last tick; or, where we have
 * just stood still, since the last one before that. By the mesh clock, which leaps where a machine has slept.
 */

/** A member that has stood still for so long may have been given up by the others. */
const STALL_MS = 5_000
/** That it was it hears this soon after; what it hears later was another time. */
const HEARD_MS = 10_000

export class Standstill {
  #tickedMs: number
  #sinceMs = 0
  #untilMs = Number.NEGATIVE_INFINITY

  constructor(nowMs: number) {
    this.#tickedMs = nowMs
  }

  tick(nowMs: number): void {
    if (nowMs - this.#tickedMs > STALL_MS) {
      this.#sinceMs = this.#tickedMs
      this.#untilMs = nowMs
    }
    this.#tickedMs = nowMs
  }

  /** We have heard: it is not counted a second time. */
  sinceMs(nowMs: number): number {
    const wasStill = nowMs - this.#untilMs < HEARD_MS
    this.#untilMs = Number.NEGATIVE_INFINITY
    return wasStill ? this.#sinceMs : this.#tickedMs
  }
}
