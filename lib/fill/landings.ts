/**
 * What becomes of the result of a load, and what is said where none is made.
 *
 * A value is stored only if nothing has happened to the key since its lease; those who wait get it in any case, for
 * their reads began before. What has a tag that was invalidated meanwhile is not stored either, and is for those who
 * waited already when it was; the others ask anew (PROTOCOL F3). A failure reaches each waiter once, or what is stale in its place where the caller allows
 * that, and begins a back-off.
 */
import { recordName } from '../base/record-name.ts'
import { decodeFailure } from '../codec/load-failure.ts'
import { NO_TAGS } from '../codec/tags.ts'
import type { Happenings } from '../observe/happenings.ts'
import type { Journal } from '../observe/journal.ts'
import type { Stats } from '../observe/stats.ts'
import type { PeerId } from '../ports/transport.ts'
import type { MessageOf, Outcome, Reply } from '../rpc/messages.ts'
import type { Entry } from '../store/entry.ts'
import type { Floor, Floored } from '../store/floor.ts'
import { freshUntil, keptFrom, termsLeft } from '../store/keeping.ts'
import { type MeshClock, stampMs, type Version } from '../store/version.ts'
import type { BackOff, BackOffs } from './back-off.ts'
import type { CacheDefinition } from './definition.ts'
import type { Flight, Flights, Waiter } from './flight.ts'
import { type LoadResult, withCause } from './load.ts'
import { TagMoments } from './tag-moments.ts'

const UNKNOWN_BACK_OFF_MS = 100
const SUCCESSORS_MAX = 10_000
/** What a copy has loaded for want of an owner, should it become the owner itself: so many, for so long. */
const STOOD_IN_MAX = 1_000
const STOOD_IN_MS = 2_000
/** How long a load may take where this member has not declared the cache. */
export const LOAD_MS_MAX = 10 * 60_000
const NOTHING = new Uint8Array(0)

export interface LandingsDeps {
  readonly self: PeerId
  readonly meshClock: MeshClock
  readonly flights: Flights
  readonly backOffs: BackOffs
  readonly stats: Stats
  readonly journal: Journal
  readonly happenings: Happenings
  readonly definition: (namespace: string) => CacheDefinition | undefined
  readonly owns: (partition: number) => boolean
  readonly isLeaving: () => boolean
  /** Of whatever is here, the mark of a delete included. */
  readonly versionOf: (namespace: string, key: string) => Version | undefined
  /** What is stored of a key and may be answered with, stale or not. */
  readonly stored: (namespace: string, key: string) => Entry | undefined
  readonly keep: (entry: Entry) => boolean
  /** What it lies below with such a stamp, if it is dead. */
  readonly killer: (record: Floored, stamp: number) => Floor | undefined
}

export class Landings {
  readonly #deps: LandingsDeps
  /** Only while this member leaves. */
  readonly #forSuccessors = new Map<string, Entry>()
  /** Oldest first. */
  readonly #stoodIn = new Map<
    string,
    { readonly result: LoadResult; readonly stamp: number; readonly untilMs: number }
  >()

  readonly #tagMoments = new TagMoments()
  readonly #askAnew: (flight: Flight, waiter: Waiter) => void

  constructor(deps: LandingsDeps, askAnew: (flight: Flight, waiter: Waiter) => void) {
    this.#deps = deps
    this.#askAnew = askAnew
  }

