/**
 * Records in memory: a row, a cell with value and key, a place in the index. Everything here is about bytes; what a
 * record is worth and how long it lives is the store's business.
 *
 * A cell is the record's number, the value, then the key, so that the value begins at a multiple of four and is copied
 * word by word. What is handed out is a copy, in memory that is never written again: small ones lie side by side in a
 * pool of 16 KB, for a typed array with memory of its own costs ten times the copy. Values over 8 KB are memory of
 * their own here too, copied when they come in (what arrives is a view of a frame and would hold all of it), never
 * written again, and handed out as they are.
 */
import { costOf, type Entry, keyBytes, SLAB_VALUE_BYTES_MAX } from './entry.ts'
import { joinKeeping, type Keeping, shadowIn, splitKeeping, tagsIn } from './keeping.ts'
import { KeyIndex } from './key-index.ts'
import { isKey, isWide, readKey, writeKey } from './key-text.ts'
import { FULL, Names } from './names.ts'
import {
  BACKUPS_MASK,
  BACKUPS_SHIFT,
  BUCKET_NEXT,
  CELL,
  EXPIRES,
  HASH,
  LENGTHS,
  NAMES,
  NOBODY,
  PARTITION_MASK,
  Rows,
  STAMP,
  TRAIT,
  TRAITS
} from './rows.ts'
import { copyWords, Slab, type Tenants } from './slab.ts'
import type { Version } from './version.ts'

const OFFSET = (1 << 18) - 1
const VALUE_BITS = 14
const VALUE_MASK = (1 << VALUE_BITS) - 1
export const KEY_UNITS_MAX = 8 * 1024
/** What an entry decides of its row; the rest of the traits belongs to the eviction policy. */
const FROM_ENTRY =
  PARTITION_MASK | TRAIT.tombstone | TRAIT.negative | TRAIT.wide | TRAIT.large | TRAIT.kept | TRAIT.given | BACKUPS_MASK
const POOL_WORDS = 4 * 1024
const POOLED_WORDS_MAX = POOL_WORDS / 8
const NOTHING = new Uint8Array(0)

export class Records implements Tenants {
  readonly rows = new Rows()
  readonly #slab = new Slab(this)
  readonly #index = new KeyIndex(this.rows)
  readonly #writers = new Names()
  readonly #large = new Map<number, Uint8Array>()
  #largeBytes = 0
  #poolWords = new Int32Array(0)
  #poolUsed = POOL_WORDS

  get size(): number {
    return this.#index.size
  }

  /** Memory held, whatever of it is in use. */
  get heldBytes(): number {
    return this.rows.bytes + this.#slab.bytes + this.#index.bytes + this.#largeBytes
  }

  /** How many writers are known, for who wants to see that none is kept for nothing. */
  get writers(): number {
    return this.#writers.size
  }

  canHold(): boolean {
    return this.#slab.canHold()
  }

