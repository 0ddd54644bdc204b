/**
 * One partition's ranking: owners are let in one after the other, in any order, and the best of them stay.
 *
 * Two lists stand in one array. Those `apart` come first: the best of each site, by score. Then the rest, by score too;
 * there is a rest only while there are fewer sites than ranks. Both lists together are what the greedy rule of
 * `table.ts` picks, and whoever falls out never comes back: a site keeps its best, and sites do not become fewer. So a
 * row can be taken up again from its members alone, whoever else was there when it was made.
 *
 * Nearly everybody fails to get in, so that is what has to be cheap. A score is weight / -ln(u), and -ln(u) is at least
 * 1 - u: weight / (1 - u) bounds the score, close to it just where scores are high, and costs one multiplication. The
 * logarithm is taken of those few who pass; of nobody where all weigh the same, for then the bounds stand in the order
 * of the scores.
 *
 * How high the floor is depends on the site: where it has a copy already, one has to beat its best or the last of all.
 * So while there are no more sites than ranks each site meets a floor of its own, and a lonely member with a low score
 * does not keep the door open for those of other zones.
 */
import { assert } from '../base/assert.ts'
import { throwAll, throwDie, weigh } from './rendezvous.ts'

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

/** Owners that meet the same floor, one after the other in the order in which they are let in. */
interface Stretch {
  /** Where all of them are, or `ANY_SITE`. */
  readonly site: number
  readonly start: number
  readonly end: number
  /** How high the floor was found to end in other rows. */
  guess: number
}

const ANY_SITE = -1

export class Ranking {
  readonly #owners: Owners
  readonly #ranks: number
  /** How many of the first ranks will be at different sites. */
  readonly #apartMax: number
  readonly #isEven: boolean
  readonly #stretches: readonly Stretch[]
  /** Everybody in the order in which they are let in, and what their throws are made of. */
  readonly #order: Uint16Array
  readonly #orderedLows: Int32Array
  readonly #orderedHighs: Int32Array
  readonly #orderedWeights: Float64Array
  readonly #orderedDice: Uint32Array
  readonly #members: Uint16Array
  readonly #scores: Float64Array
  readonly #dice: Float64Array
  #partition = 0
  #length = 0
  #apart = 0

  constructor(owners: Owners, ranks: number) {
    this.#owners = owners
    this.#ranks = ranks
    this.#apartMax = Math.min(ranks, owners.siteCount)
    this.#isEven = owners.weights.every(weight => weight === owners.weights[0])
    this.#order = orderOf(owners, ranks)
    this.#stretches = stretchesOf(owners, this.#order, ranks)
    const size = this.#order.length
    this.#orderedLows = new Int32Array(size)
    this.#orderedHighs = new Int32Array(size)
    this.#orderedWeights = new Float64Array(size)
    this.#orderedDice = new Uint32Array(size)
    for (const [n, owner] of this.#order.entries()) {
      this.#orderedLows[n] = owners.idLows[owner] as number
      this.#orderedHighs[n] = owners.idHighs[owner] as number
      this.#orderedWeights[n] = owners.weights[owner] as number
    }
    this.#members = new Uint16Array(ranks)
    this.#scores = new Float64Array(ranks)
    this.#dice = new Float64Array(ranks)
  }

  begin(partition: number): void {
    this.#partition = partition
    this.#length = 0
    this.#apart = 0
  }

