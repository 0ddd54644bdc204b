/**
 * What this member does for the partitions it owns: answer, load once, write, delete. Everything that is true of a key
 * is decided here, synchronously, in one process; local callers and remote ones take the same way.
 */
import { decodeCount, encodeCount, isExact } from '../codec/counts.ts'
import { decodeKey, isInRange, rangeOf } from '../codec/keys.ts'
import type { CacheDefinition } from '../fill/definition.ts'
import type { Flight, Flights, Waiter } from '../fill/flight.ts'
import { type LoadDeps, type LoadResult, startLoad } from '../fill/load.ts'
import type { Stats } from '../observe/stats.ts'
import type { Clock } from '../ports/clock.ts'
import type { Detach } from '../ports/context.ts'
import type { PeerId } from '../ports/transport.ts'
import type { Change, ChangeOf, MessageOf, Reply } from '../rpc/messages.ts'
import type { Entry } from '../store/entry.ts'
import type { Store } from '../store/store.ts'
import type { MeshClock } from '../store/version.ts'

/** A lease not renewed for this long has lost its holder. Holders renew three times as often. */
export const LEASE_MS = 3_000
/** How long a load may take where this member has not declared the cache. */
const UNKNOWN_LOAD_MS_MAX = 10 * 60_000
const TOMBSTONE_TTL_MS = 60_000
const NOTHING = new Uint8Array(0)

export interface OwnerDeps {
  readonly self: PeerId
  readonly boot: number
  readonly clock: Clock
  readonly meshClock: MeshClock
  readonly store: Store
  readonly flights: Flights
  readonly stats: Stats
  readonly load: LoadDeps
  readonly detach: Detach
  readonly definition: (namespace: string) => CacheDefinition | undefined
  readonly partitionOf: (namespace: string, key: string) => number
  readonly owns: (partition: number) => boolean
  readonly viewHash: () => number
}

export class Owner {
  readonly #deps: OwnerDeps

  constructor(deps: OwnerDeps) {
    this.#deps = deps
  }

  /** What is kept of a key and may be answered with. */
  stored(namespace: string, key: string): Entry | undefined {
    return this.#deps.store.value(namespace, key, this.#deps.meshClock.now())
  }

  /** The same for a reply that is written out within this turn, before the store is asked for anything else. */
  glance(namespace: string, key: string): Entry | undefined {
    return this.#deps.store.glance(namespace, key, this.#deps.meshClock.now())
  }

  /** Answers now or when the load it joins has landed; what it returns takes the asker out again. */
  read(peer: PeerId, ask: MessageOf<'read'>, respond: (reply: Reply) => void): (() => void) | undefined {
    const found = this.stored(ask.namespace, ask.key)
    if (found !== undefined) {
      const { version, expiresAtMs, negative, bytes } = found
      respond({ type: 'hit', stamp: version.stamp, writer: version.writer, expiresAtMs, negative, bytes })
      return undefined
    }
    if (ask.mode === 'stored') {
      respond({ type: 'absent' })
      return undefined
    }
    const waiter: Waiter = { peer, mode: ask.mode, respond, withdraw: () => {} }
    waiter.withdraw = this.#join(waiter, ask)
    // Asked for when it is called: by then the waiter may have moved to another flight.
    return () => waiter.withdraw()
  }

  /** Done now, in this very turn: between reading a record and changing it nothing else can happen to it. */
  perform(change: Change): Reply {
    switch (change.type) {
      case 'write':
        return this.write(change)
      case 'remove':
        return this.remove(change)
      case 'compareAndSet':
        return this.#compareAndSet(change)
      case 'touch':
        return this.#touch(change)
      case 'add':
        return this.#add(change)
      case 'clear':
        return this.#clear(change)
    }
  }

