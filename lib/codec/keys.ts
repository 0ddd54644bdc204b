/**
 * A key as one canonical string: what maps are keyed with and what travels.
 *
 * A string key is itself behind an `s`; an array is `a` and its JSON. So `'1'`, `['1']` and `[1]` are three keys, no
 * separator can be smuggled in from a tenant's name, and the encodings of all arrays that begin alike begin alike.
 * One key has exactly one encoding: numbers are written the shortest way, -0 is 0, and decoding refuses anything that
 * encoding would not have written.
 *
 * Refused rather than mended: a bare number (42 and '42' would be two entries, or a loader that lies), numbers that
 * are not finite, half a surrogate pair, empty keys. A message never quotes a long key.
 */
import { got, MeshError } from '../base/errors.ts'
import { isWellFormed, utf8Bytes } from './text.ts'

export type KeyPart = string | number | boolean

/** `[1]` and `['1']` are two keys; a bare number is refused. */
export type Key = string | readonly KeyPart[]

/** The longest encoded key in bytes of UTF-8, its leading letter included. */
export const KEY_BYTES_MAX = 1024

/** A code unit takes three bytes at most: a text of so many need not be counted. */
const UNITS_SURELY_FIT = Math.floor((KEY_BYTES_MAX - 1) / 3)

const WANTED = 'a non-empty string or a non-empty array of strings, finite numbers and booleans'

export function encodeKey(key: unknown, cache: string): string {
  if (typeof key === 'string') return encodeTextKey(key, cache)
  if (Array.isArray(key)) return encodeArrayKey(key, cache)
  throw refusal(cache, `expected ${WANTED}, got ${got(key)}`, advice(key))
}

/** The inverse of `encodeKey`; throws ERR_MESH_KEY at anything that it would not have written. */
export function decodeKey(encoded: string): Key {
  const key = encoded.startsWith('s') ? encoded.slice(1) : parseArrayKey(encoded)
  if (key === undefined || !isEncodingOf(key, encoded))
    throw new MeshError('ERR_MESH_KEY', `expected an encoded key, got ${encoded.length} characters that are none`)
  return key
}

/**
 * What `clear` and `keys` match, encoded. A text is the beginning of text keys; an array is the first parts of array
 * keys, each part whole: `[1]` is `[1]` and `[1, …]`, and not `[12]`. An empty one is refused: it is more likely a
 * tenant's name that got lost than the wish to clear them all.
 */
export function encodePrefix(prefix: unknown, cache: string): string {
  if (typeof prefix === 'string' || Array.isArray(prefix)) return encodeKey(prefix, cache)
  throw refusal(
    cache,
    `expected the prefix to be ${WANTED}, got ${got(prefix)}`,
    'leave prefix out to mean every key of the cache'
  )
}

export interface KeyRange {
  /** This very key, where the prefix is a whole key itself; otherwise none. */
  readonly exact: string | undefined
  /** And all that begin like this. */
  readonly under: string
}

/** The encoded keys that an encoded prefix stands for; an empty one stands for all. */
export function rangeOf(prefix: string): KeyRange {
  if (!prefix.startsWith('a')) return { exact: undefined, under: prefix }
  return { exact: prefix, under: `${prefix.slice(0, -1)},` }
}

export function isInRange(key: string, { exact, under }: KeyRange): boolean {
  return key === exact || key.startsWith(under)
}

function encodeTextKey(key: string, cache: string): string {
  if (key === '') throw refusal(cache, `expected ${WANTED}, got an empty string`, 'give the entry a name')
  if (!isWellFormed(key)) throw brokenText(cache, 'the key')
  const encoded = `s${key}`
  if (key.length > UNITS_SURELY_FIT) checkSize(encoded, cache)
  return encoded
}

function encodeArrayKey(parts: readonly unknown[], cache: string): string {
  if (parts.length === 0) throw refusal(cache, `expected ${WANTED}, got an empty array`, 'give it a part')
  // The JSON is put together here, part by part: JSON.stringify would ask the array for a toJSON first.
  let encoded = 'a['
  for (let i = 0; i < parts.length; i++) encoded += (i === 0 ? '' : ',') + encodePart(parts[i], i, cache)
  encoded += ']'
  if (encoded.length > UNITS_SURELY_FIT) checkSize(encoded, cache)
  return encoded
}

function encodePart(part: unknown, index: number, cache: string): string {
  if (typeof part === 'boolean') return `${part}`
  if (typeof part === 'number' && Number.isFinite(part)) return `${part}`
  if (typeof part !== 'string')
    throw refusal(
      cache,
      `expected a string, a finite number or a boolean at [${index}], got ${got(part)}`,
      advice(part)
    )
  if (!isWellFormed(part)) throw brokenText(cache, `the string at [${index}]`)
  return JSON.stringify(part)
}

function checkSize(encoded: string, cache: string): void {
  const bytes = encoded.length > KEY_BYTES_MAX ? encoded.length : utf8Bytes(encoded)
  if (bytes > KEY_BYTES_MAX)
    throw refusal(
      cache,
      `expected at most ${KEY_BYTES_MAX} bytes, got at least ${bytes}`,
      'use a hash of it as the key'
    )
}

function parseArrayKey(encoded: string): readonly KeyPart[] | undefined {
  if (!encoded.startsWith('a[')) return undefined
  try {
    return JSON.parse(encoded.slice(1)) as readonly KeyPart[]
  } catch {
    return undefined
  }
}

function isEncodingOf(key: Key, encoded: string): boolean {
  try {
    return encodeKey(key, '') === encoded
  } catch {
    return false
  }
}

function advice(part: unknown): string {
  if (typeof part === 'number' && Number.isFinite(part))
    return `write '${part}' or [${part}]: as a bare number it would be another entry than '${part}'`
  if (typeof part === 'number') return 'check where the number comes from'
  if (typeof part === 'bigint') return 'write String(id)'
  if (part === undefined || part === null) return 'check where the key comes from: it is missing'
  return 'build the key from the ids that name the entry'
}

function brokenText(cache: string, what: string): MeshError {
  return refusal(
    cache,
    `expected whole characters, got half of a surrogate pair in ${what}`,
    'use toWellFormed() on it'
  )
}

function refusal(cache: string, problem: string, todo: string): MeshError {
  return new MeshError('ERR_MESH_KEY', `key of cache '${cache}': ${problem}; ${todo}`, { cache })
}
