/**
 * Rendezvous hashing: every member throws a die for every partition, and the highest throws own it.
 *
 * The die depends on the member and the partition alone. So a member that comes takes only what it throws highest for,
 * one that goes leaves only what it had, and nobody has to be told of a decision: whoever knows the members knows it.
 *
 * What else there is, for 10 and 32 equal members; in the mean of 20 sets of them, moves as multiples of the least that
 * can move. Printed by `npm run build && node dist/test/bench/placement-compare.js`.
 *
 *                              fullest / mean   worst set     join       leave     build, ms   look-up, ns
 *   ring, 150 points a member     1.13  1.16    1.25  1.20   1.0  1.0   1.0  1.0   0.4   1.3   195   214
 *   ring over partitions          1.13  1.16    1.25  1.20   1.0  1.0   1.0  1.0   0.8   1.7   101   101
 *   jump hash                     1.01  1.01    1.01  1.02   1.0  1.0   1.8  2.0      none     142   157
 *   jump hash over partitions     1.04  1.09    1.06  1.19   1.0  1.0   1.8  2.0   0.7   0.9   101   101
 *   ours, primaries only          1.04  1.10    1.06  1.14   1.0  1.0   1.0  1.0   4.1   6.7   103   103
 *   ours, with three backups      1.04  1.10    1.06  1.14   1.0  1.0   1.0  1.0   8.6  12.7   106   106
 *
 * A ring is less even. Jump hash is the most even, but it numbers its members: only the last number can go, so another
 * member takes the number of the one that leaves and moves too, and all would have to agree who. Ours costs some
 * milliseconds for a table from nothing, and about one for the next where one member joins or leaves 100. Nearly all of
 * a look-up is the hash of the key.
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
