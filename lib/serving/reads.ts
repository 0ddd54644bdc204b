/**
 * Callers of this process that ask for the same key at the same time ask once.
 *
 * The window is narrow on purpose: a caller may join a read only until its request has left this process.
 *
 *   1. get A leaves ─ the owner answers v1 ─ somebody's set v2 is acknowledged ─ get B begins ─ v1 arrives.
 *      Had B joined A, B would return what was overwritten before B began.
 *
 * So B asks for itself; if the load still runs at the owner, it joins the flight there, where the order of things is
 * known. What a turn asks for leaves together, so a thousand gets of one turn are one request all the same.
 *
 * Each caller keeps its own deadline and signal: one that gives up leaves the others waiting, and the last to leave
 * takes the request back.
 */
import { whenAborted } from '../base/abort.ts'
import { MeshError } from '../base/errors.ts'
import { errorOf } from '../fill/load.ts'
import type { Stats } from '../observe/stats.ts'
import { PARTITIONS } from '../placement/partitions.ts'
import type { Clock } from '../ports/clock.ts'
import { type Answer, type FailedLoad, Question, type ReadAsk } from './question.ts'
import type { Router } from './router.ts'
import type { Routes, RoutesDeps } from './routes.ts'

/** Callers of this process that wait for an answer; beyond it new ones are refused. */
const CALLERS_MAX = 262_144

export interface Patience {
  readonly signal: AbortSignal | undefined
  /** A bound on this very call, load included; undefined when the caller gave none. */
  readonly timeoutMs: number | undefined
}

/** One of those who wait for a read. */
interface Caller {
  readonly resolve: (answer: Answer | undefined) => void
  readonly reject: (error: unknown) => void
  /** Stops its own deadline and its signal. */
  forget: (() => void) | undefined
  waiting: boolean
}

/** A read and its callers. */
class SharedRead extends Question {
  readonly callers: Caller[] = []
  readonly #onOver: (read: SharedRead) => void
  waiting = 0
  isOver = false
  /** Its place among those that may be joined. */
  before: SharedRead | undefined
  after: SharedRead | undefined

  constructor(ask: ReadAsk, partition: number, onOver: (read: SharedRead) => void) {
    super(ask, partition)
    this.#onOver = onOver
  }

  answered(answer: Answer | FailedLoad | undefined): void {
    const { definition, key } = this.ask
    if (answer !== undefined && 'failed' in answer) {
      // To each an error of its own, so that nobody shares a stack or a field.
      this.#end(caller => caller.reject(errorOf(answer.failed, definition, key)))
    } else this.#end(caller => caller.resolve(answer))
  }

  failed(error: unknown): void {
    this.#end(caller => caller.reject(error))
  }

  /** The last caller has gone: what comes is for nobody, and nobody may join what is being taken back. */
  override abandon(): void {
    this.#end(() => {})
    super.abandon()
  }

  #end(settle: (caller: Caller) => void): void {
    if (this.isOver) return
    this.isOver = true
    this.#onOver(this)
    for (const caller of this.callers) {
      if (!caller.waiting) continue
      caller.waiting = false
      caller.forget?.()
      settle(caller)
    }
  }
}

/**
 * Reads that may be joined, in a chain for each partition; those that have left are taken out when somebody looks.
 *
 * Not a map: one that is added to and taken from for each read leaves outgrown tables behind, and each keeps the reads
 * it names alive until the next full collection.
 */
class Joinable {
  readonly #first = new Array<SharedRead | undefined>(PARTITIONS).fill(undefined)

  find({ definition, encodedKey, mode, wish, isQuorum }: ReadAsk, partition: number): SharedRead | undefined {
    for (let read = this.#first[partition]; read !== undefined; ) {
      const { after, ask } = read
      if (read.hasLeft) this.remove(read)
      else if (
        ask.encodedKey === encodedKey &&
        ask.mode === mode &&
        ask.wish === wish &&
        ask.isQuorum === isQuorum &&
        ask.definition.namespace === definition.namespace
      )
        return read
      read = after
    }
    return undefined
  }

