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
import { Abandonment, whenAborted } from '../base/abort.ts'
import { MeshError } from '../base/errors.ts'
import { errorOf } from '../fill/load.ts'
import type { Stats } from '../observe/stats.ts'
import type { Clock } from '../ports/clock.ts'
import type { Answer, FailedLoad, ReadAsk, Router } from './router.ts'

/** Callers of this process that wait for an answer; beyond it new ones are refused. */
const CALLERS_MAX = 262_144

export interface Patience {
  readonly signal: AbortSignal | undefined
  /** A bound on this very call, load included; undefined when the caller gave none. */
  readonly timeoutMs: number | undefined
}

interface Group {
  answer: Promise<Answer | FailedLoad | undefined>
  readonly abandonment: Abandonment
  callers: number
  /** From now on nobody joins. */
  close: () => void
}

export class Reads {
  readonly #router: Router
  readonly #clock: Clock
  readonly #stats: Stats
  /** Reads that have not left yet, by namespace, key and mode. */
  readonly #joinable = new Map<string, Group>()
  #callers = 0

  constructor(deps: { router: Router; clock: Clock; stats: Stats }) {
    this.#router = deps.router
    this.#clock = deps.clock
    this.#stats = deps.stats
  }

  read(ask: Omit<ReadAsk, 'onSent'>, patience: Patience): Promise<Answer | undefined> {
    if (patience.signal?.aborted === true) return Promise.reject(patience.signal.reason)
    if (this.#callers >= CALLERS_MAX) return Promise.reject(this.#overloaded(ask))
    const name = `${ask.mode}\n${ask.definition.namespace}\n${ask.encodedKey}`
    const running = this.#joinable.get(name)
    if (running !== undefined) this.#stats.readsJoinedTotal++
    return this.#wait(running ?? this.#begin(name, ask), ask, patience)
  }

  #begin(name: string, ask: Omit<ReadAsk, 'onSent'>): Group {
    const abandonment = new Abandonment()
    const group: Group = { answer: NEVER, abandonment, callers: 0, close: () => {} }
    group.close = () => {
      if (this.#joinable.get(name) === group) this.#joinable.delete(name)
    }
    // Entered before the router runs: a read of our own store is over within the call.
    this.#joinable.set(name, group)
    group.answer = this.#router.read({ ...ask, onSent: group.close }, abandonment).finally(group.close)
    return group
  }

  #wait(group: Group, ask: Omit<ReadAsk, 'onSent'>, patience: Patience): Promise<Answer | undefined> {
    const { signal, timeoutMs } = patience
    group.callers++
    this.#callers++
    return new Promise((resolve, reject) => {
      let waiting = true
      let forget = (): void => {}
      let disarm = (): void => {}
      const leave = (settle: () => void): void => {
        if (!waiting) return
        waiting = false
        forget()
        disarm()
        this.#callers--
        group.callers--
        settle()
      }
      const giveUp = (reason: unknown): void =>
        leave(() => {
          if (group.callers === 0) abandonGroup(group)
          reject(reason)
        })
      if (timeoutMs !== undefined) disarm = this.#clock.after(timeoutMs, () => giveUp(tooLate(ask, timeoutMs)))
      if (signal !== undefined) forget = whenAborted(signal, () => giveUp(signal.reason))
      group.answer.then(
        answer => leave(() => settle(answer, ask, resolve, reject)),
        error => leave(() => reject(error))
      )
    })
  }

  #overloaded(ask: Omit<ReadAsk, 'onSent'>): MeshError {
    this.#stats.requestsOverloadedTotal++
    return new MeshError(
      'ERR_MESH_OVERLOADED',
      `${CALLERS_MAX} calls of this process wait for an answer already. Nothing was done; slow down and try again.`,
      { cache: ask.definition.name }
    )
  }
}

function settle(
  answer: Answer | FailedLoad | undefined,
  { definition, key }: Omit<ReadAsk, 'onSent'>,
  resolve: (answer: Answer | undefined) => void,
  reject: (error: unknown) => void
): void {
  if (answer !== undefined && 'failed' in answer) reject(errorOf(answer.failed, definition, key))
  else resolve(answer)
}

/** The last caller has gone. Nobody may join what is being taken back. */
function abandonGroup(group: Group): void {
  group.close()
  group.abandonment.abandon()
}

const NEVER = new Promise<undefined>(() => {})

function tooLate(ask: Omit<ReadAsk, 'onSent'>, timeoutMs: number): MeshError {
  return new MeshError(
    'ERR_MESH_TIMEOUT',
    `No answer within the ${timeoutMs} ms this call allowed (cache '${ask.definition.name}'). The load goes on for others; raise timeout to wait longer.`,
    { cache: ask.definition.name }
  )
}
