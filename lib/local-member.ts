/**
 * One member of a mesh as a whole: how it begins, what it can be asked, how it ends. Its parts are put together in
 * `parts.ts`. The same class runs over real sockets and in the simulator: it takes every port as an argument.
 *
 * States: joining ─▶ ready ─▶ leaving ─▶ left. A member that is leaving still answers its own callers through the
 * others; one that has left answers nobody.
 */
import { unlessAborted } from './base/abort.ts'
import { got, MeshError } from './base/errors.ts'
import { type Duration, durationMs, TIMER_MS_MAX } from './base/units.ts'
import type { Cache, LoadingCache } from './cache.ts'
import type { CacheOptions, CounterOptions } from './cache-options.ts'
import type { Cached } from './caches.ts'
import type { DeleteOptions } from './calls.ts'
import type { Key, KeyPart } from './codec/keys.ts'
import type { Counter } from './counter.ts'
import { checkNames, checkSignal, refuse, timerMs } from './door.ts'
import type { May } from './fill/definition.ts'
import { type Member, memberOf } from './member.ts'
import type { ViewChanges } from './membership/view-changes.ts'
import type { Mesh, MeshEvents, MeshStats, ReadyOptions } from './mesh.ts'
import type { HotKey } from './near/demand.ts'
import { Events } from './observe/events.ts'
import type { Left } from './observe/movement.ts'
import { withWarnings } from './observe/warnings.ts'
import type { MeshSettings } from './options.ts'
import { Parts, type Ports } from './parts.ts'
import { sweep } from './store/sweep.ts'
import { MeshTopic, type Topic } from './topic.ts'

const LEAVE_DEADLINE = '5s'
/** How often it is looked at how far a member that joins has come. */
const WARMING_MS = 20
/** How often a member that leaves looks whether what it had under way is over. */
const FINISHING_MS = 10

export class LocalMember implements Mesh {
  readonly #ports: Ports
  readonly #settings: MeshSettings
  readonly #events: Events<MeshEvents>
  readonly #parts: Parts
  #state: Mesh['state'] = 'joining'
  #leaving: Promise<Left> | undefined
  #stopSweep = (): void => {}