  add(read: SharedRead): void {
    const first = this.#first[read.partition]
    if (first !== undefined) first.before = read
    read.after = first
    this.#first[read.partition] = read
  }

  /** Does nothing to one that is out already. */
  remove(read: SharedRead): void {
    const { partition, before, after } = read
    if (before !== undefined) before.after = after
    else if (this.#first[partition] === read) this.#first[partition] = after
    if (after !== undefined) after.before = before
    read.before = undefined
    read.after = undefined
  }
}

export class Reads {
  readonly #routes: RoutesDeps
  readonly #router: Router
  readonly #clock: Clock
  readonly #stats: Stats
  readonly #joinable = new Joinable()
  readonly #onOver: (read: SharedRead) => void
  #callers = 0

  constructor(deps: { routes: Routes; router: Router; clock: Clock; stats: Stats }) {
    this.#routes = deps.routes.deps
    this.#router = deps.router
    this.#clock = deps.clock
    this.#stats = deps.stats
    this.#onOver = read => this.#over(read)
  }

  read(ask: ReadAsk, patience: Patience): Promise<Answer | undefined> {
    if (patience.signal?.aborted === true) return Promise.reject(patience.signal.reason)
    if (this.#callers >= CALLERS_MAX) return Promise.reject(this.#overloaded(ask))
    return new Promise((resolve, reject) => {
      const caller: Caller = { resolve, reject, forget: undefined, waiting: true }
      const read = this.#joinOrBegin(ask, caller)
      if (!read.isOver) this.#boundWait(read, caller, patience)
    })
  }

  #joinOrBegin(ask: ReadAsk, caller: Caller): SharedRead {
    const partition = this.#routes.partitionOf(ask.definition.namespace, ask.encodedKey)
    const running = this.#joinable.find(ask, partition)
    const read = running ?? new SharedRead(ask, partition, this.#onOver)
    this.#callers++
    read.callers.push(caller)
    read.waiting++
    if (running !== undefined) this.#stats.readsJoinedTotal++
    else {
      // Entered before the router runs: a read of our own store is over within the call.
      this.#joinable.add(read)
      this.#router.read(read)
    }
    return read
  }

  #over(read: SharedRead): void {
    this.#callers -= read.waiting
    this.#joinable.remove(read)
  }

  /** The caller's own deadline and signal, if it has any. */
  #boundWait(read: SharedRead, caller: Caller, { signal, timeoutMs }: Patience): void {
    if (signal === undefined && timeoutMs === undefined) return
    const giveUp = (reason: unknown): void => this.#leave(read, caller, reason)
    const disarm =
      timeoutMs === undefined ? undefined : this.#clock.after(timeoutMs, () => giveUp(tooLate(read.ask, timeoutMs)))
    const forget = signal === undefined ? undefined : whenAborted(signal, () => giveUp(signal.reason))
    caller.forget = () => {
      disarm?.()
      forget?.()
    }
  }

  #leave(read: SharedRead, caller: Caller, reason: unknown): void {
    if (!caller.waiting) return
    caller.waiting = false
    caller.forget?.()
    this.#callers--
    if (--read.waiting === 0) read.abandon()
    caller.reject(reason)
  }

  #overloaded(ask: ReadAsk): MeshError {
    this.#stats.requestsOverloadedTotal++
    return new MeshError(
      'ERR_MESH_OVERLOADED',
      `${CALLERS_MAX} calls of this process wait for an answer already. Nothing was done; slow down and try again.`,
      { cache: ask.definition.name }
    )
  }
}

export function tooLate(ask: ReadAsk, timeoutMs: number): MeshError {
  return new MeshError(
    'ERR_MESH_TIMEOUT',
    `No answer within the ${timeoutMs} ms this call allowed (cache '${ask.definition.name}'). The load goes on for others; raise timeout to wait longer.`,
    { cache: ask.definition.name }
  )
}
