/**
 * From a message of another member to what this one does for it. Whoever asks the wrong member is told so and nothing
 * else is done: the two make their views equal and it asks again.
 *
 * One that has just begun knows nobody but who has found it, and by its own view everything is its own. Who asks it then
 * has a larger view, so that is compared first:
 *
 *   1. we begin, and a client is the first to be linked ─ it asks us for a key that is ours by its table ─ we see no other
 *      owner, so nobody to look at, and call the origin ─ four others, of whom the client would have told us, have it.
 */
import { NO_TAGS } from '../codec/tags.ts'
import type { Complaints } from '../observe/complaints.ts'
import type { Stats } from '../observe/stats.ts'
import type { Cancel } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import type { FilterRequest, MessageOf, ReplicaRequest, Reply, Request } from '../rpc/messages.ts'
import type { Entry } from '../store/entry.ts'
import { freshUntil } from '../store/keeping.ts'
import type { Changing } from './changing.ts'
import type { Owner } from './owner.ts'

type Found = MessageOf<'found'>['items'][number]

/** The values of one part of an answer to `readMany`; a larger value is asked for alone. */
const PART_BYTES_MAX = 15 * 1024
const PART_ITEMS_MAX = 256

const NO_BYTES = new Uint8Array(0)
const ABSENT: Found = { state: 'absent', bytes: NO_BYTES }
const ELSEWHERE: Found = { state: 'elsewhere', bytes: NO_BYTES }
const ALONE: Found = { state: 'alone', bytes: NO_BYTES }

export interface HandlersDeps {
  readonly owner: Owner
  readonly changing: Changing
  readonly stats: Stats
  readonly complaints: Complaints
  /** False while this member does not trust its own view. */
  readonly isCertain: () => boolean
  /** Undefined but where this peer knows of another mesh than we do: resolves when both know the same. */
  readonly settleWith: (peer: PeerId) => Promise<void> | undefined
  readonly owns: (namespace: string, key: string) => boolean
  readonly viewHash: () => number
  readonly explain: (ask: MessageOf<'explain'>) => MessageOf<'explained'>
  readonly page: (ask: MessageOf<'keys'>) => MessageOf<'page'>
  /** What is asked about filters of keys that exist. */
  readonly filters: (peer: PeerId, request: FilterRequest) => Reply
  /** Another member asks for it: true where it is hot, and may be kept by whoever asks. */
  readonly asked: (found: Entry) => boolean
  /** What has changed here, for those who keep near copies. */
  readonly confirm: (ask: MessageOf<'confirm'>) => MessageOf<'confirmed'>
  /** What is asked of copies. */
  readonly replicas: (peer: PeerId, request: ReplicaRequest, respond: (reply: Reply) => void) => Cancel | undefined
}

export class Handlers {
  readonly #deps: HandlersDeps
  readonly #part = new Uint8Array(PART_BYTES_MAX)

  /** Requests held back until this member can trust its view; the server caps them, their callers time them out. */
  readonly #held = new Set<() => void>()

  constructor(deps: HandlersDeps) {
    this.#deps = deps
  }

