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
import { NO_TAGS } from '../codec/tags.ts'
import type { CacheDefinition, LoadContext, LoadMany, May } from '../fill/definition.ts'
import type { OriginRun } from '../fill/guarded-call.ts'
import type { LoadResult } from '../fill/load.ts'
import type { Stats } from '../observe/stats.ts'
import type { Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import { CallFailed, type Client } from '../rpc/client.ts'
import type { MessageOf, Outcome, Reply } from '../rpc/messages.ts'
import type { Departure } from '../rpc/outbox.ts'
import type { MeshClock, Version } from '../store/version.ts'
import { callError, unavailable, unexpected } from './failures.ts'
import type { LeasedLoads } from './leased-loads.ts'
import type { Owner } from './owner.ts'
import type { Routes, RoutesDeps } from './routes.ts'

/** Owners asked in turn because views disagreed. */
const MISROUTES_MAX = 2
/** Owners lost while they were asked. */
const LOSSES_MAX = 3
/** How long a read waits for a lost owner's link or a new view, before it goes to the origin by itself. */
const PATIENCE_MS = 500

export interface ReadAsk {
  readonly definition: CacheDefinition
  readonly key: Key
  readonly encodedKey: string
  readonly mode: 'stored' | 'load' | 'lease'
  readonly wish: MessageOf<'read'>['wish']
  /** Runs in this process under the owner's lease, or alone when there is no owner to ask. */
  readonly load: ((context: LoadContext) => May<unknown>) | undefined
  readonly loadTtlMs: number
  readonly loadTags: readonly string[] | undefined
  /** Loads it together with others that this caller wants. */
  readonly loadMany: LoadMany | undefined
  readonly timeoutMs: number
}

/** What a read wants, whatever the key. */
export type ReadTerms = Pick<ReadAsk, 'mode' | 'wish' | 'load' | 'loadTtlMs' | 'loadTags' | 'loadMany'>

/** Answers with what is stored and loads nothing. */
export const STORED: ReadTerms = {
  mode: 'stored',
  wish: 'usual',
  load: undefined,
  loadTtlMs: 0,
  loadTags: undefined,
  loadMany: undefined
}

/** What a caller that wants the value and nothing else is given. */
export interface Stored {
  readonly bytes: Uint8Array
  readonly negative: boolean
}

export interface Answer extends Version, Stored {
  /** Till when it is fresh, by the mesh clock. What is not kept has expired already. */
  readonly expiresAtMs: number
  readonly stale: boolean
  /** As they travel (`codec/tags.ts`). */
  readonly tags: Uint8Array
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
  readonly owner: Owner
  readonly stats: Stats
  readonly leased: LeasedLoads
  /** False for a key that cannot exist. */
  readonly mayExist: (namespace: string, key: string) => boolean
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
      } else if (reply.type === 'lease') return this.#loadUnderLease(owner as PeerId, question, reply)
      else return this.#answer(owner as PeerId, ask, reply)
    }
    return question.isAbandoned ? undefined : this.#loadAlone(question)
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
    const { definition, timeoutMs } = question.ask
    const request = requestOf(question.ask)
    const { client } = this.#deps
    const call = client.begin(owner, request, { timeoutMs, loadMs: definition.loadTimeoutMs * 2 }, reply => {
      if (!(reply instanceof CallFailed)) onReply(reply)
      else if (reply.end === 'lost') onReply('lost')
      else onError(callError(reply, definition, owner))
    })
    question.askedAt(call.departure, () => client.cancel(call))
  }

  #askSelf(question: Question, onReply: (reply: Reply) => void): void {
    const withdraw = this.#deps.owner.read(this.#self, requestOf(question.ask), reply => {
      if (reply.type !== 'waiting') onReply(reply)
    })
    question.askedAt(AT_ONCE, withdraw)
  }

  #answer(owner: PeerId, ask: ReadAsk, reply: Reply): Answer | FailedLoad | undefined {
    const { stats } = this.#deps
    switch (reply.type) {
      case 'hit':
        return this.#hit(owner, reply)
      case 'kept':
        return this.#kept(owner, ask, reply)
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

  /** Of nearly every read: field by field, for to spread an object takes as long as all the rest of it. */
  #hit(owner: PeerId, { bytes, negative, stamp, writer, expiresAtMs }: MessageOf<'hit'>): Answer {
    const from = owner === this.#self ? 'local' : 'owner'
    if (from === 'local') this.#deps.stats.readsLocalTotal++
    else this.#deps.stats.readsOwnerTotal++
    return { bytes, negative, stamp, writer, expiresAtMs, stale: false, tags: NO_TAGS, from }
  }

  #found(owner: PeerId, { bytes, negative, stamp, writer, expiresAtMs, stale, tags }: Omit<Answer, 'from'>): Answer {
    const from = owner === this.#self ? 'local' : 'owner'
    if (stale) this.#deps.stats.readsStaleTotal++
    else if (from === 'local') this.#deps.stats.readsLocalTotal++
    else this.#deps.stats.readsOwnerTotal++
    return { bytes, negative, stamp, writer, expiresAtMs, stale, tags, from }
  }

  /** Our callers have what there is; if we are to load it anew, that is for the next who ask. */
  #kept(owner: PeerId, ask: ReadAsk, reply: MessageOf<'kept'>): Answer {
    const { lease, boot, reason, ...found } = reply
    const previous = found.negative ? undefined : found
    if (lease > 0)
      this.#deps.leased.begin(
        { owner, lease, boot },
        ask.encodedKey,
        runOf(ask, { reason, previous, urgency: 'refresh' })
      )
    return this.#found(owner, found)
  }

  /** We are the one who loads. The owner hears of the result; our callers do not wait for that. */
  async #loadUnderLease(
    owner: PeerId,
    question: Question,
    { lease, boot, reason, previous }: MessageOf<'lease'>
  ): Promise<Answer | FailedLoad> {
    const { ask } = question
    const run = runOf(ask, { reason, previous, urgency: reason === 'warm' ? 'refresh' : 'user' })
    const load = this.#deps.leased.begin({ owner, lease, boot }, ask.encodedKey, run)
    question.askedAt(AT_ONCE, load.callersGone)
    const mayBeStale = ask.wish === 'usual' && previous !== undefined
    const result = await (mayBeStale ? this.#inSoftTime(ask, load.done) : load.done)
    if (mayBeStale && result?.code !== 'value') {
      const stale = await this.#storedAt(owner, ask)
      if (stale !== undefined && result === undefined) this.#deps.stats.softTimeoutsTotal++
      if (stale !== undefined) return stale
    }
    return this.#broughtBy(owner, lease, result ?? (await load.done))
  }

  /** Undefined once its time for callers is over; the load goes on for those who come later. */
  #inSoftTime({ definition }: ReadAsk, done: Promise<LoadResult>): Promise<LoadResult | undefined> {
    if (definition.softTimeoutMs === Number.POSITIVE_INFINITY) return done
    return new Promise(resolve => {
      const disarm = this.#deps.clock.after(definition.softTimeoutMs, () => resolve(undefined))
      void done.then(result => {
        disarm()
        resolve(result)
      })
    })
  }

  /** What the owner still has, though it be stale. It may have been deleted since, so what came with the lease will not do. */
  async #storedAt(owner: PeerId, ask: ReadAsk): Promise<Answer | undefined> {
    const request = requestOf({ ...ask, mode: 'stored' })
    const reply = await new Promise<Reply | CallFailed>(resolve => {
      if (owner === this.#self) this.#deps.owner.read(owner, request, resolve)
      else this.#deps.client.begin(owner, request, { timeoutMs: ask.timeoutMs }, resolve)
    })
    // Whatever else it says: the failure of the load is then what there is to tell.
    if (reply instanceof CallFailed || (reply.type !== 'hit' && reply.type !== 'kept')) return undefined
    return reply.type === 'hit' ? this.#hit(owner, reply) : this.#kept(owner, ask, reply)
  }

  #broughtBy(owner: PeerId, lease: number, result: LoadResult): Answer | FailedLoad {
    this.#deps.stats.readsLoadTotal++
    const expiresAtMs = this.#deps.meshClock.now() + Math.max(0, result.ttlMs)
    const tags = result.keep?.tags ?? NO_TAGS
    return answerOf(result, { stamp: lease, writer: owner, negative: result.negative, expiresAtMs, tags })
  }

  /** Nobody to ask. One call of our own for all who ask here, and nothing is stored. */
  #loadAlone(question: Question): Promise<Answer | FailedLoad | undefined> {
    const { ask } = question
    const { definition, encodedKey, load, loadTtlMs: ttlMs, loadTags: tags } = ask
    if (load === undefined) return Promise.reject(unavailable(definition))
    if (ask.mode === 'load' && !this.#deps.mayExist(definition.namespace, encodedKey)) {
      this.#deps.stats.readsMissTotal++
      return Promise.resolve(undefined)
    }
    return new Promise(resolve => {
      const alone = { definition, encodedKey, load, ttlMs, tags }
      const withdraw = this.#deps.owner.fills.alone(this.#self, alone, reply =>
        resolve(this.#answer(this.#self, ask, reply))
      )
      question.askedAt(AT_ONCE, withdraw)
    })
  }
}

function requestOf({ definition, encodedKey: key, mode, wish }: ReadAsk): MessageOf<'read'> {
  return { type: 'read', namespace: definition.namespace, key, mode, wish }
}

function runOf(ask: ReadAsk, why: Pick<OriginRun, 'reason' | 'previous' | 'urgency'>): OriginRun {
  const { definition, key, loadTtlMs: ttlMs, loadTags: tags, loadMany, load } = ask
  return { definition, key, ttlMs, tags, loadMany, call: load ?? noLoader(definition), ...why }
}

function answerOf(outcome: Outcome, kept: Omit<Answer, 'bytes' | 'from' | 'stale'>): Answer | FailedLoad {
  if (outcome.code !== 'value') return { failed: outcome }
  const { stamp, writer, negative, expiresAtMs, tags } = kept
  return { bytes: outcome.bytes, negative, stamp, writer, expiresAtMs, tags, stale: false, from: 'load' }
}

function noLoader(definition: CacheDefinition): () => never {
  return () => {
    throw unavailable(definition)
  }
}
