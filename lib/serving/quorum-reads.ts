/**
 * Reads by majority: all that hold a record are asked at once, and the latest version that a majority of them knows of
 * is the answer. Two majorities have a member in common, so who reads after a write that a majority has acknowledged
 * sees it, whoever has crashed or is cut off since.
 *
 *   peek ─▶ primary and backups ─▶ a majority has answered ─▶ the highest version: a value     ─▶ answer
 *                  │                                            └─ a tombstone, expired, nothing ─▶ a miss
 *                  └─▶ who had something older is sent the newer one: the next read finds it there
 *
 * The majority is that of 1 + `backups`, however many members there are: two sides of a split cannot both have it, and
 * a mesh that is too small for its backups has none.
 *
 * Not promised: that what was read stays. A version that one member alone has, because its write is under way or has
 * failed, may be found by this read and is sent to the others then; until they have it, another read may not find it.
 */
import { MeshError } from '../base/errors.ts'
import { NO_TAGS } from '../codec/tags.ts'
import type { Stats } from '../observe/stats.ts'
import type { PeerId } from '../ports/transport.ts'
import { CallFailed, type Client } from '../rpc/client.ts'
import type { MessageOf, Reply } from '../rpc/messages.ts'
import type { RecordFields } from '../rpc/replica-talk.ts'
import { freshUntil } from '../store/keeping.ts'
import { isNewer, type MeshClock } from '../store/version.ts'
import type { Answer, Question, ReadAsk } from './question.ts'
import type { Routes } from './routes.ts'
import type { Sessions } from './sessions.ts'

export interface QuorumReadsDeps {
  readonly routes: Routes
  readonly client: Client
  readonly meshClock: MeshClock
  readonly sessions: Sessions
  readonly stats: Stats
  /** What lies here of a key. */
  readonly peek: (about: { readonly namespace: string; readonly key: string }) => MessageOf<'peeked'>
  /** Takes in what another has newer. */
  readonly takeIn: (copies: MessageOf<'copies'>) => void
}

export class QuorumReads {
  readonly #deps: QuorumReadsDeps

  constructor(deps: QuorumReadsDeps) {
    this.#deps = deps
  }

  /** Undefined: a majority knows of no value that may be answered with. */
  async read(question: Question): Promise<Answer | undefined> {
    const { stats, sessions, meshClock } = this.#deps
    const { by, record } = await new Poll(this.#deps, question).done
    if (record === undefined || record.kind === 'tombstone' || record.expiresAtMs <= meshClock.now()) {
      stats.readsMissTotal++
      return undefined
    }
    const isStale = freshUntil(record) <= meshClock.now()
    // What is stale is refreshed by its owner, on the usual way; where nobody loads, it is what there is.
    if (isStale && (question.ask.wish !== 'usual' || question.ask.mode !== 'stored')) return undefined
    sessions.saw(question.partition, record.stamp)
    return this.#answer(question, by, record, isStale)
  }

  #answer(question: Question, by: PeerId, record: RecordFields, stale: boolean): Answer {
    const { stats, routes } = this.#deps
    const { bytes, negative, stamp, writer, keeping } = record
    const isPrimary = by === routes.deps.primaryOf(question.partition)
    const from = !isPrimary ? 'backup' : by === routes.deps.self ? 'local' : 'owner'
    if (stale) stats.readsStaleTotal++
    else if (from === 'backup') stats.readsBackupTotal++
    else if (from === 'local') stats.readsLocalTotal++
    else stats.readsOwnerTotal++
    const expiresAtMs = freshUntil(record)
    const tags = keeping?.tags ?? NO_TAGS
    return { bytes, negative, stamp, writer, expiresAtMs, stale, tags, from, owner: undefined }
  }
}

interface Latest {
  readonly by: PeerId
  readonly record: RecordFields | undefined
}

