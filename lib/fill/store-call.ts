/**
 * One call of a cache's `store`, from the bytes that are cached to what came of it.
 *
 * It is given what the bytes decode to and not the caller's own object: that may have been changed since, and the
 * origin would have another value than the cache. Whatever goes wrong is an error to hand on, never a throw.
 *
 * Not promised: that a `store` which failed has not written. A database may commit and then lose the connection, and
 * one that was aborted may still be at work.
 */
import { MeshError } from '../base/errors.ts'
import { decodeKey } from '../codec/keys.ts'
import type { Stats } from '../observe/stats.ts'
import type { Clock } from '../ports/clock.ts'
import { type Version, versionText } from '../store/version.ts'
import type { CacheDefinition, StoreFunction } from './definition.ts'

export interface StoreCallDeps {
  readonly clock: Clock
  readonly stats: Stats
}

/** What the origin is to have. */
export interface StoreWish {
  readonly key: string
  /** Undefined: deleted. */
  readonly bytes: Uint8Array | undefined
  readonly version: Version
}

/** `failed` is undefined when the origin has it, and never rejects. */
export interface StoreCall {
  readonly failed: Promise<MeshError | undefined>
  readonly abort: () => void
}

export function startStore(
  deps: StoreCallDeps,
  definition: CacheDefinition,
  wish: StoreWish,
  timeoutMs: number
): StoreCall {
  const aborter = new AbortController()
  deps.stats.storesTotal++
  const call = async (): Promise<void> => {
    const key = decodeKey(wish.key)
    const about = { cache: definition.name, key: String(key) }
    const value = wish.bytes === undefined ? undefined : definition.codec.decode(wish.bytes, about)
    const store = definition.store as StoreFunction
    await store(key, value, { signal: aborter.signal, version: versionText(wish.version) })
  }
  const failed = new Promise<MeshError | undefined>(resolve => {
    const end = (error: MeshError | undefined): void => {
      disarm()
      aborter.signal.removeEventListener('abort', gaveUp)
      resolve(error)
    }
    const gaveUp = (): void => end(late(definition, aborter.signal.reason))
    const disarm = deps.clock.after(timeoutMs, () => aborter.abort(notInTime(definition, timeoutMs)))
    aborter.signal.addEventListener('abort', gaveUp, { once: true })
    call().then(
      () => end(undefined),
      (cause: unknown) => end(storeError(definition, cause))
    )
  })
  return {
    failed: failed.then(error => {
      if (error !== undefined) deps.stats.storesFailedTotal++
      return error
    }),
    abort: () => aborter.abort(new Error('this member leaves and waits for the origin no longer'))
  }
}

function notInTime({ name }: CacheDefinition, timeoutMs: number): Error {
  return new Error(`the store of cache '${name}' did not settle within ${Math.round(timeoutMs)} ms and was aborted`)
}

function late({ name }: CacheDefinition, cause: Error): MeshError {
  return new MeshError(
    'ERR_MESH_STORE',
    `The store of cache '${name}' did not settle in time: ${cause.message}. The origin may have the value. Raise storeTimeout, or make the store honour its signal.`,
    { cache: name, cause, outcome: 'unknown' }
  )
}

function storeError({ name }: CacheDefinition, cause: unknown): MeshError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new MeshError('ERR_MESH_STORE', `The store of cache '${name}' failed: ${reason}`, { cache: name, cause })
}
