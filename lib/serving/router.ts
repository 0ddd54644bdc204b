/**
 * From a key to its answer: who owns it, how to ask, and what to do when that goes wrong.
 *
 *   read ─▶ owner known and well ─▶ ask ─▶ hit · absent · loaded                            ─▶ answer
 *     │                               ├──▶ lease: load here, send the result back            ─▶ answer
 *     │                               ├──▶ slow: a copy is asked as well, the first value is ─▶ answer
 *     │                               ├──▶ not owner: make the two views equal, ask again, at most twice
 *     │                               └──▶ link lost, or no answer in time: as below
 *     └─▶ owner not well ─▶ copies (`copy-reads.ts`)                                        ─▶ answer
 *           └─▶ none has it: the owner all the same, if it is linked; a loader of ours if all copies say so
 *                └─▶ not linked ─▶ wait a moment for the link or the next view ─▶ ask again
 *                                    └──▶ still nobody: own origin call, not stored; without a loader: unavailable
 *
 * Nobody ever forwards a request, so no two members can wait for each other. Changes take a way of their own
 * (`changes.ts`): they wait longer, and must not be made twice.
 */
import { NO_TAGS } from '../codec/tags.ts'
import type { CacheDefinition } from '../fill/definition.ts'
import type { OriginRun } from '../fill/guarded-call.ts'
import type { LoadResult } from '../fill/load.ts'
import type { Stats } from '../observe/stats.ts'
import type { Cancel, Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import { CallFailed, type Client, type Slowness } from '../rpc/client.ts'
import type { MessageOf, Reply } from '../rpc/messages.ts'
import type { Departure } from '../rpc/outbox.ts'
import type { MeshClock } from '../store/version.ts'
import { type CopyReads, type Failover, mayBeCopied } from './copy-reads.ts'
import { callError, unavailable, unexpected } from './failures.ts'
import type { HedgeBudget } from './hedge-budget.ts'
import type { LeasedLoads } from './leased-loads.ts'
import type { Owner } from './owner.ts'
import {
  type Answer,
  answerOf,
  type FailedLoad,
  type Question,
  type ReadAsk,
  requestOf,
  type Stored
} from './question.ts'
import type { QuorumReads } from './quorum-reads.ts'
import type { Routes, RoutesDeps } from './routes.ts'
import type { Sessions } from './sessions.ts'

/** Owners asked in turn because views disagreed. */
const MISROUTES_MAX = 2
/** Owners lost while they were asked. */
const LOSSES_MAX = 3
/** How long a read waits for a lost owner's link or a new view, before it goes to the origin by itself. */
const PATIENCE_MS = 500

export interface RouterDeps {
  readonly routes: Routes
  readonly clock: Clock
  readonly meshClock: MeshClock
  readonly client: Client
  readonly owner: Owner
  readonly stats: Stats
  readonly leased: LeasedLoads
  readonly copies: CopyReads
  readonly quorum: QuorumReads
  readonly sessions: Sessions
  readonly budget: HedgeBudget
  /** Its owner says that a key is hot. */
  readonly granted: (namespace: string, key: string, owner: PeerId) => void
  /** False for a key that cannot exist. */
  readonly mayExist: (namespace: string, key: string) => boolean
}

/** `late`: it did not answer in time, and another may be asked in its place. */
type Failure = 'lost' | 'late' | 'unlinked'

/** A copy was faster than the owner. */
interface FromCopy {
  readonly type: 'copy'
  readonly answer: Answer
}

/** What the owner says, or a copy in its place. */
type Told = Reply | FromCopy

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
    if (found === undefined) return undefined
    stats.readsLocalTotal++
    if (found.backups > 0) this.#deps.sessions.saw(found.partition, found.version.stamp)
    return found
  }

  read(question: Question): void {
    if (!question.ask.isQuorum) return this.#readUsually(question)
    this.#deps.quorum.read(question).then(
      answer => {
        // Nothing that a majority knows of is what a loader is for, and the owner is who runs it.
        if (answer === undefined && question.ask.mode !== 'stored') this.#readUsually(question)
        else question.answered(answer)
      },
      (error: unknown) => question.failed(error)
    )
  }

  /**
   * Nearly every read is over with the first reply of its owner, so that way is callbacks only. Whatever else happens
   * is a story of several steps, and is told as one.
   */
  #readUsually(question: Question): void {
    const { definition, mode } = question.ask
    const owner = this.#routes.primaryOf(question.partition)
    if (definition.backups > 0) this.#deps.budget.earn()
    // The caller's own loader runs in the caller's request context, which a promise carries and a callback does not.
    if (mode === 'lease' || owner === undefined || owner === this.#self) return this.#readOn(question)
    if (definition.backups > 0 ? this.#isUnwell(owner, question.ask) : !this.#routes.isReachable(owner))
      return this.#readOn(question)
    const mayHedge = mayBeCopied(question.ask) && question.ask.isExact !== true
    this.#askOther(owner, question, mayHedge, reply => {
      if (reply === 'lost' || reply === 'late' || reply.type === 'notOwner' || reply.type === 'lease')
        return this.#readOn(question, { owner, reply })
      try {
        question.answered(this.#answer(owner, question, reply))
      } catch (error) {
        question.failed(error)
      }
    })
  }

  #readOn(question: Question, first?: { owner: PeerId; reply: Told | Failure }): void {
    this.#readInSteps(question, first).then(
      answer => question.answered(answer),
      (error: unknown) => question.failed(error)
    )
  }

  async #readInSteps(
    question: Question,
    first: { owner: PeerId; reply: Told | Failure } | undefined
  ): Promise<Answer | FailedLoad | undefined> {
    const failover = mayBeCopied(question.ask) ? this.#deps.copies.failover(question) : undefined
    let patientUntilMs = this.#deps.clock.monotonic() + PATIENCE_MS
    let given = first
    for (let misroutes = 0, losses = 0; misroutes <= MISROUTES_MAX && losses <= LOSSES_MAX; ) {
      if (given === undefined && question.isAbandoned) return undefined
      const owner = given?.owner ?? this.#routes.primaryOf(question.partition)
      if (given === undefined && failover !== undefined && this.#isUnwell(owner, question.ask)) {
        const answer = await failover.read(() => this.#isCutOff(question))
        if (answer !== undefined) return answer
        if (this.#isLeftToUs(question, failover)) break
      }
      const reply = given?.reply ?? (owner === undefined ? 'unlinked' : await this.#ask(owner, question, failover))
      given = undefined
      if (reply === 'late') return this.#readLate(owner as PeerId, question, failover)
      if (reply === 'lost' || reply === 'unlinked') {
        if (reply === 'lost' || owner === this.#self) {
          // We had an owner until now, perhaps for as long as a load takes, or are it and stood still: the patience for
          // the next one begins here.
          losses++
          patientUntilMs = this.#deps.clock.monotonic() + PATIENCE_MS
        }
        if (this.#hasNewOwner(question, owner) || (reply === 'lost' && failover !== undefined)) continue
        const leftMs = patientUntilMs - this.#deps.clock.monotonic()
        if (leftMs <= 0 || !(await this.#deps.routes.change(leftMs))) break
      } else if (reply.type === 'notOwner') {
        misroutes++
        if (owner !== this.#self) await this.#routes.agreeWith(owner as PeerId)
      } else if (reply.type === 'lease') return this.#loadUnderLease(owner as PeerId, question, reply)
      else return this.#answer(owner as PeerId, question, reply)
    }
    return question.isAbandoned ? undefined : this.#loadAlone(question)
  }

  #isUnwell(owner: PeerId | undefined, { isExact }: ReadAsk): owner is PeerId {
    if (owner === undefined || owner === this.#self) return false
    return isExact === true ? this.#routes.isCutOff(owner) : !this.#routes.isWell(owner)
  }

  #isCutOff({ partition }: Question): boolean {
    const owner = this.#routes.primaryOf(partition)
    return owner !== undefined && owner !== this.#self && this.#routes.isCutOff(owner)
  }

  /**
   * Nobody who could have it has it, and who would load it cannot be asked: to wait for another would bring nothing. But
   * callers with loaders of their own are one call of the origin only where an owner orders them. It is the owner of now
   * that counts: one of the copies may have become it while we asked.
   */
  #isLeftToUs({ ask, partition }: Question, { isDenied }: Failover): boolean {
    const owner = this.#routes.primaryOf(partition)
    return isDenied && ask.mode === 'load' && owner !== undefined && !this.#routes.isReachable(owner)
  }

  /** The owner has had its time. What a copy has is better than an error; if none has anything, that is what it is. */
  async #readLate(
    owner: PeerId,
    question: Question,
    failover: Failover | undefined
  ): Promise<Answer | FailedLoad | undefined> {
    const answer = await failover?.read(() => true)
    if (answer !== undefined || question.isAbandoned) return answer
    throw callError(new CallFailed('timeout', true), question.ask.definition, owner)
  }

  /** One that leaves is out of the table before its link ends: then there is no change left to wait for. */
  #hasNewOwner({ partition }: Question, lost: PeerId | undefined): boolean {
    const owner = this.#routes.primaryOf(partition)
    return owner !== undefined && owner !== lost && this.#routes.isReachable(owner)
  }

  #ask(owner: PeerId, question: Question, failover: Failover | undefined): Promise<Told | Failure> {
    if (!this.#routes.isReachable(owner)) return Promise.resolve('unlinked')
    // Copies that have been asked already have nothing.
    const mayHedge = failover !== undefined && !failover.hasBegun && question.ask.isExact !== true
    return new Promise((resolve, reject) => {
      if (owner === this.#self) this.#askSelf(question, resolve)
      else this.#askOther(owner, question, mayHedge, resolve, reject)
    })
  }

  #askOther(
    owner: PeerId,
    question: Question,
    mayHedge: boolean,
    onReply: (reply: Told | 'lost' | 'late') => void,
    onError = (error: unknown) => question.failed(error)
  ): void {
    const { definition, timeoutMs } = question.ask
    const { client, copies, budget } = this.#deps
    let takeBack: Cancel | undefined
    const hedge = (why: Slowness): void => {
      if (takeBack !== undefined || question.isAbandoned) return
      takeBack = copies.hedge(question, why, answer => {
        if (answer === undefined) return
        client.cancel(call)
        onReply({ type: 'copy', answer })
      })
    }
    const terms = { timeoutMs, loadMs: definition.loadTimeoutMs * 2, onSlow: mayHedge ? hedge : undefined }
    const call = client.begin(owner, requestOf(question.ask), terms, reply => {
      takeBack?.()
      if (!(reply instanceof CallFailed)) onReply(reply)
      else if (reply.end === 'lost') onReply('lost')
      else if (reply.end === 'timeout' && mayHedge && budget.spend()) onReply('late')
      else onError(callError(reply, definition, owner))
    })
    question.askedAt(call.departure, () => {
      takeBack?.()
      client.cancel(call)
    })
  }

  #askSelf(question: Question, onReply: (reply: Reply) => void): void {
    const withdraw = this.#deps.owner.read(this.#self, requestOf(question.ask), reply => {
      if (reply.type !== 'waiting') onReply(reply)
    })
    question.askedAt(AT_ONCE, withdraw)
  }

  #answer(owner: PeerId, question: Question, reply: Told): Answer | FailedLoad | undefined {
    const { stats } = this.#deps
    switch (reply.type) {
      case 'hit':
        this.#saw(question, reply.stamp)
        return this.#hit(owner, reply)
      case 'hot':
        this.#saw(question, reply.stamp)
        return this.#hot(owner, question.ask, reply)
      case 'kept':
        this.#saw(question, reply.stamp)
        return this.#kept(owner, question.ask, reply)
      case 'copy':
        return reply.answer
      case 'absent':
        stats.readsMissTotal++
        return undefined
      case 'loaded':
        stats.readsLoadTotal++
        if (reply.expiresAtMs > this.#deps.meshClock.now()) this.#saw(question, reply.stamp)
        return answerOf(reply, reply)
      default:
        throw unexpected(question.ask.definition, reply)
    }
  }

  #saw({ ask, partition }: Question, stamp: number): void {
    if (ask.definition.backups > 0) this.#deps.sessions.saw(partition, stamp)
  }

  /** Of nearly every read: field by field, for to spread an object takes as long as all the rest of it. */
  #hit(owner: PeerId, { bytes, negative, stamp, writer, expiresAtMs }: MessageOf<'hit'>): Answer {
    const from = owner === this.#self ? 'local' : 'owner'
    if (from === 'local') this.#deps.stats.readsLocalTotal++
    else this.#deps.stats.readsOwnerTotal++
    return { bytes, negative, stamp, writer, expiresAtMs, stale: false, tags: NO_TAGS, from, owner }
  }

  #hot(owner: PeerId, { definition, encodedKey }: ReadAsk, reply: MessageOf<'hot'>): Answer {
    this.#deps.granted(definition.namespace, encodedKey, owner)
    return this.#found(owner, { ...reply, stale: false })
  }

  #found(
    owner: PeerId,
    { bytes, negative, stamp, writer, expiresAtMs, stale, tags }: Omit<Answer, 'from' | 'owner'>
  ): Answer {
    const from = owner === this.#self ? 'local' : 'owner'
    if (stale) this.#deps.stats.readsStaleTotal++
    else if (from === 'local') this.#deps.stats.readsLocalTotal++
    else this.#deps.stats.readsOwnerTotal++
    return { bytes, negative, stamp, writer, expiresAtMs, stale, tags, from, owner }
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
    if (reply instanceof CallFailed) return undefined
    if (reply.type === 'hit') return this.#hit(owner, reply)
    if (reply.type === 'hot') return this.#hot(owner, ask, reply)
    return reply.type === 'kept' ? this.#kept(owner, ask, reply) : undefined
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
      const floorStamp = this.#deps.sessions.floorOf(question.partition)
      const alone = { definition, encodedKey, load, ttlMs, tags, floorStamp }
      const withdraw = this.#deps.owner.fills.alone(this.#self, alone, reply =>
        resolve(this.#answer(this.#self, question, reply))
      )
      question.askedAt(AT_ONCE, withdraw)
    })
  }
}

function runOf(ask: ReadAsk, why: Pick<OriginRun, 'reason' | 'previous' | 'urgency'>): OriginRun {
  const { definition, key, loadTtlMs: ttlMs, loadTags: tags, loadMany, load } = ask
  return { definition, key, ttlMs, tags, loadMany, call: load ?? noLoader(definition), ...why }
}

function noLoader(definition: CacheDefinition): () => never {
  return () => {
    throw unavailable(definition)
  }
}
