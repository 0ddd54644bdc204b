/**
 * Who owns what: a pure function of the members, built once per view. Whoever sees the same members has the same table.
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
 * other rows, which leaves room for a change that only compares a newcomer with those it may displace.
 */
import { assert } from '../base/assert.ts'
import { hash64, type Salt } from './hash.ts'
import { PARTITIONS } from './partitions.ts'
import { throwDie, weigh } from './rendezvous.ts'

export interface Placed {
  readonly id: string
  /** Share of the partitions in proportion to others; 0 owns nothing. Never negative, always finite. */
  readonly weight: number
  readonly zone?: string | undefined
  readonly host: string
}

export class Table {
  /** How many ranks a row has; fewer where there are not so many owners. */
  readonly ranks: number
  /** The ids of all that may own something, sorted. */
  readonly ids: readonly string[]
  readonly #rows: Uint16Array
  readonly #indexOf: ReadonlyMap<string, number>
  readonly #lists: (readonly string[])[] = []

  /** Made by `buildTable`: `rows` has `ranks` indices into `ids` for each partition. */
  constructor(ids: readonly string[], ranks: number, rows: Uint16Array) {
    assert(rows.length === PARTITIONS * ranks, 'a table has a row for each partition')
    this.ids = ids
    this.ranks = ranks
    this.#rows = rows
    this.#indexOf = new Map(ids.map((id, index) => [id, index]))
  }

  /** The id of the member that decides for this partition; undefined when nobody owns anything. */
  primary(partition: number): string | undefined {
    return this.ranks === 0 ? undefined : this.ids[this.#rows[partition * this.ranks] as number]
  }

  /** The ids of those that hold this partition, by rank: the primary, then the backups. Do not change the array. */
  owners(partition: number): readonly string[] {
    this.#lists[partition] ??= Array.from(this.#rowOf(partition), index => this.ids[index] as string)
    return this.#lists[partition]
  }

  /** 0 for the primary, 1 for the first backup; -1 for a member that holds no copy. */
  rankOf(id: string, partition: number): number {
    const index = this.#indexOf.get(id)
    return index === undefined ? -1 : this.#rowOf(partition).indexOf(index)
  }

  #rowOf(partition: number): Uint16Array {
    return this.#rows.subarray(partition * this.ranks, (partition + 1) * this.ranks)
  }
}

/** `copies` is how many ranks to keep: the primary and the backups of the cache that has most. */
export function buildTable(members: readonly Placed[], salt: Salt, copies: number): Table {
  const owners = members.filter(member => member.weight > 0).sort((a, b) => (a.id < b.id ? -1 : 1))
  assert(owners.length < 0xffff, 'a mesh has fewer than 65,535 owners')
  const ranks = Math.min(copies, owners.length)
  const rows = new Uint16Array(PARTITIONS * ranks)
  const contest = new Contest(owners, salt)
  for (let partition = 0; partition < PARTITIONS; partition++) {
    contest.begin(partition)
    for (let rank = 0; rank < ranks; rank++) rows[partition * ranks + rank] = contest.takeBest()
  }
  const ids = owners.map(({ id }) => id)
  return new Table(ids, ranks, rows)
}

/** The scores of all owners in one partition after the other; an owner is its place in the order of ids. */
class Contest {
  readonly #idLows: Int32Array
  readonly #idHighs: Int32Array
  /** Undefined where all weigh the same: then the throws themselves are the scores. */
  readonly #weights: Float64Array | undefined
  /** The number of the zone (or host) of each owner. */
  readonly #sites: Uint16Array
  readonly #dice: Float64Array
  readonly #scores: Float64Array
  /** 1 for an owner that is chosen, and for a site that has its copy. */
  readonly #isChosen: Uint8Array
  readonly #isServed: Uint8Array

  constructor(owners: readonly Placed[], salt: Salt) {
    const hashes = owners.map(({ id }) => hash64(id, salt))
    const isEven = owners.every(({ weight }) => weight === owners[0]?.weight)
    this.#idLows = Int32Array.from(hashes, ({ low }) => low)
    this.#idHighs = Int32Array.from(hashes, ({ high }) => high)
    this.#weights = isEven ? undefined : Float64Array.from(owners, ({ weight }) => weight)
    this.#sites = numberSites(owners)
    this.#dice = new Float64Array(owners.length)
    this.#scores = isEven ? this.#dice : new Float64Array(owners.length)
    this.#isChosen = new Uint8Array(owners.length)
    this.#isServed = new Uint8Array(owners.length)
  }

  begin(partition: number): void {
    const dice = this.#dice
    const lows = this.#idLows
    const highs = this.#idHighs
    for (let i = 0; i < dice.length; i++) dice[i] = throwDie(lows[i] as number, highs[i] as number, partition)
    if (this.#weights !== undefined) this.#weighAll(this.#weights)
    this.#isChosen.fill(0)
    this.#isServed.fill(0)
  }

  /** The best that is left at a site without a copy, else the best that is left. */
  takeBest(): number {
    const elsewhere = this.#best(true)
    const best = elsewhere === -1 ? this.#best(false) : elsewhere
    this.#isChosen[best] = 1
    this.#isServed[this.#sites[best] as number] = 1
    return best
  }

  #weighAll(weights: Float64Array): void {
    for (let i = 0; i < weights.length; i++) this.#scores[i] = weigh(this.#dice[i] as number, weights[i] as number)
  }

  #best(onlyUnserved: boolean): number {
    const scores = this.#scores
    const barred = onlyUnserved ? this.#isServed : this.#isChosen
    const sites = this.#sites
    let best = -1
    let bestScore = -1
    for (let i = 0; i < scores.length; i++) {
      const score = scores[i] as number
      if (score < bestScore || barred[onlyUnserved ? (sites[i] as number) : i] === 1) continue
      if (score === bestScore && !this.#throwsHigher(i, best)) continue
      best = i
      bestScore = score
    }
    return best
  }

  /**
   * Two throws can round to one weighed score. The throws then decide, as they do among equal weights: otherwise a
   * member of another weight that joins could swap two that were there before. Equal throws go to the smaller id.
   */
  #throwsHigher(later: number, earlier: number): boolean {
    return (this.#dice[later] as number) > (this.#dice[earlier] as number)
  }
}

function numberSites(owners: readonly Placed[]): Uint16Array {
  const numbers = new Map<string, number>()
  return Uint16Array.from(owners, ({ zone, host }) => {
    const site = zone === undefined ? `host ${host}` : `zone ${zone}`
    const number = numbers.get(site) ?? numbers.size
    numbers.set(site, number)
    return number
  })
}
