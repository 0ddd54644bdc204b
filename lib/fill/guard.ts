/**
 * The origin guard: before this member calls the origin of a cache, it asks here. How many calls may run at once is
 * decided for the whole mesh (`serving/budgets.ts`); here are the gates of this member, one for each cache, behind each
 * of which callers wait in line.
 *
 *   enter ─▶ breaker open? refuse('open') ─▶ a permit here? start ─▶ room in the line? wait ─▶ else refuse('full')
 *                                                                     ├ a permit comes ─▶ start
 *                                                                     ├ loadTimeout    ─▶ refuse('late')
 *                                                                     └ breaker opens  ─▶ refuse('open')
 *
 * Where there is a permit at hand, all of it happens within the call. Not promised: a bound while a member cannot reach
 * the one that hands out the permits, or across a split: each side of it has the whole number.
 */
import type { Stats } from '../observe/stats.ts'
import type { Cancel, Clock } from '../ports/clock.ts'
import type { BreakerState } from './breaker.ts'
import type { CacheDefinition } from './definition.ts'
import { type Urgency, WaitingLine } from './waiting-line.ts'

/** Calls that wait in one member, at most: ten times its share of the permits, and never fewer than this. */
const QUEUED_MIN = 16
const QUEUED_PER_PERMIT = 10
/** What a caller is told that found no room, or none in time: a moment, for nobody knows. */
const RETRY_AFTER_MS = 1_000

export type Refusal = 'full' | 'late' | 'open'
type CallOutcome = 'ok' | 'failed' | 'aborted'

interface Go {
  start(): void
  refuse(why: Refusal, retryAfterMs: number): void
}

export interface Ticket {
  /** A user waits for it now: moves it before the refreshes. */
  promote(): void
  /** Leaves the queue; does nothing once it has started or was refused. */
  withdraw(): void
  /** The origin call is over; exactly once after start. `ok` and `failed` count for the breaker, `aborted` does not. */
  done(outcome: CallOutcome): void
}

export interface OriginGuard {
  /** Asks to call the origin. `go`: exactly one of its two, within this call when there is room. */
  enter(definition: CacheDefinition, urgency: Urgency, go: Go): Ticket
}

/** What a gate may do from now on. */
export interface Ruling {
  /** Calls that may run at once here. */
  readonly limit: number
  /** Calls that may begin now beyond that, or never. */
  readonly once: number
  /** Others have too few: what lies idle goes back at once. */
  readonly scarce: boolean
  readonly breaker: BreakerState
  readonly retryAfterMs: number
}

/** What is so of a cache at this member, for people. */
export interface GuardState {
  readonly running: number
  readonly queued: number
  /** Calls that may run here at once. */
  readonly permits: number
  readonly breaker: BreakerState
  readonly retryAfterMs: number
}

interface GuardDeps {
  readonly clock: Clock
  readonly stats: Stats
  /** Members in the view, this one included. */
  readonly members: () => number
  /** A gate has other needs than before; what it may do is told to it by `rule`, perhaps within this call. */
  readonly onChange: (gate: Gate) => void
}

const NOTHING_YET: GuardState = { running: 0, queued: 0, permits: 0, breaker: 'closed', retryAfterMs: 0 }

export class Guard implements OriginGuard {
  readonly #deps: GuardDeps
  /** No more than the caches that this member has declared or named. */
  readonly #gates = new Map<string, Gate>()
  readonly #idleWaiters = new Set<() => void>()

  constructor(deps: GuardDeps) {
    this.#deps = deps
  }

  enter(definition: CacheDefinition, urgency: Urgency, go: Go): Ticket {
    return this.#gateOf(definition).enter(urgency, go)
  }

  gate(namespace: string): Gate | undefined {
    return this.#gates.get(namespace)
  }

  get gates(): IterableIterator<Gate> {
    return this.#gates.values()
  }

  state(namespace: string): GuardState {
    return this.#gates.get(namespace)?.state() ?? NOTHING_YET
  }

