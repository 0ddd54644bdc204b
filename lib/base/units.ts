/**
 * Durations and sizes as people write them, resolved once at the door. Inside there is one unit each: milliseconds
 * and bytes, and names that say so.
 */
import { got, MeshError } from './errors.ts'

/** A number is milliseconds. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`
/** A number is bytes; units are powers of 1024. */
export type Bytes = number | `${number}${'b' | 'kb' | 'mb' | 'gb'}`

const MS_PER = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const BYTES_PER = { b: 1, kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3 } as const

/** The longest a timer can be set for; durations that only mark an expiry may be longer. */
export const TIMER_MS_MAX = 2 ** 31 - 1

export function durationMs(value: unknown, what: string, min: 'zero' | 'positive' = 'positive'): number {
  const ms = resolve(value, MS_PER)
  if (ms === undefined || (min === 'positive' && ms === 0)) {
    throw new MeshError(
      'ERR_MESH_OPTION',
      `Expected ${what} to be a duration ${min === 'zero' ? 'of 0 or more' : 'above 0'}, got ${got(value)}. Write milliseconds or a text like '500ms', '30s', '5m', '1h' or '7d'.`
    )
  }
  return ms
}

export function ttlMs(value: unknown, what: string): number {
  return value === 'forever' ? Number.POSITIVE_INFINITY : durationMs(value, `${what} (or 'forever')`)
}

export function byteCount(value: unknown, what: string): number {
  const bytes = resolve(value, BYTES_PER)
  if (bytes === undefined || bytes < 1) {
    throw new MeshError(
      'ERR_MESH_OPTION',
      `Expected ${what} to be a size above 0, got ${got(value)}. Write bytes or a text like '64kb', '256mb' or '1gb'.`
    )
  }
  return Math.floor(bytes)
}

function resolve(value: unknown, units: Readonly<Record<string, number>>): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) && value >= 0 ? value : undefined
  const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)([a-z]+)$/.exec(value) : null
  const unit = units[match?.[2] ?? '']
  return match === null || unit === undefined ? undefined : Number(match[1]) * unit
}