  /** The last load failed a moment ago: answered without another. */
  isLeftAlone({ namespace, key, wish }: MessageOf<'read'>, respond: (reply: Reply) => void): boolean {
    const backOff = this.#deps.backOffs.of(namespace, key)
    if (backOff === undefined) return false
    this.#deps.stats.loadsBackedOffTotal++
    this.#deps.journal.note(namespace, key, `not loaded: its last load failed, ${Math.ceil(backOff.leftMs)} ms left`)
    const stale = wish === 'usual' ? this.#deps.stored(namespace, key) : undefined
    if (stale !== undefined) respond(this.stale(stale))
    else respond(this.#unkept({ code: 'ERR_MESH_BACKOFF', bytes: NOTHING, failure: backOffText(backOff) }, false))
    return true
  }

  /** The result is here: keep it if nothing has happened to the key since the lease, and answer all who waited. */
  land(
    flight: Flight,
    result: LoadResult,
    version: Version = { stamp: flight.stamp, writer: this.#deps.self },
    isFollowed = false
  ): boolean {
    const { stats, owns, flights } = this.#deps
    // Asked before anything else: a view that took the partition away closes the flight here at the latest.
    const wasOpen = flight.open && owns(flight.partition) && flight.open
    flights.end(flight)
    this.#noteOutcome(flight, wasOpen, result)
    this.#deps.journal.note(flight.namespace, flight.key, this.#storyOf(flight, wasOpen, result))
    const keep = result.code === 'value' && result.ttlMs > 0
    if (keep && flight.state !== 'alone' && !wasOpen) stats.fillsFencedTotal++
    if (keep && flight.state === 'alone') this.#rememberStandIn(flight, result)
    const kept = keptFrom(this.#deps.meshClock.now(), result.ttlMs, result.keep)
    const { namespace, key, partition } = flight
    const { bytes, negative, backups } = result
    const entry = { namespace, key, partition, version, kind: 'value', bytes, negative, backups, ...kept } as const
    const deadMs = result.code === 'value' ? this.#deadSince(entry, isFollowed) : undefined
    const stored = keep && wasOpen && deadMs === undefined && this.#deps.keep(entry)
    if (stored) tellFilled(this.#deps.happenings, flight, result)
    if (keep && flight.state === 'moved' && this.#deps.isLeaving()) this.#keepForSuccessor(entry)
    if (deadMs !== undefined) this.#sendBack(flight, deadMs)
    this.#answer(flight, result, stored ? entry : undefined, deadMs !== undefined)
    return stored
  }

  /** Of a cache, or of all. */
  tagsInvalidated(namespace: string, tags: readonly string[]): void {
    this.#tagMoments.add(namespace, tags, this.#deps.meshClock.now())
  }

  /**
   * A tag of it was invalidated since the load began, or a floor that we have heard of otherwise lies above it. What
   * another member has loaded for us has begun before our lease, nobody says when.
   */
  #deadSince(entry: Entry, isFollowed: boolean): number | undefined {
    const { meshClock, definition, killer } = this.#deps
    const { namespace, version, keeping } = entry
    const longestMs = 2 * (definition(namespace)?.loadTimeoutMs ?? LOAD_MS_MAX)
    const beganMs = isFollowed ? meshClock.now() - longestMs : stampMs(version.stamp)
    const tags = keeping?.tags ?? NO_TAGS
    const firstMs = tags.length === 0 ? undefined : this.#tagMoments.firstSince(namespace, tags, beganMs)
    const floor = killer(entry, version.stamp)
    return firstMs ?? (floor && stampMs(floor.stamp))
  }

  /** Those who began to wait after it was dead. */
  #sendBack(flight: Flight, deadMs: number): void {
    for (const waiter of flight.waiters)
      if (waiter.sinceMs !== undefined && waiter.sinceMs > deadMs) this.#askAnew(flight, waiter)
  }

  #rememberStandIn({ namespace, key, stamp }: Flight, result: LoadResult): void {
    const nowMs = this.#deps.meshClock.now()
    for (const [name, { untilMs }] of this.#stoodIn) {
      if (untilMs > nowMs && this.#stoodIn.size < STOOD_IN_MAX) break
      this.#stoodIn.delete(name)
    }
    this.#stoodIn.set(recordName(namespace, key), { result, stamp, untilMs: nowMs + STOOD_IN_MS })
  }

  /** What we loaded a moment ago as the key's copy, when it had no owner: once, and only if nothing newer is here. */
  landStandIn(flight: Flight): boolean {
    const { flights, meshClock, journal, versionOf, killer } = this.#deps
    const { namespace, key } = flight
    const known = flight.open && flight.reason === 'miss' ? this.#stoodIn.get(recordName(namespace, key)) : undefined
    if (known === undefined) return false
    this.forgetStandIn(namespace, key)
    const isOver = known.untilMs <= meshClock.now() || (versionOf(namespace, key)?.stamp ?? 0) >= known.stamp
    // It gets a version of now, so what was invalidated since it began must be looked at by that of then.
    if (isOver || killer({ namespace, key, keeping: known.result.keep }, known.stamp) !== undefined) return false
    journal.note(namespace, key, 'was loaded here a moment ago, before the key had an owner')
    flights.lease(flight, meshClock.stamp(), undefined)
    this.land(flight, known.result)
    return true
  }

  /** The key was changed: what was loaded before is of before. */
  forgetStandIn(namespace: string, key: string): void {
    this.#stoodIn.delete(recordName(namespace, key))
  }

  forgetStandIns(): void {
    this.#stoodIn.clear()
  }

  /** It has come too late for a member that leaves; the new owner of the key will ask for it. */
  #keepForSuccessor(entry: Entry): void {
    if (this.#forSuccessors.size < SUCCESSORS_MAX)
      this.#forSuccessors.set(recordName(entry.namespace, entry.key), entry)
  }

  #storyOf({ state, holder }: Flight, wasOpen: boolean, { code, failure, ttlMs, negative }: LoadResult): string {
    const by = holder === undefined ? 'here' : `by ${holder}`
    if (code === 'ERR_MESH_LOAD') return `load ${by} failed: ${decodeFailure(failure).message}`
    if (code !== 'value') return `load ${by} came to ${code}: ${failure}`
    const what = negative ? 'nothing was found' : 'loaded'
    if (ttlMs <= 0) return `${what} ${by}, not kept`
    if (wasOpen) return `${what} ${by}, kept for ${Math.round(ttlMs)} ms`
    return `${what} ${by}, not kept: the key was ${state === 'moved' ? 'given to another member' : 'changed'} meanwhile`
  }

  /** A failure keeps others from trying at once. What no origin was asked for is no failure. */
  #noteOutcome({ namespace, key, state }: Flight, wasOpen: boolean, { code, bytes, failure }: LoadResult): void {
    if (!wasOpen && state !== 'alone') return
    const { backOffs, definition } = this.#deps
    if (code === 'value') return backOffs.forget(namespace, key)
    if (code === 'ERR_MESH_OVERLOADED' || code === 'ERR_MESH_BACKOFF') return
    backOffs.failed(
      namespace,
      key,
      { code, bytes, failure },
      definition(namespace)?.errorBackoffMs ?? UNKNOWN_BACK_OFF_MS
    )
  }

  #answer(flight: Flight, result: LoadResult, stored: Entry | undefined, isDead: boolean): void {
    const { code, bytes, failure, negative, ttlMs, keep, backups } = result
    const stale = code === 'value' ? undefined : this.#deps.stored(flight.namespace, flight.key)
    const outcome = { code, bytes, failure }
    const answer: Reply =
      stored === undefined
        ? { ...this.#unkept(outcome, negative), stamp: flight.stamp, tags: keep?.tags ?? NO_TAGS }
        : {
            type: 'loaded',
            ...outcome,
            negative,
            ...stored.version,
            expiresAtMs: freshUntil(stored),
            tags: keep?.tags ?? NO_TAGS
          }
    for (const { mode, wish, respond, disarm } of flight.waiters) {
      disarm()
      // A load that began before the key was changed is nobody's but those who waited for it then.
      if (mode === 'follow' && (isDead || flight.state === 'fenced')) respond({ type: 'absent' })
      else if (mode === 'follow')
        respond({ type: 'followed', ...outcome, ttlMs, negative, keep, backups, stamp: 0, writer: '' })
      else if (stale !== undefined && wish === 'usual') respond(this.stale(stale))
      else respond(answer)
    }
  }

  /** What a member that leaves hands to the new owner of a key that asks. */
  handOver(namespace: string, key: string): MessageOf<'followed'> | undefined {
    if (!this.#deps.isLeaving()) return undefined
    const entry = this.#forSuccessors.get(recordName(namespace, key)) ?? this.#deps.stored(namespace, key)
    if (entry === undefined) return undefined
    const { version, bytes, negative, backups } = entry
    const ttlMs = freshUntil(entry) - this.#deps.meshClock.now()
    // What is stale here is no more than a reason to load there.
    if (ttlMs <= 0) return undefined
    const keep = termsLeft(entry, ttlMs)
    return { type: 'followed', code: 'value', failure: '', bytes, negative, ttlMs, keep, backups, ...version }
  }

  stale(entry: Entry): MessageOf<'kept'> {
    return keptReply(entry, freshUntil(entry) <= this.#deps.meshClock.now())
  }

  /** What is not kept has expired already, and a version that no record will ever have. */
  #unkept(outcome: Outcome, negative: boolean): MessageOf<'loaded'> {
    const { meshClock, self } = this.#deps
    const stamp = meshClock.stamp()
    return { type: 'loaded', ...outcome, negative, stamp, writer: self, expiresAtMs: meshClock.now(), tags: NO_TAGS }
  }

  previous(namespace: string, key: string): MessageOf<'lease'>['previous'] {
    const entry = this.#deps.stored(namespace, key)
    if (entry === undefined || entry.negative) return undefined
    const expiresAtMs = freshUntil(entry)
    const stale = expiresAtMs <= this.#deps.meshClock.now()
    return { ...entry.version, expiresAtMs, stale, bytes: entry.bytes, tags: entry.keeping?.tags ?? NO_TAGS }
  }
}

/** What was loaded here is stored: told to who listens, unless it is that there is nothing. */
export function tellFilled(
  happenings: Happenings,
  { namespace, key }: { readonly namespace: string; readonly key: string },
  { negative, loadMs }: LoadResult
): void {
  if (happenings.isHeard.fill && loadMs !== undefined && !negative)
    happenings.tell('fill', namespace, { key, ms: loadMs })
}

/** A stored value with all that is known of it; without a lease. */
export function keptReply(entry: Entry, stale: boolean): MessageOf<'kept'> {
  const { version, negative, bytes, keeping } = entry
  const tags = keeping?.tags ?? NO_TAGS
  const lease = { lease: 0, boot: 0, reason: 'miss' } as const
  return { type: 'kept', ...version, expiresAtMs: freshUntil(entry), stale, negative, bytes, tags, ...lease }
}

export function backOffText({ failures, leftMs, last }: BackOff): string {
  const times = failures === 1 ? 'The last load of this key' : `The last ${failures} loads of this key`
  const why = (last.code === 'ERR_MESH_LOAD' ? decodeFailure(last.failure).message : last.failure)
    .replaceAll('\n', ' ')
    .slice(0, 500)
  const message = `${times} failed (${why}), so the origin is left alone with it for ${Math.ceil(leftMs)} ms more. Try again then; staleIfError answers with what was there before.`
  return last.code === 'ERR_MESH_LOAD' ? withCause(message, last.failure) : message
}

/** What is stored is no answer to who wants what a load brings now. */
export function isTakenBy({ reason }: Flight, { stamp }: MessageOf<'followed'>): boolean {
  return stamp === 0 || reason === 'miss' || reason === 'warm'
}

/** What a member that leaves has stored keeps its version. */
export function ownVersionOf({ stamp, writer }: MessageOf<'followed'>): Version | undefined {
  return stamp > 0 ? { stamp, writer } : undefined
}

/** `warm` only wants to know that it is there. */
export function withoutValue(respond: (reply: Reply) => void): (reply: Reply) => void {
  return reply => respond(reply.type === 'loaded' ? { ...reply, bytes: NOTHING } : reply)
}
