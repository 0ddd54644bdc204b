/**
 * From links of the transport to peers of the mesh. Each lane begins with a `hello`; until one has come and been found
 * right, nothing else is read from the link and the mesh does not know of it.
 *
 *   transport up ─▶ hello sent ─▶ hello heard and right ─▶ peer up ─▶ … ─▶ transport down ─▶ peer down
 *                                   └ wrong mesh, wire, partitions, clock or bytes ─▶ closed, counted, said once a peer
 */
import { Malformed } from '../base/bytes.ts'
import type { Complaints } from '../observe/complaints.ts'
import type { Stats } from '../observe/stats.ts'
import type { Cancel, Clock } from '../ports/clock.ts'
import type { Logger } from '../ports/log.ts'
import type { Lane, LinkEvents, PeerId, Transport } from '../ports/transport.ts'
import type { MeshClock } from '../store/version.ts'
import type { Client } from './client.ts'
import { type Frame, readFrame } from './frame.ts'
import { Inbox } from './inbox.ts'
import type { BudgetTalk, LeaseTalk, MemberTalk, Message, MessageOf, Notice, Request } from './messages.ts'
import type { Outbox } from './outbox.ts'
import type { Server } from './server.ts'

const HELLO_MS_MAX = 3_000

export interface LinksDeps {
  readonly transport: Transport
  readonly clock: Clock
  readonly outbox: Outbox
  readonly client: Client
  readonly server: Server
  readonly meshClock: MeshClock
  readonly stats: Stats
  readonly log: Logger
  readonly complaints: Complaints
  readonly hello: () => MessageOf<'hello'>
  readonly onUp: (peer: PeerId, hello: MessageOf<'hello'>) => void
  readonly onDown: (peer: PeerId) => void
  /** Any frame at all: a sign of life and the sender's view hash. */
  readonly onHeard: (peer: PeerId, viewHash: number) => void
  readonly onTalk: (peer: PeerId, message: MemberTalk) => void
  /** A holder renews its lease or gives it back. */
  readonly onLease: (peer: PeerId, notice: LeaseTalk) => void
  readonly onBudgetTalk: (peer: PeerId, message: BudgetTalk) => void
  /** A link ended before its hello: for the mesh it never was. */
  readonly onRefused: (peer: PeerId) => void
}

export class Links implements LinkEvents {
  readonly #deps: LinksDeps
  /** Links the transport has; true once the peer's hello was right. */
  readonly #greeted = new Map<PeerId, boolean>()
  readonly #helloDeadlines = new Map<PeerId, Cancel>()
  readonly #complained = new Set<string>()
  readonly #inbox: Inbox

