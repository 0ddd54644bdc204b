/**
 * Who owns what: a pure function of the members. Whoever sees the same members has the same table.
 *
 * A row of the table is a partition's owners by rank. Rank 0 is the primary: the highest score. Rank i is the highest
 * score left whose zone (or host, where no zone is named) holds no copy yet, or the highest left when there is no such
 * member. So when a primary goes, the next rank takes over with the data, unless a surviving member of its zone
 * outscores it: that one is then empty and asks around.
 *
 * The choice is greedy, so the first k ranks are the same however many are kept: caches with different numbers of
 * backups share one table. A weight of 0 owns nothing, by filter and not by score. Ties go to the smaller id.
 *
 * Rows are indices into the members sorted by id, in one typed array. A row depends on the members alone and not on
 * other rows, so a table is made from the one before, to the same result as from nothing:
 *
 * - Who goes leaves the rows it is not in as they are: a greedy choice does not change when somebody it passed over is
 *   missing. The rows it is in are made anew.
 * - Who comes is compared with the members of a row alone: whatever the rule picks now was picked before, or is new.
 *   The lowest score of each row is kept, so one throw and one comparison tell that it stays outside.
 * - Who changes its weight, zone or host goes and comes. Who starts again under its old id stays.
 *
 * Not promised: that a table remembers why it is so. Two tables are compared with `plan`.
 */
import { assert } from '../base/assert.ts'
import { FEW, rowsOfFew } from './few.ts'
import { hash64, type Salt } from './hash.ts'
import { PARTITIONS } from './partitions.ts'
import { OPEN, type Owners, Ranking } from './ranking.ts'

export interface Placed {
  readonly id: string
  /** Share of the partitions in proportion to others; 0 owns nothing. Never negative, always finite. */
  readonly weight: number
  readonly zone?: string | undefined
  readonly host: string
}

/** What one table was made of, as far as the next one can be made from it. */
interface Origin {
  readonly salt: Salt
  readonly copies: number
  readonly owners: Owners
  /** The zone or host of each owner, by name. */
  readonly siteNames: readonly string[]
  /** Who scores less than this does not get into the row. */
  readonly floors: Float64Array
}

export class Table {
  /** How many ranks a row has; fewer where there are not so many owners. */
  readonly ranks: number
  /** The ids of all that may own something, sorted. */
  readonly ids: readonly string[]
  readonly #origin: Origin
  readonly #rows: Uint16Array
  readonly #indexOf: ReadonlyMap<string, number>
  readonly #lists: (readonly string[])[] = []

  /** Made by `buildTable`: `rows` has `ranks` indices into the owners for each partition. */
  constructor(origin: Origin, rows: Uint16Array) {
    this.ids = origin.owners.ids
    this.ranks = Math.min(origin.copies, this.ids.length)
    this.#origin = origin
    this.#rows = rows
    this.#indexOf = new Map(this.ids.map((id, index) => [id, index]))
    assert(rows.length === PARTITIONS * this.ranks, 'a table has a row for each partition')
  }

