/**
 * A circuit breaker for one cache: whether its origin is worth a call now. Nothing but numbers and the time it is told.
 *
 *   closed ─ of the calls of 10 s at least `failures` failed, and at least half ─▶ open ─ its time ─▶ half-open: one probe
 *     ▲                                                                            ▲                    │        │
 *     └────────────────────────────────── it succeeds ─────────────────────────────┼────────────────────┘        │
 *                                                  twice as long, up to ten times  └──────── it fails ───────────┘
 *
 * "At least half" keeps a busy cache of an origin with a few bad rows closed; "at least so many" keeps one call of a
 * quiet cache from being the whole truth. A probe that was aborted has shown nothing: the next one decides.
 */
import type { BREAKER_STATES } from '../rpc/origin-talk.ts'

export type BreakerState = (typeof BREAKER_STATES)[number]

export interface BreakerTerms {
  /** Failures that open it; 0 is never. */
  readonly failures: number
  readonly openForMs: number
}

const BUCKET_MS = 1_000
const BUCKETS = 10
const LONGER_MAX = 10

export class Breaker {
  terms: BreakerTerms
  readonly #counted = new Recent()
  #isOpen = false
  #openForMs = 0
  #retryAtMs = 0
  /** Rises with each change, so that who was told of it knows whether there is something to tell. */
  changes = 0

  constructor(terms: BreakerTerms) {
    this.terms = terms
  }

  state(nowMs: number): BreakerState {
    if (!this.#isOpen) return 'closed'
    return nowMs < this.#retryAtMs ? 'open' : 'half-open'
  }

  /** Until when it is of no use to ask again; 0 when it is closed. While a probe runs, the time of a first opening. */
  retryAfterMs(nowMs: number): number {
    if (!this.#isOpen) return 0
    return nowMs < this.#retryAtMs ? this.#retryAtMs - nowMs : this.terms.openForMs
  }

  /** What calls came to; true when that has opened it. What began before it opened says nothing once it is open. */
  report(oks: number, failures: number, nowMs: number): boolean {
    if (this.terms.failures === 0 || this.#isOpen) return false
    const { oks: ok, failures: failed } = this.#counted.add(oks, failures, nowMs)
    if (failures === 0 || failed < this.terms.failures || failed < ok) return false
    this.#open(this.terms.openForMs, nowMs)
    return true
  }

  /** Of the one call that was let through; true when that has opened it again. */
  probed(outcome: 'ok' | 'failed', nowMs: number): boolean {
    if (!this.#isOpen) return false
    if (outcome === 'failed') {
      this.#open(Math.min(this.#openForMs * 2, this.terms.openForMs * LONGER_MAX), nowMs)
      return true
    }
    this.#isOpen = false
    this.#counted.forget()
    this.changes++
    return false
  }

  /** Somebody has been told that it is open, by whoever kept it before. */
  adopt(retryAfterMs: number, nowMs: number): void {
    if (this.terms.failures === 0) return
    const atMs = nowMs + Math.min(retryAfterMs, this.terms.openForMs * LONGER_MAX)
    if (this.#isOpen && atMs <= this.#retryAtMs) return
    this.#open(this.terms.openForMs, nowMs)
    this.#retryAtMs = atMs
  }

  #open(ms: number, nowMs: number): void {
    this.#isOpen = true
    this.#openForMs = ms
    this.#retryAtMs = nowMs + ms
    this.changes++
  }
}

/** The calls of the last ten seconds, by the second. */
class Recent {
  readonly #oks = new Float64Array(BUCKETS)
  readonly #failures = new Float64Array(BUCKETS)
  #second = 0

  add(oks: number, failures: number, nowMs: number): { oks: number; failures: number } {
    const second = Math.floor(nowMs / BUCKET_MS)
    for (let gone = Math.max(this.#second + 1, second - BUCKETS + 1); gone <= second; gone++)
      this.#empty(gone % BUCKETS)
    this.#second = Math.max(this.#second, second)
    const at = this.#second % BUCKETS
    this.#oks[at] = (this.#oks[at] as number) + oks
    this.#failures[at] = (this.#failures[at] as number) + failures
    return { oks: sum(this.#oks), failures: sum(this.#failures) }
  }

  forget(): void {
    this.#oks.fill(0)
    this.#failures.fill(0)
  }

  #empty(bucket: number): void {
    this.#oks[bucket] = 0
    this.#failures[bucket] = 0
  }
}

function sum(values: Float64Array): number {
  let all = 0
  for (const value of values) all += value
  return all
}
