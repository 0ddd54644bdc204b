import { randomBytes } from 'node:crypto'
import { clearInterval, setInterval } from 'node:timers'
import type { GossipSub } from '@libp2p/gossipsub'
import type { Connection } from '@libp2p/interface'
import type { Cancel } from '../ports/clock.ts'
import type { Logger } from '../ports/log.ts'
import { GOSSIP_BYTES_MAX, type PubSub } from '../ports/pubsub.ts'
import type { PeerId } from '../ports/transport.ts'
import { GOSSIP_ID_BYTES } from './libp2p-node.ts'

/**
 * Gossip over gossipsub, as a hint and nothing more.
 *
 * Every message travels behind sixteen bytes that no other message has: eight of this process, eight that count.
 * gossipsub tells doubles by them, so the same bytes published twice are two messages.
 *
 * gossipsub opens its stream to a peer once, when the peer is first identified. If that stream dies while a connection
 * to the peer stays open (it overflowed, or two connections were made at once and the one with the stream closed) the
 * peer is never sent anything again, without an event. So peers with a link but without a stream are looked for every
 * two seconds and offered to gossipsub once more. There is no public way to do so; what is used here is held by a test
 * and its absence costs only the hints.
 */
const WATCH_MS = 2_000
const COUNTER_BYTES = 8

type OnMessage = (message: Uint8Array) => void

export interface LinkedPeers {
  up(): Iterable<{ readonly id: PeerId; readonly connection: Connection }>
}

export class Libp2pPubSub implements PubSub {
  readonly #gossip: GossipSub
  readonly #links: LinkedPeers
  readonly #log: Logger
  readonly #process = randomBytes(GOSSIP_ID_BYTES - COUNTER_BYTES)
  readonly #listeners = new Map<string, Set<OnMessage>>()
  #published = 0n
  #running = false
  #watch: NodeJS.Timeout | undefined

  constructor(gossip: GossipSub, links: LinkedPeers, log: Logger) {
    this.#gossip = gossip
    this.#links = links
    this.#log = log
  }

  publish(topic: string, message: Uint8Array): void {
    if (!this.#running) return
    if (message.byteLength > GOSSIP_BYTES_MAX) {
      this.#log.warn(
        { topic, bytes: message.byteLength },
        `a gossip message over ${GOSSIP_BYTES_MAX} bytes was dropped`
      )
      return
    }
    const id = Buffer.alloc(COUNTER_BYTES)
    id.writeBigUInt64BE(this.#published++)
    this.#gossip.publish(topic, Buffer.concat([this.#process, id, message])).catch((err: unknown) => {
      // Nobody relies on it; the message is gone as if the network had lost it.
      this.#log.debug({ err, topic }, 'a gossip message could not be published')
    })
  }

  subscribe(topic: string, onMessage: OnMessage): Cancel {
    const listeners = this.#listeners.get(topic) ?? new Set()
    // A wrapper of its own: one function subscribed twice hears twice, and cancels once.
    const listener: OnMessage = message => onMessage(message)
    this.#listeners.set(topic, listeners.add(listener))
    if (this.#running && listeners.size === 1) this.#gossip.subscribe(topic)
    return () => {
      if (!listeners.delete(listener) || listeners.size > 0) return
      this.#listeners.delete(topic)
      if (this.#running) this.#gossip.unsubscribe(topic)
    }
  }

  /** Called by the transport, when its node runs; what was subscribed before takes effect now. */
  start(): void {
    this.#running = true
    this.#gossip.addEventListener('message', event => this.#onMessage(event.detail.topic, event.detail.data))
    for (const topic of this.#listeners.keys()) this.#gossip.subscribe(topic)
    this.#watch = setInterval(() => this.#reviveMute(), WATCH_MS).unref()
  }

  stop(): void {
    this.#running = false
    clearInterval(this.#watch)
  }

  #onMessage(topic: string, data: Uint8Array): void {
    if (!this.#running || data.byteLength < GOSSIP_ID_BYTES) return
    const listeners = this.#listeners.get(topic)
    if (listeners === undefined) return
    const message = data.subarray(GOSSIP_ID_BYTES)
    for (const listener of [...listeners]) {
      try {
        listener(message)
      } catch (err) {
        this.#log.error({ err, topic }, 'a listener of gossip threw')
      }
    }
  }

  #reviveMute(): void {
    const inside = this.#gossip as unknown as Partial<GossipInside>
    if (inside.streamsOutbound === undefined || inside.onPeerConnected === undefined) return
    for (const { id, connection } of this.#links.up()) {
      if (inside.streamsOutbound.has(id)) continue
      this.#log.debug({ peer: id }, 'gossip had no stream to a linked peer and opens one')
      inside.onPeerConnected(connection.remotePeer, connection)
    }
  }
}

interface GossipInside {
  streamsOutbound: ReadonlyMap<string, unknown>
  onPeerConnected(peer: Connection['remotePeer'], connection: Connection): void
}
