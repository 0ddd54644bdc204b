/**
 * What this member gives to others of what it holds: a look at one key, versions, pages of records. It gives whatever it
 * has to whoever asks, primary or not, and waits for nothing: who asks is waiting for the answer with somebody's read.
 *
 * What a new primary has been given is that one's to change. If we keep none of its copies, ours is no truth any more,
 * and is marked: should the partition come back to us, it goes (`Store.dropGiven`). What has no copies goes as soon as the
 * process that has it is primary no more, whoever is next: that one would ask us.
 *
 *   1. we own k = 1, without backups ─ T joins, owns it now, and peeks ─ k = 2 there ─ T crashes ─ we own k again: not 1.
 *
 *   2. as in 1, but U has joined meanwhile, and is primary after T: we have nothing to offer to it.
 *
 *   3. as in 1, but T is back at once under its name, and peeks before the mesh has seen that it was gone.
 *
 *   4. as in 2, but U knows of the crash before we do, and peeks: it is told nothing, and that our views differ.
 *
 * The mark of a delete brings nothing back, keeps out what is older still, and stays.
 *
 * Not promised: that a value without copies is found again that T was given and lost with its link, or its life.
 */
import type { Table } from '../placement/table.ts'
import type { PeerId } from '../ports/transport.ts'
import { type MessageOf, PAGE_KEYS_MAX, type Reply } from '../rpc/messages.ts'
import type { Answered } from '../rpc/replica-talk.ts'
import type { Entry } from '../store/entry.ts'
import type { Store } from '../store/store.ts'
import { recordOf } from './record.ts'
import { ANSWERS_MAX, type AnswersIn } from './told-answers.ts'

const PARTITIONS_MAX = 256
const PAGE_BYTES_MAX = 512 * 1024
/** Work of a few milliseconds on either side, for reads wait as long. */
const PAGE_RECORDS_MAX = 256

export interface GiftsDeps {
  readonly store: Store
  readonly viewHash: () => number
  readonly primaryOf: (partition: number) => PeerId | undefined
  /** Our own rank; -1 where we are none of its owners. */
  readonly rankOf: (partition: number) => number
  readonly partitionOf: (namespace: string, key: string) => number
  /** The process behind an id, by our view. */
  readonly bootOf: (peer: PeerId) => number
  readonly answerOf: (peer: PeerId, boot: number, number: number) => Answered
  /** To whom a partition went that was ours, if all of it was here. */
  readonly passedTo: (partition: number) => PeerId | undefined
  readonly answersIn: AnswersIn
}

/** Records with fewer backups than this have no copies. */
const FIRST_COPY = 1

const NOT_OWNER = { type: 'notOwner' } as const

export class Gifts {
  readonly #deps: GiftsDeps
  /** Partitions of which the primary of now was given something that has no copies. */
  readonly #taken = new Set<number>()

  constructor(deps: GiftsDeps) {
    this.#deps = deps
  }

