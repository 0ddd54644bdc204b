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
}

/** What an entry costs besides its key and value: the objects, the map slot, the list links. Measured in issue work, not exact. */
const OVERHEAD_BYTES = 400

export function entryBytes(entry: Entry): number {
  return entry.key.length + entry.bytes.length + OVERHEAD_BYTES
}

export function isLive(entry: Entry, nowMs: number): boolean {
  return entry.kind === 'value' && entry.expiresAtMs > nowMs
}
