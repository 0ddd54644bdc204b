/**
 * Members that are nothing but their membership protocol, on a network of delays and losses: no stores, no calls, no
 * promises. So a thousand of them, or sixteen for two hundred hours, fit into one process.
 *
 * Links behave as TCP does: in order, and a lost segment stalls its link for a retransmission timeout of 200 ms,
 * doubling. Gossip is simply lost. A link that is closed tells both ends; a process that is stopped tells nobody.
 */
import { type MembershipEvent, Protocol, TICK_EVERY_MS } from '../../lib/membership/protocol.ts'
import type { Effect } from '../../lib/membership/roster.ts'
import { isPresent, type View } from '../../lib/membership/view.ts'
import { Stats } from '../../lib/observe/stats.ts'
import type { Random } from '../../lib/ports/random.ts'
import { FrameBuilder } from '../../lib/rpc/frame.ts'
import type { MemberFields, MemberTalk } from '../../lib/rpc/messages.ts'
import { EventQueue, type Timed } from '../../lib/sim/event-queue.ts'
import { seededRandom } from '../../lib/sim/random.ts'

const DELAY_MS_MIN = 0.2
const DELAY_MS_MAX = 2
const RETRANSMIT_MS = 200
/** What one frame costs on the wire beside its own bytes: length, encryption, stream header, TCP and IP. */
const WIRE_BYTES_PER_FRAME = 2 + 18 + 12 + 52

interface Event extends Timed {
  readonly run: () => void
}

interface Link {
  /** When the last frame towards the member of this index arrives. */
  readonly arrivals: Map<number, number>
}

export class Node {
  readonly index: number
  readonly id: string
  readonly stats = new Stats()
  readonly protocol: Protocol
  readonly links = new Map<number, Link>()
  isAlive = true
  isStopped = false
  sentFrames = 0
  sentBytes = 0
  #held: (() => void)[] = []

  constructor(index: number, random: Random, nowMs: number) {
    this.index = index
    this.id = `12D3KooW-of-a-length-like-those-in-life-${String(index).padStart(12, '0')}`
    const self = {
      id: this.id,
      boot: index + 1,
      incarnation: 1,
      status: 'alive',
      weight: 1,
      zone: '',
      host: `host-${index}`,
      addresses: []
    } as const
    this.protocol = new Protocol({ self, random, stats: this.stats, nowMs })
  }

  /** Runs now, when it goes on, or never. */
  run(work: () => void): void {
    if (!this.isAlive) return
    if (this.isStopped) this.#held.push(work)
    else work()
  }

  resume(): void {
    this.isStopped = false
    const held = this.#held
    this.#held = []
    for (const work of held) work()
  }
}

export class MembershipWorld {
  readonly nodes: Node[] = []
  readonly #queue = new EventQueue<Event>()
  readonly #random: Random
  readonly #indexOf = new Map<string, number>()
  nowMs = 10_000
  loss = 0
  /** Off while it is only waited: encoding every frame to count its bytes costs more than the protocol. */
  isCounting = false
  falseRemovals = 0
  suspicions = 0

  constructor(seed: number) {
    this.#random = seededRandom(seed)
  }

  /** A mesh that has long been formed. */
  form(size: number): void {
    for (let i = 0; i < size; i++) this.#add()
    const records = this.nodes.map(node => recordOf(node))
    for (const node of this.nodes) {
      const others = records.filter(record => record.id !== node.id)
      node.protocol.step({ type: 'gossip', teller: node.id, records: others }, this.nowMs)
      for (const peer of this.nodes) if (peer.index > node.index) this.#tie(node, peer)
    }
    for (const node of this.nodes) {
      for (const index of node.links.keys()) {
        const record = records[index] as MemberFields
        this.#step(node, { type: 'linkUp', peer: record.id, record })
      }
    }
  }

  /** A member that knows one address. */
  join(seed: Node): Node {
    const node = this.#add()
    this.#dial(node, seed)
    return node
  }

  /** Its machine closes its sockets. */
  kill(node: Node): void {
    for (const index of [...node.links.keys()]) this.#untie(node, this.nodes[index] as Node)
    node.isAlive = false
  }

  run(ms: number): void {
    this.runUntil(() => false, ms)
  }

  /** The time it took until `isDone`, looked at every 5 ms; `limitMs` when it never was. */
  runUntil(isDone: () => boolean, limitMs: number): number {
    const beganMs = this.nowMs
    const untilMs = beganMs + limitMs
    let lookAtMs = beganMs
    for (let next = this.#queue.first; next !== undefined && next.atMs <= untilMs; next = this.#queue.first) {
      if (next.atMs >= lookAtMs) {
        if (isDone()) return this.nowMs - beganMs
        lookAtMs = next.atMs + 5
      }
      this.#queue.pop()
      this.nowMs = next.atMs
      next.run()
    }
    this.nowMs = untilMs
    return limitMs
  }

  alive(): Node[] {
    return this.nodes.filter(node => node.isAlive && !node.isStopped)
  }

