/**
 * Reads that a copy answers, because the primary cannot be reached, is not heard, or is slow.
 *
 *   failover: the primary is not well ─▶ each rank that holds a copy, by `readCopy`, those that are well first
 *                ├─ a value                                                                       ─▶ answer
 *                └─ absent ─▶ the next; the last of them may load, where the primary cannot be reached ─▶ answer
 *   hedge:    the primary is well and slow ─▶ the first rank that is well, beside it; only a value ends the wait
 *
 * A failover asks each rank at most once, so it is bounded by their number and not charged to anybody. Hedges are
 * (`hedge-budget.ts`). We may be one of the ranks ourselves: then our own store is looked into, without a message.
 *
 * Only reads of what is stored: who wants a value loaded anew wants the primary.
 */
import { NO_TAGS } from '../codec/tags.ts'
import type { Stats } from '../observe/stats.ts'
import type { Cancel } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import { CallFailed, type Client, type Slowness } from '../rpc/client.ts'
import type { Reply } from '../rpc/messages.ts'
import type { Departure } from '../rpc/outbox.ts'
import type { Copies } from './copies.ts'
import type { HedgeBudget } from './hedge-budget.ts'
import { type Answer, answerOf, type FailedLoad, type Question, type ReadAsk } from './question.ts'
import type { Routes } from './routes.ts'
import type { Sessions } from './sessions.ts'

export interface CopyReadsDeps {
  readonly routes: Routes
  readonly client: Client
  readonly copies: Copies
  readonly budget: HedgeBudget
  readonly sessions: Sessions
  readonly stats: Stats
}

/** What a copy has come to. `absent`: it has nothing, or nothing recent enough. Undefined: it did not say. */
type Told = Answer | FailedLoad | 'absent' | undefined

/** Of a value that is more than just there, `kept` tells. */
const PLAIN = { stale: false, tags: NO_TAGS } as const

/** Whether copies are any good for this read. */
export function mayBeCopied({ definition, wish }: ReadAsk): boolean {
  return definition.backups > 0 && (wish === 'usual' || wish === 'fresh')
}

/** What is asked for, whether or not it is a question of its own. */
type About = Pick<Question, 'ask' | 'partition'>

/** A question under way, and how to take it back. */
interface Asked {
  readonly departure: Departure
  readonly cancel: Cancel
}

/** Of our own store. */
const HERE: Asked = { departure: { sent: true }, cancel: () => {} }

export class CopyReads {
  readonly #deps: CopyReadsDeps

  constructor(deps: CopyReadsDeps) {
    this.#deps = deps
  }

  /**
   * Asks another beside the primary; `onEnd` is told a value, or undefined where it has none. What it returns takes that
   * back; undefined when nobody was asked.
   */
  hedge(about: About, why: Slowness, onEnd: (answer: Answer | undefined) => void): Cancel | undefined {
    const { budget, stats } = this.#deps
    const peer = this.#backups(about).find(this.#deps.routes.deps.isWell)
    if (peer === undefined || (why === 'slow' && !budget.spend())) return undefined
    stats.readsHedgedTotal++
    const way = { mayFill: false, mayGoOn: () => true }
    return this.#ask(peer, about, way, told => {
      if (told === undefined || told === 'absent' || 'failed' in told) return onEnd(undefined)
      stats.hedgesWonTotal++
      onEnd(told)
    }).cancel
  }

  failover(question: Question): Failover {
    return new Failover(question, {
      backups: () => this.#backups(question),
      isWell: this.#deps.routes.deps.isWell,
      isReachable: this.#deps.routes.deps.isReachable,
      onBegin: () => this.#deps.stats.failoversTotal++,
      ask: (peer, way, onTold) => this.#ask(peer, question, way, onTold)
    })
  }

  #backups({ ask, partition }: About): readonly PeerId[] {
    return this.#deps.routes.replicasOf(partition, ask.definition.backups).slice(1)
  }

  #ask(peer: PeerId, { ask, partition }: About, { mayFill, mayGoOn }: Way, onTold: (told: Told) => void): Asked {
    const { client, copies, routes, sessions } = this.#deps
    const { definition, encodedKey: key, mode, wish, timeoutMs } = ask
    const { namespace, loadTimeoutMs } = definition
    const floorStamp = sessions.floorOf(partition)
    const request = { type: 'readCopy', namespace, key, mode, wish, floorStamp, mayFill } as const
    if (peer === routes.deps.self) {
      onTold(this.#told(partition, copies.find(request) ?? { type: 'absent' }))
      return HERE
    }
    const onSlow = (why: Slowness): void => {
      if (why === 'slow' || !mayGoOn()) return
      client.cancel(call)
      onTold(undefined)
    }
    const call = client.begin(peer, request, { timeoutMs, loadMs: loadTimeoutMs * 2, onSlow }, reply =>
      onTold(reply instanceof CallFailed ? undefined : this.#told(partition, reply))
    )
    return { departure: call.departure, cancel: () => client.cancel(call) }
  }

  #told(partition: number, reply: Reply): Told {
    const { stats, sessions } = this.#deps
    if (reply.type === 'absent') return 'absent'
    if (reply.type === 'loaded') {
      stats.readsLoadTotal++
      return answerOf(reply, reply)
    }
    if (reply.type !== 'hit' && reply.type !== 'kept') return undefined
    const { bytes, negative, stamp, writer, expiresAtMs } = reply
    const { stale, tags } = reply.type === 'kept' ? reply : PLAIN
    if (stale) stats.readsStaleTotal++
    else stats.readsBackupTotal++
    sessions.saw(partition, stamp)
    return { bytes, negative, stamp, writer, expiresAtMs, stale, tags, from: 'backup', owner: undefined }
  }
}

