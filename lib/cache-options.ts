/**
 * Every option of a cache and of a counter: what it is, its unit, its default. Checked once, when the cache is
 * declared, and frozen into a definition in which nothing is optional.
 */
import { MeshError } from './base/errors.ts'
import { type Bytes, byteCount, type Duration, durationMs, ttlMs } from './base/units.ts'
import type { Key } from './codec/keys.ts'
import { customCodec, defaultCodec, type UserCodec } from './codec/values.ts'
import { acksOf, type BackupAcks, checkNames, checkText, isName, refuse, timerMs } from './door.ts'
import {
  type BehindTerms,
  type CacheDefinition,
  counterNamespaceOf,
  type Entry,
  type Load,
  type LoadContext,
  type LoadMany,
  type LoadManyContext,
  type May,
  namespaceOf,
  type StoreContext,
  type StoreFunction
} from './fill/definition.ts'
import { BITS_MAX, geometryFor } from './fill/key-filter.ts'
import { BACKUPS_MAX } from './rpc/words.ts'
import { EVICTION_NAMES, type EvictionName } from './store/eviction.ts'

export interface CacheOptions<V, K extends Key> {
  /** How long a value is kept, from when it is stored. Required: the one number we cannot guess. */
  ttl: Duration | 'forever'
  /** The shape of the values: another version is another cache, so that deploys never mix two shapes. Default 1. */
  version?: string | number | undefined
  /** Shortens the TTL of loaded values by up to this share, so that they do not expire together. Default 0.1. */
  jitter?: number | undefined
  /** For so long after the TTL the old value is answered while a new one is loaded behind. Default 0. */
  staleWhileRevalidate?: Duration | undefined
  /**
   * For so long after the TTL the old value is answered when the load fails, or the origin is not asked because it keeps
   * failing. Both windows begin at the TTL; the longer counts, not the sum. Default 0.
   */
  staleIfError?: Duration | undefined
  /**
   * The last share of the TTL, from 0 to 1, in which a read has the value loaded anew behind it, so that keys in demand
   * never expire. Default 0, none.
   */
  refreshAhead?: number | undefined
  /**
   * Refreshes what is read often shortly before its TTL ends: each read draws by chance how many load times before the
   * end it may begin, so that of many readers one is early enough. True is 1; a larger number is more eager. Default
   * false.
   */
  earlyRefresh?: boolean | number | undefined
  /** How long a loaded null or undefined is kept. Default the smaller of `ttl` and '5s'; 0 is not at all. */
  negativeTtl?: Duration | undefined
  /** After this long a load is aborted and its waiters get an error. Default '10s'. */
  loadTimeout?: Duration | undefined
  /**
   * After this long a caller is answered with the old value, if a window of staleness allows it, and the load goes on
   * behind. Default none: it waits.
   */
  softTimeout?: Duration | undefined
  /**
   * How long a key is left alone after its load has failed, in the whole mesh; doubles with each failure in a row, up to
   * 5 s. Default '100ms'; 0 is not at all.
   */
  errorBackoff?: Duration | undefined
  /** Calls of the origin at once, in the whole mesh; further ones wait in a bounded line. Default 100. */
  loadConcurrency?: number | undefined
  /**
   * Stops calling an origin that fails: open when at least `failures` (default 10) of the calls of the last 10 s failed
   * and they are at least half; after `openFor` (default '1s') one call in the whole mesh tries, and each that fails
   * doubles the time, up to ten times. Default false.
   */
  breaker?: boolean | { failures?: number | undefined; openFor?: Duration | undefined } | undefined
  /** `set` refuses a larger value; a larger loaded one is handed out and not kept. Default '1mb'. */
  maxValueBytes?: Bytes | undefined
  /** What each member keeps of this cache at most. Default none but the member's `memory`. */
  maxBytes?: Bytes | undefined
  /**
   * Who goes first where there is no room: the least recently used, the least often used of late (a scan passes by),
   * what expires soonest, or any. Default 'lru'.
   */
  eviction?: EvictionName | undefined
  /**
   * Copies in this process of values that other members own, so that a read of them asks nobody: at most two seconds
   * behind, and gone within milliseconds when the value changes. `maxEntries`, default 10,000; `maxBytes`, default
   * '32mb'; `ttl`, default '5s', is how long a copy may answer while its owner cannot be asked. 'hot': only of keys so
   * much in demand that their owner says so, for two seconds, up to 8 MiB in all caches together. False: none, ever.
   * Default 'hot'.
   */
  near?: false | 'hot' | NearOptions | undefined
  /**
   * 'copy': each caller gets a value of its own, to change as it likes. 'frozen': nobody can change it, and callers may
   * share one. Default 'copy'; 'frozen' where `near` says how many to keep.
   */
  values?: 'copy' | 'frozen' | undefined
  /** Members beside its owner that keep a copy of each value, as far as there are so many. 0 to 3. Default 1. */
  backups?: number | undefined
  /**
   * How many of them a write waits for, beyond the owner, which always has it: a number, 'all' that are here now, or
   * 'quorum', so many that with the owner they are more than half. Default 0: a write is answered before it is copied,
   * and one whose owner is killed in that moment may be lost.
   */
  backupAcks?: BackupAcks | undefined
  /**
   * Which of two values is kept that were written under one key on two sides of a split: the one written last, or what
   * this function makes of both. It must be pure: it is called at the key's owner after the split has healed, and what
   * it answers is stored under a new version. Default 'latest'.
   */
  merge?: 'latest' | ((a: Entry<V>, b: Entry<V>) => V) | undefined
  /** Finds the tags of a value where a call or a loader gives none. */
  tags?: ((value: V, key: K) => readonly string[]) | undefined
  /** Instead of MessagePack. Must be given in every process that declares the cache. */
  codec?: { encode(value: V): Uint8Array; decode(bytes: Uint8Array): V } | undefined
  /**
   * Of keys that are not in the filter of this cache, `load` is not asked: `get` answers undefined. `keys`: about how
   * many exist. `falsePositives`: the share of others that is loaded all the same, default 0.01. Filled by
   * `cache.exists`; until it is, everything is loaded. Default none.
   */
  exists?: { keys: number; falsePositives?: number | undefined } | undefined
  /** Loads a missing key. Runs once in the whole mesh, at the key's owner if it has declared the cache too. */
  load?: ((key: K, context: LoadContext) => May<unknown>) | undefined
  /**
   * Loads many missing keys by one call: one result for each, in their order, an Error for one that failed. Used for
   * keys that are missed at the same time; needs `load` too.
   */
  loadMany?: ((keys: readonly K[], context: LoadManyContext<K>) => May<readonly unknown[]>) | undefined
  /**
   * Writes a value to the origin, undefined where it was deleted. Called by `set`, `setMany`, `update`, `compareAndSet`,
   * `delete` and `deleteMany`, in the process of the caller and before they return.
   */
  store?: ((key: K, value: V | undefined, context: StoreContext) => May<void>) | undefined
  /** After this long a `store` is aborted and has failed. Default '10s'. */
  storeTimeout?: Duration | undefined
  /** `store` is called after the write has returned, by the key's owner. Default false; needs `store`. */
  writeBehind?: boolean | WriteBehindOptions | undefined
}

