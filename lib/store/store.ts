/**
 * The records a member holds: found by cache and key, walked by partition, bounded by bytes, gone when their time is
 * over. Keys, values and all that is known of them lie outside the V8 heap, so a million records are nothing to its
 * collector; how, is told in `rows.ts`, `slab.ts` and `records.ts`.
 *
 * Bytes. A record costs its key, its value and a fixed overhead, the same whatever the policy (`entry.ts`); the sum is
 * exact and never above the limit, not even within a call. Measured at a million values of 100 bytes, on Node 20: 70
 * bytes of memory for each beyond key and value (74 with `lfu` or `random`), 79 to 93 as resident memory, so 80 are
 * counted; a full collection takes 4 to 14 ms. In plain Buffers in a map they take 224 and 320 to 740 ms.
 *
 * Room. A cache over its own limit gives up what its policy says. When the member is full, the cache that holds the
 * most gives something up, by its policy: so a cache that is small is safe from one that grows without end, and where
 * all are large they come to equal shares. Recency across caches is not compared: a cold cache keeps its share until
 * its TTLs are over, or until it is given a limit.
 *
 * Tombstones keep old values from coming back, so values go before them. But deletes alone must not empty a cache: past
 * an eighth of a limit the oldest tombstones go, and are counted.
 *
 * Time is an argument and may jump. An expired value is never answered; its memory comes back a little later, a bounded
 * number with each call, and by `expire`, which `sweep.ts` calls while nobody else does.
 *
 * Not promised: that anything is kept. And one `limit` with another policy walks through all values of its cache, as
 * `dropMatching` and `dropPartitions` walk through what they drop, some 300 ns each: a million records given away is a
 * pause. And memory that is given up is the system's only after the next collection.
 */
import { assert } from '../base/assert.ts'
import type { Stats } from '../observe/stats.ts'
import type { Random } from '../ports/random.ts'
import { type Entry, entryBytes } from './entry.ts'
import type { Eviction, EvictionName } from './eviction.ts'
import { evictionOf } from './policies.ts'
import { KEY_UNITS_MAX, Records } from './records.ts'
import { Rings } from './rings.ts'
import { EXPIRES, NOBODY, PARTITION_LINKS, TRAIT } from './rows.ts'
import { Share } from './share.ts'
import { Shares } from './shares.ts'
import { TimingWheel } from './timing-wheel.ts'

const PARTITIONS_MAX = 16_384
const TOMBSTONE_SHARE = 1 / 8
/** How many records a put looks at that may be over, and how many one `expire` does. */
const DUE_PER_PUT = 8
const DUE_PER_EXPIRE = 2_000
const COMPACTED_PER_EXPIRE_BYTES = 64 * 1024
const STRAGGLERS_PER_PUT = 2
const STRAGGLERS_PER_EXPIRE = 500
/** For so many evictions the largest cache is taken to be still the largest. */
const LARGEST_FOR = 32

export interface StoreOptions {
  readonly bytesMax: number
  readonly stats: Stats
  readonly random: Random
}

export interface Limit {
  readonly bytesMax: number
  readonly eviction: EvictionName
}

export interface Excess {
  readonly recordBytes: number
  readonly recordBytesMax: number
}

export class Store {
  readonly #records = new Records()
  readonly #rows = this.#records.rows
  readonly #wheel = new TimingWheel(this.#rows)
  #wheels = [this.#wheel]
  readonly #partitions = new Rings(this.#rows, PARTITION_LINKS, PARTITIONS_MAX)
  readonly #shares: Shares
  readonly #bytesMax: number
  readonly #stats: Stats
  readonly #random: Random
  #bytes = 0
  #tombstoneBytes = 0
  #largest: Share | undefined
  #largestFor = 0
  #nowMs = Number.NEGATIVE_INFINITY

