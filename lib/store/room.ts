/**
 * What goes, and in which order: what is over, wherever it lies; then for want of room
 *
 *   own values by the policy of their cache ── a quarter of what all values take is left of them ──▶ copies, a whole
 *   partition at a time ── no copies either ──▶ the rest of the own values ──▶ own tombstones
 *
 * A copy never goes alone: its primary would find the partition unequal and send it again, for ever. So a member short
 * of memory gives up a partition of copies, of all caches, and says so (`onGivenUp`); which one, the copy that has lain
 * longest decides, in the cache that is over its limit or has most of them. Never the partition that the room is for:
 * then there is no room.
 *
 * What goes before something that it has replaced would have been over leaves a mark behind, a tombstone with its
 * version and no bytes, so that a member which was cut off cannot bring the older one back. A mark takes less than what
 * it stands for, so each step makes room; and marks are bounded as tombstones are.
 *
 * Hooks are called at the end of a call, when everything stands as it should: what they ask of the store is served.
 */
import { assert } from '../base/assert.ts'
import type { Happenings } from '../observe/happenings.ts'
import type { Stats } from '../observe/stats.ts'
import { type Entry, entryBytes, isAhead, stubOf } from './entry.ts'
import type { Holdings } from './holdings.ts'
import { NOBODY, TRAIT } from './rows.ts'
import type { Share } from './share.ts'
import type { Version } from './version.ts'

const TOMBSTONE_SHARE = 1 / 8
/** Below this part of what values take, own values are spared and copies go. */
const OWN_SHARE = 1 / 4
/** For so many evictions the largest cache is taken to be still the largest. */
const LARGEST_FOR = 32
/** Where a call gives up much, it says so in between. */
const UNTOLD_MAX = 1_000

export interface Evicted {
  readonly namespace: string
  readonly key: string
  readonly partition: number
  readonly version: Version
  readonly backups: number
  /** A tombstone whose time was over, and nothing that there was no room for. */
  readonly isOver: boolean
}

export interface Leaving {
  /** Of a partition of ours a record went for want of room, or a tombstone in its time; there may be a mark in its place. */
  evicted: ((entry: Evicted) => void) | undefined
  /** All copies of a partition went for want of room. */
  givenUp: ((partition: number) => void) | undefined
  /** Of a partition of ours a value went for want of room or in its time: for the application, if it listens. */
  happenings: Happenings | undefined
}

export class Room {
  readonly hooks: Leaving = { evicted: undefined, givenUp: undefined, happenings: undefined }
  readonly #holdings: Holdings
  readonly #bytesMax: number
  readonly #stats: Stats
  #largest: Share | undefined
  #largestFor = 0
  /** What went in this call, and how much of it the hooks know already. */
  #untold: (Evicted | number)[] = []
  #told = 0
  #isTelling = false

  constructor({ holdings, bytesMax, stats }: { holdings: Holdings; bytesMax: number; stats: Stats }) {
    this.#holdings = holdings
    this.#bytesMax = bytesMax
    this.#stats = stats
  }

  /** False where there is none without giving up the partition of copies that it is for. */
  make(share: Share, cost: number, { kind, partition }: Entry): boolean {
    const holdings = this.#holdings
    const spared = holdings.isCopied(partition) ? partition : undefined
    if (kind === 'tombstone' && spared === undefined) this.#boundTombstones(share, cost)
    while (share.bytes + cost > share.bytesMax) if (!this.#freeIn(share, spared)) return false
    while (holdings.bytes + cost > this.#bytesMax || !holdings.records.canHold()) if (!this.#free(spared)) return false
    return true
  }

  /** After a limit was lowered. */
  bound(share: Share): void {
    while (share.bytes > share.bytesMax) {
      this.#freeIn(share, undefined)
      if (this.#untold.length >= UNTOLD_MAX) this.tell()
    }
  }

  /** Looks at so many that may be over, and says how many were. */
  dropDue(most: number): number {
    const holdings = this.#holdings
    let left = most
    let dropped = 0
    for (const wheel of holdings.wheels) {
      for (; left > 0 && wheel.hasDue; left--) {
        const id = wheel.due()
        if (id === NOBODY) continue
        this.expired(holdings.shareOf(id), id, holdings.nowMs)
        dropped++
      }
    }
    return dropped
  }

  expired(share: Share, id: number, nowMs: number): void {
    if (!this.#holdings.isTombstone(id)) {
      this.#stats.expirationsTotal++
      if (this.hooks.happenings?.isHeard.evict) this.#tellGone(this.hooks.happenings, share, id, 'ttl')
    } else if (!this.#holdings.isCopied(this.#holdings.records.partitionOf(id))) this.#note(share, id, true)
    this.#leave(share, id, nowMs)
  }

  /** Forgets every record of a partition, and says how many those were. */
  dropAll(partition: number): number {
    const holdings = this.#holdings
    let dropped = 0
    for (let id = holdings.first(partition); id !== NOBODY; id = holdings.first(partition)) {
      holdings.remove(holdings.shareOf(id), id)
      dropped++
    }
    return dropped
  }

  /** Says what went, at the end of a call; what the hooks do may make more go, which is told by the same loop. */
  tell(): void {
    if (this.#untold.length === 0 || this.#isTelling) return
    this.#isTelling = true
    try {
      while (this.#told < this.#untold.length) {
        const one = this.#untold[this.#told++] as Evicted | number
        if (typeof one === 'number') this.hooks.givenUp?.(one)
        else this.hooks.evicted?.(one)
      }
      this.#untold = []
      this.#told = 0
    } finally {
      this.#isTelling = false
    }
  }

  #freeIn(share: Share, spared: number | undefined): boolean {
    if (this.dropDue(1) > 0) return true
    const { valueBytes, copyBytes } = share
    if (copyBytes > 0 && isSpared(valueBytes, copyBytes)) return this.#giveUp(share, spared)
    this.#evictFrom(share)
    return true
  }

  #free(spared: number | undefined): boolean {
    if (this.dropDue(1) > 0) return true
    const { bytes, tombstoneBytes, copyBytes, shares } = this.#holdings
    if (copyBytes > 0 && isSpared(bytes - tombstoneBytes - copyBytes, copyBytes))
      return this.#giveUp(
        shares.most(one => one.copyBytes),
        spared
      )
    this.#evictFrom(this.#fullest())
    return true
  }

  /** Values, then tombstones. */
  #evictFrom(share: Share): void {
    const id = share.policy.victim()
    if (id === NOBODY) return this.#evictTombstone(share)
    this.#stats.evictionsTotal++
    if (this.hooks.happenings?.isHeard.evict) this.#tellGone(this.hooks.happenings, share, id, 'size')
    this.#note(share, id, false)
    this.#leave(share, id, this.#holdings.nowMs)
  }

  #evictTombstone(share: Share): void {
    const id = share.tombstones.first(0)
    assert(id !== NOBODY, 'a store that is full holds something')
    this.#stats.tombstonesEvictedTotal++
    this.#note(share, id, false)
    this.#holdings.remove(share, id)
  }

