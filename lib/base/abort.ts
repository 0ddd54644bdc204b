/**
 * One listener per signal, however many calls share it. A request handler that makes eleven cache calls with its one
 * signal would otherwise hang eleven listeners on it, and Node would warn of a leak that is none.
 */
const watchers = new WeakMap<AbortSignal, Set<() => void>>()

/** Calls `onAbort` once when the signal aborts, also if it already has; the answer takes the wish back. */
export function whenAborted(signal: AbortSignal, onAbort: () => void): () => void {
  if (signal.aborted) {
    onAbort()
    return () => {}
  }
  const waiting = watchers.get(signal) ?? watch(signal)
  // A fresh function each time: the same onAbort given twice must be two entries.
  const entry = (): void => onAbort()
  waiting.add(entry)
  return () => waiting.delete(entry)
}

/** The result of the work, or a rejection with the signal's reason if that comes first; the work itself goes on. */
export function unlessAborted<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  if (signal === undefined) return work()
  if (signal.aborted) return Promise.reject(signal.reason)
  return new Promise((resolve, reject) => {
    const forget = whenAborted(signal, () => reject(signal.reason))
    work().then(resolve, reject).finally(forget)
  })
}

function watch(signal: AbortSignal): Set<() => void> {
  const waiting = new Set<() => void>()
  watchers.set(signal, waiting)
  signal.addEventListener(
    'abort',
    () => {
      const all = [...waiting]
      waiting.clear()
      for (const onAbort of all) onAbort()
    },
    { once: true }
  )
  return waiting
}
