/**
 * Gives back what is over while nobody calls: once a second, and soon again while one call was not enough. So memory
 * comes back in a store that is only read, or left alone.
 */
import type { Cancel, Clock } from '../ports/clock.ts'
import type { Store } from './store.ts'
import type { MeshClock } from './version.ts'

const SWEEP_MS = 1_000
const BEHIND_MS = 20

/** Runs until it is cancelled. */
export function sweep(store: Store, clock: Clock, meshClock: MeshClock): Cancel {
  let cancel: Cancel
  const arm = (ms: number): void => {
    cancel = clock.after(ms, () => {
      store.expire(meshClock.now())
      arm(store.isBehind ? BEHIND_MS : SWEEP_MS)
    })
  }
  arm(SWEEP_MS)
  return () => cancel()
}
