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
import { PARTITIONS } from '../placement/partitions.ts'
import type { Table } from '../placement/table.ts'
import type { Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import type { Client } from '../rpc/client.ts'
import type { Answered, Holding } from '../rpc/replica-talk.ts'
import { BACKUPS_MAX } from '../rpc/words.ts'
import type { Entry } from '../store/entry.ts'
import type { Store } from '../store/store.ts'
import type { MeshClock } from '../store/version.ts'
import { Levels } from './levels.ts'
import type { Pace } from './pace.ts'
import { Repairs } from './repairs.ts'
import { type End, type Item, Stream } from './stream.ts'

/** All partitions are compared this often, should a copy have been lost in a way that nobody noticed. */
const COMPARE_ALL_MS = 30_000

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
  readonly agreeWith: (peer: PeerId) => Promise<void>
  /** As primary: a record from somebody else. */
  readonly takeIn: (entry: Entry) => void
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
  readonly #repairs: Repairs
  #stopComparing = (): void => {}

  constructor(deps: BackupsDeps) {
    this.#deps = deps
    this.#repairs = new Repairs({
      ...deps,
      send: (peer, item) => this.#streamTo(peer).send(item),
      sendGone: (peer, gone) => this.#streams.get(peer)?.sendGone(gone),
      streamLoad: peer => this.#streams.get(peer)?.waiting ?? 0,
      isOurs: (partition, peer) => this.#rankFor(partition, peer) > 0,
      rankOf: (partition, peer) => this.#rankFor(partition, peer),
      onRepaired: (partition, peer) => {
        if (this.#streams.has(peer)) this.#streamTo(peer).compare([partition])
      }
    })
  }

  start(): void {
    const again = (): void => {
      this.compareAll()
      this.#stopComparing = this.#deps.clock.after(COMPARE_ALL_MS, again)
    }
    this.#stopComparing = this.#deps.clock.after(COMPARE_ALL_MS, again)
  }

  stop(): void {
    this.#stopComparing()
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
      this.#streams.get(owners[rank] as PeerId)?.sendGone({ namespace, key, ...version })
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

  /** All that has copies to keep is known to have them, where there are members enough. */
  isLevel(partition: number): boolean {
    return this.copiesOf(partition) >= this.copiesWanted(partition)
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
    const owners = this.#deps.table().owners(partition).length
    let wanted = Math.min(BACKUPS_MAX, owners - 1)
    while (wanted > 0 && this.#deps.store.digestOf(partition, wanted).count === 0) wanted--
    return wanted
  }

  get streams(): readonly Stream[] {
    return [...this.#streams.values()]
  }

  /** Roles have changed: what was level stays so where the same process has a rank of the same partition still. */
  tableChanged(before: Table, after: Table, isRenewed: (peer: PeerId) => boolean): void {
    const { self } = this.#deps
    const toCompare = new Map<PeerId, number[]>()
    const peers = new Set<PeerId>()
    for (let partition = 0; partition < PARTITIONS; partition++) {
      if (after.primary(partition) !== self) {
        this.#levels.clear(partition)
        continue
      }
      const wasOurs = before.primary(partition) === self
      const level = this.#levelBefore(before, partition, wasOurs)
      this.#levels.clear(partition)
      const owners = after.owners(partition)
      for (let rank = 1; rank < owners.length; rank++) {
        const peer = owners[rank] as PeerId
        peers.add(peer)
        if (level.has(peer) && !isRenewed(peer)) this.#levels.set(partition, rank, true)
        else if (!this.#deps.isWarming(partition)) push(toCompare, peer, partition)
      }
    }
    for (const [peer, stream] of this.#streams) {
      if (peers.has(peer) && !isRenewed(peer)) continue
      stream.close()
      this.#streams.delete(peer)
      this.#doubtful.delete(peer)
    }
    this.#repairs.tableChanged()
    for (const [peer, partitions] of toCompare) this.#compare(peer, partitions)
  }

  /** It has all that others had of it. */
  warmed(partition: number): void {
    const owners = this.#deps.table().owners(partition)
    for (let rank = 1; rank < owners.length; rank++)
      if (!this.#levels.isLevel(partition, rank)) this.#compare(owners[rank] as PeerId, [partition])
  }

  linkUp(peer: PeerId): void {
    this.#lost(peer)
  }

  compareAll(): void {
    const byPeer = new Map<PeerId, number[]>()
    this.#eachRank((partition, rank, peer) => {
      const isEmpty = this.#deps.store.digestOf(partition, rank).count === 0
      if (!isEmpty || !this.#levels.isLevel(partition, rank)) push(byPeer, peer, partition)
    })
    for (const [peer, partitions] of byPeer) this.#compare(peer, partitions)
  }

  /** Of what is not known to be level: perhaps it is by now. */
  compareOpen(): void {
    for (const stream of this.#streams.values()) if (!stream.isIdle) return
    const byPeer = new Map<PeerId, number[]>()
    this.#eachRank((partition, rank, peer) => {
      const isOpen = !this.#levels.isLevel(partition, rank) && this.#deps.store.digestOf(partition, rank).count > 0
      if (isOpen && !this.#repairs.isBusy(peer, partition)) push(byPeer, peer, partition)
    })
    for (const [peer, partitions] of byPeer) this.#compare(peer, partitions)
  }

  #levelBefore(before: Table, partition: number, wasOurs: boolean): ReadonlySet<PeerId> {
    const level = new Set<PeerId>()
    if (!wasOurs) return level
    const owners = before.owners(partition)
    for (let rank = 1; rank < owners.length; rank++)
      if (this.#levels.isLevel(partition, rank)) level.add(owners[rank] as PeerId)
    return level
  }

  #eachRank(visit: (partition: number, rank: number, peer: PeerId) => void): void {
    const table = this.#deps.table()
    for (let partition = 0; partition < PARTITIONS; partition++) {
      if (table.primary(partition) !== this.#deps.self || this.#deps.isWarming(partition)) continue
      const owners = table.owners(partition)
      for (let rank = 1; rank < owners.length; rank++) visit(partition, rank, owners[rank] as PeerId)
    }
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

  #compare(peer: PeerId, partitions: readonly number[]): void {
    if (this.#deps.hasLink(peer)) this.#streamTo(peer).compare(partitions)
  }

  #unlevel(peer: PeerId, partition: number): void {
    const rank = this.#rankFor(partition, peer)
    if (rank > 0) this.#levels.set(partition, rank, false)
  }

  /** What was on its way may or may not be there. */
  #lost(peer: PeerId): void {
    const partitions: number[] = []
    this.#eachRank((partition, rank, other) => {
      if (other !== peer) return
      this.#levels.set(partition, rank, false)
      partitions.push(partition)
    })
    if (partitions.length > 0) this.#compare(peer, partitions)
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
      if (count === undefined) doubtful.delete(partition)
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
      floors: () => store.floors(),
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
      onOtherView: to => void this.#deps.agreeWith(to),
      onSent: (records, bytes) => {
        stats.copiesSentTotal += records
        stats.copiesBytesTotal += bytes
      }
    })
    this.#streams.set(peer, stream)
    return stream
  }
}

function push(map: Map<PeerId, number[]>, peer: PeerId, partition: number): void {
  const known = map.get(peer)
  if (known === undefined) map.set(peer, [partition])
  else known.push(partition)
}
