import type { Knobs } from '../knobs.ts'
import { isUnitedSinceLevel, isWrite, nameOf } from './changes.ts'
import { type Calm, type Checker, type ClientCall, Violation } from './checker.ts'
import { Newcomers } from './newcomers.ts'

/**
 * Invariant 18: one member never goes back. Of a key it reads what it has itself written, and what it has read before,
 * or something newer; judged by versions, and of calls that do not overlap.
 *
 * Not judged: a miss, since somebody may have deleted the key; what may have been lost by crashes since (`losses.ts`);
 * what came before a split, or after it and before the two sides were level again: each answers with what it has; and
 * what a member wrote before it knew of anybody else (`newcomers.ts`), which is a split of its own.
 */
export function sessionsGoForward(calm: Calm, { pressure }: Pick<Knobs, 'pressure'>): Checker {
  const seen = new Map<string, ClientCall>()
  const newcomers = new Newcomers(calm)
  return {
    ...newcomers.hooks,
    died: member => {
      for (const name of seen.keys()) if (name.startsWith(`${member} `)) seen.delete(name)
    },
    called: call => {
      newcomers.called(call)
      const { version, member, beganMs, endedMs, backups = 0 } = call
      if (version === undefined || (call.kind !== 'get' && !isWrite(call))) return
      const name = `${member} ${nameOf(call)}`
      const before = seen.get(name)
      if (before === undefined || (before.version as string) < version) seen.set(name, call)
      if (before === undefined || call.kind !== 'get' || version >= (before.version as string)) return
      if (
        before.endedMs >= beganMs ||
        !isUnitedSinceLevel(calm, before.beganMs) ||
        pressure ||
        newcomers.isMadeAlone(call) ||
        newcomers.isMadeAlone(before)
      )
        return
      const acked = typeof before.acks === 'number' ? before.acks : 0
      if (calm.losses.mayHaveLost({ sinceMs: before.beganMs, untilMs: endedMs, acked, backups })) return
      throw new Violation(
        'sessions',
        `member ${member}, asking for ${nameOf(call)} at ${beganMs}, got ${version}, but it had ${before.version} at ${before.endedMs} by a ${before.kind}`
      )
    }
  }
}
