/**
 * The records a member holds: found by cache and key, walked by partition, bounded by bytes, gone when their time is
 * over. Keys, values and all that is known of them lie outside the V8 heap, so a million records are nothing to its
 * collector; how, is told in `rows.ts`, `slab.ts` and `records.ts`.
 *
 * Bytes. A record costs its key, its value and a fixed overhead, the same whatever the policy (`entry.ts`); the sum is
 * exact and never above the limit, not even within a call. Of a million values of 100 bytes each takes 70 to 74 bytes
 * beyond key and value, 79 to 93 as resident memory, so 80 are counted.
 *
 * Room. A cache over its own limit gives up what its policy says. When the member is full, the cache that holds the
 * most gives something up, by its policy: so a cache that is small is safe from one that grows without end, and where
 * all are large they come to equal shares. Recency across caches is not compared: a cold cache keeps its share until
 * its TTLs are over, or until it is given a limit. Copies of other members' partitions go by the partition (`room.ts`).
 *
 * Tombstones keep old values from coming back, so values go before them. But deletes alone must not empty a cache: past
 * an eighth of a limit the oldest tombstones go, and are counted.
 *
 * Time is an argument and may jump. An expired value is never answered; its memory comes back a little later, a bounded
 * number with each call, and by `expire`, which `sweep.ts` calls while nobody else does.
 *
 * Not promised: that anything is kept. And a `limit` with another policy walks through its cache, as a clear of
 * a part and `dropPartition` through what they drop, 300 ns each. And memory is the system's only after the next collection.
 */
import { assert } from '../base/assert.ts'
import type { Stats } from '../observe/stats.ts'
import type { Random } from '../ports/random.ts'
import type { Digest } from './digests.ts'
import { type Entry, entryBytes, stubOf } from './entry.ts'
import type { EvictionName } from './eviction.ts'
import type { Floor, Floored } from './floor.ts'
import { FloorSweep } from './floor-sweep.ts'
import { Floors } from './floors.ts'
import { Heat } from './heat.ts'
import { Holdings } from './holdings.ts'
import { shadowOf } from './keeping.ts'
import { digestAt, keysIn, type Listed, type Name, type RecordsPage, recordsIn, versionsIn } from './partition-pages.ts'
import { KEY_UNITS_MAX } from './records.ts'
import { type Leaving, Room } from './room.ts'
import { EXPIRES, NOBODY, PARTITION_MASK, PARTITIONS_MAX, TRAIT, TRAITS } from './rows.ts'
import type { Share } from './share.ts'
import { isNewer, type Version } from './version.ts'

/** How many records a put looks at that may be over, and how many one `expire` does. */
const DUE_PER_PUT = 8
const DUE_PER_EXPIRE = 2_000
const COMPACTED_PER_EXPIRE_BYTES = 64 * 1024
const STRAGGLERS_PER_PUT = 2
const STRAGGLERS_PER_EXPIRE = 500
const SWEPT_PER_EXPIRE = 20_000
const FLOORS_MS = 3_600_000

export interface StoreOptions {
  readonly bytesMax: number
  readonly stats: Stats
  readonly random: Random
  /** How long a floor is kept, and who is told of each. */
  readonly floorsMs?: number
  readonly onFloor?: (floor: Floor) => void
}

export interface Limit {
  readonly bytesMax: number
  readonly eviction: EvictionName
}

export interface Excess {
  readonly recordBytes: number
  readonly recordBytesMax: number
}

/** What became of a record that another member has: taken; something newer is here; this very one is; not taken. */
export type Merged = 'kept' | 'older' | 'same' | 'refused'

export class Store {
  readonly #holdings: Holdings
  readonly #room: Room
  readonly #floors: Floors
  readonly #sweep: FloorSweep
  readonly #heat = new Heat()
  readonly #bytesMax: number
  // Of the holdings, kept here for the reads.
  readonly #records: Holdings['records']
  readonly #rows: Holdings['records']['rows']
  readonly #wheel: Holdings['wheel']
  readonly #shares: Holdings['shares']

  constructor({ bytesMax, stats, random, floorsMs = FLOORS_MS, onFloor }: StoreOptions) {
    this.#bytesMax = bytesMax
    this.#holdings = new Holdings(random)
    this.#room = new Room({ holdings: this.#holdings, bytesMax, stats })
    this.#floors = new Floors(floorsMs, stats, onFloor)
    this.#sweep = new FloorSweep(this.#holdings, this.#floors)
    this.#holdings.isDead = id => this.#sweep.isDead(id)
    this.#records = this.#holdings.records
    this.#rows = this.#records.rows
    this.#wheel = this.#holdings.wheel
    this.#shares = this.#holdings.shares
  }

