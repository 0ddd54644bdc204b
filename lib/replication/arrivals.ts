/**
 * What comes to a primary from other members, whoever brings it and why: one door. The newer version stays, and what
 * changes a key closes its running load. Three things are not decided by versions alone:
 *
 * - what both sides of a split have written: the cache may have a word in what is to be kept;
 * - what is not here, and may be older than something that was given up here for want of room:
 *
 *   1. v1 at us and at our backup ─ v2 at us, not yet there ─ our link is lost ─ v2 is given up ─ the link is back: the
 *      backup has a record that we lack, and it was overwritten. It is not taken, and the backup is told to forget it.
 *
 *   2. v1 at us and at our backup ─ deleted at us, and our backup does not hear of it ─ the tombstone's time is over ─
 *      our backup is there again: the same.
 *
 * - what is over when it comes: what it replaces would go without a trace, here and nowhere else. So it leaves a mark,
 *   for as long as that would have lived (PROTOCOL T1), and the backups get the mark:
 *
 *   3. v1 at us and at our backup ─ one who was kept apart has written v2, for a few seconds ─ we pull it as it ends ─
 *      v1 goes here, and our backup, or whoever was away, brings it back.
 *
 * Not promised: that what is refused so was old. In a partition where something was given up, it only may have been.
 */
import type { Stats } from '../observe/stats.ts'
import { PARTITIONS } from '../placement/partitions.ts'
import type { Table } from '../placement/table.ts'
import type { PeerId } from '../ports/transport.ts'
import { type Entry, stubOf } from '../store/entry.ts'
import { withShadow } from '../store/keeping.ts'
import type { Evicted } from '../store/room.ts'
import type { Store } from '../store/store.ts'
import { isNewer, type MeshClock, stampMs, type Version } from '../store/version.ts'
import type { Backups } from './backups.ts'

type Gone = Pick<Entry, 'namespace' | 'key' | 'partition' | 'version' | 'backups'>

export interface ArrivalsDeps {
  readonly self: PeerId
  readonly meshClock: MeshClock
  readonly store: Store
  readonly stats: Stats
  readonly backups: Pick<Backups, 'changed' | 'outdated' | 'evicted' | 'isKnownLevel'>
  readonly table: () => Table
  readonly isWarming: (partition: number) => boolean
  /** Since when we and that one could not hear each other, if it was so of late. */
  readonly apartSince: (holder: PeerId) => number | undefined
  readonly onTakenIn: (entry: Entry) => void
  /** It is here now, or what was here has gone because of it. */
  readonly onChanged: (entry: Entry) => void
  readonly reconciled: (ours: Entry, theirs: Entry) => Uint8Array | undefined
}

export class Arrivals {
  readonly #deps: ArrivalsDeps
  /** By partition, the highest stamp of what was given up since it is ours, for want of room or unheard by a backup. */
  readonly #evictedUpTo = new Float64Array(PARTITIONS)

  constructor(deps: ArrivalsDeps) {
    this.#deps = deps
  }

