/**
 * Reads of caches that keep near copies: what is here, else what its owner says, and a copy of that for the next. A copy
 * that its owner has not confirmed of late answers only where nobody else does.
 */
import { isMeshError } from '../base/errors.ts'
import { encodeKey, type Key } from '../codec/keys.ts'
import type { CacheDefinition } from '../fill/definition.ts'
import type { NearCache, NearCopy } from '../near/near-cache.ts'
import type { NearCopies } from '../near/near-copies.ts'
import type { Found } from './many-reads.ts'
import type { Answer, ReadAsk } from './question.ts'
import type { Patience, Reads } from './reads.ts'

/** Nobody could be asked, or nobody answered: what a loader threw is an answer. */
const UNHEARD: ReadonlySet<string> = new Set(['ERR_MESH_UNAVAILABLE', 'ERR_MESH_TIMEOUT', 'ERR_MESH_OVERLOADED'])

export type From = 'near' | 'owner' | 'quorum' | undefined

export class NearReads {
  readonly #near: NearCopies
  readonly #reads: Reads

  constructor(near: NearCopies, reads: Reads) {
    this.#near = near
    this.#reads = reads
  }

  /** Where its copies are, if it keeps any: for as long as it is declared like this. */
  cacheOf({ near, namespace }: CacheDefinition): NearCache | undefined {
    return near === undefined ? undefined : this.#near.of(namespace)
  }

  /** What is here of many, and how to put what others say of the rest between; undefined where none are kept. */
  findMany(
    definition: CacheDefinition,
    keys: readonly Key[],
    from: From
  ): { readonly missing: readonly number[]; filled(rest: readonly Found[]): Found[] } | undefined {
    const near = this.cacheOf(definition)
    if (near === undefined || near.size === 0) return undefined
    const copies = keys.map(key => findIn(near, definition, key, from))
    const missing = [...copies.keys()].filter(place => copies[place] === undefined)
    const filled = (rest: readonly Found[]): Found[] => {
      const all: Found[] = [...copies]
      for (const [i, place] of missing.entries()) all[place] = rest[i]
      return all
    }
    return { missing, filled }
  }

  read(ask: ReadAsk, patience: Patience, from: From): Promise<Answer | NearCopy | undefined> {
    const { definition, encodedKey, wish } = ask
    const near = wish === 'warm' || from === 'quorum' ? undefined : this.cacheOf(definition)
    if (near === undefined || !near.mayKeep(encodedKey)) return this.#reads.read(ask, patience)
    const mayBeHere = from !== 'owner' && wish !== 'refresh'
    const copy = mayBeHere ? near.find(encodedKey) : undefined
    return copy === undefined ? this.#readPast(near, ask, patience, mayBeHere) : Promise.resolve(copy)
  }

  /**
   * A change from here: however it ends, it may have been made, so whoever of this process asks next is not answered with
   * a copy of before. Without a key all of the cache is cleared.
   */
  changing<T>(
    definition: CacheDefinition,
    encodedKey: string | undefined,
    work: Promise<T>,
    isRemoval = false
  ): Promise<T> {
    const near = this.cacheOf(definition)
    if (near === undefined) return work
    return work.finally(() => {
      if (near.isIdle) return
      if (encodedKey === undefined) near.clear()
      else if (near.changedHere(encodedKey) && isRemoval) this.#near.removedHere(definition.namespace, encodedKey)
    })
  }

  /** Kept also where the caller asked past the copies: a member that has seen a value never sees an older one after it. */
  async #readPast(
    near: NearCache,
    ask: ReadAsk,
    patience: Patience,
    mayBeHere: boolean
  ): Promise<Answer | NearCopy | undefined> {
    const beganMs = near.beginRead()
    try {
      const answer = await this.#reads.read(ask, patience)
      if (answer !== undefined) near.keep(ask.encodedKey, ask.key, answer, beganMs)
      return answer
    } catch (error) {
      const isUnheard = mayBeHere && isMeshError(error) && UNHEARD.has(error.code)
      const last = isUnheard ? near.findLast(ask.encodedKey) : undefined
      if (last === undefined) throw error
      return last
    } finally {
      near.endRead()
    }
  }
}

/** A copy in this process, where a read `from` there may be answered with one. */
export function findIn(near: NearCache, definition: CacheDefinition, key: Key, from: From): NearCopy | undefined {
  if (from === 'owner' || from === 'quorum' || near.size === 0) return undefined
  return typeof key === 'string' ? near.findText(key) : near.find(encodeKey(key, definition.name))
}
