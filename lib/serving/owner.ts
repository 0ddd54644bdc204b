/**
 * What this member does for the partitions it owns: answer, load once, write, delete. Everything that is true of a key
 * is decided here, synchronously, in one process; local callers and remote ones take the same way.
 */
import { decodeCount, encodeCount, isExact } from '../codec/counts.ts'
import { decodeKey } from '../codec/keys.ts'
import { Fills, type FillsDeps } from '../fill/fills.ts'
import { keptReply } from '../fill/landings.ts'
import type { WriteBehind } from '../fill/write-behind.ts'
import type { Random } from '../ports/random.ts'
import type { PeerId } from '../ports/transport.ts'
import type { Change, ChangeOf, MessageOf, Reply } from '../rpc/messages.ts'
import type { Answered } from '../rpc/replica-talk.ts'
import { BACKUPS_MAX } from '../rpc/words.ts'
import type { Entry } from '../store/entry.ts'
import type { Floored } from '../store/floor.ts'
import {
  freshUntil,
  isDue,
  isPlainlyFresh,
  type KeepTerms,
  type Kept,
  keptAnew,
  keptAs,
  keptFrom,
  softened,
  withShadow
} from '../store/keeping.ts'
import type { Store } from '../store/store.ts'
import { isExpected, type Version } from '../store/version.ts'
import { clear } from './clearing.ts'
import { RowVersions } from './row-versions.ts'
import { Tickets } from './tickets.ts'

const NOTHING = new Uint8Array(0)

/** What the origin may be to get. */
type ForOrigin = ChangeOf<'write' | 'remove' | 'compareAndSet'>

/** A key, and how many backups it is to have where somebody has said so. */
interface About {
  readonly namespace: string
  readonly key: string
  readonly backups?: number
}

export interface OwnerDeps extends Omit<FillsDeps, 'stored' | 'versionOf' | 'keep' | 'killer'> {
  readonly store: Store
  readonly behind: WriteBehind
  /** For early refreshes and tickets. */
  readonly random: Random
  readonly viewHash: () => number
  readonly tombstoneTtlMs: number
  readonly copies: {
    /** A record of ours has changed; `answer`: what its writer is told. */
    changed(entry: Entry, answer: Answered): void
    /** Looks at others for what we have not got yet; false where nobody can have it, and then nothing is called back. */
    look(namespace: string, key: string, onOver: () => void): boolean
    /** Others may have something that we have not. */
    isWarming(partition: number): boolean
    /** Others may have a newer one than this record of ours. */
    mayBeOld(entry: Entry): boolean
  }
  /** Without it every key may exist, and nobody needs to know which have values. */
  readonly filters?: {
    mayExist(namespace: string, key: string): boolean
    hasValue(namespace: string, key: string): void
  }
}

export class Owner {
  readonly #deps: OwnerDeps
  /** How what is missing or stale is had. */
  readonly fills: Fills
  readonly rows: RowVersions
  readonly #tickets: Tickets
  /** The record that the change under way has made. */
  #made: Entry | undefined

