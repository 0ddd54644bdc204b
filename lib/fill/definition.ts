/**
 * What this member knows of a declared cache. Its identity in the mesh is name and version: another version is
 * another cache, so a rolling deploy that changes the shape of the values never mixes the two.
 */
import { MeshError } from '../base/errors.ts'
import type { Duration } from '../base/units.ts'
import type { Key } from '../codec/keys.ts'
import { encodeTags } from '../codec/tags.ts'
import type { ValueCodec } from '../codec/values.ts'
import type { LoadReason } from '../rpc/messages.ts'
import type { EvictionName } from '../store/eviction.ts'
import type { KeepTerms } from '../store/keeping.ts'

export type May<T> = T | Promise<T>

/** Opaque, in a total order as text, and fit for an ETag. */
export type Version = string & { readonly __version: unique symbol }

export interface Entry<V> {
  readonly value: V
  readonly version: Version
  /**
   * Till when it is fresh, as `Date.now()` counts on this machine; Infinity for what is kept for ever. What is not kept
   * has expired.
   */
  readonly expiresAt: number
  /** Past its TTL; answered because `staleWhileRevalidate` or `staleIfError` allows it. */
  readonly stale: boolean
  readonly tags: readonly string[]
  /**
   * Whose store it came from: ours, as owner of the key; the owner's; a backup's, while the owner does not answer. `near`:
   * a copy in this process of what another owns. Or it was just loaded.
   */
  readonly from: 'near' | 'local' | 'owner' | 'backup' | 'load'
}

/** What a loader may choose for its result: how long it is kept and under which tags; `false` hands it out only. */
export type StoreChoice = { ttl?: Duration | 'forever' | undefined; tags?: readonly string[] | undefined } | false

/**
 * What a loader is told. A registered loader must not name V, or TypeScript would fix V before it has looked at what
 * the loader returns.
 */
export interface LoadContext<V = unknown> {
  /** Aborts at `loadTimeout`, and when nobody in the mesh waits for the result any more. */
  readonly signal: AbortSignal
  /** Nothing was there; it was stale; it soon will be; `warm` asked for it. */
  readonly reason: LoadReason
  /** What is stored until now, for an If-None-Match; return its value to keep it. */
  readonly previous: Entry<V> | undefined
  store(choice: StoreChoice): void
}

/** What a loader of many is told: the same, and by key where keys differ. */
export interface LoadManyContext<K = Key, V = unknown> {
  /** Aborts at `loadTimeout`, and when nobody waits for any of the results any more. */
  readonly signal: AbortSignal
  reason(key: K): LoadReason
  previous(key: K): Entry<V> | undefined
  store(key: K, choice: StoreChoice): void
}

export type Load = (key: Key, context: LoadContext) => May<unknown>
export type LoadMany = (keys: readonly Key[], context: LoadManyContext) => May<readonly unknown[]>

/** What a `store` is told. */
export interface StoreContext {
  /** Aborts at `storeTimeout`. */
  readonly signal: AbortSignal
  /**
   * In the order of the writes of a key, as text. An origin that keeps it beside the row and refuses a lower one is
   * safe from whatever comes late.
   */
  readonly version: string
}

/** Undefined: deleted. */
export type StoreFunction = (key: Key, value: unknown, context: StoreContext) => May<void>

/** How writes wait for the origin. */
export interface BehindTerms {
  readonly delayMs: number
  /** Keys that wait, and the bytes of their values. */
  readonly pendingMax: number
  readonly pendingBytesMax: number
  /** Calls of `store` at the same time. */
  readonly atOnce: number
  /** A value that the origin has refused for so long is given up. */
  readonly retryForMs: number
}

export interface NearTerms {
  readonly maxEntries: number
  readonly maxBytes: number
  readonly ttlMs: number
  /** Only what its owner says is hot. */
  readonly isForHot: boolean
}