export interface WriteBehindOptions {
  /** How long a write waits for a newer one of the same key. Default '500ms'. */
  delay?: Duration | undefined
  /** Keys that one member may have waiting; over it writes are refused. Default 10,000. */
  maxPending?: number | undefined
  /** And the bytes of their values. Default '64mb'. */
  maxPendingBytes?: Bytes | undefined
  /** Calls of `store` at the same time, in each member. Default 8. */
  concurrency?: number | undefined
  /** A value that `store` has refused for so long is given up, counted and warned of. Default '5m'. */
  retryFor?: Duration | undefined
}

export interface NearOptions {
  maxEntries?: number | undefined
  maxBytes?: Bytes | undefined
  ttl?: Duration | undefined
}

export interface CounterOptions {
  /** How long a count lives, from its first add on. Required. */
  ttl: Duration | 'forever'
  /** Members beside its owner that keep a copy of each count. 0 to 3. Default 1. */
  backups?: number | undefined
  /** How many of them an add waits for: a number, 'all' that are here, or 'quorum'. Default 0. */
  backupAcks?: BackupAcks | undefined
}

const CACHE_OPTIONS: ReadonlySet<string> = new Set<keyof CacheOptions<unknown, Key>>([
  'ttl',
  'version',
  'jitter',
  'staleWhileRevalidate',
  'staleIfError',
  'refreshAhead',
  'earlyRefresh',
  'negativeTtl',
  'loadTimeout',
  'softTimeout',
  'errorBackoff',
  'loadConcurrency',
  'breaker',
  'maxValueBytes',
  'maxBytes',
  'eviction',
  'near',
  'values',
  'backups',
  'backupAcks',
  'merge',
  'tags',
  'codec',
  'exists',
  'load',
  'loadMany',
  'store',
  'storeTimeout',
  'writeBehind'
])
const BEHIND_OPTIONS: ReadonlySet<string> = new Set<keyof WriteBehindOptions>([
  'delay',
  'maxPending',
  'maxPendingBytes',
  'concurrency',
  'retryFor'
])
const NEAR_OPTIONS: ReadonlySet<string> = new Set<keyof NearOptions>(['maxEntries', 'maxBytes', 'ttl'])
const EXISTS_OPTIONS: ReadonlySet<string> = new Set(['keys', 'falsePositives'])
const COUNTER_OPTIONS: ReadonlySet<string> = new Set<keyof CounterOptions>(['ttl', 'backups', 'backupAcks'])
const BREAKER_OPTIONS: ReadonlySet<string> = new Set(['failures', 'openFor'])
/** Near copies of hot keys, where none were asked for. They are never older than a near copy may lag behind its owner. */
const FOR_HOT = Object.freeze({ maxEntries: 128, maxBytes: 4 * 1024 ** 2, ttlMs: 2_000, isForHot: true })
/** More than any origin takes, and a number that travels. */
const WHOLE_MAX = 1_000_000
const DEFAULT_NEGATIVE_TTL_MS = 5_000
/** Above it frames and fairness suffer; keep the large thing elsewhere and cache where it is. */
const VALUE_BYTES_MAX = 14 * 1024 ** 2

