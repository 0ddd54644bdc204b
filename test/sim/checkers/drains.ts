import type { Knobs } from '../knobs.ts'
import { Deletes, isWrite, nameOf } from './changes.ts'
import { type Calm, type Checker, type ClientCall, Violation } from './checker.ts'
import { Newcomers } from './newcomers.ts'

/**
 * P6, invariant 25: where members only join and leave, nothing that was stored is lost: no acknowledged write, however
 * many backups it waited for and however many the cache has. A read that begins after it finds a value, in whatever
 * state of a move it comes; one that fails is judged elsewhere. In the settled mesh reads that tell versions get that
 * version or a newer one.
 *
 * Not judged: keys deleted since, or perhaps; members short of room; a run in which a member left that could not be
 * heard, which a quiet run has none of.
 */
export function drainLosesNothing(calm: Calm, { pressure }: Pick<Knobs, 'pressure'>): Checker {
  const last = new Map<string, ClientCall & { readonly calmSinceMs: number }>()
  const deletes = new Deletes(calm)
  const newcomers = new Newcomers(calm)
  const judge = (
    read: Pick<ClientCall, 'cache' | 'key' | 'member' | 'value' | 'version'>,
    beganMs: number,
    isSettled = false
  ): void => {
    const name = nameOf(read)
    const write = last.get(name)
    if (write === undefined || write.endedMs >= beganMs || pressure) return
    if (calm.losses.wasAnyLost(write.beganMs, calm.nowMs())) return
    const isOlder = isSettled && read.version !== undefined && read.version < (write.version as string)
    const isMissed = read.value === undefined && !deletes.maySucceed(name, write)
    if (isMissed || isOlder)
      throw new Violation(
        'drain loses nothing',
        `member ${read.member}, asking for ${name} at ${beganMs}, got ${read.value} ${read.version ?? ''}, but ${write.kind} of ${write.wrote} was acknowledged at ${write.endedMs} as ${write.version}, and members only came and went`
      )
  }
  return {
    ...newcomers.hooks,
    began: call => deletes.began(call),
    called: call => {
      deletes.ended(call)
      if (call.failed !== undefined || call.cache === 'loaded') return
      if (isWrite(call) && call.version !== undefined) {
        const before = last.get(nameOf(call))?.version
        if (before === undefined || before < call.version)
          last.set(nameOf(call), { ...call, calmSinceMs: calm.sinceMs() })
      } else if (call.kind === 'get' && !newcomers.wasAlone(call.member, call.beganMs)) judge(call, call.beganMs)
    },
    settled: ({ finalReads }) => {
      for (const { cache, failed, version, ...read } of finalReads)
        if (failed === undefined && cache !== 'loaded')
          judge({ ...read, ...(version && { version }), cache: cache as ClientCall['cache'] }, calm.nowMs(), true)
    }
  }
}
