/**
 * The bytes of keys and values, in segments off the V8 heap that are written from front to back.
 *
 * A cell is one word with the number of its record, or less than zero its length once it is dead, then the bytes. Nothing is
 * rounded up to a class of sizes, so a load that changes from small values to large ones strands no memory. What is
 * freed stays where it is until compaction: when more than `WASTE_SHARE_MAX` of the sealed segments is dead, the
 * emptiest of them is read through, its live cells move to the segment for survivors, and it goes back to the system or
 * is written anew. Survivors have a segment of their own because what has lived long lives on: mixed with the newest
 * they would be moved again and again. Each `tidy` reads a bounded stretch, so no put waits for more than its share.
 *
 * Not promised: exactly its bytes. The memory held is at most the live cells × 1.12 plus four segments, once the puts
 * and ticks that follow a great loss have done their part. At most 16 GB, the reach of a 32-bit place.
 */
import { assert } from '../base/assert.ts'

const OFFSET_BITS = 18
const IN_SEGMENT = (1 << OFFSET_BITS) - 1
const SEGMENT_WORDS_MAX = 1 << OFFSET_BITS
const SEGMENT_WORDS_MIN = 1 << 14
const SEGMENTS_MAX = 1 << (32 - OFFSET_BITS)
/** A new segment is this part of what there is, so that a small store is small. */
const GROWTH = 16
const WASTE_SHARE_MAX = 0.1
/** For each word that is written, so many are read through when there is waste: above 1 / WASTE_SHARE_MAX it is enough. */
const READ_PER_WRITTEN = 12
const READ_MIN = 64

/** Index into the segments for "none". */
const NONE = -1

interface Segment {
  readonly words: Int32Array
  readonly bytes: Uint8Array
  /** Words written, dead or not. */
  used: number
  live: number
}

/** What the slab must know of the records in it. */
export interface Tenants {
  cellWordsOf(id: number): number
  moved(id: number, cell: number): void
}

export class Slab {
  readonly #tenants: Tenants
  readonly #segments: (Segment | undefined)[] = []
  readonly #unused: number[] = []
  #spare: Segment | undefined
  /** Where new cells go, and where those go that survive a compaction. */
  #young = NONE
  #old = NONE
  #victim = NONE
  #cursor = 0
  #heldWords = 0
  #liveWords = 0
  #sealedWords = 0
  #sealedLive = 0

  constructor(tenants: Tenants) {
    this.#tenants = tenants
  }