export interface CacheDefinition {
  readonly name: string
  /** Name and version: what records and requests are filed under. */
  readonly namespace: string
  readonly codec: ValueCodec
  readonly ttlMs: number
  readonly negativeTtlMs: number
  readonly jitter: number
  readonly staleWhileRevalidateMs: number
  readonly staleIfErrorMs: number
  /** The eagerness of XFetch; 0 is no early refresh. */
  readonly earlyRefresh: number
  /** The last share of the TTL in which a read has the value loaded anew. */
  readonly refreshAhead: number
  readonly loadTimeoutMs: number
  /** Infinity is none. */
  readonly softTimeoutMs: number
  /** 0 is none. */
  readonly errorBackoffMs: number
  /** Calls of the origin at once, in the whole mesh. */
  readonly loadConcurrency: number
  /** Failures that open the circuit breaker; 0 where there is none. */
  readonly breakerFailures: number
  readonly breakerOpenMs: number
  readonly valueBytesMax: number
  /** What this member keeps of the cache at most; Infinity where only the memory of the member bounds it. */
  readonly bytesMax: number
  readonly eviction: EvictionName
  /** How many near copies this member keeps, and for how long; undefined: none. */
  readonly near: NearTerms | undefined
  /** Callers get values that nobody can change, and may be given the same one. */
  readonly isFrozen: boolean
  /** Members beside the primary that keep a copy. */
  readonly backups: number
  /** How many of them a write waits for; `ACKS_ALL` for each there is. */
  readonly backupAcks: number
  /** Of two values written on two sides of a split, what is kept; undefined: the one written last. */
  readonly merge: ((a: Entry<unknown>, b: Entry<unknown>) => unknown) | undefined
  readonly tagsOf: ((value: unknown, key: Key) => readonly string[]) | undefined
  /** About how many keys exist; 0 where there is no filter of them. */
  readonly existsKeys: number
  readonly existsFalsePositives: number
  readonly load: Load | undefined
  readonly loadMany: LoadMany | undefined
  readonly store: StoreFunction | undefined
  readonly storeTimeoutMs: number
  /** Undefined: a write waits until `store` is done. */
  readonly writeBehind: BehindTerms | undefined
  /** Known by name alone: a declaration that comes later takes its place. */
  readonly isBare: boolean
}

/** Functions may be replaced, as hot reload does. */
const FUNCTIONS: ReadonlySet<keyof CacheDefinition> = new Set(['load', 'loadMany', 'tagsOf', 'codec', 'store', 'merge'])

export function namespaceOf(name: string, version: string | number): string {
  return JSON.stringify([name, String(version)])
}

/** What people call it. */
export function cacheNameOf(namespace: string): string {
  const words: string[] = JSON.parse(namespace)
  return words[words.length - 2] as string
}

/** Of another length than any cache's, so that a counter and a cache may have one name. */
export function counterNamespaceOf(name: string): string {
  return JSON.stringify(['counter', name, ''])
}

/** The tags of a value: those it was given, else those the cache finds in it. */
export function tagsOf(definition: CacheDefinition, key: Key, value: unknown, given: unknown): Uint8Array {
  const chosen = given ?? definition.tagsOf?.(value, key)
  return encodeTags(chosen, `the tags of a value of cache '${definition.name}'`)
}

/** How a value is kept beyond its TTL; undefined where nothing is. `loadMs`: what it took to load it. */
export function keepTermsOf(definition: CacheDefinition, tags: Uint8Array, loadMs = 0): KeepTerms | undefined {
  const { staleWhileRevalidateMs: revalidateMs, staleIfErrorMs: staleMs, refreshAhead: ahead } = definition
  const earlyMs = definition.earlyRefresh * loadMs
  const isPlain = revalidateMs === 0 && staleMs === 0 && ahead === 0 && earlyMs === 0 && tags.length === 0
  return isPlain ? undefined : { revalidateMs, staleMs, ahead, earlyMs, tags }
}

/** Everything but functions must be as it was. */
export function checkRedefinition(was: CacheDefinition, now: CacheDefinition, kind: 'cache' | 'counter'): void {
  const differing = (Object.keys(was) as (keyof CacheDefinition)[]).filter(
    name => !FUNCTIONS.has(name) && shown(was[name]) !== shown(now[name])
  )
  if (differing.length === 0) return
  const [name] = differing
  throw new MeshError(
    'ERR_MESH_REDEFINED',
    `The ${kind} '${was.name}' is declared already with another ${name} (${shown(was[name as keyof CacheDefinition])}, now ${shown(now[name as keyof CacheDefinition])}). Declare it once, or with equal options; only functions may be replaced.`,
    { cache: was.name }
  )
}

function shown(option: unknown): string {
  return typeof option === 'object' ? JSON.stringify(option) : String(option)
}

/** Where nothing stale is ever answered, all can go at once; a handle by name alone does not know. */
export function mayBeStale({ isBare, staleWhileRevalidateMs, staleIfErrorMs }: CacheDefinition): boolean {
  return isBare || staleWhileRevalidateMs > 0 || staleIfErrorMs > 0
}
