/**
 * One partition's ranking: owners are let in one after the other, in any order, and the best of them stay.
 *
 * Two lists stand in one array. Those `apart` come first: the best of each site, by score. Then the rest, by score too;
 * there is a rest only while there are fewer sites than ranks. Both lists together are what the greedy rule of `table.ts`
 * picks, and whoever falls out never comes back: a site keeps its best, and sites do not become fewer. So a row can be
 * taken up again from its members alone, whoever else was there when it was made.
 *
 * Nearly everybody fails to get in, so that is what has to be cheap. A score is weight / -ln(u), and -ln(u) is at least
 * 1 - u: weight / (1 - u) bounds the score, close to it just where scores are high, and costs one multiplication. The
 * logarithm is taken of those few who pass.
 *
 * Not promised: that the lowest rank is near the floor. One lonely member in a zone of its own has a low score, and then
 * many pass the bound in vain; that costs time and nothing else.
 */
import { assert } from '../base/assert.ts'
import { throwDie, weigh } from './rendezvous.ts'

/** All that may own something, as columns; an owner is its place in the order of ids. */
export interface Owners {
  readonly ids: readonly string[]
  readonly idLows: Int32Array
  readonly idHighs: Int32Array
  readonly weights: Float64Array
  /** The number of the zone (or host) of each. */
  readonly sites: Uint16Array
  readonly siteCount: number
}

/** The floor of a ranking that still lets everybody in. */
export const OPEN = -1

/** The bound and the score are both rounded: who misses by less than this much may not have missed at all. */
const SLACK_FACTOR = 1 - 1e-9
/** The same for weights so tiny that their products lose digits. */
const SLACK = 1e-290
const DICE = 0x100000000
/** About one guess in twenty is too high then: as many as pay for the others being near. */
const GUESS_UP = 1.01
const GUESS_DOWN = 0.8

export class Ranking {
  readonly #owners: Owners
  readonly #ranks: number
  /** How many of the first ranks will be at different sites. */
  readonly #apartMax: number
  /** One of each site first: until as many sites as can be have a copy, everybody has to be let in. */
  readonly #order: Uint16Array
  readonly #members: Uint16Array
  readonly #scores: Float64Array
  readonly #dice: Float64Array
  #partition = 0
  #guess = OPEN
  #length = 0
  #apart = 0

  constructor(owners: Owners, ranks: number) {
    this.#owners = owners
    this.#ranks = ranks
    this.#apartMax = Math.min(ranks, owners.siteCount)
    this.#order = sitesFirst(owners)
    this.#members = new Uint16Array(ranks)
    this.#scores = new Float64Array(ranks)
    this.#dice = new Float64Array(ranks)
  }

  begin(partition: number): void {
    this.#partition = partition
    this.#length = 0
    this.#apart = 0
  }

