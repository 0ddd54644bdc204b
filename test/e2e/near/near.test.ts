/**
 * Near copies of five real processes, over real gossip: whoever changes a value never reads what was there before, the
 * others stop showing it, and after a time of many writes everybody reads what there is. How quickly is printed here and
 * judged by `npm run bench:near`.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { NearCrew } from './crew.ts'

const KEYS = Array.from({ length: 100 }, (_, i) => `key ${i}`)
const ROUNDS = 10

let crew: NearCrew | undefined

beforeAll(async () => {
  crew = await NearCrew.open(5)
})
afterAll(() => crew?.end())

describe('near copies', () => {
  it('are gone everywhere once their value has changed, and at once where it was changed', async () => {
    const five = crew as NearCrew
    await five.trial(KEYS, 0)
    const delaysMs: number[] = []
    for (let round = 1; round <= ROUNDS; round++) {
      const trial = await five.trial(KEYS, round)
      expect({ stuck: trial.stuck, oldReads: trial.oldReads }).toEqual({ stuck: 0, oldReads: 0 })
      delaysMs.push(...trial.delaysMs)
    }
    delaysMs.sort((a, b) => a - b)
    const p99 = delaysMs[Math.floor(delaysMs.length * 0.99)] as number
    console.log(
      `${delaysMs.length} copies were shown for ${p99.toFixed(1)} ms at p99 and ${delaysMs.at(-1)?.toFixed(1)} ms at most after a change`
    )
    // Every key is owned by one of five and changed by one: three others hold it, or four.
    expect(delaysMs.length).toBeGreaterThan(ROUNDS * KEYS.length * 2)
  })

  it('are what their owners have after many writes', async () => {
    const { writes, slowestMs, wrong, read } = await (crew as NearCrew).steady(KEYS, 500, 3_000)
    console.log(
      `${writes} writes, the slowest ${slowestMs.toFixed(0)} ms; ${wrong} of ${read} keys wrong after 2 s of quiet`
    )
    expect(writes).toBeGreaterThan(1_000)
    expect(wrong).toBe(0)
  })

  it('of a key at nine tenths of all reads are kept unasked, so that its owner serves no more than twice the mean', async () => {
    const { reads, served, unevenness, loads } = await (crew as NearCrew).hot(KEYS, 5_000, 4_000)
    console.log(`${reads} reads, of which each served ${served.join(', ')} for others; ${loads} loads`)
    expect(unevenness).toBeLessThan(2)
    expect(loads).toBe(KEYS.length)
  })

  it.each(['tag', 'clear'] as const)('are found by nobody once all have been dropped by a %s', async by => {
    const { ms, asked, before, after } = await (crew as NearCrew).drop(20_000, by)
    console.log(`20000 values dropped by ${by} in ${ms.toFixed(0)} ms`)
    expect([before, after]).toEqual([asked, 0])
  })
})
