/** Values as applications store them, and MessagePack as nobody would write it. */
import type { Dice } from './dice.ts'
import { concat } from './mutate.ts'

/** First bytes that announce something: lengths of 16 and 32 bits, extensions, and one that is never used. */
const HEADS = [0xc1, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf]
/** Types of extensions that the library has something for. */
const EXTENSIONS = [0x00, 0x42, 0x62, 0x65, 0x69, 0x70, 0x72, 0x73, 0x74, 0x78, 0xff]
const DEPTH_MAX = 4

export function inventedValue(dice: Dice, depth = 0): unknown {
  const kind = dice.below(depth < DEPTH_MAX ? 15 : 10)
  const inner = (): unknown => inventedValue(dice, depth + 1)
  const some = <T>(make: () => T): T[] => Array.from({ length: dice.size(6) }, make)
  switch (kind) {
    case 0:
      return null
    case 1:
      return dice.chance(0.5)
    case 2:
      return dice.below(2 ** 32) - 2 ** 31
    case 3:
      return dice.number()
    case 4:
      return BigInt(dice.below(2 ** 32)) ** BigInt(dice.size(12))
    case 5:
      return new Date(dice.below(2 ** 41))
    case 6:
      return Buffer.from(dice.bytes(dice.size(300)))
    case 7:
      return new Float64Array(dice.size(4))
    case 8:
    case 9:
      return dice.text(120)
    case 10:
      return new Map(some(() => [dice.text(9), inner()] as const))
    case 11:
      return new Set(some(inner))
    case 12:
      return some(inner)
    default:
      return Object.fromEntries(some(() => [dice.text(12), inner()] as const).filter(([key]) => key !== '__proto__'))
  }
}

/** Heads that promise a lot, nested as deep as they come. */
export function hostilePack(dice: Dice): Uint8Array {
  if (dice.chance(0.1)) {
    const head = dice.pick([
      [0x91],
      [0xdc, 0xff, 0xff],
      [0xdd, 0, 0xff, 0xff, 0xff],
      [0x81, 0xa1, 0x61],
      [0xdd, 0, 0, 0, 9]
    ])
    return Uint8Array.from({ length: head.length * dice.below(2_000) }, (_, i) => head[i % head.length] as number)
  }
  const pieces: Uint8Array[] = []
  for (let left = dice.size(30); left >= 0; left--) pieces.push(token(dice))
  return concat(...pieces)
}

function token(dice: Dice): Uint8Array {
  if (dice.chance(0.3)) return Uint8Array.of(0xd4 + dice.below(5), dice.pick(EXTENSIONS), ...dice.bytes(dice.below(17)))
  if (dice.chance(0.2)) {
    const count = dice.below(20)
    return Uint8Array.of(0xc7, count, dice.pick(EXTENSIONS), ...hostileBody(dice, count))
  }
  if (dice.chance(0.4)) return Uint8Array.of(dice.pick(HEADS), ...dice.bytes(dice.below(6)))
  return dice.bytes(1 + dice.below(12))
}

function hostileBody(dice: Dice, count: number): Uint8Array {
  return dice.chance(0.5) ? dice.bytes(count) : Uint8Array.of(0x92, 0xa4, 0x65, 0x76, 0x61, 0x6c, 0xa1, 0x31)
}
