/**
 * Writes that wait until so many backups have them (PROTOCOL R1).
 *
 *   made here ─▶ delivered to the backups ─▶ held by k of them ─▶ told
 *                   │                          └─ the deadline, or fewer members than that: told how many
 *                   ├─ moved, lost: delivered again to whoever has the ranks by then
 *                   └─ we are primary no more: brought to the new primary, which has to have it too
 *
 * Who waits for all waits for the backups that are here: one that is suspected or gone is no reason to fail a delete,
 * for it is told of the delete before it serves anything again.
 */
import type { Stats } from '../observe/stats.ts'
import type { Cancel, Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import { ACKS_ALL } from '../rpc/words.ts'
import type { Entry } from '../store/entry.ts'
import type { Store } from '../store/store.ts'
import { isNewer, type Version } from '../store/version.ts'
import type { End } from './stream.ts'

const AGAIN_MS = 20
/** Who has just come knows one member first and the others a moment later: that there are too few counts after so long. */
const UNSETTLED_MS = 1_000
const WAITING_MAX = 65_536

export interface Confirmed {
  readonly isDone: boolean
  readonly acked: number
  readonly wanted: number
  readonly missing: readonly PeerId[]
}

export interface ConfirmationsDeps {
  readonly self: PeerId
  readonly clock: Clock
  readonly store: Store
  readonly stats: Stats
  /** By rank, in the table that holds now. */
  readonly ownersOf: (partition: number) => readonly PeerId[]
  readonly isSuspected: (peer: PeerId) => boolean
  readonly deliver: (peer: PeerId, entry: Entry, delivers: boolean, onEnd: (end: End, peer: PeerId) => void) => void
}

interface Wait {
  readonly namespace: string
  readonly key: string
  readonly partition: number
  readonly version: Version
  entry: Entry
  readonly acks: number
  readonly held: Set<PeerId>
  readonly asked: Set<PeerId>
  /** Have no room for the partition, and so nothing of it. */
  readonly short: Set<PeerId>
  readonly onOver: (confirmed: Confirmed) => void
  disarm: Cancel
  again: Cancel | undefined
}

export class Confirmations {
  readonly #deps: ConfirmationsDeps
  readonly #waits = new Set<Wait>()
  /** When ranks, suspicions or links were last others. */
  #changedMs: number

  constructor(deps: ConfirmationsDeps) {
    this.#deps = deps
    this.#changedMs = deps.clock.monotonic()
  }

  get size(): number {
    return this.#waits.size
  }

  /** That of this key which is here now, held by so many backups before `ms` are over. */
  begin(namespace: string, key: string, acks: number, ms: number, onOver: (confirmed: Confirmed) => void): void {
    const entry = this.#deps.store.entry(namespace, key)
    // Given up for want of room, or cleared: there is nothing left that could be lost.
    if (entry === undefined) return onOver({ isDone: true, acked: 0, wanted: 0, missing: [] })
    const { partition, version } = entry
    const wait: Wait = {
      namespace,
      key,
      partition,
      version,
      entry,
      acks,
      held: new Set(),
      asked: new Set(),
      short: new Set(),
      onOver,
      disarm: () => {},
      again: undefined
    }
    const isHopeless = this.#isHopeless(wait) && this.#unsettledMs() <= 0
    if (isHopeless || this.#waits.size >= WAITING_MAX) return this.#end(wait, false)
    this.#waits.add(wait)
    wait.disarm = this.#deps.clock.after(ms, () => this.#end(wait, false))
    this.#step(wait)
  }

  /** Ranks, suspicions or links have changed. */
  changed(): void {
    this.#changedMs = this.#deps.clock.monotonic()
    for (const wait of [...this.#waits]) this.#step(wait)
  }

  #step(wait: Wait): void {
    wait.again?.()
    wait.again = undefined
    if (this.#isHeld(wait)) return this.#end(wait, true)
    if (this.#isHopeless(wait)) {
      const unsettledMs = this.#unsettledMs()
      if (unsettledMs <= 0) return this.#end(wait, false)
      wait.again = this.#deps.clock.after(unsettledMs, () => this.#step(wait))
    }
    const current = this.#deps.store.entry(wait.namespace, wait.key)
    // What has taken its place since carries its promise on: whoever holds that holds something newer.
    if (current !== undefined && isNewer(current.version, wait.entry.version)) wait.entry = current
    const isPrimary = this.#deps.ownersOf(wait.partition)[0] === this.#deps.self
    for (const peer of this.#targetsOf(wait)) {
      if (wait.held.has(peer) || wait.asked.has(peer) || wait.short.has(peer)) continue
      wait.asked.add(peer)
      this.#deps.deliver(peer, wait.entry, !isPrimary, (end, by) => this.#answered(wait, by, end))
    }
  }

  #answered(wait: Wait, peer: PeerId, end: End): void {
    wait.asked.delete(peer)
    if (!this.#waits.has(wait)) return
    // A higher version over there is one that overtook this one: it is told to the primary, which has the last word.
    if (end === 'held' || end === 'newer') wait.held.add(peer)
    if (end === 'room') wait.short.add(peer)
    if (this.#isHeld(wait)) return this.#end(wait, true)
    if (end === 'room' && this.#isHopeless(wait)) return this.#end(wait, false)
    if (end === 'lost' || end === 'moved') wait.again ??= this.#deps.clock.after(AGAIN_MS, () => this.#step(wait))
  }

  #unsettledMs(): number {
    return this.#changedMs + UNSETTLED_MS - this.#deps.clock.monotonic()
  }

  /** There are not so many that could hold it. */
  #isHopeless(wait: Wait): boolean {
    return wait.acks !== ACKS_ALL && this.#targetsOf(wait).filter(id => !wait.short.has(id)).length < wait.acks
  }

  /** The backups by rank; and the primary, if that is another member by now. */
  #targetsOf({ partition, entry }: Pick<Wait, 'partition' | 'entry'>): PeerId[] {
    const owners = this.#deps.ownersOf(partition).slice(0, 1 + entry.backups)
    return owners.filter(id => id !== this.#deps.self)
  }

  #isHeld(wait: Wait): boolean {
    const owners = this.#deps.ownersOf(wait.partition).slice(0, 1 + wait.entry.backups)
    const [primary, ...backups] = owners
    if (primary !== this.#deps.self && (primary === undefined || !wait.held.has(primary))) return false
    const others = backups.filter(id => id !== this.#deps.self)
    const own = backups.length - others.length
    if (wait.acks === ACKS_ALL)
      return others.every(id => wait.held.has(id) || wait.short.has(id) || this.#deps.isSuspected(id))
    return others.filter(id => wait.held.has(id)).length + own >= wait.acks
  }

  #end(wait: Wait, isDone: boolean): void {
    this.#waits.delete(wait)
    wait.disarm()
    wait.again?.()
    const targets = this.#targetsOf(wait)
    const acked = targets.filter(id => wait.held.has(id)).length
    const wanted = wait.acks === ACKS_ALL ? targets.length : wait.acks
    if (!isDone) this.#deps.stats.backupsUnackedTotal++
    wait.onOver({ isDone, acked, wanted, missing: targets.filter(id => !wait.held.has(id)) })
  }
}
