import { type Calm, type Checker, type OriginCall, Violation } from './checker.ts'
import { OpenReads } from './open-reads.ts'

/**
 * P1: in a stable view the origin is called once per missing key. Two calls of one key are wrong if the view has been
 * stable since before both were asked for, somebody waited for the first until its end and it did not fail, and nothing deleted or wrote
 * the key since. TTLs in the workload are an hour: nothing expires within a run.
 */
export function singleFill(calm: Calm): Checker {
  const lastCall = new Map<string, { call: OriginCall; askedMs: number }>()
  const reads = new OpenReads()
  const lastChangeMs = new Map<string, number>()
  const changing = new Map<string, number>()
  /**
   * For a moment of its time nobody waited for the key, so it is given up and nothing of it is kept, whoever asks next.
   * Word of that may still be on its way to who calls the origin, or find the call over.
   */
  const unwanted = new WeakSet<OriginCall>()

  return {
    began: call => {
      const { kind, cache, key } = call
      reads.began(call)
      if (cache !== 'loaded' || (kind !== 'set' && kind !== 'delete')) return
      changing.set(key, (changing.get(key) ?? 0) + 1)
    },
    called: call => {
      const { kind, cache, key, endedMs, failed } = call
      reads.ended(call)
      const running = lastCall.get(key)?.call
      if (running?.endedMs === Number.POSITIVE_INFINITY && !reads.has(key)) unwanted.add(running)
      if (cache !== 'loaded' || (kind !== 'set' && kind !== 'delete')) return
      // A write that failed may still be on its way: the key is never judged again.
      if (failed === undefined) changing.set(key, (changing.get(key) ?? 0) - 1)
      lastChangeMs.set(key, endedMs)
    },
    originEnded: call => {
      if (!reads.has(call.key)) unwanted.add(call)
    },
    originBegan: call => {
      const askedMs = reads.askedMs(call)
      const last = lastCall.get(call.key)
      lastCall.set(call.key, { call, askedMs })
      if (last === undefined || (changing.get(call.key) ?? 0) > 0) return
      const before = last.call
      if (before.aborted || unwanted.has(before) || (before.endedMs !== Number.POSITIVE_INFINITY && !before.ok)) return
      const wasQuiet = (lastChangeMs.get(call.key) ?? 0) < last.askedMs
      if (wasQuiet && calm.sinceMs() < Math.min(last.askedMs, askedMs)) {
        throw new Violation(
          'one origin call',
          `${call.key} loaded at ${before.beganMs} by member ${before.member} and again at ${call.beganMs} by member ${call.member} in a stable view`
        )
      }
    }
  }
}