  get bytes(): number {
    return this.#holdings.bytes
  }

  get size(): number {
    return this.#records.size
  }

  /** Memory held outside the V8 heap, what is free or dead of it too. */
  get heldBytes(): number {
    return this.#records.heldBytes
  }

  /** Who is told of what goes. */
  get leaving(): Leaving {
    return this.#room.hooks
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
    if (share.eviction !== eviction) this.#holdings.order(share, eviction)
    this.#room.bound(share)
    this.#settle()
  }

  /** Whether this member is the primary of a partition; until told otherwise it is of all. What it is not, is copies. */
  setRole(partition: number, isPrimary: boolean): void {
    this.#holdings.setRole(partition, isPrimary)
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
    if (nowMs >= this.#wheel.nextTickMs) this.#holdings.tick(nowMs)
    const share = this.#shares.get(namespace)
    if (share === undefined) return NOBODY
    const id = this.#sweep.alive(this.#records.find(share.id, key, share.hashOf(key)))
    if (id === NOBODY) return NOBODY
    const traits = this.#rows.get(id, TRAITS)
    if ((traits & TRAIT.tombstone) !== 0) return NOBODY
    if (!(this.#rows.getDouble(id, EXPIRES) > nowMs)) {
      this.#room.expired(share, id, nowMs)
      this.#settle()
      return NOBODY
    }
    this.#heat.used(traits & PARTITION_MASK)
    if ((traits & TRAIT.copy) === 0) share.policy.used(id)
    return id
  }

  #find(namespace: string, key: string): number {
    return this.#sweep.alive(this.#holdings.find(this.#shares.get(namespace), key))
  }

  /** Whatever is known of a key, a tombstone or an expired value too. */
  entry(namespace: string, key: string): Entry | undefined {
    const id = this.#find(namespace, key)
    return id === NOBODY ? undefined : this.#records.entry(id, namespace, key)
  }

  /** The same of its version alone, and no use of it. */
  versionOf(namespace: string, key: string): { version: Version; expiresAtMs: number } | undefined {
    const id = this.#find(namespace, key)
    if (id === NOBODY) return undefined
    return { version: this.#records.versionOf(id), expiresAtMs: this.#rows.getDouble(id, EXPIRES) }
  }

  /**
   * False when the entry can never fit, lies below a floor, or is of a partition of copies for which there is no room.
   * Then it is not kept, nor, but for a floor, what it was to replace; where it can never fit nothing else is lost.
   */
  put(entry: Entry): boolean {
    check(entry)
    if (this.killer(entry, entry.version.stamp) !== undefined) return false
    const share = this.#shares.of(entry.namespace)
    if (share === undefined) return false
    const hash = share.hashOf(entry.key)
    const isKept = this.#put(share, entry, this.#sweep.alive(this.#records.find(share.id, entry.key, hash)), hash)
    this.#tidy(entry)
    return isKept
  }

  /**
   * Takes what another member has where it is newer than what is here, or is the same version with another end. It may
   * be refused: it is over, lies below a floor, or has no room; what is older than it goes even so.
   */
  merge(entry: Entry, nowMs: number): Merged {
    if (nowMs >= this.#wheel.nextTickMs) this.#holdings.tick(nowMs)
    if (this.#isDead(entry)) return 'refused'
    const share = this.#shares.of(entry.namespace)
    if (share === undefined) return 'refused'
    const merged = this.#merge(share, entry, nowMs)
    this.#tidy(entry)
    return merged
  }

  #merge(share: Share, entry: Entry, nowMs: number): Merged {
    const hash = share.hashOf(entry.key)
    const id = this.#sweep.alive(this.#records.find(share.id, entry.key, hash))
    const known = id === NOBODY ? undefined : this.#records.versionOf(id)
    if (known !== undefined && isNewer(known, entry.version)) return 'older'
    const standing = entry.expiresAtMs > nowMs ? entry : stubOf(entry, nowMs)
    if (known !== undefined && !isNewer(entry.version, known)) {
      // Here it may live longer by a `touch` that the other has not heard of.
      if (standing === undefined) return 'refused'
      if (this.#rows.getDouble(id, EXPIRES) === standing.expiresAtMs) return 'same'
    }
    if (standing !== undefined) return this.#put(share, standing, id, hash) ? 'kept' : 'refused'
    if (id !== NOBODY) this.#holdings.remove(share, id)
    return 'refused'
  }

  /** Till when something may come back that a record of this key with such an end would replace; 0 where nothing may. */
  shadowOver(namespace: string, key: string, expiresAtMs: number): number {
    const id = this.#find(namespace, key)
    return id === NOBODY ? 0 : shadowOf(this.#records.entry(id, namespace, key, true), expiresAtMs)
  }

  /** Lies below a floor; then a value that it was to replace goes even so, which may have other tags. */
  #isDead(entry: Entry): boolean {
    check(entry)
    const { namespace, key, version } = entry
    if (this.killer(entry, version.stamp) === undefined) return false
    const known = this.entry(namespace, key)
    if (known?.kind === 'value' && isNewer(version, known.version)) this.drop(namespace, key)
    return true
  }

  /** The floor it would lie below with that stamp. */
  killer(record: Floored, stamp: number): Floor | undefined {
    return this.#floors.killer(record, stamp)
  }

  /** Nothing would have to go for it. */
  hasRoom(entry: Entry): boolean {
    const cost = entryBytes(entry)
    const share = this.#shares.get(entry.namespace)
    const fits = share === undefined || share.bytes + cost <= share.bytesMax
    return fits && this.#holdings.bytes + cost <= this.#bytesMax
  }

  drop(namespace: string, key: string): boolean {
    const id = this.#find(namespace, key)
    if (id === NOBODY) return false
    this.#holdings.remove(this.#holdings.shareOf(id), id)
    this.#settle()
    return true
  }

  /** Of those of a partition, what has fewer backups than that: copies that a member of such a rank is not to keep. */
  dropExcess(partition: number, rank: number): number {
    return this.#dropIf(this.#holdings.ids(partition), id => this.#records.backupsOf(id) < rank)
  }

  /** Forgets every record of a partition, and says how many those were. */
  dropPartition(partition: number): number {
    const dropped = this.#room.dropAll(partition)
    this.#settle()
    return dropped
  }

  /** Forgets every record with a stamp below, and says how many those were: for who was away too long to vouch for them. */
  dropOlder(stamp: number): number {
    return this.heldPartitions().reduce(
      (sum, partition) =>
        sum + this.#dropIf(this.#holdings.ids(partition), id => this.#records.versionOf(id).stamp < stamp),
      0
    )
  }

  /** Marks a record as known to the partition's new primary, until it is written again. */
  markGiven(namespace: string, key: string): void {
    const id = this.#find(namespace, key)
    if (id !== NOBODY) this.#rows.set(id, TRAITS, this.#rows.get(id, TRAITS) | TRAIT.given)
  }

  /**
   * Forgets those of a partition, but for what has so many backups that a member of this rank keeps it; -1 is no rank.
   * Says how many those were.
   */
  dropGiven(partition: number, rank: number): number {
    const isOurs = (id: number): boolean => rank >= 0 && this.#records.backupsOf(id) >= rank
    return this.#dropIf(this.#holdings.ids(partition), id => this.#rows.has(id, TRAIT.given) && !isOurs(id))
  }

  /** What lies below is dead: drops it, at once or behind, and takes none of it any more. */
  addFloor(floor: Floor): void {
    for (const raised of this.#floors.add(floor, this.#holdings.nowMs)) this.#sweep.enforce(raised)
    this.#settle()
  }

  mergeFloors(floors: readonly Floor[]): void {
    for (const floor of floors) this.addFloor(floor)
  }

  floorsSince(laid = Number.NEGATIVE_INFINITY): { readonly floors: readonly Floor[]; readonly laid: number } {
    return { floors: this.#floors.since(laid), laid: this.#floors.laid }
  }

  /** What the partition's records come to, of those with at least `rank` backups; expired ones too until they are swept. */
  digestOf(partition: number, rank: number): Digest {
    return this.#holdings.digestOf(partition, rank)
  }

  /** How many records those are. */
  countOf(partition: number, rank: number): number {
    return this.#holdings.countOf(partition, rank)
  }

  /**
   * The same as of a time, by walking through them: the same at all who hold the same, whoever has swept already. A
   * time a little ahead, so that nobody has swept beyond it when he compares.
   */
  digestAt(partition: number, rank: number, nowMs: number): Digest {
    return digestAt(this.#holdings, partition, rank, nowMs)
  }

  holds(partition: number): boolean {
    return this.#holdings.first(partition) !== NOBODY
  }

  heldPartitions(): number[] {
    return this.#holdings.held()
  }

  /** How often its records were used of late, to be compared with that of others. */
  heatOf(partition: number): number {
    return this.#heat.of(partition)
  }

  /** In the order of `recordName`, from after a name on; what is over by the latest time seen is left out. */
  versionsIn(partition: number, rank: number, after: Name, most: number): Listed[] {
    return versionsIn(this.#holdings, { partition, rank, after, nowMs: this.#holdings.nowMs }, most)
  }

  /** The same with all there is, at least one if there is one. */
  recordsIn(partition: number, rank: number, after: Name, bytesMax: number): RecordsPage {
    return recordsIn(this.#holdings, { partition, rank, after, nowMs: this.#holdings.nowMs }, bytesMax)
  }

  /** The keys that have a value, as they are when it is asked for the first. */
  *keysIn(namespace: string, partition: number, keyPrefix: string, nowMs: number): Iterable<string> {
    yield* keysIn(this.#holdings, { namespace, partition, nowMs }, keyPrefix)
  }

  /** Time goes on: drops what is over, a bounded number, and compacts a little. */
  expire(nowMs: number): number {
    this.#holdings.tick(nowMs)
    const dropped = this.#room.dropDue(DUE_PER_EXPIRE)
    this.#sweep.go(SWEPT_PER_EXPIRE)
    this.#floors.expire(nowMs)
    this.#heat.cool(nowMs)
    this.#records.tidy(COMPACTED_PER_EXPIRE_BYTES)
    this.#holdings.lowerStragglers(STRAGGLERS_PER_EXPIRE)
    this.#settle()
    return dropped
  }

  /** Whether `expire` has more to do than one call did. */
  get isBehind(): boolean {
    const { wheels, hasStragglers } = this.#holdings
    return wheels.some(wheel => wheel.hasDue) || this.#records.isWasteful || hasStragglers || this.#sweep.isBehind
  }

  #put(share: Share, entry: Entry, known: number, hash: number): boolean {
    if (known !== NOBODY) return this.#change(share, known, entry)
    if (!this.#makeRoom(share, entry)) return false
    const id = this.#records.add(share.id, entry, hash)
    if (id === NOBODY) return false
    this.#holdings.attach(share, id)
    return true
  }

  #change(share: Share, id: number, entry: Entry): boolean {
    const wasOwn = (this.#rows.get(id, TRAITS) & (TRAIT.tombstone | TRAIT.copy)) === 0
    // Out of all lists, it is no victim while room is made for what it becomes.
    this.#holdings.detach(share, id)
    if (!this.#makeRoom(share, entry) || !this.#records.change(id, entry)) {
      this.#records.remove(id)
      return false
    }
    this.#holdings.attach(share, id, wasOwn)
    return true
  }

  #makeRoom(share: Share, entry: Entry): boolean {
    const cost = entryBytes(entry)
    const canFit = cost <= this.#recordBytesMax(share) && entry.key.length <= KEY_UNITS_MAX
    return canFit && this.#room.make(share, cost, entry)
  }

  #recordBytesMax(share: Share | undefined): number {
    return Math.min(this.#bytesMax, share?.bytesMax ?? this.#bytesMax)
  }

  #dropIf(ids: readonly number[], isGone: (id: number) => boolean): number {
    const gone = ids.filter(isGone)
    if (gone.length === 0) return 0
    for (const id of gone) this.#holdings.remove(this.#holdings.shareOf(id), id)
    this.#settle()
    return gone.length
  }

  /** After a record has come: a little of what has to be done at some time. */
  #tidy(entry: Entry): void {
    this.#room.dropDue(DUE_PER_PUT)
    this.#records.tidy(entry.bytes.length + entry.key.length)
    this.#holdings.lowerStragglers(STRAGGLERS_PER_PUT)
    this.#settle()
  }

  /** At the end of each call that changed something. */
  #settle(): void {
    this.#shares.settle()
    this.#room.tell()
  }
}

function check({ partition, expiresAtMs }: Entry): void {
  assert(partition >>> 0 === partition && partition < PARTITIONS_MAX, 'partitions are whole numbers')
  assert(!Number.isNaN(expiresAtMs), 'an entry says when it expires')
}
