/**
 * Keys that are missed at about the same time are loaded by one call of `loadMany`. What is batched is only the call:
 * each key has its own flight, its waiters, its result and its TTL, so a key that somebody asks for alone meanwhile
 * joins the very same load.
 *
 * The window is a few turns long: the keys of one `getMany` come in frames of one turn and are worked on in slices, and
 * all of them are to be one call. Whoever misses a single key pays it too, which is why a cache without `loadMany`
 * never comes here.
 */
import { got, MeshError } from '../base/errors.ts'
import { encodeKey, type Key } from '../codec/keys.ts'
import type { Cancel } from '../ports/clock.ts'
import type { CacheDefinition, LoadContext, LoadMany, LoadManyContext, May } from './definition.ts'
import type { Refusal } from './guard.ts'
import {
  abandoned,
  guarded,
  type OriginCall,
  type OriginDeps,
  type OriginRun,
  type Passage,
  type Running,
  turnedAway
} from './guarded-call.ts'
import { type Chosen, chosenOf, failed, keep, type LoadResult, previousEntry, settleInTime } from './load.ts'

const WINDOW_MS = 2
/** Keys of one call; what comes beyond it is the next one. */
const KEYS_MAX = 1_000

/** One key of a batch. */
class Wanted {
  readonly run: OriginRun
  readonly done: Promise<LoadResult>
  settle: (result: LoadResult) => void = () => {}
  chosen: Chosen = {}
  isWanted = true
  isUrgent: boolean

  constructor(run: OriginRun) {
    this.run = run
    this.isUrgent = run.urgency === 'user'
    this.done = new Promise(resolve => {
      this.settle = resolve
    })
  }
}

export class LoadBatches {
  readonly #deps: OriginDeps
  /** Those that still take keys; few, for each is open for a moment. */
  readonly #open: Batch[] = []

  constructor(deps: OriginDeps) {
    this.#deps = deps
  }

  begin(run: OriginRun, loadMany: LoadMany): Running {
    const batch = this.#open.find(open => open.takes(run, loadMany)) ?? this.#openOne(run, loadMany)
    const wanted = batch.add(run)
    if (batch.isFull) this.#close(batch)
    return {
      done: wanted.done,
      promote: () => batch.promote(wanted),
      abort: () => batch.abort(wanted)
    }
  }

  #openOne(run: OriginRun, loadMany: LoadMany): Batch {
    const batch = new Batch(this.#deps, run.definition, loadMany)
    this.#open.push(batch)
    batch.disarm = this.#deps.clock.after(WINDOW_MS, () => this.#close(batch))
    return batch
  }

  #close(batch: Batch): void {
    batch.disarm()
    this.#open.splice(this.#open.indexOf(batch), 1)
    batch.go()
  }
}

class Batch {
  readonly #deps: OriginDeps
  readonly #definition: CacheDefinition
  readonly #loadMany: LoadMany
  readonly #aborter = new AbortController()
  #wanted: Wanted[] = []
  #passage: Passage | undefined
  disarm: Cancel = () => {}

  constructor(deps: OriginDeps, definition: CacheDefinition, loadMany: LoadMany) {
    this.#deps = deps
    this.#definition = definition
    this.#loadMany = loadMany
  }

  get isFull(): boolean {
    return this.#wanted.length === KEYS_MAX
  }

  takes({ definition }: OriginRun, loadMany: LoadMany): boolean {
    return this.#loadMany === loadMany && this.#definition === definition
  }

  add(run: OriginRun): Wanted {
    const wanted = new Wanted(run)
    this.#wanted.push(wanted)
    return wanted
  }

  promote(wanted: Wanted): void {
    wanted.isUrgent = true
    this.#passage?.promote()
  }

  /** The call is aborted when nobody waits for any of its keys. */
  abort(wanted: Wanted): void {
    if (!wanted.isWanted) return
    wanted.isWanted = false
    wanted.settle(abandoned(this.#deps))
    if (this.#wanted.every(one => !one.isWanted)) this.#passage?.abort()
  }

  go(): void {
    this.#wanted = this.#wanted.filter(({ isWanted }) => isWanted)
    if (this.#wanted.length === 0) return
    const urgency = this.#wanted.some(({ isUrgent }) => isUrgent) ? 'user' : 'refresh'
    const refuse = (why: Refusal, retryAfterMs: number): void =>
      this.#settle(() => turnedAway(this.#deps, this.#definition, why, retryAfterMs))
    this.#passage = guarded(this.#deps.guard, this.#definition, urgency, () => this.#begin(), refuse)
  }

  #begin(): OriginCall {
    const { clock, stats } = this.#deps
    stats.loadsTotal++
    stats.loadsBatchedTotal += this.#wanted.length
    const beganMs = clock.monotonic()
    const over = settleInTime(this.#deps, this.#definition, this.#aborter, async () => this.#ask()).then(
      results => {
        const { length } = this.#wanted
        // It does not hold to the contract, so nobody knows which result is whose.
        if (!Array.isArray(results) || results.length !== length) return this.#fail(notOneEach(results, length))
        const loadMs = clock.monotonic() - beganMs
        for (const [place, wanted] of this.#wanted.entries())
          wanted.settle(this.#resultOf(wanted, results[place], loadMs))
        return 'ok' as const
      },
      thrown => this.#fail(thrown)
    )
    return { over, abort: () => this.#aborter.abort(new Error('nobody waits for these loads any more')) }
  }

  #ask(): May<readonly unknown[]> {
    const byKey = new Map(this.#wanted.map(wanted => [encodeKey(wanted.run.key, this.#definition.name), wanted]))
    const wantedOf = (key: Key): Wanted => {
      const wanted = byKey.get(encodeKey(key, this.#definition.name))
      if (wanted !== undefined) return wanted
      throw new MeshError(
        'ERR_MESH_KEY',
        `The loadMany of cache '${this.#definition.name}' spoke of a key that it was not asked for. Use the keys it is given.`,
        { cache: this.#definition.name }
      )
    }
    const context: LoadManyContext = {
      signal: this.#aborter.signal,
      reason: key => wantedOf(key).run.reason,
      previous: key => previousEntry(this.#deps.meshClock, wantedOf(key).run),
      store: (key, choice) => {
        wantedOf(key).chosen = chosenOf(this.#definition, choice)
      }
    }
    return this.#loadMany(
      this.#wanted.map(({ run }) => run.key),
      context
    )
  }

  #resultOf({ run, chosen }: Wanted, value: unknown, loadMs: number): LoadResult {
    return value instanceof Error ? failed(this.#deps, value) : keep(this.#deps, run, value, chosen, loadMs)
  }

  #fail(thrown: unknown): 'failed' {
    this.#settle(() => failed(this.#deps, thrown))
    return 'failed'
  }

  #settle(result: () => LoadResult): void {
    for (const wanted of this.#wanted) wanted.settle(result())
  }
}

function notOneEach(results: unknown, wanted: number): Error {
  return new Error(
    `loadMany is to answer with an array of ${wanted} results, one for each key and in their order, an Error for one that failed; it gave ${got(results)}`
  )
}

/** For a key that is loaded without its owner, and so without company. */
export function aloneBy(loadMany: LoadMany, key: Key): (context: LoadContext) => Promise<unknown> {
  return async context => {
    const [result] = await loadMany([key], {
      signal: context.signal,
      reason: () => context.reason,
      previous: () => context.previous as never,
      store: (_key, choice) => context.store(choice)
    })
    if (result instanceof Error) throw result
    return result
  }
}
