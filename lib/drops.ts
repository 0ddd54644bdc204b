/**
 * What a caller of a cache says is over: one key, many, or all under a prefix. Gone outright, or stale from now on
 * (`soft`): then who reads may be answered with it once more while it is loaded anew, for as long as the cache allows
 * that. The origin hears of a key that is gone, and not of one that is stale: that is what it is to be asked for.
 */
import { allOrPartial, inBatches, storesAtOnce } from './batches.ts'
import {
  type CallOptions,
  type ClearOptions,
  changeWithin,
  type DeleteOptions,
  encodeKeys,
  type InvalidateOptions,
  prefixOf
} from './calls.ts'
import type { Key } from './codec/keys.ts'
import { type CacheDefinition, mayBeStale } from './fill/definition.ts'
import type { Stats } from './observe/stats.ts'
import { CACHE_ONLY, type WriteOf } from './rpc/messages.ts'
import type { Changes } from './serving/changes.ts'
import type { NearReads } from './serving/near-reads.ts'
import type { Surveys } from './serving/surveys.ts'
import type { Writes } from './serving/writes.ts'
import { invalidationOf, removeOf } from './write-terms.ts'

export interface DropsDeps {
  readonly changes: Changes
  readonly writes: Writes
  readonly surveys: Surveys
  readonly near: NearReads
  readonly stats: Stats
  readonly timeoutMs: number
}

export class Drops {
  readonly #deps: DropsDeps

  constructor(deps: DropsDeps) {
    this.#deps = deps
  }

  delete(definition: CacheDefinition, key: Key, options: DeleteOptions | undefined): Promise<boolean> {
    const remove = removeOf(definition, key, options)
    return remove.soft ? this.#inCache(definition, remove, options) : this.#everywhere(definition, remove, options)
  }

  /** The origin knows. */
  invalidate(definition: CacheDefinition, key: Key, options: InvalidateOptions | undefined): Promise<boolean> {
    return this.#inCache(definition, invalidationOf(definition, key, options), options)
  }

  async deleteMany(
    definition: CacheDefinition,
    keys: readonly Key[],
    options: DeleteOptions | undefined
  ): Promise<number> {
    encodeKeys(keys, 'deleteMany', definition.name)
    const atOnce = storesAtOnce(definition)
    const settled = await inBatches(keys, key => this.delete(definition, key, options), atOnce)
    options?.signal?.throwIfAborted()
    return allOrPartial(settled, definition.name).filter(Boolean).length
  }

  async clear(definition: CacheDefinition, options: ClearOptions | undefined): Promise<void> {
    const { stats, surveys, near, timeoutMs } = this.#deps
    const soft = options?.soft === true && mayBeStale(definition)
    const what = { kind: 'prefix', texts: [prefixOf(options, definition.name)], soft } as const
    stats.clearsTotal++
    const work = changeWithin(timeoutMs, options, ms => surveys.clear(definition, what, ms))
    await near.changing(definition, undefined, work)
  }

  /** From the origin too, where the cache has one to write to. */
  #everywhere(definition: CacheDefinition, remove: WriteOf<'remove'>, options: CallOptions | undefined) {
    const { stats, writes, near, timeoutMs } = this.#deps
    stats.deletesTotal++
    const work = changeWithin(timeoutMs, options, ms => writes.remove(definition, remove, ms), definition)
    return near.changing(definition, remove.key, work, true)
  }

  async #inCache(definition: CacheDefinition, remove: WriteOf<'remove'>, options: CallOptions | undefined) {
    const { stats, changes, near, timeoutMs } = this.#deps
    stats.deletesTotal++
    const change = { ...remove, ...CACHE_ONLY }
    const work = changeWithin(timeoutMs, options, ms => changes.remove(definition, change, ms))
    return (await near.changing(definition, remove.key, work, !remove.soft)).existed
  }
}
