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
 * Nobody ever forwards a request, so no two members can wait for each other. A write is never repeated once the owner
 * may have seen it: then the caller is told that the outcome is unknown.
 */
import type { Abandonment } from '../base/abort.ts'
import { MeshError } from '../base/errors.ts'
import type { Key } from '../codec/keys.ts'
import type { CacheDefinition, LoadContext, May } from '../fill/definition.ts'
import { type LoadDeps, type LoadResult, startLoad } from '../fill/load.ts'
import type { Stats } from '../observe/stats.ts'
import type { Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import { type Call, CallFailed, type CallTerms, type Client } from '../rpc/client.ts'
import type { MessageOf, Outcome, Reply, Request } from '../rpc/messages.ts'
import type { Outbox } from '../rpc/outbox.ts'
import type { Version } from '../store/version.ts'
import { LEASE_MS, type Owner } from './owner.ts'

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
  /** The request has left: who asks from now on may be asking about a later truth. */
  readonly onSent: () => void
}

export interface Answer {
  readonly bytes: Uint8Array
  readonly negative: boolean
}

/** A load that failed, not yet an error: each caller gets one of its own, so that nobody shares a stack or a field. */
export interface FailedLoad {
  readonly failed: Outcome
}

export interface RouterDeps {
  readonly self: PeerId
  readonly clock: Clock
  readonly client: Client
  readonly outbox: Outbox
  readonly owner: Owner
  readonly stats: Stats
  readonly load: LoadDeps
  readonly ownerOf: (namespace: string, key: string) => PeerId | undefined
  /** Of others: there is a link. Of ourselves: our view is not in doubt. */
  readonly isReachable: (peer: PeerId) => boolean
  /** Makes our view and the peer's equal; it never rejects. */
  readonly agreeWith: (peer: PeerId) => Promise<void>
}

type Failure = 'lost' | 'unlinked'

export class Router {
  readonly #deps: RouterDeps
  readonly #routeWaiters = new Set<() => void>()
  readonly #alone = new Map<string, Promise<LoadResult>>()

  constructor(deps: RouterDeps) {
    this.#deps = deps
  }

