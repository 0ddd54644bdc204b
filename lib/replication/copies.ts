/**
 * What others give this member to keep: taken in if it is newer than what is here, whoever sends it, so that nothing is
 * lost while views differ. But only what counts as a copy is acknowledged as one (PROTOCOL R1): where the sender is
 * primary by our table and we are one of its backups, or where it brings on what it made while it was primary.
 *
 *   1. A is primary for the writer, and B sees C as primary: B keeps A's record and says `moved` ─ A agrees with B on the
 *      view and brings the record to C ─ only then is the write acknowledged, and a read at C finds it.
 */

import { PARTITIONS } from '../placement/partitions.ts'
import type { PeerId } from '../ports/transport.ts'
import type { MessageOf } from '../rpc/messages.ts'
import type { Answered, Floor, Holding, RecordFields } from '../rpc/replica-talk.ts'
import type { Entry } from '../store/entry.ts'
import type { Store } from '../store/store.ts'
import { isNewer, type MeshClock } from '../store/version.ts'
import { entryOf } from './record.ts'

/** For so long a partition of copies that had to go for want of room is not taken again. */
const GIVEN_UP_MS = 60_000
/** In place of how many records are here: given up. */
export const GIVEN_UP = 0xffff_ffff

export interface CopiesDeps {
  readonly store: Store
  readonly meshClock: MeshClock
  readonly viewHash: () => number
  readonly partitionOf: (namespace: string, key: string) => number
  readonly primaryOf: (partition: number) => PeerId | undefined
  /** Our own rank; -1 where we are none of its owners. */
  readonly rankOf: (partition: number) => number
  /** We are its primary, and take it in as such. */
  readonly takeIn: (entry: Entry, from: PeerId) => void
  /** A change that was made elsewhere, should its writer ask us for it again. */
  readonly remember: (answer: Answered & {}) => void
  readonly mergeFloors: (floors: readonly Floor[]) => void
  /** Its primary had the same as we have now, at `atMs`. */
  readonly onEqual: (partition: number, atMs: number) => void
}

type Refused = MessageOf<'copied'>['refused'][number]
type Why = Refused['why'] | undefined

export class Copies {
  readonly #deps: CopiesDeps
  /** By partition, the highest stamp that has come by a stream: what a copy is known to be as new as. */
  readonly #upTo = new Float64Array(PARTITIONS)
  /** All there is of it is here, though not all came by the stream: it was ours, or was equal when it was compared. */
  readonly #isWhole = new Uint8Array(PARTITIONS)

  readonly #isBehind = new Uint8Array(PARTITIONS)
  /** Copies that went for want of room, and until when they are not taken again. */
  readonly #givenUp = new Map<number, number>()

  constructor(deps: CopiesDeps) {
    this.#deps = deps
  }

  /** A partition of copies had to go: its primary is told when it asks, and brings nothing for a while. */
  gaveUp(partition: number): void {
    this.#givenUp.set(partition, this.#deps.meshClock.now() + GIVEN_UP_MS)
  }

  /** We are its primary now, and all there is of it comes to us: what is here then is no leftover when that is over. */
  won(partition: number): void {
    this.#givenUp.delete(partition)
  }

  #isGivenUp(partition: number): boolean {
    const untilMs = this.#givenUp.get(partition)
    if (untilMs === undefined || untilMs > this.#deps.meshClock.now()) return untilMs !== undefined
    this.#givenUp.delete(partition)
    return false
  }

  /** A copy of this partition is as new as that. */
  upTo(partition: number): number {
    if (this.#isWhole[partition] === 1) {
      this.#isWhole[partition] = 0
      this.#upTo[partition] = this.#highestIn(partition)
    }
    return this.#upTo[partition] as number
  }

  /** What is here of it is not older than what its primary has, but for what is on its way. */
  isLevel(partition: number): boolean {
    return this.#isBehind[partition] === 0
  }

  /** Left over from a time when none of it, or less, was ours to keep, so nobody has told us what became of it. */
  behind(partition: number): void {
    this.#isBehind[partition] = 1
  }

  /** Our ranks, by partition: of what is a copy now and was none, or one of a lower rank, we may lack something. */
  ranksChanged(before: Int8Array, after: Int8Array): void {
    for (const partition of this.#deps.store.heldPartitions()) {
      const was = before[partition] as number
      const is = after[partition] as number
      if (is > 0 && (was < 0 || was > is)) this.behind(partition)
    }
  }

  level(partition: number): void {
    this.#isBehind[partition] = 0
  }

