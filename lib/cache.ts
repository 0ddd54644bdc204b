/**
 * A cache as the application sees it: every operation, and what each promises. `mesh-cache.ts` keeps the promises.
 */
import type { Duration } from './base/units.ts'
import type {
  AckOptions,
  CallOptions,
  ClearOptions,
  DeleteOptions,
  GetOptions,
  InvalidateOptions,
  KeepOptions,
  PrefixOptions,
  SetOptions,
  WarmOptions
} from './calls.ts'
import type { Key } from './codec/keys.ts'
import type { Exists } from './exists.ts'
import type { Entry, LoadContext, LoadManyContext, May, Version } from './fill/definition.ts'
import type { LoadReason } from './rpc/messages.ts'
import type { Warmed } from './warming.ts'

export interface Cache<V, K extends Key = string> {
  readonly name: string
  /** The value, or undefined when there is none. */
  get(key: K, options?: GetOptions): Promise<V | undefined>
  /**
   * What this process has at hand: a near copy, or the value itself where this member owns the key. Undefined says
   * nothing about whether there is a value.
   */
  peek(key: K): V | undefined
  /** In the order of the keys. */
  getMany(keys: readonly K[], options?: GetOptions): Promise<(V | undefined)[]>
  /** The value with its version and expiry. Undefined also where a loader found nothing. */
  getEntry(key: K, options?: GetOptions): Promise<Entry<V> | undefined>
  /** Whether there is a value; never loads. */
  has(key: K, options?: CallOptions): Promise<boolean>
  /**
   * The value, or what `load` makes of it: once in the whole mesh, in the process of the first that asked, with its
   * request context.
   */
  getOrSet<R extends V | undefined>(
    key: K,
    load: (context: LoadContext<V>) => May<R>,
    options?: KeepOptions & GetOptions
  ): Promise<V | Extract<R, undefined>>
  /**
   * The same for many: `load` is called with the keys that nobody has or loads, one call for those of each owner, and
   * answers with one result for each, in their order; an Error for one that failed.
   */
  getOrSetMany<R extends V | undefined>(
    keys: readonly K[],
    load: (keys: readonly K[], context: LoadManyContext<K, V>) => May<readonly (R | Error)[]>,
    options?: KeepOptions & GetOptions
  ): Promise<(V | Extract<R, undefined>)[]>
  /** Replaces the value and its TTL. */
  set(key: K, value: V, options?: SetOptions): Promise<Version>
  /** Each entry with options of its own if it has any. All are checked before the first is written. */
  setMany(entries: Iterable<readonly [K, V, SetOptions?]>, options?: SetOptions): Promise<void>
  /**
   * Makes a new value of the one there is, in this process; never loads, unless the cache has a `store`. `fn` runs
   * again when somebody else was faster; undefined changes nothing. Keeps the TTL that is running. Answers with the
   * value there is now.
   */
  update(key: K, fn: (now: V | undefined) => May<V | undefined>, options?: SetOptions): Promise<V | undefined>
  /**
   * Sets only if the value there is has this version; null: only if there is none. False when it has not. Keeps the TTL
   * that is running. No lock: two sides of a split, or the owners before and after a crash, may both say yes.
   */
  compareAndSet(key: K, expected: Version | null, next: V, options?: SetOptions): Promise<Version | false>
  /** Gives the value there is a new TTL from now on; its version stays. False when there is none. */
  touch(key: K, ttl: Duration | 'forever', options?: AckOptions): Promise<boolean>
  /**
   * True when there was a value; with `soft`, when there was a fresh one. Fences loads that run, whether there was one or
   * not.
   */
  delete(key: K, options?: DeleteOptions): Promise<boolean>
  /** How many of them had a value, or a fresh one. */
  deleteMany(keys: readonly K[], options?: DeleteOptions): Promise<number>
  /**
   * The origin's row has changed: drops the value, or with `soft` makes it stale, without a word to the cache's `store`.
   * With the `version` of the one row that the value is made of, one change drops one value, however often and in
   * whatever order it is told of; after a crash or a move of the key perhaps one more. True when something was dropped.
   */
  invalidate(key: K, options?: InvalidateOptions): Promise<boolean>
  /**
   * Drops everything, or what lies under the prefix, in all members, and fences loads that run. Resolves when every
   * member has confirmed; otherwise ERR_MESH_PARTIAL names those that have not. Not promised: that it reaches the other
   * side of a split; what that side holds comes back when it heals. With `soft` all that is there is stale from now on,
   * and not gone; keys that change their owner meanwhile may be missed.
   */
  clear(options?: ClearOptions): Promise<void>
  /**
   * Everything of this cache that was written or loaded under one of these tags until now is gone, in every member. Loads
   * under way are for those who wait for them already, and are not kept.
   */
  invalidateTag(tag: string | readonly string[], options?: DeleteOptions): Promise<void>
  /**
   * Resolves when what this member has written to this cache until now is held by so many backups; by default by as many
   * as the cache has. Asked of what has been answered before: await the writes first. With too few it rejects with
   * ERR_MESH_BACKUPS, also where a member has gone that took a write; then it is not known who has it.
   */
  flush(options?: AckOptions): Promise<{ readonly acked: number }>
  /** Why the key is as it is, in words for people: who owns it, what is stored, who loads and waits, what happened. */
  explain(key: K, options?: CallOptions): Promise<Explanation>
  /**
   * The keys that have a value, page by page. Weakly consistent: a key that is there the whole time is told once, as
   * long as no member is lost; one that comes or goes meanwhile may be told or not. `timeout` is for each page.
   */
  keys(options?: PrefixOptions): AsyncIterable<K>
  /** What happens to its keys in this member; other members tell their own. Answers with what ends it. */
  on<E extends keyof CacheEvents<K>>(event: E, listener: (event: CacheEvents<K>[E]) => void): () => void
}

