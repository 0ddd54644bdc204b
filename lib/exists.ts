/**
 * Which ids exist, as the application tells it: `cache.exists`. Ids that it has not told of never reach the loader.
 * `filter-changes.ts` tells the other members; here is what each call promises, and the checks at the door.
 */
import { unlessAborted } from './base/abort.ts'
import { got, MeshError } from './base/errors.ts'
import { type CallOptions, changeTimeoutMs, checkCall, ownTimeoutMs } from './calls.ts'
import { encodeKey, type Key } from './codec/keys.ts'
import type { CacheDefinition } from './fill/definition.ts'
import type { Filling } from './fill/existence.ts'
import { GRACE_MS } from './fill/roll.ts'
import type { Clock } from './ports/clock.ts'
import type { FilterChanges } from './serving/filter-changes.ts'

export interface Exists<K extends Key = string> {
  /**
   * Replaces what is known by these keys: a new filter is filled beside the old one, which counts until the new one is
   * whole. Resolves when every member has it. Adds made meanwhile are in it. `timeout` bounds the wait for the others,
   * before the first key is taken and after the last; default '30s'.
   */
  fill(keys: Iterable<K> | AsyncIterable<K>, options?: CallOptions): Promise<void>
  /**
   * These exist from now on; a text key may be given alone. Resolves when every member that could deny them has confirmed; otherwise ERR_MESH_PARTIAL
   * names those that have not. Add an id when its row is there, before anybody is told of it. Default `timeout`: two
   * and a half times that of the mesh, and five seconds.
   */
  add(keys: (K & string) | readonly K[], options?: CallOptions): Promise<void>
  /** No filter any more, in any member: every key is loaded. */
  clear(options?: CallOptions): Promise<void>
}

export interface ExistsDeps {
  readonly changes: FilterChanges
  readonly clock: Clock
  readonly timeoutMs: number
  readonly definition: () => CacheDefinition
  /** This member owns keys, so it holds filters. */
  readonly ownsKeys: boolean
  readonly checkOpen: () => void
}

const FILL_MS = 30_000
/** Keys taken before others have a turn: some milliseconds. */
const TURN_KEYS = 4_096

export class MeshExists implements Exists<Key> {
  readonly #name: string
  readonly #deps: ExistsDeps

  constructor(name: string, deps: ExistsDeps) {
    this.#name = name
    this.#deps = deps
  }

  async fill(keys: Iterable<Key> | AsyncIterable<Key>, options?: CallOptions): Promise<void> {
    const definition = this.#enter('fill', options)
    this.#checkFillable(keys)
    const { changes } = this.#deps
    const timeoutMs = ownTimeoutMs(options) ?? FILL_MS
    let filling: Filling | undefined
    const work = async (): Promise<void> => {
      filling = await changes.beginFill(definition, timeoutMs)
      await this.#take(keys, filling, options?.signal)
      await changes.publish(definition, filling, timeoutMs)
    }
    try {
      await unlessAborted(options?.signal, work)
    } finally {
      if (filling !== undefined) changes.abandon(definition, filling)
    }
  }

  async add(keys: string | readonly Key[], options?: CallOptions): Promise<void> {
    const definition = this.#enter('add', options)
    const encoded = this.#encoded(keys)
    const timeoutMs = ownTimeoutMs(options) ?? this.#changeMs
    await unlessAborted(options?.signal, () => this.#deps.changes.add(definition, encoded, timeoutMs))
  }

  async clear(options?: CallOptions): Promise<void> {
    const definition = this.#enter('clear', options)
    const timeoutMs = ownTimeoutMs(options) ?? this.#changeMs
    await unlessAborted(options?.signal, () => this.#deps.changes.clear(definition, timeoutMs))
  }

  /** Whoever has been lost of late counts for a while longer. */
  get #changeMs(): number {
    return changeTimeoutMs(this.#deps.timeoutMs) + GRACE_MS
  }

  async #take(
    keys: Iterable<Key> | AsyncIterable<Key>,
    { filter }: Filling,
    signal: AbortSignal | undefined
  ): Promise<void> {
    let taken = 0
    for await (const key of keys) {
      signal?.throwIfAborted()
      filter.add(encodeKey(key, this.#name))
      if (++taken % TURN_KEYS === 0) await new Promise<void>(resolve => this.#deps.clock.defer(resolve))
    }
    signal?.throwIfAborted()
  }

  #enter(call: 'fill' | 'add' | 'clear', options: unknown): CacheDefinition {
    this.#deps.checkOpen()
    checkCall(options, `exists.${call}`, 'cache', this.#name)
    const definition = this.#deps.definition()
    if (definition.existsKeys > 0) return definition
    throw new MeshError(
      'ERR_MESH_OPTION',
      `The cache '${this.#name}' is declared without exists, so it has no filter. Declare it with exists: { keys: 1_000_000 }, about as many as there are.`,
      { cache: this.#name }
    )
  }

  #checkFillable(keys: unknown): void {
    const isIterable =
      typeof keys === 'object' && keys !== null && (Symbol.iterator in keys || Symbol.asyncIterator in keys)
    if (isIterable && this.#deps.ownsKeys) return
    throw new MeshError(
      'ERR_MESH_OPTION',
      isIterable
        ? `A member of weight 0 holds no filter, so it cannot fill that of cache '${this.#name}'. Fill it from a member that owns keys.`
        : `Expected the keys of exists.fill of cache '${this.#name}' to be an iterable of keys, got ${got(keys)}. Write cache.exists.fill(ids).`,
      { cache: this.#name }
    )
  }

  /** An array is many keys; a key that is an array is given as one of many. */
  #encoded(keys: string | readonly Key[]): string[] {
    const list = Array.isArray(keys) ? (keys as readonly Key[]) : [keys as string]
    return list.map(key => encodeKey(key, this.#name))
  }
}
