/**
 * What this member holds and is not the primary of is offered to whoever is: after each change of the table, once the
 * view has been still for a moment, to every other owner, also where there is nothing to offer, so that a new primary
 * knows when it has heard everybody.
 *
 *   offered ─▶ the primary has it, and its backups too ─▶ level ─▶ what is none of our copies is forgotten
 *      ▲                                                   └─ changed here since, or another table: not yet
 *      └──── every second, while something of that kind is left
 *
 * Nothing is forgotten on a guess: what is here is dropped only when the primary of the very table that holds now has
 * said that all its members have it (PROTOCOL R3), and stays first in line to go until then.
 */
import type { Stats } from '../observe/stats.ts'
import { PARTITIONS } from '../placement/partitions.ts'
import type { Table } from '../placement/table.ts'
import type { Cancel, Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import { CallFailed, type Client } from '../rpc/client.ts'
import type { Floor, Holding } from '../rpc/replica-talk.ts'
import type { Store } from '../store/store.ts'
import { isSame } from './copies.ts'
import type { FloorNews } from './floor-news.ts'
import { ANSWERS_MAX, type AnswersIn } from './told-answers.ts'

const STILL_MS = 500
const STILL_MS_MAX = 3_000
const AGAIN_MS = 1_000
const AGAIN_MS_LEAVING = 100
const HOLDINGS_MAX = 512

export interface OffersDeps {
  readonly self: PeerId
  readonly clock: Clock
  readonly client: Client
  readonly store: Store
  readonly stats: Stats
  readonly timeoutMs: number
  readonly viewHash: () => number
  /** How many tables we have had. */
  readonly tables: () => number
  readonly table: () => Table
  /** The process behind an id: another one has another number. */
  readonly bootOf: (peer: PeerId) => number
  readonly hasLink: (peer: PeerId) => boolean
  readonly isLeaving: () => boolean
  readonly agreeWith: (peer: PeerId) => Promise<void>
  readonly mergeFloors: (floors: readonly Floor[]) => void
  readonly floorNews: FloorNews
  readonly answersIn: AnswersIn
}

export class Offers {
  readonly #deps: OffersDeps
  /** By partition, to which process it was offered last. */
  readonly #told = new Float64Array(PARTITIONS)
  /** And with what rank of ours, plus one. */
  readonly #toldRank = new Uint8Array(PARTITIONS)
  /** What was ours and is another's now, until that one has said that it and its backups have all we had of it. */
  readonly #unproved = new Set<number>()
  /** Members that have had all of our offer for our table of now, with how many tables they had had themselves. */
  readonly #complete = new Map<PeerId, number>()
  #tables = -1
  #unstillSinceMs: number | undefined
  #disarm: Cancel = () => {}
  #isRunning = false
  #stopped = false

  constructor(deps: OffersDeps) {
    this.#deps = deps
  }

  stop(): void {
    this.#stopped = true
    this.#disarm()
  }

  viewChanged(): void {
    const { clock, isLeaving } = this.#deps
    const nowMs = clock.monotonic()
    this.#unstillSinceMs ??= nowMs
    const stillMs = isLeaving() ? 0 : STILL_MS
    this.#runIn(Math.min(stillMs, Math.max(0, this.#unstillSinceMs + STILL_MS_MAX - nowMs)))
  }

  /** A member that has come, or come back, has heard nothing from us. */
  linkUp(peer: PeerId): void {
    this.#complete.delete(peer)
    this.#forgetToldTo(peer)
    this.viewChanged()
  }

  /** It has another table than when it heard us, so it waits for us again. */
  heardTables(peer: PeerId, tables: number): void {
    const known = this.#complete.get(peer)
    if (known === undefined || known === tables) return
    this.#complete.delete(peer)
    this.#forgetToldTo(peer)
    this.viewChanged()
  }

  #forgetToldTo(peer: PeerId): void {
    // By who was told, and not by whose it is: our table may be of before it came.
    const boot = this.#deps.bootOf(peer)
    for (let partition = 0; partition < this.#told.length; partition++)
      if (this.#told[partition] === boot) this.#told[partition] = 0
  }

  /** What was ours may have changed since its primary of now was told, when it was that before. */
  lost(partition: number): void {
    this.#told[partition] = 0
    if (this.#deps.store.holds(partition)) this.#unproved.add(partition)
  }

  /** We have something of it from when it was ours, and nobody has said yet that it is safe with others. */
  isUnproved(partition: number): boolean {
    return this.#unproved.has(partition) && this.#deps.table().primary(partition) !== this.#deps.self
  }

  /** Everything we have is to be offered again: those who have it may have changed it without us. */
  forgetTold(): void {
    this.#told.fill(0)
  }

  #runIn(ms: number): void {
    this.#disarm()
    if (!this.#stopped) this.#disarm = this.#deps.clock.after(ms, () => void this.#run())
  }

  async #run(): Promise<void> {
    // One round after the other; a change of the view in between begins another.
    if (this.#isRunning) return this.#runIn(AGAIN_MS_LEAVING)
    this.#isRunning = true
    this.#unstillSinceMs = undefined
    try {
      const isAllSaid = await this.#round()
      if (!isAllSaid) this.#runIn(this.#deps.isLeaving() ? AGAIN_MS_LEAVING : AGAIN_MS)
    } finally {
      this.#isRunning = false
    }
  }

  /** True when everybody has heard us, and nothing is left that is not ours to keep. */
  async #round(): Promise<boolean> {
    const table = this.#deps.table()
    const hash = this.#deps.viewHash()
    const tables = this.#deps.tables()
    if (tables !== this.#tables) this.#complete.clear()
    this.#tables = tables
    const byPeer = this.#toOffer(table)
    const others = table.ids.filter(id => id !== this.#deps.self)
    const asked = others.filter(id => byPeer.has(id) || !this.#complete.has(id))
    await Promise.all(asked.map(peer => this.#offer(peer, byPeer.get(peer) ?? [], hash)))
    if (this.#deps.viewHash() !== hash) return true
    return others.every(id => this.#complete.has(id)) && this.#leftovers(this.#deps.table()) === 0
  }

  #toOffer(table: Table): Map<PeerId, number[]> {
    const byPeer = new Map<PeerId, number[]>()
    for (const partition of this.#deps.store.heldPartitions()) {
      const primary = table.primary(partition)
      if (primary === undefined || primary === this.#deps.self) continue
      const isTold =
        this.#told[partition] === this.#deps.bootOf(primary) &&
        this.#toldRank[partition] === this.#rankIn(table, partition)
      if (isTold && this.#excess(table, partition) === 0 && !this.#unproved.has(partition)) continue
      const known = byPeer.get(primary)
      if (known === undefined) byPeer.set(primary, [partition])
      else known.push(partition)
    }
    return byPeer
  }

  async #offer(peer: PeerId, partitions: readonly number[], hash: number): Promise<void> {
    if (!this.#deps.hasLink(peer)) return
    for (let from = 0; from === 0 || from < partitions.length; from += HOLDINGS_MAX) {
      const part = partitions.slice(from, from + HOLDINGS_MAX)
      const last = from + HOLDINGS_MAX >= partitions.length
      const tables = await this.#offerPart(peer, part, last, hash)
      if (tables === undefined) return
      if (last) this.#complete.set(peer, tables)
    }
  }

  async #offerPart(
    peer: PeerId,
    partitions: readonly number[],
    last: boolean,
    hash: number
  ): Promise<number | undefined> {
    const { client, timeoutMs, viewHash, bootOf, agreeWith, mergeFloors, answersIn, floorNews } = this.#deps
    const toTell = floorNews.for(peer)
    const holdings = partitions.map(partition => this.#holdingOf(partition))
    const boot = bootOf(peer)
    const ranks = new Map(partitions.map(partition => [partition, this.#rankIn(this.#deps.table(), partition)]))
    const offer = {
      type: 'offer',
      viewHash: hash,
      tables: this.#tables,
      last,
      holdings,
      answers: answersIn(new Set(partitions), ANSWERS_MAX),
      floors: toTell.floors
    } as const
    try {
      const reply = await client.call(peer, offer, { timeoutMs }).reply
      if (reply.type !== 'offered') {
        await agreeWith(peer)
        return undefined
      }
      mergeFloors(reply.floors)
      floorNews.heard(peer, toTell)
      for (const { partition } of holdings) {
        this.#told[partition] = boot
        this.#toldRank[partition] = ranks.get(partition) as number
      }
      const level = new Set(reply.level)
      // Level in the table that holds now, or in none.
      if (viewHash() === hash) for (const holding of holdings) if (level.has(holding.partition)) this.#proved(holding)
      return viewHash() === hash ? reply.tables : undefined
    } catch (error) {
      if (!(error instanceof CallFailed)) throw error
      return undefined
    }
  }

  #rankIn(table: Table, partition: number): number {
    return table.rankOf(this.#deps.self, partition) + 1
  }

  #holdingOf(partition: number): Holding {
    const { store } = this.#deps
    return { partition, ...store.digestOf(partition, 0), heat: store.heatOf(partition) }
  }

  /** What is here and none of our copies goes, unless something has changed since it was offered. */
  #proved(offered: Holding): void {
    const { store, table, stats } = this.#deps
    const { partition } = offered
    if (!isSame(store.digestOf(partition, 0), offered)) return
    this.#unproved.delete(partition)
    const rank = table().rankOf(this.#deps.self, partition)
    if (rank === 0) return
    stats.recordsMovedAwayTotal += store.dropExcess(partition, rank < 0 ? Number.POSITIVE_INFINITY : rank)
  }

  /** Records that are none of our copies. */
  #excess(table: Table, partition: number): number {
    const { store, self } = this.#deps
    const rank = table.rankOf(self, partition)
    if (rank === 0) return 0
    const all = store.countOf(partition, 0)
    return rank < 0 ? all : all - store.countOf(partition, rank)
  }

  /** Of what is here, so much is to be offered again. */
  #leftovers(table: Table): number {
    let left = 0
    for (const partition of this.#deps.store.heldPartitions())
      left += this.#excess(table, partition) + (this.isUnproved(partition) ? 1 : 0)
    return left
  }
}