  constructor(ports: Ports, settings: MeshSettings) {
    this.#settings = settings
    this.#ports = { ...ports, log: withWarnings(ports.log, warning => this.#events.emit('warning', warning)) }
    this.#events = new Events(this.#ports.log)
    this.#parts = new Parts(this.#ports, settings, {
      isLeaving: () => this.#state === 'leaving',
      checkOpen: () => this.#checkServing(),
      onView: changes => this.#viewChanged(changes),
      onMoved: moved => this.#events.emit('moved', moved)
    })
  }

  /** For the simulator alone, which looks inside. */
  get parts(): Parts {
    return this.#parts
  }

  get id(): string {
    return this.#ports.transport.self
  }

  get name(): string {
    return this.#settings.name
  }

  get state(): Mesh['state'] {
    return this.#state
  }

  get members(): readonly Member[] {
    return this.#parts.membership.view.present().map(record => memberOf(record, this.id))
  }

  /** Listens, looks for others for one round, and is ready, alone or not. */
  async start(): Promise<void> {
    const addresses = await this.#ports.transport.start(this.#parts.links)
    this.#stopSweep = sweep(this.#parts.store, this.#ports.clock, this.#parts.meshClock)
    this.#parts.filters.viewChanged(this.#parts.membership.view)
    this.#parts.replication.start()
    await this.#parts.membership.join(addresses)
    if (this.#state !== 'joining') return
    this.#state = 'ready'
    this.#events.emit('ready', undefined)
  }

  cache<R, K extends Key = string>(
    name: string,
    options?: CacheOptions<Exclude<R, undefined>, K> | undefined
  ): LoadingCache<R, K> & Cache<R, K> {
    this.#checkOpen()
    return this.#parts.caches.cache(name, options as never) as never
  }

  cached<A extends KeyPart[], R>(
    name: string,
    fn: (...args: A) => May<R>,
    options: Omit<CacheOptions<Exclude<R, undefined>, A>, 'load' | 'exists'>
  ): Cached<A, R> {
    this.#checkOpen()
    return this.#parts.caches.cached(name, fn as never, options as never) as never
  }

  counter<K extends Key = string>(name: string, options: CounterOptions): Counter<K> {
    this.#checkOpen()
    return this.#parts.caches.counter(name, options) as never
  }

  async invalidateTag(tag: string | readonly string[], options?: DeleteOptions): Promise<void> {
    await this.#parts.caches.invalidateTag(tag, options)
  }

  topic<T>(name: string): Topic<T> {
    this.#checkOpen()
    const { topics } = this.#parts
    return new MeshTopic(name, { self: this.id, topics, checkOpen: () => this.#checkOpen() }) as Topic<T>
  }

  async ready(options: ReadyOptions = {}): Promise<void> {
    this.#checkOpen()
    checkNames(options, READY, 'ready')
    const { members = this.#settings.minMembers, warm = 0, signal, timeout } = options
    if (!Number.isInteger(members) || members < 1) {
      throw new MeshError(
        'ERR_MESH_OPTION',
        `Expected members of ready to be a whole number above 0, got ${got(members)}.`
      )
    }
    if (!(typeof warm === 'number' && warm >= 0 && warm <= 1))
      refuse('warm of ready', 'a number from 0 to 1', warm, '0.9 is nine tenths of what this member owns.')
    checkSignal(signal, 'ready')
    const timeoutMs = timeout === undefined ? undefined : timerMs(timeout, 'timeout')
    const endMs = timeoutMs === undefined ? undefined : this.#ports.clock.monotonic() + timeoutMs
    await this.#parts.membership.settled(members, { signal, timeoutMs })
    this.#checkOpen()
    await this.#warmed(warm, endMs, signal)
  }

  async leave(options: { deadline?: Duration } = {}): Promise<Left> {
    checkNames(options, LEAVE, 'leave')
    const deadlineMs = durationMs(options.deadline ?? LEAVE_DEADLINE, 'deadline', 'zero')
    this.#leaving ??= this.#leave(Math.min(deadlineMs, TIMER_MS_MAX))
    return this.#leaving
  }

  stats(): MeshStats {
    return {
      ...this.#parts.stats,
      members: this.#parts.membership.view.present().length,
      partitionsOwned: this.#parts.ownership.partitionsOwned(),
      partitionsWithoutBackup: this.#parts.replication.partitionsWithoutBackup(),
      partitionsWarming: this.#parts.replication.partitionsWarming,
      transferPendingRecords: this.#parts.replication.pendingRecords,
      viewInDoubt: this.#parts.membership.isCertain() ? 0 : 1,
      healthScore: this.#parts.membership.healthScore,
      memoryBytes: this.#parts.store.bytes,
      memoryLimitBytes: this.#settings.memoryBytes,
      filterBytes: this.#parts.filters.bytes,
      records: this.#parts.store.size,
      nearEntries: this.#parts.near.size,
      nearBytes: this.#parts.near.bytes,
      hotKeys: this.#parts.near.demand.hotKeys,
      loadsInProgress: this.#parts.flights.size,
      loadsQueued: this.#parts.guard.queued,
      breakersOpen: this.#parts.guard.breakersOpen,
      storesPending: this.#parts.behind.size
    }
  }

  hotKeys(): HotKey[] {
    return this.#parts.near.demand.list()
  }

  on<E extends keyof MeshEvents>(event: E, listener: (event: MeshEvents[E]) => void): () => void {
    return this.#events.on(event, listener)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.leave()
  }

  async #warmed(share: number, endMs: number | undefined, signal: AbortSignal | undefined): Promise<void> {
    const { clock } = this.#ports
    while (this.#parts.replication.warmShare() < share) {
      const leftMs = endMs === undefined ? WARMING_MS : endMs - clock.monotonic()
      if (leftMs <= 0) throw this.#cold(share)
      const pauseMs = Math.min(WARMING_MS, leftMs)
      await unlessAborted(signal, () => new Promise<void>(resolve => clock.after(pauseMs, resolve)))
      this.#checkOpen()
    }
  }

  async #leave(deadlineMs: number): Promise<Left> {
    const untilMs = this.#ports.clock.monotonic() + deadlineMs
    this.#state = 'leaving'
    this.#parts.behind.beginLeaving()
    await this.#parts.membership.leave(deadlineMs)
    await this.#finish(untilMs)
    const left = await this.#parts.replication.handOver(untilMs)
    // The others count our calls of the origin for as long as we are linked: they must not begin as many beside them.
    if (this.#parts.links.peers().length > 0) await this.#parts.guard.idle(untilMs - this.#ports.clock.monotonic())
    // Others own our keys now and nothing more is taken on; whoever they are must still hear what is stored late.
    await this.#parts.behind.emptied(untilMs - this.#ports.clock.monotonic())
    this.#parts.behind.stop()
    this.#parts.topics.stop()
    await this.#parts.membership.stop()
    this.#parts.budgets.stop()
    await this.#ports.transport.stop()
    this.#parts.replication.stop()
    this.#stopSweep()
    this.#parts.filters.stop()
    this.#parts.near.stop()
    this.#state = 'left'
    this.#parts.routes.changed()
    return left
  }

  /**
   * What is under way comes to its end: calls of our own callers, and loads that others wait for, who would have to call
   * the origin again.
   */
  async #finish(untilMs: number): Promise<void> {
    const { clock } = this.#ports
    const asksStill = this.#parts.client.watch()
    const isBusy = (): boolean => this.#parts.flights.awaited + this.#parts.leased.size > 0 || asksStill()
    while (isBusy() && clock.monotonic() < untilMs)
      await new Promise<void>(resolve => clock.after(Math.min(FINISHING_MS, untilMs - clock.monotonic()), resolve))
  }

  #checkOpen(): void {
    if (this.#state === 'left') throw this.#gone()
  }

  #gone(): MeshError {
    return new MeshError('ERR_MESH_LEFT', `This member has left the mesh '${this.name}'. Create a new one to go on.`)
  }

  /** Asked by every call: so short that it is compiled into it. */
  #checkServing(): void {
    this.#checkOpen()
    if (this.#settings.minMembers > 1) this.#checkMembers()
  }

  /** Fewer than these may be the smaller side of a split, and must not answer for the whole. */
  #checkMembers(): void {
    const { minMembers } = this.#settings
    const here = this.#parts.membership.view.present().length
    if (here >= minMembers) return
    throw new MeshError(
      'ERR_MESH_MIN_MEMBERS',
      `The mesh '${this.name}' serves with ${minMembers} members or more (minMembers), and this one sees ${here}, itself included. Nothing was done. Try again when the others are back.`
    )
  }

  #cold(share: number): MeshError {
    const is = Math.floor(this.#parts.replication.warmShare() * 1_000) / 10
    return new MeshError(
      'ERR_MESH_TIMEOUT',
      `Of the partitions that this member of the mesh '${this.name}' owns, ${is} % are here in full, and ready waits for ${share * 100} %. Wait longer, or for less; stats().transferPendingRecords says how far it is.`
    )
  }

  #viewChanged({ gone, come, suspected }: ViewChanges): void {
    for (const record of gone) this.#events.emit('leave', memberOf(record, this.id))
    for (const record of come) this.#events.emit('join', memberOf(record, this.id))
    for (const record of suspected) this.#events.emit('suspect', memberOf(record, this.id))
    this.#events.emit('view', this.members)
  }
}

const READY: ReadonlySet<string> = new Set(['members', 'warm', 'signal', 'timeout'])
const LEAVE: ReadonlySet<string> = new Set(['deadline'])
