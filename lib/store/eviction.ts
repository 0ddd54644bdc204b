/**
 * What a cache needs of an eviction policy: an order of its values, and who goes first. A policy knows nothing else; the
 * store tells it what happens to them and asks it for a victim.
 */
import type { Random } from '../ports/random.ts'
import type { Rows } from './rows.ts'
import type { TimingWheel } from './timing-wheel.ts'

export type EvictionName = 'lru' | 'lfu' | 'ttl' | 'random'
export const EVICTION_NAMES: readonly EvictionName[] = ['lru', 'lfu', 'ttl', 'random']

export interface Eviction {
  /** A new value. */
  added(id: number): void
  /** A value was read, or written anew: `removed` and `returned` stand around the change of its size. */
  used(id: number): void
  removed(id: number): void
  returned(id: number): void
  /** The row of `from` has been copied to `to`. */
  moved(from: number, to: number): void
  /** Who goes first; NOBODY when there is none. */
  victim(): number
  /** All of them, about in the order in which they would go. */
  ids(): number[]
}

export interface EvictionDeps {
  readonly rows: Rows
  readonly random: Random
  /** Where the store keeps the times of the values. */
  readonly wheel: TimingWheel
  /** What a record costs. */
  readonly bytesOf: (id: number) => number
}