export function cacheDefinition(name: unknown, options: CacheOptions<never, never>): CacheDefinition {
  const cache = checkText(name, 'the name of a cache', "write mesh.cache('products', { ttl: '1h' })")
  const what = (option: string): string => `${option} of cache '${cache}'`
  checkNames(options, CACHE_OPTIONS, `cache '${cache}'`)
  if (options.ttl === undefined) {
    throw new MeshError(
      'ERR_MESH_OPTION',
      `Expected ${what('ttl')}, got nothing. Say how long values are kept, like { ttl: '1h' }, or { ttl: 'forever' }.`
    )
  }
  const keepMs = ttlMs(options.ttl, what('ttl'))
  return Object.freeze({
    name: cache,
    namespace: namespaceOf(cache, checkVersion(options.version, what('version'))),
    codec: checkCodec(options.codec, what('codec')),
    ...checkExists(options.exists, what('exists')),
    ttlMs: keepMs,
    negativeTtlMs:
      options.negativeTtl === undefined
        ? Math.min(keepMs, DEFAULT_NEGATIVE_TTL_MS)
        : durationMs(options.negativeTtl, what('negativeTtl'), 'zero'),
    jitter: checkShare(options.jitter ?? 0.1, what('jitter'), '0.1 shortens TTLs by up to a tenth.'),
    staleWhileRevalidateMs: durationMs(options.staleWhileRevalidate ?? 0, what('staleWhileRevalidate'), 'zero'),
    staleIfErrorMs: durationMs(options.staleIfError ?? 0, what('staleIfError'), 'zero'),
    refreshAhead: checkShare(options.refreshAhead ?? 0, what('refreshAhead'), '0.2 is the last fifth of the TTL.'),
    earlyRefresh: checkEagerness(options.earlyRefresh, what('earlyRefresh')),
    loadTimeoutMs: timerMs(options.loadTimeout ?? '10s', what('loadTimeout')),
    softTimeoutMs:
      options.softTimeout === undefined ? Number.POSITIVE_INFINITY : timerMs(options.softTimeout, what('softTimeout')),
    errorBackoffMs: durationMs(options.errorBackoff ?? '100ms', what('errorBackoff'), 'zero'),
    loadConcurrency: checkWhole(options.loadConcurrency ?? 100, what('loadConcurrency'), '100 is the default.'),
    ...checkBreaker(options.breaker, what('breaker')),
    valueBytesMax: checkValueBytes(options.maxValueBytes, what('maxValueBytes')),
    bytesMax: options.maxBytes === undefined ? Number.POSITIVE_INFINITY : byteCount(options.maxBytes, what('maxBytes')),
    eviction: checkEviction(options.eviction, what('eviction')),
    near: checkNear(options.near, what('near')),
    isFrozen: checkValues(options, what('values')),
    ...checkCopies(options, what),
    merge: checkMerge(options.merge, what('merge')),
    tagsOf: checkFunction(
      options.tags,
      what('tags'),
      'It gets value and key and answers with a list of texts.'
    ) as CacheDefinition['tagsOf'],
    load: checkFunction(options.load, what('load'), 'It gets the key and answers with the value.') as Load | undefined,
    loadMany: checkLoadMany(options, what('loadMany')),
    store: checkFunction(
      options.store,
      what('store'),
      'It gets the key and the value, undefined where it was deleted, and writes it to the origin.'
    ) as StoreFunction | undefined,
    storeTimeoutMs: timerMs(options.storeTimeout ?? '10s', what('storeTimeout')),
    writeBehind: checkBehind(options, cache),
    isBare: false
  })
}

