import type { Knobs } from '../knobs.ts'
import { backupsThatHave } from './changes.ts'
import { type Calm, type Checker, type ClientCall, Violation } from './checker.ts'

const REMEMBERED = 64
/** What is promised of a near copy while its owner can be reached and views agree, whatever gossip loses. */
const LAG_MS = 2_000

/**
 * P2 of near copies: in a view that has been stable for as long, a read answered from one is at most two seconds behind:
 * it returns nothing that was overwritten or deleted by a change acknowledged earlier than that before it began. And a
 * member never reads near what it has overwritten itself before the read began, however little time has passed.
 */
export function nearCopiesKeepUp(calm: Calm, { backups }: Pick<Knobs, 'backups'>): Checker {
  const changes = new Map<string, (ClientCall & { readonly acked: number })[]>()
  return {
    called: call => {
      if (call.cache !== 'near' || call.failed !== undefined) return
      const known = changes.get(call.key) ?? []
      if (call.kind === 'set' || call.kind === 'delete') {
        if (calm.sinceMs() > call.beganMs) return
        changes.set(call.key, [...known.slice(1 - REMEMBERED), { ...call, acked: backupsThatHave(call, calm) }])
        return
      }
      if (call.kind !== 'get' || !call.isNear || call.value === undefined) return
      const writer = known.find(change => change.kind === 'set' && change.wrote === call.value)
      if (writer === undefined) return
      const newer = known.find(change => {
        const lagMs = change.member === call.member ? 0 : LAG_MS
        const isKnown = change.endedMs + lagMs < call.beganMs && calm.sinceMs() + lagMs < call.beganMs
        if (!isKnown || writer.endedMs >= change.beganMs || calm.lastApartMs() >= change.beganMs) return false
        const { acked, beganMs: sinceMs } = change
        return !(backups > 0 && calm.losses.mayHaveLost({ sinceMs, untilMs: calm.nowMs(), acked, backups }))
      })
      if (newer === undefined) return
      throw new Violation(
        'near copies keep up',
        `member ${call.member} read ${call.value} of ${call.key} near in a read begun at ${call.beganMs}, but ${newer.kind} of ${newer.wrote} by member ${newer.member} was acknowledged at ${newer.endedMs}`
      )
    }
  }
}
