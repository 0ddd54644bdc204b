/**
 * A counter: numbers under keys, added to at the key's owner in one step, so that no two adds overwrite each other.
 * The TTL begins with the first add and is not prolonged by others: what a rate limiter needs of a window.
 *
 * Not promised: exact counts through crashes and splits. What a member had not copied dies with it, and two sides of a
 * split count on their own, of which one is kept. An add whose outcome is unknown may have been counted. Never is an add counted twice.
 */
import { unlessAborted } from './base/abort.ts'
import { got, MeshError } from './base/errors.ts'
import {
  type AckOptions,
  type CallName,
  type CallOptions,
  changeTimeoutMs,
  checkCall,
  copyingOf,
  ownTimeoutMs
} from './calls.ts'
import { decodeCount } from './codec/counts.ts'
import { encodeKey, type Key } from './codec/keys.ts'
import type { CacheDefinition } from './fill/definition.ts'
import type { CacheDeps } from './mesh-cache.ts'
import { CACHE_ONLY, OUTRIGHT } from './rpc/messages.ts'
import { ACKS_ALL } from './rpc/words.ts'
import { STORED } from './serving/question.ts'
import { flushAcksOf } from './write-terms.ts'

export interface Count {
  readonly value: number
  /** As `Date.now()` counts on this machine; Infinity for a counter that is kept for ever. */
  readonly expiresAt: number
}

export interface Counter<K extends Key = string> {
  readonly name: string
  /** Adds 1, or `by`, which may be negative. Answers with the sum and when the count ends. */
  add(key: K, by?: number, options?: AckOptions): Promise<Count>
  /** The sum, 0 when nothing was added within the TTL. */
  get(key: K, options?: CallOptions): Promise<number>
  /** Back to 0; the next add begins a TTL of its own. */
  reset(key: K, options?: CallOptions): Promise<void>
  /** Resolves when what this member has added and reset until now is held by so many backups; default all it has. */
  flush(options?: AckOptions): Promise<{ readonly acked: number }>
}

type CounterDeps = Pick<CacheDeps, 'reads' | 'changes' | 'flushes' | 'stats' | 'meshClock' | 'timeoutMs' | 'checkOpen'>

export class MeshCounter implements Counter<Key> {
  readonly name: string
  readonly #definition: CacheDefinition
  readonly #deps: CounterDeps

  constructor(definition: CacheDefinition, deps: CounterDeps) {
    this.name = definition.name
    this.#definition = definition
    this.#deps = deps
  }

  async add(key: Key, by = 1, options?: AckOptions): Promise<Count> {
    this.#enter('add', options)
    if (typeof by !== 'number' || !Number.isFinite(by)) {
      throw new MeshError(
        'ERR_MESH_OPTION',
        `Expected what is added to counter '${this.name}' to be a finite number, got ${got(by)}. Write counter.add(key, 1).`,
        { cache: this.name }
      )
    }
    const { namespace, ttlMs } = this.#definition
    const copying = copyingOf(this.#definition, 'counter', options)
    const add = { type: 'add', namespace, key: encodeKey(key, this.name), by, ttlMs, ...copying } as const
    this.#deps.stats.countsTotal++
    const { changes, meshClock } = this.#deps
    const { done, value, expiresAtMs } = await this.#change(options, ms => changes.add(this.#definition, add, ms))
    if (!done) throw this.#inexact(key, by, value)
    return { value, expiresAt: Math.round(meshClock.wallOf(expiresAtMs)) }
  }

  async get(key: Key, options?: CallOptions): Promise<number> {
    this.#enter('get', options)
    const { reads, timeoutMs } = this.#deps
    const ask = { definition: this.#definition, key, encodedKey: encodeKey(key, this.name), timeoutMs } as const
    const patience = { signal: options?.signal, timeoutMs: ownTimeoutMs(options) }
    const answer = await reads.read({ ...ask, ...STORED, isExact: true }, patience)
    return answer === undefined ? 0 : decodeCount(answer.bytes)
  }

  async reset(key: Key, options?: CallOptions): Promise<void> {
    this.#enter('reset', options)
    const { namespace, backups } = this.#definition
    const copying = { backups, backupAcks: ACKS_ALL }
    const about = { type: 'remove', namespace, key: encodeKey(key, this.name) } as const
    const remove = { ...about, ...OUTRIGHT, ...copying, ...CACHE_ONLY }
    this.#deps.stats.deletesTotal++
    await this.#change(options, ms => this.#deps.changes.remove(this.#definition, remove, ms))
  }

  async flush(options?: AckOptions): Promise<{ readonly acked: number }> {
    this.#enter('flush', options)
    const backupAcks = flushAcksOf(this.#definition, 'counter', options)
    return { acked: await this.#change(options, ms => this.#deps.flushes.flush(this.#definition, backupAcks, ms)) }
  }

  #enter(call: CallName, options: CallOptions | undefined): void {
    this.#deps.checkOpen()
    checkCall(options, call, 'counter', this.name)
  }

  #change<T>(options: CallOptions | undefined, work: (timeoutMs: number) => Promise<T>): Promise<T> {
    const timeoutMs = ownTimeoutMs(options) ?? changeTimeoutMs(this.#deps.timeoutMs)
    return unlessAborted(options?.signal, () => work(timeoutMs))
  }

  #inexact(key: Key, by: number, value: number): MeshError {
    return new MeshError(
      'ERR_MESH_VALUE',
      `Adding ${by} to the ${value} of counter '${this.name}' would go beyond ${Number.MAX_SAFE_INTEGER}, where numbers are not exact. Nothing was added; reset the counter, or count in larger units.`,
      { cache: this.name, key: String(key) }
    )
  }
}
