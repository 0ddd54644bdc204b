/**
 * The number of a counter as the eight bytes of its record. The owner adds to it without having declared the counter,
 * so it is no value of a cache and knows no codec.
 */
import { assert } from '../base/assert.ts'

export function encodeCount(count: number): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setFloat64(0, count, true)
  return bytes
}

export function decodeCount(bytes: Uint8Array): number {
  assert(bytes.length === 8, 'the record of a counter is one number')
  return new DataView(bytes.buffer, bytes.byteOffset, 8).getFloat64(0, true)
}

/** Beyond it adding one would change nothing, and nobody would notice. */
export function isExact(count: number): boolean {
  return Math.abs(count) <= Number.MAX_SAFE_INTEGER
}
