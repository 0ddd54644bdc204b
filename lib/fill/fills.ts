/**
 * How a missing or stale value is had: by whom it is loaded, who waits for it, what becomes of it.
 *
 *   a read finds nothing ─▶ join the flight of the key, or open one ─▶ who loads?
 *        │                                                              ├─ its owner before us, if it is at it: follow
 *        │                                                              ├─ our registered loader
 *        │                                                              └─ the first caller, under a lease
 *        ├─ the last load failed a moment ago: what is stale, else a typed error, and nobody loads
 *   a read finds something stale ─▶ answered; one load behind
 *
 * A flight goes on as long as somebody in the mesh wants it: a waiter here, the callers of the holder of its lease, or
 * the cache itself (a refresh behind). With the last of them the origin call is aborted.
 *
 * When it lands it is stored only if nothing has happened to the key since its lease; those who wait get it in any
 * case, for their reads began before. A failure reaches each waiter once, or what is stale in its place where the
 * cache allows that, and begins a back-off.
 */
import { decodeKey } from '../codec/keys.ts'
import type { Cancel, Clock } from '../ports/clock.ts'
import type { Detach } from '../ports/context.ts'
import type { PeerId } from '../ports/transport.ts'
import type { LeaseTalk, LoadReason, MessageOf, Reply } from '../rpc/messages.ts'
import { isNewer } from '../store/version.ts'
import type { CacheDefinition, LoadContext, May } from './definition.ts'
import type { Flight, Waiter } from './flight.ts'
import { isTakenBy, Landings, type LandingsDeps, LOAD_MS_MAX, ownVersionOf, withoutValue } from './landings.ts'
import type { Moves } from './moves.ts'
import type { Origin } from './origin.ts'

/** A lease not renewed for this long has lost its holder. Holders renew three times as often. */
export const LEASE_MS = 3_000

type Respond = (reply: Reply) => void
export type Ask = MessageOf<'read'>
/** Why a load is begun for who asks so. */
const REASONS = { usual: 'miss', fresh: 'miss', refresh: 'stale', warm: 'warm' } as const

export interface FillsDeps extends LandingsDeps {
  readonly boot: number
  readonly clock: Clock
  readonly moves: Moves
  readonly origin: Origin
  readonly detach: Detach
  readonly partitionOf: (namespace: string, key: string) => number
  /** Tells the holder of a lease that nobody wants what it loads. */
  readonly tell: (peer: PeerId, notice: LeaseTalk) => void
  /** Asks the owner before us; an undefined reply is none. What it returns takes the question back. */
  readonly follow: (
    peer: PeerId,
    ask: MessageOf<'follow'>,
    onReply: (reply: Reply | undefined) => void
  ) => Cancel | undefined
}

/** A caller that has found no owner brings its loader along. */
export interface Alone {
  readonly definition: CacheDefinition
  readonly encodedKey: string
  readonly load: (context: LoadContext) => May<unknown>
  readonly ttlMs: number
  readonly tags: readonly string[] | undefined
  /** Default: nothing stale, for there is nothing stored. A backup has what it keeps of the key. */
  readonly wish?: Ask['wish']
  /** What the caller has seen of it: a load that began before that is none of its. */
  readonly floorStamp: number
}

export class Fills {
  readonly #deps: FillsDeps
  readonly #landings: Landings
  /** Where a key is asked for again from the beginning. */
  readonly #readAnew: (peer: PeerId, ask: Ask, respond: Respond) => Cancel | undefined

  constructor(deps: FillsDeps, readAnew: (peer: PeerId, ask: Ask, respond: Respond) => Cancel | undefined) {
    this.#deps = deps
    this.#landings = new Landings(deps, (flight, waiter) => this.#asksAnew(flight, waiter))
    this.#readAnew = readAnew
  }

