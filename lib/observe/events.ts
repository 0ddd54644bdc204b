/**
 * What a member tells the application as it happens. There is no `error` event, and a listener that throws is reported
 * and forgotten for that event: nothing here can take a process down or hold the mesh up.
 */
import type { Logger } from '../ports/log.ts'

export class Events<Map extends object> {
  readonly #log: Logger
  readonly #listeners = new globalThis.Map<keyof Map, Set<(event: never) => void>>()

  constructor(log: Logger) {
    this.#log = log
  }

  on<E extends keyof Map>(event: E, listener: (event: Map[E]) => void): () => void {
    const listeners = this.#listeners.get(event) ?? new Set()
    // Wrapped, so that the same function given twice is two listeners.
    const entry = (value: Map[E]): void => listener(value)
    this.#listeners.set(event, listeners.add(entry))
    return () => listeners.delete(entry)
  }

  emit<E extends keyof Map>(event: E, value: Map[E]): void {
    for (const listener of this.#listeners.get(event) ?? []) {
      try {
        // It may be async, and a rejection nobody hears would take the process down.
        const answer = (listener as (value: Map[E]) => unknown)(value)
        if (answer instanceof Promise) answer.catch(error => this.#report(event, error))
      } catch (error) {
        this.#report(event, error)
      }
    }
  }

  #report(event: keyof Map, error: unknown): void {
    this.#log.error({ err: error, event, code: 'CACHEMESH_LISTENER' }, `a listener for '${String(event)}' threw`)
  }
}
