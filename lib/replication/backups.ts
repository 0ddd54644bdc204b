/**
 * The copies of what this member is primary of: each change goes to its backups, and what a backup lacks is found and
 * brought to it.
 *
 *   changed ─▶ stream of each backup ─▶ held by k of them ─▶ whoever waits for that is told
 *   table, link, time ─▶ digests ─▶ equal: level · not equal: repair ─▶ digests again
 *
 * A stream that is lost is not resent: all partitions it was for are compared anew, which costs what has changed and
 * not what is there.
 */
import type { Stats } from '../observe/stats.ts'
import type { Table } from '../placement/table.ts'
import type { Cancel, Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import type { Client } from '../rpc/client.ts'
import type { Answered, Holding } from '../rpc/replica-talk.ts'
import { BACKUPS_MAX } from '../rpc/words.ts'
import type { Entry } from '../store/entry.ts'
import type { Store } from '../store/store.ts'
import type { MeshClock, Version } from '../store/version.ts'
import { GIVEN_UP } from './copies.ts'
import type { FloorNews } from './floor-news.ts'
import { isSure, Levels } from './levels.ts'
import type { Pace } from './pace.ts'
import { Repairs } from './repairs.ts'
import { type End, type Gone, type Item, Stream } from './stream.ts'
import { type AnswersIn, answersToTell } from './told-answers.ts'

/** All partitions are compared this often, should a copy have been lost in a way that nobody noticed. */
const COMPARE_ALL_MS = 30_000
/** What is not level is looked at this often. */
const COMPARE_OPEN_MS = 2_000
const AGAIN_MS = 100
/**
 * So long after a table or a link has changed: then every member has all that follows from it to do at once, much of it for
 * the first time, and reads wait for that. Nothing is later level by it.
 */
const SOON_MS = 300
/** A backup that has no room for a partition is left alone with it for so long. */
const SHORT_MS = 60_000

export interface BackupsDeps {
  readonly self: PeerId
  readonly clock: Clock
  readonly meshClock: MeshClock
  readonly client: Client
  readonly store: Store
  readonly stats: Stats
  readonly timeoutMs: number
  readonly pace: Pace
  readonly viewHash: () => number
  readonly table: () => Table
  readonly hasLink: (peer: PeerId) => boolean
  readonly isWarming: (partition: number) => boolean
  readonly floorNews: FloorNews
  readonly agreeWith: (peer: PeerId) => Promise<void>
  readonly answersIn: AnswersIn
  /** As primary: a record from somebody else. */
  readonly takeIn: (entry: Entry, from: PeerId) => void
  readonly isWanted: (ours: Version, theirs: Version, holder: PeerId) => boolean
  /** A higher version was there than the one we have just made. */
  readonly overtaken: (entry: Entry) => void
  /** Something has become level, or was sent. */
  readonly onProgress: () => void
}

export class Backups {
  readonly #deps: BackupsDeps
  readonly #levels = new Levels()
  readonly #streams = new Map<PeerId, Stream>()
  /** Have differed once: compared exactly the next time. */
  readonly #doubtful = new Map<PeerId, Set<number>>()
  /** What a backup had no room for, and until when it is not asked again. */
  readonly #short = new Map<PeerId, Map<number, number>>()
  readonly #repairs: Repairs
  #stopComparing = (): void => {}
  /** Set while what is open will be compared soon. */
  #forgetSoon: Cancel | undefined

  constructor(deps: BackupsDeps) {
    this.#deps = deps
    this.#repairs = new Repairs({
      ...deps,
      send: (peer, item) => this.#streamTo(peer).send(item),
      sendGone: (peer, gone) => this.#sendGone(peer, gone),
      streamLoad: peer => this.#streams.get(peer)?.waiting ?? 0,
      isOurs: (partition, peer) => this.#rankFor(partition, peer) > 0,
      rankOf: (partition, peer) => this.#rankFor(partition, peer),
      onRepaired: (partition, peer) => {
        if (this.#streams.has(peer)) this.#streamTo(peer).compare([partition])
      }
    })
  }

  start(): void {
    let rounds = 0
    const again = (): void => {
      // What a table that is made now sets going is not for this round.
      if (this.#deps.store.size > 0) this.#deps.table()
      if (++rounds % (COMPARE_ALL_MS / COMPARE_OPEN_MS) === 0) this.compareAll()
      else if (this.#forgetSoon === undefined) this.compareOpen()
      this.#stopComparing = this.#deps.clock.after(COMPARE_OPEN_MS, again)
    }
    this.#stopComparing = this.#deps.clock.after(COMPARE_OPEN_MS, again)
  }

  stop(): void {
    this.#stopComparing()
    this.#forgetSoon?.()
    this.#repairs.stop()
    for (const stream of this.#streams.values()) stream.close()
    this.#streams.clear()
  }

  /** A record has changed here, its primary. */
  changed(entry: Entry, answer: Answered, isFresh = true): void {
    const owners = this.#deps.table().owners(entry.partition)
    if (owners[0] !== this.#deps.self) return
    for (let rank = 1; rank <= entry.backups && rank < owners.length; rank++)
      this.#send(owners[rank] as PeerId, { entry, answer, delivers: false, isFresh, onEnd: undefined })
  }

  evicted({
    namespace,
    key,
    partition,
    version,
    backups
  }: Pick<Entry, 'namespace' | 'key' | 'partition' | 'version' | 'backups'>): void {
    const owners = this.#deps.table().owners(partition)
    if (owners[0] !== this.#deps.self) return
    for (let rank = 1; rank <= backups && rank < owners.length; rank++)
      this.#sendGone(owners[rank] as PeerId, { namespace, key, ...version })
  }

  /** To one of those that are to have it, to be told what became of it. */
  deliver(peer: PeerId, entry: Entry, delivers: boolean, onEnd: (end: End, peer: PeerId) => void): void {
    const last = delivers ? undefined : this.#streams.get(peer)?.last(entry)
    if (last === undefined) {
      this.#send(peer, { entry, answer: undefined, delivers, isFresh: true, onEnd })
      return
    }
    const before = last.onEnd
    last.onEnd = (end, by) => {
      before?.(end, by)
      onEnd(end, by)
    }
  }

  /** All that has copies to keep is known to have them, or has no room for them. */
  isLevel(partition: number): boolean {
    const table = this.#deps.table()
    for (let rank = this.copiesWanted(partition); rank > 0; rank--) {
      const isShort = this.#isShort(table.at(partition, rank) as PeerId, partition)
      if (!isShort && !this.#levels.isLevel(partition, rank)) return false
    }
    return true
  }

  /** So many backups are known to have no less and no more than we, also where nothing is left here. */
  isKnownLevel(partition: number, backups: number): boolean {
    const { ranks } = this.#deps.table()
    for (let rank = Math.min(backups, ranks - 1); rank > 0; rank--)
      if (!this.#levels.isLevel(partition, rank)) return false
    return true
  }

  /** Of those that are ours, how many have something that is to have a backup, and none is known to have all of it. */
  partitionsWithout(): number {
    const { store, self } = this.#deps
    const table = this.#deps.table()
    let without = 0
    for (const partition of store.heldPartitions()) {
      if (table.at(partition, 0) !== self || store.countOf(partition, 1) === 0) continue
      if (table.ranks < 2 || !this.#levels.isLevel(partition, 1)) without++
    }
    return without
  }

  /** How many backups are known to be level, from the first rank on. */
  copiesOf(partition: number): number {
    const wanted = this.copiesWanted(partition)
    let level = 0
    while (level < wanted && this.#levels.isLevel(partition, level + 1)) level++
    return level
  }

  /** How many backups this partition's records are to have, and can. */
  copiesWanted(partition: number): number {
    let wanted = Math.min(BACKUPS_MAX, this.#deps.table().ranks - 1)
    while (wanted > 0 && this.#deps.store.countOf(partition, wanted) === 0) wanted--
    return wanted
  }

  get streams(): readonly Stream[] {
    return [...this.#streams.values()]
  }

  /** Roles have changed: what was level stays so where the same process has a rank of the same partition still. */
  tableChanged(before: Table, after: Table, isRenewed: (peer: PeerId) => boolean): void {
    const renewed = new Set(after.ids.filter(isRenewed))
    this.#carryLevels(before, after, renewed)
    this.#closeStreams(peer => after.ids.includes(peer) && !renewed.has(peer))
    this.#repairs.tableChanged()
    for (const [peer, answers] of answersToTell(before, after, { ...this.#deps, renewed }))
      if (this.#deps.hasLink(peer)) this.#streamTo(peer).tell(answers)
    this.#compareSoon()
  }

  #carryLevels(before: Table, after: Table, renewed: ReadonlySet<PeerId>): void {
    const { self, store } = this.#deps
    const partitions = this.#inQuestion()
    const bitsBefore = this.#levels.setAll()
    for (const partition of partitions) {
      if (after.at(partition, 0) !== self) continue
      const wasOurs = before.at(partition, 0) === self
      const bits = bitsBefore[partition] as number
      for (let rank = 1; rank < after.ranks; rank++) {
        const peer = after.at(partition, rank) as PeerId
        const isCarried = wasOurs && !renewed.has(peer)
        const was = isCarried ? wasLevel(before, partition, bits, peer, rank) : undefined
        // What is empty here is level, for whoever has something of it offers it; unless it has, and we gave it up since.
        this.#levels.set(partition, rank, was ?? (isSure(bits) && store.countOf(partition, rank) === 0))
      }
    }
  }

  /** Something has come into what warms: whatever was level with it before is not any more. */
  outdated(partition: number): void {
    this.#levels.clear(partition)
  }

  /** It has all that others had of it. */
  warmed(partition: number): void {
    const table = this.#deps.table()
    for (let rank = 1; rank < table.ranks; rank++) {
      // What has come while it warmed has gone to nobody yet, even if it is over by now.
      const isEmpty = this.#deps.store.countOf(partition, rank) === 0
      const isLevel = isEmpty && this.#levels.isLevel(partition, rank)
      this.#levels.set(partition, rank, isLevel)
      if (!isLevel) this.#compare(table.at(partition, rank) as PeerId, [partition])
    }
  }

  linkUp(peer: PeerId): void {
    this.#lost(peer)
  }

  compareAll(): void {
    const byPeer = new Map<PeerId, number[]>()
    this.#eachRank((partition, _, peer) => push(byPeer, peer, partition))
    for (const [peer, partitions] of byPeer) this.#compare(peer, partitions)
  }

  /** Of what is not known to be level: perhaps it is by now. */
  compareOpen(): void {
    for (const stream of this.#streams.values()) if (!stream.isIdle) return
    this.#compareOpenNow()
  }

  #compareSoon(): void {
    this.#forgetSoon ??= this.#deps.clock.after(SOON_MS, () => {
      this.#forgetSoon = undefined
      this.#compareOpenNow()
    })
  }

  #compareOpenNow(): void {
    const byPeer = new Map<PeerId, number[]>()
    this.#eachRank((partition, rank, peer) => {
      if (this.#levels.isLevel(partition, rank) || this.#repairs.isBusy(peer, partition)) return
      push(byPeer, peer, partition)
    })
    for (const [peer, partitions] of byPeer) this.#compare(peer, partitions)
  }

  #closeStreams(isKept: (peer: PeerId) => boolean): void {
    for (const [peer, stream] of this.#streams) {
      if (isKept(peer)) continue
      stream.close()
      this.#streams.delete(peer)
      this.#doubtful.delete(peer)
      this.#short.delete(peer)
    }
  }

  /** Of each partition that is ours and warm, and not empty or not known to be so everywhere. */
  #eachRank(visit: (partition: number, rank: number, peer: PeerId) => void): void {
    const { self, store, isWarming } = this.#deps
    const partitions = this.#inQuestion()
    // A table may have to be made: a mesh that forms holds nothing yet, and would make one with each link.
    if (partitions.size === 0) return
    const table = this.#deps.table()
    for (const partition of partitions) {
      if (table.at(partition, 0) !== self || isWarming(partition)) continue
      for (let rank = 1; rank < table.ranks; rank++) {
        const peer = table.at(partition, rank) as PeerId
        const isEmpty = store.countOf(partition, rank) === 0 && this.#levels.isLevel(partition, rank)
        if (!isEmpty && !this.#isShort(peer, partition)) visit(partition, rank, peer)
      }
    }
  }

  /** What we hold, and what we held when it was not level yet: a backup may hold it still. */
  #inQuestion(): ReadonlySet<number> {
    return new Set([...this.#deps.store.heldPartitions(), ...this.#levels.open()])
  }

  #rankFor(partition: number, peer: PeerId): number {
    const table = this.#deps.table()
    return table.primary(partition) === this.#deps.self ? table.rankOf(peer, partition) : -1
  }

  #send(peer: PeerId, item: Item): void {
    if (this.#deps.hasLink(peer)) this.#streamTo(peer).send(item)
    else {
      this.#unlevel(peer, item.entry.partition)
      item.onEnd?.('lost', peer)
    }
  }

  #sendGone(peer: PeerId, gone: Gone): void {
    if (this.#deps.hasLink(peer)) this.#streamTo(peer).sendGone(gone)
  }

  #compare(peer: PeerId, partitions: readonly number[]): void {
    if (this.#deps.hasLink(peer)) this.#streamTo(peer).compare(partitions)
  }

  /** Has no room for this partition; with `now` it has just said so. */
  #isShort(peer: PeerId, partition: number, now = false): boolean {
    const nowMs = this.#deps.clock.monotonic()
    const known = this.#short.get(peer)
    if (now) {
      this.#unlevel(peer, partition)
      this.#short.set(peer, (known ?? new Map<number, number>()).set(partition, nowMs + SHORT_MS))
      return true
    }
    const untilMs = known?.get(partition)
    if (untilMs === undefined || untilMs > nowMs) return untilMs !== undefined
    known?.delete(partition)
    return false
  }

  #unlevel(peer: PeerId, partition: number): void {
    const rank = this.#rankFor(partition, peer)
    if (rank > 0) this.#levels.set(partition, rank, false)
  }

  /** What was on its way may or may not be there. */
  #lost(peer: PeerId): void {
    this.#eachRank((partition, rank, other) => {
      if (other === peer) this.#levels.set(partition, rank, false)
    })
    this.#compareSoon()
    this.#deps.onProgress()
  }

  #compared(peer: PeerId, partitions: readonly number[], differing: ReadonlyMap<number, number>): void {
    const doubtful = this.#doubtful.get(peer) ?? new Set<number>()
    this.#doubtful.set(peer, doubtful)
    const again: number[] = []
    for (const partition of partitions) {
      const rank = this.#rankFor(partition, peer)
      if (rank <= 0) continue
      const count = differing.get(partition)
      this.#levels.set(partition, rank, count === undefined)
      if (count === GIVEN_UP) this.#isShort(peer, partition, true)
      else if (count === undefined) doubtful.delete(partition)
      else if (doubtful.delete(partition)) this.#repairs.add(peer, partition, count)
      else {
        doubtful.add(partition)
        again.push(partition)
      }
    }
    if (again.length > 0) this.#compare(peer, again)
    this.#deps.onProgress()
  }

  #holdingFor(partition: number, peer: PeerId): Holding | undefined {
    const rank = this.#rankFor(partition, peer)
    if (rank <= 0) return undefined
    const { store, meshClock } = this.#deps
    const isDoubtful = this.#doubtful.get(peer)?.has(partition) === true
    const digest = isDoubtful ? store.digestAt(partition, rank, meshClock.now()) : store.digestOf(partition, rank)
    return { partition, ...digest, heat: 0 }
  }

  #streamTo(peer: PeerId): Stream {
    const known = this.#streams.get(peer)
    if (known !== undefined) return known
    const { clock, client, timeoutMs, viewHash, meshClock, store, stats } = this.#deps
    const stream = new Stream(peer, {
      clock,
      client,
      timeoutMs,
      viewHash,
      nowMs: () => meshClock.now(),
      floors: this.#deps.floorNews,
      onFloors: floors => store.mergeFloors(floors),
      holdingFor: (partition, to) => this.#holdingFor(partition, to),
      onLost: to => {
        // Calls over a dead link end before anybody is told that it is dead, and a new one may be up by then.
        if (this.#streams.get(to) === stream) this.#streams.delete(to)
        stream.close()
        this.#lost(to)
      },
      onCompared: (to, partitions, differing) => this.#compared(to, partitions, differing),
      onNewer: (to, item) => {
        if (item.isFresh) this.#deps.overtaken(item.entry)
        this.#repairs.add(to, item.entry.partition, 1)
      },
      onOtherView: (to, uncompared) => {
        const again = (): void => {
          clock.after(AGAIN_MS, () => this.#compare(to, uncompared))
        }
        void this.#deps.agreeWith(to).then(again)
      },
      onShort: (to, partition) => this.#isShort(to, partition, true),
      onRefused: () => {
        stats.copiesRefusedTotal++
      },
      onSent: (records, bytes) => {
        stats.copiesSentTotal += records
        stats.copiesBytesTotal += bytes
      }
    })
    this.#streams.set(peer, stream)
    return stream
  }
}

/** With a rank as low as this one, for what a backup of a higher rank keeps is less; undefined where it had none. */
function wasLevel(before: Table, partition: number, bits: number, peer: PeerId, rank: number): boolean | undefined {
  for (let old = 1; old <= rank && old < before.ranks; old++)
    if (before.at(partition, old) === peer) return (bits & (1 << old)) !== 0
  return undefined
}

function push(map: Map<PeerId, number[]>, peer: PeerId, partition: number): void {
  const known = map.get(peer)
  if (known === undefined) map.set(peer, [partition])
  else known.push(partition)
}
