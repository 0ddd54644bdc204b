/**
 * Every function that reads what comes from outside, what it may answer, and inputs that look like the real ones.
 *
 * An input is bytes, so that a failure can be told in hex and replayed. A decoder either accepts it, refuses it in the
 * way its documentation says, or has failed: by throwing anything else, or by accepting what does not come back the same.
 */

import { FrameReader } from '../../lib/adapters/frame-stream.ts'
import { decodeGreeting, encodeGreeting, type Greeting } from '../../lib/adapters/link-greeting.ts'
import { formatAddress, parseAddress, parseListen } from '../../lib/adapters/listen-address.ts'
import { ByteReader, ByteWriter, Malformed } from '../../lib/base/bytes.ts'
import { type ErrorCode, isMeshError } from '../../lib/base/errors.ts'
import { decodeKey, encodeKey } from '../../lib/codec/keys.ts'
import { decodeFailure, encodeFailure, FAILURE_BYTES_MAX } from '../../lib/codec/load-failure.ts'
import { customCodec, defaultCodec } from '../../lib/codec/values.ts'
import { expandRange } from '../../lib/membership/discovery.ts'
import { type Frame, FrameBuilder, readFrame } from '../../lib/rpc/frame.ts'
import { KINDS, type Kind, type MemberGossip, type MessageOf, readGossip, writeGossip } from '../../lib/rpc/messages.ts'
import { type Announcement, readAnnouncement, writeAnnouncement } from '../../lib/rpc/near-talk.ts'
import { type Published, readPublished, TOPIC_MESSAGE_BYTES_MAX, writePublished } from '../../lib/rpc/topic-talk.ts'
import type { Dice } from './dice.ts'
import { assemble, type Draft, invented, inventedMessage, noted, type Part, partOf } from './messages.ts'
import { concat, mutated } from './mutate.ts'
import { hostilePack, inventedValue } from './values.ts'

export type Verdict = 'accepted' | 'refused'

export interface Decoder {
  readonly name: string
  /** Of a hundred inputs. */
  readonly share: number
  /** What reading may allocate for each byte of input, besides a fixed allowance; garbage counts too. */
  readonly bytesPerByte: number
  make(dice: Dice): Uint8Array
  /** The reading alone. */
  read(input: Uint8Array): unknown
  /** Whether the documentation promises this error for bytes that are none. */
  isRefusal(error: unknown): boolean
  /** Looks at what was read; throws when the decoder should not have accepted it. */
  judge(outcome: unknown, input: Uint8Array): Verdict
  /** Now and then: looks at what many inputs have left behind. */
  settle?(): Promise<void>
}

/**
 * Measured over whole frames, less the allowance: 27 where each six bytes are a found value of one, 18 of messages of
 * nine bytes, which become two objects each, 9 of keys.
 */
const MESSAGES = 32
/** Measured: 6 for records without a word of text. */
const RECORDS = 12
/** An empty frame is four bytes, and the view that is handed on a hundred and more. */
const VIEWS = 80
/** JSON and MessagePack write an empty array in one or two bytes, and V8 takes a hundred for it. */
const NESTED = 128

const never = (): boolean => false
const isMalformed = (error: unknown): boolean => error instanceof Malformed
const hasCode = (code: ErrorCode) => (error: unknown) => isMeshError(error, code)

