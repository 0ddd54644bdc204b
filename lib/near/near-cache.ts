/**
 * Near copies of one cache: values of keys that other members own, kept in this process, so that a read of them asks
 * nobody.
 *
 * A copy is served while its line of changes (`invalidation/origins.ts`) was confirmed less than two seconds ago; beyond
 * that the owner is asked, and only if nobody answers does the copy, until `near.ttl`. It goes when its line names the
 * key with a later version, when the line is over, when its partition has another owner, and when it is too old.
 *
 * What is put in must not have been overtaken while it was on its way:
 *
 *   1. get k leaves ─ its owner answers v1 ─ k changes to v2, and gossip of that is here first ─ v1 arrives.
 *
 * So a key that is named, or changed from here, is closed to every read that began before that moment. Times are the
 * mesh clock's, which never runs back.
 *
 * What has a tag that was invalidated is found dead when it is read, or brought: a tag may be that of all that is here,
 * and to look through all for each would cost more than the reads.
 *
 * In a cache where no copies were asked for, those of hot keys are kept all the same, for a moment (`isForHot`): of a key
 * whose owner has just said in a reply that it is hot. The reply of that very read must say so, or what is here goes: the
 * owner has cooled it down, or it is somebody else.
 *
 * Not promised: that two members see a change at the same moment; `from: 'owner'` asks past the copies.
 */
import { LRUCache } from 'lru-cache'
import { isInRange, type Key, rangeOf } from '../codec/keys.ts'
import type { NearTerms } from '../fill/definition.ts'
import { LAG_MS_MAX, type Line } from '../invalidation/origins.ts'
import type { Stats } from '../observe/stats.ts'
import type { PeerId } from '../ports/transport.ts'
import type { Changed } from '../rpc/near-talk.ts'
import type { MeshClock } from '../store/version.ts'

/** A key that is read near costs about so much beside its text and its value. */
const OVERHEAD_BYTES = 200
/** Keys of which we have been told that they are hot; the oldest are forgotten. */
const GRANTED_MAX = 256
/** Keys closed to reads under way; of those beyond, every read that began before is refused. */
const CLOSED_MAX = 4_096
/** Copies that may be spared to make room for one: beyond that the oldest goes, used or not. */
const SPARED_MAX = 16

/** What a read has brought, as far as a copy of it needs. */
export interface Brought {
  readonly bytes: Uint8Array
  readonly negative: boolean
  readonly stamp: number
  readonly writer: string
  readonly expiresAtMs: number
  readonly stale: boolean
  readonly tags: Uint8Array
  /** Who owned the key and answered; undefined where somebody else did. */
  readonly owner: PeerId | undefined
}

export interface NearCopy extends Brought {
  /** As encoded, and the text it was made of, if it was one. */
  readonly key: string
  readonly text: string | undefined
  readonly from: 'near'
  readonly partition: number
  readonly line: Line
  /** When it is over, whoever confirms it. */
  readonly untilMs: number
  /** It is decoded, and all callers share the value; otherwise each decodes its own. */
  isShared: boolean
  value: unknown
  /** Its owner has been told, or will be, that it is used; of a hot one it is told again and again. */
  isUsed: boolean
  readonly isHot: boolean
  /** Reads since its owner was told; of what is not hot, only the first. */
  reads: number
  /** It is counted, or may be dead by a tag: not answered with in haste. */
  readonly isToBeLookedAt: boolean
  /** Read since it was the oldest: when its turn to go comes, it goes to the end of the line once more. */
  isSpared: boolean
}

export interface NearDeps {
  readonly meshClock: MeshClock
  readonly stats: Stats
  readonly self: PeerId
  readonly viewHash: () => number
  readonly partitionOf: (key: string) => number
  readonly primaryOf: (partition: number) => PeerId | undefined
  readonly lineOf: (origin: PeerId) => Line | undefined
  /** Its confirmation is old, or soon will be, and somebody asks for the copy. */
  readonly unconfirmed: (line: Line) => void
  readonly used: (line: Line, copy: NearCopy) => void
  /** It lies below a floor. */
  readonly isDead: (key: string, copy: Brought) => boolean
  /** Whether there is room for so much more that nobody asked to be kept. */
  readonly hasRoom: (bytes: number) => boolean
}

