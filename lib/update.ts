/**
 * Read, change, set if nobody was faster; else again.
 *
 *   read v1 ─▶ fn ─▶ compareAndSet(v1) ─▶ done
 *    ▲                    │ somebody else was faster
 *    └── at once, then after a moment that grows and is left to chance ┘
 *
 * Each time somebody else was faster, that one has finished: so of many that update one key, one gets on in each round.
 * Chance spreads them; without it they would meet again and again in the same order. After enough tries the caller is
 * told, because a key that is so wanted needs another design.
 */
import { MeshError } from './base/errors.ts'
import type { CallOptions } from './calls.ts'
import type { Key } from './codec/keys.ts'
import type { Clock } from './ports/clock.ts'
import type { Random } from './ports/random.ts'

const TRIES_MAX = 32
const PAUSE_MS_MAX = 100

export interface Updating<Version> {
  readonly cache: string
  readonly key: Key
  readonly fn: (now: unknown) => unknown
  readonly steps: {
    read(o: CallOptions): Promise<{ readonly value: unknown; readonly version: Version } | undefined>
    compareAndSet(expected: Version | null, next: unknown, o: CallOptions): Promise<Version | false>
  }
  /** A bound on the whole, tries and pauses and `fn` included. */
  readonly timeoutMs: number | undefined
  readonly signal: AbortSignal | undefined
}

export function updating<Version>(
  { clock, random }: { clock: Clock; random: Random },
  { cache, key, fn, steps, timeoutMs, signal }: Updating<Version>
): () => Promise<unknown> {
  return async () => {
    const endMs = timeoutMs === undefined ? undefined : clock.monotonic() + timeoutMs
    const terms = (): CallOptions => ({ signal, timeout: leftOf(endMs, clock, cache) })
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      // The first conflict is most often the last: then waiting would be for nothing.
      if (tries > 1) await pause(clock, random.float() * Math.min(2 ** tries, PAUSE_MS_MAX))
      const entry = await steps.read(terms())
      const next = await fn(entry?.value)
      signal?.throwIfAborted()
      if (next === undefined) return entry?.value
      const version = await steps.compareAndSet(entry?.version ?? null, next, terms())
      if (version !== false) return next
    }
    throw new MeshError(
      'ERR_MESH_CONFLICT',
      `Others changed the key each of the ${TRIES_MAX} times that update of cache '${cache}' tried. Nothing was changed. Try again, or spread what so many change over several keys or a counter.`,
      { cache, key: String(key) }
    )
  }
}

function leftOf(endMs: number | undefined, clock: Clock, cache: string): number | undefined {
  if (endMs === undefined) return undefined
  const leftMs = endMs - clock.monotonic()
  if (leftMs > 0) return leftMs
  throw new MeshError(
    'ERR_MESH_TIMEOUT',
    `The time this update of cache '${cache}' allowed is over, and nothing was changed. Raise timeout, or make what it does faster.`,
    { cache }
  )
}

function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise(resolve => clock.after(ms, resolve))
}