export const DECODERS: readonly Decoder[] = [
  {
    name: 'frame',
    share: 38,
    bytesPerByte: MESSAGES,
    make: dice => hostileFrame(dice, { clockMs: dice.chance(0.9) ? 1 : dice.number(), viewHash: 2 }),
    read: readFrame,
    isRefusal: isMalformed,
    judge: outcome => {
      checkNumbers(outcome)
      const again = encoded(outcome as Frame)
      sameBytes(again, encoded(readFrame(again)))
      return 'accepted'
    }
  },
  {
    name: 'gossip',
    share: 12,
    bytesPerByte: RECORDS,
    make: dice => maybeMutated(dice, inventedGossip(dice)),
    read: input => readGossip(new ByteReader(input)),
    isRefusal: isMalformed,
    judge: outcome => {
      checkNumbers(outcome)
      const again = gossipOf(outcome as MemberGossip)
      sameBytes(again, gossipOf(readGossip(new ByteReader(again))))
      return 'accepted'
    }
  },
  {
    name: 'announcement',
    share: 6,
    bytesPerByte: RECORDS,
    make: dice => maybeMutated(dice, inventedAnnouncement(dice)),
    read: input => readAnnouncement(new ByteReader(input)),
    isRefusal: isMalformed,
    judge: outcome => {
      checkNumbers(outcome)
      const again = announcementOf(outcome as Announcement)
      sameBytes(again, announcementOf(readAnnouncement(new ByteReader(again))))
      return 'accepted'
    }
  },
  {
    name: 'published',
    share: 4,
    // A view of each message, of which an empty one takes four bytes.
    bytesPerByte: VIEWS,
    make: dice => maybeMutated(dice, inventedPublished(dice)),
    read: input => readPublished(new ByteReader(input)),
    isRefusal: isMalformed,
    judge: outcome => {
      checkNumbers(outcome)
      if (!Number.isSafeInteger((outcome as Published).number)) throw new Error('a number that cannot be counted on')
      const again = publishedOf(outcome as Published)
      sameBytes(again, publishedOf(readPublished(new ByteReader(again))))
      return 'accepted'
    }
  },
  {
    name: 'greeting',
    share: 6,
    bytesPerByte: RECORDS,
    make: dice => {
      const kind = dice.pick(['open', 'accept', 'refuse', 'confirm'] as const)
      const bytes = encodeGreeting({ kind, lane: dice.pick(['data', 'bulk']), offer: dice.length() })
      return maybeMutated(dice, { bytes, spots: [4, 5, 6, 7].map(at => ({ at, what: 'u8' })) })
    },
    read: decodeGreeting,
    isRefusal: never,
    judge: (outcome, input) => {
      if (outcome === undefined) return 'refused'
      sameBytes(input, encodeGreeting(outcome as Greeting))
      return 'accepted'
    }
  },
  {
    name: 'stream',
    share: 10,
    bytesPerByte: VIEWS,
    make: hostileStream,
    read: readStream,
    isRefusal: never,
    judge: judgeStream
  },
  {
    name: 'value',
    share: 14,
    bytesPerByte: NESTED,
    make: dice => {
      if (dice.chance(0.3)) return concat(Uint8Array.of(dice.pick([1, 1, 5, 5, dice.below(8)])), hostilePack(dice))
      return maybeMutated(dice, { bytes: defaultCodec.encode(inventedValue(dice), AT), spots: [{ at: 0, what: 'u8' }] })
    },
    read: input => defaultCodec.decode(input, AT),
    isRefusal: error => {
      checkCanary()
      return isMeshError(error, 'ERR_MESH_VALUE')
    },
    judge: (outcome, input) => {
      checkCanary()
      const memory = outcome instanceof ArrayBuffer ? outcome : ArrayBuffer.isView(outcome) ? outcome.buffer : undefined
      if (memory === input.buffer) throw new Error('a value that shares its memory with the frame it came in')
      return 'accepted'
    }
  },
  {
    name: 'codec',
    share: 2,
    bytesPerByte: NESTED,
    make: dice => maybeMutated(dice, { bytes: JSON_CODEC.encode({ a: dice.text(40) }, AT), spots: [] }),
    read: input => JSON_CODEC.decode(input, AT),
    isRefusal: hasCode('ERR_MESH_VALUE'),
    judge: () => 'accepted'
  },
  {
    name: 'key',
    share: 7,
    bytesPerByte: NESTED,
    make: dice => maybeMutated(dice, { bytes: unitsOf(inventedKey(dice)), spots: [] }),
    read: input => decodeKey(textOf(input)),
    isRefusal: hasCode('ERR_MESH_KEY'),
    judge: (outcome, input) => {
      if (encodeKey(outcome, '') !== textOf(input)) throw new Error('a key that would be written differently')
      return 'accepted'
    }
  },
  {
    name: 'failure',
    share: 5,
    // Rebuilt once, with a copy of all that nests.
    bytesPerByte: 2 * NESTED,
    make: dice => maybeMutated(dice, { bytes: unitsOf(inventedFailure(dice)), spots: [] }),
    read: input => decodeFailure(textOf(input)),
    isRefusal: never,
    judge: outcome => judgeFailure(outcome)
  },
  {
    name: 'listen',
    share: 1,
    bytesPerByte: NESTED,
    make: dice => maybeMutated(dice, { bytes: unitsOf(inventedAddress(dice)), spots: [] }),
    read: input => parseListen(textOf(input)),
    isRefusal: hasCode('ERR_MESH_LISTEN'),
    judge: () => 'accepted'
  },
  {
    name: 'range',
    share: 1,
    // 256 ports, each with its host before it.
    bytesPerByte: 1_024,
    make: dice => maybeMutated(dice, { bytes: unitsOf(inventedAddress(dice)), spots: [] }),
    read: input => expandRange(textOf(input)),
    isRefusal: hasCode('ERR_MESH_OPTION'),
    judge: () => 'accepted'
  },
  {
    name: 'address',
    share: 1,
    bytesPerByte: NESTED,
    make: dice => maybeMutated(dice, { bytes: unitsOf(inventedAddress(dice)), spots: [] }),
    read: input => parseAddress(textOf(input)),
    isRefusal: hasCode('ERR_MESH_OPTION'),
    judge: outcome => {
      const { host, port } = outcome as ReturnType<typeof parseAddress>
      const again = parseAddress(formatAddress(host, port))
      if (again.host !== host || again.port !== port) throw new Error('an address that means another one')
      return 'accepted'
    }
  }
]

