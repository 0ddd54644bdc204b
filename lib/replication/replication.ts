/**
 * Copies of records: kept by backups while nothing happens, moved when members come and go, made equal when they meet
 * again. The parts, and who tells whom:
 *
 *   a change here ──▶ backups ──▶ stream of each backup ──▶ copies (over there)
 *                        ▲ repairs: what a digest shows to be different
 *   a table ──▶ backups: who is level · intake: what we have gained and must get · offers: what we have and others own
 *   a read or change of what we do not have yet ──▶ peeks ──▶ gifts (over there)
 *
 * Everything that comes from another member goes through one door, `arrivals.ts`.
 */
import type { Left } from '../observe/movement.ts'
import type { Stats } from '../observe/stats.ts'
import { PARTITIONS } from '../placement/partitions.ts'
import type { Table } from '../placement/table.ts'
import type { Cancel, Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import type { Client } from '../rpc/client.ts'
import type { MessageOf, ReplicaRequest, Reply } from '../rpc/messages.ts'
import type { Answered } from '../rpc/replica-talk.ts'
import type { Entry } from '../store/entry.ts'
import type { Floor } from '../store/floor.ts'
import type { Store } from '../store/store.ts'
import { type MeshClock, stampOf, type Version } from '../store/version.ts'
import { Absences, type Who } from './absences.ts'
import { Arrivals } from './arrivals.ts'
import { Assured } from './assured.ts'
import { Backups } from './backups.ts'
import { Confirmations, type Confirmed } from './confirmations.ts'
import { Copies } from './copies.ts'
import { Doubts } from './doubts.ts'
import { FloorNews } from './floor-news.ts'
import { flushed, type Reached } from './flush.ts'
import { Gifts, type GiftsDeps } from './gifts.ts'
import { Intake, type IntakeDeps } from './intake.ts'
import { Looks } from './looks.ts'
import { Offers } from './offers.ts'
import { Pace } from './pace.ts'
import { type PeekedChange, Peeks } from './peeks.ts'
import { Sources } from './sources.ts'
import { Standstill } from './standstill.ts'

/** How often a member that leaves, or waits for copies, looks again. */
const LOOK_AGAIN_MS = 10
const TICK_MS = 1_000

/** What a new table has changed for this member. */
export interface Roles {
  readonly before: Table
  readonly after: Table
  /** Another process under the id of before. */
  readonly isRenewed: (peer: PeerId) => boolean
  readonly lost: readonly number[]
  readonly won: readonly number[]
  /** Ours before and after, and newcomers may have something of it. */
  readonly shared: readonly number[]
}

export interface ReplicationDeps {
  readonly self: PeerId
  readonly clock: Clock
  readonly meshClock: MeshClock
  readonly client: Client
  readonly store: Store
  readonly stats: Stats
  readonly timeoutMs: number
  readonly bytesPerSecond: number
  readonly tombstoneTtlMs: number
  readonly viewHash: () => number
  readonly table: () => Table
  readonly partitionOf: (namespace: string, key: string) => number
  /** Who owns something in our view, each with the boot of its process. */
  readonly owners: () => readonly Who[]
  readonly bootOf: (peer: PeerId) => number
  readonly isSuspected: (peer: PeerId) => boolean
  /** Suspected, and not heard by us either. */
  readonly isUnheard: (peer: PeerId) => boolean
  readonly hasLink: (peer: PeerId) => boolean
  /** Linked, and out of the view because it is leaving. */
  readonly leavers: () => readonly PeerId[]
  readonly isLeaving: () => boolean
  readonly agreeWith: (peer: PeerId) => Promise<void>
  /** The owner before us, if a partition has come to us a moment ago. */
  readonly ownerBefore: (partition: number) => PeerId | undefined
  /** Something has happened to a key by another way than a change here. */
  readonly onTakenIn: (entry: Entry) => void
  readonly onChanged: (entry: Entry) => void
  /** Records have gone that are not named one by one. */
  readonly onForgotten: () => void
  /** Two values that were written on two sides of a split: what is to be kept; undefined is the newer. */
  readonly reconciled: (ours: Entry, theirs: Entry) => Uint8Array | undefined
  readonly answers: {
    remember(answer: Answered & {}): void
  } & Pick<GiftsDeps, 'answerOf' | 'answersIn'>
  readonly onMoved: IntakeDeps['onMoved']
}

export class Replication {
  readonly #deps: ReplicationDeps
  readonly #backups: Backups
  readonly #intake: Intake
  readonly #offers: Offers
  readonly #looks: Looks
  readonly #copies: Copies
  readonly #gifts: Gifts
  readonly #confirmations: Confirmations
  readonly #absences: Absences
  readonly #floorNews: FloorNews
  readonly #arrivals: Arrivals
  readonly #doubts = new Doubts()
  readonly #assured = new Assured()
  /** By partition, who had the say after us where we had all of it. */
  readonly #passedTo: (PeerId | undefined)[] = new Array(PARTITIONS)
  #disarmTick: Cancel = () => {}
  readonly #standstill: Standstill

  constructor(deps: ReplicationDeps) {
    this.#deps = deps
    const { self, clock, meshClock, client, store, stats, viewHash, partitionOf, answers } = deps
    this.#standstill = new Standstill(meshClock.now())
    this.#floorNews = new FloorNews(store)
    const primaryOf = (partition: number): PeerId | undefined => deps.table().primary(partition)
    const rankOf = (partition: number): number => deps.table().rankOf(self, partition)
    const takeIn = (entry: Entry, from: PeerId): void => this.#arrivals.takeIn(entry, from)
    const remember = (answer: Answered & {}): void => answers.remember(answer)
    const onProgress = (): void => this.#confirmations.changed()
    const isWanted = (ours: Version, theirs: Version, holder: PeerId): boolean =>
      this.#arrivals.isWanted(ours, theirs, holder)
    const isWarming = (partition: number): boolean => this.#intake.isWarming(partition)
    const floors = { floorNews: this.#floorNews, mergeFloors: (all: readonly Floor[]): void => store.mergeFloors(all) }
    const pushes = new Pace(clock, deps.bytesPerSecond)
    const pulls = new Pace(clock, deps.bytesPerSecond)
    this.#backups = new Backups({
      ...{ ...deps, ...floors, ...answers, pace: pushes, isWanted, isWarming, takeIn, onProgress },
      overtaken: entry => this.#arrivals.overtaken(entry)
    })
    this.#intake = new Intake({
      ...{ ...deps, ...floors },
      sources: new Sources({ ...deps, pace: pulls }),
      primaryOf,
      rankOf: (partition, peer) => deps.table().rankOf(peer, partition),
      holders: () => [...this.#others(), ...deps.leavers()],
      isBackedUp: partition => this.#backups.isLevel(partition),
      takeIn: (entry, from) => {
        this.#assured.pulled(entry.partition)
        takeIn(entry, from)
      },
      isWanted,
      remember,
      onTables: (peer, tables) => this.#offers.heardTables(peer, tables),
      onWarm: partition => {
        this.#doubts.end(partition)
        if (this.#intake.warming === 0) this.#assured.forgetAsked()
        this.#backups.warmed(partition)
      },
      onProgress
    })
    this.#offers = new Offers({
      ...{ ...deps, ...floors },
      tables: () => this.#intake.tables,
      answersIn: answers.answersIn
    })
    const peeks = new Peeks({
      client,
      stats,
      takeIn,
      viewHash,
      holdersOf: partition => this.#holdersOf(partition),
      isBefore: (peer, partition) => deps.ownerBefore(partition) === peer && !this.isDoubtful(partition)
    })
    this.#looks = new Looks({
      ...deps,
      peeks,
      assured: this.#assured,
      isWarming,
      isDoubtful: partition => this.isDoubtful(partition),
      isCutOff: partition => this.#intake.isCutOffFrom(deps.table().owners(partition))
    })
    this.#copies = new Copies({
      store,
      meshClock,
      viewHash,
      partitionOf,
      primaryOf,
      rankOf,
      takeIn,
      remember,
      ...floors,
      onEqual: (partition, atMs) => this.#doubts.equal(partition, atMs)
    })
    const passedTo = (partition: number): PeerId | undefined => this.#passedTo[partition]
    this.#gifts = new Gifts({ ...{ ...deps, ...answers }, primaryOf, rankOf, passedTo })
    this.#confirmations = new Confirmations({
      self,
      clock,
      store,
      stats,
      ownersOf: partition => deps.table().owners(partition),
      isSuspected: deps.isSuspected,
      deliver: (peer, entry, delivers, onEnd) => this.#backups.deliver(peer, entry, delivers, onEnd)
    })
    this.#absences = new Absences(self, deps.tombstoneTtlMs)
    this.#arrivals = new Arrivals({
      ...deps,
      backups: this.#backups,
      isWarming,
      apartSince: holder => this.#absences.apartSince(holder, meshClock.now())
    })
    store.leaving.evicted = gone => this.#arrivals.evicted(gone)
    store.leaving.givenUp = partition => this.#copies.gaveUp(partition)
  }

  start(): void {
    this.#backups.start()
    const tick = (): void => {
      this.#standstill.tick(this.#deps.meshClock.now())
      this.#disarmTick = this.#deps.clock.after(TICK_MS, tick)
    }
    tick()
  }

  stop(): void {
    this.#looks.stop()
    this.#disarmTick()
    this.#backups.stop()
    this.#intake.stop()
    this.#offers.stop()
  }

  handle(peer: PeerId, request: Exclude<ReplicaRequest, MessageOf<'readCopy'>>, respond: (reply: Reply) => void): void {
    switch (request.type) {
      case 'copies':
        return respond(this.#copies.receive(peer, request))
      case 'peek':
        return respond(this.#gifts.peek(peer, request))
      case 'offer':
        return respond(this.#intake.offered(peer, request))
      case 'list':
        return respond(this.#gifts.list(request))
      case 'pull':
        return respond(this.#gifts.pull(peer, request))
      case 'flush':
        void this.flush(request.backupAcks, request.untilMs).then(flushed => respond({ type: 'flushed', ...flushed }))
        return
    }
  }

  /** A record of ours has changed. */
  changed(entry: Entry, answer: Answered): void {
    this.#backups.changed(entry, answer)
  }

  /** Told when so many backups have what is there now, or when time is up. */
  confirm(namespace: string, key: string, acks: number, ms: number, onOver: (confirmed: Confirmed) => void): void {
    this.#confirmations.begin(namespace, key, acks, ms, onOver)
  }

  /** Looks at others for what is not here yet. False where nobody can have it; then nothing is called back. */
  look(namespace: string, key: string, change: PeekedChange, onOver: (answer: Answered) => void): boolean {
    return this.#looks.look(namespace, key, change, onOver)
  }

  isWarming(partition: number): boolean {
    return this.#intake.isWarming(partition)
  }

  /** Others may have a newer one than this record of ours, and are to be looked at first. */
  mayBeOld(entry: Entry): boolean {
    const { partition } = entry
    return this.#doubts.has(partition) || (this.#intake.isWarming(partition) && !this.#assured.covers(entry))
  }

  /** What we hold of it may be old: its primary looks at others even where it has something, and a copy is no answer. */
  isDoubtful(partition: number): boolean {
    return this.#doubts.has(partition)
  }

  /** Our copy of it may lack what others have long had. */
  isCopyBehind(partition: number): boolean {
    return !this.#copies.isLevel(partition)
  }

  /** How new our copy of a partition is known to be. */
  copiedUpTo(partition: number): number {
    const { table, self } = this.#deps
    const isAllHere = table().at(partition, 0) === self && !this.#intake.isWarming(partition)
    return isAllHere ? Number.POSITIVE_INFINITY : this.#copies.upTo(partition)
  }

  /**
   * Roles have changed. Each pass over many partitions is a function of its own, and one over none is not begun: the engine
   * compiles what is hot with all of the function around it, for as long as the work itself takes, while reads wait.
   */
  tableChanged(roles: Roles): void {
    const { before, after, isRenewed, lost, won, shared } = roles
    const ranksBefore = before.ranksOf(this.#deps.self)
    if (lost.length > 0) this.#resign(lost)
    if (won.length > 0) this.#takeOver(won, ranksBefore)
    this.#gifts.tableChanged(before, after, isRenewed)
    if (lost.length > 0) this.#passOn(roles)
    this.#copies.ranksChanged(ranksBefore, after.ranksOf(this.#deps.self))
    this.#intake.tableChanged([...won, ...shared], lost)
    this.#backups.tableChanged(before, after, isRenewed)
    this.#offers.viewChanged()
    this.#confirmations.changed()
  }

  #resign(lost: readonly number[]): void {
    for (const partition of lost) this.#deps.store.setRole(partition, false)
  }

  #takeOver(won: readonly number[], ranksBefore: Int8Array): void {
    const { store } = this.#deps
    for (const partition of won) {
      this.#arrivals.won(partition)
      this.#copies.won(partition)
      const rankBefore = this.#copies.isLevel(partition) ? (ranksBefore[partition] as number) : -1
      this.#assured.won(partition, rankBefore)
      this.#copies.level(partition)
      // What a new owner was shown once may be our copy since, and then it is what is left when that one dies.
      store.dropGiven(partition, rankBefore)
      store.setRole(partition, true)
    }
  }

  #passOn({ before, after, isRenewed, lost }: Roles): void {
    const newcomers = after.ids.filter(id => !before.ids.includes(id) || isRenewed(id))
    for (const partition of lost) {
      const to = after.primary(partition)
      const isAllHere = !this.#intake.isWarming(partition) && !this.isDoubtful(partition)
      this.#offers.lost(partition)
      // Whoever else has come may bring what another side of a split wrote; and where we were alone, any may come yet.
      const isLastWord = isAllHere && before.ids.length > 1 && newcomers.every(id => id === to)
      this.#passedTo[partition] = isLastWord ? to : undefined
      if (!this.#intake.isWarming(partition)) this.#copies.lost(partition)
      else this.#copies.behind(partition)
    }
  }

  viewChanged(gone: readonly (Who & { readonly hasLeft: boolean })[], come: readonly Who[]): void {
    const nowMs = this.#deps.meshClock.now()
    for (const one of gone) {
      if (one.hasLeft) this.#absences.left(one.id)
      else this.#absences.went(one, nowMs)
    }
    for (const one of come) {
      const olderMs = this.#absences.came(one, nowMs)
      if (olderMs !== undefined) this.#giveUpOlder(olderMs)
    }
    this.#offers.viewChanged()
    this.#confirmations.changed()
  }

  /** The boot it says in its hello: our view may still have the process of before. */
  linkUp(peer: PeerId, boot: number): void {
    this.#floorNews.forget(peer)
    this.#gifts.linkUp(peer, boot)
    this.#backups.linkUp(peer)
    this.#offers.linkUp(peer)
    this.#confirmations.changed()
  }

  linkDown(peer: PeerId): void {
    this.#floorNews.forget(peer)
    this.#intake.gone(peer)
  }

  /**
   * Others took over what we own, and may have changed what we hold. Asleep, we have missed all that came for our copies
   * too; awake, it is as after a split: a change looks at others first, and a read takes what there is.
   */
  buried(wasAsleep: boolean): void {
    const { meshClock, tombstoneTtlMs, table, self } = this.#deps
    if (wasAsleep) {
      const nowMs = meshClock.now()
      const sinceMs = this.#standstill.sinceMs(nowMs)
      if (nowMs - sinceMs > tombstoneTtlMs) this.#giveUpOlder(sinceMs)
      this.#doubts.all(nowMs)
    }
    this.#intake.beginAnew(partition => table().primary(partition) === self)
    this.#offers.forgetTold()
    this.#offers.viewChanged()
  }

  /** Is all that was changed here until now held by so many backups, where there are as many? */
  flush(acks: number, untilMs: number): Promise<Reached> {
    return flushed({ ...this.#deps, backups: this.#backups, offers: this.#offers }, acks, untilMs)
  }

  /** Waits until others have all that is here, and says what they have got and what not. */
  async handOver(untilMs: number): Promise<Left> {
    const { store, clock, table } = this.#deps
    const [partitions, records, bytes] = [store.heldPartitions().length, store.size, store.bytes]
    this.#offers.viewChanged()
    while (store.size > 0 && clock.monotonic() < untilMs && table().ids.length > 0)
      await new Promise<void>(resolve => clock.after(LOOK_AGAIN_MS, resolve))
    const left = { partitions: store.heldPartitions().length, records: store.size }
    const moved = { partitions: partitions - left.partitions, records: Math.max(0, records - left.records) }
    return { ...moved, bytes: Math.max(0, bytes - store.bytes), left }
  }

  /** Of the partitions we own, those that have all that others had of them. */
  warmShare(): number {
    const owned = this.#deps.table().ownedBy(this.#deps.self).length
    return owned === 0 ? 1 : 1 - this.#intake.warming / owned
  }

  get partitionsWarming(): number {
    return this.#intake.warming
  }

  get pendingRecords(): number {
    return this.#intake.pendingRecords
  }

  /** Of those we own, how many have something that no backup is known to have. */
  partitionsWithoutBackup(): number {
    return this.#backups.partitionsWithout()
  }

  #others(): PeerId[] {
    return this.#deps.owners().flatMap(({ id }) => (id === this.#deps.self ? [] : [id]))
  }

  #holdersOf(partition: number): readonly PeerId[] {
    const { self, table, hasLink, isUnheard, ownerBefore } = this.#deps
    const holders = new Set<PeerId>()
    const before = ownerBefore(partition)
    if (before !== undefined) holders.add(before)
    for (const peer of this.#intake.offerersOf(partition)) holders.add(peer)
    for (const peer of table().owners(partition)) if (this.#intake.isAwaited(peer)) holders.add(peer)
    // Who goes has it still where two tables followed each other so fast that the owner between never had it.
    for (const peer of this.#intake.awaited) holders.add(peer)
    return [...holders].filter(peer => peer !== self && hasLink(peer) && !isUnheard(peer))
  }

  #giveUpOlder(ms: number): void {
    const { stats, store, onForgotten } = this.#deps
    // Who has come to us since may hold what we give up, and is compared.
    for (const partition of store.heldPartitions()) this.#backups.outdated(partition)
    stats.recordsOutdatedTotal += store.dropOlder(stampOf(ms))
    onForgotten()
  }
}