  write(ask: ChangeOf<'write'>): MessageOf<'written'> {
    const { namespace, key, bytes, ttlMs } = ask
    const stamp = this.#put(namespace, key, 'value', bytes, this.#inMs(ttlMs))
    return { type: 'written', stamp, writer: this.#deps.self }
  }

  /** Fences fills even where there is nothing to delete: the value may be on its way. */
  remove(ask: ChangeOf<'remove'>): MessageOf<'removed'> {
    const existed = this.#valueOf(ask) !== undefined
    this.#put(ask.namespace, ask.key, 'tombstone', NOTHING, this.#inMs(TOMBSTONE_TTL_MS))
    return { type: 'removed', existed }
  }

  #compareAndSet(ask: ChangeOf<'compareAndSet'>): MessageOf<'compared'> {
    const { namespace, key, expectedStamp, expectedWriter, bytes, ttlMs, keepTtl } = ask
    const found = this.#valueOf(ask)
    const { stamp: foundStamp, writer: foundWriter } = found?.version ?? { stamp: 0, writer: '' }
    if (foundStamp !== expectedStamp || foundWriter !== expectedWriter)
      return { type: 'compared', done: false, stamp: 0, writer: '' }
    const expiresAtMs = keepTtl && found !== undefined ? found.expiresAtMs : this.#inMs(ttlMs)
    const stamp = this.#put(namespace, key, 'value', bytes, expiresAtMs)
    return { type: 'compared', done: true, stamp, writer: this.#deps.self }
  }

  /** The version stays: the value is the one it was, and a value is never stamped anew (PROTOCOL F1). */
  #touch(ask: ChangeOf<'touch'>): MessageOf<'touched'> {
    const found = this.#valueOf(ask)
    if (found === undefined) return { type: 'touched', existed: false }
    return { type: 'touched', existed: this.#deps.store.put({ ...found, expiresAtMs: this.#inMs(ask.ttlMs) }) }
  }

  /** The TTL begins with the first add: a window of a rate limiter must end, however often it is counted in. */
  #add(ask: ChangeOf<'add'>): MessageOf<'added'> {
    const { namespace, key, by, ttlMs } = ask
    const found = this.#valueOf(ask)
    const before = found === undefined ? 0 : decodeCount(found.bytes)
    const expiresAtMs = found?.expiresAtMs ?? this.#inMs(ttlMs)
    if (!isExact(before + by)) return { type: 'added', done: false, value: before, expiresAtMs }
    this.#put(namespace, key, 'value', encodeCount(before + by), expiresAtMs)
    return { type: 'added', done: true, value: before + by, expiresAtMs }
  }

