import type { Knobs } from '../knobs.ts'
import { type Calm, type Checker, type ClientCall, Violation } from './checker.ts'

interface Tally {
  /** Adds that may have been counted: acknowledged, under way, or of unknown outcome. */
  possible: number
  readonly acknowledgedAtMs: number[]
  /** The last unrest when the first add began. */
  readonly bornIn: number
}

/**
 * No add is counted twice, whatever happens: a counter never shows more than the adds that may have been counted. And
 * while no member's view changes it shows at least those that were acknowledged before it was asked, links lost or not.
 * Every add in the workload is of 1.
 *
 * Where there are copies, a count is judged only where all links were up since before it: a copy answers in the place of
 * an owner that cannot be reached, and is behind it.
 */
export function countsAreExact(calm: Calm, { backups }: Pick<Knobs, 'backups'>): Checker {
  const tallies = new Map<string, Tally>()
  return {
    began: ({ kind, key }) => {
      if (kind !== 'add') return
      const tally = tallies.get(key) ?? { possible: 0, acknowledgedAtMs: [], bornIn: calm.lastUnrestMs() }
      tallies.set(key, tally)
      tally.possible++
    },
    called: call => {
      const tally = tallies.get(call.key)
      if ((call.kind !== 'add' && call.kind !== 'count') || tally === undefined) return
      if (call.kind === 'add' && call.failed !== undefined && call.isUnknown !== true) tally.possible--
      const mayBeCopied = call.kind === 'count' && backups > 0 && calm.sinceMs() >= call.beganMs
      if (call.value !== undefined) judge(call, call.value, tally, calm, mayBeCopied)
      if (call.kind === 'add' && call.failed === undefined) tally.acknowledgedAtMs.push(call.endedMs)
    }
  }
}

function judge(call: ClientCall, value: number, tally: Tally, calm: Calm, mayBeCopied: boolean): void {
  const where = `${call.kind} of ${call.key} by member ${call.member}, begun at ${call.beganMs}`
  if (value > tally.possible)
    throw new Violation('no add twice', `${where}: ${value}, but at most ${tally.possible} adds can have been counted`)
  // Nothing was lost if the views have been one, and the same one, since the counter was born.
  if (mayBeCopied || !Number.isFinite(tally.bornIn) || calm.lastUnrestMs() !== tally.bornIn) return
  const acknowledged = tally.acknowledgedAtMs.filter(endedMs => endedMs < call.beganMs).length
  const own = call.kind === 'add' ? 1 : 0
  if (value < acknowledged + own)
    throw new Violation('no add lost', `${where}: ${value}, but ${acknowledged} adds had been acknowledged`)
}
