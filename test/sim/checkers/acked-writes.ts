import type { Knobs } from '../knobs.ts'
import { SHORT_TOMBSTONE_MS } from '../trouble.ts'
import { backupsThatHave, Deletes, isUnitedSinceLevel, isWrite, nameOf } from './changes.ts'
import { type Calm, type Checker, type ClientCall, Violation } from './checker.ts'
import { Newcomers } from './newcomers.ts'

/**
 * P4, invariant 8: a write that was acknowledged when k backups had it survives k losses of members. A later read gets
 * that version or a newer one, or nothing where somebody has deleted the key.
 *
 * Judged: writes of caches whose reads tell versions (`safe`, `copied`) that are surely still there by the account of
 * losses (`losses.ts`): k is what the write waited for, or what a flush of its member has waited for since; `all`
 * counts as all of them only where the view was one from before the write until its end. Reads are judged in the
 * settled mesh, and before that where the owner answered, in a view that was calm since before, and no members had been
 * kept apart since the mesh was level; then they see only what was acknowledged before they began. Not judged are those
 * of what a member wrote before it knew of anybody (`newcomers.ts`). A miss is judged only where nothing of the key was
 * deleted since, or might have been, nor evicted. Nothing is expected to outlive a split that took longer than deletes
 * are remembered: the smaller side brings back nothing, and of three sides none may be the larger.
 */
export function ackedWritesSurvive(
  calm: Calm,
  { pressure, longSplits }: Pick<Knobs, 'pressure' | 'longSplits'>
): Checker {
  const writes = new Map<string, Acked[]>()
  const deletes = new Deletes(calm)
  const newcomers = new Newcomers(calm)

  const judge = (
    read: Pick<ClientCall, 'cache' | 'key' | 'member' | 'version'>,
    beganMs: number,
    isSettled = false
  ): void => {
    if (!isSettled && newcomers.isMadeAlone(read)) return
    const name = nameOf(read)
    for (const write of writes.get(name) ?? []) {
      if (write.ackedMs >= beganMs || (!isSettled && write.wasAlone)) continue
      if (read.version === undefined && (pressure || deletes.maySucceed(name, write))) continue
      if (read.version !== undefined && read.version >= write.version) continue
      const { acked, backups } = write
      if (calm.losses.mayHaveLost({ sinceMs: write.beganMs, untilMs: calm.nowMs(), acked, backups })) continue
      if (longSplits && calm.losses.longApart(write.beganMs, calm.nowMs(), SHORT_TOMBSTONE_MS).length > 0) continue
      throw new Violation(
        'acked writes survive',
        `member ${read.member}, asking for ${name} at ${beganMs}, got ${read.version ?? 'nothing'}, but ${write.version} was acknowledged at ${write.ackedMs} with ${acked} backups`
      )
    }
  }

  return {
    ...newcomers.hooks,
    died: member => {
      for (const write of [...writes.values()].flat()) if (write.member === member) write.hasDied = true
    },
    began: call => deletes.began(call),
    called: call => {
      const name = nameOf(call)
      deletes.ended(call)
      newcomers.called(call)
      if (call.kind === 'flush' && call.failed === undefined) flushed(writes, call)
      else if (isWrite(call) && call.version !== undefined && call.backups !== undefined && isJudged(call)) {
        const { member, beganMs, endedMs, version, backups } = call
        const acked = backupsThatHave(call, calm)
        const wasAlone = newcomers.wasAlone(member, beganMs)
        const known = writes.get(name) ?? []
        writes.set(name, [
          ...known,
          {
            member,
            beganMs,
            endedMs,
            ackedMs: endedMs,
            calmSinceMs: calm.sinceMs(),
            version,
            backups,
            acked,
            wasAlone,
            hasDied: false
          }
        ])
      } else if (call.kind === 'get' && isJudged(call) && call.failed === undefined) {
        const isCalm = call.isCopy !== true && calm.sinceMs() < call.beganMs && isUnitedSinceLevel(calm, call.beganMs)
        if (isCalm) judge(call, call.beganMs)
      }
    },
    settled: ({ finalReads }) => {
      for (const { member, cache, key, version, failed } of finalReads)
        if (failed === undefined && isJudged({ cache }))
          judge({ member, cache: cache as ClientCall['cache'], key, ...(version && { version }) }, calm.nowMs(), true)
    }
  }
}

interface Acked extends Pick<ClientCall, 'member' | 'beganMs' | 'endedMs'> {
  readonly calmSinceMs: number
  /** It was made where nobody else was known yet. */
  readonly wasAlone: boolean
  readonly version: string
  readonly backups: number
  /** The process that made it is gone: what another flushes under its name says nothing of it. */
  hasDied: boolean
  /** When so many backups were known to have it; a flush may tell of more. */
  acked: number
  ackedMs: number
}

/** What a member wrote before it flushed has reached as many backups as the flush waited for. */
function flushed(writes: ReadonlyMap<string, Acked[]>, flush: ClientCall): void {
  for (const [name, ofKey] of writes) {
    if (!name.startsWith(`${flush.cache}/`)) continue
    for (const write of ofKey)
      if (write.member === flush.member && !write.hasDied && write.endedMs < flush.beganMs)
        write.acked = Math.max(write.acked, Math.min(write.backups, Number(flush.acks)))
  }
}

function isJudged({ cache }: { readonly cache: string }): boolean {
  return cache === 'safe' || cache === 'copied'
}
