import { clearTimeout, setTimeout } from 'node:timers'
import type { Connection, Stream } from '@libp2p/interface'
import { CONNECT_MS_MAX, FRAME_BYTES_MAX, type Lane, type LinkEvents, type PeerId } from '../ports/transport.ts'
import { FrameStream, type FrameStreamEvents } from './frame-stream.ts'
import { STREAMS_PER_PROTOCOL_MAX } from './libp2p-node.ts'
import { decodeGreeting, encodeGreeting, GREETING_BYTES, type Greeting, type Kind, LANES } from './link-greeting.ts'

/**
 * At most one link per peer, agreed on by both sides.
 *
 * A link is two framed streams, one per lane, on one connection. The dialer opens both and greets on each:
 *
 *     dialer                      listener
 *     open  ────────────────────▶ both lanes there: pending
 *           ◀──────────────────── accept
 *     up; confirm ──────────────▶ up
 *
 * Three steps, because neither side can know alone that a link is wanted: an accept proves to the dialer that the
 * listener is ready, a confirm proves to the listener that the dialer still is. Confirm travels first on each lane, so
 * no frame can arrive before it, on whichever lane it comes; the listener sends nothing before it.
 *
 * The races, A being the side with the smaller id:
 *
 *  1. Both dial at once. 1) A offers a1. 2) B offers b1. 3) A hears b1 while a1 is pending: refuses it. 4) B hears a1
 *     while b1 is pending: drops b1, accepts a1. In whatever order 3 and 4 happen, only a1 can be confirmed.
 *  2. B was first. 1) B offers b1. 2) A accepts b1, and is now asked to connect: it waits for b1 instead of offering.
 *  3. A refused offer heard late. 1) B has dropped b1 and is up by a1. 2) A, up by a1, hears b1: accepts it, beside the
 *     living link. 3) B has reset b1's streams and never confirms. A's link is untouched: an old link is only replaced
 *     when the new one is confirmed, and a confirm cannot be late, it answers our own accept.
 *  4. The peer comes back. 1) A's link is up. 2) B saw it die (its side of the cable) and offers b2. 3) A accepts,
 *     B confirms. 4) A: onDown for the old link, onUp for the new.
 *  5. Late pieces of the old link after 4. Frames and ends are told apart by the link object they were opened for; the
 *     streams of an ended link have no listener any more.
 *  6. Two offers of one peer cross on different connections. 1) B gives up b1, offers b2. 2) A hears b2, accepts.
 *     3) A hears b1: its number is lower than that of the pending one, so it is refused.
 *  7. A's offer fails after it refused b1. B waits for a1 until its deadline, its connect rejects, and it dials again.
 *
 * A link ends when one of its streams does, whatever the reason: a peer's process that dies closes streams without an
 * error. With the link its connection is closed and so are older ones of the same peer, which simultaneous dials leave
 * behind; newer ones are kept, they may carry the next offer. While a link is up no connection of its peer is closed:
 * gossipsub would fall mute if it lost the one its stream is on.
 */
export interface LinkHost {
  readonly self: PeerId
  /** Runs `tell` when it may be told, in order. After a stop it is dropped. */
  deliver(tell: (events: LinkEvents) => void): void
  connectionsOf(peer: PeerId): readonly Connection[]
}

export const LINK_PROTOCOL = '/cachemesh/link/1'

type Lanes = Record<Lane, FrameStream>

/** An offer that is not decided: ours (`dialed`) or the peer's. */
interface Pending {
  readonly id: PeerId
  readonly offer: number
  readonly dialed: boolean
  readonly connection: Connection
  /** Missing while our streams are being opened. */
  lanes?: Lanes
  timer?: NodeJS.Timeout
}

interface Link {
  readonly id: PeerId
  readonly connection: Connection
  readonly lanes: Lanes
  readonly upAtMs: number
}

type Outcome = { readonly kind: 'up' | 'failed' | 'refused'; readonly reason: string }

interface Peer {
  link?: Link | undefined
  pending?: Pending | undefined
  readonly waiting: Set<(outcome: Outcome) => void>
}

/** After so many failed offers one `join` gives up. */
const OFFERS_PER_JOIN_MAX = 3

const nowMs = Date.now.bind(Date)

export class Libp2pLinks {
  readonly #host: LinkHost
  readonly #peers = new Map<PeerId, Peer>()
  /** Offers of which one lane has come, by connection and number. Bounded by the deadline and libp2p's stream limit. */
  readonly #halves = new Map<string, { lanes: Partial<Lanes>; timer: NodeJS.Timeout }>()
  #offers = 0
  #stopped = false

  constructor(host: LinkHost) {
    this.#host = host
  }