/** The records of a counter are kept apart from those of any cache. */
export function counterDefinition(name: unknown, options: CounterOptions): CacheDefinition {
  const counter = checkText(name, 'the name of a counter', "write mesh.counter('hits', { ttl: '1m' })")
  checkNames(options, COUNTER_OPTIONS, `counter '${counter}'`)
  if (options.ttl === undefined) {
    throw new MeshError(
      'ERR_MESH_OPTION',
      `Expected ttl of counter '${counter}', got nothing. Say how long a count lives from its first add on, like { ttl: '1m' }, or { ttl: 'forever' }.`
    )
  }
  ttlMs(options.ttl, `ttl of counter '${counter}'`)
  checkCopies(options, option => `${option} of counter '${counter}'`)
  return Object.freeze({
    ...cacheDefinition(counter, { ...options, near: false }),
    namespace: counterNamespaceOf(counter)
  })
}

/** A cache known by name alone: it can be read, and written where each write says its TTL. */
export function bareDefinition(name: unknown): CacheDefinition {
  return Object.freeze({ ...cacheDefinition(name, { ttl: 'forever' }), ttlMs: Number.NaN, isBare: true })
}

function checkVersion(version: unknown, what: string): string | number {
  if (version === undefined) return 1
  if (isName(version)) return version
  if (typeof version === 'number' && Number.isFinite(version)) return version
  return refuse(what, 'a number or a short text', version, 'Raise it when the shape of the values changes.')
}

function checkShare(share: unknown, what: string, advice: string): number {
  if (typeof share === 'number' && share >= 0 && share <= 1) return share
  return refuse(what, 'a number from 0 to 1', share, advice)
}

