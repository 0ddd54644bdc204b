/**
 * A cache as the application sees it. Each method is a story of named steps: check what came in, make the key, ask the
 * router, decode for this caller alone. No mechanism lives here.
 *
 * Every caller gets a private copy, on every path and also in the process that loaded: whoever changes what it got
 * changes nothing for anybody else.
 */
import { unlessAborted } from './base/abort.ts'
import { got, MeshError, PartialError } from './base/errors.ts'
import { type Duration, ttlMs } from './base/units.ts'
import { encodeKey, type Key } from './codec/keys.ts'
import type { CacheDefinition, LoadContext, May } from './fill/definition.ts'
import type { Stats } from './observe/stats.ts'
import { checkNames, checkSignal, timerMs } from './options.ts'
import type { Detach } from './ports/context.ts'
import type { Found, ManyReads } from './serving/many-reads.ts'
import type { Patience, Reads } from './serving/reads.ts'
import type { Answer, ReadAsk, Router } from './serving/router.ts'
import { versionText } from './store/version.ts'

/** Opaque, in a total order as text, and fit for an ETag. */
export type Version = string & { readonly __version: unique symbol }

export interface CallOptions {
  /** Ends the wait of this call alone; it rejects with the signal's reason. */
  signal?: AbortSignal | undefined
  /** Bounds this very call, a load it waits for included. Default: the mesh's `timeout` for each call to a member. */
  timeout?: Duration | undefined
}

export interface GetOptions extends CallOptions {
  /** False answers with what is cached and never loads. Default true. */
  load?: boolean | undefined
}

export interface SetOptions extends CallOptions {
  /** How long this value is kept, exactly. Default: the cache's `ttl`. */
  ttl?: Duration | 'forever' | undefined
}

export interface Cache<V, K extends Key = string> {
  readonly name: string
  /** The value, or undefined when there is none. */
  get(key: K, options?: GetOptions): Promise<V | undefined>
  /** In the order of the keys. */
  getMany(keys: readonly K[], options?: GetOptions): Promise<(V | undefined)[]>
  /** Whether there is a value; never loads. */
  has(key: K, options?: CallOptions): Promise<boolean>
  /**
   * The value, or what `load` makes of it: once in the whole mesh, in the process of the first that asked, with its
   * request context.
   */
  getOrSet<R extends V | undefined>(
    key: K,
    load: (context: LoadContext) => May<R>,
    options?: SetOptions & GetOptions
  ): Promise<V | Extract<R, undefined>>
  /** Replaces the value and its TTL. */
  set(key: K, value: V, options?: SetOptions): Promise<Version>
  /** True when there was a value. Fences loads that run, whether there was one or not. */
  delete(key: K, options?: CallOptions): Promise<boolean>
}

/** A cache that loads what it lacks: `get` answers with what the loader returns. */
export interface LoadingCache<R, K extends Key = string>
  extends Omit<Cache<Exclude<R, undefined>, K>, 'get' | 'getMany'> {
  get(key: K, options?: GetOptions & { load?: true }): Promise<R>
  get(key: K, options: GetOptions): Promise<R | undefined>
  getMany(keys: readonly K[], options?: GetOptions & { load?: true }): Promise<R[]>
  getMany(keys: readonly K[], options: GetOptions): Promise<(R | undefined)[]>
}

export interface CacheDeps {
  readonly router: Router
  readonly reads: Reads
  readonly many: ManyReads
  readonly stats: Stats
  readonly detach: Detach
  readonly timeoutMs: number
  /** What is known of the cache now: a loader may be replaced while the handle lives. */
  readonly definition: () => CacheDefinition
  /** Throws when this member has left. */
  readonly checkOpen: () => void
}

const CALL: ReadonlySet<string> = new Set(['signal', 'timeout'])
const GET: ReadonlySet<string> = new Set([...CALL, 'load'])
const SET: ReadonlySet<string> = new Set([...CALL, 'ttl'])
const GET_OR_SET: ReadonlySet<string> = new Set([...GET, ...SET])

type AnyOptions = CallOptions & { load?: boolean | undefined; ttl?: Duration | 'forever' | undefined }
type Terms = Pick<ReadAsk, 'mode' | 'load' | 'loadTtlMs'>

/** Answers with what is stored and loads nothing. */
const STORED: Terms = { mode: 'stored', load: undefined, loadTtlMs: 0 }

