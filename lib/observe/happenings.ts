/**
 * What happens to keys in this member, for those of the application who listen. Whatever makes it happen looks at a
 * boolean first, so where nobody listens it costs that; keys are told as they are stored, and decoded for listeners only.
 *
 * Told after the turn in which it happened, in nobody's context: a listener may ask the cache, and must not do so in the
 * middle of a change, nor see the request that happened to cause it. What waits until then is bounded; beyond it what
 * happens is counted and not told.
 */
import type { Cancel, Clock } from '../ports/clock.ts'
import type { Detach } from '../ports/context.ts'
import type { Stats } from './stats.ts'

/** By the name of the event. Keys are encoded ones. */
export interface Happened {
  fill: { readonly key: string; readonly ms: number }
  invalidate: { readonly key: string } | { readonly tag: string } | { readonly clear: true }
  evict: { readonly key: string; readonly reason: 'size' | 'ttl' }
  hot: { readonly key: string; readonly perSecond: number }
}

/** As many as one `expire` of the store may drop, and some more. */
export const UNTOLD_MAX = 10_000

type OnHappened = (namespace: string, what: never) => void

export class Happenings {
  /** Asked before anything is made of what happened. */
  readonly isHeard: Record<keyof Happened, boolean> = { fill: false, invalidate: false, evict: false, hot: false }
  readonly #deps: { readonly clock: Clock; readonly detach: Detach; readonly stats: Stats }
  readonly #listeners: Record<keyof Happened, Set<OnHappened>> = {
    fill: new Set(),
    invalidate: new Set(),
    evict: new Set(),
    hot: new Set()
  }
  readonly #untold: (() => void)[] = []

  constructor(deps: { clock: Clock; detach: Detach; stats: Stats }) {
    this.#deps = deps
  }

  /** It is told of all caches, and must not throw. */
  listen<E extends keyof Happened>(event: E, onHappened: (namespace: string, what: Happened[E]) => void): Cancel {
    const listeners = this.#listeners[event]
    listeners.add(onHappened)
    this.isHeard[event] = true
    return () => {
      listeners.delete(onHappened)
      this.isHeard[event] = listeners.size > 0
    }
  }

  tell<E extends keyof Happened>(event: E, namespace: string, what: Happened[E]): void {
    if (!this.isHeard[event]) return
    if (this.#untold.length >= UNTOLD_MAX) {
      this.#deps.stats.cacheEventsDroppedTotal++
      return
    }
    this.#untold.push(() => {
      for (const onHappened of this.#listeners[event]) onHappened(namespace, what as never)
    })
    if (this.#untold.length === 1) this.#deps.clock.defer(() => this.#tellAll())
  }

  #tellAll(): void {
    const untold = this.#untold.splice(0)
    this.#deps.detach(() => {
      for (const tell of untold) tell()
    })
  }
}
