/**
 * Tags of a value: short texts by which many values are invalidated at once. They travel and are stored as opaque
 * bytes; only who is asked for them reads them.
 */
import { got, MeshError } from '../base/errors.ts'
import { isWellFormed, utf8Bytes } from './text.ts'

/** Few and short: they are stored with every value that has them. */
export const TAGS_MAX = 64
const TAG_BYTES_MAX = 200
/** What tags take at most, as bytes. */
export const TAGS_BYTES_MAX = TAGS_MAX * (TAG_BYTES_MAX + 1)

export const NO_TAGS = new Uint8Array(0)

/** Each once, in the order of their text. */
export function encodeTags(tags: unknown, what: string): Uint8Array {
  if (tags === undefined) return NO_TAGS
  if (!Array.isArray(tags) || tags.length > TAGS_MAX || !tags.every(isTag)) {
    throw new MeshError(
      'ERR_MESH_OPTION',
      `Expected ${what} to be at most ${TAGS_MAX} texts of 1 to ${TAG_BYTES_MAX} bytes each, got ${got(tags)}. Write tags: ['user:42'].`
    )
  }
  if (tags.length === 0) return NO_TAGS
  const parts = [...new Set<string>(tags)].sort().map(tag => new TextEncoder().encode(tag))
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length + 1, 0))
  let at = 0
  for (const part of parts) {
    bytes[at] = part.length
    bytes.set(part, at + 1)
    at += part.length + 1
  }
  return bytes
}

/** What `encodeTags` made; of bytes that it did not make, what can be read of them. */
export function decodeTags(bytes: Uint8Array): readonly string[] {
  const tags: string[] = []
  for (let at = 0; at < bytes.length; at += (bytes[at] as number) + 1)
    tags.push(new TextDecoder().decode(bytes.subarray(at + 1, at + 1 + (bytes[at] as number))))
  return tags
}

function isTag(tag: unknown): boolean {
  return typeof tag === 'string' && tag !== '' && isWellFormed(tag) && utf8Bytes(tag) <= TAG_BYTES_MAX
}
