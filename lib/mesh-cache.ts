/**
 * A cache at work. Each method is a story of named steps: check what came in, make the key, ask the router, decode for
 * this caller alone. No mechanism lives here.
 *
 * Every caller gets a private copy, on every path and also in the process that loaded: whoever changes what it got
 * changes nothing for anybody else.
 */
import { unlessAborted } from './base/abort.ts'
import type { Duration } from './base/units.ts'
import { allOrPartial, inBatches, storesAtOnce } from './batches.ts'
import type { Cache, CacheEvents, Explanation } from './cache.ts'
import { CacheListeners } from './cache-events.ts'
import {
  type AckOptions,
  type CallName,
  type CallOptions,
  type ClearOptions,
  changeWithin,
  checkCall,
  checkFunction,
  type DeleteOptions,
  encodeKeys,
  entriesOf,
  type GetOptions,
  type InvalidateOptions,
  type KeepOptions,
  ownTimeoutMs,
  type PrefixOptions,
  prefixOf,
  type SetOptions,
  type WarmOptions
} from './calls.ts'
import { decodeKey, encodeKey, type Key } from './codec/keys.ts'
import { decodeTags } from './codec/tags.ts'
import { Drops } from './drops.ts'
import { MeshExists } from './exists.ts'
import { explanationOf } from './explanation.ts'
import type { CacheDefinition, Entry, LoadContext, LoadMany, May, Version } from './fill/definition.ts'
import { aloneBy } from './fill/load-batches.ts'
import type { NearCopy } from './near/near-cache.ts'
import type { Happenings } from './observe/happenings.ts'
import type { Stats } from './observe/stats.ts'
import type { Clock } from './ports/clock.ts'
import type { Detach } from './ports/context.ts'
import type { Logger } from './ports/log.ts'
import type { Random } from './ports/random.ts'
import { checkLoads, ownTerms, patienceOf, registeredTerms } from './read-terms.ts'
import type { WriteOf } from './rpc/messages.ts'
import { AtHand } from './serving/at-hand.ts'
import type { Changes } from './serving/changes.ts'
import type { Explanations } from './serving/explanations.ts'
import type { FilterChanges } from './serving/filter-changes.ts'
import type { Flushes } from './serving/flushes.ts'
import { handedOut, settledOf } from './serving/handed-out.ts'
import type { ManyAsk, ManyReads } from './serving/many-reads.ts'
import type { NearReads } from './serving/near-reads.ts'
import { type Answer, type ReadAsk, type ReadTerms, STORED } from './serving/question.ts'
import type { Reads } from './serving/reads.ts'
import type { Router } from './serving/router.ts'
import type { Surveys } from './serving/surveys.ts'
import type { Writes } from './serving/writes.ts'
import { type MeshClock, versionText } from './store/version.ts'
import { invalidateTags } from './tags.ts'
import { updating } from './update.ts'
import { type Warmed, warming, warmRate } from './warming.ts'
import { compareOf, flushAcksOf, touchOf, writeOf } from './write-terms.ts'

export interface CacheDeps {
  readonly router: Router
  readonly reads: Reads
  readonly many: ManyReads
  readonly near: NearReads
  readonly changes: Changes
  readonly writes: Writes
  readonly flushes: Flushes
  readonly surveys: Surveys
  readonly explanations: Explanations
  readonly filterChanges: FilterChanges
  readonly clock: Clock
  readonly random: Random
  readonly meshClock: MeshClock
  readonly stats: Stats
  readonly detach: Detach
  readonly log: Logger
  readonly happenings: Happenings
  readonly timeoutMs: number
  readonly ownsKeys: boolean
  /** What is known of the cache now: a loader may be replaced while the handle lives. */
  readonly definition: () => CacheDefinition
  /** Throws when this member has left. */
  readonly checkOpen: () => void
}

export class MeshCache implements Cache<unknown, Key> {
  readonly name: string
  readonly exists: MeshExists
  readonly #deps: CacheDeps
  readonly #atHand: AtHand
  readonly #listeners: CacheListeners
  readonly #drops: Drops

  constructor(name: string, deps: CacheDeps) {
    this.name = name
    this.#deps = deps
    this.#atHand = new AtHand(deps.near)
    this.#listeners = new CacheListeners(name, deps)
    this.#drops = new Drops(deps)
    this.exists = new MeshExists(name, { ...deps, changes: deps.filterChanges })
  }

