/**
 * Keys whose last load failed are left alone for a while, the longer the more often in a row: `errorBackoff`, doubling
 * up to 5 s. It is kept where the key is owned, so all members share it, and by key, so that one bad row does not stop
 * the others. Any change of the key ends it: somebody may just have mended what was wrong.
 *
 * Not promised: that it outlives a move of the key to another owner. Bounded by keys and by what their failures say: the
 * oldest gives way.
 */
import { recordName } from '../base/record-name.ts'
import type { Clock } from '../ports/clock.ts'
import type { Outcome } from '../rpc/messages.ts'

const KEYS_MAX = 10_000
/** Of the texts of all failures, 8 MB at the most. */
const TEXT_UNITS_MAX = 4 * 1024 ** 2
const BACK_OFF_MS_MAX = 5_000
/** Failures further apart than this are not in a row. */
const FORGET_AFTER_MS = 60_000

interface Failing {
  failures: number
  untilMs: number
  last: Outcome
}

export interface BackOff {
  readonly failures: number
  readonly leftMs: number
  readonly last: Outcome
}

export class BackOffs {
  readonly #clock: Clock
  readonly #failing = new Map<string, Failing>()
  #textUnits = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Keys that are left alone or were not long ago. */
  get size(): number {
    return this.#failing.size
  }

  of(namespace: string, key: string): BackOff | undefined {
    const failing = this.#failing.get(recordName(namespace, key))
    const leftMs = failing === undefined ? 0 : failing.untilMs - this.#clock.monotonic()
    return failing === undefined || leftMs <= 0 ? undefined : { failures: failing.failures, leftMs, last: failing.last }
  }

  failed(namespace: string, key: string, last: Outcome, baseMs: number): void {
    if (baseMs === 0) return
    const name = recordName(namespace, key)
    const nowMs = this.#clock.monotonic()
    const before = this.#failing.get(name)
    const inRow = before !== undefined && nowMs - before.untilMs < FORGET_AFTER_MS ? before.failures : 0
    // Entered anew, so that the order of the map is that of the last failures.
    this.#delete(name)
    this.#textUnits += last.failure.length
    for (const [oldest] of this.#failing) {
      if (this.#failing.size < KEYS_MAX && this.#textUnits <= TEXT_UNITS_MAX) break
      this.#delete(oldest)
    }
    const waitMs = Math.min(baseMs * 2 ** Math.min(inRow, 30), Math.max(baseMs, BACK_OFF_MS_MAX))
    this.#failing.set(name, { failures: inRow + 1, untilMs: nowMs + waitMs, last })
  }

  forget(namespace: string, key: string): void {
    if (this.#failing.size > 0) this.#delete(recordName(namespace, key))
  }

  forgetMatching(namespace: string, matches: (key: string) => boolean): void {
    const head = recordName(namespace, '')
    for (const name of this.#failing.keys())
      if (name.startsWith(head) && matches(name.slice(head.length))) this.#delete(name)
  }

  #delete(name: string): void {
    this.#textUnits -= this.#failing.get(name)?.last.failure.length ?? 0
    this.#failing.delete(name)
  }
}