  /** The id of the member that decides for this partition; undefined when nobody owns anything. */
  primary(partition: number): string | undefined {
    return this.ranks === 0 ? undefined : this.ids[this.#rows[partition * this.ranks] as number]
  }

  /** The id of the member with this rank, for who asks for many partitions; undefined where there is none. */
  at(partition: number, rank: number): string | undefined {
    return rank < this.ranks ? this.ids[this.#rows[partition * this.ranks + rank] as number] : undefined
  }

  /** The ids of those that hold this partition, by rank: the primary, then the backups. Do not change the array. */
  owners(partition: number): readonly string[] {
    this.#lists[partition] ??= Array.from(this.#rowOf(partition), index => this.ids[index] as string)
    return this.#lists[partition]
  }

  /** Some of the owners, for `firstOf`: one byte for each, because it is asked for every partition. */
  marksOf(ids: ReadonlySet<string>): Uint8Array {
    return Uint8Array.from(this.ids, id => (ids.has(id) ? 1 : 0))
  }

  /** The partitions that this one decides for. */
  ownedBy(id: string): number[] {
    const owned: number[] = []
    const [index, rows, ranks] = [this.#indexOf.get(id), this.#rows, this.ranks]
    if (index === undefined) return owned
    for (let partition = 0, at = 0; at < rows.length; partition++, at += ranks)
      if (rows[at] === index) owned.push(partition)
    return owned
  }

  /** Calls back, in order, for each partition that another member decides for than in the table of before. */
  eachMoved(before: Table, visit: (partition: number, from: string | undefined, to: string | undefined) => void): void {
    const [rows, rowsBefore, ranks, ranksBefore] = [this.#rows, before.#rows, this.ranks, before.ranks]
    // By index: a comparison of ids is one of texts.
    const indexNow = Int32Array.from(before.ids, id => this.#indexOf.get(id) ?? -1)
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const was = rowsBefore[partition * ranksBefore]
      const is = rows[partition * ranks]
      const isSame = was === undefined ? is === undefined : indexNow[was] === is
      if (!isSame) visit(partition, before.primary(partition), this.primary(partition))
    }
  }

  /** The highest in rank of those that hold this partition and are marked. */
  firstOf(partition: number, marks: Uint8Array): string | undefined {
    for (let at = partition * this.ranks; at < (partition + 1) * this.ranks; at++) {
      const index = this.#rows[at] as number
      if (marks[index] === 1) return this.ids[index]
    }
    return undefined
  }

  /** 0 for the primary, 1 for the first backup; -1 for a member that holds no copy. */
  rankOf(id: string, partition: number): number {
    const index = this.#indexOf.get(id)
    if (index === undefined) return -1
    const start = partition * this.ranks
    for (let rank = 0; rank < this.ranks; rank++) if (this.#rows[start + rank] === index) return rank
    return -1
  }

  /** The same for all partitions, for who asks about each of them. Do not change the array. */
  ranksOf(id: string): Int8Array {
    const ranksOfId = new Int8Array(PARTITIONS).fill(-1)
    const index = this.#indexOf.get(id)
    if (index === undefined) return ranksOfId
    const [rows, ranks] = [this.#rows, this.ranks]
    for (let at = 0, partition = 0, rank = 0; at < rows.length; at++) {
      if (rows[at] === index) ranksOfId[partition] = rank
      if (++rank < ranks) continue
      rank = 0
      partition++
    }
    return ranksOfId
  }

  /** The table of these members, made from this one; this very table where they are placed as before. */
  updated(members: readonly Placed[]): Table {
    const { salt, copies } = this.#origin
    const placed = members.filter(({ weight }) => weight > 0).sort((a, b) => (a.id < b.id ? -1 : 1))
    assert(placed.length < 0xffff, 'a mesh has fewer than 65,535 owners')
    const siteNames = placed.map(siteOf)
    const oldIndices = Int32Array.from(placed, (member, index) => this.#indexIfSame(member, siteNames[index] as string))
    if (placed.length === this.ids.length && !oldIndices.includes(-1)) return this
    const owners = this.#ownersFrom(placed, siteNames, oldIndices)
    const floors = new Float64Array(PARTITIONS)
    if (placed.length <= FEW) {
      const rows = rowsOfFew(owners, Math.min(copies, placed.length))
      return new Table({ salt, copies, owners, siteNames, floors: floors.fill(OPEN) }, rows)
    }
    const rows = this.#rowsFor(owners, oldIndices, floors)
    return new Table({ salt, copies, owners, siteNames, floors }, rows)
  }

  /** Where this member stands in this table, and -1 where its rows would not be the same. */
  #indexIfSame({ id, weight }: Placed, siteName: string): number {
    const index = this.#indexOf.get(id)
    if (index === undefined || this.#origin.owners.weights[index] !== weight) return -1
    return this.#origin.siteNames[index] === siteName ? index : -1
  }

  #ownersFrom(placed: readonly Placed[], siteNames: readonly string[], oldIndices: Int32Array): Owners {
    const { salt, owners: old } = this.#origin
    const idLows = new Int32Array(placed.length)
    const idHighs = new Int32Array(placed.length)
    for (const [index, { id }] of placed.entries()) {
      const oldIndex = oldIndices[index] as number
      const hash = oldIndex === -1 ? hash64(id, salt) : undefined
      idLows[index] = hash?.low ?? (old.idLows[oldIndex] as number)
      idHighs[index] = hash?.high ?? (old.idHighs[oldIndex] as number)
    }
    const numbers = new Map([...new Set(siteNames)].map((name, number) => [name, number]))
    return {
      ids: placed.map(({ id }) => id),
      idLows,
      idHighs,
      weights: Float64Array.from(placed, ({ weight }) => weight),
      sites: Uint16Array.from(siteNames, name => numbers.get(name) as number),
      siteCount: numbers.size
    }
  }

  /** The rows for these owners; fills in the floors on the way. */
  #rowsFor(owners: Owners, oldIndices: Int32Array, floors: Float64Array): Uint16Array {
    const { copies, owners: old, floors: oldFloors } = this.#origin
    const ranks = Math.min(copies, owners.ids.length)
    const rows = new Uint16Array(PARTITIONS * ranks)
    if (ranks === 0) return rows
    const ranking = new Ranking(owners, ranks)
    const newIndices = inverse(oldIndices, this.ids.length)
    const joiners = Uint16Array.from([...oldIndices.keys()].filter(index => oldIndices[index] === -1))
    const areRowsFull = ranks === this.ranks
    // With more sites than before, a copy may have to go to a new one whatever its score.
    const mayStayOutside = Math.min(ranks, owners.siteCount) <= Math.min(ranks, old.siteCount)
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const start = partition * ranks
      const floor = mayStayOutside ? (oldFloors[partition] as number) : OPEN
      if (areRowsFull && this.#copyRow(partition, newIndices, rows)) {
        floors[partition] = oldFloors[partition] as number
        if (!ranking.mayEnter(joiners, partition, floor)) continue
        ranking.begin(partition)
        for (let rank = 0; rank < ranks; rank++) ranking.admit(rows[start + rank] as number)
        for (const joiner of joiners) ranking.admit(joiner)
      } else {
        ranking.rankAll(partition)
      }
      ranking.writeTo(rows, start)
      floors[partition] = ranking.floor
    }
    return rows
  }

  /** The row as it was, in new indices; false where somebody in it has gone. */
  #copyRow(partition: number, newIndices: Int32Array, rows: Uint16Array): boolean {
    const start = partition * this.ranks
    for (let i = start; i < start + this.ranks; i++) {
      const index = newIndices[this.#rows[i] as number] as number
      if (index === -1) return false
      rows[i] = index
    }
    return true
  }

  #rowOf(partition: number): Uint16Array {
    return this.#rows.subarray(partition * this.ranks, (partition + 1) * this.ranks)
  }

  /** Whether a table for this salt and number of copies can be made from this one. */
  isMadeFor(salt: Salt, copies: number): boolean {
    const { salt: own, copies: ownCopies } = this.#origin
    return own.low === salt.low && own.high === salt.high && ownCopies === copies
  }
}

/**
 * `copies` is how many ranks to keep: the primary and the backups of the cache that has most. `before` is any earlier
 * table: the result is the same with and without, and the fewer members have changed since, the sooner it is there.
 */
export function buildTable(members: readonly Placed[], salt: Salt, copies: number, before?: Table): Table {
  const start = before?.isMadeFor(salt, copies) ? before : emptyTable(salt, copies)
  return start.updated(members)
}

function emptyTable(salt: Salt, copies: number): Table {
  const [none, noIndices] = [new Int32Array(0), new Uint16Array(0)]
  const owners = { ids: [], idLows: none, idHighs: none, weights: new Float64Array(0), sites: noIndices, siteCount: 0 }
  return new Table({ salt, copies, owners, siteNames: [], floors: new Float64Array(PARTITIONS) }, noIndices)
}

function siteOf({ zone, host }: Placed): string {
  return zone === undefined ? `host ${host}` : `zone ${zone}`
}

/** For each old index the new one, or -1. */
function inverse(oldIndices: Int32Array, length: number): Int32Array {
  const newIndices = new Int32Array(length).fill(-1)
  for (const [index, oldIndex] of oldIndices.entries()) if (oldIndex !== -1) newIndices[oldIndex] = index
  return newIndices
}
