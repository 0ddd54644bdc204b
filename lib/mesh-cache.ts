/**
 * A cache at work. Each method is a story of named steps: check what came in, make the key, ask the router, decode for
 * this caller alone. No mechanism lives here.
 *
 * Every caller gets a private copy, on every path and also in the process that loaded: whoever changes what it got
 * changes nothing for anybody else.
 */
import { unlessAborted } from './base/abort.ts'
import { got, MeshError } from './base/errors.ts'
import { type Duration, ttlMs } from './base/units.ts'
import { allOrPartial, inBatches } from './batches.ts'
import type { Cache, Entry, Version } from './cache.ts'
import {
  type CallName,
  type CallOptions,
  changeTimeoutMs,
  checkCall,
  entriesOf,
  type GetOptions,
  keepMs,
  ownTimeoutMs,
  type PrefixOptions,
  prefixOf,
  type SetOptions
} from './calls.ts'
import { decodeKey, encodeKey, type Key } from './codec/keys.ts'
import type { CacheDefinition, LoadContext, May } from './fill/definition.ts'
import type { Stats } from './observe/stats.ts'
import type { Clock } from './ports/clock.ts'
import type { Detach } from './ports/context.ts'
import type { Random } from './ports/random.ts'
import type { ChangeOf } from './rpc/messages.ts'
import type { Changes } from './serving/changes.ts'
import type { Found, ManyReads } from './serving/many-reads.ts'
import type { Patience, Reads } from './serving/reads.ts'
import type { Answer, ReadAsk, Router, Stored } from './serving/router.ts'
import type { Surveys } from './serving/surveys.ts'
import { type MeshClock, parseVersion, versionText } from './store/version.ts'
import { updating } from './update.ts'