const AT = { cache: 'fuzz', key: 'k' }
const CANARY = { a: 64, b: [65, 'x'], c: { d: null } }
const CANARY_TEXT = JSON.stringify(CANARY)
const CANARY_BYTES = defaultCodec.encode(CANARY, AT)
const JSON_CODEC = customCodec({
  encode: value => Buffer.from(JSON.stringify(value)),
  decode: bytes => JSON.parse(Buffer.from(bytes).toString())
})

/** One that is NaN would poison every comparison it meets. */
function checkNumbers(read: unknown): void {
  if (Number.isNaN(read)) throw new Error('a number that is none was accepted')
  if (typeof read !== 'object' || read === null || ArrayBuffer.isView(read)) return
  for (const inner of Object.values(read)) checkNumbers(inner)
}

/** What one value has taught the library must not change the next one. */
function checkCanary(): void {
  if (JSON.stringify(defaultCodec.decode(CANARY_BYTES, AT)) === CANARY_TEXT) return
  throw new Error('the value decoded next came out differently')
}

/** It is handed to the application, and an owner tells it again. */
function judgeFailure(error: unknown): Verdict {
  if (!(error instanceof Error)) throw new Error('a failure that is no error')
  const { name, message, stack } = error
  if (typeof name !== 'string' || typeof message !== 'string' || typeof stack !== 'string')
    throw new Error('a failure without name, message or stack')
  if (Object.getPrototypeOf(error) !== Error.prototype) throw new Error('a failure with a prototype of its own')
  if ('polluted' in {}) throw new Error('a failure has changed the prototype of all objects')
  decodeFailure(encodeFailure(error))
  return `${error}`.includes('how is not known') ? 'refused' : 'accepted'
}

let lastFrame: Uint8Array = new Uint8Array(0)

/** Parts that are damaged inside a good envelope, and envelopes that are damaged. */
export function hostileFrame(dice: Dice, header: { clockMs: number; viewHash: number }): Uint8Array {
  const parts: Part[] = []
  if (dice.chance(0.0005)) return longFrame(dice, header)
  for (let left = dice.size(6); left >= 0; left--) {
    const part = partOf(dice.below(24), inventedMessage(dice, dice.pick<Kind>(KINDS)))
    const kind = dice.chance(0.03) ? dice.below(KINDS.length + 4) : part.kind
    parts.push({ ...part, kind, bytes: dice.chance(0.4) ? mutated(dice, part, lastFrame) : part.bytes })
  }
  const draft = assemble(parts, header)
  const bytes = dice.chance(0.4) ? mutated(dice, draft, lastFrame) : draft.bytes
  lastFrame = draft.bytes
  return bytes
}