  /** A link has come up or the table has changed: whoever waited for an owner may try again. */
  routesChanged(): void {
    for (const wake of [...this.#routeWaiters]) wake()
  }

  async read(ask: ReadAsk, abandonment: Abandonment): Promise<Answer | FailedLoad | undefined> {
    let patientUntilMs = this.#deps.clock.monotonic() + PATIENCE_MS
    for (let misroutes = 0, losses = 0; misroutes <= MISROUTES_MAX && losses <= LOSSES_MAX; ) {
      if (abandonment.isAbandoned) return undefined
      const owner = this.#deps.ownerOf(ask.definition.namespace, ask.encodedKey)
      const reply = owner === undefined ? 'unlinked' : await this.#ask(owner, ask, abandonment)
      if (reply === 'lost' || reply === 'unlinked') {
        if (reply === 'lost' || owner === this.#deps.self) {
          // We had an owner until now, perhaps for as long as a load takes, or are it and stood still: the patience for
          // the next one begins here.
          losses++
          patientUntilMs = this.#deps.clock.monotonic() + PATIENCE_MS
        }
        if (this.#hasNewOwner(ask, owner)) continue
        const leftMs = patientUntilMs - this.#deps.clock.monotonic()
        if (leftMs <= 0 || !(await this.#routeChange(leftMs))) break
      } else if (reply.type === 'notOwner') {
        misroutes++
        if (owner !== this.#deps.self) await this.#deps.agreeWith(owner as PeerId)
      } else return this.#answer(owner as PeerId, ask, reply)
    }
    ask.onSent()
    return abandonment.isAbandoned ? undefined : this.#loadAlone(ask)
  }

  /** One that leaves is out of the table before its link ends: then there is no change left to wait for. */
  #hasNewOwner(ask: ReadAsk, lost: PeerId | undefined): boolean {
    const owner = this.#deps.ownerOf(ask.definition.namespace, ask.encodedKey)
    return owner !== undefined && owner !== lost && this.#deps.isReachable(owner)
  }

  async write(definition: CacheDefinition, write: MessageOf<'write'>, timeoutMs: number): Promise<Version> {
    const reply = await this.#change(definition, write, timeoutMs, () => this.#deps.owner.write(write))
    if (reply.type !== 'written') throw unexpected(definition, reply)
    return { stamp: reply.stamp, writer: reply.writer }
  }

  async remove(definition: CacheDefinition, remove: MessageOf<'remove'>, timeoutMs: number): Promise<boolean> {
    const reply = await this.#change(definition, remove, timeoutMs, () => this.#deps.owner.remove(remove))
    if (reply.type !== 'removed') throw unexpected(definition, reply)
    return reply.existed
  }

  async #ask(owner: PeerId, ask: ReadAsk, abandonment: Abandonment): Promise<Reply | Failure> {
    const request: MessageOf<'read'> = {
      type: 'read',
      namespace: ask.definition.namespace,
      key: ask.encodedKey,
      mode: ask.mode
    }
    if (!this.#deps.isReachable(owner)) return 'unlinked'
    if (owner === this.#deps.self) {
      ask.onSent()
      return this.#askSelf(request, abandonment)
    }
    const terms = { timeoutMs: ask.timeoutMs, loadMs: ask.definition.loadTimeoutMs, onSent: ask.onSent }
    const call = this.#deps.client.call(owner, request, terms)
    abandonment.whenAbandoned(() => call.cancel())
    return this.#replyTo(call, ask.definition, owner)
  }

  #askSelf(request: MessageOf<'read'>, abandonment: Abandonment): Promise<Reply> {
    return new Promise(resolve => {
      const respond = (reply: Reply): void => {
        if (reply.type !== 'waiting') resolve(reply)
      }
      const withdraw = this.#deps.owner.read(this.#deps.self, request, respond)
      if (withdraw !== undefined) abandonment.whenAbandoned(withdraw)
    })
  }

  async #replyTo(call: Call, definition: CacheDefinition, owner: PeerId): Promise<Reply | 'lost'> {
    try {
      return await call.reply
    } catch (error) {
      if (!(error instanceof CallFailed)) throw error
      if (error.end === 'lost') return 'lost'
      throw callError(error, definition, owner)
    }
  }

  #answer(owner: PeerId, ask: ReadAsk, reply: Reply): May<Answer | FailedLoad | undefined> {
    const { stats } = this.#deps
    switch (reply.type) {
      case 'hit':
        if (owner === this.#deps.self) stats.readsLocalTotal++
        else stats.readsOwnerTotal++
        return reply
      case 'absent':
        stats.readsMissTotal++
        return undefined
      case 'loaded':
        stats.readsLoadTotal++
        return answerOf(reply)
      case 'lease':
        return this.#loadUnderLease(owner, ask, reply)
      default:
        throw unexpected(ask.definition, reply)
    }
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
    return answerOf(result)
  }

  #startLoad(ask: ReadAsk): Promise<LoadResult> {
    const { definition, key, loadTtlMs, load } = ask
    const call = load ?? noLoader(definition)
    return startLoad(this.#deps.load, { definition, key, ttlMs: loadTtlMs, call }).done
  }

  #renewing(owner: PeerId, renew: MessageOf<'renew'>): () => void {
    let disarm = (): void => {}
    const again = (): void => {
      if (owner === this.#deps.self) this.#deps.owner.holderSays(owner, renew)
      else this.#deps.outbox.post(owner, 0, renew)
      disarm = this.#deps.clock.after(RENEW_EVERY_MS, again)
    }
    disarm = this.#deps.clock.after(RENEW_EVERY_MS, again)
    return () => disarm()
  }

  async #sendFill(owner: PeerId, fill: MessageOf<'fill'>): Promise<void> {
    if (owner === this.#deps.self) {
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
    if (running !== undefined) return answerOf(await running)
    this.#deps.stats.loadsUnstoredTotal++
    const load = this.#startLoad(ask)
    this.#alone.set(name, load)
    const result = await load
    this.#alone.delete(name)
    return answerOf(result)
  }

  /** A write or delete at the owner: waits for a reachable owner until its deadline, and is sent at most once. */
  async #change(
    definition: CacheDefinition,
    request: Request & { namespace: string; key: string },
    timeoutMs: number,
    here: () => Reply
  ): Promise<Reply> {
    const untilMs = this.#deps.clock.monotonic() + timeoutMs
    for (let misroutes = 0; misroutes <= MISROUTES_MAX; ) {
      const leftMs = untilMs - this.#deps.clock.monotonic()
      const owner = this.#deps.ownerOf(request.namespace, request.key)
      if (owner === undefined || !this.#deps.isReachable(owner)) {
        if (leftMs <= 0 || !(await this.#routeChange(leftMs))) break
        continue
      }
      if (owner === this.#deps.self) return here()
      const reply = await this.#changeAt(owner, definition, request, { timeoutMs: Math.max(1, leftMs) })
      if (reply !== 'lost' && reply.type !== 'notOwner') return reply
      if (reply === 'lost') continue
      misroutes++
      await this.#deps.agreeWith(owner)
    }
    throw unavailable(definition)
  }

  async #changeAt(
    owner: PeerId,
    definition: CacheDefinition,
    request: Request,
    terms: CallTerms
  ): Promise<Reply | 'lost'> {
    try {
      return await this.#deps.client.call(owner, request, terms).reply
    } catch (error) {
      if (!(error instanceof CallFailed)) throw error
      if (error.end === 'lost' && !error.sent) return 'lost'
      throw callError(error, definition, owner)
    }
  }

  /** True when a link came up or the table changed within `ms`. */
  #routeChange(ms: number): Promise<boolean> {
    return new Promise(resolve => {
      const settle = (changed: boolean): void => {
        this.#routeWaiters.delete(wake)
        disarm()
        resolve(changed)
      }
      const wake = (): void => settle(true)
      const disarm = this.#deps.clock.after(ms, () => settle(false))
      this.#routeWaiters.add(wake)
    })
  }
}

function answerOf(outcome: Outcome): Answer | FailedLoad {
  return outcome.code === 'value' ? { bytes: outcome.bytes, negative: false } : { failed: outcome }
}

function callError(failed: CallFailed, definition: CacheDefinition, member: PeerId): MeshError {
  const detail = { cache: definition.name, member }
  switch (failed.end) {
    case 'overloaded':
      return new MeshError(
        'ERR_MESH_OVERLOADED',
        `Too many calls to one member are under way (cache '${definition.name}'). Nothing was done; slow down and try again.`,
        detail
      )
    case 'timeout':
      return new MeshError(
        'ERR_MESH_TIMEOUT',
        `The owner of the key did not answer in time (cache '${definition.name}'); for a write the outcome is unknown. Raise timeout, or look at the health of member ${member}.`,
        detail
      )
    case 'lost':
      return new MeshError(
        'ERR_MESH_UNAVAILABLE',
        `The link to the owner of the key was lost during a write (cache '${definition.name}'): the outcome is unknown. Read the key, or write again.`,
        detail
      )
  }
}

function unavailable(definition: CacheDefinition): MeshError {
  return new MeshError(
    'ERR_MESH_UNAVAILABLE',
    `No member that owns the key can be reached (cache '${definition.name}'). Try again, or give the cache a loader to fall back on.`,
    { cache: definition.name }
  )
}

function unexpected(definition: CacheDefinition, reply: Reply): MeshError {
  if (reply.type === 'overloaded') {
    return new MeshError(
      'ERR_MESH_OVERLOADED',
      `The owner of the key is at its cap of requests (cache '${definition.name}'). Nothing was done; slow down and try again.`,
      { cache: definition.name }
    )
  }
  const why = reply.type === 'broken' ? reply.reason : `an answer of kind ${reply.type}`
  return new MeshError(
    'ERR_MESH_UNAVAILABLE',
    `The owner of the key could not serve the request (cache '${definition.name}'): ${why}.`,
    { cache: definition.name }
  )
}

function noLoader(definition: CacheDefinition): () => never {
  return () => {
    throw unavailable(definition)
  }
}