export interface CacheDeps {
  readonly router: Router
  readonly reads: Reads
  readonly many: ManyReads
  readonly changes: Changes
  readonly surveys: Surveys
  readonly clock: Clock
  readonly random: Random
  readonly meshClock: MeshClock
  readonly stats: Stats
  readonly detach: Detach
  readonly timeoutMs: number
  /** What is known of the cache now: a loader may be replaced while the handle lives. */
  readonly definition: () => CacheDefinition
  /** Throws when this member has left. */
  readonly checkOpen: () => void
}

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
    const definition = this.#enter('get', options)
    options?.signal?.throwIfAborted()
    const encodedKey = encodeKey(key, this.name)
    const answer =
      this.#deps.router.readHere(definition.namespace, encodedKey) ??
      (await this.#read(definition, key, encodedKey, this.#registered(definition, key, options), options))
    return this.#valueOf(definition, key, answer)
  }

  async getMany(keys: readonly Key[], options?: GetOptions): Promise<unknown[]> {
    const definition = this.#enter('getMany', options)
    const encodedKeys = this.#encodeKeys(keys, 'getMany')
    const alone = (place: number): ReadAsk => {
      const key = keys[place] as Key
      return this.#askFor(definition, key, encodedKeys[place] as string, this.#registered(definition, key, options))
    }
    const loads = definition.load !== undefined && options?.load !== false
    const found = await this.#deps.many.read({ definition, encodedKeys, loads, alone }, patienceOf(options))
    const settled = found.map((one, place) => this.#settledOf(definition, keys[place] as Key, one))
    return allOrPartial(settled, this.name)
  }

  async getEntry(key: Key, options?: GetOptions): Promise<Entry<unknown> | undefined> {
    const definition = this.#enter('getEntry', options)
    return this.#entry(definition, key, this.#registered(definition, key, options), options)
  }

  async has(key: Key, options?: CallOptions): Promise<boolean> {
    const definition = this.#enter('has', options)
    const answer = await this.#read(definition, key, encodeKey(key, this.name), STORED, options)
    return answer !== undefined && !answer.negative
  }

  async getOrSet<R>(key: Key, load: (context: LoadContext) => May<R>, options?: SetOptions & GetOptions): Promise<R> {
    const definition = this.#enter('getOrSet', options)
    this.#checkFunction(load, 'the loader of getOrSet', 'cache.getOrSet(key, () => value)')
    const own: Terms = { mode: 'lease', load, loadTtlMs: keepMs(definition, options) }
    const terms = options?.load === false ? STORED : own
    return this.#valueOf(
      definition,
      key,
      await this.#read(definition, key, encodeKey(key, this.name), terms, options)
    ) as R
  }

  async set(key: Key, value: unknown, options?: SetOptions): Promise<Version> {
    const definition = this.#enter('set', options)
    return this.#write(definition, this.#writing(definition, key, value, options), options)
  }

  async setMany(entries: Iterable<readonly [Key, unknown, SetOptions?]>, options?: SetOptions): Promise<void> {
    const definition = this.#enter('setMany', options)
    // All are checked and encoded before the first is written: a bad one is a mistake, not a partial failure.
    const writes = entriesOf(entries, this.name).map(([key, value, own]) => {
      checkCall(own, 'set', 'cache', this.name)
      const terms = { ...options, ...own }
      return { write: this.#writing(definition, key, value, terms), terms }
    })
    const settled = await inBatches(writes, ({ write, terms }) => this.#write(definition, write, terms))
    options?.signal?.throwIfAborted()
    allOrPartial(settled, this.name)
  }

  async update(key: Key, fn: (now: unknown) => unknown, options?: SetOptions): Promise<unknown> {
    const definition = this.#enter('update', options)
    this.#checkFunction(fn, 'what update is to do', 'cache.update(key, now => next)')
    const { signal, timeout: _, ...rest } = options ?? {}
    const steps = {
      read: (o: CallOptions) => this.#entry(definition, key, STORED, o),
      compareAndSet: (expected: Version | null, next: unknown, o: CallOptions) =>
        this.#compareAndSet(definition, key, expected, next, { ...rest, ...o })
    }
    const work = updating(this.#deps, { cache: this.name, key, fn, steps, timeoutMs: ownTimeoutMs(options), signal })
    return unlessAborted(signal, work)
  }

  async compareAndSet(
    key: Key,
    expected: Version | null,
    next: unknown,
    options?: SetOptions
  ): Promise<Version | false> {
    const definition = this.#enter('compareAndSet', options)
    return this.#compareAndSet(definition, key, expected, next, options)
  }

  async touch(key: Key, ttl: Duration | 'forever', options?: CallOptions): Promise<boolean> {
    const definition = this.#enter('touch', options)
    const keptMs = ttlMs(ttl, `ttl of touch of cache '${this.name}'`)
    const { namespace } = definition
    const touch = { type: 'touch', namespace, key: encodeKey(key, this.name), ttlMs: keptMs } as const
    this.#deps.stats.touchesTotal++
    return (await this.#change(options, ms => this.#deps.changes.touch(definition, touch, ms))).existed
  }

  async delete(key: Key, options?: CallOptions): Promise<boolean> {
    return this.#delete(this.#enter('delete', options), key, options)
  }

  async deleteMany(keys: readonly Key[], options?: CallOptions): Promise<number> {
    const definition = this.#enter('deleteMany', options)
    this.#encodeKeys(keys, 'deleteMany')
    const settled = await inBatches(keys, key => this.#delete(definition, key, options))
    options?.signal?.throwIfAborted()
    return allOrPartial(settled, this.name).filter(Boolean).length
  }

  async clear(options?: PrefixOptions): Promise<void> {
    const definition = this.#enter('clear', options)
    const prefix = prefixOf(options, this.name)
    this.#deps.stats.clearsTotal++
    await this.#change(options, ms => this.#deps.surveys.clear(definition, prefix, ms))
  }

  /** Checked here and not when it is begun: a mistake must not wait for somebody to iterate. */
  keys(options?: PrefixOptions): AsyncIterable<Key> {
    const definition = this.#enter('keys', options)
    const timeoutMs = ownTimeoutMs(options) ?? this.#deps.timeoutMs
    return this.#keys(definition, prefixOf(options, this.name), timeoutMs, options?.signal)
  }

  async *#keys(
    definition: CacheDefinition,
    prefix: string,
    timeoutMs: number,
    signal: AbortSignal | undefined
  ): AsyncGenerator<Key, void, void> {
    const { surveys, stats, checkOpen } = this.#deps
    const ask = (work: (timeoutMs: number) => Promise<readonly string[]>): Promise<readonly string[]> => {
      checkOpen()
      stats.keyPagesTotal++
      return unlessAborted(signal, () => work(timeoutMs))
    }
    for await (const page of surveys.pages(definition, prefix, ask)) for (const key of page) yield decodeKey(key)
  }

  #enter(call: CallName, options: unknown): CacheDefinition {
    this.#deps.checkOpen()
    checkCall(options, call, 'cache', this.name)
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

  async #entry(
    definition: CacheDefinition,
    key: Key,
    terms: Terms,
    options: CallOptions | undefined
  ): Promise<Entry<unknown> | undefined> {
    const answer = await this.#read(definition, key, encodeKey(key, this.name), terms, options)
    if (answer === undefined || answer.negative) return undefined
    return {
      value: this.#valueOf(definition, key, answer),
      version: versionText(answer) as Version,
      expiresAt: Math.round(this.#deps.meshClock.wallOf(answer.expiresAtMs)),
      stale: false,
      tags: [],
      from: answer.from
    }
  }

  #valueOf(definition: CacheDefinition, key: Key, answer: Stored | undefined): unknown {
    return answer === undefined
      ? undefined
      : definition.codec.decode(answer.bytes, { cache: this.name, key: String(key) })
  }

  #settledOf(definition: CacheDefinition, key: Key, found: Found): PromiseSettledResult<unknown> {
    try {
      if (found !== undefined && 'error' in found) throw found.error
      return { status: 'fulfilled', value: this.#valueOf(definition, key, found) }
    } catch (reason) {
      return { status: 'rejected', reason }
    }
  }

  #writing(definition: CacheDefinition, key: Key, value: unknown, options: SetOptions | undefined): ChangeOf<'write'> {
    const { namespace } = definition
    const encoded = encodeKey(key, this.name)
    const bytes = this.#bytesOf(definition, key, value)
    return { type: 'write', namespace, key: encoded, bytes, ttlMs: keepMs(definition, options) }
  }

  async #write(
    definition: CacheDefinition,
    write: ChangeOf<'write'>,
    options: SetOptions | undefined
  ): Promise<Version> {
    this.#deps.stats.writesTotal++
    const version = await this.#change(options, ms => this.#deps.changes.write(definition, write, ms))
    return versionText(version) as Version
  }

  async #compareAndSet(
    definition: CacheDefinition,
    key: Key,
    expected: Version | null,
    next: unknown,
    options: SetOptions | undefined
  ): Promise<Version | false> {
    const { stamp: expectedStamp, writer: expectedWriter } = this.#expected(expected)
    const keepTtl = expected !== null && options?.ttl === undefined
    const { namespace } = definition
    const compare = {
      type: 'compareAndSet',
      namespace,
      key: encodeKey(key, this.name),
      expectedStamp,
      expectedWriter,
      bytes: this.#bytesOf(definition, key, next),
      ttlMs: keepTtl ? 0 : keepMs(definition, options),
      keepTtl
    } as const
    const { changes, stats } = this.#deps
    stats.comparesTotal++
    const compared = await this.#change(options, ms => changes.compareAndSet(definition, compare, ms))
    if (!compared.done) stats.comparesRefusedTotal++
    return compared.done && (versionText(compared) as Version)
  }

  async #delete(definition: CacheDefinition, key: Key, options: CallOptions | undefined): Promise<boolean> {
    const remove = { type: 'remove', namespace: definition.namespace, key: encodeKey(key, this.name) } as const
    this.#deps.stats.deletesTotal++
    return (await this.#change(options, ms => this.#deps.changes.remove(definition, remove, ms))).existed
  }

  #bytesOf({ codec, valueBytesMax }: CacheDefinition, key: Key, value: unknown): Uint8Array {
    const bytes = codec.encode(value, { cache: this.name, key: String(key) })
    if (bytes.length <= valueBytesMax) return bytes
    throw new MeshError(
      'ERR_MESH_VALUE_TOO_LARGE',
      `Expected a value of at most ${valueBytesMax} bytes, got ${bytes.length}. Raise maxValueBytes of cache '${this.name}', or cache something smaller.`,
      { cache: this.name, key: String(key) }
    )
  }

  #expected(version: unknown): { stamp: number; writer: string } {
    if (version === null) return { stamp: 0, writer: '' }
    const parsed = parseVersion(version)
    if (parsed !== undefined) return parsed
    throw new MeshError(
      'ERR_MESH_OPTION',
      `Expected the version for compareAndSet of cache '${this.name}' to be one that getEntry or set has given, or null for "only if there is no value", got ${got(version)}.`,
      { cache: this.name }
    )
  }

  /** All are checked before the first is asked for: a bad one among them is a mistake, not a partial failure. */
  #encodeKeys(keys: unknown, call: 'getMany' | 'deleteMany'): string[] {
    if (Array.isArray(keys)) return keys.map(key => encodeKey(key, this.name))
    throw new MeshError('ERR_MESH_KEY', `Expected the keys of ${call} to be an array, got ${got(keys)}.`, {
      cache: this.name
    })
  }

  #checkFunction(fn: unknown, what: string, line: string): void {
    if (typeof fn === 'function') return
    throw new MeshError('ERR_MESH_OPTION', `Expected ${what} to be a function, got ${got(fn)}. Write ${line}.`, {
      cache: this.name
    })
  }

  /** The caller's signal ends its wait; the change itself may still be made, and its deadline is its own. */
  #change<T>(options: CallOptions | undefined, work: (timeoutMs: number) => Promise<T>): Promise<T> {
    const timeoutMs = ownTimeoutMs(options) ?? changeTimeoutMs(this.#deps.timeoutMs)
    return unlessAborted(options?.signal, () => work(timeoutMs))
  }
}

/** Of a call that has neither a deadline nor a signal of its own. */
const ENDLESS: Patience = { signal: undefined, timeoutMs: undefined }

function patienceOf(options: CallOptions | undefined): Patience {
  return options === undefined ? ENDLESS : { signal: options.signal, timeoutMs: ownTimeoutMs(options) }
}