/** What the owner of a key knows of it. */
export interface Explanation {
  readonly owner: string
  /** Who holds a copy; the owner first. */
  readonly replicas: readonly string[]
  /** What is stored, its value aside. `expiresAt` may lie in the past: it is stale then, until `overAt`. */
  readonly entry:
    | (Omit<Entry<never>, 'value' | 'from'> & {
        readonly bytes: number
        readonly overAt: number
        readonly negative: boolean
      })
    | undefined
  /** When it was deleted, where that is remembered. */
  readonly deletedAt: number | undefined
  readonly fill:
    | { readonly member: string; readonly waiters: number; readonly ms: number; readonly reason: LoadReason }
    | undefined
  /** Its last loads have failed, and it is left alone. */
  readonly backOff: { readonly failures: number; readonly leftMs: number; readonly why: string } | undefined
  /** Calls of the cache's origin at its owner, how many wait there, and whether its circuit breaker is closed. */
  readonly origin: {
    readonly running: number
    readonly queued: number
    readonly permits: number
    readonly breaker: 'closed' | 'open' | 'half-open'
    readonly retryAfterMs: number
  }
  /** False where the filter of `exists` answers for the origin. */
  readonly mayExist: boolean
  /** What was written last has not reached the origin yet. */
  readonly storePending: boolean
  /** As `Date.now()` counts on this machine, oldest first. */
  readonly lastEvents: readonly { readonly at: number; readonly what: string }[]
}

/** A cache that loads what it lacks: `get` answers with what the loader returns. */
export interface LoadingCache<R, K extends Key = string>
  extends Omit<Cache<Exclude<R, undefined>, K>, 'get' | 'getMany'> {
  /** Which keys exist, where the cache is declared with `exists`: others are not loaded, and `get` answers undefined. */
  readonly exists: Exists<K>
  get(key: K, options?: GetOptions & { load?: true }): Promise<R>
  get(key: K, options: GetOptions): Promise<R | undefined>
  getMany(keys: readonly K[], options?: GetOptions & { load?: true }): Promise<R[]>
  getMany(keys: readonly K[], options: GetOptions): Promise<(R | undefined)[]>
  /** Loads now, once in the whole mesh, whatever is stored; who is loading already is joined. */
  refresh(key: K, options?: CallOptions): Promise<R>
  /**
   * Loads the keys that are missing, in the background of users: at `rate`, a few at a time, after them at the origin.
   * Tells how far it is by `on('warm')`. A key that fails is counted; only a signal or a bad key makes it reject.
   */
  warm(keys: Iterable<K> | AsyncIterable<K>, options?: WarmOptions): Promise<Warmed>
}

/** Told after it has happened, in nobody's context. Not promised: that all are told when thousands happen at once. */
export interface CacheEvents<K extends Key = string> {
  /** A load that ran in this process has ended with a value, which was stored. `ms`: what the loader took. */
  fill: { readonly key: K; readonly ms: number }
  /**
   * A key that this member owns or holds near was deleted, or left empty because nobody knows what the origin has; or a
   * clear, of all or of a prefix, has reached this member.
   */
  invalidate: { readonly key: K } | { readonly tag: string } | { readonly clear: true }
  /**
   * A value of a key that this member owns went: for want of room, or because its time was over. That is found by the
   * next read or a sweep, so it may be told late; not where something new is written first.
   */
  evict: { readonly key: K; readonly reason: 'size' | 'ttl' }
  /** So much is asked of a key that this member owns that whoever reads it keeps it near from now on. */
  hot: { readonly key: K; readonly perSecond: number }
  /** How far a `warm` of this handle is, now and then and at its end. */
  warm: Warmed & { readonly done: boolean }
}
