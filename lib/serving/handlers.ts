/**
 * From a message of another member to what this one does for it. Whoever asks the wrong member is told so and nothing
 * else is done: the two make their views equal and it asks again.
 */
import type { Stats } from '../observe/stats.ts'
import type { PeerId } from '../ports/transport.ts'
import type { MemberFields, Reply, Request } from '../rpc/messages.ts'
import type { Owner } from './owner.ts'

export interface HandlersDeps {
  readonly owner: Owner
  readonly stats: Stats
  readonly owns: (namespace: string, key: string) => boolean
  readonly hears: (peer: PeerId) => boolean
  readonly exchange: (records: readonly MemberFields[]) => readonly MemberFields[]
}

export class Handlers {
  readonly #deps: HandlersDeps

  constructor(deps: HandlersDeps) {
    this.#deps = deps
  }

  handle(peer: PeerId, request: Request, respond: (reply: Reply) => void): (() => void) | undefined {
    if (request.type === 'view') {
      respond({ type: 'viewReply', records: this.#deps.exchange(request.records) })
      return undefined
    }
    if (request.type === 'probe') {
      respond({ type: 'probed', heard: this.#deps.hears(request.peer) })
      return undefined
    }
    // A result belongs to the flight that leased it, wherever the key lives now: those who wait there get it.
    if (request.type === 'fill') {
      respond(this.#deps.owner.fill(peer, request))
      return undefined
    }
    if (!this.#deps.owns(request.namespace, request.key)) {
      this.#deps.stats.requestsMisroutedTotal++
      respond({ type: 'notOwner' })
      return undefined
    }
    return this.#serve(peer, request, respond)
  }

  #serve(
    peer: PeerId,
    request: Exclude<Request, { type: 'view' | 'probe' | 'fill' }>,
    respond: (reply: Reply) => void
  ): (() => void) | undefined {
    const { owner } = this.#deps
    switch (request.type) {
      case 'read':
        return owner.read(peer, request, respond)
      case 'write':
        respond(owner.write(request))
        return undefined
      case 'remove':
        respond(owner.remove(request))
        return undefined
    }
  }
}
