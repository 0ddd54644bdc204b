/**
 * The near copies of one cache, as its handle has them at hand: which they are is looked up once for each declaration,
 * because a lookup by name costs as much as the whole rest of a read that ends here.
 */
import type { Key } from '../codec/keys.ts'
import type { CacheDefinition } from '../fill/definition.ts'
import type { NearCache, NearCopy } from '../near/near-cache.ts'
import { type From, findIn, type NearReads } from './near-reads.ts'

export class AtHand {
  readonly #reads: NearReads
  #definition: CacheDefinition | undefined
  #near: NearCache | undefined

  constructor(reads: NearReads) {
    this.#reads = reads
  }

  /** A copy in this process, where a read `from` there may be answered with one. */
  find(definition: CacheDefinition, key: Key, from: From): NearCopy | undefined {
    if (definition !== this.#definition) this.#lookUp(definition)
    const near = this.#near
    if (near === undefined) return undefined
    // Nearly all reads, and so short that the compiler puts it into the caller.
    if (from === undefined && typeof key === 'string') return near.findText(key)
    return findIn(near, definition, key, from)
  }

  #lookUp(definition: CacheDefinition): void {
    this.#definition = definition
    this.#near = this.#reads.cacheOf(definition)
  }
}