  peek(peer: PeerId, { namespace, key, change }: MessageOf<'peek'>): MessageOf<'peeked'> {
    const { store, answerOf, partitionOf, primaryOf } = this.#deps
    const partition = partitionOf(namespace, key)
    // The table of our view is made now at the latest, and what goes with the last one is not shown.
    primaryOf(partition)
    const found = store.entry(namespace, key)
    const entry = found !== undefined && this.#mayGive(peer, found) ? found : undefined
    if (entry !== undefined) this.#given(peer, entry)
    const answer = change && answerOf(change.peer, change.boot, change.number)
    const final = this.#deps.passedTo(partition) === peer
    return { type: 'peeked', record: entry && recordOf(entry), answer, final, viewHash: this.#deps.viewHash() }
  }

  list({ viewHash, partition, after }: MessageOf<'list'>): Reply {
    if (!this.#isOfNow(viewHash)) return NOT_OWNER
    const found = this.#deps.store.versionsIn(partition, 0, after, PAGE_KEYS_MAX)
    const versions = found.map(({ namespace, key, version, expiresAtMs }) => ({
      namespace,
      key,
      ...version,
      expiresAtMs
    }))
    return { type: 'listed', versions, last: found.length < PAGE_KEYS_MAX }
  }

  pull(peer: PeerId, ask: MessageOf<'pull'>): Reply {
    if (!this.#isOfNow(ask.viewHash)) return NOT_OWNER
    if (ask.names.length > 0) return this.#named(peer, ask)
    const partitions = ask.partitions.slice(0, PARTITIONS_MAX)
    const isFirst = ask.after.key === ''
    const records: Entry[] = []
    let covered = 0
    let bytes = 0
    for (const partition of partitions) {
      const after = covered === 0 ? ask.after : { namespace: '', key: '' }
      const leftBytes = Math.min(ask.bytesMax, PAGE_BYTES_MAX) - bytes
      if (leftBytes <= 0 || records.length >= PAGE_RECORDS_MAX) break
      const page = this.#deps.store.recordsIn(partition, 0, after, leftBytes)
      for (const entry of page.records) {
        records.push(entry)
        bytes += entry.bytes.length + entry.key.length
        this.#given(peer, entry)
      }
      if (!page.isComplete) break
      covered++
    }
    const answers = isFirst ? this.#deps.answersIn(new Set(partitions), ANSWERS_MAX) : []
    return { type: 'pulled', covered, records: records.map(recordOf), answers }
  }

  /** What the primary of before was given is lost with it, or with whoever it has passed it on to. */
  tableChanged(before: Table, after: Table, isRenewed: (peer: PeerId) => boolean): void {
    for (const partition of this.#taken) {
      const primary = before.primary(partition)
      const isStill = primary === after.primary(partition) && (primary === undefined || !isRenewed(primary))
      if (!isStill) this.#takerGone(partition)
    }
  }

  /** If this is another process than our view knows by that name, what that one was given is lost with it. */
  linkUp(peer: PeerId, boot: number): void {
    const { primaryOf, bootOf } = this.#deps
    if (boot === bootOf(peer)) return
    for (const partition of this.#taken) if (primaryOf(partition) === peer) this.#takerGone(partition)
  }

  /** Whether the asker sees what we see. The table of our view is made now at the latest, and what goes with the last. */
  #isOfNow(viewHash: number): boolean {
    this.#deps.primaryOf(0)
    return viewHash === this.#deps.viewHash()
  }

  #named(peer: PeerId, { names, bytesMax, partitions }: MessageOf<'pull'>): MessageOf<'pulled'> {
    const records: Entry[] = []
    let covered = 0
    let bytes = 0
    for (const { namespace, key } of names) {
      if (bytes > Math.min(bytesMax, PAGE_BYTES_MAX)) break
      covered++
      const entry = this.#deps.store.entry(namespace, key)
      if (entry === undefined) continue
      records.push(entry)
      bytes += entry.bytes.length + entry.key.length
      this.#given(peer, entry)
    }
    const answers = this.#deps.answersIn(new Set(partitions), ANSWERS_MAX)
    return { type: 'pulled', covered, records: records.map(recordOf), answers }
  }

  #takerGone(partition: number): void {
    this.#taken.delete(partition)
    this.#deps.store.dropGiven(partition, FIRST_COPY)
  }

  /** Not to one that is no primary by our table, where the one that is may have changed it, and nobody else knows of that. */
  #mayGive(peer: PeerId, { partition, backups }: Entry): boolean {
    const isTaken = this.#taken.has(partition) && backups < FIRST_COPY
    return !isTaken || this.#isKept(partition, backups) || this.#deps.primaryOf(partition) === peer
  }

  #given(peer: PeerId, { namespace, key, kind, partition, backups }: Entry): void {
    const { primaryOf, store } = this.#deps
    if (kind === 'tombstone' || this.#isKept(partition, backups) || primaryOf(partition) !== peer) return
    store.markGiven(namespace, key)
    if (backups < FIRST_COPY) this.#taken.add(partition)
  }

  #isKept(partition: number, backups: number): boolean {
    const rank = this.#deps.rankOf(partition)
    return rank >= 0 && rank <= backups
  }
}