  constructor(deps: LinksDeps) {
    this.#deps = deps
    const { clock, complaints } = deps
    this.#inbox = new Inbox({
      clock,
      complaints,
      onMessage: (peer, call, message) => this.#dispatch(peer, call, message)
    })
  }

  has(peer: PeerId): boolean {
    return this.#greeted.get(peer) === true
  }

  peers(): PeerId[] {
    return [...this.#greeted].filter(([, greeted]) => greeted).map(([peer]) => peer)
  }

  onUp(peer: PeerId): void {
    this.#greeted.set(peer, false)
    this.#deps.outbox.open(peer, this.#deps.hello())
    this.#helloDeadlines.set(
      peer,
      this.#deps.clock.after(HELLO_MS_MAX, () => this.#refuse(peer, `it said no hello within ${HELLO_MS_MAX} ms`))
    )
  }

  onDown(peer: PeerId, reason: string): void {
    // An answer that has come is an answer, although its link has gone.
    this.#inbox.finish()
    const wasUp = this.#greeted.get(peer) === true
    this.#greeted.delete(peer)
    this.#helloArrived(peer)
    this.#deps.outbox.close(peer)
    this.#deps.log.debug({ peer, reason }, 'link down')
    if (!wasUp) return this.#deps.onRefused(peer)
    // Before the calls fail: whoever retries on the failure must already find this peer gone.
    this.#deps.onDown(peer)
    this.#deps.client.linkDown(peer)
    this.#deps.server.linkDown(peer)
  }

  onDrain(peer: PeerId, lane: Lane): void {
    this.#deps.outbox.drained(peer, lane)
  }

  onFrame(peer: PeerId, _lane: Lane, bytes: Uint8Array): void {
    if (!this.#greeted.has(peer)) return
    this.#deps.stats.framesReceivedTotal++
    const frame = this.#read(peer, bytes)
    if (frame === undefined) return
    if (!this.#deps.meshClock.hear(frame.clockMs)) return this.#refuse(peer, 'its clock is over a minute ahead of ours')
    const greeting = frame.messages[0]?.message
    if (!this.has(peer) && !this.#greet(peer, greeting)) return
    this.#deps.client.heard(peer)
    this.#deps.onHeard(peer, frame.viewHash)
    this.#inbox.add(peer, frame.messages)
  }

  #read(peer: PeerId, bytes: Uint8Array): Frame | undefined {
    try {
      return readFrame(bytes)
    } catch (error) {
      // Anything thrown while reading bytes from outside is the fault of the bytes; a link that sent some is closed.
      this.#refuse(peer, error instanceof Malformed ? error.message : `unreadable frame (${(error as Error).name})`)
      return undefined
    }
  }

  #greet(peer: PeerId, hello: Message | undefined): boolean {
    const objection = this.#objection(peer, hello)
    if (objection !== undefined) {
      this.#refuse(peer, objection)
      return false
    }
    this.#greeted.set(peer, true)
    this.#helloArrived(peer)
    this.#deps.onUp(peer, hello as MessageOf<'hello'>)
    return true
  }

  #helloArrived(peer: PeerId): void {
    this.#helloDeadlines.get(peer)?.()
    this.#helloDeadlines.delete(peer)
  }

  #objection(peer: PeerId, hello: Message | undefined): string | undefined {
    const ours = this.#deps.hello()
    if (hello?.type !== 'hello') return `it began with ${hello?.type ?? 'nothing'} instead of hello`
    if (hello.mesh !== ours.mesh) return `it belongs to the mesh '${hello.mesh}', this member to '${ours.mesh}'`
    if (hello.partitions !== ours.partitions)
      return `it has ${hello.partitions} partitions, this member ${ours.partitions}`
    if (hello.placement !== ours.placement) return 'it places keys differently, as another release may'
    if (hello.record.id !== peer) return `it calls itself ${hello.record.id}, which is not the id it proved`
    return undefined
  }

  #refuse(peer: PeerId, reason: string): void {
    this.#deps.stats.linksRefusedTotal++
    this.#deps.transport.close(peer, reason)
    // Said once: a stranger that dials every second must not fill the log.
    if (this.#complained.has(peer) || this.#complained.size >= 1024) return
    this.#complained.add(peer)
    this.#deps.log.warn({ peer, reason, code: 'CACHEMESH_LINK_REFUSED' }, `refused a link to ${peer}: ${reason}`)
  }

  #dispatch(peer: PeerId, call: number, message: Message): void {
    switch (message.type) {
      case 'hello':
      case 'cancel':
      case 'renew':
      case 'release':
      case 'idle':
      case 'drop':
        return this.#notice(peer, call, message)
      case 'ping':
      case 'pong':
      case 'probe':
      case 'probed':
      case 'view':
      case 'digest':
      case 'swap':
      case 'swapped':
      case 'news':
        return this.#deps.onTalk(peer, message)
      case 'demand':
      case 'census':
      case 'permits':
        return this.#deps.onBudgetTalk(peer, message)
      case 'read':
      case 'readMany':
      case 'write':
      case 'remove':
      case 'fill':
      case 'compareAndSet':
      case 'touch':
      case 'add':
      case 'clear':
      case 'keys':
      case 'follow':
      case 'explain':
      case 'filterCompare':
      case 'filterAdd':
      case 'filterPrints':
      case 'filterPull':
      case 'ticket':
      case 'originHas':
      case 'readCopy':
      case 'copies':
      case 'peek':
      case 'offer':
      case 'list':
      case 'pull':
      case 'flush':
      case 'confirm':
        return this.#deps.server.request(peer, call, message satisfies Request)
      default:
        return this.#deps.client.reply(peer, call, message)
    }
  }

  #notice(peer: PeerId, call: number, notice: Exclude<Notice, MemberTalk | BudgetTalk>): void {
    if (notice.type === 'hello') return
    if (notice.type === 'cancel') this.#deps.server.cancel(peer, call)
    else this.#deps.onLease(peer, notice)
  }
}
