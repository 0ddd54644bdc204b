/**
 * One run of a loader, from the call to bytes that can be stored and sent.
 *
 * Whatever happens becomes an outcome, never a throw: the result is for many waiters, most of them in other processes,
 * and must look the same to each. So a value is encoded even for the process that made it, and an error is taken apart
 * and rebuilt even where it was thrown; else `instanceof` would hold for one key in five.
 */
import { isMeshError, LoadError, MeshError } from '../base/errors.ts'
import { ttlMs } from '../base/units.ts'
import type { Key } from '../codec/keys.ts'
import { decodeFailure, encodeFailure } from '../codec/load-failure.ts'
import { decodeTags, NO_TAGS } from '../codec/tags.ts'
import type { Stats } from '../observe/stats.ts'
import type { Clock } from '../ports/clock.ts'
import type { Logger } from '../ports/log.ts'
import type { Random } from '../ports/random.ts'
import type { LoadReason, Outcome, Previous } from '../rpc/messages.ts'
import type { KeepTerms } from '../store/keeping.ts'
import { type MeshClock, versionText } from '../store/version.ts'
import {
  type CacheDefinition,
  type Entry,
  keepTermsOf,
  type LoadContext,
  type May,
  type StoreChoice,
  tagsOf,
  type Version
} from './definition.ts'

/** An outcome and how to keep it: `ttlMs` of 0 means hand it out and keep nothing. */
export interface LoadResult extends Outcome {
  readonly ttlMs: number
  readonly negative: boolean
  readonly keep: KeepTerms | undefined
  /** Members beside its primary that are to keep a copy. */
  readonly backups: number
  /** What the loader took, where it ran in this process. */
  readonly loadMs?: number
}

export interface LoadDeps {
  readonly clock: Clock
  readonly meshClock: MeshClock
  readonly random: Random
  readonly stats: Stats
  readonly log: Logger
}

export interface LoadRun {
  readonly definition: CacheDefinition
  readonly key: Key
  readonly ttlMs: number
  /** Those a caller has given, before those that the cache finds in the value. */
  readonly tags?: readonly string[] | undefined
  readonly reason: LoadReason
  readonly previous: Previous | undefined
  readonly call: (context: LoadContext) => May<unknown>
}

/** What a frame carries with room to spare. The same bound for a caller next door, so that it is no matter of luck. */
const HANDED_OUT_BYTES_MAX = 14 * 1024 * 1024

class LateLoad extends Error {}

const NOTHING = new Uint8Array(0)
/** A longer one is not told again: what carries it is bounded. */
const CAUSE_UNITS_MAX = 4 * 1024

/** `done` never rejects; `abort` tells the loader that nobody waits any more. */
export function startLoad(deps: LoadDeps, run: LoadRun): { done: Promise<LoadResult>; abort: () => void } {
  const aborter = new AbortController()
  const { definition } = run
  let chosen: Chosen = {}
  const context: LoadContext = {
    signal: aborter.signal,
    reason: run.reason,
    // Decoded only for a loader that looks at it.
    get previous() {
      return previousEntry(deps.meshClock, run)
    },
    store: choice => {
      chosen = chosenOf(definition, choice)
    }
  }
  deps.stats.loadsTotal++
  const beganMs = deps.clock.monotonic()
  const done = settleInTime(deps, definition, aborter, async () => run.call(context)).then(
    value => keep(deps, run, value, chosen, deps.clock.monotonic() - beganMs),
    thrown => failed(deps, thrown)
  )
  return { done, abort: () => aborter.abort(new Error('nobody waits for this load any more')) }
}

/** What the loader has chosen for its result; nothing where it left that to the cache. */
export interface Chosen {
  readonly ttlMs?: number | undefined
  readonly tags?: readonly string[] | undefined
}

export function chosenOf(definition: CacheDefinition, choice: StoreChoice): Chosen {
  if (choice === false) return { ttlMs: 0 }
  const what = `the ttl given to store() in the loader of cache '${definition.name}'`
  return { ttlMs: choice.ttl === undefined ? undefined : ttlMs(choice.ttl, what), tags: choice.tags }
}

export function previousEntry(
  meshClock: MeshClock,
  { definition, key, previous }: Pick<LoadRun, 'definition' | 'key' | 'previous'>
): Entry<unknown> | undefined {
  if (previous === undefined) return undefined
  return {
    value: definition.codec.decode(previous.bytes, { cache: definition.name, key: String(key) }),
    version: versionText(previous) as Version,
    expiresAt: Math.round(meshClock.wallOf(previous.expiresAtMs)),
    stale: previous.stale,
    tags: decodeTags(previous.tags),
    from: 'owner'
  }
}

