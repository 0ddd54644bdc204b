/**
 * What this member does for the partitions it owns: answer, load once, write, delete. Everything that is true of a key
 * is decided here, synchronously, in one process; local callers and remote ones take the same way.
 */
import { decodeCount, encodeCount, isExact } from '../codec/counts.ts'
import { isInRange, rangeOf } from '../codec/keys.ts'
import { Fills, type FillsDeps } from '../fill/fills.ts'
import { keptReply } from '../fill/landings.ts'
import type { Random } from '../ports/random.ts'
import type { PeerId } from '../ports/transport.ts'
import type { Change, ChangeOf, MessageOf, Reply } from '../rpc/messages.ts'
import type { Entry } from '../store/entry.ts'
import { isDue, isPlainlyFresh, type KeepTerms, type Kept, keptAnew, keptFrom } from '../store/keeping.ts'
import type { Store } from '../store/store.ts'

const TOMBSTONE_TTL_MS = 60_000
const NOTHING = new Uint8Array(0)

export interface OwnerDeps extends Omit<FillsDeps, 'stored' | 'keep'> {
  readonly store: Store
  /** For early refreshes. */
  readonly random: Random
  readonly viewHash: () => number
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

  constructor(deps: OwnerDeps) {
    this.#deps = deps
    const hooks = {
      stored: (namespace: string, key: string) => this.stored(namespace, key),
      keep: (entry: Entry) => {
        if (!entry.negative) deps.filters?.hasValue(entry.namespace, entry.key)
        return deps.store.put(entry)
      }
    }
    this.fills = new Fills({ ...deps, ...hooks }, (peer, ask, respond) => this.read(peer, ask, respond))
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
    const nowMs = this.#deps.meshClock.now()
    const found = this.#deps.store.glance(namespace, key, nowMs)
    if (found?.keeping === undefined) return found
    return isPlainlyFresh(found.keeping, nowMs) ? found : undefined
  }

  /** Whether there is something that `glance` leaves to a read. */
  holds(namespace: string, key: string): boolean {
    return this.#deps.store.glance(namespace, key, this.#deps.meshClock.now()) !== undefined
  }

  /** Answers now or when the load it joins has landed; what it returns takes the asker out again. */
  read(peer: PeerId, ask: MessageOf<'read'>, respond: (reply: Reply) => void): (() => void) | undefined {
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
    return this.fills.join(peer, ask, respond)
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
    const lease = isToLoad ? this.fills.behind(peer, ask, isStale ? 'stale' : 'early') : undefined
    const kept = keptReply(ask.wish === 'warm' ? { ...found, bytes: NOTHING } : found, isStale)
    return lease === undefined ? kept : { ...kept, lease: lease.lease, boot: lease.boot, reason: lease.reason }
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

  write(ask: ChangeOf<'write'>): MessageOf<'written' | 'tooLarge'> {
    const { namespace, key, bytes, ttlMs, keep } = ask
    const kept = this.#forMs(ttlMs, keep)
    const excess = this.#excess(namespace, key, bytes, kept)
    if (excess !== undefined) return excess
    const stamp = this.#put(namespace, key, 'value', bytes, kept)
    return { type: 'written', stamp, writer: this.#deps.self }
  }

  /** Fences fills even where there is nothing to delete: the value may be on its way. */
  remove(ask: ChangeOf<'remove'>): MessageOf<'removed'> {
    const existed = this.#valueOf(ask) !== undefined
    this.#put(ask.namespace, ask.key, 'tombstone', NOTHING, this.#forMs(TOMBSTONE_TTL_MS))
    return { type: 'removed', existed }
  }

  #compareAndSet(ask: ChangeOf<'compareAndSet'>): MessageOf<'compared' | 'tooLarge'> {
    const { namespace, key, expectedStamp, expectedWriter, bytes, ttlMs, keepTtl, keep } = ask
    const found = this.#valueOf(ask)
    const { stamp: foundStamp, writer: foundWriter } = found?.version ?? { stamp: 0, writer: '' }
    if (foundStamp !== expectedStamp || foundWriter !== expectedWriter)
      return { type: 'compared', done: false, stamp: 0, writer: '' }
    const kept = keepTtl && found !== undefined ? keptOf(found) : this.#forMs(ttlMs, keep)
    const excess = this.#excess(namespace, key, bytes, kept)
    if (excess !== undefined) return excess
    const stamp = this.#put(namespace, key, 'value', bytes, kept)
    return { type: 'compared', done: true, stamp, writer: this.#deps.self }
  }

  /** The version stays: the value is the one it was, and a value is never stamped anew (PROTOCOL F1). */
  #touch(ask: ChangeOf<'touch'>): MessageOf<'touched'> {
    const found = this.#valueOf(ask)
    if (found === undefined) return { type: 'touched', existed: false }
    const kept = keptAnew(found, this.#deps.meshClock.now(), ask.ttlMs)
    return { type: 'touched', existed: this.#deps.store.put({ ...found, ...kept }) }
  }

  /** The TTL begins with the first add: a window of a rate limiter must end, however often it is counted in. */
  #add(ask: ChangeOf<'add'>): MessageOf<'added' | 'tooLarge'> {
    const { namespace, key, by, ttlMs } = ask
    const found = this.#valueOf(ask)
    const before = found === undefined ? 0 : decodeCount(found.bytes)
    const kept = found === undefined ? this.#forMs(ttlMs) : keptOf(found)
    const { expiresAtMs } = kept
    if (!isExact(before + by)) return { type: 'added', done: false, value: before, expiresAtMs }
    const bytes = encodeCount(before + by)
    const excess = this.#excess(namespace, key, bytes, kept)
    if (excess !== undefined) return excess
    this.#put(namespace, key, 'value', bytes, kept)
    return { type: 'added', done: true, value: before + by, expiresAtMs }
  }

  /** Loads that run began before: their results go to those who wait and are not kept. */
  #clear({ namespace, prefix }: ChangeOf<'clear'>): MessageOf<'cleared'> {
    const { store, viewHash } = this.#deps
    const range = rangeOf(prefix)
    this.fills.changedMatching(namespace, key => isInRange(key, range))
    if (range.exact !== undefined) store.drop(namespace, range.exact)
    store.dropMatching(namespace, range.under)
    return { type: 'cleared', viewHash: viewHash() }
  }

  /** These partitions belong to another member now; it has the say, and we forget. */
  lose(lost: (partition: number) => boolean): void {
    this.fills.lose(lost)
    // Who leaves keeps what it has until it is gone: the new owners may ask for it.
    if (this.#deps.isLeaving()) return
    this.#deps.stats.recordsMovedAwayTotal += this.#deps.store.dropPartitions(lost)
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

  #put(namespace: string, key: string, kind: 'value' | 'tombstone', bytes: Uint8Array, kept: Kept): number {
    const stamp = this.#deps.meshClock.stamp()
    if (kind === 'value') this.#deps.filters?.hasValue(namespace, key)
    const partition = this.#deps.partitionOf(namespace, key)
    this.fills.changed(namespace, key, partition)
    const version = { stamp, writer: this.#deps.self }
    this.#deps.store.put({ namespace, key, partition, version, kind, bytes, negative: false, ...kept })
    return stamp
  }
}

function keptOf({ expiresAtMs, keeping }: Entry): Kept {
  return { expiresAtMs, keeping }
}
