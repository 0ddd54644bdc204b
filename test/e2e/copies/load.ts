/**
 * Callers who do not wait for each other: a call is due at a fixed rate, whether or not the one before has come back,
 * and what it took counts from when it was due. A process that stands still has to account for all that it missed.
 */
import { performance } from 'node:perf_hooks'

/** Each call, by when it was due. Times are the machine's, so that those of several processes can be laid together. */
export interface Calls {
  readonly dueMs: Float64Array
  readonly tookMs: Float64Array
  readonly failures: readonly Failure[]
}

export interface Failure {
  readonly dueMs: number
  readonly tookMs: number
  readonly key: string
  readonly what: string
}

/** This machine's time, finer than a millisecond. */
export function machineMs(): number {
  return performance.timeOrigin + performance.now()
}

export class Load {
  readonly #periodMs: number
  readonly #call: (n: number) => { key: string; done: Promise<unknown> } | undefined
  readonly #dueMs: number[] = []
  readonly #tookMs: number[] = []
  readonly #failures: Failure[] = []
  readonly #open = new Set<Promise<void>>()
  readonly #beganMs = machineMs()
  #begun = 0
  #timer: NodeJS.Timeout | undefined

  /** `call` begins the n-th call; undefined where it has none to make. */
  constructor(perSecond: number, call: (n: number) => { key: string; done: Promise<unknown> } | undefined) {
    this.#periodMs = 1_000 / perSecond
    this.#call = call
    this.#next()
  }

  /** Begins no more, and waits for those under way. */
  async stop(): Promise<Calls> {
    clearTimeout(this.#timer)
    await Promise.all(this.#open)
    return {
      dueMs: Float64Array.from(this.#dueMs),
      tookMs: Float64Array.from(this.#tookMs),
      failures: this.#failures
    }
  }

  #next(): void {
    const dueMs = () => this.#beganMs + this.#begun * this.#periodMs
    for (const nowMs = machineMs(); dueMs() <= nowMs; this.#begun++) this.#begin(dueMs())
    this.#timer = setTimeout(() => this.#next(), Math.max(0, dueMs() - machineMs()))
  }

  #begin(dueMs: number): void {
    const call = this.#call(this.#begun)
    if (call === undefined) return
    const over = (what?: string): void => {
      const tookMs = machineMs() - dueMs
      this.#dueMs.push(dueMs)
      this.#tookMs.push(tookMs)
      if (what !== undefined) this.#failures.push({ dueMs, tookMs, key: call.key, what })
    }
    const done = call.done.then(
      () => over(),
      error => over(describe(error))
    )
    this.#open.add(done)
    void done.finally(() => this.#open.delete(done))
  }
}

function describe(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? `${error.code} ` : ''
  return `${code}${error instanceof Error ? error.message : String(error)}`
}
