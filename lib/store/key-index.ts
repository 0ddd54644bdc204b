/**
 * From the hash of a key to its record: linear hashing (Litwin, 1980).
 *
 * Buckets are chains through the rows, one record each on average. With each record more than there are buckets, one
 * bucket is split in two; with half as many records as buckets, one is merged back with each that goes. So the table
 * grows and shrinks a step at a time and there is never a rehash: the table that doubles stops everybody for 30 ms at a
 * million entries, this one never for more than a chain.
 */
import { BUCKET_NEXT, HASH, NOBODY, type Rows } from './rows.ts'

const CHUNK_BITS = 12
const IN_CHUNK = (1 << CHUNK_BITS) - 1
const BUCKETS_MIN = 64

export class KeyIndex {
  readonly #rows: Rows
  readonly #chunks: Int32Array[] = [new Int32Array(1 << CHUNK_BITS)]
  #buckets = BUCKETS_MIN
  /** One less than the power of two at or above the number of buckets. */
  #mask = BUCKETS_MIN - 1
  #size = 0

  constructor(rows: Rows) {
    this.#rows = rows
  }

  get size(): number {
    return this.#size
  }

  get bytes(): number {
    return this.#chunks.length * 4 * (1 << CHUNK_BITS)
  }

  /** The first record that may be it; the others follow by `next`. */
  first(hash: number): number {
    return this.#head(this.#bucketOf(hash))
  }

  next(id: number): number {
    return this.#rows.get(id, BUCKET_NEXT)
  }

  add(id: number): void {
    this.#push(this.#bucketOf(this.#rows.get(id, HASH)), id)
    if (++this.#size > this.#buckets) this.#split()
  }

  remove(id: number): void {
    this.#replace(id, this.next(id))
    if (--this.#size < this.#buckets >>> 1 && this.#buckets > BUCKETS_MIN) this.#merge()
  }

  /** The row of `from` has been copied to `to`. */
  moved(from: number, to: number): void {
    this.#replace(from, to)
  }

  #replace(id: number, by: number): void {
    const bucket = this.#bucketOf(this.#rows.get(id, HASH))
    const first = this.#head(bucket)
    if (first === id) return this.#setHead(bucket, by)
    let before = first
    while (this.next(before) !== id) before = this.next(before)
    this.#rows.set(before, BUCKET_NEXT, by)
  }

  #bucketOf(hash: number): number {
    const bucket = hash & this.#mask
    return bucket < this.#buckets ? bucket : bucket & (this.#mask >>> 1)
  }

  #split(): void {
    const added = this.#buckets++
    if (added > this.#mask) this.#mask = this.#mask * 2 + 1
    if (added >>> CHUNK_BITS === this.#chunks.length) this.#chunks.push(new Int32Array(1 << CHUNK_BITS))
    this.#redistribute(added & (this.#mask >>> 1))
  }

  #merge(): void {
    const removed = --this.#buckets
    const first = this.#head(removed)
    this.#setHead(removed, NOBODY)
    if (this.#buckets <= this.#mask >>> 1) this.#mask >>>= 1
    for (let id = first; id !== NOBODY; ) {
      const next = this.next(id)
      this.#push(this.#bucketOf(this.#rows.get(id, HASH)), id)
      id = next
    }
    // One chunk is kept in hand.
    if (removed >>> CHUNK_BITS < this.#chunks.length - 2) this.#chunks.pop()
  }

  #redistribute(bucket: number): void {
    let id = this.#head(bucket)
    this.#setHead(bucket, NOBODY)
    while (id !== NOBODY) {
      const next = this.next(id)
      this.#push(this.#bucketOf(this.#rows.get(id, HASH)), id)
      id = next
    }
  }

  #push(bucket: number, id: number): void {
    this.#rows.set(id, BUCKET_NEXT, this.#head(bucket))
    this.#setHead(bucket, id)
  }

  #head(bucket: number): number {
    return (this.#chunks[bucket >>> CHUNK_BITS] as Int32Array)[bucket & IN_CHUNK] as number
  }

  #setHead(bucket: number, id: number): void {
    ;(this.#chunks[bucket >>> CHUNK_BITS] as Int32Array)[bucket & IN_CHUNK] = id
  }
}
