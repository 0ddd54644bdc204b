/**
 * How one peer answers: how fast, and whether at all.
 *
 * Fast: the 95th percentile of what it answers from its store, learned from one call in sixteen by a step up when one
 * took longer and a nineteenth of that step down when it did not (Robbins and Monro, on a scale of factors). So it is
 * one number, follows a change within some thousand reads, and costs nothing to the other fifteen.
 *
 * At all: it is *silent* when something that is answered at once has been asked and then nothing whatever was heard of
 * it for four times that long, at least 50 ms. Anything heard ends the silence, and a call that was asked before that
 * says nothing any more: it may wait for a load. One timer for each peer that is being asked looks after that; a call
 * or a frame only sets a number.
 *
 * Not promised: that a silent peer is dead, or that one that is not silent answers. It tells where to ask first. Whether
 * a member is here is decided by `membership/`.
 */
import type { Cancel, Clock } from '../ports/clock.ts'

const SAMPLE_EVERY = 16
/** Before anything is known. */
const FIRST_MS = 10
const P95_MS_MIN = 0.05
const P95_MS_MAX = 500
/** One up for nineteen down is the point that one answer in twenty exceeds. */
const UP = 1.27
const DOWN = UP ** (-1 / 19)

const SILENT_MS_MIN = 50
const SILENT_TIMES = 4
/** A timer so late means that our own event loop stood still, and what was heard may lie there unread. */
const LATE_MS = 25

/** How long a read waits before another is asked as well: few lengths, so that `Deadlines` has few lines. */
const PATIENCES_MS = [4, 8, 16, 32, 64]
const PATIENCE_MS_MAX = 100

export class Pulse {
  /** Under way. */
  calls = 0
  isSilent = false
  p95Ms = FIRST_MS
  readonly #clock: Clock
  readonly #onSilent: () => void
  /** When the first of those calls was made that nothing was heard after; 0 when there is none. */
  #unheardSinceMs = 0
  #asked = 0
  #patienceMs = patienceFor(FIRST_MS)
  #disarm: Cancel | undefined

  /** `onSilent`: once for each time that it falls silent. */
  constructor(clock: Clock, onSilent: () => void) {
    this.#clock = clock
    this.#onSilent = onSilent
  }

  /** Something was asked that is answered at once. True when it is to be told how long that took. */
  asked(nowMs: number): boolean {
    if (this.#unheardSinceMs === 0) {
      this.#unheardSinceMs = nowMs
      if (this.#disarm === undefined) this.#watch(this.#silentMs)
    }
    this.#asked = (this.#asked + 1) % SAMPLE_EVERY
    return this.#asked === 0
  }

  heard(): void {
    this.#unheardSinceMs = 0
    this.isSilent = false
  }

  answered(tookMs: number): void {
    const next = this.p95Ms * (tookMs > this.p95Ms ? UP : DOWN)
    this.p95Ms = Math.min(Math.max(next, P95_MS_MIN), P95_MS_MAX)
    this.#patienceMs = patienceFor(this.p95Ms)
  }

  /** How long to wait for it alone: what nearly all its answers take, and at most a quarter of the time there is. */
  patienceMs(timeoutMs: number): number {
    const mostMs = timeoutMs / 4
    return this.#patienceMs <= mostMs ? this.#patienceMs : (PATIENCES_MS.findLast(ms => ms <= mostMs) ?? mostMs)
  }

  /** The link is gone. */
  stop(): void {
    this.#disarm?.()
    this.#disarm = undefined
    this.heard()
  }

  get #silentMs(): number {
    return Math.max(SILENT_MS_MIN, SILENT_TIMES * this.p95Ms)
  }

  #watch(ms: number): void {
    const dueMs = this.#clock.monotonic() + ms
    this.#disarm = this.#clock.after(ms, () => {
      this.#disarm = undefined
      // Nothing is asked of it, or it is known to be silent: the next question, or the next after a word of it, looks anew.
      if (this.#unheardSinceMs === 0 || this.isSilent) return
      const nowMs = this.#clock.monotonic()
      if (nowMs - dueMs > LATE_MS) this.#unheardSinceMs = nowMs
      const leftMs = this.#unheardSinceMs + this.#silentMs - nowMs
      if (leftMs > 0) return this.#watch(leftMs)
      this.isSilent = true
      this.#onSilent()
    })
  }
}

function patienceFor(p95Ms: number): number {
  return PATIENCES_MS.find(ms => ms >= p95Ms) ?? PATIENCE_MS_MAX
}
