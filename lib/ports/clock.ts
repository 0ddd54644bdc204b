/**
 * Time, as the core sees it. Guarantees, held by one conformance suite for every adapter:
 *
 * - `monotonic()` never goes back, starts above 0 and decides everything: deadlines, expiry, silence.
 * - `turnMs()` is `monotonic()` of now or of an earlier moment of this turn, and never goes back either. It is for whoever
 *   asks so often that to look at the time would be most of the work. Within a turn nothing comes in from outside, so
 *   what is decided by it could have been decided at that moment, by a caller that was slow with the answer.
 * - `wall()` may jump; it informs people and seeds versions, and decides nothing.
 * - `after(ms, fn)` runs `fn` once, never in the same turn, not before `ms` have passed; cancelling is idempotent.
 *   It does not keep a process alive.
 * - `defer(fn)` runs `fn` after the current turn and all promise jobs of it: what one turn asks for travels together.
 */
export interface Clock {
  monotonic(): number
  turnMs(): number
  wall(): number
  after(ms: number, fn: () => void): Cancel
  defer(fn: () => void): void
}

export type Cancel = () => void