  /** Not an async function: what is answered from a copy here is so quick that the frame of one would be half of it. */
  get(key: Key, options?: GetOptions): Promise<unknown> {
    try {
      const definition = this.#enter('get', options)
      options?.signal?.throwIfAborted()
      const copy = this.#atHand.find(definition, key, options?.from)
      if (copy === undefined) return this.#getPast(definition, key, options)
      return Promise.resolve(copy.isShared ? copy.value : handedOut(definition, key, copy))
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** The value itself, where this member owns the key; else what its owner says. */
  async #getPast(definition: CacheDefinition, key: Key, options: GetOptions | undefined): Promise<unknown> {
    const encodedKey = encodeKey(key, this.name)
    const mayBeHere = options?.from !== 'quorum'
    const here = mayBeHere ? this.#deps.router.readHere(definition.namespace, encodedKey) : undefined
    if (here !== undefined) return handedOut(definition, key, here)
    const terms = registeredTerms(definition, key, this.#deps.detach, options)
    return handedOut(definition, key, await this.#read(definition, key, encodedKey, terms, options))
  }

  peek(key: Key): unknown {
    this.#deps.checkOpen()
    const definition = this.#deps.definition()
    const copy = this.#atHand.find(definition, key, undefined)
    if (copy !== undefined) return copy.isShared ? copy.value : handedOut(definition, key, copy)
    return handedOut(definition, key, this.#deps.router.readHere(definition.namespace, encodeKey(key, this.name)))
  }

  async getMany(keys: readonly Key[], options?: GetOptions): Promise<unknown[]> {
    const definition = this.#enter('getMany', options)
    return this.#readMany(
      definition,
      keys,
      'getMany',
      key => registeredTerms(definition, key, this.#deps.detach, options),
      options
    )
  }

  async getEntry(key: Key, options?: GetOptions): Promise<Entry<unknown> | undefined> {
    const definition = this.#enter('getEntry', options)
    return this.#entry(definition, key, registeredTerms(definition, key, this.#deps.detach, options), options)
  }

  async has(key: Key, options?: CallOptions): Promise<boolean> {
    const definition = this.#enter('has', options)
    const answer = await this.#read(definition, key, encodeKey(key, this.name), STORED, options)
    return answer !== undefined && !answer.negative
  }

  async getOrSet<R>(
    key: Key,
    load: (context: LoadContext<never>) => May<R>,
    options?: KeepOptions & GetOptions
  ): Promise<R> {
    const definition = this.#enter('getOrSet', options)
    checkFunction(load, 'the loader of getOrSet', 'cache.getOrSet(key, () => value)', this.name)
    const terms = ownTerms(definition, load, undefined, options)
    return handedOut(definition, key, await this.#read(definition, key, encodeKey(key, this.name), terms, options)) as R
  }

  async getOrSetMany(keys: readonly Key[], load: LoadMany, options?: KeepOptions & GetOptions): Promise<never[]> {
    const definition = this.#enter('getOrSetMany', options)
    checkFunction(
      load,
      'the loader of getOrSetMany',
      'cache.getOrSetMany(keys, missing => missing.map(find))',
      this.name
    )
    // One function for all of this call: what is asked for by it at the same time is one call of it.
    const loadMany: LoadMany = (missing, context) => load(missing, context)
    const terms = ownTerms(definition, undefined, loadMany, options)
    const termsOf = (key: Key): ReadTerms => ({ ...terms, load: aloneBy(loadMany, key) })
    return this.#readMany(definition, keys, 'getOrSetMany', termsOf, options) as Promise<never[]>
  }

  async refresh(key: Key, options?: CallOptions): Promise<unknown> {
    const definition = this.#enter('refresh', options)
    checkLoads(definition, 'refresh')
    const terms: ReadTerms = { ...registeredTerms(definition, key, this.#deps.detach), wish: 'refresh' }
    return handedOut(definition, key, await this.#read(definition, key, encodeKey(key, this.name), terms, options))
  }

  async warm(keys: Iterable<Key> | AsyncIterable<Key>, options?: WarmOptions): Promise<Warmed> {
    const definition = this.#enter('warm', options)
    checkLoads(definition, 'warm')
    const warm = async (key: Key): Promise<boolean> => {
      this.#deps.checkOpen()
      const terms: ReadTerms = { ...registeredTerms(definition, key, this.#deps.detach), wish: 'warm' }
      const answer = await this.#read(definition, key, encodeKey(key, this.name), terms, options)
      return answer?.from === 'load'
    }
    return warming(this.#deps, {
      cache: this.name,
      keys,
      rate: warmRate(options?.rate, this.name),
      signal: options?.signal,
      warm,
      onProgress: progress => this.#listeners.warmed(progress)
    })
  }

  on<E extends keyof CacheEvents<Key>>(event: E, listener: (event: CacheEvents<Key>[E]) => void): () => void {
    return this.#listeners.on(event, listener)
  }

  async set(key: Key, value: unknown, options?: SetOptions): Promise<Version> {
    const definition = this.#enter('set', options)
    return this.#write(definition, writeOf(definition, key, value, options), options)
  }

  async setMany(entries: Iterable<readonly [Key, unknown, SetOptions?]>, options?: SetOptions): Promise<void> {
    const definition = this.#enter('setMany', options)
    // All are checked and encoded before the first is written: a bad one is a mistake, not a partial failure.
    const writes = entriesOf(entries, this.name).map(([key, value, own]) => {
      checkCall(own, 'set', 'cache', this.name)
      const terms = { ...options, ...own }
      return { write: writeOf(definition, key, value, terms), terms }
    })
    const atOnce = storesAtOnce(definition)
    const settled = await inBatches(writes, ({ write, terms }) => this.#write(definition, write, terms), atOnce)
    options?.signal?.throwIfAborted()
    allOrPartial(settled, this.name)
  }

  async update(key: Key, fn: (now: unknown) => unknown, options?: SetOptions): Promise<unknown> {
    const definition = this.#enter('update', options)
    checkFunction(fn, 'what update is to do', 'cache.update(key, now => next)', this.name)
    const { signal, timeout: _, ...rest } = options ?? {}
    // What is absent here may be in the origin, and an update that took it for absent would overwrite it there.
    const terms = definition.store === undefined ? STORED : registeredTerms(definition, key, this.#deps.detach)
    const steps = {
      read: (o: CallOptions) => this.#entry(definition, key, terms, { ...o, from: 'owner' }),
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

  async explain(key: Key, options?: CallOptions): Promise<Explanation> {
    const definition = this.#enter('explain', options)
    const { explanations, meshClock, clock, timeoutMs } = this.#deps
    const encoded = encodeKey(key, this.name)
    const work = () => explanations.ask(definition, encoded, ownTimeoutMs(options) ?? timeoutMs)
    const { replicas, told } = await unlessAborted(options?.signal, work)
    return explanationOf(replicas, told, { clock, meshClock })
  }

  async touch(key: Key, ttl: Duration | 'forever', options?: AckOptions): Promise<boolean> {
    const definition = this.#enter('touch', options)
    const touch = touchOf(definition, key, ttl, options)
    this.#deps.stats.touchesTotal++
    const work = this.#change(options, ms => this.#deps.changes.touch(definition, touch, ms))
    return (await this.#deps.near.changing(definition, touch.key, work)).existed
  }

  async delete(key: Key, options?: DeleteOptions): Promise<boolean> {
    return this.#drops.delete(this.#enter('delete', options), key, options)
  }

  async deleteMany(keys: readonly Key[], options?: DeleteOptions): Promise<number> {
    return this.#drops.deleteMany(this.#enter('deleteMany', options), keys, options)
  }

  async invalidate(key: Key, options?: InvalidateOptions): Promise<boolean> {
    return this.#drops.invalidate(this.#enter('invalidate', options), key, options)
  }

  async flush(options?: AckOptions): Promise<{ readonly acked: number }> {
    const definition = this.#enter('flush', options)
    const backupAcks = flushAcksOf(definition, 'cache', options)
    return { acked: await this.#change(options, ms => this.#deps.flushes.flush(definition, backupAcks, ms)) }
  }

  async clear(options?: ClearOptions): Promise<void> {
    return this.#drops.clear(this.#enter('clear', options), options)
  }

  async invalidateTag(tag: string | readonly string[], options?: DeleteOptions): Promise<void> {
    await invalidateTags(this.#deps, this.#enter('invalidateTag', options), tag, options)
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
    if (options !== undefined) checkCall(options, call, 'cache', this.name)
    return this.#deps.definition()
  }

  async #readMany(
    definition: CacheDefinition,
    keys: readonly Key[],
    call: 'getMany' | 'getOrSetMany',
    termsOf: (key: Key) => ReadTerms,
    options: GetOptions | undefined
  ): Promise<unknown[]> {
    const encodedKeys = encodeKeys(keys, call, this.name)
    const alone = (place: number): ReadAsk => {
      const key = keys[place] as Key
      return this.#askFor(definition, key, encodedKeys[place] as string, termsOf(key))
    }
    const loads = options?.load !== false && (call === 'getOrSetMany' || definition.load !== undefined)
    const isBatched = call === 'getOrSetMany' || definition.loadMany !== undefined
    const isQuorum = options?.from === 'quorum'
    const ask = { definition, encodedKeys, loads, isBatched, isQuorum, alone }
    const near = this.#deps.near.findMany(definition, keys, options?.from)
    const found = await this.#deps.many.read(near === undefined ? ask : askFor(ask, near.missing), patienceOf(options))
    const all = near === undefined ? found : near.filled(found)
    const settled = all.map((one, place) => settledOf(definition, keys[place] as Key, one))
    return allOrPartial(settled, this.name)
  }

  #read(
    definition: CacheDefinition,
    key: Key,
    encodedKey: string,
    terms: ReadTerms,
    options: GetOptions | undefined
  ): Promise<Answer | NearCopy | undefined> {
    const ask = this.#askFor(definition, key, encodedKey, terms)
    return this.#deps.near.read(ask, patienceOf(options), options?.from)
  }

  #askFor(definition: CacheDefinition, key: Key, encodedKey: string, terms: ReadTerms): ReadAsk {
    const { mode, wish, load, loadTtlMs, loadTags, loadMany, isQuorum } = terms
    const { timeoutMs } = this.#deps
    return { definition, key, encodedKey, mode, wish, load, loadTtlMs, loadTags, loadMany, isQuorum, timeoutMs }
  }

  async #entry(
    definition: CacheDefinition,
    key: Key,
    terms: ReadTerms,
    options: GetOptions | undefined
  ): Promise<Entry<unknown> | undefined> {
    const answer = await this.#read(definition, key, encodeKey(key, this.name), terms, options)
    if (answer === undefined || answer.negative) return undefined
    return {
      value: handedOut(definition, key, answer),
      version: versionText(answer) as Version,
      expiresAt: Math.round(this.#deps.meshClock.wallOf(answer.expiresAtMs)),
      stale: answer.stale,
      tags: decodeTags(answer.tags),
      from: answer.from
    }
  }

  async #write(
    definition: CacheDefinition,
    write: WriteOf<'write'>,
    options: SetOptions | undefined
  ): Promise<Version> {
    this.#deps.stats.writesTotal++
    const work = this.#change(options, ms => this.#deps.writes.write(definition, write, ms), definition)
    const version = await this.#deps.near.changing(definition, write.key, work)
    return versionText(version) as Version
  }

  async #compareAndSet(
    definition: CacheDefinition,
    key: Key,
    expected: Version | null,
    next: unknown,
    options: SetOptions | undefined
  ): Promise<Version | false> {
    const compare = compareOf(definition, key, expected, next, options)
    const { writes, stats } = this.#deps
    stats.comparesTotal++
    const work = this.#change(options, ms => writes.compareAndSet(definition, compare, ms), definition)
    const done = await this.#deps.near.changing(definition, compare.key, work)
    if (done !== undefined) return versionText(done) as Version
    stats.comparesRefusedTotal++
    return false
  }

  #change<T>(
    options: CallOptions | undefined,
    work: (timeoutMs: number) => Promise<T>,
    storing?: CacheDefinition
  ): Promise<T> {
    return changeWithin(this.#deps.timeoutMs, options, work, storing)
  }
}

/** The same of some of its keys, by their places. */
function askFor(ask: ManyAsk, places: readonly number[]): ManyAsk {
  const encodedKeys = places.map(place => ask.encodedKeys[place] as string)
  return { ...ask, encodedKeys, alone: i => ask.alone(places[i] as number) }
}
