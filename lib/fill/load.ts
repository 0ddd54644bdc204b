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
import type { Stats } from '../observe/stats.ts'
import type { Clock } from '../ports/clock.ts'
import type { Logger } from '../ports/log.ts'
import type { Random } from '../ports/random.ts'
import type { Outcome } from '../rpc/messages.ts'
import type { CacheDefinition, LoadContext, May } from './definition.ts'

/** An outcome and how to keep it: `ttlMs` of 0 means hand it out and keep nothing. */
export interface LoadResult extends Outcome {
  readonly ttlMs: number
  readonly negative: boolean
}

export interface LoadDeps {
  readonly clock: Clock
  readonly random: Random
  readonly stats: Stats
  readonly log: Logger
}

export interface LoadRun {
  readonly definition: CacheDefinition
  readonly key: Key
  readonly ttlMs: number
  readonly call: (context: LoadContext) => May<unknown>
}

/** What a frame carries with room to spare. The same bound for a caller next door, so that it is no matter of luck. */
const HANDED_OUT_BYTES_MAX = 14 * 1024 * 1024

class LateLoad extends Error {}

const NOTHING = new Uint8Array(0)

/** `done` never rejects; `abort` tells the loader that nobody waits any more. */
export function startLoad(deps: LoadDeps, run: LoadRun): { done: Promise<LoadResult>; abort: () => void } {
  const aborter = new AbortController()
  const { definition } = run
  let chosenTtlMs: number | undefined
  const context: LoadContext = {
    signal: aborter.signal,
    reason: 'miss',
    store: choice => {
      chosenTtlMs =
        choice === false
          ? 0
          : choice.ttl === undefined
            ? undefined
            : ttlMs(choice.ttl, `the ttl given to store() in the loader of cache '${definition.name}'`)
    }
  }
  deps.stats.loadsTotal++
  const done = settleInTime(deps, definition, aborter, async () => run.call(context)).then(
    value => keep(deps, run, value, chosenTtlMs),
    thrown => failed(deps, thrown)
  )
  return { done, abort: () => aborter.abort(new Error('nobody waits for this load any more')) }
}

function settleInTime(
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

function keep(deps: LoadDeps, run: LoadRun, value: unknown, chosenTtlMs: number | undefined): LoadResult {
  const { definition } = run
  const negative = value === null || value === undefined
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
      ? Math.min(chosenTtlMs ?? definition.negativeTtlMs, definition.negativeTtlMs)
      : (chosenTtlMs ?? run.ttlMs)
    return {
      code: 'value',
      bytes,
      failure: '',
      negative,
      ttlMs: fits(deps, definition, bytes) ? jittered(deps, definition, keepMs) : 0
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
function failed(deps: LoadDeps, thrown: unknown): LoadResult {
  if (thrown instanceof LateLoad) return refused(deps, 'ERR_MESH_LOAD_TIMEOUT', thrown.message)
  return refused(deps, 'ERR_MESH_LOAD', encodeFailure(thrown))
}

function refused(deps: LoadDeps, code: Outcome['code'], failure: string): LoadResult {
  deps.stats.loadsFailedTotal++
  return { code, failure, bytes: NOTHING, negative: false, ttlMs: 0 }
}

/** The error that a failed outcome is to a caller; a new one for each, so that nobody shares a stack or a field. */
export function errorOf(outcome: Outcome, definition: CacheDefinition, key: Key): MeshError {
  const detail = { cache: definition.name, key: String(key) }
  if (outcome.code !== 'ERR_MESH_LOAD')
    return new MeshError(outcome.code as Exclude<Outcome['code'], 'value'>, outcome.failure, detail)
  const cause = decodeFailure(outcome.failure)
  return new LoadError(`The loader of cache '${definition.name}' failed: ${cause.message}`, cause, detail)
}