/** How a copy is asked. */
interface Way {
  /** It may call the origin where it has nothing. */
  readonly mayFill: boolean
  /** Somebody else is left to be asked, should it fall silent. */
  readonly mayGoOn: () => boolean
}

interface Ways {
  readonly backups: () => readonly PeerId[]
  readonly isWell: (peer: PeerId) => boolean
  readonly isReachable: (peer: PeerId) => boolean
  readonly onBegin: () => void
  readonly ask: (peer: PeerId, way: Way, onTold: (told: Told) => void) => Asked
}

/** The way of one read through the ranks behind its primary. */
export class Failover {
  readonly #question: Question
  readonly #ways: Ways
  readonly #asked = new Set<PeerId>()
  readonly #denied = new Set<PeerId>()
  /** The last that has nothing and was not let to load it. */
  #unfilled: PeerId | undefined

  constructor(question: Question, ways: Ways) {
    this.#question = question
    this.#ways = ways
  }

  get hasBegun(): boolean {
    return this.#asked.size > 0
  }

  /** Every rank has been asked and has nothing: there is nobody left to wait for. */
  get isDenied(): boolean {
    const backups = this.#ways.backups()
    return backups.length > 0 && backups.every(peer => this.#denied.has(peer))
  }

  /**
   * Undefined when no copy has answered. `isCutOff`: the primary cannot be asked, so the last rank may load. It is asked
   * each time, for the ranks move up when the primary is buried:
   *
   *   1. A is lost ─ B, its copy, is asked, and busy ─ A is buried: B is primary and C its copy, which has nothing yet.
   *      B has the key and can be reached, so C must not load it.
   */
  async read(isCutOff: () => boolean): Promise<Answer | FailedLoad | undefined> {
    for (let peer = this.#next(); peer !== undefined && !this.#question.isAbandoned; peer = this.#next()) {
      if (!this.hasBegun) this.#ways.onBegin()
      this.#asked.add(peer)
      const mayFill = isCutOff() && !this.#mayGoOn
      const told = await this.#ask(peer, mayFill)
      if (told !== undefined && told !== 'absent') return told
      if (told === undefined) continue
      this.#denied.add(peer)
      this.#unfilled = mayFill ? undefined : peer
    }
    return isCutOff() ? this.#fill() : undefined
  }

  /** It has nothing and was asked while its primary could be: now that it cannot, one process loads for all, and not each. */
  async #fill(): Promise<Answer | FailedLoad | undefined> {
    const peer = this.#unfilled
    if (peer === undefined || this.#question.isAbandoned) return undefined
    this.#unfilled = undefined
    const told = await this.#ask(peer, true)
    return told === 'absent' ? undefined : told
  }

  /** Those that are well first; of the others one may still answer. */
  #next(): PeerId | undefined {
    const { backups, isWell, isReachable } = this.#ways
    const left = backups().filter(peer => !this.#asked.has(peer))
    return left.find(isWell) ?? left.find(isReachable)
  }

  get #mayGoOn(): boolean {
    return this.#next() !== undefined
  }

  #ask(peer: PeerId, mayFill: boolean): Promise<Told> {
    return new Promise(resolve => {
      const way = { mayFill, mayGoOn: () => this.#mayGoOn }
      const { departure, cancel } = this.#ways.ask(peer, way, resolve)
      this.#question.askedAt(departure, cancel)
    })
  }
}
