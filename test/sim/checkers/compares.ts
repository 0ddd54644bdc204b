import type { Knobs } from '../knobs.ts'
import { backupsThatHave, Deletes, nameOf } from './changes.ts'
import { type Calm, type Checker, type ClientCall, Violation } from './checker.ts'

/**
 * Of all that compare with one version, one is told yes. With a version also through crashes, unless a copy from before
 * the first yes may have become the record; not where members were kept apart, or took each other for dead because
 * frames were lost. With "only if there is none" while no view changes, since what was set may be lost and be set again;
 * and while nobody deletes it.
 */
export function oneWins(calm: Calm, { loss }: Pick<Knobs, 'loss'>): Checker {
  const winners = new Map<string, Winner>()
  const deletes = new Deletes(calm)
  return {
    began: call => deletes.began(call),
    called: call => {
      deletes.ended(call)
      if (call.kind !== 'compareAndSet' || call.version === undefined) return
      const name = `${nameOf(call)} ${call.expected}`
      const before = winners.get(name)
      winners.set(name, { ...call, acked: backupsThatHave(call, calm), calmSinceMs: calm.sinceMs() })
      if (before !== undefined && call.expected === null && deletes.maySucceed(nameOf(call), before)) return
      const quietSinceMs = call.expected === null || loss ? calm.lastUnrestMs() : calm.lastApartMs()
      if (before === undefined || quietSinceMs >= before.beganMs) return
      const { acked, backups = 0, beganMs } = before
      if (backups > 0 && calm.losses.mayHaveLost({ sinceMs: beganMs, untilMs: calm.nowMs(), acked, backups })) return
      throw new Violation(
        'one compare wins',
        `${nameOf(call)} was ${call.expected} for member ${before.member}, which set ${before.version}, and for member ${call.member}, which set ${call.version}`
      )
    }
  }
}

interface Winner extends ClientCall {
  readonly acked: number
  readonly calmSinceMs: number
}