  /** Memory held, the spare segment too. */
  get bytes(): number {
    return (this.#heldWords + (this.#spare?.words.length ?? 0)) * 4
  }

  get liveBytes(): number {
    return this.#liveWords * 4
  }

  /** False when there is no place left in 32 bits; something must go first. */
  canHold(): boolean {
    return this.#unused.length > 0 || this.#segments.length < SEGMENTS_MAX - 2
  }

  /** A cell of so many words, the first of which is its record's number. */
  add(id: number, words: number): number {
    if (!this.#fits(this.#young, words)) this.#young = this.#replaced(this.#young, words)
    return this.#write(this.#young, id, words)
  }

  remove(cell: number, words: number): void {
    const index = cell >>> OFFSET_BITS
    const segment = this.#at(index)
    segment.words[cell & IN_SEGMENT] = -words
    segment.live -= words
    this.#liveWords -= words
    if (!this.#isSealed(index)) return
    this.#sealedLive -= words
    if (segment.live === 0) this.#release(index)
  }

  wordsOf(cell: number): Int32Array {
    return this.#at(cell >>> OFFSET_BITS).words
  }

  bytesOf(cell: number): Uint8Array {
    return this.#at(cell >>> OFFSET_BITS).bytes
  }

  /** The record has another number now. */
  renumber(cell: number, id: number): void {
    this.#at(cell >>> OFFSET_BITS).words[cell & IN_SEGMENT] = id
  }

  /** More is dead than should be. */
  get isWasteful(): boolean {
    return this.#sealedWords - this.#sealedLive > this.#sealedWords * WASTE_SHARE_MAX
  }

  /** Compacts, if there is need, in proportion to what was written. */
  tidy(writtenWords: number): void {
    let toRead = READ_MIN + writtenWords * READ_PER_WRITTEN
    while (toRead > 0) {
      if (this.#victim === NONE && !this.#chooseVictim()) return
      toRead -= this.#readOne()
    }
  }

  /** Reads one cell of the victim and moves it if it lives; the words that it took. */
  #readOne(): number {
    const segment = this.#at(this.#victim)
    const head = segment.words[this.#cursor] as number
    if (head < 0) {
      this.#cursor -= head
      return -head
    }
    const words = this.#tenants.cellWordsOf(head)
    const from = this.#cursor
    this.#cursor += words
    if (!this.#fits(this.#old, words)) this.#old = this.#replaced(this.#old, words)
    const cell = this.#write(this.#old, head, words)
    copyWords(segment.words, from + 1, this.wordsOf(cell), (cell & IN_SEGMENT) + 1, words - 1)
    this.#tenants.moved(head, cell)
    this.remove((this.#victim << OFFSET_BITS) | from, words)
    return words
  }

  /** The sealed segment with the largest share of dead words, while all together have too many. */
  #chooseVictim(): boolean {
    if (!this.isWasteful) return false
    let most = 0
    for (let index = 0; index < this.#segments.length; index++) {
      const segment = this.#segments[index]
      if (segment === undefined || !this.#isSealed(index)) continue
      const share = 1 - segment.live / segment.used
      if (share <= most) continue
      most = share
      this.#victim = index
    }
    this.#cursor = 0
    return this.#victim !== NONE
  }

  #write(index: number, id: number, words: number): number {
    const segment = this.#at(index)
    const offset = segment.used
    segment.words[offset] = id
    segment.used += words
    segment.live += words
    this.#liveWords += words
    return (index << OFFSET_BITS) | offset
  }

  #fits(index: number, words: number): boolean {
    if (index === NONE) return false
    const segment = this.#at(index)
    return segment.used + words <= segment.words.length
  }

  /** Seals an open segment and opens another. */
  #replaced(index: number, words: number): number {
    const isYoung = index === this.#young
    const opened = this.#open(words)
    if (index === NONE) return opened
    if (isYoung) this.#young = NONE
    else this.#old = NONE
    const segment = this.#at(index)
    this.#sealedWords += segment.used
    this.#sealedLive += segment.live
    if (segment.live === 0) this.#release(index)
    return opened
  }

  #open(words: number): number {
    const wanted = Math.max(this.#heldWords / GROWTH, words, SEGMENT_WORDS_MIN)
    const segment = this.#spare ?? newSegment(Math.min(SEGMENT_WORDS_MAX, 2 ** Math.ceil(Math.log2(wanted))))
    this.#spare = undefined
    const index = this.#unused.pop() ?? this.#segments.length
    assert(index < SEGMENTS_MAX, 'the slab is asked before it is full')
    this.#segments[index] = segment
    this.#heldWords += segment.words.length
    return index
  }

  #release(index: number): void {
    const segment = this.#at(index)
    this.#segments[index] = undefined
    this.#unused.push(index)
    this.#heldWords -= segment.words.length
    this.#sealedWords -= segment.used
    if (this.#victim === index) this.#victim = NONE
    // Segments of full size come and go all the time; one is kept in hand while there are others.
    if (segment.words.length < SEGMENT_WORDS_MAX || this.#heldWords < 4 * SEGMENT_WORDS_MAX) this.#spare = undefined
    else this.#spare ??= Object.assign(segment, { used: 0 })
  }

  #isSealed(index: number): boolean {
    return index !== this.#young && index !== this.#old
  }

  #at(index: number): Segment {
    return this.#segments[index] as Segment
  }
}

function newSegment(words: number): Segment {
  const memory = new ArrayBuffer(words * 4)
  return { words: new Int32Array(memory), bytes: new Uint8Array(memory), used: 0, live: 0 }
}

/** Word by word where it is little: making the view that `set` wants costs more than thirty words. */
export function copyWords(from: Int32Array, at: number, to: Int32Array, toAt: number, words: number): void {
  if (words > 64) to.set(from.subarray(at, at + words), toAt)
  else for (let i = 0; i < words; i++) to[toAt + i] = from[at + i] as number
}
