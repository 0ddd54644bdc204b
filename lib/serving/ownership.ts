/**
 * Who owns a key, by the view that holds now.
 *
 * The table of a view is made when it is first asked for: in a storm of joins a table for each view in between would be
 * work for nobody. Whoever is about to answer or to store asks first, so what is no longer ours is given up before
 * anything is done with it.
 *
 * A view that comes and goes unseen still counts, for who held our keys for a moment may have changed them:
 *
 *   1. we own k ─ a joiner takes k ─ somebody deletes k there ─ the joiner leaves ─ we own k again, with the old value.
 *
 * Joins alone take nothing back, so it is enough that before an owner goes, the table of until then is made.
 */
import { isPresent, type MemberRecord, type View } from '../membership/view.ts'
import { hash52, type Salt, saltOf } from '../placement/hash.ts'
import { PARTITIONS, partitionOf } from '../placement/partitions.ts'
import { plan } from '../placement/plan.ts'
import type { buildTable, Placed, Table } from '../placement/table.ts'
import type { PeerId } from '../ports/transport.ts'
import type { Roles } from '../replication/replication.ts'

/** Ranks kept in the table: the primary, and room for the backups to come. */
const RANKS = 4
/** Salts remembered; for a namespace beyond them the salt is computed each time. */
const NAMESPACES_MAX = 4096

export interface OwnershipDeps {
  readonly self: PeerId
  readonly mesh: string
  readonly view: () => View
  /** This partition has come to us from another member. */
  readonly gained: (partition: number, from: PeerId) => void
  /** These partitions have gone to another member. */
  readonly lose: (lost: (partition: number) => boolean) => void
  readonly changed: (roles: Roles) => void
  readonly tableOf: typeof buildTable
}

export class Ownership {
  readonly #deps: OwnershipDeps
  /** Members whose numbers differ here place keys differently. */
  readonly placementPrint: number
  readonly #salt: Salt
  readonly #namespaceSalts = new Map<string, Salt>()
  #table: Table
  #hash: number
  /** The processes of the table. */
  #boots: ReadonlyMap<PeerId, number>
  /** Of a view that may come next. */
  #foreseen: Table | undefined
  /** Counted when it is asked for. */
  #owned: number | undefined

