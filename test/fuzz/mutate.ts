/**
 * What may happen to bytes on their way, and what somebody who means harm would do to them: bits flipped, ends cut and
 * grown, two spliced, lengths that lie, text that is none, numbers that are none.
 */
import type { Dice } from './dice.ts'
import type { Draft, Spot } from './messages.ts'

const NO_TEXT = [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xe2, 0x82], [0xf5, 0x80, 0x80, 0x80], [0x80]]

type Mutation = (dice: Dice, draft: Draft, other: Uint8Array) => Uint8Array

const MUTATIONS: readonly Mutation[] = [
  flipped,
  flipped,
  overwritten,
  overwritten,
  overwritten,
  cut,
  grown,
  spliced,
  moved
]

/** One to three mutations. `other` is what may be spliced in. */
export function mutated(dice: Dice, draft: Draft, other: Uint8Array): Uint8Array {
  let bytes = draft.bytes
  for (let times = 1 + dice.size(2); times > 0; times--)
    bytes = dice.pick(MUTATIONS)(dice, { bytes, spots: draft.spots }, other)
  return bytes
}

function flipped(dice: Dice, { bytes }: Draft): Uint8Array {
  const copy = bytes.slice()
  for (let i = dice.size(8); i >= 0 && copy.length > 0; i--) {
    const at = dice.below(copy.length)
    copy[at] = (copy[at] as number) ^ (1 << dice.below(8))
  }
  return copy
}

/** Aims at something. */
function overwritten(dice: Dice, { bytes, spots }: Draft): Uint8Array {
  const copy = bytes.slice()
  const spot = spots.length === 0 ? undefined : dice.pick(spots)
  if (spot !== undefined && fits(spot, copy.length)) overwrite(dice, copy, spot)
  return copy
}

function overwrite(dice: Dice, bytes: Uint8Array, { at, what }: Spot): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  switch (what) {
    case 'u8':
      bytes[at] = dice.chance(0.7) ? dice.below(40) : dice.below(256)
      return
    case 'u32': {
      const near = view.getUint32(at, true) + dice.below(5) - 2
      return view.setUint32(at, dice.chance(0.4) ? near >>> 0 : dice.length(), true)
    }
    case 'f64':
      return view.setFloat64(at, dice.number(), true)
    case 'text': {
      const bad = dice.pick(NO_TEXT)
      for (const [i, byte] of bad.entries()) if (at + i < bytes.length) bytes[at + i] = byte
    }
  }
}

function fits({ at, what }: Spot, length: number): boolean {
  return at + { u8: 1, u32: 4, f64: 8, text: 1 }[what] <= length
}

function cut(dice: Dice, { bytes }: Draft): Uint8Array {
  return bytes.slice(0, dice.below(bytes.length + 1))
}

function grown(dice: Dice, { bytes }: Draft): Uint8Array {
  return concat(bytes, dice.bytes(1 + dice.size(200)))
}

function spliced(dice: Dice, { bytes }: Draft, other: Uint8Array): Uint8Array {
  return concat(bytes.subarray(0, dice.below(bytes.length + 1)), other.subarray(dice.below(other.length + 1)))
}

/** A piece of it once more, somewhere else. */
function moved(dice: Dice, { bytes }: Draft): Uint8Array {
  const from = dice.below(bytes.length + 1)
  const piece = bytes.subarray(from, from + dice.size(40))
  const at = dice.below(bytes.length + 1)
  return concat(bytes.subarray(0, at), piece, bytes.subarray(at))
}

export function concat(...pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const piece of pieces) {
    all.set(piece, at)
    at += piece.length
  }
  return all
}
