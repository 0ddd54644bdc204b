import type { Clock } from '../../../lib/ports/clock.ts'

/** A clock that a test turns by hand; what is deferred runs when the test ends the turn. */
export class ManualClock implements Clock {
  nowMs = 1_000
  wallMs = 1_800_000_000_000
  #timers: { atMs: number; run: () => void }[] = []
  #deferred: (() => void)[] = []

  monotonic(): number {
    return this.nowMs
  }

  turnMs(): number {
    return this.nowMs
  }

  wall(): number {
    return this.wallMs
  }

  after(ms: number, run: () => void): () => void {
    const timer = { atMs: this.nowMs + ms, run }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter(other => other !== timer)
    }
  }

  defer(run: () => void): void {
    this.#deferred.push(run)
  }

  endTurn(): void {
    for (const run of this.#deferred.splice(0)) run()
  }

  pass(ms: number): void {
    const untilMs = this.nowMs + ms
    for (;;) {
      const next = this.#timers.filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0]
      if (next === undefined) break
      this.#timers = this.#timers.filter(other => other !== next)
      this.nowMs = Math.max(this.nowMs, next.atMs)
      next.run()
    }
    this.nowMs = untilMs
    this.wallMs += ms
  }

  /** As when the event loop is blocked: all timers that were due meanwhile fire at the end, late. */
  standStill(ms: number): void {
    this.nowMs += ms
    this.wallMs += ms
    this.pass(0)
  }

  get armed(): number {
    return this.#timers.length
  }
}
