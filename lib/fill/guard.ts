/**
 * Who may call the origin, and when.
 */
import type { CacheDefinition } from './definition.ts'

/** A user waits, or it only serves to have something fresh. */
export type Urgency = 'user' | 'refresh'
export type Refusal = 'full' | 'late' | 'open'

export interface OriginGuard {
  /** Asks to call the origin; exactly one of the two follows, within this call when there is room. */
  enter(
    definition: CacheDefinition,
    urgency: Urgency,
    go: { start(): void; refuse(why: Refusal, retryAfterMs: number): void }
  ): Ticket
}

export interface Ticket {
  /** A user waits for it now: moves it before the refreshes. */
  promote(): void
  /** Leaves the queue; does nothing once it has started or was refused. */
  withdraw(): void
  /** The origin call is over; exactly once after start. */
  done(outcome: 'ok' | 'failed' | 'aborted'): void
}

/** Lets everybody in. */
export const openGate: OriginGuard = {
  enter: (_definition, _urgency, go) => {
    go.start()
    return { promote: () => {}, withdraw: () => {}, done: () => {} }
  }
}
