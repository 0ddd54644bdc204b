/**
 * Frames: many messages of one turn in one piece.
 *
 *   magic u8 · wire version u8 · sender's clock f64 · sender's viewHash f64 · then for each message:
 *   length u32 · kind u8 · call u32 · fields
 *
 * Every frame carries the clock and the view hash, so that a member that says anything at all keeps clocks and views
 * level, and a frame with no message is a heartbeat. A frame is read whole and checked whole before anything in it
 * changes state.
 */
import { ByteReader, ByteWriter, Malformed } from '../base/bytes.ts'
import { KINDS, type Message } from './messages.ts'
import { kindNumber, readMessageOf, writeMessage } from './wire.ts'

const MAGIC = 0xca
/** Members of another wire version are refused, both sides saying so. */
const WIRE_VERSION = 1

const HEADER_BYTES = 18
const CLOCK_AT = 2
const HASH_AT = 10
const MESSAGES_PER_FRAME_MAX = 65_536

export interface FrameHeader {
  readonly clockMs: number
  readonly viewHash: number
}

export interface Frame extends FrameHeader {
  readonly messages: readonly Addressed[]
}

/** A message with the number of the call it belongs to. */
export interface Addressed {
  readonly call: number
  readonly message: Message
}

export class FrameBuilder {
  readonly #to: ByteWriter
  messages = 0

  /** `likelyBytes`: a frame that grows while it is written is copied each time. */
  constructor(likelyBytes = 1024) {
    this.#to = new ByteWriter(likelyBytes)
    this.#to.u8(MAGIC)
    this.#to.u8(WIRE_VERSION)
    this.#to.f64(0)
    this.#to.f64(0)
  }

  get bytes(): number {
    return this.#to.length
  }

  add(call: number, message: Message): void {
    const lengthAt = this.#to.length
    this.#to.u32(0)
    this.#to.u8(kindNumber(message.type))
    this.#to.u32(call)
    writeMessage(message, this.#to)
    this.#to.patchU32(lengthAt, this.#to.length - lengthAt - 4)
    this.messages++
  }

  /** Stamps the header at the last moment, so that the clock in it is that of sending. */
  finish(header: FrameHeader): Uint8Array {
    this.#to.patchF64(CLOCK_AT, header.clockMs)
    this.#to.patchF64(HASH_AT, header.viewHash)
    return this.#to.finish()
  }
}

/** A member with a few addresses. */
const RECORD_BYTES = 256
/** Any other message. */
const SMALL_BYTES = 256

/** A rough size before encoding, to choose the lane: only values and views are ever large. */
export function roughBytes(message: Message): number {
  switch (message.type) {
    case 'read':
    case 'absent':
    case 'waiting':
      return SMALL_BYTES
    case 'found':
      return message.items.reduce((bytes, item) => bytes + item.bytes.length + 5, SMALL_BYTES)
    case 'readMany':
      return message.keys.reduce((bytes, key) => bytes + key.length + 4, SMALL_BYTES)
    default:
      if ('bytes' in message) return message.bytes.length + SMALL_BYTES
      return 'records' in message ? message.records.length * RECORD_BYTES + SMALL_BYTES : SMALL_BYTES
  }
}

export function readFrame(bytes: Uint8Array): Frame {
  const from = new ByteReader(bytes)
  if (from.left < HEADER_BYTES) throw new Malformed(`a frame of ${bytes.length} bytes`)
  if (from.u8() !== MAGIC) throw new Malformed('not a frame of a cache mesh')
  const version = from.u8()
  if (version !== WIRE_VERSION) throw new Malformed(`wire version ${version}, this member speaks ${WIRE_VERSION}`)
  const clockMs = from.f64()
  const viewHash = from.f64()
  if (!Number.isFinite(clockMs) || !Number.isFinite(viewHash)) throw new Malformed('header numbers')
  const messages: Addressed[] = []
  while (from.left > 0) {
    if (messages.length === MESSAGES_PER_FRAME_MAX) throw new Malformed(`over ${MESSAGES_PER_FRAME_MAX} messages`)
    messages.push(readMessage(from))
  }
  return { clockMs, viewHash, messages }
}

function readMessage(from: ByteReader): Addressed {
  const until = from.narrow(from.length(bytesMax, 'message'))
  const kind = from.u8()
  const type = KINDS[kind]
  if (type === undefined) throw new Malformed(`unknown message kind ${kind}`)
  const call = from.u32()
  const message = readMessageOf(type, from)
  from.end(type)
  from.widen(until)
  return { call, message }
}

const bytesMax = 16 * 1024 * 1024