  /** A score below this does not get in. */
  get floor(): number {
    if (this.#length < this.#ranks || this.#apart < this.#apartMax) return OPEN
    const last = this.#scores[this.#length - 1] as number
    return Math.min(last, this.#scores[this.#apart - 1] as number)
  }

  /**
   * Makes the row from nothing. The floor rises slowly, and until then many get in who will not stay. So it starts as
   * high as it was found to end in other rows; where that was too high the row is made once more from an open floor.
   */
  rankAll(partition: number): void {
    this.begin(partition)
    this.#admitAll(this.#guess)
    const isRight = this.floor >= this.#guess
    if (!isRight) {
      this.begin(partition)
      this.#admitAll(OPEN)
    }
    if (this.#guess === OPEN) this.#guess = this.floor
    else this.#guess *= isRight ? GUESS_UP : GUESS_DOWN
  }

  #admitAll(start: number): void {
    const partition = this.#partition
    const order = this.#order
    const { idLows, idHighs, weights } = this.#owners
    let reach = reachOf(start)
    for (let n = 0; n < order.length; n++) {
      const owner = order[n] as number
      const die = throwDie(idLows[owner] as number, idHighs[owner] as number, partition)
      if ((weights[owner] as number) < reach * (DICE - die)) continue
      this.#enter(owner, die)
      reach = reachOf(Math.max(start, this.floor))
    }
  }

  admit(owner: number): void {
    this.#enter(owner, this.#dieOf(owner, this.#partition))
  }

  /** Whether this owner may get in where the floor is this high. A yes can be wrong, a no cannot. */
  mayEnter(owner: number, partition: number, floor: number): boolean {
    return (this.#owners.weights[owner] as number) >= reachOf(floor) * (DICE - this.#dieOf(owner, partition))
  }

  writeTo(rows: Uint16Array, start: number): void {
    assert(this.#length === this.#ranks, 'every rank has an owner')
    for (let rank = 0; rank < this.#ranks; rank++) rows[start + rank] = this.#members[rank] as number
  }

  #dieOf(owner: number, partition: number): number {
    return throwDie(this.#owners.idLows[owner] as number, this.#owners.idHighs[owner] as number, partition)
  }

  #enter(owner: number, die: number): void {
    const { sites, weights } = this.#owners
    const score = weigh(die, weights[owner] as number)
    const site = sites[owner]
    let home = 0
    while (home < this.#apart && sites[this.#members[home] as number] !== site) home++
    if (home === this.#apart) this.#enterNewSite(owner, die, score)
    else if (this.#beats(owner, die, score, home)) this.#takeOver(home, owner, die, score)
    else this.#enterRest(owner, die, score)
  }

  #enterNewSite(owner: number, die: number, score: number): void {
    const rank = this.#rankIn(0, this.#apart, owner, die, score)
    if (rank === this.#ranks) return
    if (this.#length < this.#ranks) this.#length++
    if (this.#apart < this.#ranks) this.#apart++
    this.#insert(rank, this.#length - 1, owner, die, score)
  }

  /** The best of its site so far steps back among the rest. */
  #takeOver(home: number, owner: number, die: number, score: number): void {
    const [oldMember, oldDie, oldScore] = [this.#members[home], this.#dice[home], this.#scores[home]]
    this.#insert(this.#rankIn(0, home, owner, die, score), home, owner, die, score)
    this.#enterRest(oldMember as number, oldDie as number, oldScore as number)
  }

  #enterRest(owner: number, die: number, score: number): void {
    const rank = this.#rankIn(this.#apart, this.#length, owner, die, score)
    if (rank === this.#ranks) return
    if (this.#length < this.#ranks) this.#length++
    this.#insert(rank, this.#length - 1, owner, die, score)
  }

  /** The first rank of these whose holder it beats; `end` when it beats none. */
  #rankIn(start: number, end: number, owner: number, die: number, score: number): number {
    let rank = end
    while (rank > start && this.#beats(owner, die, score, rank - 1)) rank--
    return rank
  }

  /** Puts it at `rank` and moves those behind one on, over whoever is at `end`. */
  #insert(rank: number, end: number, owner: number, die: number, score: number): void {
    for (let i = end; i > rank; i--) {
      this.#members[i] = this.#members[i - 1] as number
      this.#dice[i] = this.#dice[i - 1] as number
      this.#scores[i] = this.#scores[i - 1] as number
    }
    this.#members[rank] = owner
    this.#dice[rank] = die
    this.#scores[rank] = score
  }

  /**
   * Two throws can round to one weighed score. The throws then decide, as they do among equal weights: otherwise a
   * member of another weight that joins could swap two that were there before. Equal throws go to the smaller id.
   */
  #beats(owner: number, die: number, score: number, rank: number): boolean {
    const other = this.#scores[rank] as number
    if (score !== other) return score > other
    const otherDie = this.#dice[rank] as number
    return die === otherDie ? owner < (this.#members[rank] as number) : die > otherDie
  }
}

function reachOf(floor: number): number {
  return (floor * SLACK_FACTOR - SLACK) / DICE
}

function sitesFirst({ ids, sites, siteCount }: Owners): Uint16Array {
  const isSeen = new Uint8Array(siteCount)
  const firsts: number[] = []
  const others: number[] = []
  for (let owner = 0; owner < ids.length; owner++) {
    const site = sites[owner] as number
    if (isSeen[site] === 0) firsts.push(owner)
    else others.push(owner)
    isSeen[site] = 1
  }
  return Uint16Array.from([...firsts, ...others])
}
