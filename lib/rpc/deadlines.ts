/**
 * Deadlines of many waits with few timers.
 *
 * Nearly all calls wait equally long, so those of one length stand in a line in the order of their deadlines, and one
 * timer for the head of the line serves them all. Whoever ends early steps out of the line; the timer then finds
 * another at the head, or nobody, and is set anew. A timer for each call would cost more than the call.
 *
 * Not promised: an order between lines. Two waits of different lengths that end at the same moment end in any order.
 */
import type { Cancel, Clock } from '../ports/clock.ts'

/** Empty lines whose timer is left to run out; beyond them an empty line is taken down at once. */
const IDLE_LINES_MAX = 8

/** A place in a line: what waits is derived from it. */
export class Wait {
  dueMs = 0
  line: Line | undefined
  before: Wait | undefined
  after: Wait | undefined
}

interface Line {
  readonly ms: number
  first: Wait | undefined
  last: Wait | undefined
  disarm: Cancel | undefined
}

export class Deadlines<W extends Wait> {
  readonly #clock: Clock
  readonly #onDue: (wait: W) => void
  readonly #lines = new Map<number, Line>()

  constructor(clock: Clock, onDue: (wait: W) => void) {
    this.#clock = clock
    this.#onDue = onDue
  }

  /** It waits from now on, and no longer for what it waited for before. */
  set(wait: W, ms: number): void {
    this.clear(wait)
    const line = this.#lineOf(ms)
    wait.dueMs = this.#clock.monotonic() + ms
    wait.line = line
    wait.before = line.last
    if (line.last === undefined) line.first = wait
    else line.last.after = wait
    line.last = wait
    if (line.disarm === undefined) this.#arm(line, ms)
  }

  clear(wait: W): void {
    const { line, before, after } = wait
    if (line === undefined) return
    if (before === undefined) line.first = after
    else before.after = after
    if (after === undefined) line.last = before
    else after.before = before
    wait.line = undefined
    wait.before = undefined
    wait.after = undefined
    if (line.first === undefined && this.#lines.size > IDLE_LINES_MAX) this.#takeDown(line)
  }

  #lineOf(ms: number): Line {
    let line = this.#lines.get(ms)
    if (line === undefined) {
      line = { ms, first: undefined, last: undefined, disarm: undefined }
      this.#lines.set(ms, line)
    }
    return line
  }

  #arm(line: Line, ms: number): void {
    line.disarm = this.#clock.after(ms, () => this.#due(line))
  }

  #due(line: Line): void {
    line.disarm = undefined
    const nowMs = this.#clock.monotonic()
    for (let wait = line.first; wait !== undefined && wait.dueMs <= nowMs; wait = line.first) {
      this.clear(wait as W)
      this.#onDue(wait as W)
    }
    // What was told may have put somebody in line, or taken an empty line down.
    if (line.first !== undefined) {
      if (line.disarm === undefined) this.#arm(line, line.first.dueMs - nowMs)
    } else this.#takeDown(line)
  }

  #takeDown(line: Line): void {
    line.disarm?.()
    line.disarm = undefined
    if (this.#lines.get(line.ms) === line) this.#lines.delete(line.ms)
  }
}