  /** For a read that nothing stored has answered; what it returns takes the asker out again. */
  join(peer: PeerId, ask: Ask, respond: Respond): Cancel | undefined {
    const { flights, partitionOf, clock, meshClock } = this.#deps
    const { namespace, key, mode, wish } = ask
    const running = flights.find(namespace, key)
    if (running === undefined) {
      // A key that no member would have written throws here, before anything has changed.
      decodeKey(key)
      if (this.#landings.isLeftAlone(ask, respond)) return undefined
    }
    const waiter: Waiter = {
      peer,
      mode: mode === 'lease' ? 'lease' : 'load',
      wish,
      sinceMs: meshClock.now(),
      respond: wish === 'warm' ? withoutValue(respond) : respond,
      withdraw: () => {},
      disarm: () => {}
    }
    const flight =
      running ?? flights.begin(namespace, key, partitionOf(namespace, key), REASONS[wish], clock.monotonic())
    flight.waiters.add(waiter)
    waiter.withdraw = () => this.#withdraw(flight, waiter)
    if (running === undefined) this.#work(flight)
    else if (wish !== 'warm') flight.promote()
    if (flight.waiters.has(waiter)) {
      waiter.respond({ type: 'waiting' })
      this.#armPatience(flight, waiter)
    }
    // Asked for when it is called: by then the waiter may have moved to another flight.
    return () => waiter.withdraw()
  }

  /**
   * Has a value that is stale, or soon will be, loaded behind its reader: here, or by the asker under the lease that is
   * handed to it. Does nothing where that is under way or was tried in vain a moment ago.
   */
  behind(peer: PeerId, { namespace, key, mode }: Ask, reason: LoadReason): MessageOf<'lease'> | undefined {
    const { flights, backOffs, stats, clock, partitionOf } = this.#deps
    if (flights.find(namespace, key) !== undefined || backOffs.of(namespace, key) !== undefined) return undefined
    if (mode === 'stored') return undefined
    const load = this.#deps.definition(namespace)?.load
    const flight = flights.begin(namespace, key, partitionOf(namespace, key), reason, clock.monotonic())
    flight.behind = true
    if (reason === 'early') stats.refreshesEarlyTotal++
    else stats.refreshesStaleTotal++
    if (mode === 'load' && load !== undefined) {
      this.#loadHere(flight, this.#deps.definition(namespace) as CacheDefinition, load)
      return undefined
    }
    const lease = this.#grant(flight, peer)
    flight.holderWaits = false
    return lease
  }

  /** A caller of this member has nobody to ask, or asks us for want of its owner: one load for all who ask here, unstored. */
  alone(peer: PeerId, alone: Alone, respond: Respond): Cancel | undefined {
    const { flights, clock, stats, meshClock } = this.#deps
    const { definition, encodedKey, load, ttlMs, tags, wish = 'fresh' } = alone
    const { namespace } = definition
    const moved = flights.findMoved(namespace, encodedKey)
    if (moved !== undefined && moved.stamp >= alone.floorStamp) return this.#joinMoved(moved, peer, alone, respond)
    const running = flights.findAlone(namespace, encodedKey)
    const ask = { type: 'read', namespace, key: encodedKey, mode: 'load', wish } as const
    if (running === undefined && this.#landings.isLeftAlone(ask, respond)) return undefined
    const waiter: Waiter = { peer, mode: 'load', wish, respond, withdraw: () => {}, disarm: () => {} }
    const flight = running ?? flights.beginAlone(namespace, encodedKey, clock.monotonic())
    flight.waiters.add(waiter)
    if (running === undefined) {
      stats.loadsUnstoredTotal++
      flights.lease(flight, meshClock.stamp(), undefined)
      this.#begin(flight, definition, { call: load, ttlMs, tags })
    }
    return () => this.#withdraw(flight, waiter)
  }

  /** We load it already, for those who waited when the key moved: who asks us for want of its new owner waits with them. */
  #joinMoved(flight: Flight, peer: PeerId, alone: Alone, respond: Respond): Cancel | undefined {
    const { wish = 'fresh' } = alone
    let withdraw: Cancel | undefined
    const heard = (reply: Reply): void => {
      if (reply.type === 'waiting') return
      // It has come to nothing, so it cannot be joined a second time.
      if (reply.type === 'notOwner') withdraw = this.alone(peer, alone, respond)
      else respond(reply)
    }
    const waiter: Waiter = { peer, mode: 'load', wish, respond: heard, withdraw: () => {}, disarm: () => {} }
    flight.waiters.add(waiter)
    waiter.withdraw = () => this.#withdraw(flight, waiter)
    withdraw = () => waiter.withdraw()
    flight.promote()
    return () => withdraw?.()
  }

  /** The key's new owner asks whether we are still loading it. */
  followed(peer: PeerId, { namespace, key }: MessageOf<'follow'>, respond: Respond): Cancel | undefined {
    const { flights } = this.#deps
    const flight = flights.findMoved(namespace, key) ?? flights.find(namespace, key)
    if (flight === undefined) {
      respond(this.#landings.handOver(namespace, key) ?? { type: 'absent' })
      return undefined
    }
    const waiter: Waiter = { peer, mode: 'follow', wish: 'usual', respond, withdraw: () => {}, disarm: () => {} }
    flight.waiters.add(waiter)
    flight.promote()
    respond({ type: 'waiting' })
    waiter.withdraw = () => this.#withdraw(flight, waiter)
    return () => waiter.withdraw()
  }

  /** A caller has loaded under our lease. */
  fill(peer: PeerId, fill: MessageOf<'fill'>): MessageOf<'filled'> {
    const flight = fill.boot === this.#deps.boot ? this.#deps.flights.byLease(fill.lease) : undefined
    if (flight === undefined || flight.holder !== peer || flight.key !== fill.key)
      return { type: 'filled', stored: false }
    return { type: 'filled', stored: this.#landings.land(flight, fill) }
  }

  /** The holder still loads, gives the lease back, or has nobody of its own left who waits. */
  holderSays(peer: PeerId, notice: LeaseTalk): void {
    const flight = notice.boot === this.#deps.boot ? this.#deps.flights.byLease(notice.lease) : undefined
    if (flight === undefined || flight.holder !== peer) {
      // We do not know this lease any more, so nobody waits for it here.
      if (notice.type === 'idle') this.#deps.tell(peer, { ...notice, type: 'drop' })
      return
    }
    if (notice.type === 'release') return this.#leaseLost(flight)
    if (notice.type === 'renew' && this.#mayRenew(flight)) return this.#armLease(flight)
    if (notice.type !== 'idle') return
    flight.holderWaits = false
    this.#endIfUnwanted(flight)
  }

  /** A member has gone from the view, or has been started anew: what it was loading is loaded by the next in line. */
  memberGone(peer: PeerId): void {
    for (const flight of this.#deps.flights.heldBy(peer)) this.#leaseLost(flight)
  }

  /** Something else has happened to the key. */
  changed(namespace: string, key: string, partition: number): void {
    const { flights, backOffs, moves } = this.#deps
    flights.fence(namespace, key)
    backOffs.forget(namespace, key)
    moves.changed(partition)
    this.#landings.forgetStandIn(namespace, key)
  }

  changedMatching(namespace: string, matches: (key: string) => boolean): void {
    const { flights, backOffs, moves } = this.#deps
    flights.fenceMatching(namespace, matches)
    backOffs.forgetMatching(namespace, matches)
    moves.cleared(namespace)
    this.#landings.forgetStandIns()
  }

  /** Of a cache, or of all: a load under way shows its tags when it lands. */
  tagsInvalidated(namespace: string, tags: readonly string[]): void {
    this.#landings.tagsInvalidated(namespace, tags)
  }

  lose(lost: (partition: number) => boolean): void {
    this.#deps.flights.movePartitions(lost)
    this.#deps.moves.lost(lost)
  }

  /** Finds somebody to load: who owned the key before, our own registered loader, or the oldest waiter. */
  #work(flight: Flight): void {
    if (this.#landings.landStandIn(flight) || this.#followOwn(flight) || this.#follow(flight)) return
    const definition = this.#deps.definition(flight.namespace)
    const load = definition?.load
    for (const waiter of flight.waiters) {
      if (waiter.mode === 'follow') continue
      if (waiter.mode === 'load' && load !== undefined)
        return this.#loadHere(flight, definition as CacheDefinition, load)
      return this.#leaseTo(flight, waiter)
    }
    // Who follows has a loader of its own.
    this.#deps.flights.end(flight)
    for (const waiter of flight.waiters) waiter.respond({ type: 'absent' })
  }

  #follow(flight: Flight): boolean {
    const { moves, flights, meshClock } = this.#deps
    const before = flight.mayFollow ? moves.before(flight.partition, flight.namespace) : undefined
    if (before === undefined) return false
    flight.followed = true
    this.#note(flight, `asked ${before}, its owner until now, for a load under way`)
    flights.lease(flight, meshClock.stamp(), undefined)
    const { namespace, key } = flight
    let isOver = false
    const cancel = this.#deps.follow(before, { type: 'follow', namespace, key }, reply => {
      isOver = true
      this.#followedTo(flight, reply)
    })
    // It may be refused at once, and then somebody else is at work already.
    if (cancel !== undefined && !isOver) flight.stop = cancel
    return cancel !== undefined
  }

  /** While it had no owner we have begun to load it as its copy, for those who could not wait. */
  #followOwn(flight: Flight): boolean {
    const { flights, meshClock, self, versionOf } = this.#deps
    const { namespace, key } = flight
    const alone = flight.mayFollow ? flights.findAlone(namespace, key) : undefined
    if (alone === undefined) return false
    flight.followed = true
    this.#note(flight, 'waits for what was begun here before the key had an owner')
    flights.lease(flight, meshClock.stamp(), undefined)
    // Nothing fences it: a change that its owner has made meanwhile has come here as a copy.
    const isOld = (): boolean => (versionOf(namespace, key)?.stamp ?? 0) >= alone.stamp
    const respond = (reply: Reply): void => this.#followedTo(flight, isOld() ? undefined : reply)
    const waiter: Waiter = { peer: self, mode: 'follow', wish: 'usual', respond, withdraw: () => {}, disarm: () => {} }
    alone.waiters.add(waiter)
    flight.stop = () => this.#withdraw(alone, waiter)
    return true
  }

  /** What the load of somebody else has come to. */
  #followedTo(flight: Flight, reply: Reply | undefined): void {
    flight.stop = () => {}
    this.#deps.stats.loadsFollowedTotal++
    if (reply?.type === 'followed' && isTakenBy(flight, reply) && this.#isNews(flight, reply))
      this.#landings.land(flight, reply, ownVersionOf(reply), ownVersionOf(reply) === undefined)
    // It has moved on, or was changed: whoever waits asks where it is now.
    else if (!flight.open) this.#askAnew(flight)
    else {
      this.#work(flight)
      this.#waitOn(flight)
    }
  }

  /** Who owned the key before may not have heard what became of it since: of a delete on our side of a split. */
  #isNews({ namespace, key }: Flight, reply: MessageOf<'followed'>): boolean {
    const [ours, theirs] = [this.#deps.versionOf(namespace, key), ownVersionOf(reply)]
    return ours === undefined || theirs === undefined || isNewer(theirs, ours)
  }

  #loadHere(flight: Flight, definition: CacheDefinition, load: NonNullable<CacheDefinition['load']>): void {
    this.#deps.flights.lease(flight, this.#deps.meshClock.stamp(), undefined)
    const call = (context: LoadContext): May<unknown> => this.#deps.detach(() => load(decodeKey(flight.key), context))
    this.#begin(flight, definition, { call, ttlMs: definition.ttlMs, tags: undefined, loadMany: definition.loadMany })
  }

