/**
 * The filters of this member: what it answers from them, and how they become those of the others.
 *
 *   every 5 s, after each change of the view, at once when one is declared ─▶ meet somebody:
 *   compare ─▶ same print                                                    ─▶ level, if they are
 *          ├─▶ theirs is newer: ours is given up at once ─┐
 *          └─▶ same generation, other print ──────────────┴─▶ pull the parts that differ, four at a time ─▶ compare again
 *
 * Who compares shows what it has, too, so one that is behind learns of it from whichever side it is asked. A member that
 * is not level meets one after the other until it has met one that is, or all.
 *
 * A part is given only to members of our own view. So whoever adds a key and is told "done" by us with a view that has
 * the puller in it, asks that one too: it cannot take a part from us before the key is in it and go on unheard of.
 *
 * Members that own nothing hold no filter: two that only dial could not tell each other of anything.
 */
import { Existence } from '../fill/existence.ts'
import type { KeyFilter } from '../fill/key-filter.ts'
import { Roll } from '../fill/roll.ts'
import type { View } from '../membership/view.ts'
import type { Stats } from '../observe/stats.ts'
import type { Cancel, Clock } from '../ports/clock.ts'
import type { Logger } from '../ports/log.ts'
import type { Random } from '../ports/random.ts'
import type { PeerId } from '../ports/transport.ts'
import { CallFailed, type Client } from '../rpc/client.ts'
import type { FilterRequest, FilterState, MessageOf, Reply } from '../rpc/messages.ts'
import { FILTER_KEYS_MAX } from '../rpc/origin-talk.ts'
import { type MeshClock, stampMax } from '../store/version.ts'
import type { Routes } from './routes.ts'

const MEET_EVERY_MS = 5_000
/** While this member has something to catch up with; doubled each time that nobody could help. */
const MEET_SOON_MS = 100
/** Parts asked for at a time: 128 KiB under way. */
const PULLS_MAX = 4
/** Keys written here that are new to the filter are told to the others together. */
const TELL_AFTER_MS = 50

const NOTHING = new Uint8Array(0)
const NO_STATE: FilterState = {
  stamp: 0,
  writer: '',
  bits: 0,
  hashes: 0,
  hashing: 0,
  holds: false,
  complete: false,
  level: false,
  doubts: 0,
  print: 0
}

export interface FiltersDeps {
  readonly routes: Routes
  readonly clock: Clock
  readonly meshClock: MeshClock
  readonly random: Random
  readonly client: Client
  readonly stats: Stats
  readonly log: Logger
  readonly timeoutMs: number
  /** False while this member does not trust its own view. */
  readonly isCertain: () => boolean
}

/** A cache of this member with a filter. */
interface Shared {
  readonly namespace: string
  readonly existence: Existence
  /** Who is said to have something that we lack. */
  readonly ahead: Set<PeerId>
  readonly news: Set<string>
  isMeeting: boolean
  readonly warned: Set<string>
}

export class Filters {
  readonly roll = new Roll()
  readonly #deps: FiltersDeps
  readonly #self: PeerId
  readonly #shared = new Map<string, Shared>()
  #stopMeeting: Cancel | undefined
  #stopTelling: Cancel | undefined
  #againMs = MEET_SOON_MS
  #isStopped = false

  constructor(deps: FiltersDeps) {
    this.#deps = deps
    this.#self = deps.routes.deps.self
  }