/** One question to all who hold a record. It goes on after its end: who answers late is sent the newer one too. */
class Poll {
  readonly #deps: QuorumReadsDeps
  readonly #ask: ReadAsk
  readonly #wanted: number
  readonly done: Promise<Latest>
  readonly #replicas: readonly PeerId[]
  readonly #answers = new Map<PeerId, RecordFields | undefined>()
  #left: number
  #latest: Latest | undefined
  #resolve: (latest: Latest) => void = () => {}
  #reject: (error: unknown) => void = () => {}

  constructor(deps: QuorumReadsDeps, question: Question) {
    const { ask, partition } = question
    const { backups } = ask.definition
    this.#deps = deps
    this.#ask = ask
    this.#wanted = Math.floor((1 + backups) / 2) + 1
    this.#replicas = deps.routes.replicasOf(partition, backups)
    this.#left = this.#replicas.length
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    const takeBacks = this.#replicas.map(peer => this.#askOne(peer))
    question.askedAt({ sent: true }, () => {
      for (const takeBack of takeBacks) takeBack()
    })
    if (this.#left === 0) this.#ended()
  }

  #askOne(peer: PeerId): () => void {
    const { client, routes, peek } = this.#deps
    const about = { namespace: this.#ask.definition.namespace, key: this.#ask.encodedKey }
    if (peer === routes.deps.self) {
      this.#told(peer, routes.deps.isReachable(peer) ? peek(about) : undefined)
      return () => {}
    }
    const request = { type: 'peek', ...about, change: undefined } as const
    const call = client.begin(peer, request, { timeoutMs: this.#ask.timeoutMs }, reply =>
      this.#told(peer, reply instanceof CallFailed ? undefined : reply)
    )
    return () => client.cancel(call)
  }

  /** An undefined reply: it cannot say. */
  #told(peer: PeerId, reply: Reply | undefined): void {
    this.#left--
    if (reply?.type === 'peeked') {
      this.#answers.set(peer, reply.record)
      if (this.#latest !== undefined) this.#repair(this.#latest.record)
      else if (this.#answers.size >= this.#wanted) this.#decide()
    }
    if (this.#left === 0) this.#ended()
  }

  #decide(): void {
    let latest: Latest | undefined
    for (const [by, record] of this.#answers)
      if (latest === undefined || isLater(record, latest.record)) latest = { by, record }
    this.#latest = latest
    if (latest === undefined) return
    this.#resolve(latest)
    this.#repair(latest.record)
  }

  #repair(record: RecordFields | undefined): void {
    if (record === undefined || record.expiresAtMs <= this.#deps.meshClock.now()) return
    for (const [peer, theirs] of this.#answers) {
      if (!isLater(record, theirs)) continue
      this.#answers.set(peer, record)
      this.#send(peer, record)
    }
  }

  #send(peer: PeerId, record: RecordFields): void {
    const { routes, client, meshClock, takeIn } = this.#deps
    const records = [{ record, answer: undefined }]
    const nothingElse = { answers: [], evicted: [], atMs: meshClock.now(), digests: [], floors: [] }
    const viewHash = routes.deps.viewHash()
    const copies = { type: 'copies', viewHash, delivers: true, records, ...nothingElse } as const
    if (peer === routes.deps.self) takeIn(copies)
    // A courtesy: who does not take it is repaired by the next read, or by its primary.
    else client.begin(peer, copies, { timeoutMs: this.#ask.timeoutMs }, () => {})
  }

  #ended(): void {
    if (this.#latest !== undefined) return
    const { name } = this.#ask.definition
    this.#reject(
      new MeshError(
        'ERR_MESH_UNAVAILABLE',
        `Expected ${this.#wanted} of the members that hold the key to answer a quorum read of cache '${name}', got ${this.#answers.size} of ${this.#replicas.length}. Try again, or read without from: 'quorum' for what one of them has.`,
        { cache: name }
      )
    )
  }
}

function isLater(a: RecordFields | undefined, b: RecordFields | undefined): boolean {
  return a !== undefined && (b === undefined || isNewer(a, b))
}
