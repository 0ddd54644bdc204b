import type { Eviction, EvictionName } from './eviction.ts'
import { hashOf, type Seed } from './key-text.ts'
import { Rings } from './rings.ts'
import { EVICTION_LINKS, type Rows } from './rows.ts'
import type { TimingWheel } from './timing-wheel.ts'

/** What one cache has in the store: its limit, its policy, its sums. Tombstones and copies stand apart, the oldest first. */
export class Share {
  readonly id: number
  readonly name: string
  /** Keys of two caches never meet in the index by their text. */
  readonly #seed: Seed
  bytesMax = Number.POSITIVE_INFINITY
  /** Has a limit or a policy of its own: stays known without a record. */
  isDeclared = false
  eviction: EvictionName = 'lru'
  policy: Eviction
  /** Where the times of its values are. */
  wheel: TimingWheel
  readonly tombstones: Rings
  /** Of partitions that others are primary of, tombstones too: the policy has no say. */
  readonly copies: Rings
  records = 0
  bytes = 0
  tombstoneBytes = 0
  copyBytes = 0

  constructor(o: { id: number; name: string; seed: Seed; rows: Rows; policy: Eviction; wheel: TimingWheel }) {
    this.id = o.id
    this.name = o.name
    this.#seed = { low: o.seed.low ^ Math.imul(o.id + 1, 0x9e3779b1), high: o.seed.high }
    this.policy = o.policy
    this.wheel = o.wheel
    this.tombstones = new Rings(o.rows, EVICTION_LINKS, 1)
    this.copies = new Rings(o.rows, EVICTION_LINKS, 1)
  }

  hashOf(key: string): number {
    return hashOf(key, this.#seed)
  }

  /** What the policy has the say over. */
  get valueBytes(): number {
    return this.bytes - this.tombstoneBytes - this.copyBytes
  }
}