  #begin(
    flight: Flight,
    definition: CacheDefinition,
    how: Pick<Parameters<Origin['begin']>[0], 'call' | 'ttlMs' | 'tags' | 'loadMany'>
  ): void {
    const { namespace, key: encodedKey, reason, waiters } = flight
    this.#note(flight, `load begun here, ${reason}`)
    const running = this.#deps.origin.begin({
      ...how,
      definition,
      key: decodeKey(encodedKey),
      reason,
      previous: this.#landings.previous(namespace, encodedKey),
      urgency: waiters.size > 0 && reason !== 'warm' ? 'user' : 'refresh'
    })
    flight.stop = running.abort
    flight.promote = running.promote
    void running.done.then(result => {
      // Given up meanwhile: what comes is for nobody.
      if (flight.stop !== running.abort) return
      flight.stop = () => {}
      this.#landings.land(flight, result)
    })
  }

  #leaseTo(flight: Flight, waiter: Waiter): void {
    flight.waiters.delete(waiter)
    waiter.disarm()
    const { respond } = waiter
    respond(this.#grant(flight, waiter.peer))
    if (waiter.wish === 'warm') flight.behind = true
  }

  #grant(flight: Flight, holder: PeerId): MessageOf<'lease'> {
    const { flights, meshClock, clock, boot } = this.#deps
    flights.lease(flight, meshClock.stamp(), holder)
    flight.grantedAtMs = clock.monotonic()
    this.#note(flight, `leased to ${holder}, ${flight.reason}`)
    this.#armLease(flight)
    const { stamp, reason, namespace, key } = flight
    return { type: 'lease', lease: stamp, boot, reason, previous: this.#landings.previous(namespace, key) }
  }

  #armLease(flight: Flight): void {
    flight.stop()
    flight.stop = this.#deps.clock.after(LEASE_MS, () => this.#leaseLost(flight))
  }

  /** A holder gives up at its own load timeout; one that does not even do that must not keep the key for ever. */
  #mayRenew({ namespace, grantedAtMs }: Flight): boolean {
    const loadMs = this.#deps.definition(namespace)?.loadTimeoutMs ?? LOAD_MS_MAX
    // It may have waited as long for its turn at the origin.
    return this.#deps.clock.monotonic() - grantedAtMs <= loadMs * 2 + LEASE_MS
  }

  #leaseLost(flight: Flight): void {
    flight.stop()
    flight.holderWaits = false
    this.#deps.stats.leasesLostTotal++
    this.#note(flight, `lease of ${flight.holder} ended without a result`)
    if (!flight.open) return this.#askAnew(flight)
    this.#work(flight)
    this.#waitOn(flight)
  }

  /** Whoever waits on waits for a load that has only just begun. */
  #waitOn(flight: Flight): void {
    for (const waiter of flight.waiters) waiter.respond({ type: 'waiting' })
  }

  /** The key has changed since these began to wait, and their worker is lost: they ask again, and may find it stored. */
  #askAnew(flight: Flight): void {
    this.#deps.flights.end(flight)
    for (const waiter of flight.waiters) this.#asksAnew(flight, waiter)
  }

  #asksAnew({ waiters, namespace, key, partition }: Flight, waiter: Waiter): void {
    waiters.delete(waiter)
    waiter.disarm()
    const { mode, wish, respond, peer } = waiter
    if (mode === 'follow') respond({ type: 'absent' })
    else if (!this.#deps.owns(partition)) respond({ type: 'notOwner' })
    else waiter.withdraw = this.#readAnew(peer, { type: 'read', namespace, key, mode, wish }, respond) ?? (() => {})
  }

  #withdraw(flight: Flight, waiter: Waiter): void {
    flight.waiters.delete(waiter)
    waiter.disarm()
    this.#endIfUnwanted(flight)
  }

  /** The last who wanted it has gone: whoever loads is told, and nobody may join what is being taken back. */
  #endIfUnwanted(flight: Flight): void {
    if (flight.isWanted) return
    const { holder, stamp } = flight
    const { flights, boot, tell, stats } = this.#deps
    if (flights.byLease(stamp) !== flight) return
    stats.loadsAbortedTotal++
    this.#note(flight, 'load given up: nobody waited any more')
    flights.end(flight)
    flight.stop = () => {}
    if (holder !== undefined) tell(holder, { type: 'drop', lease: stamp, boot })
  }

  #note({ namespace, key }: Flight, what: string): void {
    this.#deps.journal.note(namespace, key, what)
  }

  /** After `softTimeout` what is stale will do; the load goes on behind. */
  #armPatience(flight: Flight, waiter: Waiter): void {
    const softMs = this.#deps.definition(flight.namespace)?.softTimeoutMs ?? Number.POSITIVE_INFINITY
    if (softMs === Number.POSITIVE_INFINITY || waiter.wish !== 'usual') return
    waiter.disarm = this.#deps.clock.after(softMs, () => {
      const stale = this.#deps.stored(flight.namespace, flight.key)
      if (stale === undefined || !flight.waiters.delete(waiter)) return
      this.#deps.stats.softTimeoutsTotal++
      flight.behind = true
      this.#note(flight, `answered with what is stale after ${softMs} ms`)
      waiter.respond(this.#landings.stale(stale))
    })
  }
}
