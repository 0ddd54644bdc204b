import type { BegunCall, ClientCall, OriginCall } from './checker.ts'

/**
 * When a call of the origin was asked for: by whoever waits for the key the longest when it begins. Between the question
 * and the call lie the owner before, who is asked first, and the wait for a turn at the origin.
 */
export class OpenReads {
  readonly #beganMs = new Map<string, number[]>()

  began({ kind, cache, key, beganMs }: BegunCall): void {
    if (isLoadingRead(kind, cache)) this.#beganMs.set(key, [...(this.#beganMs.get(key) ?? []), beganMs])
  }

  ended({ kind, cache, key, beganMs }: ClientCall): void {
    if (!isLoadingRead(kind, cache)) return
    const open = this.#beganMs.get(key) ?? []
    const place = open.indexOf(beganMs)
    if (place !== -1) open.splice(place, 1)
  }

  /** Whether anybody waits for the key. */
  has(key: string): boolean {
    return (this.#beganMs.get(key) ?? []).length > 0
  }

  askedMs({ key, askedMs }: OriginCall): number {
    return Math.min(askedMs, ...(this.#beganMs.get(key) ?? []))
  }
}

function isLoadingRead(kind: ClientCall['kind'], cache: ClientCall['cache']): boolean {
  return cache === 'loaded' && (kind === 'get' || kind === 'getOrSet')
}
