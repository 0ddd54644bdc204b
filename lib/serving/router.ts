/**
 * From a key to its answer: who owns it, how to ask, and what to do when that goes wrong.
 *
 *   read ─▶ owner known and linked ─▶ ask ─▶ hit · absent · loaded                          ─▶ answer
 *     │                                 ├──▶ lease: load here, send the result back          ─▶ answer
 *     │                                 ├──▶ not owner: make the two views equal, ask again, at most twice
 *     │                                 └──▶ link lost: as below
 *     └─▶ owner not linked ─▶ wait a moment for the link or the next view ─▶ ask again
 *                                       └──▶ still nobody: own origin call, not stored; without a loader: unavailable
 *
 * Nobody ever forwards a request, so no two members can wait for each other. Changes take a way of their own
 * (`changes.ts`): they wait longer, and must not be made twice.
 */
import type { Key } from '../codec/keys.ts'
import type { CacheDefinition, LoadContext, May } from '../fill/definition.ts'
import { type LoadDeps, type LoadResult, startLoad } from '../fill/load.ts'
import type { Stats } from '../observe/stats.ts'
import type { Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import { CallFailed, type Client } from '../rpc/client.ts'
import type { MessageOf, Outcome, Reply } from '../rpc/messages.ts'
import type { Departure, Outbox } from '../rpc/outbox.ts'
import type { MeshClock, Version } from '../store/version.ts'
import { callError, unavailable, unexpected } from './failures.ts'
import { LEASE_MS, type Owner } from './owner.ts'
import type { Routes, RoutesDeps } from './routes.ts'

/** Owners asked in turn because views disagreed. */
const MISROUTES_MAX = 2
/** Owners lost while they were asked. */
const LOSSES_MAX = 3
/** How long a read waits for a lost owner's link or a new view, before it goes to the origin by itself. */
const PATIENCE_MS = 500
const RENEW_EVERY_MS = LEASE_MS / 3

export interface ReadAsk {
  readonly definition: CacheDefinition
  readonly key: Key
  readonly encodedKey: string
  readonly mode: 'stored' | 'load' | 'lease'
  /** Runs in this process under the owner's lease, or alone when there is no owner to ask. */
  readonly load: ((context: LoadContext) => May<unknown>) | undefined
  readonly loadTtlMs: number
  readonly timeoutMs: number
}

/** What a caller that wants the value and nothing else is given. */
export interface Stored {
  readonly bytes: Uint8Array
  readonly negative: boolean
}

export interface Answer extends Version, Stored {
  /** By the mesh clock. What is not kept has expired already. */
  readonly expiresAtMs: number
  readonly from: 'local' | 'owner' | 'load'
}

/** A load that failed, not yet an error: each caller gets one of its own, so that nobody shares a stack or a field. */
export interface FailedLoad {
  readonly failed: Outcome
}

export interface RouterDeps {
  readonly routes: Routes
  readonly clock: Clock
  readonly meshClock: MeshClock
  readonly client: Client
  readonly outbox: Outbox
  readonly owner: Owner
  readonly stats: Stats
  readonly load: LoadDeps
}

type Failure = 'lost' | 'unlinked'

/** One read on its way, for all callers of this process that share it. */
export abstract class Question {
  readonly ask: ReadAsk
  readonly partition: number
  /** The frame it is asked in; once that has left, whoever asks anew may be asking about a later truth. */
  departure: Departure | undefined
  isAbandoned = false
  #withdraw: (() => void) | undefined

  constructor(ask: ReadAsk, partition: number) {
    this.ask = ask
    this.partition = partition
  }

  abstract answered(answer: Answer | FailedLoad | undefined): void
  abstract failed(error: unknown): void

  get hasLeft(): boolean {
    return this.departure?.sent === true
  }

  /** How to take it back from where it is asked now. */
  askedAt(departure: Departure, withdraw: (() => void) | undefined): void {
    this.departure = departure
    this.#withdraw = withdraw
    if (this.isAbandoned) withdraw?.()
  }

  /** Nobody waits any more. */
  abandon(): void {
    this.isAbandoned = true
    this.#withdraw?.()
  }
}

/** Of what is asked in this very process. */
const AT_ONCE: Departure = { sent: true }

export class Router {
  readonly #deps: RouterDeps
  readonly #self: PeerId
  readonly #routes: RoutesDeps
  readonly #alone = new Map<string, Promise<LoadResult>>()

  constructor(deps: RouterDeps) {
    this.#deps = deps
    this.#routes = deps.routes.deps
    this.#self = this.#routes.self
  }

  /** What this very process owns and has, without a wait; to be decoded within this turn, for it is not a copy. */
  readHere(namespace: string, encodedKey: string): Stored | undefined {
    const { owner, stats } = this.#deps
    if (this.#routes.ownerOf(namespace, encodedKey) !== this.#self) return undefined
    if (!this.#routes.isReachable(this.#self)) return undefined
    const found = owner.glance(namespace, encodedKey)
    if (found !== undefined) stats.readsLocalTotal++
    return found
  }

  /**
   * Nearly every read is over with the first reply of its owner, so that way is callbacks only. Whatever else happens
   * is a story of several steps, and is told as one.
   */
  read(question: Question): void {
    const owner = this.#routes.primaryOf(question.partition)
    // The caller's own loader runs in the caller's request context, which a promise carries and a callback does not.
    if (question.ask.mode === 'lease') return this.#readOn(question)
    if (owner === undefined || owner === this.#self || !this.#routes.isReachable(owner)) return this.#readOn(question)
    this.#askOther(owner, question, reply => {
      if (reply === 'lost' || reply.type === 'notOwner' || reply.type === 'lease')
        return this.#readOn(question, { owner, reply })
      try {
        question.answered(this.#answer(owner, question.ask, reply))
      } catch (error) {
        question.failed(error)
      }
    })
  }

  #readOn(question: Question, first?: { owner: PeerId; reply: Reply | Failure }): void {
    this.#readInSteps(question, first).then(
      answer => question.answered(answer),
      (error: unknown) => question.failed(error)
    )
  }

  async #readInSteps(
    question: Question,
    first: { owner: PeerId; reply: Reply | Failure } | undefined
  ): Promise<Answer | FailedLoad | undefined> {
    const { ask } = question
    let patientUntilMs = this.#deps.clock.monotonic() + PATIENCE_MS
    let given = first
    for (let misroutes = 0, losses = 0; misroutes <= MISROUTES_MAX && losses <= LOSSES_MAX; ) {
      if (given === undefined && question.isAbandoned) return undefined
      const owner = given?.owner ?? this.#routes.primaryOf(question.partition)
      const reply = given?.reply ?? (owner === undefined ? 'unlinked' : await this.#ask(owner, question))
      given = undefined
      if (reply === 'lost' || reply === 'unlinked') {
        if (reply === 'lost' || owner === this.#self) {
          // We had an owner until now, perhaps for as long as a load takes, or are it and stood still: the patience for
          // the next one begins here.
          losses++
          patientUntilMs = this.#deps.clock.monotonic() + PATIENCE_MS
        }
        if (this.#hasNewOwner(question, owner)) continue
        const leftMs = patientUntilMs - this.#deps.clock.monotonic()
        if (leftMs <= 0 || !(await this.#deps.routes.change(leftMs))) break
      } else if (reply.type === 'notOwner') {
        misroutes++
        if (owner !== this.#self) await this.#routes.agreeWith(owner as PeerId)
      } else if (reply.type === 'lease') return this.#loadUnderLease(owner as PeerId, ask, reply)
      else return this.#answer(owner as PeerId, ask, reply)
    }
    question.departure = AT_ONCE
    return question.isAbandoned ? undefined : this.#loadAlone(ask)
  }

  /** One that leaves is out of the table before its link ends: then there is no change left to wait for. */
  #hasNewOwner({ partition }: Question, lost: PeerId | undefined): boolean {
    const owner = this.#routes.primaryOf(partition)
    return owner !== undefined && owner !== lost && this.#routes.isReachable(owner)
  }

  #ask(owner: PeerId, question: Question): Promise<Reply | Failure> {
    if (!this.#routes.isReachable(owner)) return Promise.resolve('unlinked')
    return new Promise((resolve, reject) => {
      if (owner === this.#self) this.#askSelf(question, resolve)
      else this.#askOther(owner, question, resolve, reject)
    })
  }

  #askOther(
    owner: PeerId,
    question: Question,
    onReply: (reply: Reply | 'lost') => void,
    onError = (error: unknown) => question.failed(error)
  ): void {
    const { definition, encodedKey: key, mode, timeoutMs } = question.ask
    const request = { type: 'read', namespace: definition.namespace, key, mode } as const
    const { client } = this.#deps
    const call = client.begin(owner, request, { timeoutMs, loadMs: definition.loadTimeoutMs }, reply => {
      if (!(reply instanceof CallFailed)) onReply(reply)
      else if (reply.end === 'lost') onReply('lost')
      else onError(callError(reply, definition, owner))
    })
    question.askedAt(call.departure, () => client.cancel(call))
  }

  #askSelf(question: Question, onReply: (reply: Reply) => void): void {
    const { definition, encodedKey: key, mode } = question.ask
    const withdraw = this.#deps.owner.read(
      this.#self,
      { type: 'read', namespace: definition.namespace, key, mode },
      reply => {
        if (reply.type !== 'waiting') onReply(reply)
      }
    )
    question.askedAt(AT_ONCE, withdraw)
  }

  #answer(owner: PeerId, ask: ReadAsk, reply: Reply): Answer | FailedLoad | undefined {
    const { stats } = this.#deps
    switch (reply.type) {
      case 'hit':
        return this.#found(owner, reply)
      case 'absent':
        stats.readsMissTotal++
        return undefined
      case 'loaded':
        stats.readsLoadTotal++
        return answerOf(reply, reply)
      default:
        throw unexpected(ask.definition, reply)
    }
  }

  #found(owner: PeerId, { bytes, negative, stamp, writer, expiresAtMs }: MessageOf<'hit'>): Answer {
    const from = owner === this.#self ? 'local' : 'owner'
    if (from === 'local') this.#deps.stats.readsLocalTotal++
    else this.#deps.stats.readsOwnerTotal++
    return { bytes, negative, stamp, writer, expiresAtMs, from }
  }

  /** We are the one who loads. The owner hears of the result; our caller does not wait for that. */
  async #loadUnderLease(owner: PeerId, ask: ReadAsk, lease: MessageOf<'lease'>): Promise<Answer | FailedLoad> {
    const { type: _, ...token } = lease
    const about = { namespace: ask.definition.namespace, key: ask.encodedKey, ...token }
    const stopRenewing = this.#renewing(owner, { type: 'renew', ...token })
    const result = await this.#startLoad(ask)
    stopRenewing()
    const { code, bytes, failure, ttlMs, negative } = result
    void this.#sendFill(owner, { type: 'fill', ...about, code, bytes, failure, ttlMs, negative })
    this.#deps.stats.readsLoadTotal++
    const expiresAtMs = this.#deps.meshClock.now() + ttlMs
    return answerOf(result, { stamp: token.lease, writer: owner, negative, expiresAtMs })
  }

  #startLoad(ask: ReadAsk): Promise<LoadResult> {
    const { definition, key, loadTtlMs, load } = ask
    const call = load ?? noLoader(definition)
    return startLoad(this.#deps.load, { definition, key, ttlMs: loadTtlMs, call }).done
  }

  #renewing(owner: PeerId, renew: MessageOf<'renew'>): () => void {
    let disarm = (): void => {}
    const again = (): void => {
      if (owner === this.#self) this.#deps.owner.holderSays(owner, renew)
      else this.#deps.outbox.post(owner, 0, renew)
      disarm = this.#deps.clock.after(RENEW_EVERY_MS, again)
    }
    disarm = this.#deps.clock.after(RENEW_EVERY_MS, again)
    return () => disarm()
  }

  async #sendFill(owner: PeerId, fill: MessageOf<'fill'>): Promise<void> {
    if (owner === this.#self) {
      this.#deps.owner.fill(owner, fill)
      return
    }
    try {
      await this.#deps.client.call(owner, fill, { timeoutMs: LEASE_MS }).reply
    } catch (error) {
      // The owner is gone or drowning. Its lease runs out and the next waiter loads; our caller has its value.
      if (!(error instanceof CallFailed)) throw error
    }
  }

  /** Nobody to ask. One call of our own for all who ask here, and nothing is stored. */
  async #loadAlone(ask: ReadAsk): Promise<Answer | FailedLoad> {
    if (ask.load === undefined) throw unavailable(ask.definition)
    const name = `${ask.definition.namespace}\n${ask.encodedKey}`
    const running = this.#alone.get(name)
    if (running !== undefined) return this.#unstored(await running)
    this.#deps.stats.loadsUnstoredTotal++
    const load = this.#startLoad(ask)
    this.#alone.set(name, load)
    const result = await load
    this.#alone.delete(name)
    return this.#unstored(result)
  }

  /** A version that no record has, so nothing can be compared with it. */
  #unstored(result: LoadResult): Answer | FailedLoad {
    const { meshClock } = this.#deps
    const { negative } = result
    return answerOf(result, { stamp: meshClock.stamp(), writer: this.#self, negative, expiresAtMs: meshClock.now() })
  }
}

function answerOf(outcome: Outcome, kept: Omit<Answer, 'bytes' | 'from'>): Answer | FailedLoad {
  if (outcome.code !== 'value') return { failed: outcome }
  const { stamp, writer, negative, expiresAtMs } = kept
  return { bytes: outcome.bytes, negative, stamp, writer, expiresAtMs, from: 'load' }
}

function noLoader(definition: CacheDefinition): () => never {
  return () => {
    throw unavailable(definition)
  }
}
