import { type Calm, type Checker, type ClientCall, Violation } from './checker.ts'

/**
 * Of all that compare with one version, one is told yes. With a version also through crashes, for what is lost is not
 * set again; not where members were kept apart. With "only if there is none" while no view changes, since what was set
 * may be lost and be set again.
 */
export function oneWins(calm: Calm): Checker {
  const winners = new Map<string, ClientCall>()
  return {
    called: call => {
      if (call.kind !== 'compareAndSet' || call.version === undefined) return
      const name = `${call.key} ${call.expected}`
      const before = winners.get(name)
      winners.set(name, call)
      const quietSinceMs = call.expected === null ? calm.lastUnrestMs() : calm.lastApartMs()
      if (before === undefined || quietSinceMs >= before.beganMs) return
      throw new Violation(
        'one compare wins',
        `${call.key} was ${call.expected} for member ${before.member}, which set ${before.version}, and for member ${call.member}, which set ${call.version}`
      )
    }
  }
}
