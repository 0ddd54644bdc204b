/**
 * What this member has declared. By name for our own callers, who get one handle however often they ask; by namespace
 * for requests of others, who know a cache by its name and version.
 */
import { type CacheDeps, MeshCache } from './cache.ts'
import { type CacheDefinition, checkRedefinition } from './fill/definition.ts'
import { bareDefinition, type CacheOptions, cacheDefinition } from './options.ts'

type SharedDeps = Omit<CacheDeps, 'definition'>

interface Declared {
  readonly cache: MeshCache
  readonly definition: CacheDefinition
}

export class Caches {
  readonly #deps: SharedDeps
  readonly #byNamespace = new Map<string, CacheDefinition>()
  readonly #byName = new Map<string, Declared>()

  constructor(deps: SharedDeps) {
    this.#deps = deps
  }

  /** What this member knows of a cache that others ask it about. */
  definition(namespace: string): CacheDefinition | undefined {
    return this.#byNamespace.get(namespace)
  }

  cache(name: string, options: CacheOptions<never, never> | undefined): MeshCache {
    const known = this.#byName.get(name)
    if (options === undefined && known !== undefined) return known.cache
    const definition = options === undefined ? bareDefinition(name) : cacheDefinition(name, options)
    if (known !== undefined && !known.definition.isBare) checkRedefinition(known.definition, definition)
    // Declared again without a loader is no wish to lose the one there is.
    const current = { ...definition, load: definition.load ?? known?.definition.load }
    if (!definition.isBare) this.#byNamespace.set(definition.namespace, current)
    const cache = known?.cache ?? this.#newCache(name)
    this.#byName.set(name, { cache, definition: current })
    return cache
  }

  #newCache(name: string): MeshCache {
    // Looked up at each call: a declaration made later, with a loader or a TTL, is meant for this handle too.
    const definition = (): CacheDefinition => (this.#byName.get(name) as Declared).definition
    return new MeshCache(name, { ...this.#deps, definition })
  }
}
