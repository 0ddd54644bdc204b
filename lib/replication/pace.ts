/**
 * So many bytes a second and no more: whoever wants to move some asks first and waits its turn. There is no burst, for
 * what is moved in one go is what keeps everybody else's small messages waiting.
 */
import type { Clock } from '../ports/clock.ts'

/** Moved in one go: small enough that a second has many of them, large enough that a message is worth its head. */
const GO_BYTES_MIN = 4 * 1024
const GO_BYTES_MAX = 256 * 1024
const GOES_PER_SECOND = 40

export class Pace {
  readonly #clock: Clock
  readonly #bytesPerMs: number
  /** What a go should be at most. */
  readonly goBytes: number
  #freeAtMs = 0

  constructor(clock: Clock, bytesPerSecond: number) {
    this.#clock = clock
    this.#bytesPerMs = bytesPerSecond / 1_000
    this.goBytes = Math.round(Math.min(Math.max(bytesPerSecond / GOES_PER_SECOND, GO_BYTES_MIN), GO_BYTES_MAX))
  }

  /** Resolves when so many bytes may go. */
  take(bytes: number): Promise<void> | undefined {
    const nowMs = this.#clock.monotonic()
    const waitMs = Math.max(0, this.#freeAtMs - nowMs)
    this.#freeAtMs = nowMs + waitMs + bytes / this.#bytesPerMs
    return waitMs === 0 ? undefined : new Promise(resolve => this.#clock.after(waitMs, resolve))
  }

  /** It was more than what had been asked for, or less. */
  settle(takenBytes: number, usedBytes: number): void {
    this.#freeAtMs += (usedBytes - takenBytes) / this.#bytesPerMs
  }
}