  /** Loads that run began before: their results go to those who wait and are not kept. */
  #clear({ namespace, prefix }: ChangeOf<'clear'>): MessageOf<'cleared'> {
    const { store, flights, viewHash } = this.#deps
    const range = rangeOf(prefix)
    flights.fenceMatching(namespace, key => isInRange(key, range))
    if (range.exact !== undefined) store.drop(namespace, range.exact)
    store.dropMatching(namespace, range.under)
    return { type: 'cleared', viewHash: viewHash() }
  }

  /** A caller has loaded under our lease. */
  fill(peer: PeerId, fill: MessageOf<'fill'>): MessageOf<'filled'> {
    const flight = fill.boot === this.#deps.boot ? this.#deps.flights.byLease(fill.lease) : undefined
    if (flight === undefined || flight.holder !== peer || flight.key !== fill.key)
      return { type: 'filled', stored: false }
    return { type: 'filled', stored: this.#land(flight, fill) }
  }

  /** The holder still loads, or gives the lease back. */
  holderSays(peer: PeerId, notice: MessageOf<'renew' | 'release'>): void {
    const flight = notice.boot === this.#deps.boot ? this.#deps.flights.byLease(notice.lease) : undefined
    if (flight === undefined || flight.holder !== peer) return
    if (notice.type === 'release') this.#leaseLost(flight)
    else if (this.#mayRenew(flight)) this.#armLease(flight)
  }

  /** A holder gives up at its own load timeout; one that does not even do that must not keep the key for ever. */
  #mayRenew({ namespace, grantedAtMs }: Flight): boolean {
    const loadMs = this.#deps.definition(namespace)?.loadTimeoutMs ?? UNKNOWN_LOAD_MS_MAX
    return this.#deps.clock.monotonic() - grantedAtMs <= loadMs + LEASE_MS
  }

  /** A member has gone from the view, or has been started anew: what it was loading is loaded by the next in line. */
  memberGone(peer: PeerId): void {
    for (const flight of this.#deps.flights.heldBy(peer)) this.#leaseLost(flight)
  }

  /** These partitions belong to another member now; it has the say, and we forget. */
  lose(lost: (partition: number) => boolean): void {
    this.#deps.flights.fencePartitions(lost)
    this.#deps.stats.recordsMovedAwayTotal += this.#deps.store.dropPartitions(lost)
  }

  #join(waiter: Waiter, ask: MessageOf<'read'>): () => void {
    const { flights } = this.#deps
    const running = flights.find(ask.namespace, ask.key)
    // A key that no member would have written throws here, before anything has changed.
    if (running === undefined) decodeKey(ask.key)
    const flight = running ?? flights.begin(ask.namespace, ask.key, this.#deps.partitionOf(ask.namespace, ask.key))
    flight.waiters.add(waiter)
    if (running === undefined) this.#work(flight)
    if (flight.waiters.has(waiter)) waiter.respond({ type: 'waiting' })
    return () => this.#withdraw(flight, waiter)
  }

  #withdraw(flight: Flight, waiter: Waiter): void {
    flight.waiters.delete(waiter)
    // Our own loader works for the waiters; a caller under a lease works for itself too and is left to finish.
    if (flight.waiters.size === 0 && flight.holder === undefined) this.#deps.flights.end(flight)
  }

  /** Finds somebody to load: our own registered loader, or the oldest waiter under a lease. */
  #work(flight: Flight): void {
    const definition = this.#deps.definition(flight.namespace)
    const load = definition?.load
    for (const waiter of flight.waiters) {
      if (waiter.mode === 'load' && load !== undefined)
        return this.#loadHere(flight, definition as CacheDefinition, load)
      return this.#leaseTo(flight, waiter)
    }
    this.#deps.flights.end(flight)
  }

  #loadHere(flight: Flight, definition: CacheDefinition, load: NonNullable<CacheDefinition['load']>): void {
    this.#deps.flights.lease(flight, this.#deps.meshClock.stamp(), undefined)
    const key = decodeKey(flight.key)
    const call = (context: Parameters<typeof load>[1]): unknown => this.#deps.detach(() => load(key, context))
    const { done, abort } = startLoad(this.#deps.load, { definition, key, ttlMs: definition.ttlMs, call })
    flight.stop = abort
    void done.then(result => {
      flight.stop = () => {}
      this.#land(flight, result)
    })
  }

  #leaseTo(flight: Flight, waiter: Waiter): void {
    flight.waiters.delete(waiter)
    this.#deps.flights.lease(flight, this.#deps.meshClock.stamp(), waiter.peer)
    flight.grantedAtMs = this.#deps.clock.monotonic()
    this.#armLease(flight)
    waiter.respond({ type: 'lease', lease: flight.stamp, boot: this.#deps.boot })
  }

  #armLease(flight: Flight): void {
    flight.stop()
    flight.stop = this.#deps.clock.after(LEASE_MS, () => this.#leaseLost(flight))
  }

  #leaseLost(flight: Flight): void {
    flight.stop()
    this.#deps.stats.leasesLostTotal++
    if (!flight.open) return this.#askAnew(flight)
    this.#work(flight)
    // Whoever waits on waits for a load that has only just begun.
    for (const waiter of flight.waiters) waiter.respond({ type: 'waiting' })
  }

  /** The key has changed since these began to wait, and their worker is lost: they ask again, and may find it stored. */
  #askAnew(flight: Flight): void {
    const { namespace, key } = flight
    this.#deps.flights.end(flight)
    const stillOurs = this.#deps.owns(flight.partition)
    for (const waiter of flight.waiters) {
      flight.waiters.delete(waiter)
      if (!stillOurs) {
        waiter.respond({ type: 'notOwner' })
        continue
      }
      const withdraw = this.read(waiter.peer, { type: 'read', namespace, key, mode: waiter.mode }, waiter.respond)
      if (withdraw !== undefined) waiter.withdraw = withdraw
    }
  }

  /** The result is here: keep it if nothing has happened to the key since the lease, and answer all who waited. */
  #land(flight: Flight, result: LoadResult): boolean {
    // Asked before anything else: a view that took the partition away fences the flight here at the latest.
    const wasOpen = this.#deps.owns(flight.partition) && flight.open
    this.#deps.flights.end(flight)
    const keep = result.code === 'value' && result.ttlMs > 0
    if (keep && !wasOpen) this.#deps.stats.fillsFencedTotal++
    const keptUntilMs = this.#inMs(result.ttlMs)
    const stored = keep && wasOpen && this.#store(flight, result, keptUntilMs)
    const { code, bytes, failure, negative } = result
    // What is not kept has expired already, and a version that no record will ever have.
    const expiresAtMs = stored ? keptUntilMs : this.#deps.meshClock.now()
    const { stamp } = flight
    const writer = this.#deps.self
    for (const waiter of flight.waiters)
      waiter.respond({ type: 'loaded', code, bytes, failure, negative, stamp, writer, expiresAtMs })
    return stored
  }

  #store(flight: Flight, result: LoadResult, expiresAtMs: number): boolean {
    const { namespace, key, partition, stamp } = flight
    const version = { stamp, writer: this.#deps.self }
    return this.#deps.store.put({
      namespace,
      key,
      partition,
      version,
      kind: 'value',
      bytes: result.bytes,
      expiresAtMs,
      negative: result.negative
    })
  }

  /** A record that is a value to callers: not expired, no tombstone, and not the mark that a loader found nothing. */
  #valueOf({ namespace, key }: { namespace: string; key: string }): Entry | undefined {
    const found = this.#deps.store.value(namespace, key, this.#deps.meshClock.now())
    return found?.negative === true ? undefined : found
  }

  #inMs(ttlMs: number): number {
    return this.#deps.meshClock.now() + ttlMs
  }

  #put(namespace: string, key: string, kind: 'value' | 'tombstone', bytes: Uint8Array, expiresAtMs: number): number {
    const stamp = this.#deps.meshClock.stamp()
    this.#deps.flights.fence(namespace, key)
    const partition = this.#deps.partitionOf(namespace, key)
    const version = { stamp, writer: this.#deps.self }
    this.#deps.store.put({ namespace, key, partition, version, kind, bytes, expiresAtMs, negative: false })
    return stamp
  }
}