  /** Peers with a link, and the connection that carries it. */
  *up(): Iterable<Readonly<Link>> {
    for (const { link } of this.#peers.values()) if (link !== undefined) yield link
  }

  isUp(id: PeerId): boolean {
    return this.#peers.get(id)?.link !== undefined
  }

  send(id: PeerId, lane: Lane, frame: Uint8Array): boolean {
    return this.#peers.get(id)?.link?.lanes[lane].send(frame) ?? false
  }

  /** Resolves once there is a link to the peer of this connection, whoever offered it. */
  async join(connection: Connection, signal: AbortSignal): Promise<void> {
    const id = connection.remotePeer.toString()
    let offers = 0
    for (let yielded = false; ; ) {
      const peer = this.#peer(id)
      if (peer.link !== undefined) return
      if (peer.pending === undefined && !yielded) {
        if (this.#stopped || offers === OFFERS_PER_JOIN_MAX) throw new Error(`no link to ${id}: offers kept failing`)
        offers++
        this.#offer(peer, id, connection)
      }
      const outcome = await this.#next(peer, id, signal)
      if (outcome.kind === 'up') return
      // The peer prefers its own offer, which is under way to us: wait for it, do not offer again.
      if (outcome.kind === 'refused') yielded = true
      else if (offers > 0) throw new Error(`no link to ${id}: ${outcome.reason}`)
    }
  }

  /** Ends link and offers of a peer and closes all its connections, also one whose link is not up yet. */
  close(id: PeerId, reason: string): void {
    const peer = this.#peers.get(id)
    if (peer?.pending !== undefined) this.#fail(peer, peer.pending, { kind: 'failed', reason })
    if (peer?.link !== undefined) this.#end(peer, peer.link, reason)
    for (const connection of this.#host.connectionsOf(id)) hangUp(connection)
  }

  /**
   * No new links, and nobody waits any more. Links that are up say that nothing more comes; each peer answers when it
   * has read everything, and `isClosing` turns false when all have.
   */
  stop(): void {
    this.#stopped = true
    const outcome: Outcome = { kind: 'failed', reason: 'the transport has stopped' }
    for (const peer of this.#peers.values()) {
      if (peer.pending !== undefined) this.#fail(peer, peer.pending, outcome)
      wake(peer, outcome)
      if (peer.link !== undefined) for (const lane of LANES) peer.link.lanes[lane].close()
    }
    for (const half of this.#halves.values()) dropHalf(half, outcome.reason)
    this.#halves.clear()
  }

  get isClosing(): boolean {
    for (const { lanes } of this.up()) if (LANES.some(lane => lanes[lane].isOpen)) return true
    return false
  }

  // Dialing ---------------------------------------------------------------------------------------------------------

  #offer(peer: Peer, id: PeerId, connection: Connection): void {
    const pending = this.#pend(peer, { id, offer: ++this.#offers % 2 ** 32, dialed: true, connection })
    openStreams(connection).then(
      streams => {
        // Race 1: the peer's offer took the place of ours while the streams were being opened.
        if (peer.pending !== pending) return abortAll(streams, 'the offer was withdrawn')
        const framed = (stream: Stream, lane: Lane) =>
          new FrameStream(stream, GREETING_BYTES, this.#asPending(peer, pending, lane))
        pending.lanes = { data: framed(streams[0], 'data'), bulk: framed(streams[1], 'bulk') }
        greet(pending.lanes, 'open', pending.offer)
      },
      (error: unknown) => this.#fail(peer, pending, { kind: 'failed', reason: messageOf(error) })
    )
  }

  // Listening -------------------------------------------------------------------------------------------------------

  /** A stream that a peer has opened. Its first frame says what it is for. */
  onStream(stream: Stream, connection: Connection): void {
    if (this.#stopped) return stream.abort(new Error('the transport has stopped'))
    const timer = deadline(() => frames.abort('no greeting in time'))
    const frames = new FrameStream(stream, GREETING_BYTES, {
      onFrame: frame => {
        clearTimeout(timer)
        const greeting = decodeGreeting(frame)
        if (greeting?.kind === 'open') this.#onOpen(frames, greeting, connection)
        else frames.abort('the greeting was not understood')
      },
      onEnd: () => clearTimeout(timer),
      onRoom: () => {}
    })
  }

  #onOpen(frames: FrameStream, { lane, offer }: Greeting, connection: Connection): void {
    const key = `${connection.id}/${offer}`
    const half = this.#halves.get(key) ?? { lanes: {}, timer: deadline(() => this.#forget(key, 'half an offer')) }
    if (half.lanes[lane] !== undefined) return frames.abort('the lane is open already')
    half.lanes[lane] = frames
    this.#halves.set(key, half)
    const forget = (reason: string) => this.#forget(key, reason)
    frames.handTo({ onFrame: () => forget('a frame before its turn'), onEnd: forget, onRoom: () => {} }, GREETING_BYTES)
    const { data, bulk } = half.lanes
    if (data === undefined || bulk === undefined) return
    this.#halves.delete(key)
    clearTimeout(half.timer)
    this.#consider(connection, offer, { data, bulk })
  }

  #forget(key: string, reason: string): void {
    const half = this.#halves.get(key)
    this.#halves.delete(key)
    if (half !== undefined) dropHalf(half, reason)
  }

  #consider(connection: Connection, offer: number, lanes: Lanes): void {
    const id = connection.remotePeer.toString()
    const peer = this.#peer(id)
    const held = peer.pending
    const ours = held?.dialed === true && this.#host.self < id // race 1
    const newer = held?.dialed === false && held.offer > offer // race 6
    if (ours || newer) {
      greet(lanes, 'refuse', offer)
      for (const lane of LANES) lanes[lane].close()
      return
    }
    if (held !== undefined) withdraw(held, 'another offer took its place')
    const pending = this.#pend(peer, { id, offer, dialed: false, connection, lanes })
    for (const lane of LANES) lanes[lane].handTo(this.#asPending(peer, pending, lane), GREETING_BYTES)
    greet(lanes, 'accept', offer)
  }

  // Both sides ------------------------------------------------------------------------------------------------------

  #pend(peer: Peer, pending: Pending): Pending {
    pending.timer = deadline(() => this.#fail(peer, pending, { kind: 'failed', reason: 'no answer in time' }))
    peer.pending = pending
    return pending
  }

  #asPending(peer: Peer, pending: Pending, lane: Lane): FrameStreamEvents {
    return {
      onFrame: frame => this.#onAnswer(peer, pending, lane, frame),
      onEnd: reason => this.#fail(peer, pending, { kind: 'failed', reason }),
      onRoom: () => {}
    }
  }

  #onAnswer(peer: Peer, pending: Pending, lane: Lane, frame: Uint8Array): void {
    if (peer.pending !== pending || pending.lanes === undefined) return
    if (isGreeting(frame, awaited(pending), lane, pending.offer)) {
      if (pending.dialed) greet(pending.lanes, 'confirm', pending.offer)
      this.#up(peer, pending, pending.lanes, lane)
    } else if (pending.dialed && isGreeting(frame, 'refuse', lane, pending.offer))
      this.#fail(peer, pending, { kind: 'refused', reason: 'the peer prefers its own offer' })
    else this.#fail(peer, pending, { kind: 'failed', reason: 'the answer was not understood' })
  }

  #up(peer: Peer, pending: Pending, lanes: Lanes, answered: Lane): void {
    clearTimeout(pending.timer)
    // Race 4. The offer still counts as pending here, which keeps its connection when those of the old link go.
    if (peer.link !== undefined) this.#end(peer, peer.link, 'the peer has opened a newer link')
    const { id, connection } = pending
    const link: Link = { id, connection, lanes, upAtMs: nowMs() }
    peer.pending = undefined
    peer.link = link
    for (const lane of LANES) {
      const up = this.#asUp(peer, link, lane)
      if (lane === answered) lanes[lane].handTo(up, FRAME_BYTES_MAX)
      else this.#awaitOther(lanes[lane], lane, pending, up)
    }
    this.#host.deliver(events => {
      events.onUp(id)
      wake(peer, { kind: 'up', reason: '' })
    })
  }

  /** The lane that has not answered yet still owes the same greeting, before its first frame. */
  #awaitOther(frames: FrameStream, lane: Lane, pending: Pending, up: FrameStreamEvents): void {
    const onFrame = (frame: Uint8Array) => {
      if (isGreeting(frame, awaited(pending), lane, pending.offer)) frames.handTo(up, FRAME_BYTES_MAX)
      else up.onEnd('the lanes do not agree')
    }
    frames.handTo({ ...up, onFrame }, GREETING_BYTES)
  }

  #asUp(peer: Peer, link: Link, lane: Lane): FrameStreamEvents {
    const { id } = link
    return {
      onFrame: frame => this.#host.deliver(events => events.onFrame(id, lane, frame)),
      onEnd: reason => this.#end(peer, link, reason),
      onRoom: () =>
        this.#host.deliver(events => {
          if (peer.link === link) events.onDrain(id, lane)
        })
    }
  }

  #end(peer: Peer, link: Link, reason: string): void {
    if (peer.link !== link) return
    peer.link = undefined
    for (const lane of LANES) link.lanes[lane].abort(reason)
    hangUp(link.connection)
    for (const connection of this.#host.connectionsOf(link.id))
      if (connection !== peer.pending?.connection && connection.timeline.open <= link.upAtMs) hangUp(connection)
    this.#host.deliver(events => events.onDown(link.id, reason))
    this.#tidy(link.id)
  }

  #fail(peer: Peer, pending: Pending, outcome: Outcome): void {
    if (peer.pending !== pending) return
    peer.pending = undefined
    withdraw(pending, outcome.reason)
    // A connection on which a link could not be agreed on is not worth keeping; a refusing peer may still need it.
    if (pending.dialed && outcome.kind === 'failed' && peer.link?.connection !== pending.connection)
      hangUp(pending.connection)
    wake(peer, outcome)
    this.#tidy(pending.id)
  }

  async #next(peer: Peer, id: PeerId, signal: AbortSignal): Promise<Outcome> {
    signal.throwIfAborted()
    let onOutcome: ((outcome: Outcome) => void) | undefined
    let onAbort: (() => void) | undefined
    try {
      return await new Promise<Outcome>((resolve, reject) => {
        onOutcome = resolve
        onAbort = () => reject(signal.reason)
        peer.waiting.add(onOutcome)
        signal.addEventListener('abort', onAbort)
      })
    } finally {
      if (onOutcome !== undefined) peer.waiting.delete(onOutcome)
      if (onAbort !== undefined) signal.removeEventListener('abort', onAbort)
      this.#tidy(id)
    }
  }

  #peer(id: PeerId): Peer {
    const known = this.#peers.get(id)
    if (known !== undefined) return known
    const peer: Peer = { waiting: new Set() }
    this.#peers.set(id, peer)
    return peer
  }

  /** Nothing is remembered of a peer that is gone. */
  #tidy(id: PeerId): void {
    const peer = this.#peers.get(id)
    if (peer !== undefined && !peer.link && !peer.pending && peer.waiting.size === 0) this.#peers.delete(id)
  }
}

