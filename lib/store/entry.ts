import { type Keeping, keepingBytes } from './keeping.ts'
import { isWide } from './key-text.ts'
import type { Version } from './version.ts'

/** One record of the mesh: a value, or the mark that there is none. Opaque bytes; only the asking process decodes. */
export interface Entry {
  readonly namespace: string
  readonly key: string
  readonly partition: number
  readonly version: Version
  readonly kind: 'value' | 'tombstone'
  readonly bytes: Uint8Array
  /** Mesh-clock milliseconds, stamped once by the primary; `Infinity` never expires. */
  readonly expiresAtMs: number
  /** A loader found nothing: cached so that the origin is not asked again at once, but `has` says no. */
  readonly negative: boolean
  /** How many members beside its primary keep a copy. It travels with the record, for who keeps it may not know its cache. */
  readonly backups: number
  /** Till when it is fresh, and its tags; undefined where it is fresh until it expires and has none. */
  readonly keeping?: Keeping | undefined
}

/** What an entry costs beside its key and value: a row, a bucket, the head of its cell, what rounding takes. */
const OVERHEAD_BYTES = 80

const NOTHING = new Uint8Array(0)

/** A larger value is memory of its own. */
export const SLAB_VALUE_BYTES_MAX = 8 * 1024

/** What such memory costs more: the objects that hold it. */
const LARGE_OVERHEAD_BYTES = 320

export function entryBytes({ key, bytes, keeping }: Pick<Entry, 'key' | 'bytes' | 'keeping'>): number {
  return costOf(keyBytes(key.length, isWide(key)), bytes.length + keepingBytes(keeping))
}

export function costOf(ofKey: number, ofValue: number): number {
  return ofKey + ofValue + OVERHEAD_BYTES + (ofValue > SLAB_VALUE_BYTES_MAX ? LARGE_OVERHEAD_BYTES : 0)
}

export function keyBytes(units: number, wide: boolean): number {
  return wide ? units * 2 : units
}

/** What stays of a value that is over, so that nothing older comes back: the mark of its version. */
export function stubOf(entry: Entry, nowMs: number): Entry | undefined {
  const shadowUntilMs = entry.keeping?.shadowUntilMs ?? 0
  if (!isAhead(shadowUntilMs, nowMs)) return undefined
  const nothing = { kind: 'tombstone', bytes: NOTHING, negative: false, keeping: undefined } as const
  return { ...entry, ...nothing, expiresAtMs: shadowUntilMs }
}

/** A shadow of 0 is none, also while no time has been seen. */
export function isAhead(shadowUntilMs: number, nowMs: number): boolean {
  return shadowUntilMs !== 0 && shadowUntilMs > nowMs
}

export function isLive(entry: Entry, nowMs: number): boolean {
  return entry.kind === 'value' && entry.expiresAtMs > nowMs
}
