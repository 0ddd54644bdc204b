/**
 * What a backup has differently is put right, by its primary: one partition of one member at a time, hottest first, at
 * the pace of everything that moves.
 *
 *   nothing is there ─▶ push all
 *   else ─▶ list their versions ─▶ theirs is newer, or not here: pull it ─▶ ours is newer, or not there: push it
 *        ─▶ compared once more; what differs again and again is left for longer each time
 *
 * What the primary has given up for want of room would come back from a backup that has missed that, and push out
 * something else, for ever. So what is not here is pulled only where there is room for it; else the backup forgets it too.
 */
import type { Stats } from '../observe/stats.ts'
import type { Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import type { Client } from '../rpc/client.ts'
import type { Entry } from '../store/entry.ts'
import type { Store } from '../store/store.ts'
import { isNewer, type MeshClock, type Version } from '../store/version.ts'
import type { Pace } from './pace.ts'
import { entryOf } from './record.ts'
import { type Listing, lackingHere, type RecordName, Sources } from './sources.ts'
import type { Gone, Item } from './stream.ts'

/** Records on their way to one member before more are read out of the store. */
const AHEAD_RECORDS_MAX = 4_096
const LOOK_AGAIN_MS = 5
/** Repaired in one turn: a read waits for no more than that, and others have the processor after it. */
const TURN_PARTITIONS = 32
const TURN_PAUSE_MS = 5
const REST_MS_MIN = 1_000
const REST_MS_MAX = 60_000

export interface RepairsDeps {
  readonly clock: Clock
  readonly meshClock: MeshClock
  readonly client: Client
  readonly store: Store
  readonly stats: Stats
  readonly timeoutMs: number
  readonly pace: Pace
  readonly viewHash: () => number
  readonly takeIn: (entry: Entry, from: PeerId) => void
  /** What they have is to be looked at, beside what we have. */
  readonly isWanted: (ours: Version, theirs: Version, holder: PeerId) => boolean
  readonly send: (peer: PeerId, item: Item) => void
  readonly sendGone: (peer: PeerId, gone: Gone) => void
  readonly streamLoad: (peer: PeerId) => number
  readonly isOurs: (partition: number, peer: PeerId) => boolean
  readonly rankOf: (partition: number, peer: PeerId) => number
  readonly onRepaired: (partition: number, peer: PeerId) => void
}

interface Work {
  /** Partitions, and how many records of them are there. */
  readonly queue: Map<number, number>
  isRunning: boolean
}

interface Restless {
  times: number
  untilMs: number
}

export class Repairs {
  readonly #deps: RepairsDeps
  readonly #sources: Sources
  readonly #work = new Map<PeerId, Work>()
  /** Repaired of late, and how often. */
  readonly #restless = new Map<string, Restless>()
  #stopped = false

  constructor(deps: RepairsDeps) {
    this.#deps = deps
    this.#sources = new Sources(deps)
  }

  stop(): void {
    this.#stopped = true
    this.#work.clear()
  }

  /** Everything is compared anew in the new table. */
  tableChanged(): void {
    this.#restless.clear()
    for (const { queue } of this.#work.values()) queue.clear()
  }

  add(peer: PeerId, partition: number, count: number): void {
    if (this.#stopped) return
    const work = this.#work.get(peer) ?? { queue: new Map(), isRunning: false }
    this.#work.set(peer, work)
    if (work.queue.has(partition) || this.#rests(peer, partition)) return
    work.queue.set(partition, count)
    if (!work.isRunning) void this.#run(peer, work)
  }

  isBusy(peer: PeerId, partition: number): boolean {
    return this.#work.get(peer)?.queue.has(partition) === true
  }

  get pending(): number {
    let pending = 0
    for (const { queue, isRunning } of this.#work.values()) pending += queue.size + (isRunning ? 1 : 0)
    return pending
  }

  /** In a turn of its own, when all that differs is known. */
  async #run(peer: PeerId, work: Work): Promise<void> {
    work.isRunning = true
    await new Promise<void>(resolve => this.#deps.clock.defer(resolve))
    const order = [...work.queue.keys()].sort((a, b) => this.#deps.store.heatOf(b) - this.#deps.store.heatOf(a))
    let repaired = 0
    for (const partition of order) {
      const count = work.queue.get(partition)
      if (count === undefined || this.#stopped) continue
      work.queue.delete(partition)
      if (!this.#deps.isOurs(partition, peer)) continue
      const isDone = await this.#repair(peer, partition, count)
      if (isDone && !this.#stopped && this.#deps.isOurs(partition, peer)) this.#deps.onRepaired(partition, peer)
      if (++repaired % TURN_PARTITIONS === 0) await this.#sleep(TURN_PAUSE_MS)
    }
    work.isRunning = false
    if (work.queue.size > 0 && !this.#stopped) void this.#run(peer, work)
  }

  /** False where the other side could not be asked: a new table, link or comparison begins again. */
  async #repair(peer: PeerId, partition: number, count: number): Promise<boolean> {
    const { store, rankOf } = this.#deps
    this.#deps.stats.repairsTotal++
    const rank = rankOf(partition, peer)
    const theirs = count === 0 ? new Map() : await this.#sources.versions(peer, partition)
    if (theirs === undefined) return false
    if (!(await this.#pullNewer(peer, partition, theirs))) return false
    let after: RecordName = { namespace: '', key: '' }
    for (;;) {
      if (!this.#deps.isOurs(partition, peer) || this.#stopped) return false
      const { records, isComplete } = store.recordsIn(partition, rank, after, this.#deps.pace.goBytes)
      const nowMs = this.#deps.meshClock.now()
      const lacking = records.filter(entry => entry.expiresAtMs > nowMs && isLackedBy(theirs, entry))
      await this.#push(peer, lacking)
      const last = records.at(-1)
      if (isComplete || last === undefined) return true
      after = { namespace: last.namespace, key: last.key }
    }
  }

  async #pullNewer(peer: PeerId, partition: number, theirs: Listing): Promise<boolean> {
    const { store, takeIn, sendGone } = this.#deps
    return this.#sources.records(peer, [partition], lackingHere(theirs, peer, this.#deps), record => {
      const entry = entryOf(record, partition)
      const isRefused = store.versionOf(entry.namespace, entry.key) === undefined && !store.hasRoom(entry)
      if (isRefused) sendGone(peer, { namespace: entry.namespace, key: entry.key, ...entry.version })
      else takeIn(entry, peer)
    })
  }

  async #push(peer: PeerId, entries: readonly Entry[]): Promise<void> {
    if (entries.length === 0) return
    const { pace, send, stats, streamLoad } = this.#deps
    const bytes = entries.reduce((sum, entry) => sum + entry.bytes.length + entry.key.length, 0)
    await pace.take(bytes)
    while (streamLoad(peer) > AHEAD_RECORDS_MAX && !this.#stopped) await this.#sleep(LOOK_AGAIN_MS)
    for (const entry of entries) {
      // It may have been changed or given up while this waited.
      const version = this.#deps.store.versionOf(entry.namespace, entry.key)?.version
      if (version?.stamp !== entry.version.stamp || version.writer !== entry.version.writer) continue
      send(peer, { entry, answer: undefined, delivers: false, isFresh: false, onEnd: undefined })
    }
    stats.recordsPushedTotal += entries.length
    stats.transferBytesTotal += bytes
  }

  #sleep(ms: number): Promise<void> {
    return new Promise(resolve => this.#deps.clock.after(ms, resolve))
  }

  /** The first repairs follow at once; what differs still is left alone for longer each time. */
  #rests(peer: PeerId, partition: number): boolean {
    const name = `${peer} ${partition}`
    const nowMs = this.#deps.clock.monotonic()
    const known = this.#restless.get(name) ?? { times: 0, untilMs: 0 }
    if (known.untilMs > nowMs) return true
    known.times++
    if (known.times > 3) known.untilMs = nowMs + Math.min(REST_MS_MIN * 2 ** (known.times - 3), REST_MS_MAX)
    this.#restless.set(name, known)
    return false
  }
}

function isLackedBy(theirs: Listing, { namespace, key, version, expiresAtMs }: Entry): boolean {
  const there = theirs.get(`${namespace}\n${key}`)
  if (there === undefined) return true
  const isSame = there.version.stamp === version.stamp && there.version.writer === version.writer
  return isSame ? there.expiresAtMs !== expiresAtMs : isNewer(version, there.version)
}
