/**
 * The one door to the origin: every loader call of this member, for its own keys, under somebody's lease or alone, goes
 * through here, past the guard that says when.
 */
import {
  abandoned,
  guarded,
  type OriginDeps,
  type OriginRun,
  originSaid,
  type Running,
  turnedAway
} from './guarded-call.ts'
import { type LoadResult, startLoad } from './load.ts'
import { LoadBatches } from './load-batches.ts'

export class Origin {
  readonly #deps: OriginDeps
  readonly #batches: LoadBatches

  constructor(deps: OriginDeps) {
    this.#deps = deps
    this.#batches = new LoadBatches(deps)
  }

  begin(run: OriginRun): Running {
    if (run.reason === 'warm') this.#deps.stats.loadsWarmTotal++
    return run.loadMany === undefined ? this.#single(run) : this.#batches.begin(run, run.loadMany)
  }

  #single(run: OriginRun): Running {
    const { definition, urgency } = run
    let settle: (result: LoadResult) => void = () => {}
    const done = new Promise<LoadResult>(resolve => {
      settle = resolve
    })
    const begin = () => {
      const load = startLoad(this.#deps, run)
      void load.done.then(settle)
      return { over: load.done.then(originSaid), abort: load.abort }
    }
    const passage = guarded(this.#deps.guard, definition, urgency, begin, (why, retryAfterMs) =>
      settle(turnedAway(this.#deps, definition, why, retryAfterMs))
    )
    const abort = (): void => {
      passage.abort()
      settle(abandoned(this.#deps))
    }
    return { done, promote: passage.promote, abort }
  }
}
