/**
 * A network with the faults of real ones. Links behave as TCP does: whole, in order, and a lost segment is not a lost
 * frame but a stall of the retransmission timeout, doubling, that everything behind it shares. Gossip is simply lost,
 * doubled, late. A cut swallows what is sent that way and tells nobody; what the links hold goes on when it heals.
 *
 * A link has two ends that learn of things at different times, as in life: one may be down for a while before the
 * other knows, and behind a cut it never learns by itself.
 */
import { assert } from '../base/assert.ts'
import type { Cancel } from '../ports/clock.ts'
import type { PubSub } from '../ports/pubsub.ts'
import { GOSSIP_BYTES_MAX } from '../ports/pubsub.ts'
import type { Random } from '../ports/random.ts'
import {
  type Address,
  CONNECT_MS_MAX,
  FRAME_BYTES_MAX,
  type Lane,
  type LinkEvents,
  type PeerId,
  type Transport
} from '../ports/transport.ts'
import type { Process, World } from './world.ts'

const RETRANSMIT_MS = 200
/** A lane carries 200 MB a second. */
const MS_PER_BYTE = 1 / 200_000
const IN_FLIGHT_BYTES_MAX = 8 * 1024 * 1024

export interface NetworkFaults {
  delayMsMin: number
  delayMsMax: number
  /** Of segments; on a link it is a stall. */
  loss: number
  gossipLoss: number
  gossipDuplication: number
}

/** `closing`: nothing is sent any more, and the owner is about to be told. */
type EndState = 'opening' | 'up' | 'closing' | 'down'

interface Parcel {
  readonly bytes: number
  readonly deliver: () => void
}

/** One direction of one link. */
class Pipe {
  readonly lanes = { data: new LaneState(), bulk: new LaneState() }
  /** What a cut holds back. */
  readonly held: { lane: Lane; parcel: Parcel }[] = []
}

class LaneState {
  lastArrivalMs = 0
  inFlightBytes = 0
  blocked = false
}

class Link {
  readonly ends: ReadonlyMap<SimTransport, { state: EndState; out: Pipe }>

  constructor(a: SimTransport, b: SimTransport) {
    this.ends = new Map([
      [a, { state: 'opening' as EndState, out: new Pipe() }],
      [b, { state: 'opening' as EndState, out: new Pipe() }]
    ])
  }

  end(of: SimTransport): { state: EndState; out: Pipe } {
    return this.ends.get(of) as { state: EndState; out: Pipe }
  }

  other(of: SimTransport): SimTransport {
    return [...this.ends.keys()].find(end => end !== of) as SimTransport
  }
}

export class Network {
  readonly world: World
  readonly faults: NetworkFaults
  readonly #random: Random
  readonly #listening = new Map<Address, SimTransport>()
  readonly #cuts = new Set<string>()
  readonly #links = new Set<Link>()
  /** When a link last came up or went down anywhere. */
  lastLinkChangeMs = 0
  readonly #listeners: { process: Process; name: string; topic: string; onMessage: (message: Uint8Array) => void }[] =
    []

  constructor(world: World, random: Random, faults: NetworkFaults) {
    this.world = world
    this.faults = faults
    this.#random = random
  }

  /** `realms` stands for mesh name and secrets: two that share none refuse each other in the handshake. */
  transport(
    process: Process,
    self: PeerId,
    address: Address | undefined,
    realms: readonly string[] = ['']
  ): SimTransport {
    return new SimTransport(this, process, self, address, realms)
  }

  pubsub(process: Process, self: PeerId): PubSub {
    return {
      publish: (topic, message) => this.#publish(self, topic, message),
      subscribe: (topic, onMessage): Cancel => {
        const listener = { process, name: self, topic, onMessage }
        this.#listeners.push(listener)
        return () => {
          const at = this.#listeners.indexOf(listener)
          if (at >= 0) this.#listeners.splice(at, 1)
        }
      }
    }
  }

  cut(from: PeerId, to: PeerId): void {
    this.#cuts.add(`${from}>${to}`)
  }

  /** All cuts are mended; what the links held is sent again. */
  heal(): void {
    this.#cuts.clear()
    for (const link of this.#links) {
      for (const [from, end] of link.ends) {
        for (const { lane, parcel } of end.out.held.splice(0)) this.#transmit(from, link, lane, parcel, RETRANSMIT_MS)
      }
    }
  }

