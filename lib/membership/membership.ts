/**
 * The driver of the protocol: feeds it what happens, performs what it decides, and keeps looking for others.
 *
 * All decisions are in `protocol.ts`, and so are the deadlines of what members ask each other. Here are the dials, the
 * gossip, the ticks and the discovery rounds, each with a deadline and none of them able to stop the others.
 */
import { unlessAborted, whenAborted } from '../base/abort.ts'
import { MeshError } from '../base/errors.ts'
import type { Complaints } from '../observe/complaints.ts'
import type { Stats } from '../observe/stats.ts'
import type { Cancel, Clock } from '../ports/clock.ts'
import type { DiscoverySource } from '../ports/discovery.ts'
import type { Logger } from '../ports/log.ts'
import type { PubSub } from '../ports/pubsub.ts'
import type { Random } from '../ports/random.ts'
import type { Address, PeerId, Transport } from '../ports/transport.ts'
import { Gossip } from '../rpc/gossip.ts'
import { type MemberGossip, type MemberTalk, type MessageOf, readGossip, writeGossip } from '../rpc/messages.ts'
import type { Outbox } from '../rpc/outbox.ts'
import { expandRange } from './discovery.ts'
import { type MembershipEvent, Protocol, TICK_EVERY_MS } from './protocol.ts'
import type { Effect } from './roster.ts'
import type { MemberRecord, View } from './view.ts'

const JOIN_ROUND_MS_MAX = 3_000
const FIND_MS_MAX = 2_000
/** A member that asks and that we take for dead is answered as one that is by then. */
const UNITED_MS_MAX = 500
/** Discovery goes on for ever: often while the mesh is forming, then now and then. */
const ROUND_EVERY_MS = 1_000
const EARLY_ROUNDS = 10
const ROUND_SELDOM_MS = 5_000
const ANSWERED_MAX = 4096
/** Dials of one discovery round under way at once. */
const DIALS_AT_ONCE = 32

export interface MembershipDeps {
  readonly mesh: string
  readonly transport: Transport
  readonly pubsub: PubSub
  readonly outbox: Outbox
  readonly clock: Clock
  readonly random: Random
  readonly stats: Stats
  readonly log: Logger
  readonly complaints: Complaints
  readonly sources: readonly DiscoverySource[]
  readonly onView: (before: View, after: View) => void
  /** Others took over what we own. */
  readonly onBuried: (wasAsleep: boolean) => void
  /** After a doubt: our view is as good as anybody's again. */
  readonly onCertain: () => void
}

export class Membership {
  readonly #deps: MembershipDeps
  readonly #protocol: Protocol
  readonly #gossip: Gossip<MemberGossip>
  /** Who answered at an address that a discovery named, so that a linked member is not dialled under a second name. */
  readonly #answered = new Map<Address, PeerId>()
  /** The latest dial to each member that is not over. */
  readonly #dialling = new Map<PeerId, symbol>()
  /** Those who wait for an exchange of views with a peer to end. */
  readonly #agreed = new Map<PeerId, { readonly over: Promise<void>; readonly resolve: () => void }>()
  readonly #stepWaiters = new Set<() => void>()
  #settling = 0
  readonly #stopped = new AbortController()
  #unsubscribe: Cancel = () => {}
  #disarmTick: Cancel = () => {}
  #disarmRound: Cancel = () => {}
  #rounds = 0
  #stopAnnouncing: (() => Promise<void>)[] = []

  constructor(deps: MembershipDeps, self: MemberRecord) {
    this.#deps = deps
    this.#gossip = new Gossip({ name: 'members', write: writeGossip, read: readGossip }, deps)
    this.#protocol = new Protocol({ self, random: deps.random, stats: deps.stats, nowMs: deps.clock.monotonic() })
  }

  get view(): View {
    return this.#protocol.view
  }

  get self(): MemberRecord {
    return this.#protocol.self
  }

  /** Tells where we listen, looks for others and makes the first round; resolves when it is over, alone or not. */
  async join(addresses: readonly Address[]): Promise<void> {
    for (const address of addresses) this.#answered.set(address, this.self.id)
    this.#step({ type: 'listening', addresses })
    this.#unsubscribe = this.#gossip.listen(told => this.#step({ type: 'gossip', ...told }))
    this.#tickLater()
    await this.#announce()
    await this.#within(JOIN_ROUND_MS_MAX, this.#firstRound())
    this.#roundLater()
  }