  constructor(deps: OwnerDeps) {
    this.#deps = deps
    const hooks = {
      stored: (namespace: string, key: string) => this.stored(namespace, key),
      killer: (record: Floored, stamp: number) => deps.store.killer(record, stamp),
      versionOf: (namespace: string, key: string) => deps.store.versionOf(namespace, key)?.version,
      keep: (entry: Entry) => {
        if (!entry.negative) deps.filters?.hasValue(entry.namespace, entry.key)
        const isKept = deps.store.put(this.#shadowed(entry))
        if (isKept) deps.copies.changed(entry, undefined)
        return isKept
      }
    }
    this.fills = new Fills({ ...deps, ...hooks }, (peer, ask, respond) => this.read(peer, ask, respond))
    this.rows = new RowVersions(deps)
    const onOverdue = (namespace: string, key: string): void => this.#overdue(namespace, key)
    this.#tickets = new Tickets({ clock: deps.clock, random: deps.random, onOverdue })
  }

  /** What is kept of a key and may be answered with, stale or not. */
  stored(namespace: string, key: string): Entry | undefined {
    return this.#deps.store.value(namespace, key, this.#deps.meshClock.now())
  }

  /**
   * What may be answered with and needs nothing else done, for a reply that is written out within this turn, before the
   * store is asked for anything else.
   */
  glance(namespace: string, key: string): Entry | undefined {
    const found = this.#deps.store.glance(namespace, key, this.#deps.meshClock.now())
    return found !== undefined && this.isPlain(found) && !this.#deps.copies.mayBeOld(found) ? found : undefined
  }

  /** Nothing is to be done about it but to answer with it. */
  isPlain({ keeping }: Entry): boolean {
    return keeping === undefined || isPlainlyFresh(keeping, this.#deps.meshClock.now())
  }

  /** False where there is something that `glance` leaves to a read, or may be at another member still. */
  isAbsent(namespace: string, key: string): boolean {
    const { store, meshClock, copies, partitionOf } = this.#deps
    if (store.glance(namespace, key, meshClock.now()) !== undefined) return false
    return !copies.isWarming(partitionOf(namespace, key))
  }

  /** Answers now or when the load it joins has landed; what it returns takes the asker out again. */
  read(peer: PeerId, ask: MessageOf<'read'>, respond: (reply: Reply) => void): (() => void) | undefined {
    return this.#readElsewhere(peer, ask, respond) ?? this.#readHere(peer, ask, respond)
  }

  #readHere(peer: PeerId, ask: MessageOf<'read'>, respond: (reply: Reply) => void): (() => void) | undefined {
    const found = ask.wish === 'refresh' ? undefined : this.stored(ask.namespace, ask.key)
    const answer = found === undefined ? undefined : this.#answerTo(peer, ask, found)
    if (answer !== undefined) {
      respond(answer)
      return undefined
    }
    if (ask.mode === 'stored' || !this.#mayBegin(ask)) {
      respond({ type: 'absent' })
      return undefined
    }
    return this.#readOnceStored(peer, ask, respond) ?? this.fills.join(peer, ask, respond)
  }

  /** What has come to us a moment ago is looked for at those who had it, before it counts as missing. */
  #readElsewhere(peer: PeerId, ask: MessageOf<'read'>, respond: (reply: Reply) => void): (() => void) | undefined {
    const { copies, partitionOf, owns } = this.#deps
    const { namespace, key } = ask
    const partition = partitionOf(namespace, key)
    if (!copies.isWarming(partition)) return undefined
    const here = this.stored(namespace, key)
    if (here !== undefined && !copies.mayBeOld(here)) return undefined
    // A key that no member would have written throws here, and not when somebody has answered.
    decodeKey(key)
    let withdraw: (() => void) | undefined
    let isOver = false
    const isLooking = copies.look(namespace, key, () => {
      if (isOver) return
      if (owns(partition)) withdraw = this.#readHere(peer, ask, respond)
      else respond({ type: 'notOwner' })
    })
    if (!isLooking) return undefined
    return () => {
      isOver = true
      withdraw?.()
    }
  }

