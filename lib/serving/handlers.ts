/**
 * From a message of another member to what this one does for it. Whoever asks the wrong member is told so and nothing
 * else is done: the two make their views equal and it asks again.
 */
import type { Stats } from '../observe/stats.ts'
import type { Logger } from '../ports/log.ts'
import type { PeerId } from '../ports/transport.ts'
import type { Reply, Request } from '../rpc/messages.ts'
import type { Owner } from './owner.ts'

export interface HandlersDeps {
  readonly owner: Owner
  readonly stats: Stats
  readonly log: Logger
  /** False while this member does not trust its own view. */
  readonly isCertain: () => boolean
  readonly owns: (namespace: string, key: string) => boolean
}

export class Handlers {
  readonly #deps: HandlersDeps

  /** Requests held back until this member trusts its view again; the server caps them, their callers time them out. */
  readonly #held = new Set<() => void>()

  constructor(deps: HandlersDeps) {
    this.#deps = deps
  }

  becameCertain(): void {
    const held = [...this.#held]
    this.#held.clear()
    for (const serve of held) serve()
  }

  handle(peer: PeerId, request: Request, respond: (reply: Reply) => void): (() => void) | undefined {
    if (!this.#deps.isCertain()) return this.#hold(peer, request, respond)
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

  /** Neither the old answer nor "not mine": in a moment we shall know which of them is right. */
  #hold(peer: PeerId, request: Request, respond: (reply: Reply) => void): () => void {
    let withdraw: (() => void) | undefined
    const serve = (): void => {
      try {
        withdraw = this.handle(peer, request, respond)
      } catch (error) {
        this.#deps.log.error(
          { err: error, request: request.type },
          'a request that was held back failed inside cachemesh'
        )
        respond({ type: 'broken', reason: `${(error as Error).name} while serving ${request.type}` })
      }
    }
    this.#held.add(serve)
    return () => {
      this.#held.delete(serve)
      withdraw?.()
    }
  }

  #serve(
    peer: PeerId,
    request: Exclude<Request, { type: 'fill' }>,
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
