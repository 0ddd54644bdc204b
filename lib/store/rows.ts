/**
 * The rows: what is known of each record beside its key and value, 64 bytes each, off the V8 heap.
 *
 * A record is a number. Its row is one line of the processor's cache, so that hash, links, times and the place of its
 * bytes cost one miss together; as columns they would cost one each. Rows lie in chunks of 1,024: growing adds a chunk
 * and copies nothing, so there is no pause, and a chunk at the end that is empty goes back to the system. New records
 * take the lowest chunk with room; where much is free, whoever owns the rows moves the stragglers of the last chunk
 * down, one at a time (`straggler`).
 *
 *   word 0 hash · 1 next in its bucket · 2, 3 links of its eviction list · 4, 5 of its wheel · 6, 7 of its partition
 *   8, 9 stamp of its version · 10, 11 when it expires · 12 partition and traits · 13 cache and writer
 *   14 where its cell is · 15 bytes of the value and units of the key
 *
 * A field more (another time, the number of a list of tags) widens the row: `ROW_WORDS` and a name below.
 *
 * Words are signed, for a number above 2³¹ is an object on the heap wherever it crosses a call.
 *
 * Not promised: that a record keeps its number. Nothing outside this folder may hold one across a call.
 */
const ROW_WORDS = 16
const ROW_BYTES = ROW_WORDS * 4
const CHUNK_BITS = 10
const CHUNK_ROWS = 1 << CHUNK_BITS
const IN_CHUNK = CHUNK_ROWS - 1
/** Free rows are tolerated up to this share, and two chunks. */
const FREE_SHARE_MAX = 1 / 8

/** Partitions are numbered from 0; who records are shared out by is not known here. */
export const PARTITIONS_MAX = 16_384

/** No record has this number, so links can say "nobody". */
export const NOBODY = 0

export const HASH = 0
export const BUCKET_NEXT = 1
/** Of two words each: the one before and the one after. */
export const EVICTION_LINKS = 2
export const WHEEL_LINKS = 4
export const PARTITION_LINKS = 6
export const STAMP = 8
export const EXPIRES = 10
export const TRAITS = 12
export const NAMES = 13
export const CELL = 14
export const LENGTHS = 15

/** In the word of traits, above the 16 bits of the partition. Bits 29 to 31 are free for whoever needs one. */
export const PARTITION_MASK = 0xffff

export const TRAIT = {
  live: 1 << 16,
  tombstone: 1 << 17,
  negative: 1 << 18,
  /** The key has code units above 0xff and takes two bytes for each. */
  wide: 1 << 19,
  /** The value is memory of its own, not in the slab. */
  large: 1 << 20,
  /** In front of the value lies how it is kept (`keeping.ts`). */
  kept: 1 << 24,
  /** Given to the partition's new primary since it was last written. */
  given: 1 << 27,
  /** Stands among the copies: this member is not the partition's primary. */
  copy: 1 << 28
} as const

/** Which of its lists an eviction policy has put the record into: two bits of the traits. */
export const SEGMENT_SHIFT = 21
export const SEGMENT_MASK = 3 << SEGMENT_SHIFT

/** How many backups the record has: two bits of the traits. */
export const BACKUPS_SHIFT = 25
export const BACKUPS_MASK = 3 << BACKUPS_SHIFT

export class Rows {
  readonly #words: Int32Array[] = []
  readonly #doubles: Float64Array[] = []
  /** By chunk: its first free row, each pointing to the next by its word 1, and how many there are. */
  readonly #freeFirst: number[] = []
  readonly #freeCount: number[] = []
  #free = 0
  /** No chunk below this one has a free row. */
  #lowest = 0
  #straggler = 0

  get bytes(): number {
    return this.#words.length * CHUNK_ROWS * ROW_BYTES
  }

