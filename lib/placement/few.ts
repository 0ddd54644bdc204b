/**
 * The rows of a mesh of few members, by the rule of `table.ts` in its plainest form: all by score, and of these the best
 * of each site first.
 *
 * Among hundreds nearly all of the work is to find out who does not get in, and `ranking.ts` saves that by some twenty
 * functions that each row goes through. Among few they are all there is to do, and what counts is the first time: a process
 * makes a table when it joins and when another does, with code that is not compiled yet, and whatever it is asked
 * meanwhile waits. So this is one function for all rows, over arrays. For four members, the first time in a process:
 * 16 ms, and 60 with `ranking.ts`; later 3, and 8.
 */
import { PARTITIONS } from './partitions.ts'
import type { Owners } from './ranking.ts'
import { throwDie, weigh } from './rendezvous.ts'

/** With more, it is sooner to compare one that joins with the rows of before. */
export const FEW = 16

const PLACED = 0xffff

/** `ranks` indices into the owners for each partition; there are as many owners, or more. */
export function rowsOfFew({ idLows, idHighs, weights, sites, siteCount }: Owners, ranks: number): Uint16Array {
  const count = weights.length
  const rows = new Uint16Array(PARTITIONS * ranks)
  // Who is alone has all: its index is 0.
  if (count === 1) return rows
  const isEven = weights.every(weight => weight === weights[0])
  const byScore = new Uint16Array(count)
  const [scores, dice] = [new Float64Array(count), new Float64Array(count)]
  const takenFor = new Int32Array(siteCount).fill(-1)
  for (let partition = 0, start = 0; partition < PARTITIONS; partition++, start += ranks) {
    for (let owner = 0; owner < count; owner++) {
      const die = throwDie(idLows[owner] as number, idHighs[owner] as number, partition)
      const score = isEven ? die : weigh(die, weights[owner] as number)
      let place = owner
      // Two throws can round to one score; then these decide, and where they are the same, the smaller id.
      for (; place > 0; place--) {
        const other = scores[place - 1] as number
        if (other > score || (other === score && (dice[place - 1] as number) >= die)) break
        byScore[place] = byScore[place - 1] as number
        scores[place] = other
        dice[place] = dice[place - 1] as number
      }
      byScore[place] = owner
      scores[place] = score
      dice[place] = die
    }
    let rank = 0
    for (let place = 0; place < count && rank < ranks; place++) {
      const owner = byScore[place] as number
      const site = sites[owner] as number
      if (takenFor[site] === partition) continue
      takenFor[site] = partition
      rows[start + rank++] = owner
      byScore[place] = PLACED
    }
    for (let place = 0; rank < ranks; place++)
      if (byScore[place] !== PLACED) rows[start + rank++] = byScore[place] as number
  }
  return rows
}
