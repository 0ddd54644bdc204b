/**
 * Time, as the core sees it. Guarantees, held by one conformance suite for every adapter:
 *
 * - `monotonic()` never goes back, starts above 0 and decides everything: deadlines, expiry, silence.
 * - `wall()` may jump; it informs people and seeds versions, and decides nothing.
 * - `after(ms, fn)` runs `fn` once, never in the same turn, not before `ms` have passed; cancelling is idempotent.
 *   It does not keep a process alive.
 * - `defer(fn)` runs `fn` after the current turn and all promise jobs of it: what one turn asks for travels together.
 */
export interface Clock {
  monotonic(): number
  wall(): number
  after(ms: number, fn: () => void): Cancel
  defer(fn: () => void): void
}

export type Cancel = () => void