  get queued(): number {
    return this.#sum(gate => gate.queued)
  }

  get breakersOpen(): number {
    return this.#sum(gate => (gate.breaker === 'closed' ? 0 : 1))
  }

  /** Resolves when no call of an origin runs here, at the latest after `ms`. */
  idle(ms: number): Promise<void> {
    if (this.#running === 0 || ms <= 0) return Promise.resolve()
    return new Promise(resolve => {
      const settle = (): void => {
        disarm()
        this.#idleWaiters.delete(settle)
        resolve()
      }
      const disarm = this.#deps.clock.after(ms, settle)
      this.#idleWaiters.add(settle)
    })
  }

  get #running(): number {
    return this.#sum(gate => gate.running)
  }

  #gateOf(definition: CacheDefinition): Gate {
    const known = this.#gates.get(definition.namespace)
    if (known !== undefined) {
      known.definition = definition
      return known
    }
    const onChange = (gate: Gate): void => {
      this.#deps.onChange(gate)
      if (this.#idleWaiters.size > 0 && this.#running === 0) for (const settle of [...this.#idleWaiters]) settle()
    }
    const gate = new Gate({ ...this.#deps, onChange }, definition)
    this.#gates.set(definition.namespace, gate)
    return gate
  }

  #sum(of: (gate: Gate) => number): number {
    let all = 0
    for (const gate of this.#gates.values()) all += of(gate)
    return all
  }
}

/** One who wants to call the origin; its changes of state are the gate's. */
class Entry implements Ticket {
  readonly go: Go
  readonly #gate: Gate
  state: 'waiting' | 'running' | 'over' = 'waiting'
  isProbe = false
  disarm: Cancel = () => {}

  constructor(gate: Gate, go: Go) {
    this.#gate = gate
    this.go = go
  }

  promote(): void {
    this.#gate.promote(this)
  }

  withdraw(): void {
    this.#gate.withdraw(this)
  }

  done(outcome: CallOutcome): void {
    this.#gate.done(this, outcome)
  }
}

/** The calls of one cache at this member. */
export class Gate {
  definition: CacheDefinition
  readonly #deps: GuardDeps
  readonly #line = new WaitingLine<Entry>()
  #running = 0
  #limit = 0
  #onces = 0
  #scarce = false
  #breaker: BreakerState = 'closed'
  #retryAtMs = 0
  /** The most calls at once since `giveBack` was asked last. */
  #peak = 0
  /** Not yet told to whoever keeps the breaker. */
  readonly report = { oks: 0, failures: 0, probe: 'none' as 'none' | 'running' | CallOutcome }

  constructor(deps: GuardDeps, definition: CacheDefinition) {
    this.#deps = deps
    this.definition = definition
  }

  get running(): number {
    return this.#running
  }

  get queued(): number {
    return this.#line.size
  }

  get limit(): number {
    return this.#limit
  }

  get breaker(): BreakerState {
    return this.#breaker
  }

  /** What may run here until there is another ruling: permits in use, in hand, and given but for once. */
  get held(): number {
    return Math.max(this.#limit, this.#running) + this.#onces
  }

  get wanted(): number {
    return this.#running + this.#line.size
  }

  get retryAfterMs(): number {
    return this.#breaker === 'closed' ? 0 : Math.max(0, this.#retryAtMs - this.#deps.clock.monotonic())
  }

  enter(urgency: Urgency, go: Go): Ticket {
    const entry = new Entry(this, go)
    if (this.retryAfterMs > 0) this.#refuse(entry, 'open')
    else if (this.#line.size === 0 && this.#running < this.#limit) this.#start(entry)
    else if (!this.#hasRoomFor(urgency)) this.#refuse(entry, 'full')
    else this.#wait(entry, urgency)
    return entry
  }

  /** Takes effect now: what may begin begins, and what an open breaker turns away is turned away. */
  rule({ limit, once, scarce, breaker, retryAfterMs }: Ruling): void {
    this.#limit = limit
    this.#scarce = scarce
    this.#breaker = breaker
    this.#retryAtMs = this.#deps.clock.monotonic() + retryAfterMs
    this.#onces = once
    while (this.#onces > 0 && this.#line.size > 0) {
      this.#onces--
      this.#startNext(breaker !== 'closed')
    }
    this.#onces = 0
    if (breaker !== 'closed') this.#refuseAll()
    this.#startAll()
  }

  /** What has lain idle since this was asked last goes back. */
  giveBack(): void {
    this.#limit = Math.min(this.#limit, this.#peak)
    this.#peak = this.#running
  }

  /** The report has been sent. */
  reported(): void {
    this.report.oks = 0
    this.report.failures = 0
    if (this.report.probe !== 'running') this.report.probe = 'none'
  }

  state(): GuardState {
    const { running, queued, breaker, retryAfterMs } = this
    return { running, queued, permits: this.held, breaker, retryAfterMs }
  }

  promote(entry: Entry): void {
    this.#line.promote(entry)
  }

  withdraw(entry: Entry): void {
    if (!this.#line.remove(entry)) return
    this.#end(entry)
    this.#changed()
  }

  done(entry: Entry, outcome: CallOutcome): void {
    if (entry.state !== 'running') return
    this.#end(entry)
    this.#running--
    this.#count(entry, outcome)
    this.#startAll()
  }

  #count(entry: Entry, outcome: CallOutcome): void {
    if (entry.isProbe) this.report.probe = outcome
    else if (this.definition.breakerFailures === 0 || this.#breaker !== 'closed') return
    else if (outcome === 'ok') this.report.oks++
    else if (outcome === 'failed') this.report.failures++
  }

  #wait(entry: Entry, urgency: Urgency): void {
    this.#line.add(entry, urgency)
    entry.disarm = this.#deps.clock.after(this.definition.loadTimeoutMs, () => {
      this.#line.remove(entry)
      this.#refuse(entry, 'late')
      this.#changed()
    })
    this.#changed()
  }

  /** A user takes the place of the newest refresh. */
  #hasRoomFor(urgency: Urgency): boolean {
    const share = (QUEUED_PER_PERMIT * this.definition.loadConcurrency) / Math.max(1, this.#deps.members())
    if (this.#line.size < Math.max(QUEUED_MIN, Math.ceil(share))) return true
    const displaced = urgency === 'user' ? this.#line.takeNewestRefresh() : undefined
    if (displaced === undefined) return false
    this.#refuse(displaced, 'full')
    return true
  }

  #startAll(): void {
    while (this.#line.size > 0 && this.#running < this.#limit) this.#startNext(false)
    this.#changed()
  }

  #startNext(isProbe: boolean): void {
    const entry = this.#line.takeFirst()
    if (entry === undefined) return
    entry.isProbe = isProbe
    if (isProbe) this.report.probe = 'running'
    this.#begin(entry)
  }

  #start(entry: Entry): void {
    this.#begin(entry)
    this.#changed()
  }

  /** The books first: what it starts may come back here at once. */
  #begin(entry: Entry): void {
    entry.disarm()
    entry.state = 'running'
    this.#running++
    this.#peak = Math.max(this.#peak, this.#running)
    entry.go.start()
  }

  #refuseAll(): void {
    for (let entry = this.#line.takeFirst(); entry !== undefined; entry = this.#line.takeFirst())
      this.#refuse(entry, 'open')
  }

  #refuse(entry: Entry, why: Refusal): void {
    this.#end(entry)
    this.#deps.stats.loadsRefusedTotal++
    entry.go.refuse(why, why === 'open' ? this.retryAfterMs : RETRY_AFTER_MS)
  }

  #end(entry: Entry): void {
    entry.disarm()
    entry.state = 'over'
  }

  #changed(): void {
    if (this.#scarce && this.#line.size === 0) this.#limit = Math.min(this.#limit, this.#running)
    this.#deps.onChange(this)
  }
}
