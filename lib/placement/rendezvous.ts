/**
 * Rendezvous hashing: every member throws a die for every partition, and the highest throws own it.
 *
 * The die depends on the member and the partition alone. So a member that comes takes only what it throws highest for,
 * one that goes leaves only what it had, and nobody has to be told of a decision: whoever knows the members knows it.
 *
 * A weight makes a member win in proportion: with u uniform in (0, 1), the highest of weight / -ln(u) is member m with
 * probability weight(m) / sum of weights. `Math.log` may differ in the last digit from one engine or processor to
 * another, and members that round differently would disagree on owners. So `ln` is written here with the four basic
 * operations, whose results the language fixes to the bit. Equal weights do not need it: -1 / ln(u) rises with u.
 */

/**
 * The throw of the member with this hash for this partition: 32 well mixed bits, as an unsigned integer. Two members
 * throw the same about once in ten thousand tables; then their ids decide.
 */
export function throwDie(idLow: number, idHigh: number, partition: number): number {
  return mix(idHigh ^ mix(idLow ^ Math.imul(partition + 1, 0x9e3779b1)))
}

/** The throws of many members for this partition, at once: this is where the time of a new table goes. */
export function throwAll(idLows: Int32Array, idHighs: Int32Array, partition: number, into: Uint32Array): void {
  for (let i = 0; i < into.length; i++) into[i] = throwDie(idLows[i] as number, idHighs[i] as number, partition)
}

/** What the throws of members of different weight are compared by: higher wins. */
export function weigh(die: number, weight: number): number {
  return weight / -lnOfDie(die)
}

/** Spreads every bit of a word over all of it (the finaliser of MurmurHash3). */
function mix(word: number): number {
  let h = word ^ (word >>> 16)
  h = Math.imul(h, 0x85ebca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/**
 * ln of the die as a fraction in (0, 1), neither end included: the powers of two apart, then the series of artanh for
 * the rest in [√½, √2).
 */
function lnOfDie(die: number): number {
  let power = 0
  let fraction = (die + 0.5) / 0x100000000
  while (fraction < Math.SQRT1_2) {
    fraction *= 2
    power -= 1
  }
  const s = (fraction - 1) / (fraction + 1)
  const square = s * s
  // Written out: the constants are divided once and not at each throw.
  let sum = (1 / 21) * square + 1 / 19
  sum = sum * square + 1 / 17
  sum = sum * square + 1 / 15
  sum = sum * square + 1 / 13
  sum = sum * square + 1 / 11
  sum = sum * square + 1 / 9
  sum = sum * square + 1 / 7
  sum = sum * square + 1 / 5
  sum = sum * square + 1 / 3
  sum = sum * square + 1
  return power * Math.LN2 + 2 * s * sum
}
