/**
 * One call of the origin, from asking the guard to its end. What the origin was asked counts against the limit until
 * its call has really ended or its time is over, also when nobody waits for it any more: the origin is still at it.
 */
import type { CacheDefinition, LoadMany } from './definition.ts'
import type { OriginGuard, Refusal, Ticket } from './guard.ts'
import { type LoadDeps, type LoadResult, type LoadRun, refused } from './load.ts'
import type { Urgency } from './waiting-line.ts'

export interface OriginRun extends LoadRun {
  readonly urgency: Urgency
  /** Loads it together with others that are missed at the same time. */
  readonly loadMany?: LoadMany | undefined
}

/** A load that waits for its turn or runs. */
export interface Running {
  /** Never rejects. */
  readonly done: Promise<LoadResult>
  /** Nobody waits for it any more. */
  abort(): void
  /** A user has come to wait for it. */
  promote(): void
}

export interface OriginDeps extends LoadDeps {
  readonly guard: OriginGuard
}

/** What the origin was asked. */
export interface OriginCall {
  readonly over: Promise<'ok' | 'failed'>
  abort(): void
}

export interface Passage {
  promote(): void
  abort(): void
}

export function guarded(
  guard: OriginGuard,
  definition: CacheDefinition,
  urgency: Urgency,
  begin: () => OriginCall,
  refuse: (why: Refusal, retryAfterMs: number) => void
): Passage {
  let call: OriginCall | undefined
  let aborted = false
  let entering = true
  const start = (): void => {
    if (aborted) return ticket.done('aborted')
    call = begin()
    void call.over.then(said => ticket.done(aborted ? 'aborted' : said))
  }
  // A turn that comes later comes in the middle of somebody else's call; this promise remembers whose load it is.
  let turn: () => void = () => {}
  void new Promise<void>(resolve => {
    turn = resolve
  }).then(start)
  const ticket: Ticket = guard.enter(definition, urgency, { start: () => (entering ? start() : turn()), refuse })
  entering = false
  return {
    promote: () => ticket.promote(),
    abort: () => {
      aborted = true
      if (call === undefined) ticket.withdraw()
      else call.abort()
    }
  }
}

/** A value that cannot be encoded is no fault of the origin. */
export function originSaid({ code }: LoadResult): 'ok' | 'failed' {
  return code === 'ERR_MESH_LOAD' || code === 'ERR_MESH_LOAD_TIMEOUT' ? 'failed' : 'ok'
}

/** What becomes of a load that is given up; nobody is left to read it. */
export function abandoned(deps: LoadDeps): LoadResult {
  return refused(deps, 'ERR_MESH_LOAD_TIMEOUT', 'nobody waits for this load any more')
}

export function turnedAway(
  deps: LoadDeps,
  { name, loadTimeoutMs }: CacheDefinition,
  why: Refusal,
  retryAfterMs: number
): LoadResult {
  switch (why) {
    case 'open':
      return refused(
        deps,
        'ERR_MESH_BACKOFF',
        `The origin of cache '${name}' keeps failing and is left alone by the whole mesh. Try again in ${Math.ceil(retryAfterMs)} ms; staleIfError answers with what was there before.`
      )
    case 'full':
      return refused(
        deps,
        'ERR_MESH_OVERLOADED',
        `Too many loads of cache '${name}' wait for the origin already. Nothing was done; slow down, or raise loadConcurrency if the origin can bear it.`
      )
    case 'late':
      return refused(
        deps,
        'ERR_MESH_OVERLOADED',
        `A load of cache '${name}' waited ${loadTimeoutMs} ms for its turn at the origin and got none. Slow down, or raise loadConcurrency if the origin can bear it.`
      )
  }
}