function checkEagerness(eagerness: unknown, what: string): number {
  if (eagerness === undefined || typeof eagerness === 'boolean') return eagerness === true ? 1 : 0
  if (typeof eagerness === 'number' && eagerness >= 0 && eagerness <= 100) return eagerness
  return refuse(what, 'true, false or a number from 0 to 100', eagerness, 'true is 1; 2 begins twice as early.')
}

function checkLoadMany({ load, loadMany }: CacheOptions<never, never>, what: string): LoadMany | undefined {
  const advice = 'It gets keys and answers with one result for each.'
  if (loadMany === undefined || load !== undefined) return checkFunction(loadMany, what, advice) as LoadMany | undefined
  return refuse(what, 'given together with load', loadMany, 'load is for a key that is asked for alone.')
}

function checkValueBytes(bytes: unknown, what: string): number {
  const max = byteCount(bytes ?? '1mb', what)
  if (max <= VALUE_BYTES_MAX) return max
  return refuse(what, `at most ${VALUE_BYTES_MAX} bytes`, bytes, 'Cache where the large thing lies, not the thing.')
}

function checkWhole(value: unknown, what: string, advice: string): number {
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= WHOLE_MAX) return value as number
  return refuse(what, `a whole number from 1 to ${WHOLE_MAX}`, value, advice)
}

function checkBreaker(breaker: unknown, what: string): Pick<CacheDefinition, 'breakerFailures' | 'breakerOpenMs'> {
  if (breaker === undefined || breaker === false) return { breakerFailures: 0, breakerOpenMs: 0 }
  if (breaker !== true && (typeof breaker !== 'object' || breaker === null))
    return refuse(what, 'true, false or { failures, openFor }', breaker, "true is { failures: 10, openFor: '1s' }.")
  const given: { failures?: unknown; openFor?: unknown } = breaker === true ? {} : breaker
  checkNames(given, BREAKER_OPTIONS, what)
  return {
    breakerFailures: checkWhole(given.failures ?? 10, `failures of ${what}`, '10 is the default.'),
    breakerOpenMs: timerMs(given.openFor ?? '1s', `openFor of ${what}`)
  }
}

function checkEviction(eviction: unknown, what: string): EvictionName {
  if (eviction === undefined) return 'lru'
  const known = EVICTION_NAMES.find(name => name === eviction)
  if (known !== undefined) return known
  return refuse(what, `one of ${EVICTION_NAMES.join(', ')}`, eviction, "'lfu' keeps what is used often through a scan.")
}

function checkCopies(
  { backups = 1, backupAcks = 0 }: Pick<CounterOptions, 'backups' | 'backupAcks'>,
  what: (option: string) => string
): Pick<CacheDefinition, 'backups' | 'backupAcks'> {
  if (!(Number.isInteger(backups) && backups >= 0 && backups <= BACKUPS_MAX)) {
    return refuse(
      what('backups'),
      `a whole number from 0 to ${BACKUPS_MAX}`,
      backups,
      '1 survives the death of one member.'
    )
  }
  return { backups, backupAcks: acksOf(backupAcks, backups, what('backupAcks')) }
}

function checkNear(near: unknown, what: string): CacheDefinition['near'] {
  if (near === false) return undefined
  if (near === undefined || near === 'hot') return FOR_HOT
  if (typeof near !== 'object' || near === null)
    return refuse(what, "false, 'hot' or { maxEntries, maxBytes, ttl }", near, 'All three have defaults: write {}.')
  checkNames(near, NEAR_OPTIONS, what)
  const { maxEntries = 10_000, maxBytes = '32mb', ttl = '5s' } = near as NearOptions
  return Object.freeze({
    maxEntries: checkWhole(maxEntries, `maxEntries in ${what}`, '10,000 is the default.'),
    maxBytes: byteCount(maxBytes, `maxBytes in ${what}`),
    ttlMs: durationMs(ttl, `ttl in ${what}`),
    isForHot: false
  })
}