  /** Tells everybody that we go, and waits for as long as `deadlineMs` until they know. */
  async leave(deadlineMs: number): Promise<void> {
    this.#step({ type: 'leave' })
    const untilMs = this.#deps.clock.monotonic() + deadlineMs
    for (;;) {
      const leftMs = untilMs - this.#deps.clock.monotonic()
      if (leftMs <= 0 || this.#protocol.isFarewellHeard()) return
      await this.#nextStep(leftMs)
    }
  }

  async stop(): Promise<void> {
    this.#stopped.abort()
    this.#unsubscribe()
    this.#disarmTick()
    this.#disarmRound()
    this.#wakeStepWaiters()
    for (const peer of [...this.#agreed.keys()]) this.#exchangeEnded(peer)
    const stopping = this.#stopAnnouncing.splice(0).map(stop => this.#reported('stop announcing', stop))
    await this.#within(FIND_MS_MAX, Promise.all(stopping))
  }

  linkUp(peer: PeerId, hello: MessageOf<'hello'>): void {
    this.#step({ type: 'linkUp', peer, record: hello.record })
  }

  /** A link ended before it was one. */
  linkRefused(peer: PeerId): void {
    this.#step({ type: 'linkRefused', peer })
  }

  message(peer: PeerId, message: MemberTalk): void {
    this.#step({ type: 'message', peer, message })
  }

  get healthScore(): number {
    return this.#protocol.healthScore
  }

  /** A call to a peer got no answer in time. */
  unanswered(peer: PeerId): void {
    this.#step({ type: 'unanswered', peer })
  }

  /** False while others may have gone on without us. */
  isCertain(): boolean {
    // Asked before each read of our own store: where nobody else is, there is nothing to look at a clock for.
    return this.view.present().length < 2 || this.#protocol.isCertain(this.#deps.clock.monotonic())
  }

  /** Suspected, and not heard by us either. */
  isUnheard(peer: PeerId): boolean {
    return this.#protocol.isUnheard(peer)
  }

  linkDown(peer: PeerId): void {
    this.#step({ type: 'linkDown', peer })
  }

  heard(peer: PeerId, viewHash: number): void {
    this.#step({ type: 'heard', peer, viewHash })
  }

  /** Makes our view and that of a peer equal now: it has just told us that we disagree. It never rejects. */
  agreeWith(peer: PeerId): Promise<void> {
    const known = this.#agreed.get(peer)
    if (known !== undefined) return known.over
    if (this.#stopped.signal.aborted) return Promise.resolve()
    let resolve = (): void => {}
    const over = new Promise<void>(settle => {
      resolve = settle
    })
    this.#agreed.set(peer, { over, resolve })
    this.#step({ type: 'agree', peer })
    return over
  }

  /** Undefined but where this peer knows of another mesh than we do: resolves when both know the same. */
  settleWith(peer: PeerId): Promise<void> | undefined {
    return this.#protocol.isApart(peer, this.#deps.clock.monotonic()) ? this.#united(peer) : undefined
  }

  /** Where we take it for dead it hears that in the exchange, and its own word that it lives comes after. */
  async #united(peer: PeerId): Promise<void> {
    const untilMs = this.#deps.clock.monotonic() + UNITED_MS_MAX
    await this.agreeWith(peer)
    for (;;) {
      const leftMs = untilMs - this.#deps.clock.monotonic()
      if (leftMs <= 0 || this.#stopped.signal.aborted || !this.#protocol.isUnburied(peer)) return
      await this.#nextStep(leftMs)
    }
  }

  /** Resolves when every member of the view is linked and holds the same view, and there are `members` of them. */
  async settled(
    members: number,
    patience: { signal?: AbortSignal | undefined; timeoutMs?: number | undefined } = {}
  ): Promise<void> {
    this.#settling++
    try {
      await this.#untilSettled(members, patience)
    } finally {
      this.#settling--
    }
  }

  async #untilSettled(
    members: number,
    { signal, timeoutMs }: { signal?: AbortSignal | undefined; timeoutMs?: number | undefined }
  ): Promise<void> {
    const until = timeoutMs === undefined ? undefined : this.#deps.clock.monotonic() + timeoutMs
    while (!this.#stopped.signal.aborted && !this.#isSettled(members)) {
      const leftMs = until === undefined ? undefined : until - this.#deps.clock.monotonic()
      if (leftMs !== undefined && leftMs <= 0) throw this.#notSettled(members, timeoutMs as number)
      await unlessAborted(signal, () => this.#nextStep(leftMs))
    }
  }

  #isSettled(members: number): boolean {
    return this.#protocol.isSettled() && this.#protocol.view.present().length >= members
  }

  #notSettled(members: number, timeoutMs: number): MeshError {
    const present = this.#protocol.view.present().length
    return new MeshError(
      'ERR_MESH_TIMEOUT',
      `The mesh '${this.#deps.mesh}' was not ready within ${timeoutMs} ms: ${present} of ${members} members are here${this.#protocol.isSettled() ? '' : ', and they do not agree yet'}. Wait longer, or look at discovery and secret.`
    )
  }

  #nextStep(ms: number | undefined): Promise<void> {
    return new Promise(resolve => {
      const wake = (): void => {
        this.#stepWaiters.delete(wake)
        disarm()
        resolve()
      }
      const disarm = ms === undefined ? () => {} : this.#deps.clock.after(ms, wake)
      this.#stepWaiters.add(wake)
    })
  }

  #step(event: MembershipEvent): void {
    if (this.#stopped.signal.aborted) return
    const effects = this.#protocol.step(event, this.#deps.clock.monotonic())
    for (const effect of effects) this.#perform(effect)
    if (this.#stepWaiters.size > 0) this.#wakeStepWaiters()
  }

  #perform(effect: Effect): void {
    switch (effect.type) {
      case 'dial':
        void this.#dial(effect.peer, effect.addresses)
        return
      case 'send':
        // One that finds no link or no room is asked again, or missed.
        this.#deps.outbox.post(effect.peer, 0, effect.message)
        return
      case 'close':
        return this.#deps.transport.close(effect.peer, effect.reason)
      case 'gossip':
        return this.#gossip.tell({ teller: this.self.id, records: effect.records })
      case 'exchanged':
        return this.#exchangeEnded(effect.peer)
      case 'viewChanged':
        return this.#deps.onView(effect.before, effect.after)
      case 'buried':
        return this.#deps.onBuried(effect.wasAsleep)
      case 'certain':
        return this.#deps.onCertain()
      default:
        effect satisfies never
    }
  }

  async #dial(peer: PeerId, addresses: readonly Address[]): Promise<void> {
    const dial = Symbol()
    const isLatest = (): boolean => this.#dialling.get(peer) === dial
    const anew = this.#dialling.has(peer)
    this.#dialling.set(peer, dial)
    const outcome = await this.#tryEach(peer, addresses, anew, isLatest)
    // What became of one that a later dial has taken the place of says nothing any more.
    if (!isLatest()) return
    this.#dialling.delete(peer)
    if (outcome !== 'linked') this.#step({ type: 'dialFailed', peer, foundOther: outcome === 'foundOther' })
  }

