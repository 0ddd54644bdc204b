/**
 * Requests of other members: each is handed to one handler and answered at most once with a final reply. A request
 * that its caller has given up, or whose link has died, is taken back from the handler.
 */
import type { Complaints } from '../observe/complaints.ts'
import type { Stats } from '../observe/stats.ts'
import type { PeerId } from '../ports/transport.ts'
import type { Reply, Request } from './messages.ts'
import type { Outbox } from './outbox.ts'

/** Requests of one peer being worked on; beyond it new ones are refused. */
const REQUESTS_PER_PEER_MAX = 16_384

/** Answers through `respond`, now or later; what it returns is called if nobody waits for the answer any more. */
export type Handler = (peer: PeerId, request: Request, respond: (reply: Reply) => void) => (() => void) | undefined

export class Server {
  readonly #outbox: Outbox
  readonly #handler: Handler
  readonly #stats: Stats
  readonly #complaints: Complaints
  readonly #open = new Map<PeerId, Map<number, () => void>>()

  constructor(deps: { outbox: Outbox; handler: Handler; stats: Stats; complaints: Complaints }) {
    this.#outbox = deps.outbox
    this.#handler = deps.handler
    this.#stats = deps.stats
    this.#complaints = deps.complaints
  }

  request(peer: PeerId, call: number, request: Request): void {
    const open = this.#open.get(peer) ?? new Map<number, () => void>()
    this.#open.set(peer, open)
    // A call number used twice is the peer's mistake; the earlier request must not be left behind for ever.
    this.cancel(peer, call)
    if (open.size >= REQUESTS_PER_PEER_MAX) return this.#refuse(peer, call)
    this.#stats.requestsServedTotal++
    let finished = false
    const respond = (reply: Reply): void => {
      if (finished) return
      finished = reply.type !== 'waiting' && !(reply.type === 'found' && !reply.last)
      if (finished) open.delete(call)
      if (!this.#outbox.post(peer, call, reply)) this.#refuse(peer, call)
    }
    try {
      const withdraw = this.#handler(peer, request, respond)
      if (!finished && withdraw !== undefined) open.set(call, withdraw)
    } catch (error) {
      const complaint = { err: error, peer, type: request.type }
      this.#complaints.error(complaint, 'a request of another member failed inside cachemesh')
      respond({ type: 'broken', reason: `${(error as Error).name} while serving ${request.type}` })
    }
  }

  cancel(peer: PeerId, call: number): void {
    const open = this.#open.get(peer)
    const withdraw = open?.get(call)
    open?.delete(call)
    withdraw?.()
  }

  linkDown(peer: PeerId): void {
    const open = this.#open.get(peer)
    this.#open.delete(peer)
    for (const withdraw of open?.values() ?? []) withdraw()
  }

  /** Best effort: when even this does not fit, the caller's deadline tells it. */
  #refuse(peer: PeerId, call: number): void {
    this.#stats.requestsOverloadedTotal++
    this.#outbox.post(peer, call, { type: 'overloaded' })
  }
}