function awaited(pending: Pending): Kind {
  return pending.dialed ? 'accept' : 'confirm'
}

function isGreeting(frame: Uint8Array, kind: Kind, lane: Lane, offer: number): boolean {
  const greeting = decodeGreeting(frame)
  return greeting !== undefined && greeting.kind === kind && greeting.lane === lane && greeting.offer === offer
}

function greet(lanes: Lanes, kind: Kind, offer: number): void {
  // A stream that takes no greeting is closing, and its end is told by its own event.
  for (const lane of LANES) lanes[lane].send(encodeGreeting({ kind, lane, offer }))
}

function wake(peer: Peer, outcome: Outcome): void {
  for (const tell of [...peer.waiting]) tell(outcome)
}

function withdraw(pending: Pending, reason: string): void {
  clearTimeout(pending.timer)
  if (pending.lanes !== undefined) for (const lane of LANES) pending.lanes[lane].abort(reason)
}

function dropHalf(half: { lanes: Partial<Lanes>; timer: NodeJS.Timeout }, reason: string): void {
  clearTimeout(half.timer)
  for (const lane of LANES) half.lanes[lane]?.abort(reason)
}

/** Both or none. */
async function openStreams(connection: Connection): Promise<readonly [Stream, Stream]> {
  const signal = AbortSignal.timeout(CONNECT_MS_MAX)
  const open = () => connection.newStream(LINK_PROTOCOL, { signal, maxOutboundStreams: STREAMS_PER_PROTOCOL_MAX })
  const [data, bulk] = await Promise.allSettled([open(), open()])
  if (data.status === 'fulfilled' && bulk.status === 'fulfilled') return [data.value, bulk.value]
  const failed = data.status === 'rejected' ? data : bulk
  abortAll(
    [data, bulk].flatMap(result => (result.status === 'fulfilled' ? [result.value] : [])),
    'the other lane did not open'
  )
  throw failed.status === 'rejected' ? failed.reason : new Error('a lane did not open')
}

function abortAll(streams: readonly Stream[], reason: string): void {
  for (const stream of streams) stream.abort(new Error(reason))
}

function hangUp(connection: Connection): void {
  if (connection.status !== 'open') return
  connection.close({ signal: AbortSignal.timeout(HANG_UP_MS_MAX) }).catch((error: unknown) => {
    // The peer does not answer, or the connection has gone by itself; either way it is freed now.
    connection.abort(error instanceof Error ? error : new Error('the link has ended'))
  })
}

const HANG_UP_MS_MAX = 500

function deadline(fn: () => void): NodeJS.Timeout {
  return setTimeout(fn, CONNECT_MS_MAX).unref()
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