  constructor(deps: OwnershipDeps) {
    this.#deps = deps
    this.#salt = saltOf(deps.mesh)
    this.placementPrint = hash52('placement', this.#salt)
    this.#table = this.#tableOf(deps.view())
    this.#hash = deps.view().hash
    this.#boots = bootsOf(deps.view())
  }

  ownerOf(namespace: string, key: string): PeerId | undefined {
    return this.#current().primary(this.partitionOf(namespace, key))
  }

  /** The table that holds now; not to be kept. */
  get table(): Table {
    return this.#current()
  }

  primaryOf(partition: number): PeerId | undefined {
    return this.#current().primary(partition)
  }

  /** By rank: the primary, then who holds copies where there are as many backups. */
  ownersOf(partition: number): readonly PeerId[] {
    return this.#current().owners(partition)
  }

  owns(partition: number): boolean {
    return this.primaryOf(partition) === this.#deps.self
  }

  partitionOf(namespace: string, key: string): number {
    let salt = this.#namespaceSalts.get(namespace)
    if (salt === undefined) {
      salt = saltOf(namespace, this.#salt)
      if (this.#namespaceSalts.size < NAMESPACES_MAX) this.#namespaceSalts.set(namespace, salt)
    }
    return partitionOf(key, salt)
  }

  partitionsOwned(): number {
    const table = this.#current()
    this.#owned ??= table.ownedBy(this.#deps.self).length
    return this.#owned
  }

  viewChanged(before: View, after: View): void {
    if (before.owners().some(owner => !isOwnerIn(after, owner))) this.#bringTo(before)
  }

  /**
   * The link to this one is lost. If it is dead, a view without it comes in a moment, at all members at once and with all
   * else that it sets going; so its table is made now, while others are asked whether it lives.
   */
  foresee(gone: PeerId): void {
    const placed = placedIn(this.#deps.view()).filter(({ id }) => id !== gone)
    if (placed.length > 0 && !isOf(this.#foreseen, placed))
      this.#foreseen = this.#deps.tableOf(placed, this.#salt, RANKS, this.#table)
  }

  #current(): Table {
    return this.#bringTo(this.#deps.view())
  }

  #bringTo(view: View): Table {
    if (view.hash === this.#hash) return this.#table
    const { lose, gained, changed } = this.#deps
    const table = this.#tableOf(view, this.#table)
    const before = this.#table
    const { lost, won, isLost } = this.#movesTo(table)
    this.#table = table
    this.#hash = view.hash
    this.#owned = undefined
    const bootsBefore = this.#boots
    this.#boots = bootsOf(view)
    if (lost.length > 0) lose(partition => isLost[partition] === 1)
    for (const partition of won) {
      const from = before.primary(partition)
      if (from !== undefined) gained(partition, from)
    }
    const isRenewed = (id: PeerId): boolean => bootsBefore.has(id) && bootsBefore.get(id) !== this.#boots.get(id)
    const newcomers = new Set(table.ids.filter(id => !bootsBefore.has(id) || isRenewed(id)))
    const shared = newcomers.size === 0 ? [] : this.#gainFromNewcomers(before, table, newcomers)
    changed({ before, after: table, isRenewed, lost, won, shared })
    return table
  }

  #movesTo(table: Table): { lost: number[]; won: number[]; isLost: Uint8Array } {
    const { self } = this.#deps
    const isLost = new Uint8Array(PARTITIONS)
    const [lost, won]: [number[], number[]] = [[], []]
    for (const { partition, from, to } of plan(this.#table, table)) {
      if (to === self) won.push(partition)
      if (from !== self) continue
      lost.push(partition)
      isLost[partition] = 1
    }
    return { lost, won, isLost }
  }

  /**
   * What was ours and stays ours was somebody else's in the view of those who have just come: of one that joins us, or
   * of all others where we join them. Of those it was the highest in rank.
   */
  #gainFromNewcomers(before: Table, table: Table, newcomers: ReadonlySet<PeerId>): number[] {
    const { self, gained } = this.#deps
    const marks = table.marksOf(newcomers)
    const shared: number[] = []
    for (const partition of table.ownedBy(self)) {
      if (before.primary(partition) !== self) continue
      const newcomer = table.firstOf(partition, marks)
      if (newcomer === undefined) continue
      gained(partition, newcomer)
      shared.push(partition)
    }
    return shared
  }

  #tableOf(view: View, before?: Table): Table {
    const placed = placedIn(view)
    const from = isOf(this.#foreseen, placed) ? this.#foreseen : before
    this.#foreseen = undefined
    return this.#deps.tableOf(placed, this.#salt, RANKS, from)
  }
}

function placedIn(view: View): Placed[] {
  return view
    .owners()
    .filter(({ weight }) => weight > 0)
    .map(({ id, weight, zone, host }) => ({ id, weight, host, zone: zone === '' ? undefined : zone }))
}

/** Of the same members; whether they are placed alike is seen when the next one is made from it. */
function isOf(table: Table | undefined, placed: readonly Placed[]): boolean {
  const ids = new Set(table?.ids)
  return ids.size === placed.length && placed.every(({ id }) => ids.has(id))
}

function bootsOf(view: View): ReadonlyMap<PeerId, number> {
  return new Map(view.owners().map(({ id, boot }) => [id, boot]))
}

/** The same process, with the same place in the table's eyes. */
function isOwnerIn(view: View, { id, boot, weight, zone, host }: MemberRecord): boolean {
  const now = view.get(id)
  if (now === undefined || !isPresent(now)) return false
  return now.boot === boot && now.weight === weight && now.zone === zone && now.host === host
}
