/**
 * Messages that are valid, made from the table of layouts itself: what reads a field from bytes is given an inventor in
 * place of a reader, which answers with something allowed. So a new message is fuzzed from the day it is in the table.
 *
 * Their bytes are written by a writer that notes what stands where, so that a mutation can say "this length" or "this
 * text" instead of "byte 17".
 */
import { type ByteReader, ByteWriter, Malformed } from '../../lib/base/bytes.ts'
import { FrameBuilder } from '../../lib/rpc/frame.ts'
import { KINDS, type Kind, LAYOUTS, type Message } from '../../lib/rpc/messages.ts'
import type { Dice } from './dice.ts'

export interface Spot {
  readonly at: number
  readonly what: 'u8' | 'u32' | 'f64' | 'text'
}

/** Bytes and where in them to aim. */
export interface Draft {
  readonly bytes: Uint8Array
  readonly spots: readonly Spot[]
}

export interface Part extends Draft {
  readonly kind: number
  readonly call: number
}

interface FieldLike {
  read(from: ByteReader): unknown
  write(to: ByteWriter, value: unknown): void
}

const TRIES = 200
const HEADER_BYTES = 18

/** What it answers is mostly in range; where it is not, the layout refuses it and another one is tried. */
class Inventor {
  readonly #dice: Dice
  readonly left = Number.MAX_SAFE_INTEGER

  constructor(dice: Dice) {
    this.#dice = dice
  }

  u8(): number {
    return this.#dice.below(5)
  }

  u32(): number {
    const dice = this.#dice
    return dice.chance(0.7) ? dice.below(300) : dice.pick([0, 1, 2 ** 16, 2 ** 31 - 1, 2 ** 31, dice.below(2 ** 32)])
  }

  f64(): number {
    const dice = this.#dice
    return dice.chance(0.7) ? dice.pick([0, 1, 0.5, 1_000, dice.float() * 1_000]) : dice.number()
  }

  length(max: number): number {
    return this.#dice.size(Math.min(max, 40))
  }

  bytes(max: number): Uint8Array {
    const dice = this.#dice
    return dice.bytes(Math.min(max, dice.chance(0.95) ? dice.below(65) : dice.below(4_000)))
  }

  text(max: number): string {
    return this.#dice.text(Math.floor(max / 4))
  }
}

class NotingWriter extends ByteWriter {
  readonly spots: Spot[] = []

  override u8(value: number): void {
    this.spots.push({ at: this.length, what: 'u8' })
    super.u8(value)
  }

  override u32(value: number): void {
    this.spots.push({ at: this.length, what: 'u32' })
    super.u32(value)
  }

  override f64(value: number): void {
    this.spots.push({ at: this.length, what: 'f64' })
    super.f64(value)
  }

  override text(value: string): void {
    this.spots.push({ at: this.length, what: 'u32' })
    if (value !== '') this.spots.push({ at: this.length + 4, what: 'text' })
    super.text(value)
  }
}

/** A value that the reading function takes, whatever it reads. */
export function invented<T>(dice: Dice, read: (from: ByteReader) => T): T {
  for (let i = 0; i < TRIES; i++) {
    try {
      return read(new Inventor(dice) as unknown as ByteReader)
    } catch (error) {
      if (!(error instanceof Malformed)) throw error
    }
  }
  throw new Error('the layouts refuse all that the fuzzer invents: teach its inventor')
}

export function noted(write: (to: ByteWriter) => void): Draft {
  const to = new NotingWriter()
  write(to)
  return { bytes: to.finish(), spots: to.spots }
}

export function inventedMessage(dice: Dice, kind: Kind): Message {
  const message: Record<string, unknown> = { type: kind }
  for (const [name, field] of fieldsOf(kind)) message[name] = invented(dice, from => field.read(from))
  return message as unknown as Message
}

export function partOf(call: number, message: Message): Part {
  const values = message as unknown as Record<string, unknown>
  const draft = noted(to => {
    for (const [name, field] of fieldsOf(message.type)) field.write(to, values[name])
  })
  return { ...draft, kind: KINDS.indexOf(message.type), call }
}

/** The frame of these parts, whether or not they are still what they were. */
export function assemble(parts: readonly Part[], header: { clockMs: number; viewHash: number }): Draft {
  const spots: Spot[] = [0, 1].map(at => ({ at, what: 'u8' }))
  spots.push({ at: 2, what: 'f64' }, { at: 10, what: 'f64' })
  const to = new ByteWriter()
  to.raw(new FrameBuilder().finish(header))
  for (const { kind, call, bytes, spots: inside } of parts) {
    const at = to.length
    spots.push({ at, what: 'u32' }, { at: at + 4, what: 'u8' }, { at: at + 5, what: 'u32' })
    for (const spot of inside) spots.push({ ...spot, at: spot.at + at + 9 })
    to.u32(bytes.length + 5)
    to.u8(kind)
    to.u32(call)
    to.raw(bytes)
  }
  return { bytes: to.finish(), spots }
}

/** The fuzzer knows how a frame is put together; when that changes it must be told, or it would test nothing. */
export function checkAssembly(dice: Dice): void {
  const messages = KINDS.map(kind => inventedMessage(dice, kind))
  const builder = new FrameBuilder()
  for (const [call, message] of messages.entries()) builder.add(call, message)
  const header = { clockMs: 1, viewHash: 2 }
  const ours = assemble(
    messages.map((message, call) => partOf(call, message)),
    header
  ).bytes
  if (builder.bytes === ours.length && Buffer.compare(builder.finish(header), ours) === 0) return
  throw new Error(`the shape of frames has changed: teach assemble() and its header of ${HEADER_BYTES} bytes`)
}

function fieldsOf(kind: Kind): [string, FieldLike][] {
  return Object.entries(LAYOUTS[kind]) as unknown as [string, FieldLike][]
}