  #giveUp(share: Share, spared: number | undefined): boolean {
    const partition = this.#holdings.records.partitionOf(share.copies.first(0))
    if (partition === spared) return false
    this.#stats.copiesGivenUpTotal++
    if (this.hooks.givenUp !== undefined) this.#untold.push(partition)
    this.dropAll(partition)
    return true
  }

  /** The mark stands where the record stood, but for own ones, which stand with the tombstones. */
  #leave(share: Share, id: number, nowMs: number): void {
    const holdings = this.#holdings
    const { records } = holdings
    const isMarked = isAhead(records.shadowUntilMs(id), nowMs) && records.canHold()
    const mark = isMarked ? stubOf(records.entry(id, share.name, records.key(id)), nowMs) : undefined
    if (mark === undefined) return holdings.remove(share, id)
    if (!holdings.isCopied(mark.partition)) this.#boundTombstones(share, entryBytes(mark))
    holdings.replace(share, id, mark)
  }

  #note(share: Share, id: number, isOver: boolean): void {
    if (this.hooks.evicted === undefined) return
    const { records } = this.#holdings
    const [partition, backups] = [records.partitionOf(id), records.backupsOf(id)]
    const [namespace, key, version] = [share.name, records.key(id), records.versionOf(id)]
    this.#untold.push({ namespace, key, partition, version, backups, isOver })
  }

  /** That there is nothing is no value. */
  #tellGone(happenings: Happenings, share: Share, id: number, reason: 'size' | 'ttl'): void {
    const { records } = this.#holdings
    if (this.#holdings.isCopied(records.partitionOf(id)) || records.rows.has(id, TRAIT.negative)) return
    happenings.tell('evict', share.name, { key: records.key(id), reason })
  }

  /** A cache that deletes more than others forgets its own deletes first. */
  #boundTombstones(share: Share, cost: number): void {
    const { shares } = this.#holdings
    const own = share.bytesMax * TOMBSTONE_SHARE
    const all = this.#bytesMax * TOMBSTONE_SHARE
    while (share.tombstoneBytes > 0 && share.tombstoneBytes + cost > own) this.#evictTombstone(share)
    while (this.#holdings.tombstoneBytes > 0 && this.#holdings.tombstoneBytes + cost > all)
      this.#evictTombstone(share.tombstoneBytes > 0 ? share : shares.most(({ tombstoneBytes }) => tombstoneBytes))
  }

  /** The cache with the most values; where there are none, with the most tombstones. */
  #fullest(): Share {
    if (this.#largest !== undefined && this.#largest.valueBytes > 0 && this.#largestFor-- > 0) return this.#largest
    const { shares } = this.#holdings
    this.#largest = shares.most(({ valueBytes }) => valueBytes)
    this.#largestFor = LARGEST_FOR
    return this.#largest.valueBytes > 0 ? this.#largest : shares.most(({ tombstoneBytes }) => tombstoneBytes)
  }
}

function isSpared(ownBytes: number, copyBytes: number): boolean {
  return ownBytes <= (ownBytes + copyBytes) * OWN_SHARE
}