  /** The process is gone: its sockets are closed by its machine, and whoever can be reached learns of it. */
  crash(transport: SimTransport): void {
    this.stopListening(transport)
    for (const link of transport.links()) {
      link.end(transport).state = 'down'
      this.#tellDown(link, transport, 'connection reset')
    }
    for (let i = this.#listeners.length - 1; i >= 0; i--) {
      if (this.#listeners[i]?.process === transport.process) this.#listeners.splice(i, 1)
    }
  }

  listen(address: Address, transport: SimTransport): void {
    this.#listening.set(address, transport)
  }

  stopListening(transport: SimTransport): void {
    for (const [address, at] of this.#listening) if (at === transport) this.#listening.delete(address)
  }

  /** The request travels there, the answer back; each way may be cut, and then only the deadline ends it. */
  connect(from: SimTransport, address: Address): Promise<PeerId> {
    return new Promise((resolve, reject) => {
      const giveUp = this.world.after(CONNECT_MS_MAX, from.process, () =>
        reject(new Error(`no answer from ${address}`))
      )
      const target = this.#listening.get(address)
      if (target === from) return this.#backTo(from, giveUp, () => resolve(from.self))
      const refuse = (): void => this.#backTo(from, giveUp, () => reject(new Error(`${address} refused`)))
      // Nobody listens: the machine itself answers, unless the way to whoever was there is cut.
      if (target === undefined) return refuse()
      if (this.isCut(from.self, target.self)) return
      this.world.after(this.delayMs(), target.process, () => {
        if (this.#listening.get(address) !== target || !target.shares(from)) return refuse()
        const link = this.#meet(from, target)
        if (this.isCut(target.self, from.self)) return
        this.#backTo(from, giveUp, () => {
          if (link.end(target).state !== 'up') return reject(new Error(`${address} closed the link`))
          from.bringUp(link)
          resolve(target.self)
        })
      })
    })
  }

  send(from: SimTransport, link: Link, lane: Lane, frame: Uint8Array): boolean {
    assert(frame.length <= FRAME_BYTES_MAX, 'a frame is at most FRAME_BYTES_MAX long')
    const { out } = link.end(from)
    const state = out.lanes[lane]
    if (state.inFlightBytes > 0 && state.inFlightBytes + frame.length > IN_FLIGHT_BYTES_MAX) {
      state.blocked = true
      return false
    }
    state.inFlightBytes += frame.length
    const to = link.other(from)
    const parcel = { bytes: frame.length, deliver: () => to.receive(link, lane, frame) }
    if (this.isCut(from.self, to.self)) out.held.push({ lane, parcel })
    else this.#transmit(from, link, lane, parcel, 0)
    return true
  }

  close(from: SimTransport, link: Link, reason: string): void {
    const end = link.end(from)
    if (end.state === 'down' || end.state === 'closing') return
    const wasUp = end.state === 'up'
    end.state = wasUp ? 'closing' : 'down'
    this.world.after(0, from.process, () => from.takeDown(link, reason))
    this.#tellDown(link, from, reason)
  }

  isCut(from: PeerId, to: PeerId): boolean {
    return this.#cuts.has(`${from}>${to}`)
  }

  delayMs(): number {
    const { delayMsMin, delayMsMax } = this.faults
    return delayMsMin + this.#random.float() * (delayMsMax - delayMsMin)
  }

  noteLink(what: string): void {
    this.lastLinkChangeMs = this.world.nowMs
    this.world.note(what)
  }

  add(link: Link): void {
    this.#links.add(link)
  }

  forget(link: Link): void {
    if ([...link.ends.values()].every(end => end.state === 'down')) this.#links.delete(link)
  }

  #backTo(from: SimTransport, giveUp: Cancel, settle: () => void): void {
    this.world.after(this.delayMs(), from.process, () => {
      giveUp()
      settle()
    })
  }

  /** The dialled side: it may know a link that the dialling side has lost, or that the two have just made at once. */
  #meet(from: SimTransport, target: SimTransport): Link {
    const known = target.linkTo(from.self)
    if (known?.ends.has(from) && [...known.ends.values()].every(end => end.state === 'opening' || end.state === 'up')) {
      target.bringUp(known)
      return known
    }
    if (known !== undefined) target.takeDown(known, 'replaced')
    const link = new Link(from, target)
    this.add(link)
    from.dialled(link)
    target.bringUp(link)
    return link
  }

  #tellDown(link: Link, gone: SimTransport, reason: string): void {
    const other = link.other(gone)
    const parcel = { bytes: 0, deliver: () => other.takeDown(link, reason) }
    if (this.isCut(gone.self, other.self)) link.end(gone).out.held.push({ lane: 'data', parcel })
    else this.#transmit(gone, link, 'data', parcel, 0)
  }

  #transmit(from: SimTransport, link: Link, lane: Lane, parcel: Parcel, extraMs: number): void {
    const to = link.other(from)
    const state = link.end(from).out.lanes[lane]
    const carryMs = parcel.bytes * MS_PER_BYTE
    const atMs = Math.max(state.lastArrivalMs, this.world.nowMs + this.delayMs() + extraMs + this.#stallMs()) + carryMs
    state.lastArrivalMs = atMs
    this.world.after(atMs - this.world.nowMs, to.process, () => {
      state.inFlightBytes -= parcel.bytes
      parcel.deliver()
      if (state.blocked && state.inFlightBytes < IN_FLIGHT_BYTES_MAX / 2) {
        state.blocked = false
        this.world.after(0, from.process, () => from.drained(link, lane))
      }
    })
  }

  #stallMs(): number {
    let stallMs = 0
    for (let timeoutMs = RETRANSMIT_MS; this.#random.float() < this.faults.loss && timeoutMs < 10_000; timeoutMs *= 2)
      stallMs += timeoutMs
    return stallMs
  }

  #publish(from: PeerId, topic: string, message: Uint8Array): void {
    if (message.length > GOSSIP_BYTES_MAX) return
    for (const listener of this.#listeners) {
      if (listener.name === from || listener.topic !== topic || this.isCut(from, listener.name)) continue
      const copies = this.#random.float() < this.faults.gossipDuplication ? 2 : 1
      for (let i = 0; i < copies; i++) {
        if (this.#random.float() < this.faults.gossipLoss) continue
        this.world.after(this.delayMs() * 3, listener.process, () => listener.onMessage(message.slice()))
      }
    }
  }
}

