/**
 * What a call of a cache or counter may be given besides its own arguments, and the check of that at the door. A
 * number in the place of options is what other libraries take for a TTL: it is refused with the line to write instead.
 */
import { unlessAborted } from './base/abort.ts'
import { got, MeshError } from './base/errors.ts'
import { type Duration, ttlMs } from './base/units.ts'
import { encodeKey, encodePrefix, type Key, type KeyPart } from './codec/keys.ts'
import { acksOf, type BackupAcks, checkNames, checkSignal, timerMs } from './door.ts'
import { type CacheDefinition, keepTermsOf, tagsOf } from './fill/definition.ts'
import type { KeepTerms } from './store/keeping.ts'
import { parseVersion } from './store/version.ts'

export interface CallOptions {
  /** Ends the wait of this call alone; it rejects with the signal's reason. A change may still be made. */
  signal?: AbortSignal | undefined
  /**
   * Bounds this very call, a load it waits for included. Default: the mesh's `timeout` for each call to a member; a
   * change, which is sent again when nobody answers, has two and a half times that for all of them.
   */
  timeout?: Duration | undefined
}

export interface GetOptions extends CallOptions {
  /** False answers with what is cached and never loads. Default true. */
  load?: boolean | undefined
  /** False never answers with a value past its TTL, whatever the cache allows. Default true. */
  allowStale?: boolean | undefined
  /**
   * `near` answers from a copy in this process, where the cache keeps those. `owner` asks the member that decides for the
   * key, and a backup while that does not answer. `quorum` asks all that hold it and answers with the latest that a
   * majority of them knows of. Default `near`.
   */
  from?: ReadFrom | undefined
}

const READ_FROM = ['near', 'owner', 'quorum'] as const
type ReadFrom = (typeof READ_FROM)[number]

/** How a value is kept that a call brings. */
export interface KeepOptions extends CallOptions {
  /** How long this value is kept, exactly. Default: the cache's `ttl`. */
  ttl?: Duration | 'forever' | undefined
  /** Names under which values are invalidated together. Default: what the cache's `tags` finds in the value. */
  tags?: readonly string[] | undefined
}

export interface AckOptions extends CallOptions {
  /**
   * How many backups have it before this call resolves, beyond the owner: a number up to the cache's `backups`, 'all'
   * that are here now, or 'quorum'. With too few it rejects with ERR_MESH_BACKUPS, and the owner has it all the same.
   * Default: the cache's `backupAcks`.
   */
  backupAcks?: BackupAcks | undefined
}

export interface SetOptions extends KeepOptions, AckOptions {}

export interface DeleteOptions extends CallOptions {
  /**
   * True: stale from now on, and not gone. Where the cache has `staleWhileRevalidate` or `staleIfError`, these begin at
   * this moment; where it has neither, the value is gone. A cache's `store` is not told. Default false.
   */
  soft?: boolean | undefined
}

export interface InvalidateOptions extends DeleteOptions {
  /**
   * The version of the row that has changed: a whole number that grows with each change of the row, as number, bigint or
   * text, or the place of the change in PostgreSQL's log (an LSN). Told again, or of an older one, nothing is done.
   * Without one each call drops what is there.
   */
  version?: number | bigint | string | undefined
}

export interface WarmOptions extends CallOptions {
  /** Keys looked at in a second. Default 1000. */
  rate?: number | undefined
}

export interface PrefixOptions extends CallOptions {
  /**
   * The beginning of text keys, or the first parts of array keys, each part whole. Leave it out for all keys;
   * undefined is refused, because it is more likely a name that got lost.
   */
  prefix?: string | readonly KeyPart[]
}

export interface ClearOptions extends PrefixOptions {
  /** True: stale from now on, and not gone, as with `delete`, key by key. Default false. */
  soft?: boolean | undefined
}

const CALL: ReadonlySet<string> = new Set(['signal', 'timeout'])
const GET: ReadonlySet<string> = new Set([...CALL, 'load', 'allowStale', 'from'])
const ACK: ReadonlySet<string> = new Set([...CALL, 'backupAcks'])
const KEEP: ReadonlySet<string> = new Set([...CALL, 'ttl', 'tags'])
const SET: ReadonlySet<string> = new Set([...KEEP, ...ACK])
const DELETE: ReadonlySet<string> = new Set([...CALL, 'soft'])
const INVALIDATE: ReadonlySet<string> = new Set([...DELETE, 'version'])
const WARM: ReadonlySet<string> = new Set([...CALL, 'rate'])
const PREFIX: ReadonlySet<string> = new Set([...CALL, 'prefix'])
const CLEAR: ReadonlySet<string> = new Set([...PREFIX, 'soft'])

