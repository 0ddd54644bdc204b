/**
 * A mesh as the application sees it: what a member offers, what it tells of itself, what happens to it. The member
 * behind it is `local-member.ts`.
 */
import type { Duration } from './base/units.ts'
import type { Cache, LoadingCache } from './cache.ts'
import type { CacheOptions, CounterOptions } from './cache-options.ts'
import type { Cached } from './caches.ts'
import type { CallOptions, DeleteOptions } from './calls.ts'
import type { Key, KeyPart } from './codec/keys.ts'
import type { Counter } from './counter.ts'
import type { LoadContext, May } from './fill/definition.ts'
import type { Member } from './member.ts'
import type { HotKey } from './near/demand.ts'
import type { Left, Moved } from './observe/movement.ts'
import type { Gauges, Stats } from './observe/stats.ts'
import type { Topic } from './topic.ts'

export interface MeshEvents {
  join: Member
  leave: Member
  /** Its silence was met, here or elsewhere; it still owns what it owns, until it speaks up or is gone. */
  suspect: Member
  /** Whatever changed: all who are here now. */
  view: readonly Member[]
  ready: undefined
  /** Partitions have changed hands: what this member has got of them. */
  moved: Moved
  warning: { code: string; message: string }
}

/** Plain numbers of one member; the README lists them in the words of `observe/stats.ts`. */
export type MeshStats = { readonly [Counter in keyof Stats]: number } & Gauges

export interface ReadyOptions extends CallOptions {
  /** At least so many are here. Default: the mesh's `minMembers`. */
  members?: number | undefined
  /** Of what this member owns, at least this share is here, and not still at the owners before. From 0 to 1. Default 0. */
  warm?: number | undefined
}

export interface Mesh extends AsyncDisposable {
  readonly id: string
  readonly name: string
  readonly state: 'joining' | 'ready' | 'leaving' | 'left'
  readonly members: readonly Member[]
  /** A read-through cache with a filter of the keys that exist: of others `get` answers undefined, unloaded. */
  cache<R, K extends Key = string>(
    name: string,
    options: CacheOptions<Exclude<R, undefined>, K> & {
      load(key: K, context: LoadContext): May<R>
      exists: NonNullable<CacheOptions<never, never>['exists']>
    }
  ): LoadingCache<R | undefined, K>
  /** A read-through cache: `get` loads, and its type is what `load` returns. */
  cache<R, K extends Key = string>(
    name: string,
    options: CacheOptions<Exclude<R, undefined>, K> & { load(key: K, context: LoadContext): May<R>; exists?: undefined }
  ): LoadingCache<R, K>
  /** A cache without a loader: `get` answers undefined on a miss. With a name alone: a handle to a declared cache. */
  cache<V, K extends Key = string>(name: string, options?: CacheOptions<V, K> & { load?: undefined }): Cache<V, K>
  /** A function whose results are cached under its arguments: texts, numbers and booleans. */
  cached<A extends KeyPart[], R>(
    name: string,
    fn: (...args: A) => May<R>,
    options: Omit<CacheOptions<Exclude<R, undefined>, A>, 'load' | 'exists'>
  ): Cached<A, R>
  /** Numbers that are added to, each with a TTL from its first add on. */
  counter<K extends Key = string>(name: string, options: CounterOptions): Counter<K>
  /** Everything of any cache that was written or loaded under one of these tags until now is gone, in every member. */
  invalidateTag(tag: string | readonly string[], options?: DeleteOptions): Promise<void>
  /** News for every process that listens, at most once each. */
  topic<T>(name: string): Topic<T>
  /** Resolves when every member here is linked and agrees on who is here, and what `options` ask for is so. */
  ready(options?: ReadyOptions): Promise<void>
  /**
   * Tells the others, hands over what this member owns and has under way, then closes, at the latest after `deadline`.
   * Answers with what was handed over and what was not. May be called twice.
   */
  leave(options?: { deadline?: Duration }): Promise<Left>
  /** This member's numbers, without I/O. */
  stats(): MeshStats
  /** What other members ask most of, of the keys that this one owns; the most first, at most 64. Without I/O. */
  hotKeys(): HotKey[]
  on<E extends keyof MeshEvents>(event: E, listener: (event: MeshEvents[E]) => void): () => void
}
