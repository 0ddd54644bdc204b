import { describe, expect, test } from 'vitest'
import type { Random } from '../../lib/ports/random.ts'

/** What every source of chance must hold: see lib/ports/random.ts. */
export function randomSuite(name: string, makeRandom: () => Random): void {
  describe(`random: ${name}`, () => {
    test('float is uniform in [0, 1)', () => {
      const random = makeRandom()
      const tenths = new Array<number>(10).fill(0)
      for (let i = 0; i < 20_000; i++) {
        const value = random.float()
        expect(value >= 0 && value < 1).toBe(true)
        tenths[Math.floor(value * 10)]!++
      }
      // 2,000 each is expected; ±10 % is more than four standard deviations.
      for (const count of tenths) expect(Math.abs(count - 2_000)).toBeLessThan(200)
    })

    test('integer is uniform below its bound, up to 2^53', () => {
      const random = makeRandom()
      const counts = new Array<number>(7).fill(0)
      for (let i = 0; i < 14_000; i++) counts[random.integer(7)]!++
      for (const count of counts) expect(Math.abs(count - 2_000)).toBeLessThan(200)
      expect(random.integer(1)).toBe(0)
      let highest = 0
      for (let i = 0; i < 1_000; i++) {
        const value = random.integer(2 ** 53)
        expect(Number.isSafeInteger(value) && value >= 0).toBe(true)
        highest = Math.max(highest, value)
      }
      expect(highest).toBeGreaterThan(2 ** 52)
    })

    test('forks are different streams', () => {
      const random = makeRandom()
      const [a, b] = [random.fork('a'), random.fork('b')]
      const draw = (from: Random) => Array.from({ length: 8 }, () => from.integer(2 ** 32))
      expect(draw(a)).not.toEqual(draw(b))
    })
  })
}

/** What a seeded one must hold besides. */
export function seededRandomSuite(name: string, makeRandom: (seed: number) => Random): void {
  describe(`seeded random: ${name}`, () => {
    const draw = (from: Random) => Array.from({ length: 32 }, () => from.integer(2 ** 32))

    test('one seed replays, another differs', () => {
      expect(draw(makeRandom(1))).toEqual(draw(makeRandom(1)))
      expect(draw(makeRandom(1))).not.toEqual(draw(makeRandom(2)))
    })

    test('forking does not disturb the parent, and a fork depends on its label alone', () => {
      const plain = draw(makeRandom(1))
      const forking = makeRandom(1)
      const fork = draw(forking.fork('a'))
      expect(draw(forking)).toEqual(plain)
      expect(draw(makeRandom(1).fork('a'))).toEqual(fork)
      expect(draw(makeRandom(1).fork('b'))).not.toEqual(fork)
      expect(fork).not.toEqual(plain)
    })
  })
}