export class SimTransport implements Transport {
  readonly self: PeerId
  readonly process: Process
  readonly #network: Network
  readonly #address: Address | undefined
  readonly #realms: readonly string[]
  readonly #links = new Map<PeerId, Link>()
  /** Who asks for an address that is being dialled joins, unless anew. */
  readonly #dials = new Map<Address, Promise<PeerId>>()
  #events: LinkEvents | undefined

  constructor(
    network: Network,
    process: Process,
    self: PeerId,
    address: Address | undefined,
    realms: readonly string[]
  ) {
    this.#network = network
    this.#realms = realms
    this.process = process
    this.self = self
    this.#address = address
  }

  shares(other: SimTransport): boolean {
    return this.#realms.some(realm => other.#realms.includes(realm))
  }

  async start(events: LinkEvents): Promise<readonly Address[]> {
    this.#events = events
    if (this.#address === undefined) return []
    this.#network.listen(this.#address, this)
    return [this.#address]
  }

  async stop(): Promise<void> {
    this.#network.stopListening(this)
    for (const link of this.links()) this.#network.close(this, link, 'stopped')
    // The events of these closes are ours to deliver before we fall silent.
    await new Promise<void>(resolve => this.#network.world.after(0, this.process, resolve))
    this.#events = undefined
  }

  connect(address: Address, { anew } = { anew: false }): Promise<PeerId> {
    if (this.#events === undefined) return Promise.reject(new Error('this transport does not run'))
    const before = this.#dials.get(address)
    if (before !== undefined && !anew) return before
    const dial = this.#network.connect(this, address).finally(() => {
      if (this.#dials.get(address) === dial) this.#dials.delete(address)
    })
    this.#dials.set(address, dial)
    return dial
  }

  send(peer: PeerId, lane: Lane, frame: Uint8Array): boolean {
    const link = this.#links.get(peer)
    if (link === undefined || link.end(this).state !== 'up') return false
    return this.#network.send(this, link, lane, frame)
  }

  close(peer: PeerId, reason: string): void {
    const link = this.#links.get(peer)
    if (link !== undefined) this.#network.close(this, link, reason)
  }

  links(): Link[] {
    return [...this.#links.values()]
  }

  isUp(peer: PeerId): boolean {
    return this.#links.get(peer)?.end(this).state === 'up'
  }

  linkTo(peer: PeerId): Link | undefined {
    return this.#links.get(peer)
  }

  /** Our dial has arrived over there; we shall know when the answer is here. */
  dialled(link: Link): void {
    const before = this.#links.get(link.other(this).self)
    if (before !== undefined) this.takeDown(before, 'replaced')
    this.#links.set(link.other(this).self, link)
  }

  bringUp(link: Link): void {
    const peer = link.other(this).self
    const end = link.end(this)
    if (end.state !== 'opening') return
    end.state = 'up'
    this.#links.set(peer, link)
    this.#network.noteLink(`${this.self} up ${peer}`)
    this.#network.world.after(0, this.process, () => this.#events?.onUp(peer))
  }

  takeDown(link: Link, reason: string): void {
    const peer = link.other(this).self
    const end = link.end(this)
    const wasUp = end.state === 'up' || end.state === 'closing'
    end.state = 'down'
    if (this.#links.get(peer) === link) this.#links.delete(peer)
    this.#network.forget(link)
    if (!wasUp) return
    this.#network.noteLink(`${this.self} down ${peer}: ${reason}`)
    this.#network.world.after(0, this.process, () => this.#events?.onDown(peer, reason))
  }

  receive(link: Link, lane: Lane, frame: Uint8Array): void {
    const peer = link.other(this).self
    // The first frame may be here before the answer to our dial: then the link is up by that.
    this.bringUp(link)
    if (link.end(this).state !== 'up') return
    this.#network.world.note(`${this.self} < ${peer} ${frame.length}`)
    this.#network.world.after(0, this.process, () => this.#events?.onFrame(peer, lane, frame))
  }

  drained(link: Link, lane: Lane): void {
    if (link.end(this).state === 'up') this.#events?.onDrain(link.other(this).self, lane)
  }
}
