/**
 * HalfSipHash-2-4, by hand: a keyed hash of short text in 32-bit arithmetic.
 *
 * Keyed, so that somebody who chooses keys but does not know the salt cannot aim them all at one member. 32-bit,
 * because JavaScript has fast integers of that width only: SipHash itself needs 64-bit ones, which are BigInts here
 * and some hundred times slower, and the packages that avoid them are not keyed or bring native code.
 *
 * The text goes in as its UTF-16 code units, two to a word. That is what a string already is: nothing is allocated and
 * nothing is transcoded, on each lookup of each key. It equals HalfSipHash of the UTF-16LE bytes, so the published
 * vectors apply. Every member computes the same on every machine.
 *
 * Not promised: secrecy. A 64-bit key is no shield against somebody who sees many hashes; nothing here sends any out.
 */
export interface Salt {
  readonly low: number
  readonly high: number
}

/** The salt of the salts: any constant will do, as long as it never changes. */
const ROOT: Salt = { low: 0x63616368, high: 0x656d6573 }

/** The salt for a name; `within` another one, so that the same name in two meshes is two salts. */
export function saltOf(name: string, within: Salt = ROOT): Salt {
  const { low, high } = hash64(name, within)
  return { low, high }
}

/** 32 well mixed bits, as an unsigned integer. */
export function hash32(text: string, salt: Salt): number {
  return halfSip(text, salt, 32, 0)
}

/** 64 well mixed bits, as two unsigned integers. */
export function hash64(text: string, salt: Salt): { low: number; high: number } {
  return { low: halfSip(text, salt, 64, 0), high: halfSip(text, salt, 64, 1) }
}

/** 52 well mixed bits, as one exact integer: for comparing texts by their hashes. */
export function hash52(text: string, salt: Salt = ROOT): number {
  const { low, high } = hash64(text, salt)
  return (high >>> 12) * 0x100000000 + low
}

/** The first or the second 32 bits of the 32 or 64-bit variant. The round stands here twice so that it is inlined. */
function halfSip(text: string, salt: Salt, width: 32 | 64, word: 0 | 1): number {
  let v0 = salt.low
  let v1 = salt.high ^ (width === 64 ? 0xee : 0)
  let v2 = 0x6c796765 ^ salt.low
  let v3 = 0x74656462 ^ salt.high
  const { length } = text
  for (let i = 0; i <= length; i += 2) {
    const m = wordAt(text, i, length)
    v3 ^= m
    for (let r = 0; r < 2; r++) {
      v0 = (v0 + v1) | 0
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
      v0 = (v0 << 16) | (v0 >>> 16)
      v2 = (v2 + v3) | 0
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
      v0 = (v0 + v3) | 0
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
      v2 = (v2 + v1) | 0
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
      v2 = (v2 << 16) | (v2 >>> 16)
    }
    v0 ^= m
  }
  v2 ^= width === 64 ? 0xee : 0xff
  for (let r = 0; r < 4 + word * 4; r++) {
    if (r === 4) v1 ^= 0xdd
    v0 = (v0 + v1) | 0
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
    v0 = (v0 << 16) | (v0 >>> 16)
    v2 = (v2 + v3) | 0
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (v0 + v3) | 0
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v2 = (v2 + v1) | 0
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
    v2 = (v2 << 16) | (v2 >>> 16)
  }
  return (v1 ^ v3) >>> 0
}

/** Two code units; the last word holds what is left and, in its highest byte, the length in bytes. */
function wordAt(text: string, i: number, length: number): number {
  if (i + 1 < length) return text.charCodeAt(i) | (text.charCodeAt(i + 1) << 16)
  return (i < length ? text.charCodeAt(i) : 0) | ((length * 2) << 24)
}