  /** Each address in turn; success shows itself as a link. */
  async #tryEach(
    peer: PeerId,
    addresses: readonly Address[],
    anew: boolean,
    isWanted: () => boolean
  ): Promise<'linked' | 'foundOther' | 'failed'> {
    let outcome: 'foundOther' | 'failed' = 'failed'
    for (const address of addresses) {
      if (!isWanted()) break
      try {
        const found = await this.#deps.transport.connect(address, { anew })
        if (found === peer) return 'linked'
        outcome = 'foundOther'
      } catch (error) {
        this.#deps.log.debug({ peer, address, err: error }, 'dial failed')
      }
    }
    return outcome
  }

  #exchangeEnded(peer: PeerId): void {
    this.#agreed.get(peer)?.resolve()
    this.#agreed.delete(peer)
  }

  #tickLater(): void {
    this.#disarmTick = this.#deps.clock.after(TICK_EVERY_MS, () => {
      this.#step({ type: 'tick', awaited: this.#settling > 0 })
      if (!this.#stopped.signal.aborted) this.#tickLater()
    })
  }

  async #announce(): Promise<void> {
    const { mesh, transport } = this.#deps
    const self = { mesh, id: transport.self, addresses: this.#protocol.self.addresses }
    for (const source of this.#deps.sources) {
      const announce = this.#reported(source.name, async () => source.announce?.(self))
      const stop = await this.#within(FIND_MS_MAX, announce)
      if (stop !== undefined) this.#stopAnnouncing.push(stop)
    }
  }

  async #firstRound(): Promise<void> {
    await this.#round()
    await this.settled(1)
  }

  #roundLater(): void {
    if (this.#stopped.signal.aborted) return
    const everyMs = this.#rounds < EARLY_ROUNDS ? ROUND_EVERY_MS : ROUND_SELDOM_MS
    const inMs = everyMs * (0.75 + this.#deps.random.float() / 2)
    this.#disarmRound = this.#deps.clock.after(inMs, () => void this.#round().finally(() => this.#roundLater()))
  }

  /** Asks every source and dials what is new. */
  async #round(): Promise<void> {
    if (this.#stopped.signal.aborted) return
    this.#rounds++
    const found = await Promise.all(this.#deps.sources.map(source => this.#find(source)))
    const named = found.flat().flatMap(address => this.#expanded(address))
    const fresh = [...new Set(named)].filter(address => !this.#isKnown(address))
    while (fresh.length > 0) await Promise.all(fresh.splice(0, DIALS_AT_ONCE).map(address => this.#try(address)))
  }

  /** A source may name a range of ports, and may be wrong. */
  #expanded(address: Address): readonly Address[] {
    try {
      return expandRange(address)
    } catch (error) {
      this.#discoveryFailed(`address '${address}'`, error)
      return []
    }
  }

  /** Members of the view are dialled by the protocol; an address under another name is known by who answered there. */
  #isKnown(address: Address): boolean {
    const who = this.#answered.get(address)
    if (who !== undefined && (who === this.#protocol.self.id || this.#protocol.isLinked(who))) return true
    return this.#protocol.view.present().some(member => member.addresses.includes(address))
  }

  async #find(source: DiscoverySource): Promise<readonly Address[]> {
    const giveUp = new AbortController()
    const disarm = this.#deps.clock.after(FIND_MS_MAX, () => giveUp.abort(new Error('discovery took too long')))
    // A look-up that outlives this member would keep its process.
    const forget = whenAborted(this.#stopped.signal, () => giveUp.abort(new Error('this member has left')))
    try {
      const find = this.#reported(source.name, async () => source.find({ signal: giveUp.signal }))
      return (await this.#within(FIND_MS_MAX, find)) ?? []
    } finally {
      forget()
      disarm()
    }
  }

  async #try(address: Address): Promise<void> {
    try {
      const found = await this.#deps.transport.connect(address)
      if (this.#answered.size < ANSWERED_MAX) this.#answered.set(address, found)
    } catch (error) {
      // Nobody there, or a stranger: the next round tries again.
      this.#deps.log.debug({ address, err: error }, 'a discovered address did not answer')
    }
  }

  /** What an application's source does wrong is said and is not our failure. */
  async #reported<T>(what: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work()
    } catch (error) {
      // Once we have left, nobody will ask again.
      if (this.#stopped.signal.aborted) this.#deps.log.debug({ err: error }, `'${what}' failed while leaving`)
      else this.#discoveryFailed(what, error)
      return undefined
    }
  }

  #discoveryFailed(what: string, error: unknown): void {
    this.#deps.stats.discoveryFailuresTotal++
    const reason = error instanceof Error ? error.message : String(error)
    this.#deps.log.warn(
      { err: error, code: 'CACHEMESH_DISCOVERY' },
      `discovery '${what}' failed and will be asked again: ${reason}`
    )
  }

  #wakeStepWaiters(): void {
    for (const wake of [...this.#stepWaiters]) wake()
  }

  /** The result, or undefined when the time is up first; the work goes on without us. */
  #within<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      const disarm = this.#deps.clock.after(ms, () => resolve(undefined))
      work.then(resolve, reject).finally(disarm)
    })
  }
}