/** Very many messages of one kind, up to more than a frame may hold. */
function longFrame(dice: Dice, header: { clockMs: number; viewHash: number }): Uint8Array {
  const part = partOf(1, inventedMessage(dice, dice.pick(KINDS.filter(kind => !LARGE.has(kind)))))
  return assemble(new Array<Part>(dice.pick([2_000, 10_000, 70_000])).fill({ ...part, spots: [] }), header).bytes
}

const LARGE: ReadonlySet<Kind> = new Set([
  'hello',
  'ping',
  'pong',
  'digest',
  'swap',
  'swapped',
  'news',
  'hit',
  'hot',
  'write',
  'fill',
  'loaded'
])

function encoded({ clockMs, viewHash, messages }: Frame): Uint8Array {
  const builder = new FrameBuilder()
  for (const { call, message } of messages) builder.add(call, message)
  return builder.finish({ clockMs, viewHash })
}

export function inventedGossip(dice: Dice): Draft {
  const { records } = inventedMessage(dice, 'news') as MessageOf<'news'>
  return noted(to => writeGossip(to, { teller: invented(dice, from => from.text(256, 'teller')), records }))
}

function inventedAnnouncement(dice: Dice): Draft {
  const { boot, number: from, changes } = inventedMessage(dice, 'confirmed') as MessageOf<'confirmed'>
  return noted(to =>
    writeAnnouncement(to, { origin: invented(dice, by => by.text(256, 'origin')), boot, from, changes })
  )
}

function inventedPublished(dice: Dice): Draft {
  const messages = Array.from({ length: dice.size(30) }, () =>
    invented(dice, by => by.bytes(TOPIC_MESSAGE_BYTES_MAX, 'message'))
  )
  const [publisher, boot] = [invented(dice, by => by.text(256, 'publisher')), invented(dice, by => by.f64())]
  const number = dice.chance(0.9) ? 1 + dice.below(1_000_000) : dice.number()
  return noted(to => writePublished(to, { publisher, boot, number, messages }))
}

function gossipOf(told: MemberGossip): Uint8Array {
  const to = new ByteWriter()
  writeGossip(to, told)
  return to.finish()
}

function publishedOf(told: Published): Uint8Array {
  const to = new ByteWriter()
  writePublished(to, told)
  return to.finish()
}

function announcementOf(told: Announcement): Uint8Array {
  const to = new ByteWriter()
  writeAnnouncement(to, told)
  return to.finish()
}

/** The first byte seeds the cuts; a limit is chosen by the second; the rest is what comes over the wire. */
function hostileStream(dice: Dice): Uint8Array {
  const frames: Uint8Array[] = []
  for (let left = dice.size(12); left >= 0; left--) {
    const frame = dice.bytes(dice.chance(0.9) ? dice.below(40) : dice.below(4_000))
    const header = Buffer.alloc(4)
    header.writeUInt32BE(dice.chance(0.95) ? frame.length : dice.length())
    frames.push(header, frame)
  }
  return concat(dice.bytes(2), maybeMutated(dice, { bytes: concat(...frames), spots: [] }))
}

const LIMITS = [0, 12, 100, 4_000, 65_536]

interface Streamed {
  readonly frames: Uint8Array[]
  readonly isFine: boolean
}

function readStream(input: Uint8Array): Streamed {
  const wire = input.subarray(2)
  const frames: Uint8Array[] = []
  const reader = new FrameReader(limitOf(input), frame => frames.push(frame))
  let isFine = true
  for (let at = 0, cut = input[0] ?? 0; at < wire.length && isFine; cut = (cut * 31 + 7) & 255) {
    const end = at + 1 + (cut % 61)
    isFine = reader.push(wire.subarray(at, end))
    at = end
  }
  return { frames, isFine }
}