export class NearCache {
  readonly #deps: NearDeps
  readonly #meshClock: MeshClock
  readonly #stats: Stats
  readonly #ttlMs: number
  readonly isForHot: boolean
  readonly #copies: LRUCache<string, NearCopy>
  /** Those of text keys, by the text itself: to encode a key and hash it anew costs more than all else of a read. */
  readonly #texts = new Map<string, NearCopy>()
  /** When we were last told of each key that it is hot. */
  readonly #granted = new Map<string, number>()
  /** Reads under way that may be kept. */
  #readsOnTheirWay = 0
  /** When each key was last named or changed. */
  readonly #closed = new Map<string, number>()
  /** Reads that began before are refused, whatever they bring. */
  #allClosedAtMs = Number.NEGATIVE_INFINITY
  /** The view for which the owners of all that is here were looked at. */
  #viewHash: number

  constructor(terms: NearTerms, deps: NearDeps) {
    this.#deps = deps
    this.#meshClock = deps.meshClock
    this.#stats = deps.stats
    this.#ttlMs = terms.ttlMs
    this.isForHot = terms.isForHot
    this.#viewHash = deps.viewHash()
    this.#copies = new LRUCache({
      max: terms.maxEntries,
      maxSize: terms.maxBytes,
      dispose: copy => this.#gone(copy),
      sizeCalculation: bytesOf
    })
  }

  get size(): number {
    return this.#copies.size
  }

  get bytes(): number {
    return this.#copies.calculatedSize
  }

  /** Nothing is here, and nothing on its way that could be kept: nobody need look, and nothing need be closed. */
  get isIdle(): boolean {
    return this.#copies.size === 0 && this.#granted.size === 0 && this.#readsOnTheirWay === 0 && this.isForHot
  }

  /** Whether what a read of this key brings may be kept. */
  mayKeep(key: string): boolean {
    return !this.isForHot || this.#granted.has(key) || this.#copies.has(key)
  }

  /** Its owner says that it is hot. */
  granted(key: string): void {
    this.#granted.delete(key)
    this.#granted.set(key, this.#now())
    if (this.#granted.size <= GRANTED_MAX) return
    this.#granted.delete(this.#granted.keys().next().value as string)
  }

  /** A read that may be kept begins, at the time of the answer; each is to be ended. */
  beginRead(): number {
    this.#readsOnTheirWay++
    return this.#now()
  }

  endRead(): void {
    this.#readsOnTheirWay--
  }

  #now(): number {
    return this.#deps.meshClock.now()
  }

  /** A copy that may be answered with. */
  find(key: string): NearCopy | undefined {
    this.#lookAgain()
    const copy = this.#copies.peek(key)
    return copy === undefined ? undefined : this.#confirmed(copy)
  }

  /** The same of a text key that is not encoded yet. */
  findText(text: string): NearCopy | undefined {
    this.#lookAgain()
    const copy = this.#texts.get(text)
    return copy === undefined ? undefined : this.#confirmed(copy)
  }

  /** Short, so that the compiler takes all of a read for one function: in pieces it takes half as long again. */
  #confirmed(copy: NearCopy): NearCopy | undefined {
    const nowMs = this.#meshClock.turnMs()
    const { line } = copy
    const isQuiet =
      copy.isSpared &&
      !copy.isToBeLookedAt &&
      !line.isOver &&
      nowMs < copy.untilMs &&
      nowMs - line.confirmedAtMs <= LAG_MS_MAX / 2
    if (!isQuiet && !this.#mayBeServed(copy, nowMs)) return undefined
    this.#stats.readsNearTotal++
    return copy
  }

  #mayBeServed(copy: NearCopy, nowMs: number): boolean {
    const { line } = copy
    if (line.isOver || nowMs >= copy.untilMs || this.#isDead(copy)) {
      this.#copies.delete(copy.key)
      return false
    }
    copy.isSpared = true
    const lagMs = nowMs - line.confirmedAtMs
    // Asked for in time: who comes back after a pause need not ask the owner for the value itself.
    if (lagMs > LAG_MS_MAX / 2) this.#deps.unconfirmed(line)
    if (lagMs > LAG_MS_MAX) return false
    if (!copy.isUsed) {
      copy.isUsed = true
      this.#deps.used(line, copy)
    }
    copy.reads++
    return true
  }

  /** A copy that its owner has not confirmed of late, for whoever could not be answered by anybody. */
  findLast(key: string): NearCopy | undefined {
    this.#lookAgain()
    const copy = this.#copies.get(key)
    if (copy === undefined || copy.line.isOver || this.#deps.meshClock.now() >= copy.untilMs) return undefined
    if (this.#isDead(copy)) return undefined
    this.#deps.stats.readsNearTotal++
    return copy
  }

  /**
   * What was answered to a read that began at `beganMs`. Kept where its owner of now has said it, where it cannot have
   * been overtaken, and where we would be told when it is. What we own ourselves is here already.
   */
  keep(key: string, asked: Key, brought: Brought, beganMs: number): void {
    const { owner, stale, stamp } = brought
    const { self, primaryOf, partitionOf, lineOf, meshClock, stats, hasRoom } = this.#deps
    const isHot = (this.#granted.get(key) ?? Number.NEGATIVE_INFINITY) >= beganMs
    if (this.isForHot && !isHot) return this.#cooled(key)
    if (owner === undefined || owner === self || stale || this.#deps.isDead(key, brought)) return
    this.#lookAgain()
    const partition = partitionOf(key)
    if (primaryOf(partition) !== owner || (this.#copies.peek(key)?.stamp ?? 0) >= stamp) return
    const line = lineOf(owner)
    if (line === undefined || line.sinceMs > beganMs || this.#isClosed(key, beganMs)) return
    const untilMs = Math.min(brought.expiresAtMs, beganMs + this.#ttlMs)
    if (untilMs <= meshClock.now() || (this.isForHot && !hasRoom(brought.bytes.length))) return
    const { negative, writer, expiresAtMs } = brought
    const copy: NearCopy = {
      // What each read looks at lies together, at the front.
      line,
      untilMs,
      isSpared: false,
      isToBeLookedAt: isHot || brought.tags.length > 0,
      isShared: false,
      value: undefined,
      key,
      text: typeof asked === 'string' ? asked : undefined,
      // What came in a frame must not keep all of the frame.
      bytes: brought.bytes.slice(),
      tags: brought.tags.slice(),
      negative,
      stamp,
      writer,
      expiresAtMs,
      stale: false,
      owner,
      from: 'near',
      partition,
      isUsed: false,
      isHot,
      reads: 0
    }
    this.#copies.delete(key)
    this.#makeRoom(bytesOf(copy))
    this.#copies.set(key, copy)
    if (copy.text !== undefined && this.#copies.has(key)) this.#texts.set(copy.text, copy)
    stats.nearKeptTotal++
  }

  /** Whoever asks next asks its owner, and as plainly as for any other key. */
  #cooled(key: string): void {
    this.#granted.delete(key)
    this.#copies.delete(key)
  }

  /** What is over takes room until somebody asks for it. */
  dropOver(): void {
    const nowMs = this.#now()
    for (const [key, { untilMs }] of this.#copies.entries()) if (untilMs <= nowMs) this.#copies.delete(key)
  }

  /** Changed from here, or it may have been: whoever reads next reads what there is now. True where there was a copy. */
  changedHere(key: string): boolean {
    const wasHere = this.#copies.delete(key)
    this.#close(key)
    return wasHere
  }

  /** Changed somewhere. A copy of what it has become may be here already, and stays. True where one of before was. */
  changed({ key, stamp, expiresAtMs }: Changed): boolean {
    const copy = this.#copies.peek(key)
    const isOld =
      copy !== undefined && (stamp > copy.stamp || (stamp === copy.stamp && expiresAtMs !== copy.expiresAtMs))
    if (isOld) {
      this.#copies.delete(key)
      this.#deps.stats.nearDroppedTotal++
    }
    this.#close(key)
    return isOld
  }

  /** All that begins so and is older is dead. */
  cleared(prefix: string, stamp: number): void {
    const range = rangeOf(prefix)
    for (const [key, copy] of this.#copies.entries())
      if (copy.stamp < stamp && isInRange(key, range)) {
        this.#copies.delete(key)
        this.#deps.stats.nearDroppedTotal++
      }
    this.#closeAll()
  }

  clear(): void {
    this.#copies.clear()
    this.#closeAll()
  }

  /** A tag of it was invalidated; what was cleared by its key is not here any more. */
  #isDead(copy: NearCopy): boolean {
    return copy.tags.length > 0 && this.#deps.isDead(copy.key, copy)
  }

  /**
   * Who goes is whoever was not read for longest, by one mark a copy (CLOCK): to move it in the list with each read would
   * cost a second lookup of its key, and that is as much as the first.
   */
  #makeRoom(bytes: number): void {
    const copies = this.#copies
    // What is larger than all together is not kept by anybody, and nobody goes for it.
    if (bytes > copies.maxSize) return
    const isFull = (): boolean => copies.size >= copies.max || copies.calculatedSize + bytes > copies.maxSize
    for (let spared = 0; spared < SPARED_MAX && copies.size > 0 && isFull(); ) {
      const oldest = copies.peek(copies.rkeys().next().value as string) as NearCopy
      if (!oldest.isSpared) {
        copies.delete(oldest.key)
        continue
      }
      oldest.isSpared = false
      copies.get(oldest.key)
      spared++
    }
  }

  #gone(copy: NearCopy): void {
    if (copy.text !== undefined && this.#texts.get(copy.text) === copy) this.#texts.delete(copy.text)
  }

  /** In another view other members own what is here, and change it without a word in the lines we follow. */
  #lookAgain(): void {
    const viewHash = this.#deps.viewHash()
    if (viewHash !== this.#viewHash) this.#dropMoved(viewHash)
  }

  #dropMoved(viewHash: number): void {
    this.#viewHash = viewHash
    for (const [key, { partition, line }] of this.#copies.entries())
      if (this.#deps.primaryOf(partition) !== line.origin) this.#copies.delete(key)
  }

  #isClosed(key: string, beganMs: number): boolean {
    return beganMs <= this.#allClosedAtMs || beganMs <= (this.#closed.get(key) ?? Number.NEGATIVE_INFINITY)
  }

  #close(key: string): void {
    this.#closed.delete(key)
    this.#closed.set(key, this.#now())
    if (this.#closed.size <= CLOSED_MAX) return
    const [oldest, atMs] = this.#closed.entries().next().value as [string, number]
    this.#closed.delete(oldest)
    this.#allClosedAtMs = Math.max(this.#allClosedAtMs, atMs)
  }

  #closeAll(): void {
    this.#closed.clear()
    this.#allClosedAtMs = this.#now()
  }
}

function bytesOf({ key, bytes, tags }: NearCopy): number {
  return bytes.length + tags.length + 2 * key.length + OVERHEAD_BYTES
}

/** How often it was read since its owner was last told. */
export function readsToTell(copy: NearCopy): number {
  const { reads } = copy
  copy.reads = 0
  if (copy.isHot) copy.isUsed = false
  return reads
}
