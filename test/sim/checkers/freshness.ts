import type { Knobs } from '../knobs.ts'
import { backupsThatHave } from './changes.ts'
import { type Calm, type Checker, type ClientCall, Violation } from './checker.ts'

const REMEMBERED = 64
/** Where segments are lost a backup may be asked, and lag behind by this. */
const LAG_MS = 3_000

/**
 * P2 and P3 from the client's side: in a stable view no read returns what was overwritten or deleted before it began,
 * and no load that began before an invalidation is returned to a read that began after it.
 *
 * In the loaded cache values are rows of the origin, which only rise, and a delete names the row it makes way for: a
 * later read must see that row or a higher one. In the plain cache each set writes a number of its own: a later read
 * must not see it if another set began after it had ended and was acknowledged before the read began. Two sets that
 * overlap may land in either order.
 */
export function freshness(calm: Calm, { backups: ofAll, loss }: Pick<Knobs, 'backups' | 'loss'>): Checker {
  const changes = new Map<string, Change[]>()
  return {
    called: call => {
      const name = `${call.cache}/${call.key}`
      const known = changes.get(name) ?? []
      if (call.kind === 'set' || call.kind === 'delete') {
        // One made while views disagreed may have reached a member that was about to give the key away.
        if (calm.sinceMs() > call.beganMs) return
        const change = { ...call, backups: call.backups ?? ofAll, acked: backupsThatHave(call, calm) }
        changes.set(name, [...known.slice(1 - REMEMBERED), change])
        return
      }
      // `near-lag.ts` judges those.
      if (call.value === undefined || call.failed !== undefined || call.isNear) return
      const newer = known.find(
        change => change.failed === undefined && isOverruled(call, change, known) && isJudged(call, change, calm, loss)
      )
      if (newer !== undefined) throw new Violation('no stale read', describe(call, newer))
    }
  }
}

interface Change extends ClientCall {
  readonly backups: number
  /** How many backups had it when it was acknowledged. */
  readonly acked: number
}

/**
 * The change was acknowledged before the read began, both in a stable view. Members may have joined and left in
 * between; but none was kept apart, for two sides that both served keep what each has until copies are reconciled.
 * Members may have crashed: where there are no copies, what is lost is a miss and not an old value; where there are,
 * a copy that had not come as far may have become the record, unless the change had waited for enough of them. What is
 * promised is what the owner answers; when it seems slow a copy does, and where it does not wait for copies that lags.
 */
function isJudged(read: ClientCall, change: Change, calm: Calm, loss: boolean): boolean {
  const { acked, backups, endedMs } = change
  if (loss && acked < backups && read.beganMs < endedMs + LAG_MS) return false
  const isCalm = endedMs < read.beganMs && calm.sinceMs() < read.beganMs && calm.lastApartMs() < change.beganMs
  return (
    isCalm &&
    !(backups > 0 && calm.losses.mayHaveLost({ sinceMs: change.beganMs, untilMs: calm.nowMs(), acked, backups }))
  )
}

function isOverruled(read: ClientCall, change: ClientCall, known: readonly ClientCall[]): boolean {
  if (read.cache === 'loaded') return (read.value as number) < (change.wrote ?? 0)
  const writer = known.find(call => call.kind === 'set' && call.wrote === read.value)
  // A set that has not come back, failed, or was made in unrest may have landed at any time.
  return writer !== undefined && writer.failed === undefined && writer.endedMs < change.beganMs
}

function describe(read: ClientCall, change: ClientCall): string {
  return (
    `member ${read.member} read ${read.value} of ${read.cache}/${read.key} in a read begun at ${read.beganMs}, ` +
    `but ${change.kind} of ${change.wrote} was acknowledged at ${change.endedMs}`
  )
}
