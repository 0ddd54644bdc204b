/**
 * Which keys may exist, as a Bloom filter that members can compare and merge part by part. A key that was added is
 * never denied; of the others about as many are taken for existing as was asked for, while there are not more keys than
 * it was made for.
 *
 * It only grows, so merging is OR: in whatever order parts and keys come, and however often, members that have been
 * told the same hold the same. Each part has a print, kept up to date with every bit that is newly set, so that two
 * members find out what differs without a walk over megabytes.
 *
 * Where a key's bits lie is said by the package `bloomfilter`. Members whose package says otherwise must not merge, so
 * what it makes of a few samples is part of the geometry.
 */
import { BloomFilter } from 'bloomfilter'
import { FILTER_PART_BYTES, FILTER_PARTS_MAX } from '../rpc/origin-talk.ts'

/** The size of a filter, and where keys lie in it. */
export interface Geometry {
  /** A whole number of words; 0 is no filter. */
  readonly bits: number
  /** Bits set for each key. */
  readonly hashes: number
  /** What our way of hashing makes of some samples. */
  readonly hashing: number
}

/** A gigabit, 128 MiB: more than a hundred million keys at 1 %. */
export const BITS_MAX = FILTER_PARTS_MAX * FILTER_PART_BYTES * 8
export const HASHES_MAX = 32
/** What is sent and compared at once. */
const PART_WORDS = FILTER_PART_BYTES / 4
/** From here on clearly more keys are in it than it was made for: then half of the bits are set. */
const FULL = 0.6

/** `locations` is there, and left out of the types. The answer is used again by the next call. */
class Bits extends BloomFilter {
  declare readonly locations: (key: string) => ArrayLike<number>
}

const HASHING = hashingOf(['', 'a', 'product:42', '["berlin",1]', 'ключ'])

/** The smallest filter for so many keys of which this share of others is let through; `bits` may be above `BITS_MAX`. */
export function geometryFor(keys: number, falsePositives: number): Geometry {
  const bits = Math.ceil((-keys * Math.log2(falsePositives)) / Math.LN2 / 32) * 32
  // To the nearest, not up: at a share of 1 % it is 7 either way.
  const hashes = Math.min(HASHES_MAX, Math.max(1, Math.round((bits / keys) * Math.LN2)))
  return { bits, hashes, hashing: HASHING }
}

export class KeyFilter {
  readonly geometry: Geometry
  readonly #bits: Bits
  readonly #words: Uint32Array
  readonly #low: Uint32Array
  readonly #high: Uint32Array
  #set = 0

  constructor(geometry: Geometry) {
    this.geometry = geometry
    this.#bits = new Bits(geometry.bits, geometry.hashes)
    // The types are those of an older version, which kept them signed.
    this.#words = this.#bits.buckets as unknown as Uint32Array
    const parts = Math.ceil(this.#words.length / PART_WORDS)
    this.#low = new Uint32Array(parts)
    this.#high = new Uint32Array(parts)
  }

  get bytes(): number {
    return this.#words.byteLength + this.#low.byteLength * 2
  }

  get parts(): number {
    return this.#low.length
  }

  /** More than it was made for is in it, so it lets more through. */
  get isOverfull(): boolean {
    return this.#set > this.geometry.bits * FULL
  }

  has(key: string): boolean {
    return this.#bits.test(key)
  }

  add(key: string): void {
    const places = this.#bits.locations(key)
    for (let i = 0; i < this.geometry.hashes; i++) {
      const place = places[i] as number
      this.#merge(place >>> 5, 1 << (place & 31))
    }
  }

  /** All that is in it as one number: equal for equal contents. */
  get print(): number {
    let [low, high] = [0, 0]
    for (let part = 0; part < this.parts; part++) {
      low ^= this.#low[part] as number
      high ^= this.#high[part] as number
    }
    return joined(low, high)
  }

  prints(): number[] {
    return Array.from(this.#low, (low, part) => joined(low, this.#high[part] as number))
  }

  /** A copy, in one order of bytes on every machine; undefined where there is no such part. */
  part(index: number): Uint8Array | undefined {
    if (!(index >= 0 && index < this.parts)) return undefined
    const words = this.#words.subarray(index * PART_WORDS, (index + 1) * PART_WORDS)
    const bytes = new Uint8Array(words.byteLength)
    const view = new DataView(bytes.buffer)
    for (let i = 0; i < words.length; i++) view.setUint32(i * 4, words[i] as number, true)
    return bytes
  }

  /** False, and nothing is changed, where these bytes are no such part. */
  mergePart(index: number, bytes: Uint8Array): boolean {
    const from = index * PART_WORDS
    const length = Math.min(PART_WORDS, this.#words.length - from)
    if (!(index >= 0 && index < this.parts) || bytes.length !== length * 4) return false
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    for (let i = 0; i < length; i++) this.#merge(from + i, view.getUint32(i * 4, true))
    return true
  }

  #merge(at: number, more: number): void {
    const had = this.#words[at] as number
    let fresh = more & ~had
    if (fresh === 0) return
    this.#words[at] = had | more
    const part = Math.floor(at / PART_WORDS)
    while (fresh !== 0) {
      const bit = 31 - Math.clz32(fresh)
      fresh ^= 1 << bit
      const place = at * 32 + bit
      this.#low[part] = (this.#low[part] as number) ^ mixed(place, 0x9e3779b9)
      this.#high[part] = (this.#high[part] as number) ^ mixed(place, 0x85ebca6b)
      this.#set++
    }
  }
}

/** A number of 32 well mixed bits for a place, another for each seed. */
function mixed(place: number, seed: number): number {
  let h = Math.imul(place ^ seed, 0xcc9e2d51)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** 52 bits, which a double holds exactly. */
function joined(low: number, high: number): number {
  return (high >>> 12) * 2 ** 32 + (low >>> 0)
}

function hashingOf(samples: readonly string[]): number {
  const bits = new Bits(2 ** 17, 8)
  let print = 0
  for (const sample of samples)
    for (const place of Array.from(bits.locations(sample))) print = mixed(print ^ place, 0x9e3779b9)
  return print
}