  /** A score below this does not get in, at whatever site. */
  get floor(): number {
    if (this.#length < this.#ranks || this.#apart < this.#apartMax) return OPEN
    const [last, lastApart] = [this.#length - 1, this.#apart - 1]
    if (!this.#isEven) return Math.min(this.#scores[last] as number, this.#scores[lastApart] as number)
    const die = Math.min(this.#dice[last] as number, this.#dice[lastApart] as number)
    return weigh(die, this.#owners.weights[0] as number)
  }

  /**
   * Makes the row from nothing. The floor rises slowly, and until then many get in who will not stay. So it starts as
   * high as it was found to end in other rows; where that was too high the row is made once more from an open floor.
   */
  rankAll(partition: number): void {
    throwAll(this.#orderedLows, this.#orderedHighs, partition, this.#orderedDice)
    this.begin(partition)
    for (const stretch of this.#stretches) this.#admitAll(stretch, stretch.guess)
    if (!this.#areGuessesRight()) {
      this.begin(partition)
      for (const stretch of this.#stretches) this.#admitAll(stretch, OPEN)
    }
    for (const stretch of this.#stretches) this.#guessBetter(stretch)
  }

  #admitAll({ site, start, end }: Stretch, guess: number): void {
    let reach = reachOf(Math.max(guess, this.#floorAt(site)))
    for (let n = this.#next(start, end, reach); n < end; n = this.#next(n + 1, end, reach)) {
      this.#enter(this.#order[n] as number, this.#orderedDice[n] as number)
      reach = reachOf(Math.max(guess, this.#floorAt(site)))
    }
  }

  /** The first of these who may get in, or `end`. */
  #next(start: number, end: number, reach: number): number {
    const [weights, dice] = [this.#orderedWeights, this.#orderedDice]
    let n = start
    while (n < end && (weights[n] as number) < reach * (DICE - (dice[n] as number))) n++
    return n
  }

  #areGuessesRight(): boolean {
    for (const { site, guess } of this.#stretches) if (this.#floorAt(site) < guess) return false
    return true
  }

  #guessBetter(stretch: Stretch): void {
    // So few are let in all: a guess would save little and often be wrong.
    if (stretch.end - stretch.start <= this.#ranks) return
    const floor = this.#floorAt(stretch.site)
    if (stretch.guess === OPEN) stretch.guess = floor
    else stretch.guess *= floor >= stretch.guess ? GUESS_UP : GUESS_DOWN
  }

  admit(owner: number): void {
    this.#enter(owner, this.#dieOf(owner, this.#partition))
  }

  /** Whether one of these may get in where the floor is this high. A yes can be wrong, a no cannot. */
  mayEnter(owners: Uint16Array, partition: number, floor: number): boolean {
    const { weights } = this.#owners
    const reach = reachOf(floor)
    for (let i = 0; i < owners.length; i++) {
      const owner = owners[i] as number
      if ((weights[owner] as number) >= reach * (DICE - this.#dieOf(owner, partition))) return true
    }
    return false
  }

  writeTo(rows: Uint16Array, start: number): void {
    assert(this.#length === this.#ranks, 'every rank has an owner')
    for (let rank = 0; rank < this.#ranks; rank++) rows[start + rank] = this.#members[rank] as number
  }

  #dieOf(owner: number, partition: number): number {
    return throwDie(this.#owners.idLows[owner] as number, this.#owners.idHighs[owner] as number, partition)
  }

  #enter(owner: number, die: number): void {
    const weight = this.#owners.weights[owner] as number
    const score = this.#isEven ? (weight * DICE) / (DICE - die) : weigh(die, weight)
    const home = this.#homeOf(this.#owners.sites[owner] as number)
    if (home === this.#apart) this.#enterNewSite(owner, die, score)
    else if (this.#beats(owner, die, score, home)) this.#takeOver(home, owner, die, score)
    else this.#enterRest(owner, die, score)
  }

  /** The rank of the best of this site; that of those without a site where it has none. */
  #homeOf(site: number): number {
    const { sites } = this.#owners
    let home = 0
    while (home < this.#apart && sites[this.#members[home] as number] !== site) home++
    return home
  }

  /** The floor, in the scores of this ranking, for those of this site. */
  #floorAt(site: number): number {
    if (this.#length < this.#ranks) return OPEN
    const last = this.#scores[this.#ranks - 1] as number
    const hasRest = this.#apart < this.#ranks
    if (site === ANY_SITE) return hasRest ? OPEN : last
    const home = this.#homeOf(site)
    if (home === this.#apart) return hasRest ? OPEN : last
    const best = this.#scores[home] as number
    return hasRest ? Math.min(best, last) : best
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
    const oldMember = this.#members[home] as number
    const oldDie = this.#dice[home] as number
    const oldScore = this.#scores[home] as number
    this.#insert(this.#rankIn(0, home, owner, die, score), home, owner, die, score)
    this.#enterRest(oldMember, oldDie, oldScore)
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

/**
 * Site by site, so that those who meet the same floor stand together. With more sites than ranks all meet the same one,
 * and it stays open until as many sites as there are ranks have a copy: then one of each site comes first.
 */
function orderOf({ sites, siteCount }: Owners, ranks: number): Uint16Array {
  const counts = new Uint16Array(siteCount)
  const turns = sites.map(site => {
    counts[site] = (counts[site] as number) + 1
    return counts[site]
  })
  const sooner = siteCount > ranks ? turns : sites
  return Uint16Array.from([...sites.keys()].sort((a, b) => (sooner[a] as number) - (sooner[b] as number)))
}

function stretchesOf({ sites, siteCount }: Owners, order: Uint16Array, ranks: number): Stretch[] {
  if (siteCount > ranks) return [{ site: ANY_SITE, start: 0, end: order.length, guess: OPEN }]
  const stretches: Stretch[] = []
  for (let start = 0; start < order.length; start = (stretches.at(-1) as Stretch).end) {
    const site = sites[order[start] as number] as number
    let end = start
    while (end < order.length && sites[order[end] as number] === site) end++
    stretches.push({ site, start, end, guess: OPEN })
  }
  return stretches
}
