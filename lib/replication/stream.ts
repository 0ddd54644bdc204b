/**
 * What one member sends to one other that keeps copies for it: in order, in batches, each answered.
 *
 *   send ─▶ queue ─(end of turn, and none under way)─▶ batch ─▶ answered: held · moved · room · newer, for each record
 *                                                        ├────▶ no answer: the same batch again
 *                                                        └────▶ link lost: all that waits is given up, `onLost`
 *
 * One batch is under way at a time and the next gathers meanwhile, so a batch grows with the load and a quiet stream
 * has the latency of one message. With that there is an order without numbers: what a digest says is true at its place,
 * whichever lane the batch took, and sending again does nothing twice, for what is older than what is there is not taken.
 *
 * Not promised: that what was sent has arrived. Whoever must know waits for `onEnd`; whatever was given up is found by
 * the digests.
 */
import type { Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import { CallFailed, type Client } from '../rpc/client.ts'
import type { MessageOf, Reply } from '../rpc/messages.ts'
import type { Answered, Floor, Holding } from '../rpc/replica-talk.ts'
import { type Entry, entryBytes } from '../store/entry.ts'
import type { Version } from '../store/version.ts'
import type { FloorNews, FloorsToTell } from './floor-news.ts'
import { recordOf } from './record.ts'
import { ANSWERS_MAX, type KnownAnswer } from './told-answers.ts'

const BATCH_BYTES_MAX = 256 * 1024
/** Work of a few milliseconds on either side, for reads wait as long. */
const BATCH_RECORDS_MAX = 256
/** Waiting for one member; over it the stream is given up and begun anew by digests. */
const QUEUED_BYTES_MAX = 64 * 1024 * 1024
const QUEUED_MAX = 200_000
/** Partitions compared by one batch. */
const DIGESTS_MAX = 256
const AGAIN_MS = 50

/** What became of a record over there. `lost`: nobody knows. */
export type End = 'held' | 'moved' | 'room' | 'newer' | 'lost'

export interface Item {
  readonly entry: Entry
  readonly answer: Answered | undefined
  /** Its sender is not the primary any more. */
  readonly delivers: boolean
  /** Just made, and not brought in order to repair. */
  readonly isFresh: boolean
  onEnd: ((end: End, peer: PeerId) => void) | undefined
}

export interface Gone extends Version {
  readonly namespace: string
  readonly key: string
}

export interface StreamDeps {
  readonly clock: Clock
  readonly client: Client
  readonly timeoutMs: number
  readonly viewHash: () => number
  readonly nowMs: () => number
  readonly floors: FloorNews
  /** The peer knows of a clear that we have not heard of. */
  readonly onFloors: (floors: readonly Floor[]) => void
  /** What we have of a partition that this peer keeps copies of; undefined when it does not any more. */
  readonly holdingFor: (partition: number, peer: PeerId) => Holding | undefined
  readonly onLost: (peer: PeerId) => void
  /** What the peer has said to digests: these were compared, and of these it has something else, so many records. */
  readonly onCompared: (peer: PeerId, compared: readonly number[], differing: ReadonlyMap<number, number>) => void
  /** It has no room for a partition's copies. */
  readonly onShort: (peer: PeerId, partition: number) => void
  /** It holds a higher version than the one that was sent. */
  readonly onNewer: (peer: PeerId, item: Item) => void
  /** It sees another view, so these are still to be compared. */
  readonly onOtherView: (peer: PeerId, uncompared: readonly number[]) => void
  readonly onRefused: () => void
  readonly onSent: (records: number, bytes: number) => void
}

interface Batch {
  readonly message: MessageOf<'copies'>
  readonly items: readonly Item[]
  readonly toTell: FloorsToTell | undefined
}

export class Stream {
  readonly peer: PeerId
  readonly #deps: StreamDeps
  #items: Item[] = []
  #gone: Gone[] = []
  #answers: KnownAnswer[] = []
  #digests: number[] = []
  #queuedBytes = 0
  #underWay: Batch | undefined
  #scheduled = false
  #closed = false
  /** Every batch up to this one has been answered, and how many there were. */
  #begun = 0
  #ended = 0

  constructor(peer: PeerId, deps: StreamDeps) {
    this.peer = peer
    this.#deps = deps
  }

  /** Everything until now has been answered. */
  get isIdle(): boolean {
    return this.#underWay === undefined && this.#items.length === 0 && this.#gone.length === 0
  }

  /** Two numbers: once `ended` has reached what `position` says now, all of now has been answered. */
  get position(): number {
    return this.isIdle ? this.#ended : this.#begun + 1 + Math.ceil(this.#items.length / BATCH_RECORDS_MAX)
  }

  get ended(): number {
    return this.#ended
  }

  get waiting(): number {
    return this.#items.length + (this.#underWay?.items.length ?? 0)
  }

  send(item: Item): void {
    const bytes = entryBytes(item.entry)
    if (this.#queuedBytes + bytes > QUEUED_BYTES_MAX || this.#items.length >= QUEUED_MAX) {
      item.onEnd?.('lost', this.peer)
      return this.#giveUp()
    }
    this.#items.push(item)
    this.#queuedBytes += bytes
    this.#later()
  }

  /** The record sent last, if it is this one and has not left: whoever waits for it need not send it again. */
  last({ namespace, key, version }: Entry): Item | undefined {
    const item = this.#items.at(-1)
    const entry = item?.entry
    const isIt = entry?.key === key && entry.namespace === namespace && entry.version.stamp === version.stamp
    return isIt ? item : undefined
  }

  /** Given up by the primary for want of room. */
  sendGone(gone: Gone): void {
    if (this.#gone.length >= QUEUED_MAX) return this.#giveUp()
    this.#gone.push(gone)
    this.#later()
  }

  /** What was answered of late: goes before all that is compared. Lost with the link, it is not told again. */
  tell(answers: readonly KnownAnswer[]): void {
    this.#answers = [...this.#answers, ...answers].slice(-ANSWERS_MAX)
    this.#later()
  }

  /** Compares these partitions, as soon as nothing else waits. */
  compare(partitions: readonly number[]): void {
    for (const partition of partitions) this.#digests.push(partition)
    this.#later()
  }

  close(): void {
    this.#closed = true
    this.#dropAll()
  }

  #later(): void {
    if (this.#scheduled || this.#underWay !== undefined || this.#closed) return
    this.#scheduled = true
    this.#deps.clock.defer(() => {
      this.#scheduled = false
      if (this.#underWay === undefined) this.#next()
    })
  }

  #next(): void {
    if (this.#closed) return
    const batch = this.#nextBatch()
    if (batch === undefined) return
    this.#begun++
    this.#underWay = batch
    this.#post(batch)
  }

  #nextBatch(): Batch | undefined {
    const items = this.#takeItems()
    const evicted = this.#gone.splice(0, BATCH_RECORDS_MAX)
    const answers = this.#answers.splice(0, BATCH_RECORDS_MAX)
    const isAll = this.#items.length === 0 && this.#gone.length === 0
    const digests = isAll ? this.#takeDigests() : []
    if (items.length + answers.length + evicted.length + digests.length === 0) return undefined
    const { viewHash, nowMs, floors } = this.#deps
    const toTell = digests.length > 0 ? floors.for(this.peer) : undefined
    const message: MessageOf<'copies'> = {
      type: 'copies',
      viewHash: viewHash(),
      delivers: items[0]?.delivers === true,
      records: items.map(({ entry, answer }) => ({ record: recordOf(entry), answer })),
      answers,
      evicted,
      atMs: nowMs(),
      digests,
      floors: toTell?.floors ?? []
    }
    return { message, items, toTell }
  }

  #takeItems(): Item[] {
    let bytes = 0
    let count = 0
    const delivers = this.#items[0]?.delivers
    for (const item of this.#items) {
      if (count === BATCH_RECORDS_MAX || bytes > BATCH_BYTES_MAX || item.delivers !== delivers) break
      bytes += entryBytes(item.entry)
      count++
    }
    this.#queuedBytes -= bytes
    if (count > 0) this.#deps.onSent(count, bytes)
    if (count === this.#items.length) {
      const all = this.#items
      this.#items = []
      return all
    }
    return this.#items.splice(0, count)
  }

  #takeDigests(): Holding[] {
    return this.#digests.splice(0, DIGESTS_MAX).flatMap(partition => {
      const holding = this.#deps.holdingFor(partition, this.peer)
      return holding === undefined ? [] : [holding]
    })
  }

  #post(batch: Batch): void {
    const { client, timeoutMs } = this.#deps
    client.begin(this.peer, batch.message, { timeoutMs }, reply => {
      if (this.#underWay !== batch) return
      if (reply instanceof CallFailed) this.#failed(batch, reply)
      else this.#answered(batch, reply)
    })
  }

  #failed(batch: Batch, { end }: CallFailed): void {
    if (end === 'lost') return this.#giveUp()
    if (end === 'timeout') return this.#post(batch)
    this.#deps.clock.after(AGAIN_MS, () => {
      if (this.#underWay === batch) this.#post(batch)
    })
  }

  #answered(batch: Batch, reply: Reply): void {
    if (reply.type !== 'copied') {
      // It does not trust its view, or is broken: the same batch again, as with silence.
      this.#deps.clock.after(AGAIN_MS, () => {
        if (this.#underWay === batch) this.#post(batch)
      })
      return
    }
    this.#underWay = undefined
    this.#ended++
    if (reply.floors.length > 0) this.#deps.onFloors(reply.floors)
    const { message, items, toTell } = batch
    if (toTell !== undefined) this.#deps.floors.heard(this.peer, toTell)
    const refused = new Map(reply.refused.map(one => [one.place, one.why]))
    for (const [place, item] of items.entries()) {
      const why = refused.get(place)
      if (why !== undefined) this.#deps.onRefused()
      if (why === 'newer') this.#deps.onNewer(this.peer, item)
      if (why === 'room') this.#deps.onShort(this.peer, item.entry.partition)
      item.onEnd?.(why ?? 'held', this.peer)
    }
    const compared = message.digests.map(({ partition }) => partition)
    // Between two views a comparison says nothing: it is made again when they are one. Ours may have become the peer's
    // since we asked, and then it was asked as another backup than it is.
    const isOtherView = reply.viewHash !== this.#deps.viewHash() || reply.viewHash !== message.viewHash
    if (isOtherView) this.#deps.onOtherView(this.peer, compared)
    else if (compared.length > 0) {
      const differing = new Map(reply.differing.map(({ partition, count }) => [partition, count]))
      this.#deps.onCompared(this.peer, compared, differing)
    }
    this.#next()
  }

  #giveUp(): void {
    this.#dropAll()
    if (!this.#closed) this.#deps.onLost(this.peer)
  }

  #dropAll(): void {
    const lost = [...(this.#underWay?.items ?? []), ...this.#items]
    this.#underWay = undefined
    this.#items = []
    this.#gone = []
    this.#answers = []
    this.#digests = []
    this.#queuedBytes = 0
    this.#ended = this.#begun
    for (const item of lost) item.onEnd?.('lost', this.peer)
  }
}