  takeIn(theirs: Entry, from: PeerId): void {
    const { store, meshClock, onTakenIn, onChanged, backups, isWarming } = this.#deps
    if (this.#reconcile(theirs, from)) return
    if (this.#mayBeOutlived(theirs)) return this.#refuse(theirs)
    const nowMs = meshClock.now()
    const entry = theirs.expiresAtMs > nowMs ? theirs : this.#markOf(theirs, nowMs)
    const result = store.merge(entry, nowMs)
    if (result === 'kept' || result === 'refused') onChanged(theirs)
    // Its holder has not heard of the clear that it lies below.
    if (result === 'refused' && store.killer(entry, entry.version.stamp) !== undefined) return backups.evicted(entry)
    if (result !== 'kept') return
    onTakenIn(entry)
    // Of what warms, all is compared when it is warm.
    if (isWarming(entry.partition)) backups.outdated(entry.partition)
    else backups.changed(entry, undefined, false)
  }

  /** What they have is to be looked at, beside what we have. */
  isWanted(ours: Version, theirs: Version, holder: PeerId): boolean {
    return isNewer(theirs, ours) || this.#isApart(ours, theirs, holder)
  }

  /** Another member holds a higher version than we have just given: ours is the later one, so it gets a higher still. */
  overtaken({ namespace, key, version }: Entry): void {
    const { store, meshClock, self, table } = this.#deps
    const ours = store.entry(namespace, key)
    if (ours?.version.stamp !== version.stamp || ours.version.writer !== version.writer) return
    if (table().primary(ours.partition) !== self) return
    this.#put({ ...ours, version: { stamp: meshClock.stamp(), writer: self } })
  }

  /** The backups forget it too; where a mark stays in its place, they get that. Tombstones that all have end by themselves. */
  evicted(gone: Gone & Pick<Evicted, 'isOver'>): void {
    const { store, backups } = this.#deps
    if (gone.isOver && backups.isKnownLevel(gone.partition, gone.backups)) return
    this.#evictedUpTo[gone.partition] = Math.max(this.#evictedUpTo[gone.partition] as number, gone.version.stamp)
    const mark = store.entry(gone.namespace, gone.key)
    if (mark === undefined) backups.evicted(gone)
    else if (mark.kind === 'tombstone') backups.changed(mark, undefined, false)
  }

  /** What was given up of it before we had the say was a copy. */
  won(partition: number): void {
    this.#evictedUpTo[partition] = 0
  }

  #mayBeOutlived({ namespace, key, partition, version, kind }: Entry): boolean {
    if (kind !== 'value' || version.stamp > (this.#evictedUpTo[partition] as number)) return false
    return this.#deps.store.versionOf(namespace, key) === undefined
  }

  /** Of what is over: in the place of something older that would live on, a mark as long as that. */
  #markOf(over: Entry, nowMs: number): Entry {
    const { store } = this.#deps
    const { namespace, key, version, expiresAtMs, keeping } = over
    const ours = store.versionOf(namespace, key)
    if (ours === undefined || !isNewer(version, ours.version)) return over
    const shadowUntilMs = Math.max(store.shadowOver(namespace, key, expiresAtMs), keeping?.shadowUntilMs ?? 0)
    return stubOf({ ...over, ...withShadow({ expiresAtMs, keeping }, shadowUntilMs) }, nowMs) ?? over
  }

  #refuse(entry: Entry): void {
    this.#deps.stats.recordsOutdatedTotal++
    this.#deps.backups.evicted(entry)
  }

  /** Both were written while we and the holder of the one could not hear each other. */
  #isApart(ours: Version, theirs: Version, holder: PeerId): boolean {
    const apartMs = this.#deps.apartSince(holder)
    if (apartMs === undefined || (ours.stamp === theirs.stamp && ours.writer === theirs.writer)) return false
    return stampMs(ours.stamp) > apartMs && stampMs(theirs.stamp) > apartMs
  }

  #reconcile(theirs: Entry, from: PeerId): boolean {
    const { store, meshClock, reconciled, self } = this.#deps
    const ours = store.entry(theirs.namespace, theirs.key)
    if (ours?.kind !== 'value' || theirs.kind !== 'value') return false
    if (!this.#isApart(ours.version, theirs.version, from)) return false
    const bytes = reconciled(ours, theirs)
    if (bytes === undefined) return false
    const version = { stamp: meshClock.stamp(), writer: self }
    return this.#put({ ...ours, bytes, version, expiresAtMs: Math.max(ours.expiresAtMs, theirs.expiresAtMs) })
  }

  /** Made here and now, of what is here. */
  #put(entry: Entry): boolean {
    const { store, onTakenIn, onChanged, backups } = this.#deps
    if (!store.put(entry)) return false
    onChanged(entry)
    onTakenIn(entry)
    backups.changed(entry, undefined)
    return true
  }
}
