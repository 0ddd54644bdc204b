/**
 * Warming up: many keys are looked at one after the other, at a given rate, and those that are missing are loaded where
 * they belong. It comes behind users at the origin and holds only a few keys at a time, however many there are.
 */
import { unlessAborted } from './base/abort.ts'
import { got, isMeshError, MeshError } from './base/errors.ts'
import type { Key } from './codec/keys.ts'
import type { Clock } from './ports/clock.ts'
import type { Logger } from './ports/log.ts'

/** Keys under way at once. */
const AT_ONCE_MAX = 64
const PROGRESS_EVERY_MS = 100
const DEFAULT_RATE = 1_000

export interface Warmed {
  readonly loaded: number
  readonly present: number
  readonly failed: number
}

export interface WarmingDeps {
  readonly clock: Clock
  readonly log: Logger
}

export interface Warming {
  readonly cache: string
  readonly keys: Iterable<Key> | AsyncIterable<Key>
  /** Keys a second. */
  readonly rate: number
  readonly signal: AbortSignal | undefined
  /** True when it was loaded, false when it was there. */
  readonly warm: (key: Key) => Promise<boolean>
  readonly onProgress: (progress: Warmed & { readonly done: boolean }) => void
}

export async function warming({ clock, log }: WarmingDeps, terms: Warming): Promise<Warmed> {
  const { cache, keys, rate, signal, warm, onProgress } = terms
  const count = { loaded: 0, present: 0, failed: 0 }
  const under = new Set<Promise<void>>()
  const beganMs = clock.monotonic()
  let begun = 0
  let toldMs = beganMs
  let mistake: unknown
  const checkGoing = (): void => {
    signal?.throwIfAborted()
    if (mistake !== undefined) throw mistake
  }
  const one = async (key: Key): Promise<void> => {
    try {
      if (await warm(key)) count.loaded++
      else count.present++
    } catch (error) {
      count.failed++
      // A key that cannot be one is a mistake of the caller, and a member that has left warms nothing; a load that
      // failed is counted, and the others go on.
      if (isMeshError(error, 'ERR_MESH_KEY') || isMeshError(error, 'ERR_MESH_LEFT')) mistake ??= error
    }
    if (clock.monotonic() - toldMs < PROGRESS_EVERY_MS) return
    toldMs = clock.monotonic()
    onProgress({ ...count, done: false })
  }
  const source = iteratorOf(keys, cache)
  try {
    for (;;) {
      const { done, value } = await unlessAborted(signal, async () => source.next())
      if (done === true) break
      checkGoing()
      const waitMs = beganMs + (begun++ / rate) * 1_000 - clock.monotonic()
      if (waitMs > 0) await unlessAborted(signal, () => new Promise<void>(resolve => clock.after(waitMs, resolve)))
      const work = one(value).finally(() => under.delete(work))
      under.add(work)
      if (under.size >= AT_ONCE_MAX) await Promise.race(under)
    }
  } catch (reason) {
    // The stream is told that no more is wanted, but not waited for: one that hangs may be why. The caller hears why it
    // ends, and the log if the stream cannot even be closed: it may hold on to a connection.
    void (async () => source.return?.())().catch((err: unknown) => {
      log.warn({ err, cache, code: 'CACHEMESH_WARM_STREAM' }, `the stream of keys to warm '${cache}' failed to close`)
    })
    throw reason
  }
  await Promise.all(under)
  checkGoing()
  onProgress({ ...count, done: true })
  return count
}

export function warmRate(rate: unknown, cache: string): number {
  if (rate === undefined) return DEFAULT_RATE
  if (typeof rate === 'number' && Number.isFinite(rate) && rate > 0) return rate
  throw new MeshError(
    'ERR_MESH_OPTION',
    `Expected rate of warm of cache '${cache}' to be a number of keys a second above 0, got ${got(rate)}. Write cache.warm(keys, { rate: 200 }).`,
    { cache }
  )
}

function iteratorOf(keys: unknown, cache: string): Iterator<Key> | AsyncIterator<Key> {
  if (typeof keys === 'object' && keys !== null) {
    if (Symbol.asyncIterator in keys) return (keys as AsyncIterable<Key>)[Symbol.asyncIterator]()
    if (Symbol.iterator in keys) return (keys as Iterable<Key>)[Symbol.iterator]()
  }
  throw new MeshError(
    'ERR_MESH_OPTION',
    `Expected the keys of warm of cache '${cache}' to be iterable, got ${got(keys)}. Write cache.warm(['a', 'b']), or give it a stream of ids.`,
    { cache }
  )
}
