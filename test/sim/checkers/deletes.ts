import type { Knobs } from '../knobs.ts'
import { LEVEL_MS } from '../losses.ts'
import { SHORT_TOMBSTONE_MS } from '../trouble.ts'
import { backupsThatHave, isDelete, isWrite, nameOf } from './changes.ts'
import { type Calm, type Checker, type ClientCall, Violation } from './checker.ts'

const REMEMBERED = 64
/** Marks of deleted keys may go a little before their time is over everywhere. */
const MARGIN_MS = 1_000

/**
 * P7, invariants 6 and 7: what is deleted stays deleted. Once a delete is acknowledged, no read that begins in a mesh
 * that is level returns a value of before: not after a split in which the other side kept it, not when the mark of it
 * is collected, not when a member comes back that was away.
 *
 * A value is of before where its write was over and word of it had spread when the delete began (`isOrdered`); in the
 * loaded cache, where it is a lower row than the delete names, and each call of the origin that gave that row began
 * before the delete. Deletes are judged until their marks may have been lost with all who held them. Splits that took
 * longer than marks last are judged where the delete was made on the larger side, or before the split.
 *
 * Without splits also judged at once, in a stable view: by `freshness.ts`. Reads from near copies may be behind for a
 * moment, and are judged by `near-lag.ts`.
 */
export function deletesStay(calm: Calm, { longSplits, loss }: Pick<Knobs, 'longSplits' | 'loss'>): Checker {
  const written = new Map<string, ClientCall>()
  const deletes = new Map<string, Deleted[]>()
  const loads = new Map<string, { beganMs: number }>()
  const { losses } = calm

  const isStanding = (one: Deleted, readMs: number): boolean => {
    const { acked, backups = 0, endedMs, beganMs, member } = one
    if (losses.mayHaveLost({ sinceMs: beganMs, untilMs: readMs, acked, backups })) return false
    if (!longSplits) return true
    const long = losses.longApart(beganMs, readMs, SHORT_TOMBSTONE_MS - MARGIN_MS)
    return long.every(apart => apart.fromMs > endedMs || apart.larger?.has(member) === true)
  }
  const isOfBefore = (call: Pick<ClientCall, 'cache' | 'key' | 'value'>, one: ClientCall): boolean => {
    if (call.cache === 'loaded') {
      const load = loads.get(`${call.key} ${call.value}`)
      const isOlder = (call.value as number) < (one.wrote ?? 0)
      return isOlder && load !== undefined && losses.isOrdered(load.beganMs, one.beganMs)
    }
    const write = written.get(`${nameOf(call)} ${call.value}`)
    return write !== undefined && losses.isOrdered(write.endedMs, one.beganMs)
  }
  const judge = (call: Pick<ClientCall, 'cache' | 'key' | 'value' | 'member'>, beganMs: number): void => {
    if (call.value === undefined) return
    for (const one of deletes.get(nameOf(call)) ?? [])
      if (one.endedMs < beganMs && isOfBefore(call, one) && isStanding(one, beganMs))
        throw new Violation(
          'deletes stay deleted',
          `member ${call.member} read ${call.value} of ${nameOf(call)} at ${beganMs}, although it was deleted by member ${one.member} from ${one.beganMs} to ${one.endedMs}`
        )
  }

  return {
    originEnded: ({ key, row, beganMs, ok }) => {
      const name = `${key} ${row}`
      // Of several calls with one answer, the last to begin may be the one that is stored.
      if (ok) loads.set(name, { beganMs: Math.max(beganMs, loads.get(name)?.beganMs ?? 0) })
    },
    called: call => {
      const name = nameOf(call)
      if (call.failed !== undefined) return
      if (isWrite(call) && call.version !== undefined) written.set(`${name} ${call.wrote}`, call)
      else if (isDelete(call)) {
        const one = { ...call, acked: backupsThatHave(call, calm) }
        deletes.set(name, [...(deletes.get(name) ?? []).slice(1 - REMEMBERED), one])
      } else if (call.kind === 'get' && !call.isNear && calm.sinceMs() + LEVEL_MS * (loss ? 2 : 1) < call.beganMs)
        judge(call, call.beganMs)
    },
    settled: ({ finalReads }) => {
      for (const { member, cache, key, value, failed } of finalReads)
        if (failed === undefined) judge({ member, cache: cache as ClientCall['cache'], key, value }, calm.nowMs())
    }
  }
}

interface Deleted extends ClientCall {
  readonly acked: number
}
