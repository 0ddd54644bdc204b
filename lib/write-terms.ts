/**
 * What a change says to the owner of its key, from what the caller gave and what the cache is declared with: the value as
 * bytes, how long it is kept and in how many copies. All is checked here, before anything is sent.
 */
import { MeshError } from './base/errors.ts'
import { type Duration, ttlMs } from './base/units.ts'
import {
  type AckOptions,
  copyingOf,
  type DeleteOptions,
  expectedVersion,
  type InvalidateOptions,
  type Kind,
  keepMs,
  keepOf,
  type SetOptions
} from './calls.ts'
import { encodeKey, type Key } from './codec/keys.ts'
import { rowVersionText } from './codec/row-version.ts'
import { refuse } from './door.ts'
import type { CacheDefinition, Version } from './fill/definition.ts'
import type { ChangeOf, WriteOf } from './rpc/messages.ts'
import { ACKS_ALL } from './rpc/words.ts'

export function writeOf(
  definition: CacheDefinition,
  key: Key,
  value: unknown,
  options: SetOptions | undefined
): WriteOf<'write'> {
  return {
    type: 'write',
    ...named(definition, key),
    bytes: bytesOf(definition, key, value),
    keep: keepOf(definition, key, value, options),
    ttlMs: keepMs(definition, options),
    ...copyingOf(definition, 'cache', options)
  }
}

export function compareOf(
  definition: CacheDefinition,
  key: Key,
  expected: Version | null,
  next: unknown,
  options: SetOptions | undefined
): WriteOf<'compareAndSet'> {
  const { stamp: expectedStamp, writer: expectedWriter } = expectedVersion(expected, definition.name)
  const keepTtl = expected !== null && options?.ttl === undefined
  return {
    type: 'compareAndSet',
    ...named(definition, key),
    expectedStamp,
    expectedWriter,
    bytes: bytesOf(definition, key, next),
    ttlMs: keepTtl ? 0 : keepMs(definition, options),
    keepTtl,
    // Tags are kept with the TTL, but for those that this call gives.
    keep: keepTtl && options?.tags === undefined ? undefined : keepOf(definition, key, next, options),
    ...copyingOf(definition, 'cache', options)
  }
}

export function touchOf(
  definition: CacheDefinition,
  key: Key,
  ttl: Duration | 'forever',
  options: AckOptions | undefined
): ChangeOf<'touch'> {
  const keptMs = ttlMs(ttl, `ttl of touch of cache '${definition.name}'`)
  return { type: 'touch', ...named(definition, key), ttlMs: keptMs, ...copyingOf(definition, 'cache', options) }
}

/** Every backup that is here must know: one that does not would answer with the value when it becomes the owner. */
export function removeOf(definition: CacheDefinition, key: Key, options: DeleteOptions | undefined): WriteOf<'remove'> {
  const { backups } = definition
  const about = { type: 'remove', ...named(definition, key), row: '' } as const
  return { ...about, soft: options?.soft === true, backups, backupAcks: ACKS_ALL }
}

/** What only the origin has heard of until now. */
export function invalidationOf(
  definition: CacheDefinition,
  key: Key,
  options: InvalidateOptions | undefined
): WriteOf<'remove'> {
  const remove = removeOf(definition, key, options)
  if (options?.version === undefined) return remove
  const row = rowVersionText(options.version)
  if (row !== undefined) return { ...remove, row }
  return refuse(
    `version of invalidate of cache '${definition.name}'`,
    "a whole number from 0 on, as number, bigint or text, or an LSN like '16/B374D848'",
    options.version,
    'It has to grow with each change of the row: take it from a sequence, or leave it out and drop the value each time.'
  )
}

/** How many backups a flush waits for: unless it is told, as many as the cache has. */
export function flushAcksOf(definition: CacheDefinition, kind: Kind, options: AckOptions | undefined): number {
  return copyingOf({ ...definition, backupAcks: definition.backups }, kind, options).backupAcks
}

function named({ name, namespace }: CacheDefinition, key: Key): { namespace: string; key: string } {
  return { namespace, key: encodeKey(key, name) }
}

function bytesOf({ name, codec, valueBytesMax }: CacheDefinition, key: Key, value: unknown): Uint8Array {
  const bytes = codec.encode(value, { cache: name, key: String(key) })
  if (bytes.length <= valueBytesMax) return bytes
  throw new MeshError(
    'ERR_MESH_VALUE_TOO_LARGE',
    `Expected a value of at most ${valueBytesMax} bytes, got ${bytes.length}. Raise maxValueBytes of cache '${name}', or cache something smaller.`,
    { cache: name, key: String(key) }
  )
}
