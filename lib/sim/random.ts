import { hash64, saltOf } from '../placement/hash.ts'
import type { Random } from '../ports/random.ts'

/**
 * Chance from a seed: sfc32, a small fast generator that passes the usual batteries and fits JavaScript's 32-bit
 * integers. A fork is seeded by its label and by nothing the parent has done, so that one part of a scenario can use
 * more or less chance without changing what happens in another.
 */
const SALT = saltOf('simulated chance')

export function seededRandom(seed: string | number): Random {
  const first = hash64(`${seed}/1`, SALT)
  const second = hash64(`${seed}/2`, SALT)
  let [a, b, c, count] = [first.low | 0, first.high | 0, second.low | 0, 1]

  const next = (): number => {
    const sum = (((a + b) | 0) + count) | 0
    count = (count + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (((c << 21) | (c >>> 11)) + sum) | 0
    return sum >>> 0
  }
  for (let i = 0; i < 12; i++) next()

  const float = (): number => ((next() >>> 5) * 67_108_864 + (next() >>> 6)) / 9_007_199_254_740_992
  return {
    float,
    integer: belowExclusive => Math.floor(float() * belowExclusive),
    fork: label => seededRandom(`${seed}/${label}`)
  }
}
