import type { Knobs } from '../knobs.ts'
import { type Calm, type Checker, type OriginCall, Violation } from './checker.ts'
import { OpenReads } from './open-reads.ts'
import { type Wait, Waiters } from './waiters.ts'

/** How long word of a caller may be on its way, without losses and with them. */
const WORD_MS = 100
const WORD_WITH_LOSSES_MS = 2_000
/** What an origin that has failed is left alone for at least. */
const BACKOFF_MS = 100

const PROMISES = { aborts: abortsForNobody, errors: errorsOnce, backoff: spared } as const

/** What fills promise to the origin and to those who wait, beside P1. */
export type FillPromise = keyof typeof PROMISES

export function fillCheckers(promises: readonly FillPromise[], calm: Calm, { loss }: Pick<Knobs, 'loss'>): Checker[] {
  return promises.map(promise => PROMISES[promise](calm, loss ? WORD_WITH_LOSSES_MS : WORD_MS))
}

/**
 * A call of the origin is aborted when the last of those who wait for it in the mesh has gone, and not before. Judged
 * in a stable view, and of callers that began so long before that word of them has arrived; those before and after a
 * change of the key wait for different loads. A load asked of a copy just before the view was stable is begun just
 * after it, and who comes then asks the new owner, which has a load of its own.
 */
function abortsForNobody(calm: Calm, wordMs: number): Checker {
  const waiters = new Waiters()
  /** Who still waited when a call was aborted; the last to go is told of it a moment after. */
  const stillWaiting = new Map<Wait, { call: OriginCall; abortedMs: number }>()
  const judge = (wait: Wait): void => {
    const found = stillWaiting.get(wait)
    stillWaiting.delete(wait)
    if (found === undefined || wait.endedMs <= found.abortedMs) return
    throw new Violation(
      'not aborted before the last has gone',
      `call ${found.call.number} for ${found.call.key} was aborted at ${found.abortedMs}, but member ${wait.member} waited for it from ${wait.beganMs} to ${wait.endedMs}`
    )
  }
  return {
    began: call => waiters.began(call),
    called: call => {
      const before = [...waiters.of(call.key)]
      waiters.ended(call)
      for (const wait of before) if (Number.isFinite(wait.endedMs)) judge(wait)
    },
    died: member => {
      waiters.died(member, calm.nowMs())
      for (const wait of stillWaiting.keys()) if (wait.member === member) stillWaiting.delete(wait)
    },
    originAborted: call => {
      const abortedMs = calm.nowMs()
      for (const wait of waiters.of(call.key)) {
        const sinceMs = Math.min(wait.beganMs, call.askedMs - wordMs)
        const isSettled = calm.sinceMs() < sinceMs && waiters.isQuietSince(call.key, sinceMs)
        if (isSettled && !wait.isPart && wait.beganMs < abortedMs - wordMs) stillWaiting.set(wait, { call, abortedMs })
      }
    },
    originEnded: call => {
      const sinceMs = Math.max(waiters.noneSinceMs(call.key), call.beganMs)
      if (call.aborted || sinceMs > call.endedMs - wordMs || calm.sinceMs() >= Math.min(call.askedMs, sinceMs)) return
      throw new Violation(
        'aborted when the last has gone',
        `call ${call.number} for ${call.key}, begun at ${call.beganMs} by member ${call.member}, ran until ${call.endedMs} although nobody had waited since ${sinceMs}`
      )
    }
  }
}

/**
 * A failure of the origin reaches each of those who wait at most once: as an error of its own, and never again when it
 * asks anew. Nobody who comes when all have been told is told of it.
 */
function errorsOnce(calm: Calm, wordMs: number): Checker {
  const given = new WeakSet<Error>()
  const endedAtMs = new Map<number, number>()
  const toldAtMs = new Map<string, number>()
  return {
    originEnded: ({ number, endedMs }) => {
      endedAtMs.set(number, endedMs)
    },
    told: (error, { key, member, toldOf, beganMs, endedMs }) => {
      if (!(error instanceof Error) || toldOf === undefined) return
      if (given.has(error)) throw new Violation('an error of its own', `${key}: one error for two callers: ${error}`)
      given.add(error)
      const name = `${toldOf} ${member}`
      const beforeMs = toldAtMs.get(name)
      toldAtMs.set(name, Math.min(beforeMs ?? endedMs, endedMs))
      const failedMs = endedAtMs.get(toldOf) ?? Number.POSITIVE_INFINITY
      if (calm.sinceMs() >= failedMs) return
      if ((beforeMs ?? Number.POSITIVE_INFINITY) < beganMs || failedMs < beganMs - wordMs)
        throw new Violation(
          'an error once',
          `member ${member}, asking for ${key} at ${beganMs}, was told of call ${toldOf}, which failed at ${failedMs}${beforeMs === undefined ? '' : ` and of which it was told at ${beforeMs}`}`
        )
    }
  }
}

/** A failed call of the origin is followed by none for that key before the back-off is over. */
function spared(calm: Calm): Checker {
  const waiters = new Waiters()
  const reads = new OpenReads()
  const lastCall = new Map<string, { call: OriginCall; askedMs: number }>()
  /** Those that failed when the last who waited had just gone: nobody was there to be told of it. */
  const unwanted = new Set<OriginCall>()
  return {
    began: call => {
      waiters.began(call)
      reads.began(call)
    },
    called: call => {
      waiters.ended(call)
      reads.ended(call)
    },
    originEnded: call => {
      if (Number.isFinite(waiters.noneSinceMs(call.key))) unwanted.add(call)
    },
    originBegan: call => {
      const last = lastCall.get(call.key)
      lastCall.set(call.key, { call, askedMs: reads.askedMs(call) })
      if (last === undefined) return
      const { call: before, askedMs } = last
      if (before.ok || before.aborted || unwanted.has(before) || !Number.isFinite(before.endedMs)) return
      if (call.beganMs >= before.endedMs + BACKOFF_MS || !waiters.isQuietSince(call.key, askedMs)) return
      if (calm.sinceMs() < askedMs)
        throw new Violation(
          'an origin that fails is spared',
          `${call.key} failed at ${before.endedMs} and was loaded again at ${call.beganMs}`
        )
    }
  }
}