function checkValues({ near, values }: CacheOptions<never, never>, what: string): boolean {
  if (values === undefined) return typeof near === 'object'
  if (values === 'copy' || values === 'frozen') return values === 'frozen'
  return refuse(what, "'copy' or 'frozen'", values, "'frozen' values can be shared, and cost no decoding near.")
}

function checkMerge(merge: unknown, what: string): CacheDefinition['merge'] {
  if (merge === undefined || merge === 'latest') return undefined
  if (typeof merge === 'function') return merge as CacheDefinition['merge']
  return refuse(what, "'latest' or a function of two entries", merge, 'Write (a, b) => a.value + b.value.')
}

function checkCodec(codec: unknown, what: string): CacheDefinition['codec'] {
  if (codec === undefined) return defaultCodec
  const { encode, decode } = (typeof codec === 'object' && codec !== null ? codec : {}) as Partial<UserCodec>
  if (typeof encode === 'function' && typeof decode === 'function') return customCodec(codec as UserCodec)
  return refuse(what, 'an object with encode and decode', codec, 'encode gives a Uint8Array, decode takes it.')
}

function checkExists(exists: unknown, what: string): Pick<CacheDefinition, 'existsKeys' | 'existsFalsePositives'> {
  if (exists === undefined) return { existsKeys: 0, existsFalsePositives: 0 }
  checkNames(exists, EXISTS_OPTIONS, what)
  const { keys, falsePositives = 0.01 } = exists as { keys?: unknown; falsePositives?: unknown }
  if (!(typeof keys === 'number' && Number.isInteger(keys) && keys > 0))
    return refuse(`keys of ${what}`, 'a whole number above 0', keys, 'Say about how many keys exist.')
  if (!(typeof falsePositives === 'number' && falsePositives >= 1e-6 && falsePositives <= 0.5))
    return refuse(`falsePositives of ${what}`, 'a number from 0.000001 to 0.5', falsePositives, '0.01 is one in 100.')
  if (geometryFor(keys, falsePositives).bits > BITS_MAX) {
    const advice = 'A hundred million at 0.01 are 120 MB, in every member.'
    return refuse(`keys of ${what}`, 'few enough for a filter of 128 MiB', keys, advice)
  }
  return { existsKeys: keys, existsFalsePositives: falsePositives }
}

function checkFunction(fn: unknown, what: string, advice: string): unknown {
  if (fn === undefined || typeof fn === 'function') return fn
  return refuse(what, 'a function', fn, advice)
}

function checkBehind({ store, writeBehind }: CacheOptions<never, never>, cache: string): BehindTerms | undefined {
  const what = `writeBehind of cache '${cache}'`
  if (writeBehind === undefined || writeBehind === false) return undefined
  if (writeBehind !== true && (typeof writeBehind !== 'object' || writeBehind === null))
    return refuse(what, 'true, false or an object', writeBehind, "Write { writeBehind: { delay: '500ms' } }.")
  const terms = writeBehind === true ? {} : writeBehind
  checkNames(terms, BEHIND_OPTIONS, what)
  if (store === undefined)
    return refuse(what, 'a store beside it', undefined, 'Give { store: (key, value) => db.save(key, value) } too.')
  return Object.freeze({
    delayMs: terms.delay === 0 ? 0 : timerMs(terms.delay ?? '500ms', `delay in ${what}`),
    pendingMax: checkCount(terms.maxPending ?? 10_000, `maxPending in ${what}`),
    pendingBytesMax: byteCount(terms.maxPendingBytes ?? '64mb', `maxPendingBytes in ${what}`),
    atOnce: checkCount(terms.concurrency ?? 8, `concurrency in ${what}`),
    retryForMs: durationMs(terms.retryFor ?? '5m', `retryFor in ${what}`, 'zero')
  })
}

function checkCount(count: unknown, what: string): number {
  if (typeof count === 'number' && Number.isSafeInteger(count) && count > 0) return count
  return refuse(what, 'a whole number above 0', count, 'It is a bound, not a wish.')
}