  after(ms: number, run: () => void): void {
    this.#queue.push({ atMs: this.nowMs + ms, order: 0, run })
  }

  #add(): Node {
    const index = this.nodes.length
    const node = new Node(index, this.#random.fork(`node ${index}`), this.nowMs)
    this.nodes.push(node)
    this.#indexOf.set(node.id, index)
    this.#step(node, { type: 'listening', addresses: [addressOf(index)] })
    this.after(this.#random.float() * TICK_EVERY_MS, () => this.#tick(node))
    return node
  }

  #tick(node: Node): void {
    if (!node.isAlive) return
    if (node.isStopped) return node.run(() => this.#tick(node))
    this.#step(node, { type: 'tick', awaited: false })
    this.after(TICK_EVERY_MS, () => this.#tick(node))
  }

  #step(node: Node, event: MembershipEvent): void {
    for (const effect of node.protocol.step(event, this.nowMs)) this.#perform(node, effect)
  }

  #perform(node: Node, effect: Effect): void {
    switch (effect.type) {
      case 'send':
        return this.#send(node, effect.peer, effect.message)
      case 'dial': {
        const target = this.nodes[Number(effect.addresses[0]?.slice(5, -2))]
        if (target !== undefined) this.#dial(node, target)
        return
      }
      case 'close':
        return this.#untie(node, this.#node(effect.peer))
      case 'gossip':
        return this.#gossip(node, effect.records)
      case 'viewChanged':
        return this.#judge(effect.before, effect.after)
    }
  }

  #judge(before: View, after: View): void {
    for (const record of before.present()) {
      const now = after.get(record.id)
      if (now === record) continue
      const other = this.#node(record.id)
      const isWell = other.isAlive && !other.isStopped
      if (isWell && (now === undefined || !isPresent(now))) this.falseRemovals++
      if (isWell && now?.status === 'suspect' && record.status === 'alive') this.suspicions++
    }
  }

  #send(from: Node, peer: string, message: MemberTalk): void {
    const to = this.#node(peer)
    const link = from.links.get(to.index)
    if (link === undefined) return
    const viewHash = from.protocol.view.hash
    if (this.isCounting) this.#count(from, message, viewHash)
    const atMs = Math.max(link.arrivals.get(to.index) ?? 0, this.nowMs + this.#delayMs() + this.#stallMs())
    link.arrivals.set(to.index, atMs)
    this.after(atMs - this.nowMs, () =>
      to.run(() => {
        if (to.links.get(from.index) !== link) return
        this.#step(to, { type: 'heard', peer: from.id, viewHash })
        this.#step(to, { type: 'message', peer: from.id, message })
      })
    )
  }

  #count(from: Node, message: MemberTalk, viewHash: number): void {
    const frame = new FrameBuilder()
    frame.add(0, message)
    from.sentFrames++
    from.sentBytes += frame.finish({ clockMs: this.nowMs, viewHash }).length + WIRE_BYTES_PER_FRAME
  }

  #gossip(from: Node, records: readonly MemberFields[]): void {
    for (const to of this.nodes) {
      if (to === from || !to.isAlive || this.#random.float() < this.loss) continue
      this.after(this.#delayMs() * 3, () => to.run(() => this.#step(to, { type: 'gossip', teller: from.id, records })))
    }
  }

  #dial(from: Node, to: Node): void {
    this.after(this.#delayMs() * 2, () =>
      from.run(() => {
        if (to.isStopped) return
        if (!to.isAlive) return this.#step(from, { type: 'dialFailed', peer: to.id, foundOther: false })
        if (from.links.has(to.index)) return
        this.#tie(from, to)
        const [theirs, ours] = [recordOf(to), recordOf(from)]
        this.#step(from, { type: 'linkUp', peer: to.id, record: theirs })
        this.#step(to, { type: 'linkUp', peer: from.id, record: ours })
      })
    )
  }

  #tie(a: Node, b: Node): void {
    const link = { arrivals: new Map<number, number>() }
    a.links.set(b.index, link)
    b.links.set(a.index, link)
  }

  #untie(a: Node, b: Node): void {
    for (const [one, other] of [[a, b] as const, [b, a] as const]) {
      if (!one.links.delete(other.index)) continue
      this.after(this.#delayMs(), () => one.run(() => this.#step(one, { type: 'linkDown', peer: other.id })))
    }
  }

  #node(id: string): Node {
    return this.nodes[this.#indexOf.get(id) as number] as Node
  }

  #delayMs(): number {
    return DELAY_MS_MIN + this.#random.float() * (DELAY_MS_MAX - DELAY_MS_MIN)
  }

  #stallMs(): number {
    let stallMs = 0
    for (let timeoutMs = RETRANSMIT_MS; this.loss > 0 && this.#random.float() < this.loss && timeoutMs < 10_000; ) {
      stallMs += timeoutMs
      timeoutMs *= 2
    }
    return stallMs
  }
}

function recordOf(node: Node): MemberFields {
  return { ...node.protocol.self, firstHand: true }
}

function addressOf(index: number): string {
  return `host-${index}:1`
}