/** The arguments that stand before the options, and the options there are. */
const SHAPES = {
  get: { before: ['key'], options: GET },
  peek: { before: ['key'], options: CALL },
  getMany: { before: ['keys'], options: GET },
  getEntry: { before: ['key'], options: GET },
  has: { before: ['key'], options: CALL },
  getOrSet: { before: ['key', 'load'], options: new Set([...GET, ...KEEP]) },
  getOrSetMany: { before: ['keys', 'load'], options: new Set([...GET, ...KEEP]) },
  refresh: { before: ['key'], options: CALL },
  warm: { before: ['keys'], options: WARM },
  set: { before: ['key', 'value'], options: SET },
  setMany: { before: ['entries'], options: SET },
  update: { before: ['key', 'fn'], options: SET },
  compareAndSet: { before: ['key', 'version', 'next'], options: SET },
  explain: { before: ['key'], options: CALL },
  touch: { before: ['key', 'ttl'], options: ACK },
  delete: { before: ['key'], options: DELETE },
  deleteMany: { before: ['keys'], options: DELETE },
  invalidate: { before: ['key'], options: INVALIDATE },
  clear: { before: [], options: CLEAR },
  invalidateTag: { before: ['tag'], options: DELETE },
  keys: { before: [], options: PREFIX },
  flush: { before: [], options: ACK },
  add: { before: ['key', 'by'], options: ACK },
  reset: { before: ['key'], options: CALL },
  'exists.fill': { before: ['keys'], options: CALL },
  'exists.add': { before: ['keys'], options: CALL },
  'exists.clear': { before: [], options: CALL }
} as const satisfies Record<string, { before: readonly string[]; options: ReadonlySet<string> }>

const PLACES = ['first', 'second', 'third', 'fourth'] as const

export type CallName = keyof typeof SHAPES
/** Of the mesh are the calls that go through all caches, and have no name. */
export type Kind = 'cache' | 'counter' | 'mesh'

interface AnyOptions extends GetOptions, SetOptions, DeleteOptions {}

export function checkCall(given: unknown, call: CallName, kind: Kind, name: string): void {
  if (given === undefined) return
  if (typeof given !== 'object' || given === null) throw notOptions(given, call, kind, name)
  const where = kind === 'mesh' ? `${call} of the mesh` : `${call} of ${kind} '${name}'`
  if (LOADED.has(call) && 'backupAcks' in given) throw notWritten(where, name)
  checkNames(given, SHAPES[call].options, where)
  const options = given as AnyOptions
  checkSignal(options.signal, where)
  for (const name of ['load', 'allowStale', 'soft'] as const) {
    const value = options[name]
    if (value === undefined || typeof value === 'boolean') continue
    throw new MeshError('ERR_MESH_OPTION', `Expected ${name} of ${where} to be true or false, got ${got(value)}.`)
  }
  if (options.from === undefined || READ_FROM.includes(options.from)) return
  throw new MeshError(
    'ERR_MESH_OPTION',
    `Expected from of ${where} to be 'near', 'owner' or 'quorum', got ${got(options.from)}.`,
    { cache: name }
  )
}

/** What these bring is loaded, and not written. */
const LOADED: ReadonlySet<CallName> = new Set(['getOrSet', 'getOrSetMany'])

function notWritten(where: string, cache: string): MeshError {
  return new MeshError(
    'ERR_MESH_OPTION',
    `backupAcks is for writes, and what ${where} brings is loaded: it is copied to the backups, and nobody waits for that. Leave it out, or write the value with set.`,
    { cache }
  )
}

function notOptions(given: unknown, call: CallName, kind: Kind, name: string): MeshError {
  const { before, options } = SHAPES[call]
  const option = options.has('ttl') ? 'ttl' : 'timeout'
  const line = `${kind}.${call}(${[...before, `{ ${option}: ${typeof given === 'number' ? given : "'5m'"} }`].join(', ')})`
  return new MeshError(
    'ERR_MESH_OPTION',
    `Expected the ${PLACES[before.length]} argument of ${call} to be an object, got ${got(given)}. Write ${line}; a number is milliseconds.`,
    kind === 'mesh' ? {} : { cache: name }
  )
}

/** The bound the caller has set itself. */
export function ownTimeoutMs(options: CallOptions | undefined): number | undefined {
  return options?.timeout === undefined ? undefined : timerMs(options.timeout, 'timeout')
}