  /** We were its primary and had all of it: as new as what we hold, when somebody asks. */
  lost(partition: number): void {
    this.#isWhole[partition] = 1
  }

  #highestIn(partition: number): number {
    const all = this.#deps.store.versionsIn(partition, 0, { namespace: '', key: '' }, Number.MAX_SAFE_INTEGER)
    return all.reduce((highest, { version }) => Math.max(highest, version.stamp), this.#upTo[partition] as number)
  }

  receive(peer: PeerId, batch: MessageOf<'copies'>): MessageOf<'copied'> {
    const { store, mergeFloors, viewHash, remember } = this.#deps
    if (batch.floors.length > 0) mergeFloors(batch.floors)
    for (const answer of batch.answers) remember(answer)
    const refused: Refused[] = []
    const killers = new Set<Floor>()
    for (const [place, { record, answer }] of batch.records.entries()) {
      const killer = store.killer(record, record.stamp)
      if (killer !== undefined) killers.add(killer)
      const why = this.#keep(peer, record, answer, batch.delivers)
      if (why !== undefined) refused.push({ place, why, stamp: record.stamp, writer: record.writer })
    }
    for (const gone of batch.evicted) this.#forget(gone)
    const differing = batch.digests.flatMap(theirs => this.#compare(peer, theirs, batch.atMs))
    return { type: 'copied', viewHash: viewHash(), refused, differing, floors: [...killers] }
  }

  #keep(peer: PeerId, record: RecordFields, answer: Answered, delivers: boolean): Why {
    const { store, meshClock, partitionOf, primaryOf, rankOf, takeIn, remember } = this.#deps
    const partition = partitionOf(record.namespace, record.key)
    const entry = entryOf(record, partition)
    const rank = rankOf(partition)
    if (answer !== undefined) remember(answer)
    this.#upTo[partition] = Math.max(this.upTo(partition), record.stamp)
    if (rank === 0) {
      takeIn(entry, peer)
      return undefined
    }
    if (this.#isGivenUp(partition)) return 'room'
    const nowMs = meshClock.now()
    const isKilled = store.killer(entry, record.stamp) !== undefined
    const result = store.merge(entry, nowMs)
    if (result === 'older') return 'newer'
    if (isKilled && primaryOf(partition) === peer) this.#dropOlder(entry)
    if (result === 'refused' && entry.expiresAtMs > nowMs && !isKilled) {
      // A copy that lacks one record is no copy.
      store.dropPartition(partition)
      this.gaveUp(partition)
      return 'room'
    }
    const isReplica = rank > 0 && rank <= record.backups
    return isReplica && (delivers || primaryOf(partition) === peer) ? undefined : 'moved'
  }

  /** The mark of a delete that its primary has replaced: what replaced it is dead here, and there is neither there. */
  #dropOlder({ namespace, key, version }: Entry): void {
    const { store } = this.#deps
    const known = store.versionOf(namespace, key)?.version
    if (known !== undefined && isNewer(version, known)) store.drop(namespace, key)
  }

  #forget({ namespace, key, stamp, writer }: MessageOf<'copies'>['evicted'][number]): void {
    const { store, partitionOf, rankOf } = this.#deps
    const known = store.versionOf(namespace, key)?.version
    // As primary we decide ourselves, and what is newer than that was not meant. What is older was, all the more: it
    // would come back in place of what was given up.
    if (known === undefined || isNewer(known, { stamp, writer }) || rankOf(partitionOf(namespace, key)) === 0) return
    store.drop(namespace, key)
  }

  /** Nothing where both have the same; else how many records we have. */
  #compare(peer: PeerId, theirs: Holding, atMs: number): { partition: number; count: number }[] {
    const { store, primaryOf, rankOf } = this.#deps
    const { partition } = theirs
    const rank = rankOf(partition)
    const isFrom = primaryOf(partition) === peer && rank > 0
    const quick = store.digestOf(partition, Math.max(rank, 0))
    if (isFrom && this.#isGivenUp(partition)) return [{ partition, count: GIVEN_UP }]
    if (isFrom && (isSame(quick, theirs) || isSame(store.digestAt(partition, rank, atMs), theirs))) {
      this.level(partition)
      // What it has was not brought by its stream alone: some was here before, and is as good.
      this.#isWhole[partition] = 1
      this.#deps.onEqual(partition, atMs)
      return []
    }
    return [{ partition, count: quick.count }]
  }
}

export function isSame(
  a: Pick<Holding, 'count' | 'low' | 'high'>,
  b: Pick<Holding, 'count' | 'low' | 'high'>
): boolean {
  return a.count === b.count && a.low === b.low && a.high === b.high
}
