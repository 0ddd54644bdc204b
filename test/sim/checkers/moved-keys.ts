import type { Knobs } from '../knobs.ts'
import { nameOf } from './changes.ts'
import { type Calm, type Checker, Violation } from './checker.ts'
import { Newcomers } from './newcomers.ts'

/**
 * P6: a key that moves is taken from the member that has it, and not loaded again. Where members only join and leave,
 * the origin is not asked for a key that was read in a stable view, so that it surely lies with its owner, and that
 * nobody has deleted since: not while it moves, not after.
 */
export function movedKeysAreNotLoaded(calm: Calm, { pressure }: Pick<Knobs, 'pressure'>): Checker {
  const residentSinceMs = new Map<string, number>()
  const changing = new Map<string, number>()
  /** What was asked for before may have come from a load that a change has fenced, and lie nowhere. */
  const changedAtMs = new Map<string, number>()
  const newcomers = new Newcomers(calm)
  return {
    ...newcomers.hooks,
    began: ({ cache, key, kind }) => {
      if (cache !== 'loaded' || kind !== 'delete') return
      residentSinceMs.delete(key)
      changing.set(key, (changing.get(key) ?? 0) + 1)
    },
    called: call => {
      const { cache, key, kind, failed, value, beganMs } = call
      if (cache !== 'loaded') return
      if (kind === 'delete') {
        // One that failed may still be on its way.
        if (failed === undefined) changing.set(key, (changing.get(key) ?? 0) - 1)
        residentSinceMs.delete(key)
        changedAtMs.set(key, calm.nowMs())
        return
      }
      const isStored =
        value !== undefined && failed === undefined && Math.max(calm.sinceMs(), changedAtMs.get(key) ?? 0) < beganMs
      if (isStored && (changing.get(key) ?? 0) === 0 && !residentSinceMs.has(key))
        residentSinceMs.set(key, calm.nowMs())
    },
    originBegan: ({ key, member, askedMs, beganMs }) => {
      const sinceMs = residentSinceMs.get(key)
      if (pressure || sinceMs === undefined || askedMs <= sinceMs) return
      if (calm.losses.wasAnyLost(sinceMs, beganMs)) return
      if (newcomers.wasAlone(member, askedMs)) return
      throw new Violation(
        'moved key not loaded',
        `${nameOf({ cache: 'loaded', key })} was loaded at ${beganMs} by member ${member}, although it has been there since ${sinceMs}`
      )
    }
  }
}
