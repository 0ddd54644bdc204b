/**
 * Dates, Maps, Sets, bigints, bytes and the like, told in plain MessagePack.
 *
 * MessagePack has extensions for these, and its library keeps one table of them per process that any other package may
 * change: an application that registers its own Date there would change what this cache hands out. It also has gaps (a
 * Map beside plain objects, -0, a leading byte order mark). So a value that holds such things is first lowered to
 * null, booleans, numbers, text, bytes, arrays and objects, and raised again afterwards. In a lowered value every array
 * begins with a code that says what the rest of it is; there is nothing to escape and nothing to guess.
 *
 * Every raised object is new memory. Typed arrays travel in the byte order of the machine, which is the same on all
 * platforms that Node is built for but one (s390x).
 */
import { type BytesKind, kindOf, VIEW_NAMES } from './kinds.ts'

/** What the rest of a lowered array is. These numbers travel: append, never change. */
const CODE = { array: 0, map: 1, set: 2, date: 3, bigint: 4, text: 5, negativeZero: 6, entries: 7, bytes: 8 } as const

/** Where the names of byte containers begin on the wire; the position in this list travels too. */
const BYTES_KINDS: readonly BytesKind[] = ['Buffer', 'ArrayBuffer', 'DataView', ...VIEW_NAMES]

const BYTE_ORDER_MARK = 0xfeff

export function lower(value: unknown): unknown {
  switch (typeof value) {
    case 'string':
      // Whatever stands before it, the mark is no longer at the beginning, where decoders drop it.
      return startsWithMark(value) ? [CODE.text, `=${value}`] : value
    case 'number':
      return Object.is(value, -0) ? [CODE.negativeZero] : value
    case 'bigint':
      return [CODE.bigint, value.toString(16)]
    case 'object':
      return value === null ? null : lowerObject(value)
    default:
      return value
  }
}

function lowerObject(value: object): unknown {
  const kind = kindOf(value)
  switch (kind) {
    case 'Object':
      return lowerRecord(value as Record<string, unknown>)
    case 'Array':
      return lowerAll(CODE.array, value as readonly unknown[])
    case 'Map':
      return lowerEntries(CODE.map, value as ReadonlyMap<unknown, unknown>)
    case 'Set':
      return lowerAll(CODE.set, value as ReadonlySet<unknown>)
    case 'Date':
      return [CODE.date, Date.prototype.getTime.call(value)]
    case 'other':
      throw new TypeError('expected a value that was inspected')
    default:
      return [CODE.bytes, BYTES_KINDS.indexOf(kind), bytesOf(value as ArrayBufferView | ArrayBuffer)]
  }
}

function lowerRecord(record: Record<string, unknown>): unknown {
  const lowered: Record<string, unknown> = {}
  for (const key of Object.keys(record)) {
    if (startsWithMark(key)) return lowerEntries(CODE.entries, Object.entries(record))
    lowered[key] = lower(record[key])
  }
  return lowered
}

function lowerAll(code: number, items: Iterable<unknown>): unknown[] {
  const lowered: unknown[] = [code]
  for (const item of items) lowered.push(lower(item))
  return lowered
}

function lowerEntries(code: number, entries: Iterable<readonly [unknown, unknown]>): unknown[] {
  const lowered: unknown[] = [code]
  for (const [key, value] of entries) lowered.push(lower(key), lower(value))
  return lowered
}

/** Turns what `lower` made into the value again. Throws at what it did not make. */
export function raise(lowered: unknown): unknown {
  if (typeof lowered !== 'object' || lowered === null) return lowered
  return Array.isArray(lowered) ? raiseArray(lowered) : raiseRecord(lowered as Record<string, unknown>)
}

function raiseArray(lowered: readonly unknown[]): unknown {
  switch (lowered[0]) {
    case CODE.array:
      return raiseFrom(lowered)
    case CODE.map:
      return raiseMap(lowered)
    case CODE.set:
      return new Set(raiseFrom(lowered))
    case CODE.date:
      return new Date(numberAt(lowered, 1))
    case CODE.bigint:
      return raiseBigint(textAt(lowered, 1))
    case CODE.text:
      return textAt(lowered, 1).slice(1)
    case CODE.negativeZero:
      return -0
    case CODE.entries:
      return Object.fromEntries(raiseMap(lowered) as Map<string, unknown>)
    case CODE.bytes:
      return raiseBytes(BYTES_KINDS[numberAt(lowered, 1)], lowered[2])
    default:
      throw new TypeError('unknown code')
  }
}

function raiseRecord(record: Record<string, unknown>): Record<string, unknown> {
  for (const key of Object.keys(record)) record[key] = raise(record[key])
  return record
}

function raiseFrom(lowered: readonly unknown[]): unknown[] {
  const items = new Array<unknown>(lowered.length - 1)
  for (let i = 1; i < lowered.length; i++) items[i - 1] = raise(lowered[i])
  return items
}

function raiseMap(lowered: readonly unknown[]): Map<unknown, unknown> {
  const map = new Map<unknown, unknown>()
  for (let i = 1; i < lowered.length; i += 2) map.set(raise(lowered[i]), raise(lowered[i + 1]))
  return map
}

function raiseBigint(hex: string): bigint {
  return hex.startsWith('-') ? -BigInt(`0x${hex.slice(1)}`) : BigInt(`0x${hex}`)
}

function raiseBytes(kind: BytesKind | undefined, bytes: unknown): unknown {
  if (!(bytes instanceof Uint8Array)) throw new TypeError('expected bytes')
  // The decoder has made a copy; the check is for one that would have made it inside of something larger.
  const memory =
    bytes.buffer.byteLength === bytes.byteLength ? (bytes.buffer as ArrayBuffer) : new Uint8Array(bytes).buffer
  switch (kind) {
    case undefined:
      throw new TypeError('unknown kind of bytes')
    case 'Buffer':
      return Buffer.from(memory)
    case 'ArrayBuffer':
      return memory
    case 'DataView':
      return new DataView(memory)
    default:
      return new globalThis[kind](memory)
  }
}

/** The bytes of a container as the encoder wants them: no copy, and of the one class it writes as plain bytes. */
function bytesOf(value: ArrayBufferView | ArrayBuffer): Buffer {
  return ArrayBuffer.isView(value)
    ? Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    : Buffer.from(value, 0, value.byteLength)
}

function startsWithMark(text: string): boolean {
  return text.charCodeAt(0) === BYTE_ORDER_MARK
}

function numberAt(lowered: readonly unknown[], index: number): number {
  const value = lowered[index]
  if (typeof value !== 'number') throw new TypeError('expected a number')
  return value
}

function textAt(lowered: readonly unknown[], index: number): string {
  const value = lowered[index]
  if (typeof value !== 'string') throw new TypeError('expected text')
  return value
}