  get(id: number, word: number): number {
    return (this.#words[id >>> CHUNK_BITS] as Int32Array)[(id & IN_CHUNK) * ROW_WORDS + word] as number
  }

  /** The words of a row, and where among them it begins: for who reads several, and does not keep them. */
  wordsOf(id: number): Int32Array {
    return this.#words[id >>> CHUNK_BITS] as Int32Array
  }

  startOf(id: number): number {
    return (id & IN_CHUNK) * ROW_WORDS
  }

  set(id: number, word: number, value: number): void {
    ;(this.#words[id >>> CHUNK_BITS] as Int32Array)[(id & IN_CHUNK) * ROW_WORDS + word] = value
  }

  /** The words STAMP and EXPIRES are halves of doubles. */
  getDouble(id: number, word: number): number {
    return (this.#doubles[id >>> CHUNK_BITS] as Float64Array)[((id & IN_CHUNK) * ROW_WORDS + word) >>> 1] as number
  }

  setDouble(id: number, word: number, value: number): void {
    ;(this.#doubles[id >>> CHUNK_BITS] as Float64Array)[((id & IN_CHUNK) * ROW_WORDS + word) >>> 1] = value
  }

  /** No record has this number or a higher one. */
  get end(): number {
    return this.#words.length << CHUNK_BITS
  }

  has(id: number, trait: number): boolean {
    return (this.get(id, TRAITS) & trait) !== 0
  }

  /** A row of zeros, but for its mark of being live. */
  add(): number {
    while (this.#lowest < this.#words.length && this.#freeCount[this.#lowest] === 0) this.#lowest++
    if (this.#lowest === this.#words.length) this.#addChunk()
    const chunk = this.#lowest
    const id = this.#freeFirst[chunk] as number
    this.#freeFirst[chunk] = this.get(id, BUCKET_NEXT)
    this.#freeCount[chunk] = (this.#freeCount[chunk] as number) - 1
    this.#free--
    const from = (id & IN_CHUNK) * ROW_WORDS
    ;(this.#words[chunk] as Int32Array).fill(0, from, from + ROW_WORDS)
    this.set(id, TRAITS, TRAIT.live)
    return id
  }

  remove(id: number): void {
    const chunk = id >>> CHUNK_BITS
    this.set(id, TRAITS, 0)
    this.set(id, BUCKET_NEXT, this.#freeFirst[chunk] as number)
    this.#freeFirst[chunk] = id
    this.#freeCount[chunk] = (this.#freeCount[chunk] as number) + 1
    this.#free++
    if (chunk < this.#lowest) this.#lowest = chunk
    if (chunk >= this.#words.length - 2) this.#giveBack()
  }

  copy(from: number, to: number): void {
    for (let word = 0; word < ROW_WORDS; word++) this.set(to, word, this.get(from, word))
  }

  /** A record of the last chunk that should move to a lower row because much is free; NOBODY while all is well. */
  straggler(): number {
    if (this.#free <= 2 * CHUNK_ROWS + this.#words.length * CHUNK_ROWS * FREE_SHARE_MAX) return NOBODY
    const last = this.#words.length - 1
    const first = (this.#isEmpty(last) ? last - 1 : last) << CHUNK_BITS
    if (this.#straggler < first || this.#straggler >= first + CHUNK_ROWS) this.#straggler = first
    // Rows below were moved already; one that was given out since is found in the next round.
    for (let seen = 0; seen < CHUNK_ROWS; seen++) {
      const id = this.#straggler
      this.#straggler = first + ((id + 1) & IN_CHUNK)
      if (this.has(id, TRAIT.live)) return id
    }
    return NOBODY
  }

  #addChunk(): void {
    const chunk = this.#words.length
    const memory = new ArrayBuffer(CHUNK_ROWS * ROW_BYTES)
    this.#words.push(new Int32Array(memory))
    this.#doubles.push(new Float64Array(memory))
    // Row 0 of all is nobody.
    const first = (chunk << CHUNK_BITS) + (chunk === 0 ? 1 : 0)
    const last = (chunk << CHUNK_BITS) + IN_CHUNK
    for (let id = first; id < last; id++) this.set(id, BUCKET_NEXT, id + 1)
    this.#freeFirst.push(first)
    this.#freeCount.push(last - first + 1)
    this.#free += last - first + 1
  }

  /** Empty chunks at the end go, but for one: a store that breathes must not buy and sell. */
  #giveBack(): void {
    while (this.#words.length > 2 && this.#isEmpty(this.#words.length - 1) && this.#isEmpty(this.#words.length - 2)) {
      this.#words.pop()
      this.#doubles.pop()
      this.#freeFirst.pop()
      this.#free -= this.#freeCount.pop() as number
      this.#lowest = Math.min(this.#lowest, this.#words.length)
    }
  }

  #isEmpty(chunk: number): boolean {
    return this.#freeCount[chunk] === CHUNK_ROWS
  }
}
