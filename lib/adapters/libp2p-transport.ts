import './with-resolvers.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection, Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { assert } from '../base/assert.ts'
import { MeshError } from '../base/errors.ts'
import type { Logger } from '../ports/log.ts'
import type { PubSub } from '../ports/pubsub.ts'
import {
  type Address,
  CONNECT_MS_MAX,
  FRAME_BYTES_MAX,
  type Lane,
  type LinkEvents,
  type PeerId,
  type Transport
} from '../ports/transport.ts'
import { LINK_PROTOCOL, Libp2pLinks } from './libp2p-links.ts'
import { type MeshNode, meshNode, STREAMS_PER_PROTOCOL_MAX } from './libp2p-node.ts'
import { Libp2pPubSub } from './libp2p-pubsub.ts'
import { announced, announcedHosts, multiaddrText, parseAddress, parseListen, resolveHost } from './listen-address.ts'
import { OrderedEvents } from './ordered-events.ts'

/**
 * The real network: links and gossip of one member over libp2p.
 *
 * libp2p brings what a mesh must not invent: the Noise handshake that proves a peer's identity, the way from an address
 * to a stream of an agreed protocol, gossipsub. What we add is the link (see libp2p-links.ts): libp2p knows connections,
 * of which two peers may have any number, and streams, which come and go. And beneath it what every byte passes: TLS
 * keyed by the handshake (mesh-seal.ts) and a muxer made for two lanes (mesh-muxer.ts).
 *
 * libp2p neither dials nor reconnects here, and judges no peer: the core decides whom to dial and who is dead.
 *
 * This module loads libp2p (0.4 s, 35 MB), so it is imported only by a member that has a network.
 *
 * Not promised: that a frame taken by `send` leaves at once, or that a dead peer is noticed.
 */
export interface Libp2pInit {
  readonly mesh: string
  /** The preferred one first; more than one while they are rotated; none for an open mesh. */
  readonly secrets: readonly string[]
  /** `host:port` or `host:from-to`, of which the first free port is taken; false only dials. */
  readonly listen: string | false
  readonly announce?: readonly string[] | undefined
  readonly log: Logger
}

/** The private key of the member is made here, so that `transport.self` is known before anything starts. */
export async function libp2pAdapters(init: Libp2pInit): Promise<{ transport: Transport; pubsub: PubSub }> {
  const node = await meshNode(init)
  const transport = new Libp2pTransport(init, node)
  return { transport, pubsub: transport.pubsub }
}

/** How long a stop waits for frames taken before it, and then for connections to say goodbye. */
const FLUSH_MS_MAX = 300
const GOODBYE_MS_MAX = 200
const FLUSH_POLL_MS = 3

/** Dials that may run at once. The core asks for far fewer; more would mean that it has lost count. */
const DIALS_MAX = 1_024

/** Addresses remembered per link: a peer is dialed by several names at most. */
const ADDRESSES_PER_PEER_MAX = 8

interface Dial {
  readonly over: Promise<PeerId>
  readonly end: AbortController
}

class Libp2pTransport implements Transport {
  readonly self: PeerId
  readonly pubsub: Libp2pPubSub
  readonly #init: Libp2pInit
  readonly #node: MeshNode
  readonly #links: Libp2pLinks
  readonly #events: OrderedEvents<LinkEvents>
  /** Dials under way: who asks for the same address joins. */
  readonly #dials = new Map<Address, Dial>()
  /** Where peers that are up were reached, so that asking again makes no connection. Gone with the link. */
  readonly #reached = new Map<PeerId, Set<Address>>()
  #own: readonly Address[] = []
  #state: 'new' | 'started' | 'stopped' = 'new'
  #stopping: Promise<void> | undefined

