/** Sees what members do to the records they hold, whichever way these come and go. */
import type { Entry } from '../../lib/store/entry.ts'
import { Store } from '../../lib/store/store.ts'

/** What may put a record into a store: a put of its owner, a merge of what others have. */
const WRITING = ['put', 'merge'] as const
/** What takes records out of it on somebody's word. Room and time take them too, and the store counts those. */
const DROPPING = ['drop', 'dropPartition', 'dropExcess', 'dropOlder', 'dropGiven', 'addFloor'] as const

export interface StoreWatcher {
  /** What was there before is told by the store itself, and what is there now. */
  written(store: Store, before: Entry | undefined, after: Entry | undefined): void
  dropped(store: Store): void
}

/** The answer undoes it. A method that a test has replaced is watched as it is. */
export function watchStores(watcher: StoreWatcher, judging: (ask: () => void) => void): () => void {
  const proto = Store.prototype as unknown as Record<string, (this: Store, ...given: never[]) => unknown>
  const originals = new Map([...WRITING, ...DROPPING].filter(name => name in proto).map(name => [name, proto[name]]))
  const original = (name: string) => originals.get(name as never) as (this: Store, ...given: unknown[]) => unknown
  let depth = 0
  for (const name of WRITING) {
    if (!originals.has(name)) continue
    proto[name] = function (this: Store, ...given: unknown[]) {
      const { namespace, key } = given[0] as Entry
      const before = depth === 0 ? this.entry(namespace, key) : undefined
      depth++
      try {
        return original(name).call(this, ...given)
      } finally {
        depth--
        if (depth === 0) judging(() => watcher.written(this, before, this.entry(namespace, key)))
      }
    }
  }
  for (const name of DROPPING) {
    if (!originals.has(name)) continue
    proto[name] = function (this: Store, ...given: unknown[]) {
      judging(() => watcher.dropped(this))
      return original(name).call(this, ...given)
    }
  }
  return () => {
    for (const [name, method] of originals) proto[name] = method as never
  }
}