  find(cache: number, key: string, hash: number): number {
    const { rows } = this
    for (let id = this.#index.first(hash); id !== NOBODY; ) {
      const words = rows.wordsOf(id)
      const start = rows.startOf(id)
      if (words[start + HASH] === hash && (words[start + NAMES] as number) >>> 16 === cache) {
        const lengths = words[start + LENGTHS] as number
        const cell = words[start + CELL] as number
        const wide = ((words[start + TRAITS] as number) & TRAIT.wide) !== 0
        const at = (((cell & OFFSET) + 1) << 2) + (lengths & VALUE_MASK)
        if (lengths >>> VALUE_BITS === key.length && isKey(key, wide, this.#slab.bytesOf(cell), at)) return id
      }
      id = words[start + BUCKET_NEXT] as number
    }
    return NOBODY
  }

  /** A new record; NOBODY when it has one writer too many. */
  add(cache: number, entry: Entry, hash: number): number {
    const writer = this.#writers.hold(entry.version.writer)
    if (writer === FULL) return NOBODY
    const stored = storedOf(entry)
    const id = this.rows.add()
    this.rows.set(id, HASH, hash)
    this.rows.set(id, NAMES, (cache << 16) | writer)
    this.#describe(id, entry, stored)
    this.rows.set(id, CELL, this.#slab.add(id, this.cellWordsOf(id)))
    this.#write(id, entry.key, stored)
    this.#index.add(id)
    return id
  }

  /** Another value of the same key; false when it has one writer too many, and then nothing has changed. */
  change(id: number, entry: Entry): boolean {
    const writer = this.#writers.hold(entry.version.writer)
    if (writer === FULL) return false
    const names = this.rows.get(id, NAMES)
    this.#writers.release(names & 0xffff)
    this.rows.set(id, NAMES, (names & ~0xffff) | writer)
    const words = this.cellWordsOf(id)
    const stored = storedOf(entry)
    this.#forgetLarge(id)
    this.#describe(id, entry, stored)
    // A value of the same length is written in place: what was handed out are copies.
    if (this.cellWordsOf(id) !== words) {
      this.#slab.remove(this.rows.get(id, CELL), words)
      this.rows.set(id, CELL, this.#slab.add(id, this.cellWordsOf(id)))
    }
    this.#write(id, entry.key, stored)
    return true
  }

  remove(id: number): void {
    this.#index.remove(id)
    this.#slab.remove(this.rows.get(id, CELL), this.cellWordsOf(id))
    this.#forgetLarge(id)
    this.#writers.release(this.rows.get(id, NAMES) & 0xffff)
    this.rows.remove(id)
  }

  /** Gives a record a lower row and says which; the links to it are for who made them to mend. */
  lower(from: number): number {
    const to = this.rows.add()
    this.rows.copy(from, to)
    this.#index.moved(from, to)
    this.#slab.renumber(this.rows.get(to, CELL), to)
    const large = this.#large.get(from)
    if (large !== undefined) {
      this.#large.delete(from)
      this.#large.set(to, large)
    }
    return to
  }

  /** Frees the old row when all links point to the new one. */
  vacate(from: number): void {
    this.rows.remove(from)
  }

  /** `glance`: its bytes are the record's own memory, which the next change of the store may write over. */
  entry(id: number, namespace: string, key: string, glance = false): Entry {
    const { rows } = this
    const words = rows.wordsOf(id)
    const start = rows.startOf(id)
    const traits = words[start + TRAITS] as number
    const writer = this.#writers.name((words[start + NAMES] as number) & 0xffff)
    let bytes = this.#value(id, traits, words[start + LENGTHS] as number, words[start + CELL] as number, glance)
    let keeping: Keeping | undefined
    if ((traits & TRAIT.kept) !== 0) ({ keeping, value: bytes } = splitKeeping(bytes))
    return {
      namespace,
      key,
      partition: traits & PARTITION_MASK,
      version: { stamp: rows.getDouble(id, STAMP), writer },
      kind: (traits & TRAIT.tombstone) === 0 ? 'value' : 'tombstone',
      bytes,
      expiresAtMs: rows.getDouble(id, EXPIRES),
      negative: (traits & TRAIT.negative) !== 0,
      backups: (traits & BACKUPS_MASK) >>> BACKUPS_SHIFT,
      keeping
    }
  }

  key(id: number): string {
    const cell = this.rows.get(id, CELL)
    const lengths = this.rows.get(id, LENGTHS)
    const at = (((cell & OFFSET) + 1) << 2) + (lengths & VALUE_MASK)
    return readKey(lengths >>> VALUE_BITS, this.rows.has(id, TRAIT.wide), this.#slab.bytesOf(cell), at)
  }

  cacheOf(id: number): number {
    return this.rows.get(id, NAMES) >>> 16
  }

  partitionOf(id: number): number {
    return this.rows.get(id, TRAITS) & PARTITION_MASK
  }

  backupsOf(id: number): number {
    return (this.rows.get(id, TRAITS) & BACKUPS_MASK) >>> BACKUPS_SHIFT
  }

  versionOf(id: number): Version {
    return { stamp: this.rows.getDouble(id, STAMP), writer: this.#writers.name(this.rows.get(id, NAMES) & 0xffff) }
  }

  writerHashOf(id: number): number {
    return this.#writers.hash(this.rows.get(id, NAMES) & 0xffff)
  }

  /** Till when it must be known that there was something newer, beyond its own end; 0 where that is not so. */
  shadowUntilMs(id: number): number {
    const traits = this.rows.get(id, TRAITS)
    if ((traits & TRAIT.kept) === 0) return 0
    return shadowIn(this.#value(id, traits, this.rows.get(id, LENGTHS), this.rows.get(id, CELL), true))
  }

  /** In memory that the next change may write over. */
  tagsOf(id: number): Uint8Array {
    const traits = this.rows.get(id, TRAITS)
    if ((traits & TRAIT.kept) === 0) return NOTHING
    return tagsIn(this.#value(id, traits, this.rows.get(id, LENGTHS), this.rows.get(id, CELL), true))
  }

  costOf(id: number): number {
    const traits = this.rows.get(id, TRAITS)
    const lengths = this.rows.get(id, LENGTHS)
    const ofKey = keyBytes(lengths >>> VALUE_BITS, (traits & TRAIT.wide) !== 0)
    if ((traits & TRAIT.large) === 0) return costOf(ofKey, lengths & VALUE_MASK)
    return costOf(ofKey, (this.#large.get(id) as Uint8Array).length)
  }

  cellWordsOf(id: number): number {
    const lengths = this.rows.get(id, LENGTHS)
    return 1 + (((lengths & VALUE_MASK) + keyBytes(lengths >>> VALUE_BITS, this.rows.has(id, TRAIT.wide)) + 3) >>> 2)
  }

  moved(id: number, cell: number): void {
    this.rows.set(id, CELL, cell)
  }

  /** More of the slab is dead than should be. */
  get isWasteful(): boolean {
    return this.#slab.isWasteful
  }

  /** Compacts, if there is need, in proportion to what was written. */
  tidy(writtenBytes: number): void {
    this.#slab.tidy(writtenBytes >>> 2)
  }

  #describe(id: number, entry: Entry, bytes: Uint8Array): void {
    const { key, partition, kind, negative, backups, keeping } = entry
    const isLarge = bytes.length > SLAB_VALUE_BYTES_MAX
    const traits =
      partition |
      (kind === 'tombstone' ? TRAIT.tombstone : 0) |
      (negative ? TRAIT.negative : 0) |
      (isWide(key) ? TRAIT.wide : 0) |
      (isLarge ? TRAIT.large : 0) |
      (keeping === undefined ? 0 : TRAIT.kept) |
      (backups << BACKUPS_SHIFT)
    this.rows.set(id, TRAITS, (this.rows.get(id, TRAITS) & ~FROM_ENTRY) | traits)
    this.rows.set(id, LENGTHS, (key.length << VALUE_BITS) | (isLarge ? 0 : bytes.length))
    this.rows.setDouble(id, STAMP, entry.version.stamp)
    this.rows.setDouble(id, EXPIRES, entry.expiresAtMs)
  }

  #write(id: number, key: string, bytes: Uint8Array): void {
    const cell = this.rows.get(id, CELL)
    const memory = this.#slab.bytesOf(cell)
    const at = ((cell & OFFSET) + 1) << 2
    if (this.rows.has(id, TRAIT.large)) {
      this.#large.set(id, new Uint8Array(bytes))
      this.#largeBytes += bytes.length
    } else copyBytes(bytes, memory, at)
    const keyAt = at + (this.rows.get(id, LENGTHS) & VALUE_MASK)
    writeKey(key, this.rows.has(id, TRAIT.wide), memory, keyAt)
  }

  #value(id: number, traits: number, lengths: number, cell: number, glance: boolean): Uint8Array {
    if ((traits & TRAIT.large) !== 0) return this.#large.get(id) as Uint8Array
    const length = lengths & VALUE_MASK
    if (length === 0) return NOTHING
    const at = (cell & OFFSET) + 1
    if (glance) return this.#slab.bytesOf(cell).subarray(at << 2, (at << 2) + length)
    const words = (length + 3) >>> 2
    if (words > POOLED_WORDS_MAX) return this.#slab.bytesOf(cell).slice(at << 2, (at << 2) + length)
    if (this.#poolUsed + words > POOL_WORDS) {
      this.#poolWords = new Int32Array(POOL_WORDS)
      this.#poolUsed = 0
    }
    const to = this.#poolUsed
    this.#poolUsed += words
    copyWords(this.#slab.wordsOf(cell), at, this.#poolWords, to, words)
    return new Uint8Array(this.#poolWords.buffer, to << 2, length)
  }

  #forgetLarge(id: number): void {
    if (!this.rows.has(id, TRAIT.large)) return
    this.#largeBytes -= (this.#large.get(id) as Uint8Array).length
    this.#large.delete(id)
  }
}

/** What lies in the cell before the key. */
function storedOf({ bytes, keeping }: Entry): Uint8Array {
  return keeping === undefined ? bytes : joinKeeping(keeping, bytes)
}

function copyBytes(from: Uint8Array, to: Uint8Array, at: number): void {
  if (from.length > 64) to.set(from, at)
  else for (let i = 0; i < from.length; i++) to[at + i] = from[i] as number
}
