import { type Calm, type Checker, type SettledState, Violation } from './checker.ts'

/** How long after a leave a suspicion of the one that left would still be its fault. */
const FAREWELL_MS = 10_000
/** A silence of before that has led to no suspicion by then leads to none. */
const SILENCE_MS = 5_000

/**
 * A member is always in its own view; one that leaves in peace is never suspected; and once the faults are over nobody
 * is suspected any more, for whoever lives has contradicted with a higher incarnation.
 */
export function membersStand(calm: Calm): Checker {
  const leftAtMs = new Map<string, number>()
  return {
    saw: ({ member, isHere, view }) => {
      if (isHere && !view.includes(member)) throw new Violation('own id', `${member} is not in its own view`)
    },
    leaves: (member, atMs) => {
      if (calm.sinceMs() < atMs && calm.lastApartMs() < atMs - SILENCE_MS) leftAtMs.set(member, atMs)
    },
    joins: member => {
      leftAtMs.delete(member)
    },
    suspected: (member, by, atMs) => {
      if (atMs - (leftAtMs.get(member) ?? Number.NEGATIVE_INFINITY) < FAREWELL_MS)
        throw new Violation('quiet leave', `${member} was suspected by ${by} although it took leave`)
    },
    settled: ({ suspects }: SettledState) => {
      for (const [member, suspected] of suspects)
        if (suspected.length > 0) throw new Violation('refutation', `${member} still suspects ${suspected}`)
    }
  }
}