  /**
   * False for a key that cannot exist: the registered loader is not asked for it. A caller's own makes the value rather
   * than finds it, so it runs; and a load that runs already has been found worth while.
   */
  #mayBegin({ namespace, key, mode }: MessageOf<'read'>): boolean {
    const { filters, flights } = this.#deps
    if (filters === undefined || mode !== 'load') return true
    return flights.find(namespace, key) !== undefined || filters.mayExist(namespace, key)
  }

  /** What is stored, if it may be answered with; what is to be loaded behind it is begun. */
  #answerTo(peer: PeerId, ask: MessageOf<'read'>, found: Entry): Reply | undefined {
    const { version, expiresAtMs, negative, bytes, keeping } = found
    if (keeping === undefined) {
      const { stamp, writer } = version
      return { type: 'hit', stamp, writer, expiresAtMs, negative, bytes: ask.wish === 'warm' ? NOTHING : bytes }
    }
    const nowMs = this.#deps.meshClock.now()
    const isStale = keeping.freshUntilMs <= nowMs
    if (isStale && ask.wish !== 'usual') return undefined
    if (isStale && ask.mode !== 'stored' && keeping.revalidateUntilMs <= nowMs) return undefined
    const isToLoad = isStale || isDue(keeping, nowMs, this.#deps.random.float())
    // What the origin does not have yet must not be replaced by what it still has.
    const mayLoad = isToLoad && !this.#deps.behind.isPending(ask.namespace, ask.key)
    const lease = mayLoad ? this.fills.behind(peer, ask, isStale ? 'stale' : 'early') : undefined
    const isForNobody = ask.wish === 'warm' && lease === undefined
    const kept = keptReply(isForNobody ? { ...found, bytes: NOTHING } : found, isStale)
    return lease === undefined ? kept : { ...kept, lease: lease.lease, boot: lease.boot, reason: lease.reason }
  }

  /**
   * Done now, in this very turn: between reading a record and changing it nothing else can happen to it. What was made
   * goes to those who keep copies, with what its writer is told of it.
   */
  perform(change: Change, answered?: (reply: Reply) => Answered): Reply {
    this.#made = undefined
    const reply = this.#perform(change)
    const made = this.#made as Entry | undefined
    this.#made = undefined
    if (made !== undefined) this.#deps.copies.changed(made, answered?.(reply))
    return reply
  }

  #perform(change: Change): Reply {
    if ('origin' in change && change.origin === 'behind' && !this.#hasRoomBehind(change)) return { type: 'overloaded' }
    switch (change.type) {
      case 'write':
        return this.write(change)
      case 'remove':
        return this.rows.once(change, () => this.remove(change))
      case 'compareAndSet':
        return this.#compareAndSet(change)
      case 'touch':
        return this.#touch(change)
      case 'add':
        return this.#add(change)
      case 'clear':
        clear({ fills: this.fills, rows: this.rows, store: this.#deps.store, atMs: this.#deps.meshClock.now() }, change)
        return { type: 'cleared', viewHash: this.#deps.viewHash() }
      case 'ticket':
        return this.#ticket(change)
      case 'originHas':
        return this.#originHas(change)
    }
  }

  write(ask: ChangeOf<'write'>): MessageOf<'written' | 'tooLarge'> {
    const { namespace, key, bytes, ttlMs, keep } = ask
    if (!this.#isKept(ask)) return { type: 'written', ...this.#leaveEmpty(ask), taken: false }
    const kept = this.#forMs(ttlMs, keep)
    const excess = this.#excess(namespace, key, bytes, kept)
    if (excess !== undefined)
      return this.#refuse(ask, excess) ?? { type: 'written', ...this.#leaveEmpty(ask), taken: false }
    const version = this.#put(ask, 'value', bytes, kept)
    return { type: 'written', ...version, taken: this.#takeOn(ask, bytes, version) }
  }

  /** Fences fills even where there is nothing to delete: the value may be on its way. */
  remove(ask: ChangeOf<'remove'>): MessageOf<'removed'> {
    const found = this.#valueOf(ask)
    this.#isKept(ask)
    // What is handed back later was stored before this was asked for.
    if (ask.origin === 'none') this.#tickets.contest(ask.namespace, ask.key)
    if (ask.soft && found !== undefined) return this.#soften(ask, found)
    const version = this.#delete(ask)
    return { type: 'removed', existed: found !== undefined, ...version, taken: this.#takeOn(ask, undefined, version) }
  }

  /** A new version, though the value is the one it was: near copies, running loads and comparisons must know of it. */
  #soften(ask: ChangeOf<'remove'>, found: Entry): MessageOf<'removed'> {
    const nowMs = this.#deps.meshClock.now()
    const existed = freshUntil(found) > nowMs
    const kept = softened(found, nowMs, this.#deps.definition(ask.namespace))
    const version = kept === undefined ? this.#delete(ask) : this.#put(found, 'value', found.bytes, kept)
    return { type: 'removed', existed, ...version, taken: false }
  }

  /** With a ticket it has been compared when that was given, and stored since: then nothing is left to compare. */
  #compareAndSet(ask: ChangeOf<'compareAndSet'>): MessageOf<'compared' | 'tooLarge'> {
    if (ask.origin === 'through') return this.#compared(ask)
    const { namespace, key, bytes, ttlMs, keepTtl, keep } = ask
    const found = this.#valueOf(ask)
    if (!isExpected(found?.version, ask)) return { type: 'compared', done: false, stamp: 0, writer: '', taken: false }
    const kept = keepTtl && found !== undefined ? keptAs(found, keep) : this.#forMs(ttlMs, keep)
    const excess = this.#excess(namespace, key, bytes, kept)
    if (excess !== undefined) return excess
    const version = this.#put(ask, 'value', bytes, kept)
    return { type: 'compared', done: true, ...version, taken: this.#takeOn(ask, bytes, version) }
  }

  #compared(ask: ChangeOf<'compareAndSet'>): MessageOf<'compared'> {
    const { namespace, key, keepTtl, bytes, ttlMs, keep, ticket } = ask
    const closed = this.#tickets.close(namespace, key, ticket)
    if (closed === undefined) return { type: 'compared', done: true, ...this.#leaveEmpty(ask), taken: false }
    const before = keepTtl ? closed.kept : undefined
    const kept = before === undefined ? this.#forMs(ttlMs, keep) : keptAs(before, keep)
    if (this.#excess(namespace, key, bytes, kept) !== undefined)
      return { type: 'compared', done: true, ...this.#leaveEmpty(ask), taken: false }
    return { type: 'compared', done: true, ...this.#put(ask, 'value', bytes, kept), taken: false }
  }

  /** The version is taken before the origin is asked, so that what is stored later has a higher one. */
  #ticket(ask: ChangeOf<'ticket'>): MessageOf<'ticketed'> {
    const { namespace, key, exclusive, lifeMs } = ask
    const refused = (state: 'busy' | 'differs' | 'full') =>
      ({ type: 'ticketed', state, ticket: 0, stamp: 0, writer: '' }) as const
    if (this.#tickets.isFull) return refused('full')
    if (this.#tickets.isBusy(namespace, key, exclusive)) return refused('busy')
    const found = this.#valueOf(ask)
    if (exclusive && !isExpected(found?.version, ask)) return refused('differs')
    const partition = this.#deps.partitionOf(namespace, key)
    const kept = found && keptAs(found)
    const { number } = this.#tickets.open(namespace, key, { partition, exclusive, kept, lifeMs })
    const stamp = this.#deps.meshClock.stamp()
    return { type: 'ticketed', state: 'open', ticket: number, stamp, writer: this.#deps.self }
  }

  /** False for what was stored at the same time as something else of the key. */
  #isKept({ namespace, key, origin, ticket }: ChangeOf<'write' | 'remove'>): boolean {
    return origin !== 'through' || this.#tickets.close(namespace, key, ticket) !== undefined
  }

  /** Nobody here knows what the origin has: the next read asks it. */
  #leaveEmpty(about: About): Version {
    this.#deps.stats.storesContestedTotal++
    return this.#delete(about)
  }

  #overdue(namespace: string, key: string): void {
    if (!this.#deps.owns(this.#deps.partitionOf(namespace, key))) return
    this.#leaveEmpty({ namespace, key })
    if (this.#made !== undefined) this.#deps.copies.changed(this.#made, undefined)
    this.#made = undefined
  }

  /** Another member has stored it late: what was loaded or written since may be older than that, or be what it is. */
  #originHas({ namespace, key, stamp, writer }: ChangeOf<'originHas'>): MessageOf<'heeded'> {
    const { store, meshClock, partitionOf } = this.#deps
    const version = store.value(namespace, key, meshClock.now())?.version
    if (version === undefined) this.#delete({ namespace, key })
    else if (version.stamp !== stamp || version.writer !== writer) this.#leaveEmpty({ namespace, key })
    else this.fills.changed(namespace, key, partitionOf(namespace, key))
    return { type: 'heeded' }
  }

  #hasRoomBehind(change: { namespace: string; key: string; bytes?: Uint8Array }): boolean {
    return this.#deps.behind.hasRoom(change.namespace, change.key, change.bytes?.length ?? 0)
  }

  #takeOn(ask: ForOrigin, bytes: Uint8Array | undefined, version: Version): boolean {
    if (ask.origin !== 'behind') return false
    const { namespace, key } = ask
    const partition = this.#deps.partitionOf(namespace, key)
    return this.#deps.behind.take({ namespace, key, partition, bytes, version })
  }

  /** The origin does not have yet what was written last: a load of now would bring back what was before. */
  #readOnceStored(peer: PeerId, ask: MessageOf<'read'>, respond: (reply: Reply) => void): (() => void) | undefined {
    let withdraw = this.#deps.behind.whenStored(ask.namespace, ask.key, () => {
      const isOurs = this.#deps.owns(this.#deps.partitionOf(ask.namespace, ask.key))
      withdraw = isOurs ? this.read(peer, ask, respond) : undefined
      if (!isOurs) respond({ type: 'notOwner' })
    })
    if (withdraw === undefined) return undefined
    respond({ type: 'waiting' })
    return () => withdraw?.()
  }

  /** The version stays: the value is the one it was, and a value is never stamped anew (PROTOCOL F1). */
  #touch(ask: ChangeOf<'touch'>): MessageOf<'touched'> {
    const found = this.#valueOf(ask)
    if (found === undefined) return { type: 'touched', existed: false }
    const kept = keptAnew(found, this.#deps.meshClock.now(), ask.ttlMs)
    const entry = this.#shadowed({ ...found, ...kept })
    const existed = this.#deps.store.put(entry)
    if (existed) this.#made = entry
    return { type: 'touched', existed }
  }

  /** The TTL begins with the first add: a window of a rate limiter must end, however often it is counted in. */
  #add(ask: ChangeOf<'add'>): MessageOf<'added' | 'tooLarge'> {
    const { namespace, key, by, ttlMs } = ask
    const found = this.#valueOf(ask)
    const before = found === undefined ? 0 : decodeCount(found.bytes)
    const kept = found === undefined ? this.#forMs(ttlMs) : keptAs(found)
    const { expiresAtMs } = kept
    if (!isExact(before + by)) return { type: 'added', done: false, value: before, expiresAtMs }
    const bytes = encodeCount(before + by)
    const excess = this.#excess(namespace, key, bytes, kept)
    if (excess !== undefined) return excess
    this.#put(ask, 'value', bytes, kept)
    return { type: 'added', done: true, value: before + by, expiresAtMs }
  }

  /** These partitions belong to another member now, and it has the say; our records are its to ask for. */
  lose(lost: (partition: number) => boolean): void {
    this.fills.lose(lost)
    this.#tickets.lose(lost)
    this.rows.lose(lost)
    // Last, since whoever waits for it asks again at once.
    this.#deps.behind.lose(lost)
  }

  /** A record that is a value to callers: not expired, no tombstone, and not the mark that a loader found nothing. */
  #valueOf({ namespace, key }: { namespace: string; key: string }): Entry | undefined {
    const found = this.#deps.store.value(namespace, key, this.#deps.meshClock.now())
    return found?.negative === true ? undefined : found
  }

  #forMs(ttlMs: number, keep?: KeepTerms | undefined): Kept {
    return keptFrom(this.#deps.meshClock.now(), ttlMs, keep)
  }

  /** Asked before anything is changed: a refused change leaves the value of before, and the loads under way. */
  #excess(namespace: string, key: string, bytes: Uint8Array, { keeping }: Kept): MessageOf<'tooLarge'> | undefined {
    const excess = this.#deps.store.excess(namespace, { key, bytes, keeping })
    return excess && { type: 'tooLarge', ...excess }
  }

  /** What the origin has already cannot be refused any more: the key is left empty. */
  #refuse({ origin }: { origin: string }, excess: MessageOf<'tooLarge'>): MessageOf<'tooLarge'> | undefined {
    return origin === 'through' ? undefined : excess
  }

  #delete(about: About): Version {
    const { happenings } = this.#deps
    if (happenings.isHeard.invalidate) happenings.tell('invalidate', about.namespace, { key: about.key })
    return this.#put(about, 'tombstone', NOTHING, this.#forMs(this.#deps.tombstoneTtlMs))
  }

  #put(about: About, kind: Entry['kind'], bytes: Uint8Array, kept: Kept): Version {
    const { namespace, key } = about
    const backups = about.backups ?? this.#deps.definition(namespace)?.backups ?? BACKUPS_MAX
    const version = { stamp: this.#deps.meshClock.stamp(), writer: this.#deps.self }
    if (kind === 'value') this.#deps.filters?.hasValue(namespace, key)
    const partition = this.#deps.partitionOf(namespace, key)
    this.fills.changed(namespace, key, partition)
    const entry = this.#shadowed({ namespace, key, partition, version, kind, bytes, negative: false, backups, ...kept })
    this.#deps.store.put(entry)
    this.#made = entry
    return version
  }

  /**
   * What it replaces may be kept for longer than itself by a member that is cut off: till then it leaves a mark. Not for
   * longer than deletes are remembered; who is cut off for as long brings back nothing.
   */
  #shadowed(entry: Entry): Entry {
    if (entry.kind === 'tombstone') return entry
    const shadowMs = this.#deps.store.shadowOver(entry.namespace, entry.key, entry.expiresAtMs)
    if (shadowMs === 0) return entry
    const untilMs = Math.min(shadowMs, entry.expiresAtMs + this.#deps.tombstoneTtlMs)
    return { ...entry, ...withShadow({ expiresAtMs: entry.expiresAtMs, keeping: entry.keeping }, untilMs) }
  }
}
