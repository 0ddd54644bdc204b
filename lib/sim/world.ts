/**
 * A world of one queue: what happens next is the earliest event in it, and nothing else ever happens. Time jumps from
 * event to event; a minute of a quiet mesh costs as much as its few hundred events.
 *
 * One step is: take the earliest event (ties in the order they were made), run it, and let all promise jobs it set off
 * run out. Promise jobs run in an order JavaScript fixes, chance comes from the seed, so a seed replays a whole history;
 * the running hash of the trace proves it.
 *
 * Not modelled: the time code takes. A step takes no time, however much it computes.
 */
import { hash64, saltOf } from '../placement/hash.ts'
import type { Cancel, Clock } from '../ports/clock.ts'
import { EventQueue, type Timed } from './event-queue.ts'

const LAST_EVENTS = 200
const SALT = saltOf('trace')
/** Virtual milliseconds begin above 0, as every monotonic clock does. */
const START_MS = 10_000
/** What wall clocks showed when the world began: any fixed day will do. */
const WALL_START_MS = 1_800_000_000_000

interface Event extends Timed {
  readonly process: Process | undefined
  run: (() => void) | undefined
}

/** What can stop: events of a stopped process wait, those of a dead one are lost. */
export class Process {
  readonly name: string
  alive = true
  paused = false
  readonly held: Event[] = []
  /** How wrong this machine's wall clock is; it may jump, as when somebody sets it. */
  wallSkewMs: number

  constructor(name: string, wallSkewMs: number) {
    this.name = name
    this.wallSkewMs = wallSkewMs
  }
}

export class World {
  readonly #queue = new EventQueue<Event>()
  readonly #drain: () => Promise<void>
  readonly #last: string[] = []
  #traceLow = 0
  #traceHigh = 0
  nowMs = START_MS
  steps = 0
  /** Called after each step: for what must hold at every moment. */
  onStep: (() => void) | undefined

  /** `drain` resolves when all promise jobs that are due have run. */
  constructor(drain: () => Promise<void>) {
    this.#drain = drain
  }

  /** Schedules for a process; `undefined` is the world itself, which never stops. */
  after(ms: number, process: Process | undefined, run: () => void): Cancel {
    const event: Event = { atMs: this.nowMs + Math.max(0, ms), order: 0, process, run }
    this.#queue.push(event)
    return () => {
      event.run = undefined
    }
  }

  clockOf(process: Process): Clock {
    const bornMs = this.nowMs - 1_000
    return {
      monotonic: () => this.nowMs - bornMs,
      turnMs: () => this.nowMs - bornMs,
      wall: () => WALL_START_MS + this.nowMs + process.wallSkewMs,
      after: (ms, fn) => this.after(Math.max(ms, 0.001), process, fn),
      defer: fn => {
        this.after(0, process, fn)
      }
    }
  }

  /** Lets the world go on for so long. */
  async run(ms: number): Promise<void> {
    const untilMs = this.nowMs + ms
    await this.#drain()
    while ((this.#queue.first?.atMs ?? Number.POSITIVE_INFINITY) <= untilMs) await this.#step()
    this.nowMs = untilMs
  }

  /** Lets the world go on until the promise settles, and answers with it; an error when that takes over `limitMs`. */
  async until<T>(promise: Promise<T>, limitMs: number): Promise<T> {
    let settled = false
    const mark = (): void => {
      settled = true
    }
    promise.then(mark, mark)
    const untilMs = this.nowMs + limitMs
    await this.#drain()
    while (!settled) {
      const next = this.#queue.first
      if (next === undefined || next.atMs > untilMs)
        throw new Error(`nothing settled it within ${limitMs} ms of virtual time`)
      await this.#step()
    }
    return promise
  }

  /** Lets one thing happen, however far away in time: so that a history can be walked moment by moment. */
  async step(): Promise<void> {
    const { steps } = this
    while (this.steps === steps && this.#queue.first !== undefined) await this.#step()
  }

  resume(process: Process): void {
    process.paused = false
    for (const event of process.held.splice(0)) {
      event.atMs = this.nowMs
      this.#queue.push(event)
    }
  }

  /** Something worth knowing has happened: it goes into the hash, and the latest are kept for a failure's report. */
  note(what: string): void {
    const line = `${this.nowMs.toFixed(3)} ${what}`
    const { low, high } = hash64(line, { low: this.#traceLow ^ SALT.low, high: this.#traceHigh ^ SALT.high })
    this.#traceLow = low
    this.#traceHigh = high
    this.#last.push(line)
    if (this.#last.length > LAST_EVENTS * 2) this.#last.splice(0, LAST_EVENTS)
  }

  get traceHash(): string {
    return [this.#traceHigh, this.#traceLow].map(word => (word >>> 0).toString(16).padStart(8, '0')).join('')
  }

  get lastEvents(): readonly string[] {
    return this.#last.slice(-LAST_EVENTS)
  }

  async #step(): Promise<void> {
    const event = this.#queue.pop()
    if (event === undefined) return
    this.nowMs = Math.max(this.nowMs, event.atMs)
    const { process } = event
    if (event.run === undefined || process?.alive === false) return
    if (process?.paused === true) {
      process.held.push(event)
      return
    }
    this.steps++
    event.run()
    await this.#drain()
    this.onStep?.()
  }
}
