/**
 * What a read wants, from what the caller asked for and what the cache is declared with: whether it loads, by which
 * loader and in whose context, and whether something stale will do.
 */
import { MeshError } from './base/errors.ts'
import { type CallOptions, type GetOptions, type KeepOptions, keepMs, ownTimeoutMs } from './calls.ts'
import type { Key } from './codec/keys.ts'
import type { CacheDefinition, LoadContext, LoadMany, May } from './fill/definition.ts'
import type { Detach } from './ports/context.ts'
import { type ReadTerms, STORED } from './serving/question.ts'
import type { Patience } from './serving/reads.ts'

/** The registered loader, outside any caller's context: the result is for everybody. */
export function registeredTerms(
  definition: CacheDefinition,
  key: Key,
  detach: Detach,
  options?: GetOptions | undefined
): ReadTerms {
  const { load, loadMany, ttlMs: loadTtlMs } = definition
  const wish = wishOf(options)
  const isQuorum = options?.from === 'quorum'
  if (load === undefined || options?.load === false)
    return wish === 'usual' && !isQuorum ? STORED : { ...STORED, wish, isQuorum }
  const call = (context: LoadContext): May<unknown> => detach(() => load(key, context))
  return { mode: 'load', wish, load: call, loadTtlMs, loadTags: undefined, loadMany, isQuorum }
}

/** A loader that this call brings along; it runs here, in its context. */
export function ownTerms(
  definition: CacheDefinition,
  load: ((context: LoadContext<never>) => May<unknown>) | undefined,
  loadMany: LoadMany | undefined,
  options: (KeepOptions & GetOptions) | undefined
): ReadTerms {
  const wish = wishOf(options)
  const isQuorum = options?.from === 'quorum'
  if (options?.load === false) return { ...STORED, wish, isQuorum }
  const loadTtlMs = keepMs(definition, options)
  return {
    mode: 'lease',
    wish,
    load: load as ReadTerms['load'],
    loadTtlMs,
    loadTags: options?.tags,
    loadMany,
    isQuorum
  }
}

/** For what only a cache with a loader can do. */
export function checkLoads({ name, load }: CacheDefinition, call: 'refresh' | 'warm'): void {
  if (load !== undefined) return
  throw new MeshError(
    'ERR_MESH_OPTION',
    `Expected the cache '${name}' to have a loader for ${call}, and it is declared without one in this process. Declare it with load.`,
    { cache: name }
  )
}

/** Of a call that has neither a deadline nor a signal of its own. */
const ENDLESS: Patience = { signal: undefined, timeoutMs: undefined }

export function patienceOf(options: CallOptions | undefined): Patience {
  return options === undefined ? ENDLESS : { signal: options.signal, timeoutMs: ownTimeoutMs(options) }
}

function wishOf(options: GetOptions | undefined): ReadTerms['wish'] {
  return options?.allowStale === false ? 'fresh' : 'usual'
}