/** Whatever the cuts, the same frames come out as from the whole, and a frame over the limit ends it. */
function judgeStream(outcome: unknown, input: Uint8Array): Verdict {
  const got = outcome as Streamed
  const expected = framesOf(input.subarray(2), limitOf(input))
  if (got.isFine !== expected.isFine) throw new Error(`a stream that should be ${expected.isFine ? 'fine' : 'refused'}`)
  if (got.frames.length !== expected.frames.length)
    throw new Error(`${got.frames.length} frames instead of ${expected.frames.length}`)
  for (const [i, frame] of got.frames.entries()) sameBytes(frame, expected.frames[i] as Uint8Array)
  return got.isFine ? 'accepted' : 'refused'
}

function limitOf(input: Uint8Array): number {
  return LIMITS[(input[1] ?? 0) % LIMITS.length] as number
}

function framesOf(wire: Uint8Array, limit: number): Streamed {
  const view = new DataView(wire.buffer, wire.byteOffset, wire.byteLength)
  const frames: Uint8Array[] = []
  for (let at = 0; at + 4 <= wire.length; ) {
    const length = view.getUint32(at)
    if (length > limit) return { frames, isFine: false }
    if (at + 4 + length > wire.length) break
    frames.push(wire.subarray(at + 4, at + 4 + length))
    at += 4 + length
  }
  return { frames, isFine: true }
}

function inventedKey(dice: Dice): string {
  if (dice.chance(0.1)) return `a${'['.repeat(dice.below(3_000))}${']'.repeat(dice.below(3_000))}`
  const part = (): string | number | boolean => dice.pick([dice.text(200), dice.below(100), dice.chance(0.5), -0.5e-7])
  const key = dice.chance(0.5) ? `x${dice.text(900)}` : Array.from({ length: 1 + dice.size(8) }, part)
  const encodedKey = encodeKey(key, 'fuzz')
  return dice.chance(0.2) ? encodedKey.replace('[', '[ ').replace('1', '1e0') : encodedKey
}

function inventedFailure(dice: Dice): string {
  if (dice.chance(0.1))
    return '{"fields":{"a":'.concat('['.repeat(dice.below(4_500)), ']'.repeat(dice.below(4_500)), '}}')
  if (dice.chance(0.1)) return '{"cause":'.repeat(dice.below(FAILURE_BYTES_MAX / 9)).concat('{}')
  const names = ['__proto__', 'constructor', 'toString', 'then', 'message', 'polluted', 'stack', 'cause', dice.text(20)]
  const inner = (depth: number): unknown =>
    depth === 0 || dice.chance(0.5)
      ? dice.pick<unknown>([null, 1, true, dice.text(30), [1, [2]], {}])
      : Object.fromEntries([[dice.pick(names), inner(depth - 1)]])
  const part = { name: inner(1), message: inner(1), code: inner(1), stack: inner(1), fields: inner(4), cause: inner(4) }
  return JSON.stringify(part).replace('"polluted"', '"__proto__":{"polluted":1},"polluted"')
}

function inventedAddress(dice: Dice): string {
  const host = dice.pick(['10.0.0.5', '[::1]', 'cache.shop', '', '::1', '[', '0.0.0.0', '[fe80::1%lo]', dice.text(20)])
  return `${host}:${dice.pick<unknown>([7700, '7700-7731', 0, 65_536, '', '7700-', '1-99999', dice.below(99_999)])}`
}

/** Three of ten as they are: what a decoder refuses by mistake is a bug too. */
function maybeMutated(dice: Dice, draft: Draft): Uint8Array {
  return dice.chance(0.3) ? draft.bytes : mutated(dice, draft, lastFrame)
}

/** UTF-16, so that halves of surrogate pairs occur too. */
function unitsOf(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'utf16le'))
}

function textOf(units: Uint8Array): string {
  return Buffer.from(units.buffer, units.byteOffset, units.byteLength).toString('utf16le')
}

function sameBytes(a: Uint8Array, b: Uint8Array): void {
  if (Buffer.compare(a, b) !== 0) throw new Error('what was accepted does not come back the same')
}