export function settleInTime(
  deps: LoadDeps,
  definition: CacheDefinition,
  aborter: AbortController,
  call: () => Promise<unknown>
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const disarm = deps.clock.after(definition.loadTimeoutMs, () => {
      const late = new LateLoad(
        `The loader of cache '${definition.name}' did not settle within ${definition.loadTimeoutMs} ms and was aborted. Raise loadTimeout, or make the loader honour its signal.`
      )
      aborter.abort(late)
      reject(late)
    })
    call().then(resolve, reject).finally(disarm)
  })
}

export function keep(deps: LoadDeps, run: LoadRun, value: unknown, chosen: Chosen, loadMs: number): LoadResult {
  const { definition } = run
  const negative = value === null || value === undefined
  if (negative) deps.stats.loadsNegativeTotal++
  try {
    const bytes = definition.codec.encode(value, { cache: definition.name, key: String(run.key), allowUndefined: true })
    if (bytes.length > HANDED_OUT_BYTES_MAX) {
      return refused(
        deps,
        'ERR_MESH_VALUE_TOO_LARGE',
        `The loader of cache '${definition.name}' gave a value of ${bytes.length} bytes; over ${HANDED_OUT_BYTES_MAX} it cannot be handed to other members. Load something smaller.`
      )
    }
    const keepMs = negative
      ? Math.min(chosen.ttlMs ?? definition.negativeTtlMs, definition.negativeTtlMs)
      : (chosen.ttlMs ?? run.ttlMs)
    // That there is nothing is soon looked at again anyway, and has no tags.
    const tags = negative ? NO_TAGS : tagsOf(definition, run.key, value, chosen.tags ?? run.tags)
    return {
      code: 'value',
      bytes,
      failure: '',
      negative,
      ttlMs: fits(deps, definition, bytes) ? jittered(deps, definition, keepMs) : 0,
      keep: negative ? undefined : keepTermsOf(definition, tags, loadMs),
      backups: definition.backups,
      loadMs
    }
  } catch (error) {
    if (isMeshError(error, 'ERR_MESH_VALUE')) return refused(deps, 'ERR_MESH_VALUE', error.message)
    if (isMeshError(error, 'ERR_MESH_VALUE_TOO_LARGE')) return refused(deps, 'ERR_MESH_VALUE_TOO_LARGE', error.message)
    // A codec of the application that throws is part of its loader's failure.
    return failed(deps, error)
  }
}

/** A page of 1.1 MiB is handed out and not kept: failing the request would be no cache's business. */
function fits(deps: LoadDeps, definition: CacheDefinition, bytes: Uint8Array): boolean {
  if (bytes.length <= definition.valueBytesMax) return true
  deps.stats.valuesTooLargeTotal++
  deps.log.warn(
    { cache: definition.name, bytes: bytes.length, code: 'CACHEMESH_VALUE_TOO_LARGE' },
    `a loaded value of cache '${definition.name}' has ${bytes.length} bytes, over maxValueBytes ${definition.valueBytesMax}: handed out, not kept`
  )
  return false
}

/** Only shortens, so that what was loaded together does not expire together. */
function jittered(deps: LoadDeps, definition: CacheDefinition, keepMs: number): number {
  return keepMs === Number.POSITIVE_INFINITY ? keepMs : keepMs * (1 - definition.jitter * deps.random.float())
}

/** What the loader threw, whatever it is: also an error of ours that it met in another cache is its failure here. */
export function failed(deps: LoadDeps, thrown: unknown): LoadResult {
  if (thrown instanceof LateLoad) {
    deps.stats.loadsTimedOutTotal++
    return refused(deps, 'ERR_MESH_LOAD_TIMEOUT', thrown.message)
  }
  return refused(deps, 'ERR_MESH_LOAD', encodeFailure(thrown))
}

export function refused(deps: LoadDeps, code: Outcome['code'], failure: string): LoadResult {
  deps.stats.loadsFailedTotal++
  return { code, failure, bytes: NOTHING, negative: false, ttlMs: 0, keep: undefined, backups: 0 }
}

/** A failure that is told to callers who come later: the message of now, and what the loader threw then. */
export function withCause(message: string, encodedFailure: string): string {
  return encodedFailure.length > CAUSE_UNITS_MAX ? message : `${message}\n${encodedFailure}`
}

/** The error that a failed outcome is to a caller; a new one for each, so that nobody shares a stack or a field. */
export function errorOf(outcome: Outcome, definition: CacheDefinition, key: Key): MeshError {
  const detail = { cache: definition.name, key: String(key) }
  switch (outcome.code) {
    case 'ERR_MESH_LOAD': {
      const cause = decodeFailure(outcome.failure)
      return new LoadError(`The loader of cache '${definition.name}' failed: ${cause.message}`, cause, detail)
    }
    case 'ERR_MESH_BACKOFF': {
      const [message = '', encoded] = outcome.failure.split('\n', 2)
      const cause = encoded === undefined ? undefined : decodeFailure(encoded)
      return new MeshError(outcome.code, message, { ...detail, cause })
    }
    default:
      return new MeshError(outcome.code as Exclude<Outcome['code'], 'value'>, outcome.failure, detail)
  }
}
