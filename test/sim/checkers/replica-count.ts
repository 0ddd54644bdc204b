import type { Knobs } from '../knobs.ts'
import { type Checker, Violation } from './checker.ts'

/**
 * Invariant 9: in a mesh that has settled each record has as many copies as it is to have, or as there are members,
 * whatever was lost before. Each member of the simulator is a host of its own, so no two lie on one. Not judged where
 * members are short of room: a backup may give a partition up, and says so.
 */
export function replicaCountRestored({ pressure }: Pick<Knobs, 'pressure'>): Checker {
  return {
    rested: ({ holdings }) => {
      if (pressure) return
      for (const { cache, key, ranked, held } of holdings) {
        const backups = Math.max(...[...held.values()].map(entry => entry.backups))
        const missing = ranked.slice(0, backups + 1).filter(id => !held.has(id))
        if (missing.length > 0)
          throw new Violation(
            'replica count',
            `${cache}/${key} is to have ${backups} backups, but lies at ${[...held.keys()]} and not at ${missing}`
          )
      }
    }
  }
}
