/**
 * A primary that does not have its partitions yet: who may hold them, what is pulled from whom, and when it is done.
 *
 *   gained ─▶ warming ─▶ every other owner has said what it holds (or 10 s) ─▶ all of that pulled ─▶ warm
 *                                │
 *                                └─ offers: equal · pulled before · ours is empty: pages · else: versions, then what is newer
 *
 * What is offered is pulled hottest partition first, some together, from two members at a time, at the pace of all that
 * moves. A source that dies is forgotten with what it offered: whoever else holds the partition has offered it too. If we
 * die, the source has everything still, for it forgets nothing before it is told that we are level.
 *
 * While a partition warms, what is missing there is looked for at its holders before anybody calls the origin
 * (`peeks.ts`), so nobody waits for the move itself.
 */
import type { Stats } from '../observe/stats.ts'
import { PARTITIONS } from '../placement/partitions.ts'
import type { Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import type { MessageOf, Reply } from '../rpc/messages.ts'
import type { Answered, Floor, Holding } from '../rpc/replica-talk.ts'
import type { Entry } from '../store/entry.ts'
import type { Store } from '../store/store.ts'
import type { MeshClock, Version } from '../store/version.ts'
import { isSame } from './copies.ts'
import type { FloorNews } from './floor-news.ts'
import { entryOf } from './record.ts'
import { lackingHere, type RecordName, type Sources } from './sources.ts'

const MOVERS = 2
/** Empty partitions pulled together. */
const GROUP_MAX = 64
/** And those of which something is here: a look has brought it, or we had copies. Each is a list of versions more. */
const LISTED_MAX = 16
/** An owner that has not offered by then has nothing that anybody could wait for. */
const OFFERS_MS_MAX = 10_000

/** A source that could not be asked is asked again after so long. */
const REST_MS = 250

const WARM = 0
const WARMING = 1

export interface IntakeDeps {
  readonly self: PeerId
  readonly clock: Clock
  readonly meshClock: MeshClock
  readonly store: Store
  readonly stats: Stats
  readonly sources: Sources
  readonly viewHash: () => number
  readonly primaryOf: (partition: number) => PeerId | undefined
  readonly rankOf: (partition: number, peer: PeerId) => number
  readonly partitionOf: (namespace: string, key: string) => number
  /** Linked members that may hold something: owners, and those that are leaving. */
  readonly holders: () => readonly PeerId[]
  readonly hasLink: (peer: PeerId) => boolean
  readonly isSuspected: (peer: PeerId) => boolean
  readonly isBackedUp: (partition: number) => boolean
  readonly takeIn: (entry: Entry, from: PeerId) => void
  /** What they have is to be looked at, beside what we have. */
  readonly isWanted: (ours: Version, theirs: Version, holder: PeerId) => boolean
  readonly remember: (answer: Answered & {}) => void
  readonly mergeFloors: (floors: readonly Floor[]) => void
  readonly floorNews: FloorNews
  /** Another member has told us how many tables it has had. */
  readonly onTables: (peer: PeerId, tables: number) => void
  readonly onWarm: (partition: number) => void
  readonly onProgress: () => void
  /** A round of moves is over. */
  readonly onMoved: (moved: { partitions: number; records: number; bytes: number }) => void
}

interface Offer {
  readonly peer: PeerId
  readonly holding: Holding
}

export class Intake {
  readonly #deps: IntakeDeps
  readonly #states = new Uint8Array(PARTITIONS)
  #warming = 0
  /** Members whose offer for the view of now is not here yet. */
  readonly #expected = new Set<PeerId>()
  /** What is to be pulled, by partition and by who has it. */
  readonly #open = new Map<number, Map<PeerId, Holding>>()
  /** What was pulled from whom, as it was offered: offered again, it is here already. */
  readonly #settled = new Map<PeerId, Map<number, number>>()
  /** How many tables there have been; what was offered in another one counts for nothing. */
  #tables = 0
  #movers = 0
  /** Open partitions, hottest first. */
  #order: readonly number[] | undefined
  readonly #moving = new Set<number>()
  /** Sources that could not be asked a moment ago. */
  readonly #resting = new Set<PeerId>()
  #disarm = (): void => {}
  #moved = { partitions: 0, records: 0, bytes: 0 }
  #stopped = false

  constructor(deps: IntakeDeps) {
    this.#deps = deps
  }

  stop(): void {
    this.#stopped = true
    this.#disarm()
  }

  isWarming(partition: number): boolean {
    return this.#states[partition] !== WARM
  }

  get tables(): number {
    return this.#tables
  }

  get warming(): number {
    return this.#warming
  }

  get pendingRecords(): number {
    let pending = 0
    for (const offers of this.#open.values()) for (const { count } of offers.values()) pending += count
    return pending
  }

  /** Who has offered this partition and was not asked for it yet. */
  offerersOf(partition: number): Iterable<PeerId> {
    return this.#open.get(partition)?.keys() ?? []
  }

  /** Who has not said yet what it has. */
  get awaited(): Iterable<PeerId> {
    return this.#expected
  }

  isAwaited(peer: PeerId): boolean {
    return this.#expected.has(peer)
  }

  /** One of these may have been primary while we were away: it has not told what it has, and cannot be asked yet. */
  isCutOffFrom(owners: readonly PeerId[]): boolean {
    const { hasLink, isSuspected } = this.#deps
    return owners.some(peer => this.#expected.has(peer) && !hasLink(peer) && !isSuspected(peer))
  }

  /** The table is another. What is gained warms; what is lost is nobody's to wait for. */
  tableChanged(gained: Iterable<number>, lost: Iterable<number>): void {
    for (const partition of lost) this.#lose(partition)
    let isNew = false
    for (const partition of gained) {
      this.#warm(partition)
      isNew = true
    }
    this.#expectOffers()
    if (isNew) this.#deps.onProgress()
  }

  /** Others have gone on without us: nothing of ours is sure until they have told what they have. */
  beginAnew(isOurs: (partition: number) => boolean): void {
    for (let partition = 0; partition < PARTITIONS; partition++) if (isOurs(partition)) this.#warm(partition)
    this.#settled.clear()
    this.#expectOffers()
  }

  offered(peer: PeerId, offer: MessageOf<'offer'>): Reply {
    const { viewHash, mergeFloors, floorNews } = this.#deps
    mergeFloors(offer.floors)
    for (const answer of offer.answers) this.#deps.remember(answer)
    this.#deps.onTables(peer, offer.tables)
    if (offer.viewHash !== viewHash()) return { type: 'notOwner' }
    // The table of this view is made now at the latest, or what is heard before it would be awaited after it.
    this.#deps.primaryOf(0)
    const level: number[] = []
    for (const holding of offer.holdings) {
      if (this.#deps.primaryOf(holding.partition) !== this.#deps.self) continue
      if (!this.#isHere(peer, holding)) this.#add(peer, holding)
      else if (!this.isWarming(holding.partition) && this.#deps.isBackedUp(holding.partition))
        level.push(holding.partition)
    }
    if (offer.last) this.#complete(peer)
    this.#pump()
    // Should the reply be lost, our own offer to it brings them.
    const toTell = floorNews.for(peer)
    floorNews.heard(peer, toTell)
    return { type: 'offered', viewHash: offer.viewHash, tables: this.#tables, level, floors: toTell.floors }
  }

  /** What it has offered cannot be had any more, nor need it be waited for. */
  gone(peer: PeerId): void {
    this.#settled.delete(peer)
    this.#forgetOffers(one => one === peer)
    // It may be back in a moment, and offers anew then; unless the view says that it is gone.
    if (this.#warming > 0 && this.#deps.holders().includes(peer)) {
      this.#expected.add(peer)
      this.#boundWait()
    } else this.#complete(peer)
  }

  #forgetOffers(isOf: (peer: PeerId) => boolean): void {
    for (const [partition, offers] of this.#open)
      for (const peer of offers.keys()) {
        if (!isOf(peer)) continue
        offers.delete(peer)
        this.#deps.stats.sourcesLostTotal++
        if (offers.size === 0) this.#open.delete(partition)
      }
  }

  #warm(partition: number): void {
    if (this.#states[partition] === WARM) this.#warming++
    this.#states[partition] = WARMING
  }

  #lose(partition: number): void {
    if (this.#states[partition] !== WARM) this.#warming--
    this.#states[partition] = WARM
    this.#open.delete(partition)
  }

  #expectOffers(): void {
    this.#tables = (this.#tables + 1) >>> 0
    this.#expected.clear()
    for (const peer of this.#deps.holders()) this.#expected.add(peer)
    this.#forgetOffers(peer => !this.#expected.has(peer))
    this.#boundWait()
    this.#settle()
  }

  #boundWait(): void {
    this.#disarm()
    this.#disarm = this.#deps.clock.after(OFFERS_MS_MAX, () => {
      this.#deps.stats.offersMissedTotal += this.#expected.size
      this.#expected.clear()
      this.#settle()
    })
  }

  #complete(peer: PeerId): void {
    if (this.#expected.delete(peer) || this.#expected.size === 0) this.#settle()
  }

  /** Nobody has anything more of it. */
  #settle(): void {
    if (this.#expected.size > 0) return
    this.#disarm()
    if (this.#warming === 0) return
    for (let partition = 0; partition < PARTITIONS; partition++)
      if (this.#states[partition] !== WARM && !this.#open.has(partition)) this.#warmed(partition)
    this.#deps.onProgress()
  }

  #warmed(partition: number): void {
    this.#states[partition] = WARM
    this.#warming--
    this.#deps.onWarm(partition)
  }

  #isHere(peer: PeerId, holding: Holding): boolean {
    const { store, rankOf } = this.#deps
    if (holding.count === 0) return true
    if (this.#settled.get(peer)?.get(holding.partition) === printOf(holding)) return true
    if (isSame(store.digestOf(holding.partition, 0), holding)) return true
    const rank = rankOf(holding.partition, peer)
    return rank > 0 && isSame(store.digestOf(holding.partition, rank), holding)
  }

  #add(peer: PeerId, holding: Holding): void {
    const offers = this.#open.get(holding.partition) ?? new Map<PeerId, Holding>()
    offers.set(peer, holding)
    this.#order = undefined
    this.#open.set(holding.partition, offers)
  }

  #pump(): void {
    while (!this.#stopped && this.#movers < MOVERS && this.#open.size > 0) {
      const group = this.#nextGroup()
      if (group === undefined) return
      this.#movers++
      void this.#move(group).finally(() => {
        this.#movers--
        if (this.#open.size > 0) this.#pump()
        else if (this.#movers === 0) this.#roundOver()
      })
    }
  }

  #roundOver(): void {
    const moved = this.#moved
    this.#moved = { partitions: 0, records: 0, bytes: 0 }
    if (moved.partitions > 0) this.#deps.onMoved(moved)
    this.#settle()
  }

  /** The hottest partition that is to be had, and others at the same member that come the same way. */
  #nextGroup(): Offer[] | undefined {
    const { store } = this.#deps
    let group: Offer[] | undefined
    let isHeld = false
    for (const partition of this.#byHeat()) {
      const offers = this.#moving.has(partition) ? undefined : this.#openStill(partition)
      if (offers === undefined) continue
      if (group === undefined) {
        const best = this.#bestOf(offers)
        if (best === undefined) continue
        group = [best]
        isHeld = store.holds(partition)
      } else {
        const { peer } = group[0] as Offer
        const holding = offers.get(peer)
        if (holding !== undefined && store.holds(partition) === isHeld) group.push({ peer, holding })
        if (group.length === (isHeld ? LISTED_MAX : GROUP_MAX)) return group
      }
    }
    return group
  }

  /** What several hold has come by the first of them, and what was looked for has come already. */
  #openStill(partition: number): ReadonlyMap<PeerId, Holding> | undefined {
    for (const [peer, holding] of this.#open.get(partition) ?? [])
      if (this.#isHere(peer, holding)) this.#close(peer, holding)
    return this.#open.get(partition)
  }

  /** Who has the most of it, of those that can be asked. */
  #bestOf(offers: ReadonlyMap<PeerId, Holding>): Offer | undefined {
    let best: Offer | undefined
    for (const [peer, holding] of offers)
      if (!this.#resting.has(peer) && holding.count > (best?.holding.count ?? -1)) best = { peer, holding }
    return best
  }

  /** In order until something else is offered. */
  #byHeat(): readonly number[] {
    const heatOf = (partition: number): number =>
      Math.max(0, ...[...(this.#open.get(partition)?.values() ?? [])].map(({ heat }) => heat))
    this.#order ??= [...this.#open.keys()]
      .map(partition => ({ partition, heat: heatOf(partition) }))
      .sort((a, b) => b.heat - a.heat)
      .map(({ partition }) => partition)
    return this.#order
  }

  async #move(group: readonly Offer[]): Promise<void> {
    const [{ peer, holding }] = group as [Offer]
    for (const { holding: one } of group) this.#moving.add(one.partition)
    const isHeld = this.#deps.store.holds(holding.partition)
    const done = isHeld ? await this.#moveNewer(peer, group) : await this.#moveAll(peer, group)
    for (const { holding: one } of group) this.#moving.delete(one.partition)
    if (!done && !this.#stopped) this.#letRest(peer)
  }

  /** It does not answer, or sees another view. It has told us what it has and will not again, so it is asked again. */
  #letRest(peer: PeerId): void {
    this.#resting.add(peer)
    this.#deps.clock.after(REST_MS, () => {
      this.#resting.delete(peer)
      this.#pump()
    })
  }

  async #moveAll(peer: PeerId, group: readonly Offer[]): Promise<boolean> {
    let left = group.map(({ holding }) => holding)
    let after: RecordName = { namespace: '', key: '' }
    while (left.length > 0) {
      const wanted = left.map(({ partition }) => partition)
      const page = await this.#deps.sources.page(peer, wanted, after)
      if (page === undefined || this.#stopped) return false
      for (const record of page.records)
        this.#take(peer, entryOf(record, this.#deps.partitionOf(record.namespace, record.key)))
      for (const answer of page.answers) this.#deps.remember(answer)
      for (const holding of left.slice(0, page.covered)) this.#close(peer, holding)
      const last = page.records.at(-1)
      if (page.covered === 0 && last === undefined) return false
      const isBetween = last !== undefined && page.covered < left.length
      left = left.slice(page.covered)
      // Of what goes on, the page ended in the midst only if its last record is of that partition.
      const isIn = isBetween && this.#deps.partitionOf(last.namespace, last.key) === left[0]?.partition
      after = isIn ? { namespace: last.namespace, key: last.key } : { namespace: '', key: '' }
    }
    return true
  }

  async #moveNewer(peer: PeerId, group: readonly Offer[]): Promise<boolean> {
    const { sources, partitionOf } = this.#deps
    const partitions = group.map(({ holding }) => holding.partition)
    const listings = await Promise.all(partitions.map(partition => sources.versions(peer, partition)))
    const names: RecordName[] = []
    for (const theirs of listings) {
      if (theirs === undefined) return false
      names.push(...lackingHere(theirs, peer, this.#deps))
    }
    const isDone = await sources.records(peer, partitions, names, record =>
      this.#take(peer, entryOf(record, partitionOf(record.namespace, record.key)))
    )
    if (isDone) for (const { holding } of group) this.#close(peer, holding)
    return isDone
  }

  #take(peer: PeerId, entry: Entry): void {
    this.#moved.records++
    this.#moved.bytes += entry.bytes.length + entry.key.length
    // The view may have gone on: whoever is primary now is offered what we have got.
    this.#deps.takeIn(entry, peer)
  }

  /** All that it has of this is here. */
  #close(peer: PeerId, holding: Holding): void {
    const { partition } = holding
    const offers = this.#open.get(partition)
    if (offers?.get(peer) === holding) offers.delete(peer)
    const settled = this.#settled.get(peer) ?? new Map<number, number>()
    settled.set(partition, printOf(holding))
    this.#settled.set(peer, settled)
    this.#moved.partitions++
    if (offers !== undefined && offers.size > 0) return
    this.#open.delete(partition)
    const isOver = this.#expected.size === 0 && this.#states[partition] !== WARM
    if (isOver) this.#warmed(partition)
    this.#deps.onProgress()
  }
}

function printOf({ count, low, high }: Holding): number {
  return (low >>> 0) * 2 ** 20 + ((high ^ count) >>> 12)
}