/** How many copies a change makes of its record, and how many it waits for. */
export function copyingOf(
  { name, backups, backupAcks }: CacheDefinition,
  kind: Kind,
  options: AckOptions | undefined
): Pick<CacheDefinition, 'backups' | 'backupAcks'> {
  if (options?.backupAcks === undefined) return { backups, backupAcks }
  return { backups, backupAcks: acksOf(options.backupAcks, backups, `backupAcks of ${kind} '${name}'`) }
}

export function keepMs({ name, ttlMs: declaredMs }: CacheDefinition, options: KeepOptions | undefined): number {
  if (options?.ttl !== undefined) return ttlMs(options.ttl, `ttl of cache '${name}'`)
  if (!Number.isNaN(declaredMs)) return declaredMs
  throw new MeshError(
    'ERR_MESH_OPTION',
    `The cache '${name}' is not declared in this process, so its ttl is not known here. Declare it with a ttl, or give one to this call.`,
    { cache: name }
  )
}

/** How a value that a call writes is kept beyond its TTL. */
export function keepOf(
  definition: CacheDefinition,
  key: Key,
  value: unknown,
  options: KeepOptions | undefined
): KeepTerms | undefined {
  return keepTermsOf(definition, tagsOf(definition, key, value, options?.tags))
}

/** Encoded; empty when every key is meant. */
export function prefixOf(options: PrefixOptions | undefined, cache: string): string {
  return options === undefined || !('prefix' in options) ? '' : encodePrefix(options.prefix, cache)
}

/**
 * A change outlasts the detection of a dead owner (PROTOCOL Q3): 5 s where a call has 2. One that is stored before it
 * returns asks the owner twice, with the origin in between.
 */
export function changeTimeoutMs(timeoutMs: number, storing?: CacheDefinition): number {
  const changeMs = timeoutMs * 2.5
  if (storing?.store === undefined || storing.writeBehind !== undefined) return changeMs
  return 2 * changeMs + storing.storeTimeoutMs
}

/** The caller's signal ends its wait; the change itself may still be made, and its deadline is its own. */
export function changeWithin<T>(
  meshTimeoutMs: number,
  options: CallOptions | undefined,
  work: (timeoutMs: number) => Promise<T>,
  storing?: CacheDefinition
): Promise<T> {
  const timeoutMs = ownTimeoutMs(options) ?? changeTimeoutMs(meshTimeoutMs, storing)
  return unlessAborted(options?.signal, () => work(timeoutMs))
}

/** What setMany was given, as a list of well-formed entries. */
export function entriesOf(
  entries: Iterable<readonly [Key, unknown, SetOptions?]>,
  cache: string
): (readonly [Key, unknown, SetOptions?])[] {
  const given: unknown = entries
  const isIterable = typeof given === 'object' && given !== null && Symbol.iterator in given
  const list = isIterable ? [...entries] : undefined
  const wrong = list?.find(entry => !Array.isArray(entry) || entry.length < 2 || entry.length > 3)
  if (list !== undefined && wrong === undefined) return list
  throw new MeshError(
    'ERR_MESH_OPTION',
    `Expected the entries of setMany of cache '${cache}' to be [key, value] or [key, value, { ttl }] each, got ${got(wrong ?? entries)}. Write cache.setMany([['a', 1], ['b', 2]]).`,
    { cache }
  )
}

/** All are checked before the first is asked for: a bad one among them is a mistake, not a partial failure. */
export function encodeKeys(keys: unknown, call: CallName, cache: string): string[] {
  if (Array.isArray(keys)) return keys.map(key => encodeKey(key, cache))
  throw new MeshError('ERR_MESH_KEY', `Expected the keys of ${call} to be an array, got ${got(keys)}.`, { cache })
}

export function checkFunction(fn: unknown, what: string, line: string, cache: string): void {
  if (typeof fn === 'function') return
  throw new MeshError('ERR_MESH_OPTION', `Expected ${what} to be a function, got ${got(fn)}. Write ${line}.`, { cache })
}

/** The version that must be there; a stamp of 0 is "no value". */
export function expectedVersion(version: unknown, cache: string): { stamp: number; writer: string } {
  if (version === null) return { stamp: 0, writer: '' }
  const parsed = parseVersion(version)
  if (parsed !== undefined) return parsed
  throw new MeshError(
    'ERR_MESH_OPTION',
    `Expected the version for compareAndSet of cache '${cache}' to be one that getEntry or set has given, or null for "only if there is no value", got ${got(version)}.`,
    { cache }
  )
}