  constructor(init: Libp2pInit, node: MeshNode) {
    this.#init = init
    this.#node = node
    this.self = node.libp2p.peerId.toString()
    this.#events = new OrderedEvents(init.log)
    this.#links = new Libp2pLinks({
      self: this.self,
      deliver: tell => this.#events.deliver(tell),
      connectionsOf: id => connectionsOf(node, id)
    })
    this.pubsub = new Libp2pPubSub(node.gossip, this.#links, init.log)
  }

  async start(events: LinkEvents): Promise<readonly Address[]> {
    assert(this.#state === 'new', 'a transport is started once')
    this.#state = 'started'
    try {
      const { libp2p } = this.#node
      await libp2p.handle(
        LINK_PROTOCOL,
        (stream: Stream, connection: Connection) => this.#links.onStream(stream, connection),
        { maxInboundStreams: STREAMS_PER_PROTOCOL_MAX, maxOutboundStreams: STREAMS_PER_PROTOCOL_MAX }
      )
      libp2p.addEventListener('peer:disconnect', event => this.#onGone(event.detail))
      await libp2p.start()
      this.pubsub.start()
      this.#own = await this.#listen()
    } catch (error) {
      await this.stop()
      throw error
    }
    // A peer may have come up while we were still listening on the next port; it is told after this call.
    this.#events.open({ ...bound(events), onDown: (peer, reason) => this.#onDown(events, peer, reason) })
    return this.#own
  }

  stop(): Promise<void> {
    this.#state = 'stopped'
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  connect(address: Address, { anew } = { anew: false }): Promise<PeerId> {
    const before = this.#dials.get(address)
    if (before !== undefined && !anew) return before.over
    before?.end.abort(new Error('a later dial has taken its place'))
    const end = new AbortController()
    const over = this.#events
      .during(() => this.#connect(address, end.signal))
      .finally(() => {
        if (this.#dials.get(address)?.end === end) this.#dials.delete(address)
      })
    this.#dials.set(address, { over, end })
    return over
  }

  send(peer: PeerId, lane: Lane, frame: Uint8Array): boolean {
    assert(frame.byteLength <= FRAME_BYTES_MAX, 'a frame is at most FRAME_BYTES_MAX long')
    return this.#state === 'started' && this.#events.during(() => this.#links.send(peer, lane, frame))
  }

  close(peer: PeerId, reason: string): void {
    this.#events.during(() => this.#links.close(peer, reason))
  }

  // Listening -------------------------------------------------------------------------------------------------------

  async #listen(): Promise<readonly Address[]> {
    const { listen, announce } = this.#init
    if (listen === false) return []
    const { host, portFrom, portTo } = parseListen(listen)
    const ip = await resolveHost(host)
    const hosts = announcedHosts(ip, announce)
    let last: unknown
    for (let port = portFrom; port <= portTo; port++) {
      try {
        await this.#node.listen(multiaddr(multiaddrText(ip, port)))
        return announced(hosts, this.#node.port() ?? port)
      } catch (error) {
        last = error
        if (!/EADDRINUSE/.test(messageOf(error))) break
      }
    }
    throw listenError(listen, last)
  }

  // Dialing ---------------------------------------------------------------------------------------------------------

  async #connect(address: Address, ended: AbortSignal): Promise<PeerId> {
    if (this.#state !== 'started') throw new Error(`cannot dial ${address}: the transport is not running`)
    const { host, port } = parseAddress(address)
    if (this.#own.includes(address)) return this.self
    const known = this.#reachedAt(address)
    if (known !== undefined) return known
    if (this.#dials.size >= DIALS_MAX) throw new Error(`cannot dial ${address}: ${DIALS_MAX} dials are under way`)
    const late = AbortSignal.timeout(CONNECT_MS_MAX - CONNECT_SLACK_MS)
    const signal = AbortSignal.any([late, ended])
    try {
      // `force`: without it libp2p hands back an older connection to the same address, which may be dying.
      const connection = await this.#node.libp2p.dial(multiaddr(multiaddrText(host, port)), { signal, force: true })
      await this.#links.join(connection, signal)
      const id = connection.remotePeer.toString()
      this.#remember(id, address)
      return id
    } catch (error) {
      // Who answers is learnt from the handshake, and there libp2p finds that it talks to itself.
      if (error instanceof Error && error.name === 'InvalidPeerIdError') return this.self
      const why = late.aborted ? 'no answer in time' : messageOf(ended.aborted ? ended.reason : error)
      throw new Error(`cannot connect to ${address}: ${why}`, { cause: error })
    }
  }

  #reachedAt(address: Address): PeerId | undefined {
    for (const [id, addresses] of this.#reached) if (addresses.has(address) && this.#links.isUp(id)) return id
    return undefined
  }

  #remember(id: PeerId, address: Address): void {
    if (!this.#links.isUp(id)) return
    const addresses = this.#reached.get(id) ?? new Set()
    if (addresses.size < ADDRESSES_PER_PEER_MAX) this.#reached.set(id, addresses.add(address))
  }

  // Ends ------------------------------------------------------------------------------------------------------------

  #onDown(events: LinkEvents, peer: PeerId, reason: string): void {
    if (!this.#links.isUp(peer)) this.#reached.delete(peer)
    events.onDown(peer, reason)
  }

  /** libp2p's peer store keeps every id it has met, and each restarted process is a new one. */
  #onGone(peer: { toString(): PeerId }): void {
    const { libp2p } = this.#node
    const id = libp2p.getConnections().find(each => each.remotePeer.toString() === peer.toString())?.remotePeer
    if (id !== undefined || this.#state !== 'started') return
    libp2p.peerStore.delete(peer as Connection['remotePeer']).catch((err: unknown) => {
      // It only costs memory, and the next disconnect of that peer tries again.
      this.#init.log.debug({ err }, 'a peer that has gone could not be forgotten')
    })
  }

  async #stop(): Promise<void> {
    this.#events.close()
    this.pubsub.stop()
    this.#links.stop()
    // A socket that is closed while the other side still sends is reset, and what that side has not read is lost. So
    // peers are let read to the end first; then the connections, and only then libp2p, whose own stop destroys the
    // sockets of incoming ones with what they still had to send.
    for (let waitedMs = 0; this.#links.isClosing && waitedMs < FLUSH_MS_MAX; waitedMs += FLUSH_POLL_MS)
      await sleep(FLUSH_POLL_MS)
    const signal = AbortSignal.timeout(GOODBYE_MS_MAX)
    await Promise.all(
      this.#node.libp2p.getConnections().map(connection =>
        connection.close({ signal }).catch((error: unknown) => {
          // A peer that does not answer is not waited for.
          connection.abort(error instanceof Error ? error : new Error('the transport has stopped'))
        })
      )
    )
    await this.#node.stop()
  }
}

/** Between libp2p's deadline and ours, so that a dial that ends at the last moment still settles in time. */
const CONNECT_SLACK_MS = 100

function connectionsOf(node: MeshNode, id: PeerId): readonly Connection[] {
  return node.libp2p.getConnections().filter(connection => connection.remotePeer.toString() === id)
}

function bound(events: LinkEvents): LinkEvents {
  return {
    onUp: peer => events.onUp(peer),
    onDown: (peer, reason) => events.onDown(peer, reason),
    onFrame: (peer, lane, frame) => events.onFrame(peer, lane, frame),
    onDrain: (peer, lane) => events.onDrain(peer, lane)
  }
}

function listenError(listen: string, cause: unknown): MeshError {
  const message = messageOf(cause)
  if (/EADDRINUSE/.test(message))
    return new MeshError(
      'ERR_MESH_LISTEN',
      `listen is '${listen}', and no port of it is free. Give a range with a port for every process on this host, ` +
        `for example 'host:7700-7731', or port 0 for any free one`,
      { cause }
    )
  const code = /\bE[A-Z]{4,}\b/.exec(message)?.[0] ?? message.split('\n', 1)[0]
  return new MeshError(
    'ERR_MESH_LISTEN',
    `listen is '${listen}', which cannot be listened on (${code}). The host must be an address of this machine, and ` +
      'ports below 1024 need rights',
    { cause }
  )
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
