/**
 * What a member holds of each partition, in three numbers: how many records, and the XOR of a 64-bit mix of each one's
 * version and end. Two members that hold the same come to the same, whatever happened to them in between, so a copy is
 * compared with its primary without listing anything. Kept up with each record that comes, changes or goes.
 *
 * A version is one change of one key in all the mesh, so the key need not be mixed in; a `touch` leaves the version and
 * moves the end, and so does the mark that stays of a value. Which is why both count, and nothing else does. By
 * partition and by how many backups a record has, for a backup of rank 2 holds only what has two of them.
 *
 * One block of 768 KiB, made with the first record, and all with so many backups side by side: most caches have as
 * many, so of the block little is touched. Not promised: that equal digests are equal records, if somebody
 * chooses stamps for it; by chance they differ in one case of 2⁶⁴.
 */
import { BACKUPS_MASK, BACKUPS_SHIFT, EXPIRES, PARTITION_MASK, PARTITIONS_MAX, STAMP, TRAITS } from './rows.ts'

export interface Digest {
  readonly count: number
  /** Unsigned, of 32 bits each. */
  readonly low: number
  readonly high: number
}

const CLASSES = 4
const COUNT = 0
const LOW = 1
const HIGH = 2
const WORDS = 3
const SEED_LOW = 0x2f0b4c47
const SEED_HIGH = 0x61c88647

/** Which word of a double is the lower half: the same number must come to the same mix on any machine. */
const LOWER = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1 ? 0 : 1
const UPPER = 1 - LOWER

export class Digests {
  #sums: Int32Array | undefined

  /** A record has come (1) or goes (-1): its row, and the hash of its writer's name. */
  count(words: Int32Array, start: number, writer: number, by: 1 | -1): void {
    if (this.#sums === undefined) this.#sums = new Int32Array(PARTITIONS_MAX * CLASSES * WORDS)
    const sums = this.#sums
    const traits = words[start + TRAITS] as number
    const backups = (traits & BACKUPS_MASK) >>> BACKUPS_SHIFT
    const at = (backups * PARTITIONS_MAX + (traits & PARTITION_MASK)) * WORDS
    const a = words[start + STAMP + LOWER] as number
    const b = words[start + STAMP + UPPER] as number
    const c = words[start + EXPIRES + LOWER] as number
    const d = words[start + EXPIRES + UPPER] as number
    sums[at + COUNT] = (sums[at + COUNT] as number) + by
    sums[at + LOW] = (sums[at + LOW] as number) ^ mix(SEED_LOW, a, b, c, d, writer)
    sums[at + HIGH] = (sums[at + HIGH] as number) ^ mix(SEED_HIGH, writer, d, c, b, a)
  }

  /** How many records have at least so many backups. */
  countOf(partition: number, rank: number): number {
    const sums = this.#sums
    if (sums === undefined) return 0
    let count = 0
    for (let backups = rank; backups < CLASSES; backups++)
      count += sums[(backups * PARTITIONS_MAX + partition) * WORDS + COUNT] as number
    return count
  }

  /** Of the records that have at least so many backups. */
  of(partition: number, rank: number): Digest {
    const sum = new DigestSum()
    const sums = this.#sums
    if (sums === undefined) return sum.digest
    for (let backups = rank; backups < CLASSES; backups++) {
      const at = (backups * PARTITIONS_MAX + partition) * WORDS
      sum.add(sums[at + COUNT] as number, sums[at + LOW] as number, sums[at + HIGH] as number)
    }
    return sum.digest
  }
}

/** The same, put together record by record. */
export class DigestSum {
  #count = 0
  #low = 0
  #high = 0

  record(stamp: number, writer: number, expiresAtMs: number): void {
    halves[0] = stamp
    halves[1] = expiresAtMs
    const [a, b] = [halfWords[LOWER] as number, halfWords[UPPER] as number]
    const [c, d] = [halfWords[2 + LOWER] as number, halfWords[2 + UPPER] as number]
    this.add(1, mix(SEED_LOW, a, b, c, d, writer), mix(SEED_HIGH, writer, d, c, b, a))
  }

  add(count: number, low: number, high: number): void {
    this.#count += count
    this.#low ^= low
    this.#high ^= high
  }

  get digest(): Digest {
    return { count: this.#count, low: this.#low >>> 0, high: this.#high >>> 0 }
  }
}

const halves = new Float64Array(2)
const halfWords = new Int32Array(halves.buffer)

/** Each word is mixed in by a multiplication and a shift, the last once more; this is done twice with every put. */
function mix(seed: number, a: number, b: number, c: number, d: number, e: number): number {
  let h = Math.imul(seed ^ a, 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 15) ^ b, 0xc2b2ae35)
  h = Math.imul(h ^ (h >>> 15) ^ c, 0x27d4eb2f)
  h = Math.imul(h ^ (h >>> 15) ^ d, 0x165667b1)
  h = Math.imul(h ^ (h >>> 15) ^ e, 0x9e3779b1)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  return h ^ (h >>> 13)
}
