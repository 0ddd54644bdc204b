import { describe, expect, it } from 'vitest'
import { throwDie, weigh } from '../../../lib/placement/rendezvous.ts'

describe('throwDie', () => {
  it('is an unsigned integer that never changes: members of different releases must agree', () => {
    expect([throwDie(0, 0, 0), throwDie(1, 2, 3), throwDie(0xffffffff, 0xffffffff, 16_383)]).toEqual([
      3_144_930_883, 186_559_445, 519_636_469
    ])
  })

  it('takes signed and unsigned halves of a hash alike', () => {
    expect(throwDie(0xdeadbeef, 0xcafebabe, 7)).toBe(throwDie(0xdeadbeef | 0, 0xcafebabe | 0, 7))
  })

  it('depends on every bit of the hash', () => {
    const dice = new Set([throwDie(0, 0, 5)])
    for (let bit = 0; bit < 32; bit++) dice.add(throwDie(1 << bit, 0, 5)).add(throwDie(0, 1 << bit, 5))
    expect(dice.size).toBe(65)
  })
})

describe('weigh', () => {
  it('follows the logarithm closely, at both ends too', () => {
    for (const die of [
      0,
      1,
      2,
      1000,
      2 ** 20,
      2 ** 31 - 1,
      2 ** 31,
      3_037_000_499,
      3_037_000_500,
      2 ** 32 - 2,
      2 ** 32 - 1
    ]) {
      const expected = 3 / -Math.log((die + 0.5) / 2 ** 32)
      expect(Math.abs(weigh(die, 3) / expected - 1)).toBeLessThan(1e-9)
    }
  })

  it('rises with the die', () => {
    for (let die = 1; die < 2 ** 32; die = Math.ceil(die * 1.01)) {
      expect(weigh(die, 1)).toBeGreaterThan(weigh(die - 1, 1))
      expect(Number.isFinite(weigh(die, 1))).toBe(true)
    }
  })

  it('gives the same to the bit everywhere', () => {
    expect([weigh(0, 1), weigh(123_456_789, 2), weigh(2 ** 32 - 1, 0.5)]).toEqual([
      0.04371803154208981, 0.5634901213591481, 4294967295.75
    ])
  })
})
