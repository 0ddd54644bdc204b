/**
 * The time of a turn: a look at the clock takes as long as all else of a read that is answered from this process, so
 * calls that come thick and fast share one look.
 *
 * A look is shared
 *   - within its turn only. The end of it is told by `process.nextTick`: at the latest when the promise jobs of the turn
 *     are done, and before anything from outside (a message, a timer) is heard;
 *   - by `SHARED_MAX` calls at most, so that a turn of promise jobs without an end sees the time pass;
 *   - and only once calls have come close together, twice as many as were quick a moment ago. One that stands alone
 *     looks for itself, and asks for no tick.
 *
 * So what a turn computes between two calls is seen, except where it stands still in the midst of very many calls, and
 * then by the next `SHARED_MAX` calls of that turn at most. Nothing has come in from outside meanwhile.
 *
 * Not promised: the time of now. What must not be decided by an earlier moment looks at the clock itself.
 */
/** Calls come thick and fast while those that shared a look took no longer than this. */
const CLOSE_MS = 0.1
const SHARED_MAX = 64

/** `look` is a monotonic clock; `atTurnsEnd` runs what it is given before anything from outside is heard. */
export function turnTime(look: () => number, atTurnsEnd: (fn: () => void) => void): () => number {
  let seenMs = Number.NEGATIVE_INFINITY
  /** Calls that may still share the look, and how many were granted with it. */
  let left = 0
  let granted = 0
  let isEndAwaited = false

  const end = (): void => {
    left = 0
    isEndAwaited = false
  }

  const lookAgain = (): number => {
    const nowMs = look()
    granted = nowMs - seenMs <= CLOSE_MS ? Math.min(2 * granted + 1, SHARED_MAX) : 0
    seenMs = nowMs
    left = granted
    if (granted > 0 && !isEndAwaited) {
      isEndAwaited = true
      atTurnsEnd(end)
    }
    return nowMs
  }

  return () => {
    if (left === 0) return lookAgain()
    left--
    return seenMs
  }
}