export class MeshCache implements Cache<unknown, Key> {
  readonly name: string
  readonly #deps: CacheDeps

  constructor(name: string, deps: CacheDeps) {
    this.name = name
    this.#deps = deps
  }

  async get(key: Key, options?: GetOptions): Promise<unknown> {
    const definition = this.#enter(options, GET, 'get')
    options?.signal?.throwIfAborted()
    const encodedKey = encodeKey(key, this.name)
    const answer =
      this.#deps.router.readHere(definition.namespace, encodedKey) ??
      (await this.#read(definition, key, encodedKey, this.#registered(definition, key, options), options))
    return this.#valueOf(definition, key, answer)
  }

  async getMany(keys: readonly Key[], options?: GetOptions): Promise<unknown[]> {
    const definition = this.#enter(options, GET, 'getMany')
    if (!Array.isArray(keys))
      throw new MeshError('ERR_MESH_KEY', `Expected the keys of getMany to be an array, got ${got(keys)}.`, {
        cache: this.name
      })
    // All keys are checked before the first is asked for: a bad one among them is a mistake, not a partial failure.
    const encodedKeys = keys.map(key => encodeKey(key, this.name))
    const alone = (place: number): ReadAsk => {
      const key = keys[place] as Key
      return this.#askFor(definition, key, encodedKeys[place] as string, this.#registered(definition, key, options))
    }
    const loads = definition.load !== undefined && options?.load !== false
    const found = await this.#deps.many.read({ definition, encodedKeys, loads, alone }, patienceOf(options))
    return this.#allOrPartial(definition, keys, found)
  }

  async has(key: Key, options?: CallOptions): Promise<boolean> {
    const definition = this.#enter(options, CALL, 'has')
    const answer = await this.#read(definition, key, encodeKey(key, this.name), STORED, options)
    return answer !== undefined && !answer.negative
  }

  async getOrSet<R>(key: Key, load: (context: LoadContext) => May<R>, options?: SetOptions & GetOptions): Promise<R> {
    const definition = this.#enter(options, GET_OR_SET, 'getOrSet')
    if (typeof load !== 'function') {
      throw new MeshError(
        'ERR_MESH_OPTION',
        `Expected the loader of getOrSet to be a function, got ${got(load)}. Write cache.getOrSet(key, () => value).`,
        { cache: this.name }
      )
    }
    const own: Terms = { mode: 'lease', load, loadTtlMs: this.#keepMs(definition, options) }
    const terms = options?.load === false ? STORED : own
    return this.#valueOf(
      definition,
      key,
      await this.#read(definition, key, encodeKey(key, this.name), terms, options)
    ) as R
  }

  async set(key: Key, value: unknown, options?: SetOptions): Promise<Version> {
    this.#refuseNumber(options)
    const definition = this.#enter(options, SET, 'set')
    const { namespace, codec, valueBytesMax } = definition
    const encoded = encodeKey(key, this.name)
    const bytes = codec.encode(value, { cache: this.name, key: String(key) })
    if (bytes.length > valueBytesMax) throw this.#tooLarge(key, bytes.length, valueBytesMax)
    const keepMs = this.#keepMs(definition, options)
    const write = { type: 'write', namespace, key: encoded, bytes, ttlMs: keepMs } as const
    this.#deps.stats.writesTotal++
    const version = await this.#inTime(options, timeoutMs => this.#deps.router.write(definition, write, timeoutMs))
    return versionText(version) as Version
  }

  async delete(key: Key, options?: CallOptions): Promise<boolean> {
    const definition = this.#enter(options, CALL, 'delete')
    const remove = { type: 'remove', namespace: definition.namespace, key: encodeKey(key, this.name) } as const
    this.#deps.stats.deletesTotal++
    return this.#inTime(options, timeoutMs => this.#deps.router.remove(definition, remove, timeoutMs))
  }

  #enter(options: AnyOptions | undefined, known: ReadonlySet<string>, call: string): CacheDefinition {
    this.#deps.checkOpen()
    if (options !== undefined) checkCallOptions(options, known, `${call} of cache '${this.name}'`)
    return this.#deps.definition()
  }