  becameCertain(): void {
    const held = [...this.#held]
    this.#held.clear()
    for (const serve of held) serve()
  }

  /** `isSettled`: its view and ours have been compared for this request already. */
  handle(peer: PeerId, request: Request, respond: (reply: Reply) => void, isSettled = false): (() => void) | undefined {
    if (!this.#deps.isCertain()) return this.#hold(peer, request, respond, { isSettled })
    const until = isSettled ? undefined : this.#deps.settleWith(peer)
    if (until !== undefined) return this.#hold(peer, request, respond, { isSettled: true, until })
    return this.#serve(peer, request, respond)
  }

  #serve(peer: PeerId, request: Request, respond: (reply: Reply) => void): (() => void) | undefined {
    switch (request.type) {
      case 'read':
        return this.#read(peer, request, respond)
      case 'readMany':
        this.#findMany(request, respond)
        return undefined
      case 'fill':
        // A result belongs to the flight that leased it, wherever the key lives now: those who wait there get it.
        respond(this.#deps.owner.fills.fill(peer, request))
        return undefined
      case 'explain':
        respond(this.#deps.owns(request.namespace, request.key) ? this.#deps.explain(request) : this.#notOwner())
        return undefined
      case 'follow':
        return this.#deps.owner.fills.followed(peer, request, respond)
      case 'keys':
        // What a page covers is said by the table, so both sides must have the same one.
        respond(request.viewHash === this.#deps.viewHash() ? this.#deps.page(request) : this.#notOwner())
        return undefined
      case 'filterCompare':
      case 'filterAdd':
      case 'filterPrints':
      case 'filterPull':
        respond(this.#deps.filters(peer, request))
        return undefined
      case 'confirm':
        respond(this.#deps.confirm(request))
        return undefined
      case 'readCopy':
      case 'copies':
      case 'peek':
      case 'offer':
      case 'list':
      case 'pull':
      case 'flush':
        return this.#deps.replicas(peer, request, respond)
      default:
        this.#deps.changing.make(peer, request, respond)
        return undefined
    }
  }

  #read(peer: PeerId, ask: MessageOf<'read'>, respond: (reply: Reply) => void): (() => void) | undefined {
    if (!this.#deps.owns(ask.namespace, ask.key)) {
      respond(this.#notOwner())
      return undefined
    }
    const found = ask.wish === 'usual' ? this.#deps.owner.glance(ask.namespace, ask.key) : undefined
    if (found === undefined) return this.#deps.owner.read(peer, ask, respond)
    const isHot = this.#deps.asked(found)
    const { version, negative, bytes, keeping } = found
    const expiresAtMs = freshUntil(found)
    if (isHot) {
      this.#deps.stats.hotGrantsTotal++
      respond({ type: 'hot', ...version, expiresAtMs, negative, bytes, tags: keeping?.tags ?? NO_TAGS })
      return undefined
    }
    // What has tags is answered with them.
    if (keeping !== undefined && keeping.tags.length > 0) return this.#deps.owner.read(peer, ask, respond)
    respond({ type: 'hit', stamp: version.stamp, writer: version.writer, expiresAtMs, negative, bytes })
    return undefined
  }

  #notOwner(): MessageOf<'notOwner'> {
    this.#deps.stats.requestsMisroutedTotal++
    return { type: 'notOwner' }
  }

  /** Neither the old answer nor "not mine": in a moment we shall know which of them is right. */
  #hold(
    peer: PeerId,
    request: Request,
    respond: (reply: Reply) => void,
    { isSettled, until }: { isSettled: boolean; until?: Promise<void> }
  ): () => void {
    let withdraw: (() => void) | undefined
    const serve = (): void => {
      try {
        withdraw = this.handle(peer, request, respond, isSettled)
      } catch (error) {
        const complaint = { err: error, peer, type: request.type }
        this.#deps.complaints.error(complaint, 'a request that was held back failed inside cachemesh')
        respond({ type: 'broken', reason: `${(error as Error).name} while serving ${request.type}` })
      }
    }
    this.#held.add(serve)
    void until?.then(() => {
      if (this.#held.delete(serve)) serve()
    })
    return () => {
      this.#held.delete(serve)
      withdraw?.()
    }
  }

  /**
   * In parts, each of which fills a frame: the first is under way while the next is made, and a large value never waits
   * behind many. What the store shows is copied into the part at once, for the next look may move it; and a part has
   * been written out when `respond` returns, so all parts are made in one place.
   */
  #findMany({ namespace, keys }: MessageOf<'readMany'>, respond: (reply: Reply) => void): void {
    let items: Found[] = []
    let used = 0
    for (const key of keys) {
      const { state, bytes } = this.#find(namespace, key)
      if (used + bytes.length > PART_BYTES_MAX || items.length === PART_ITEMS_MAX) {
        respond({ type: 'found', last: false, items })
        items = []
        used = 0
      }
      this.#part.set(bytes, used)
      items.push({ state, bytes: this.#part.subarray(used, used + bytes.length) })
      used += bytes.length
    }
    respond({ type: 'found', last: true, items })
  }

  #find(namespace: string, key: string): Found {
    if (!this.#deps.owns(namespace, key)) return ELSEWHERE
    const found = this.#deps.owner.glance(namespace, key)
    if (found === undefined) return this.#deps.owner.isAbsent(namespace, key) ? ABSENT : ALONE
    if (found.bytes.length > PART_BYTES_MAX) return ALONE
    this.#deps.asked(found)
    return { state: found.negative ? 'negative' : 'value', bytes: found.bytes }
  }
}