  constructor({ bytesMax, stats, random }: StoreOptions) {
    this.#bytesMax = bytesMax
    this.#stats = stats
    this.#random = random
    const seed = { low: random.integer(2 ** 32) | 0, high: random.integer(2 ** 32) | 0 }
    const [rows, wheel] = [this.#rows, this.#wheel]
    this.#shares = new Shares(
      (id, name) => new Share({ id, name, seed, rows, wheel, policy: this.#policyOf('lru', wheel) })
    )
  }

  get bytes(): number {
    return this.#bytes
  }

  get size(): number {
    return this.#records.size
  }

  /** Memory held outside the V8 heap, what is free or dead of it too. */
  get heldBytes(): number {
    return this.#records.heldBytes
  }

  bytesOf(namespace: string): number {
    return this.#shares.get(namespace)?.bytes ?? 0
  }

  /** What a record would take and what it may, where it is too large ever to be kept; undefined where it is not. */
  excess(namespace: string, record: Pick<Entry, 'key' | 'bytes' | 'keeping'>): Excess | undefined {
    const recordBytes = entryBytes(record)
    const recordBytesMax = this.#recordBytesMax(this.#shares.get(namespace))
    return recordBytes > recordBytesMax ? { recordBytes, recordBytesMax } : undefined
  }

  /** What a cache may hold of its own, and who of it goes first. One that is not told may take all there is, as `lru`. */
  limit(namespace: string, { bytesMax, eviction }: Limit): void {
    const share = this.#shares.of(namespace)
    if (share === undefined) return
    share.isDeclared = true
    share.bytesMax = bytesMax
    if (share.eviction !== eviction) this.#order(share, eviction)
    this.#makeRoom(share, 0)
  }

  /** The live value of a key; finding it is a use of it. */
  value(namespace: string, key: string, nowMs: number): Entry | undefined {
    const id = this.#used(namespace, key, nowMs)
    return id === NOBODY ? undefined : this.#records.entry(id, namespace, key)
  }

  /**
   * The same for who only looks: its bytes are the record's own memory, spared a copy, and must be used up before
   * anything else is asked of this store.
   */
  glance(namespace: string, key: string, nowMs: number): Entry | undefined {
    const id = this.#used(namespace, key, nowMs)
    return id === NOBODY ? undefined : this.#records.entry(id, namespace, key, true)
  }

  #used(namespace: string, key: string, nowMs: number): number {
    if (nowMs >= this.#wheel.nextTickMs) this.#tick(nowMs)
    const share = this.#shares.get(namespace)
    if (share === undefined) return NOBODY
    const id = this.#records.find(share.id, key, share.hashOf(key))
    if (id === NOBODY || this.#rows.has(id, TRAIT.tombstone)) return NOBODY
    if (!(this.#rows.getDouble(id, EXPIRES) > nowMs)) {
      this.#expired(share, id)
      this.#shares.settle()
      return NOBODY
    }
    share.policy.used(id)
    return id
  }

  /** Whatever is known of a key, a tombstone or an expired value too. */
  entry(namespace: string, key: string): Entry | undefined {
    const share = this.#shares.get(namespace)
    const id = share === undefined ? NOBODY : this.#records.find(share.id, key, share.hashOf(key))
    return id === NOBODY ? undefined : this.#records.entry(id, namespace, key)
  }

  /** False when the entry can never fit: it is not kept, nor what it was to replace, and nothing else is lost for it. */
  put(entry: Entry): boolean {
    assert(
      entry.partition >>> 0 === entry.partition && entry.partition < PARTITIONS_MAX,
      'partitions are whole numbers'
    )
    assert(!Number.isNaN(entry.expiresAtMs), 'an entry says when it expires')
    const share = this.#shares.of(entry.namespace)
    if (share === undefined) return false
    const isKept = this.#put(share, entry)
    this.#dropDue(DUE_PER_PUT)
    this.#records.tidy(entry.bytes.length + entry.key.length)
    this.#lowerStragglers(STRAGGLERS_PER_PUT)
    this.#shares.settle()
    return isKept
  }

  drop(namespace: string, key: string): boolean {
    const share = this.#shares.get(namespace)
    const id = share === undefined ? NOBODY : this.#records.find(share.id, key, share.hashOf(key))
    if (share === undefined || id === NOBODY) return false
    this.#remove(share, id)
    this.#shares.settle()
    return true
  }

  /** Forgets every record of the partitions that `lost` names, and says how many those were. */
  dropPartitions(lost: (partition: number) => boolean): number {
    const before = this.size
    for (let partition = 0; partition < PARTITIONS_MAX; partition++) {
      if (this.#partitions.first(partition) === NOBODY || !lost(partition)) continue
      for (let id = this.#partitions.first(partition); id !== NOBODY; id = this.#partitions.first(partition)) {
        const share = this.#shares.at(this.#records.cacheOf(id))
        this.#remove(share, id)
      }
    }
    this.#shares.settle()
    return before - this.size
  }

  /** Forgets every record of a cache whose key begins like that, tombstones too, and says how many those were. */
  dropMatching(namespace: string, keyPrefix: string): number {
    const share = this.#shares.get(namespace)
    if (share === undefined) return 0
    const ids = [...share.policy.ids(), ...share.tombstones.ids(0)]
    const matching = keyPrefix === '' ? ids : ids.filter(id => this.#records.key(id).startsWith(keyPrefix))
    for (const id of matching) this.#remove(share, id)
    this.#shares.settle()
    return matching.length
  }

  /** The keys that have a value, as they are when it is asked for the first. */
  *keysIn(namespace: string, partition: number, keyPrefix: string, nowMs: number): Iterable<string> {
    const cache = this.#shares.get(namespace)?.id
    const ids = this.#partitions.ids(partition).filter(id => this.#records.cacheOf(id) === cache)
    const isValue = (id: number): boolean => !this.#rows.has(id, TRAIT.tombstone) && !this.#rows.has(id, TRAIT.negative)
    const live = ids.filter(id => isValue(id) && this.#rows.getDouble(id, EXPIRES) > nowMs)
    yield* live.map(id => this.#records.key(id)).filter(key => key.startsWith(keyPrefix))
  }

  /** Time goes on: drops what is over, a bounded number, and compacts a little. */
  expire(nowMs: number): number {
    this.#tick(nowMs)
    const dropped = this.#dropDue(DUE_PER_EXPIRE)
    this.#records.tidy(COMPACTED_PER_EXPIRE_BYTES)
    this.#lowerStragglers(STRAGGLERS_PER_EXPIRE)
    this.#shares.settle()
    return dropped
  }

  /** Whether `expire` has more to do than one call did. */
  get isBehind(): boolean {
    return this.#wheels.some(wheel => wheel.hasDue) || this.#records.isWasteful || this.#rows.straggler() !== NOBODY
  }

  #put(share: Share, entry: Entry): boolean {
    const hash = share.hashOf(entry.key)
    const known = this.#records.find(share.id, entry.key, hash)
    if (known !== NOBODY) return this.#change(share, known, entry)
    if (!this.#canFit(share, entry)) return false
    this.#makeRoom(share, entryBytes(entry), entry.kind)
    const id = this.#records.add(share.id, entry, hash)
    if (id === NOBODY) return false
    this.#attach(share, id)
    return true
  }

  #change(share: Share, id: number, entry: Entry): boolean {
    const wasValue = !this.#rows.has(id, TRAIT.tombstone)
    // Out of all lists, it is no victim while room is made for what it becomes.
    this.#detach(share, id)
    const fits = this.#canFit(share, entry)
    if (fits) this.#makeRoom(share, entryBytes(entry), entry.kind)
    if (!fits || !this.#records.change(id, entry)) {
      this.#records.remove(id)
      return false
    }
    this.#attach(share, id, wasValue)
    return true
  }

  #canFit(share: Share, entry: Entry): boolean {
    return entryBytes(entry) <= this.#recordBytesMax(share) && entry.key.length <= KEY_UNITS_MAX
  }

  #recordBytesMax(share: Share | undefined): number {
    return Math.min(this.#bytesMax, share?.bytesMax ?? this.#bytesMax)
  }

  #makeRoom(share: Share, cost: number, kind: Entry['kind'] = 'value'): void {
    if (kind === 'tombstone') this.#boundTombstones(share, cost)
    while (share.bytes + cost > share.bytesMax) this.#evictFrom(share)
    while (this.#bytes + cost > this.#bytesMax || !this.#records.canHold()) this.#evictFrom(this.#fullest())
  }

  /** What is over goes first of all, whosever it is; then values; then tombstones. */
  #evictFrom(share: Share): void {
    if (this.#dropDue(1) > 0) return
    const id = share.policy.victim()
    if (id === NOBODY) return this.#evictTombstone(share)
    this.#stats.evictionsTotal++
    this.#remove(share, id)
  }

  #evictTombstone(share: Share): void {
    const id = share.tombstones.first(0)
    assert(id !== NOBODY, 'a store that is full holds something')
    this.#stats.tombstonesEvictedTotal++
    this.#remove(share, id)
  }

  /** A cache that deletes more than others forgets its own deletes first. */
  #boundTombstones(share: Share, cost: number): void {
    const own = share.bytesMax * TOMBSTONE_SHARE
    const all = this.#bytesMax * TOMBSTONE_SHARE
    while (share.tombstoneBytes > 0 && share.tombstoneBytes + cost > own) this.#evictTombstone(share)
    while (this.#tombstoneBytes > 0 && this.#tombstoneBytes + cost > all)
      this.#evictTombstone(share.tombstoneBytes > 0 ? share : this.#shares.most(({ tombstoneBytes }) => tombstoneBytes))
  }

  /** The cache with the most values; where there are none, with the most tombstones. */
  #fullest(): Share {
    if (this.#largest !== undefined && this.#largest.valueBytes > 0 && this.#largestFor-- > 0) return this.#largest
    this.#largest = this.#shares.most(({ valueBytes }) => valueBytes)
    this.#largestFor = LARGEST_FOR
    return this.#largest.valueBytes > 0 ? this.#largest : this.#shares.most(({ tombstoneBytes }) => tombstoneBytes)
  }

  #attach(share: Share, id: number, wasValue = false): void {
    const cost = this.#records.costOf(id)
    this.#bytes += cost
    share.bytes += cost
    share.records++
    this.#partitions.linkLast(this.#records.partitionOf(id), id)
    if (this.#rows.has(id, TRAIT.tombstone)) {
      this.#tombstoneBytes += cost
      share.tombstoneBytes += cost
      share.tombstones.linkLast(0, id)
      this.#wheel.add(id)
      return
    }
    share.wheel.add(id)
    if (wasValue) share.policy.returned(id)
    else share.policy.added(id)
  }

  #detach(share: Share, id: number): void {
    const cost = this.#records.costOf(id)
    this.#bytes -= cost
    share.bytes -= cost
    share.records--
    if (share.records === 0) this.#shares.emptied(share)
    this.#partitions.unlink(id)
    if (this.#rows.has(id, TRAIT.tombstone)) {
      this.#tombstoneBytes -= cost
      share.tombstoneBytes -= cost
      share.tombstones.unlink(id)
      this.#wheel.remove(id)
      return
    }
    share.wheel.remove(id)
    share.policy.removed(id)
  }

  #remove(share: Share, id: number): void {
    this.#detach(share, id)
    this.#records.remove(id)
  }

  #tick(nowMs: number): void {
    this.#nowMs = Math.max(this.#nowMs, nowMs)
    for (const wheel of this.#wheels) wheel.advance(nowMs)
  }

  #dropDue(most: number): number {
    const before = this.size
    let left = most
    for (const wheel of this.#wheels) {
      for (; left > 0 && wheel.hasDue; left--) {
        const id = wheel.due()
        if (id !== NOBODY) this.#expired(this.#shares.at(this.#records.cacheOf(id)), id)
      }
    }
    return before - this.size
  }

  #expired(share: Share, id: number): void {
    if (!this.#rows.has(id, TRAIT.tombstone)) this.#stats.expirationsTotal++
    this.#remove(share, id)
  }

  /** Records from the last rows move to lower ones, so that the last can be given back. */
  #lowerStragglers(most: number): void {
    for (let left = most; left > 0; left--) {
      const from = this.#rows.straggler()
      if (from === NOBODY) return
      const to = this.#records.lower(from)
      const share = this.#shares.at(this.#records.cacheOf(to))
      this.#partitions.moved(from, to)
      if (this.#rows.has(to, TRAIT.tombstone)) {
        share.tombstones.moved(from, to)
        this.#wheel.moved(from, to)
      } else {
        share.policy.moved(from, to)
        share.wheel.moved(from, to)
      }
      this.#records.vacate(from)
    }
  }

  #order(share: Share, eviction: EvictionName): void {
    const ids = share.policy.ids()
    for (const id of ids) {
      share.policy.removed(id)
      share.wheel.remove(id)
    }
    if (share.wheel !== this.#wheel) this.#wheels = this.#wheels.filter(wheel => wheel !== share.wheel)
    share.wheel = eviction === 'ttl' ? new TimingWheel(this.#rows) : this.#wheel
    if (share.wheel !== this.#wheel) this.#wheels.push(share.wheel)
    share.wheel.advance(this.#nowMs)
    share.eviction = eviction
    share.policy = this.#policyOf(eviction, share.wheel)
    for (const id of ids) {
      share.wheel.add(id)
      share.policy.added(id)
    }
  }

  #policyOf(eviction: EvictionName, wheel: TimingWheel): Eviction {
    return evictionOf(eviction, {
      rows: this.#rows,
      random: this.#random,
      wheel,
      bytesOf: id => this.#records.costOf(id)
    })
  }
}
