/**
 * What this member has declared. By name for our own callers, who get one handle however often they ask; by namespace
 * for requests of others, who know a cache by its name and version.
 */
import { got, MeshError } from './base/errors.ts'
import type { LoadingCache } from './cache.ts'
import {
  bareDefinition,
  type CacheOptions,
  type CounterOptions,
  cacheDefinition,
  counterDefinition
} from './cache-options.ts'
import type { DeleteOptions } from './calls.ts'
import type { KeyPart } from './codec/keys.ts'
import { MeshCounter } from './counter.ts'
import { type CacheDefinition, checkRedefinition, type LoadMany, type May } from './fill/definition.ts'
import { type CacheDeps, MeshCache } from './mesh-cache.ts'
import { invalidateTags } from './tags.ts'

type SharedDeps = Omit<CacheDeps, 'definition'>

/** A function whose results are cached under its arguments. */
export interface Cached<A extends KeyPart[], R> {
  (...args: A): Promise<R>
  /** Where the results are kept; its keys are the lists of arguments. */
  readonly cache: LoadingCache<R, A>
}

interface Declared {
  readonly cache: MeshCache
  definition: CacheDefinition
}

export class Caches {
  readonly #deps: SharedDeps
  readonly #onDeclared: (definition: CacheDefinition) => void
  readonly #byNamespace = new Map<string, CacheDefinition>()
  readonly #byName = new Map<string, Declared>()
  readonly #counters = new Map<string, { counter: MeshCounter; definition: CacheDefinition }>()

  /** `onDeclared`: what this member keeps of the cache is bounded from now on. */
  constructor(deps: SharedDeps, onDeclared: (definition: CacheDefinition) => void) {
    this.#deps = deps
    this.#onDeclared = onDeclared
  }

  /** What this member knows of a cache that others ask it about. */
  definition(namespace: string): CacheDefinition | undefined {
    return this.#byNamespace.get(namespace)
  }

  cache(name: string, options: CacheOptions<never, never> | undefined): MeshCache {
    const known = this.#byName.get(name)
    if (options === undefined && known !== undefined) return known.cache
    const definition = options === undefined ? bareDefinition(name) : cacheDefinition(name, options)
    if (known !== undefined && !known.definition.isBare) checkRedefinition(known.definition, definition, 'cache')
    // Declared again without a function is no wish to lose the one there is.
    const { load, loadMany, store, merge } = known?.definition ?? {}
    const current = {
      ...definition,
      load: definition.load ?? load,
      loadMany: this.#detached(definition.loadMany) ?? loadMany,
      store: definition.store ?? store,
      merge: options?.merge === 'latest' ? undefined : (this.#detachedMerge(definition.merge) ?? merge)
    }
    if (!definition.isBare) {
      this.#byNamespace.set(definition.namespace, current)
      this.#onDeclared(current)
    }
    if (known !== undefined) {
      known.definition = current
      return known.cache
    }
    const declared = this.#newCache(name, current)
    this.#byName.set(name, declared)
    return declared.cache
  }

  /** The function itself is the loader: it runs at the key's owner, if that has declared it too. */
  cached(
    name: string,
    fn: (...args: KeyPart[]) => May<unknown>,
    options: CacheOptions<never, never>
  ): Cached<KeyPart[], unknown> {
    checkCached(name, fn, options)
    const load = (args: readonly KeyPart[]): May<unknown> => fn(...args)
    const cache = this.cache(name, { ...options, load: load as never })
    const call = async (...args: KeyPart[]): Promise<unknown> => {
      if (args.length === 0) throw withoutArguments(name)
      return cache.get(args)
    }
    return Object.assign(call, { cache: cache as unknown as LoadingCache<unknown, KeyPart[]> })
  }

  /** In all caches, also in those that only others have declared. */
  invalidateTag(tag: string | readonly string[], options: DeleteOptions | undefined): Promise<void> {
    this.#deps.checkOpen()
    return invalidateTags(this.#deps, undefined, tag, options)
  }

  counter(name: string, options: CounterOptions): MeshCounter {
    const definition = counterDefinition(name, options)
    const known = this.#counters.get(name)
    if (known !== undefined) checkRedefinition(known.definition, definition, 'counter')
    const counter = known?.counter ?? new MeshCounter(definition, this.#deps)
    this.#counters.set(name, { counter, definition })
    return counter
  }

  /** Loads for everybody run in nobody's context; once here, so that it stays one function by which a batch is known. */
  #detached(loadMany: LoadMany | undefined): LoadMany | undefined {
    return loadMany && ((keys, context) => this.#deps.detach(() => loadMany(keys, context)))
  }

  /** Called while others are answered, for nobody in particular. */
  #detachedMerge(merge: CacheDefinition['merge']): CacheDefinition['merge'] {
    return merge && ((a, b) => this.#deps.detach(() => merge(a, b)))
  }

  #newCache(name: string, first: CacheDefinition): Declared {
    // Looked at with each call: a declaration made later, with a loader or a TTL, is meant for this handle too.
    const cache = new MeshCache(name, { ...this.#deps, definition: () => declared.definition })
    const declared: Declared = { cache, definition: first }
    return declared
  }
}

function checkCached(name: string, fn: unknown, options: unknown): void {
  if (typeof fn !== 'function' || typeof options !== 'object' || options === null) {
    const what = typeof fn !== 'function' ? 'second argument of cached to be a function' : 'options of cached'
    throw new MeshError(
      'ERR_MESH_OPTION',
      `Expected the ${what}, got ${got(typeof fn !== 'function' ? fn : options)}. Write mesh.cached('${name}', id => db.product(id), { ttl: '1h' }).`,
      { cache: name }
    )
  }
  if ('exists' in options) {
    throw new MeshError(
      'ERR_MESH_OPTION',
      `A cached function answers what it is made of, for any arguments, so '${name}' takes no exists. Declare mesh.cache('${name}', { load, exists }).`,
      { cache: name }
    )
  }
  if (!('load' in options)) return
  throw new MeshError(
    'ERR_MESH_OPTION',
    `The function given to cached is the loader of '${name}', so it takes no load. Leave load out, or declare mesh.cache('${name}', { load }).`,
    { cache: name }
  )
}

function withoutArguments(name: string): MeshError {
  return new MeshError(
    'ERR_MESH_KEY',
    `The cached function '${name}' was called without arguments, and its arguments are the key. Give it one, like ${JSON.stringify('all')}.`,
    { cache: name }
  )
}
