/**
 * The records in all the lists they stand in, and the sums over them; here and nowhere else do these change.
 *
 *                      by partition ── digests
 *   every record ─ in ─ by its end  ── a wheel
 *                      by its worth ── own value: the policy of its cache · own tombstone: the oldest first
 *                                      copy, value or tombstone: the oldest first
 *
 * Own is what lies in a partition whose primary is this member, and unless it is told otherwise that is every one. The
 * trait `copy` says where a record stands, so that a read need not ask for the role of its partition.
 *
 * The policy `ttl` asks a wheel of its cache's own for the soonest; copies and tombstones are no victims of it, so they
 * have their times in the wheel of all.
 */
import type { Random } from '../ports/random.ts'
import { type Digest, Digests } from './digests.ts'
import type { Entry } from './entry.ts'
import type { Eviction, EvictionName } from './eviction.ts'
import { evictionOf } from './policies.ts'
import { Records } from './records.ts'
import { Rings } from './rings.ts'
import { NOBODY, PARTITION_LINKS, PARTITION_MASK, PARTITIONS_MAX, TRAIT, TRAITS } from './rows.ts'
import { Share } from './share.ts'
import { Shares } from './shares.ts'
import { TimingWheel } from './timing-wheel.ts'

export class Holdings {
  readonly records = new Records()
  readonly shares: Shares
  readonly wheel = new TimingWheel(this.records.rows)
  wheels = [this.wheel]
  bytes = 0
  tombstoneBytes = 0
  copyBytes = 0
  /** Lies below a floor, and goes when somebody comes by. */
  isDead: (id: number) => boolean = () => false
  /** The latest time seen. */
  nowMs = Number.NEGATIVE_INFINITY
  readonly #rows = this.records.rows
  readonly #partitions = new Rings(this.#rows, PARTITION_LINKS, PARTITIONS_MAX)
  readonly #digests = new Digests()
  readonly #isCopied = new Uint8Array(PARTITIONS_MAX)
  readonly #random: Random

