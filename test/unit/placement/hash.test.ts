import { describe, expect, it } from 'vitest'
import { hash32, hash52, hash64, saltOf } from '../../../lib/placement/hash.ts'

/** The key of the published vectors: the bytes 00 01 … 07. Their input is the bytes 00 01 02 …, here two to a unit. */
const KEY = { low: 0x03020100, high: 0x07060504 }

function input(bytes: number): string {
  let text = ''
  for (let i = 0; i < bytes; i += 2) text += String.fromCharCode(i | ((i + 1) << 8))
  return text
}

/** The same function once more, written as the paper has it: any bytes, and numbers of any size. */
function reference(bytes: Uint8Array, key: { low: number; high: number }, outBytes: 4 | 8): bigint {
  const mask = 0xffffffffn
  const rotate = (x: bigint, n: bigint) => ((x << n) | (x >> (32n - n))) & mask
  const k0 = BigInt(key.low)
  const k1 = BigInt(key.high)
  let [v0, v1, v2, v3] = [k0, k1, 0x6c796765n ^ k0, 0x74656462n ^ k1]
  const rounds = (n: number) => {
    for (let i = 0; i < n; i++) {
      v0 = (v0 + v1) & mask
      v1 = rotate(v1, 5n) ^ v0
      v0 = rotate(v0, 16n)
      v2 = (v2 + v3) & mask
      v3 = rotate(v3, 8n) ^ v2
      v0 = (v0 + v3) & mask
      v3 = rotate(v3, 7n) ^ v0
      v2 = (v2 + v1) & mask
      v1 = rotate(v1, 13n) ^ v2
      v2 = rotate(v2, 16n)
    }
  }
  if (outBytes === 8) v1 ^= 0xeen
  const padded = new Uint8Array(Math.floor(bytes.length / 4) * 4 + 4)
  padded.set(bytes)
  padded[padded.length - 1] = bytes.length
  const view = new DataView(padded.buffer)
  for (let i = 0; i < padded.length; i += 4) {
    const word = BigInt(view.getUint32(i, true))
    v3 ^= word
    rounds(2)
    v0 ^= word
  }
  v2 ^= outBytes === 8 ? 0xeen : 0xffn
  rounds(4)
  const first = v1 ^ v3
  if (outBytes === 4) return first
  v1 ^= 0xddn
  rounds(4)
  return first | ((v1 ^ v3) << 32n)
}

describe('HalfSipHash-2-4', () => {
  it.each([
    [0, 0x5b9f35a9],
    [2, 0x03a662fa],
    [4, 0x89466e2a],
    [6, 0x23fc6358],
    [8, 0x8f84b8d0],
    [10, 0x3479b094],
    [12, 0x2f87f057],
    [14, 0x7cf8ffd6],
    [62, 0x7a9983bd]
  ])('gives the published 32 bits of %i bytes', (bytes, expected) => {
    expect(hash32(input(bytes), KEY)).toBe(expected)
  })

  it.each([
    [0, 0x591f8d21, 0xc83cb8b9],
    [2, 0xef394f06, 0x57eb507c],
    [4, 0x178ae7d5, 0xa12ee55b],
    [6, 0x35913ece, 0x25bca28a],
    [62, 0xb53a0bf9, 0x9366d472]
  ])('gives the published 64 bits of %i bytes', (bytes, low, high) => {
    expect(hash64(input(bytes), KEY)).toEqual({ low, high })
  })

  it('agrees with a second implementation on text of any kind and length', () => {
    for (let length = 0; length < 300; length++) {
      const text = Array.from({ length }, (_, i) => ['a', 'é', '€', '😀', '\0', '\uffff'][(i * 7 + length) % 6]).join(
        ''
      )
      const salt = saltOf(`salt ${length}`)
      const bytes = new Uint8Array(Buffer.from(text, 'utf16le'))
      expect(BigInt(hash32(text, salt))).toBe(reference(bytes, salt, 4))
      const { low, high } = hash64(text, salt)
      expect((BigInt(high) << 32n) | BigInt(low)).toBe(reference(bytes, salt, 8))
    }
  })
})

describe('salts', () => {
  it('differ by name and by what they are within', () => {
    const shop = saltOf('shop')
    const salts = [
      shop,
      saltOf('shoq'),
      saltOf('products', shop),
      saltOf('products', saltOf('other')),
      saltOf('', shop)
    ]
    expect(new Set(salts.map(({ low, high }) => `${low} ${high}`)).size).toBe(salts.length)
  })

  it('never change: members of different releases must agree', () => {
    expect(saltOf('shop')).toEqual({ low: 1_348_722_955, high: 4_216_807_387 })
    expect(hash52('shop')).toBe(4421640115183883)
  })
})

describe('hash52', () => {
  it('is an exact integer', () => {
    for (let i = 0; i < 1000; i++) {
      const hash = hash52(`${i}`, KEY)
      expect(Number.isSafeInteger(hash) && hash >= 0 && hash < 2 ** 52).toBe(true)
    }
  })
})
