/**
 * What this member knows of a declared cache. Its identity in the mesh is name and version: another version is
 * another cache, so a rolling deploy that changes the shape of the values never mixes the two.
 */
import { MeshError } from '../base/errors.ts'
import type { Duration } from '../base/units.ts'
import type { Key } from '../codec/keys.ts'
import type { ValueCodec } from '../codec/values.ts'
import type { EvictionName } from '../store/eviction.ts'

export type May<T> = T | Promise<T>

/** What a loader is told. It never names V: TypeScript would fix V before it has looked at what the loader returns. */
export interface LoadContext {
  /** Aborts at `loadTimeout` and, for a load that runs at the key's owner, when nobody in the mesh waits any more. */
  readonly signal: AbortSignal
  readonly reason: 'miss'
  /** Chooses how long this result is kept; `false` hands it out and keeps nothing. */
  store(o: { ttl?: Duration | 'forever' } | false): void
}

export type Load = (key: Key, context: LoadContext) => May<unknown>

export interface CacheDefinition {
  readonly name: string
  /** Name and version: what records and requests are filed under. */
  readonly namespace: string
  readonly codec: ValueCodec
  readonly ttlMs: number
  readonly negativeTtlMs: number
  readonly jitter: number
  readonly loadTimeoutMs: number
  readonly valueBytesMax: number
  /** What this member keeps of the cache at most; Infinity where only the memory of the member bounds it. */
  readonly bytesMax: number
  readonly eviction: EvictionName
  readonly load: Load | undefined
  /** Known by name alone: a declaration that comes later takes its place. */
  readonly isBare: boolean
}

export function namespaceOf(name: string, version: string | number): string {
  return JSON.stringify([name, String(version)])
}

/** Of another length than any cache's, so that a counter and a cache may have one name. */
export function counterNamespaceOf(name: string): string {
  return JSON.stringify(['counter', name, ''])
}

/** Functions may be replaced, as hot reload does; everything else must be as it was. */
export function checkRedefinition(was: CacheDefinition, now: CacheDefinition, kind: 'cache' | 'counter'): void {
  const differing = (Object.keys(was) as (keyof CacheDefinition)[]).filter(
    name => name !== 'load' && name !== 'codec' && !Object.is(was[name], now[name])
  )
  if (differing.length === 0) return
  const [name] = differing
  throw new MeshError(
    'ERR_MESH_REDEFINED',
    `The ${kind} '${was.name}' is declared already with another ${name} (${String(was[name as keyof CacheDefinition])}, now ${String(now[name as keyof CacheDefinition])}). Declare it once, or with equal options; only functions may be replaced.`,
    { cache: was.name }
  )
}