  constructor(random: Random) {
    this.#random = random
    const seed = { low: random.integer(2 ** 32) | 0, high: random.integer(2 ** 32) | 0 }
    const [rows, wheel] = [this.#rows, this.wheel]
    this.shares = new Shares(
      (id, name) => new Share({ id, name, seed, rows, wheel, policy: this.#policyOf('lru', wheel) })
    )
  }

  find(share: Share | undefined, key: string): number {
    return share === undefined ? NOBODY : this.records.find(share.id, key, share.hashOf(key))
  }

  shareOf(id: number): Share {
    return this.shares.at(this.records.cacheOf(id))
  }

  isTombstone(id: number): boolean {
    return this.#rows.has(id, TRAIT.tombstone)
  }

  /** Of a partition: its first record, NOBODY where there is none. */
  first(partition: number): number {
    return this.#partitions.first(partition)
  }

  /** The partitions of which something is here. */
  held(): number[] {
    return this.records.size === 0 ? [] : this.#partitions.filled()
  }

  ids(partition: number): number[] {
    return this.#partitions.ids(partition)
  }

  /** All records of a cache. */
  idsOf(share: Share): number[] {
    return [...share.policy.ids(), ...share.tombstones.ids(0), ...share.copies.ids(0)]
  }

  digestOf(partition: number, rank: number): Digest {
    return this.#digests.of(partition, rank)
  }

  countOf(partition: number, rank: number): number {
    return this.#digests.countOf(partition, rank)
  }

  isCopied(partition: number): boolean {
    return this.#isCopied[partition] === 1
  }

  /** What was a copy gets a worth of its own, in the order in which it came, or the other way round. */
  setRole(partition: number, isPrimary: boolean): void {
    if (this.isCopied(partition) !== isPrimary) return
    const ids = this.ids(partition)
    for (const id of ids) this.#unrank(this.shareOf(id), id)
    this.#isCopied[partition] = isPrimary ? 0 : 1
    for (const id of ids) this.#rank(this.shareOf(id), id, false)
  }

  /** `wasOwn`: an own value that was taken out for a moment, and is used now. */
  attach(share: Share, id: number, wasOwn = false): void {
    const cost = this.records.costOf(id)
    this.bytes += cost
    share.bytes += cost
    share.records++
    this.#partitions.linkLast(this.records.partitionOf(id), id)
    this.#count(id, 1)
    this.#rank(share, id, wasOwn)
  }

  detach(share: Share, id: number): void {
    const cost = this.records.costOf(id)
    this.bytes -= cost
    share.bytes -= cost
    share.records--
    if (share.records === 0) this.shares.emptied(share)
    this.#partitions.unlink(id)
    this.#count(id, -1)
    this.#unrank(share, id)
  }

  remove(share: Share, id: number): void {
    this.detach(share, id)
    this.records.remove(id)
  }

  /** Another record in the place of this one that takes no more room. */
  replace(share: Share, id: number, entry: Entry): void {
    this.detach(share, id)
    // Its writer is known already, so there is a number for it.
    this.records.change(id, entry)
    this.attach(share, id)
  }

  /** Another policy for a cache; copies and tombstones stay where they are. */
  order(share: Share, eviction: EvictionName): void {
    const ids = share.policy.ids()
    for (const id of ids) {
      share.policy.removed(id)
      share.wheel.remove(id)
    }
    if (share.wheel !== this.wheel) this.wheels = this.wheels.filter(wheel => wheel !== share.wheel)
    share.wheel = eviction === 'ttl' ? new TimingWheel(this.#rows) : this.wheel
    if (share.wheel !== this.wheel) this.wheels.push(share.wheel)
    share.wheel.advance(this.nowMs)
    share.eviction = eviction
    share.policy = this.#policyOf(eviction, share.wheel)
    for (const id of ids) {
      share.wheel.add(id)
      share.policy.added(id)
    }
  }

  tick(nowMs: number): void {
    this.nowMs = Math.max(this.nowMs, nowMs)
    for (const wheel of this.wheels) wheel.advance(nowMs)
  }

  /** Records from the last rows move to lower ones, so that the last can be given back. */
  lowerStragglers(most: number): void {
    for (let left = most; left > 0; left--) {
      const from = this.#rows.straggler()
      if (from === NOBODY) return
      const to = this.records.lower(from)
      this.#partitions.moved(from, to)
      this.#rankMoved(this.shareOf(to), from, to)
      this.records.vacate(from)
    }
  }

  get hasStragglers(): boolean {
    return this.#rows.straggler() !== NOBODY
  }

  #rank(share: Share, id: number, wasOwn: boolean): void {
    const traits = this.#rows.get(id, TRAITS)
    if (this.#isCopied[traits & PARTITION_MASK] === 1) {
      this.#rows.set(id, TRAITS, traits | TRAIT.copy)
      this.#sum(share, id, 'copyBytes', 1)
      share.copies.linkLast(0, id)
      this.wheel.add(id)
    } else if ((traits & TRAIT.tombstone) !== 0) {
      this.#sum(share, id, 'tombstoneBytes', 1)
      share.tombstones.linkLast(0, id)
      this.wheel.add(id)
    } else {
      share.wheel.add(id)
      if (wasOwn) share.policy.returned(id)
      else share.policy.added(id)
    }
  }

  #unrank(share: Share, id: number): void {
    const traits = this.#rows.get(id, TRAITS)
    if ((traits & TRAIT.copy) !== 0) {
      this.#rows.set(id, TRAITS, traits & ~TRAIT.copy)
      this.#sum(share, id, 'copyBytes', -1)
      share.copies.unlink(id)
      this.wheel.remove(id)
    } else if ((traits & TRAIT.tombstone) !== 0) {
      this.#sum(share, id, 'tombstoneBytes', -1)
      share.tombstones.unlink(id)
      this.wheel.remove(id)
    } else {
      share.wheel.remove(id)
      share.policy.removed(id)
    }
  }

  #rankMoved(share: Share, from: number, to: number): void {
    const traits = this.#rows.get(to, TRAITS)
    if ((traits & (TRAIT.copy | TRAIT.tombstone)) === 0) {
      share.policy.moved(from, to)
      share.wheel.moved(from, to)
      return
    }
    if ((traits & TRAIT.copy) !== 0) share.copies.moved(from, to)
    else share.tombstones.moved(from, to)
    this.wheel.moved(from, to)
  }

  #sum(share: Share, id: number, of: 'copyBytes' | 'tombstoneBytes', by: 1 | -1): void {
    const cost = this.records.costOf(id) * by
    this[of] += cost
    share[of] += cost
  }

  #count(id: number, by: 1 | -1): void {
    this.#digests.count(this.#rows.wordsOf(id), this.#rows.startOf(id), this.records.writerHashOf(id), by)
  }

  #policyOf(eviction: EvictionName, wheel: TimingWheel): Eviction {
    return evictionOf(eviction, {
      rows: this.#rows,
      random: this.#random,
      wheel,
      bytesOf: id => this.records.costOf(id)
    })
  }
}
