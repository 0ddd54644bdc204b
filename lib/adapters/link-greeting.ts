import type { Lane } from '../ports/transport.ts'

/**
 * The four words with which two members agree on a link, twelve bytes each, one per stream and direction:
 * magic (4), version, kind, lane, zero, number of the offer (4).
 *
 * The number counts the offers of the process that dials. A process has one peer id for its whole life, so together
 * with the proven peer it names an offer for ever.
 */
export type Kind = 'open' | 'accept' | 'refuse' | 'confirm'

export interface Greeting {
  readonly kind: Kind
  readonly lane: Lane
  readonly offer: number
}

export const GREETING_BYTES = 12
export const LANES = ['data', 'bulk'] as const satisfies readonly Lane[]

const KINDS = ['open', 'accept', 'refuse', 'confirm'] as const satisfies readonly Kind[]
const MAGIC = 0x434d_4c4b
const VERSION = 1

export function encodeGreeting(greeting: Greeting): Uint8Array {
  const bytes = Buffer.alloc(GREETING_BYTES)
  bytes.writeUInt32BE(MAGIC, 0)
  bytes.writeUInt8(VERSION, 4)
  bytes.writeUInt8(KINDS.indexOf(greeting.kind), 5)
  bytes.writeUInt8(LANES.indexOf(greeting.lane), 6)
  bytes.writeUInt32BE(greeting.offer, 8)
  return bytes
}

/** Undefined for anything else, also for a greeting of another version: there is none yet to talk to. */
export function decodeGreeting(frame: Uint8Array): Greeting | undefined {
  if (frame.byteLength !== GREETING_BYTES) return undefined
  const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength)
  const kind = KINDS[bytes.readUInt8(5)]
  const lane = LANES[bytes.readUInt8(6)]
  if (bytes.readUInt32BE(0) !== MAGIC || bytes.readUInt8(4) !== VERSION) return undefined
  if (kind === undefined || lane === undefined || bytes.readUInt8(7) !== 0) return undefined
  return { kind, lane, offer: bytes.readUInt32BE(8) }
}