  /** The registered loader, outside any caller's context: the result is for everybody. */
  #registered(definition: CacheDefinition, key: Key, options: GetOptions | undefined): Terms {
    const { load, ttlMs: loadTtlMs } = definition
    if (load === undefined || options?.load === false) return STORED
    return { mode: 'load', load: context => this.#deps.detach(() => load(key, context)), loadTtlMs }
  }

  #read(
    definition: CacheDefinition,
    key: Key,
    encodedKey: string,
    terms: Terms,
    options: CallOptions | undefined
  ): Promise<Answer | undefined> {
    return this.#deps.reads.read(this.#askFor(definition, key, encodedKey, terms), patienceOf(options))
  }

  #askFor(definition: CacheDefinition, key: Key, encodedKey: string, { mode, load, loadTtlMs }: Terms): ReadAsk {
    return { definition, key, encodedKey, mode, load, loadTtlMs, timeoutMs: this.#deps.timeoutMs }
  }

  #valueOf(definition: CacheDefinition, key: Key, answer: Answer | undefined): unknown {
    return answer === undefined
      ? undefined
      : definition.codec.decode(answer.bytes, { cache: this.name, key: String(key) })
  }

  #allOrPartial(definition: CacheDefinition, keys: readonly Key[], found: readonly Found[]): unknown[] {
    const errors = new Map<number, Error>()
    const values = found.map((one, place) => {
      try {
        if (one !== undefined && 'error' in one) throw one.error
        return this.#valueOf(definition, keys[place] as Key, one)
      } catch (error) {
        errors.set(place, error as Error)
        return undefined
      }
    })
    if (errors.size === 0) return values
    throw new PartialError(
      `${errors.size} of ${keys.length} keys of cache '${this.name}' failed. See values and errors, by position.`,
      values,
      errors,
      { cache: this.name }
    )
  }

  #keepMs(definition: CacheDefinition, options: SetOptions | undefined): number {
    if (options?.ttl !== undefined) return ttlMs(options.ttl, `ttl of cache '${this.name}'`)
    if (!Number.isNaN(definition.ttlMs)) return definition.ttlMs
    throw new MeshError(
      'ERR_MESH_OPTION',
      `The cache '${this.name}' is not declared in this process, so its ttl is not known here. Declare it with a ttl, or give one to this call.`,
      { cache: this.name }
    )
  }

  #refuseNumber(options: unknown): void {
    if (options === undefined || (typeof options === 'object' && options !== null)) return
    const line =
      typeof options === 'number'
        ? `cache.set(key, value, { ttl: ${options} })`
        : "cache.set(key, value, { ttl: '5m' })"
    throw new MeshError(
      'ERR_MESH_OPTION',
      `Expected the third argument of set to be an object, got ${got(options)}. Write ${line}; a number is milliseconds.`,
      { cache: this.name }
    )
  }

  #tooLarge(key: Key, bytes: number, bytesMax: number): MeshError {
    return new MeshError(
      'ERR_MESH_VALUE_TOO_LARGE',
      `Expected a value of at most ${bytesMax} bytes, got ${bytes}. Raise maxValueBytes of cache '${this.name}', or cache something smaller.`,
      { cache: this.name, key: String(key) }
    )
  }

  /** The caller's signal ends its wait; the write itself may still happen, and its deadline is the router's. */
  async #inTime<T>(options: CallOptions | undefined, work: (timeoutMs: number) => Promise<T>): Promise<T> {
    const timeoutMs = options?.timeout === undefined ? this.#deps.timeoutMs : timerMs(options.timeout, 'timeout')
    return unlessAborted(options?.signal, () => work(timeoutMs))
  }
}

/** Of a call that has neither a deadline nor a signal of its own. */
const ENDLESS: Patience = { signal: undefined, timeoutMs: undefined }

function patienceOf(options: CallOptions | undefined): Patience {
  if (options === undefined) return ENDLESS
  const { signal, timeout } = options
  return { signal, timeoutMs: timeout === undefined ? undefined : timerMs(timeout, 'timeout') }
}

function checkCallOptions(options: AnyOptions, known: ReadonlySet<string>, where: string): void {
  checkNames(options, known, where)
  checkSignal(options.signal, where)
  if (options.load !== undefined && typeof options.load !== 'boolean') {
    throw new MeshError('ERR_MESH_OPTION', `Expected load of ${where} to be true or false, got ${got(options.load)}.`)
  }
}