  get bytes(): number {
    let bytes = 0
    for (const { existence } of this.#shared.values()) bytes += existence.bytes
    return bytes
  }

  /** Whatever is added now, this member is asked about. */
  get isSettled(): boolean {
    return this.#isTrusted()
  }

  of(namespace: string): Existence | undefined {
    return this.#shared.get(namespace)?.existence
  }

  /** From now on this member holds the filter of this cache. */
  declare(namespace: string, own: Existence['own']): void {
    if (this.#shared.has(namespace)) return
    const existence = new Existence(own)
    const rest = { ahead: new Set<PeerId>(), news: new Set<string>(), warned: new Set<string>(), isMeeting: false }
    this.#shared.set(namespace, { namespace, existence, ...rest })
    this.#meetSoon()
  }

  /** False only for a key that cannot exist: nobody can have added it without our hearing of it. */
  mayExist(namespace: string, key: string): boolean {
    const shared = this.#shared.get(namespace)
    if (shared === undefined || shared.existence.mayExist(key) || !this.#isTrusted()) return true
    this.#deps.stats.loadsSparedTotal++
    return false
  }

  /** There is a value of this key here, so it exists; the others hear of it in a moment, if they have not yet. */
  hasValue(namespace: string, key: string): void {
    const shared = this.#shared.get(namespace)
    if (shared === undefined || !shared.existence.isNews(key)) return
    shared.existence.learn([key], this.#deps.meshClock.stamp())
    // Beyond it the next comparison tells them.
    if (shared.news.size < FILTER_KEYS_MAX) shared.news.add(key)
    this.#stopTelling ??= this.#deps.clock.after(TELL_AFTER_MS, () => this.#tellNews())
  }

  handle(peer: PeerId, request: FilterRequest): Reply {
    const shared = this.#shared.get(request.namespace)
    const existence = shared?.existence
    switch (request.type) {
      case 'filterCompare':
        if (shared !== undefined) this.hear(shared.namespace, peer, request)
        return this.#told(existence)
      case 'filterAdd':
        existence?.learn(request.keys, this.#deps.meshClock.stamp())
        return this.#told(existence)
      case 'filterPrints':
        return { type: 'filterPrinted', prints: this.#given(peer, request)?.prints() ?? [] }
      case 'filterPull':
        return { type: 'filterPart', bytes: this.#given(peer, request)?.part(request.part) ?? NOTHING }
    }
  }

  viewChanged(after: View): void {
    this.roll.update(after.owners(), id => after.get(id)?.status, this.#nowMs)
    if (!this.roll.isMajority(this.#nowMs)) this.doubt()
    this.#meetSoon()
  }

  /** Others may have taken this member for dead, and gone on without it. */
  doubt(): void {
    for (const { existence } of this.#shared.values()) existence.doubt()
  }

  stop(): void {
    this.#isStopped = true
    this.#stopMeeting?.()
    this.#stopTelling?.()
  }

  /** What a member has shown to have. */
  hear(
    namespace: string,
    peer: PeerId,
    { state: told, cutOff }: Pick<MessageOf<'filterTold'>, 'state' | 'cutOff'>
  ): void {
    const shared = this.#shared.get(namespace)
    if (shared === undefined || !this.#isPlausible(told)) return
    const { existence } = shared
    // It has lost members of whom we may never have heard, if we came to it since: then we are cut off with it.
    if (cutOff && peer !== this.#self && existence.isLevel) existence.doubt()
    if (existence.hear(told)) this.#warnOfUnfit(shared)
    if (this.#lacks(existence, told)) {
      shared.ahead.add(peer)
      this.#meetSoon()
    }
  }

  /** What others are shown. A loss that is not settled yet might not be known to whoever took this for level. */
  shown(existence: Existence | undefined): { cutOff: boolean; state: FilterState } {
    const state = existence?.state ?? NO_STATE
    return { cutOff: !this.#isMajority(), state: { ...state, level: state.level && this.#isTrusted() } }
  }

  #isTrusted(): boolean {
    return this.roll.isCalm(this.#nowMs) && this.roll.isMajority(this.#nowMs) && this.#deps.isCertain()
  }

  #told(existence: Existence | undefined): MessageOf<'filterTold'> {
    return { type: 'filterTold', viewHash: this.#deps.routes.deps.viewHash(), ...this.shown(existence) }
  }

  #given(peer: PeerId, { namespace, stamp, writer }: MessageOf<'filterPrints' | 'filterPull'>): KeyFilter | undefined {
    const existence = this.of(namespace)
    if (existence?.isComplete !== true) return undefined
    const { version } = existence
    const isHere = this.#deps.routes.deps.owners().some(({ id }) => id === peer)
    return isHere && version.stamp === stamp && version.writer === writer ? existence.filter : undefined
  }

  #lacks(existence: Existence, told: FilterState): boolean {
    if (existence.filter === undefined || !told.complete || !isSame(existence, told)) return false
    return !existence.isComplete || told.print !== existence.filter.print
  }

  /** A stamp that no clock of this mesh can have made would stand above all others for ever. */
  #isPlausible({ stamp }: FilterState): boolean {
    return Number.isSafeInteger(stamp) && stamp >= 0 && stamp <= stampMax(this.#deps.meshClock.now())
  }

  #meetSoon(): void {
    this.#againMs = MEET_SOON_MS
    this.#meetIn(0)
  }

  #meetIn(ms: number): void {
    if (this.#isStopped || this.#shared.size === 0) return
    this.#stopMeeting?.()
    this.#stopMeeting = this.#deps.clock.after(ms, () => {
      for (const shared of this.#shared.values()) void this.#meetOthers(shared)
      const isBehind = [...this.#shared.values()].some(shared => this.#isBehind(shared))
      this.#meetIn(isBehind ? this.#againMs : MEET_EVERY_MS)
      this.#againMs = Math.min(this.#againMs * 2, MEET_EVERY_MS)
    })
  }

  #isBehind({ existence, ahead }: Shared): boolean {
    return ahead.size > 0 || (existence.filter !== undefined && !(existence.isComplete && existence.isLevel))
  }

  async #meetOthers(shared: Shared): Promise<void> {
    this.#warnOfFull(shared)
    if (shared.isMeeting) return
    shared.isMeeting = true
    try {
      await this.#meetInTurn(shared)
    } finally {
      shared.isMeeting = false
    }
  }

  async #meetInTurn(shared: Shared): Promise<void> {
    const { existence } = shared
    const others = this.#others()
    const met = new Set<PeerId>()
    const [first, ...rest] = this.#inTurn(shared, others)
    const { version } = existence
    if (first !== undefined && (await this.#meet(shared, first))) met.add(first)
    for (const peer of rest) {
      if (!this.#mustGoOn(shared)) return
      if (await this.#meet(shared, peer)) met.add(peer)
    }
    const sawAll = this.#others().every(peer => met.has(peer)) && isSame(existence, version)
    if (sawAll && existence.isComplete && this.#isTrusted()) existence.leveled()
  }

  /** Until somebody who knows has been met; without any filter, three who know of none are enough for now. */
  #mustGoOn(shared: Shared): boolean {
    return !this.#isStopped && (this.#isBehind(shared) || shared.existence.version.stamp === 0)
  }

  #inTurn({ ahead, existence }: Shared, others: readonly PeerId[]): PeerId[] {
    const first = others.filter(peer => ahead.has(peer))
    ahead.clear()
    const shuffled = others.filter(peer => !first.includes(peer))
    for (let i = shuffled.length - 1; i > 0; i--) {
      const j = this.#deps.random.integer(i + 1)
      ;[shuffled[i], shuffled[j]] = [shuffled[j] as PeerId, shuffled[i] as PeerId]
    }
    const order = [...first, ...shuffled]
    return existence.version.stamp === 0 ? order.slice(0, 3) : order
  }

  /** True when it has answered and we have what it had, at the least. */
  async #meet(shared: Shared, peer: PeerId): Promise<boolean> {
    const { existence } = shared
    const told = await this.#compare(shared, peer)
    if (told === undefined || told.cutOff) return false
    const before = told.state
    // Behind us: what it adds to ours when it takes it up is still to come.
    if (!isSame(existence, before)) return !before.holds || before.stamp === 0
    if (this.#lacks(existence, before) && !(await this.#pull(shared, peer))) return false
    if (!before.level || existence.isLevel) return true
    const after = (await this.#compare(shared, peer))?.state
    // Level all the while: nothing that came to it meanwhile can have passed us by.
    const stayed = after?.level === true && after.doubts === before.doubts && isSame(existence, after)
    if (stayed && isSame(existence, before) && existence.isComplete && this.#isMajority()) existence.leveled()
    return after !== undefined
  }

  #isMajority(): boolean {
    return this.roll.isMajority(this.#nowMs)
  }

  async #compare(shared: Shared, peer: PeerId): Promise<MessageOf<'filterTold'> | undefined> {
    const { namespace, existence } = shared
    const told = await this.#ask(peer, { type: 'filterCompare', namespace, ...this.shown(existence) })
    if (told?.type !== 'filterTold') return undefined
    this.hear(namespace, peer, told)
    return told
  }

  /** What differs of the generation that both have. */
  async #pull({ namespace, existence, ahead }: Shared, peer: PeerId): Promise<boolean> {
    const { filter, version } = existence
    if (filter === undefined) return false
    const printed = await this.#ask(peer, { type: 'filterPrints', namespace, ...versionOf(version) })
    if (printed?.type !== 'filterPrinted' || printed.prints.length !== filter.parts) return false
    const ours = filter.prints()
    const parts = printed.prints.flatMap((print, part) => (print === ours[part] ? [] : [part]))
    const all = await this.#pullParts(peer, { namespace, filter, ...versionOf(version) }, parts)
    // A newer one may have come meanwhile; then these parts went into what has been given up.
    if (!all || existence.filter !== filter) return false
    this.#deps.stats.filterTransfersTotal++
    existence.completed()
    ahead.delete(peer)
    return true
  }

  async #pullParts(
    peer: PeerId,
    from: { namespace: string; filter: KeyFilter; stamp: number; writer: string },
    parts: readonly number[]
  ): Promise<boolean> {
    const { filter, ...about } = from
    const open = [...parts]
    let isWhole = true
    const worker = async (): Promise<void> => {
      for (let part = open.pop(); part !== undefined && isWhole; part = open.pop()) {
        const pulled = await this.#ask(peer, { type: 'filterPull', ...about, part })
        if (pulled?.type !== 'filterPart' || !filter.mergePart(part, pulled.bytes)) isWhole = false
      }
    }
    await Promise.all(Array.from({ length: PULLS_MAX }, worker))
    return isWhole
  }

  /** Undefined when there was no answer: the next comparison tries again. */
  async #ask(peer: PeerId, request: FilterRequest): Promise<Reply | undefined> {
    const { client, routes, timeoutMs } = this.#deps
    if (this.#isStopped || !routes.deps.isReachable(peer)) return undefined
    try {
      return await client.call(peer, request, { timeoutMs }).reply
    } catch (error) {
      if (!(error instanceof CallFailed)) throw error
      return undefined
    }
  }

  #tellNews(): void {
    this.#stopTelling = undefined
    for (const { namespace, news } of this.#shared.values()) {
      if (news.size === 0) continue
      const keys = [...news]
      news.clear()
      for (const peer of this.#others()) void this.#ask(peer, { type: 'filterAdd', namespace, keys })
    }
  }

  #warnOfUnfit(shared: Shared): void {
    if (shared.existence.state.holds) return
    const why = 'was filled by a member that declares it far larger, or hashes otherwise: this member lets everything'
    this.#warnOnce(shared, 'CACHEMESH_FILTER_UNFIT', `${why} through. Declare the same exists in every process.`)
  }

  #warnOfFull(shared: Shared): void {
    if (shared.existence.filter?.isOverfull !== true) return
    const why = 'holds clearly more keys than exists.keys says, and lets more and more through'
    this.#warnOnce(shared, 'CACHEMESH_FILTER_FULL', `${why}. Raise it in every process, and fill again.`)
  }

  #warnOnce({ warned, namespace }: Shared, code: string, text: string): void {
    if (warned.has(code)) return
    warned.add(code)
    this.#deps.log.warn({ cache: namespace, code }, `the exists filter of cache ${namespace} ${text}`)
  }

  #others(): PeerId[] {
    return this.#deps.routes.deps
      .owners()
      .map(({ id }) => id)
      .filter(id => id !== this.#self)
  }

  get #nowMs(): number {
    return this.#deps.clock.monotonic()
  }
}

function isSame({ version }: Existence, other: { readonly stamp: number; readonly writer: string }): boolean {
  return version.stamp === other.stamp && version.writer === other.writer
}

function versionOf({ stamp, writer }: { stamp: number; writer: string }): { stamp: number; writer: string } {
  return { stamp, writer }
}
