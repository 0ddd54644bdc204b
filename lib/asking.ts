/**
 * What this member's own callers use, put together: reads, changes, and whatever else a cache can be asked.
 */
import { Caches } from './caches.ts'
import type { BackOffs } from './fill/back-off.ts'
import type { CacheDefinition } from './fill/definition.ts'
import type { Flights } from './fill/flight.ts'
import type { Guard } from './fill/guard.ts'
import type { Happenings } from './observe/happenings.ts'
import type { Journal } from './observe/journal.ts'
import type { Detach } from './ports/context.ts'
import { type ReadingDeps, reading } from './reading.ts'
import { Explanations } from './serving/explanations.ts'
import { FilterChanges } from './serving/filter-changes.ts'
import type { Filters } from './serving/filters.ts'
import { Surveys, type SurveysDeps } from './serving/surveys.ts'
import type { Writes } from './serving/writes.ts'
import type { Store } from './store/store.ts'
import { Topics, type TopicsDeps } from './topics/topics.ts'
import { type WritingDeps, writing } from './writing.ts'

export interface AskingDeps
  extends ReadingDeps,
    Omit<WritingDeps, 'sessions'>,
    Pick<SurveysDeps, 'ownPage'>,
    Omit<TopicsDeps, 'self'> {
  readonly store: Store
  readonly flights: Flights
  readonly guard: Guard
  readonly backOffs: BackOffs
  readonly journal: Journal
  readonly happenings: Happenings
  readonly filters: Filters
  readonly detach: Detach
  readonly ownsKeys: boolean
  readonly checkOpen: () => void
  readonly onDeclared: (definition: CacheDefinition) => void
}

export interface Asking {
  readonly caches: Caches
  readonly writes: Writes
  readonly explanations: Explanations
  readonly topics: Topics
}

export function asking(deps: AskingDeps): Asking {
  const { routes, client, clock, meshClock, random, stats, log, timeoutMs, filters, ownPage, onDeclared } = deps
  const { detach, ownsKeys, checkOpen, happenings } = deps
  const { router, reads, many, near, sessions } = reading(deps)
  const { changes, flushes, writes } = writing({ ...deps, random: random.fork('writes'), sessions })
  const explanations = new Explanations(deps)
  const clearHere: SurveysDeps['clearHere'] = ({ namespace }, { kind, texts }, stamp) => {
    for (const text of texts) deps.store.addFloor({ kind, namespace, text, stamp, atMs: meshClock.now() })
  }
  const shared = { routes, clock, meshClock, client }
  const caches = new Caches(
    {
      ...{ reads, many, near, router, changes, explanations, writes, flushes, ownsKeys, checkOpen },
      ...{ clock, meshClock, stats, log, detach, timeoutMs, happenings },
      filterChanges: new FilterChanges({ ...shared, filters, attemptMs: timeoutMs }),
      surveys: new Surveys({ routes, client, changes, meshClock, ownPage, clearHere }),
      random: random.fork('updates')
    },
    onDeclared
  )
  const topics = new Topics({ ...deps, self: routes.deps.self })
  return { caches, writes, explanations, topics }
}
