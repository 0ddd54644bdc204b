import { describe, expect, it } from 'vitest'
import { hashOf, isKey, isWide, readKey, writeKey } from '../../../lib/store/key-text.ts'

const SEED = { low: 0x03020100, high: 0x07060504 }

function written(key: string): Uint8Array {
  const bytes = new Uint8Array(3 + key.length * 2)
  writeKey(key, isWide(key), bytes, 3)
  return bytes
}

describe('a key as bytes', () => {
  it.each(['s', 'sproduct:42', 'sé', 's店', 's👩🏽', 'a["x",1]', 's\u0000', 's'.repeat(1_000)])(
    '%s is itself again',
    key => {
      const bytes = written(key)
      expect(readKey(key.length, isWide(key), bytes, 3)).toBe(key)
      expect(isKey(key, isWide(key), bytes, 3)).toBe(true)
    }
  )

  it.each([
    ['sab', 'sac'],
    ['xab', 'sab'],
    ['sé', 'se'],
    ['s店a', 's店b'],
    // They differ in the upper byte of a unit, then in the lower one.
    ['s\u0141', 's\u0241'],
    ['s\u0141', 's\u0142']
  ])('%s is not %s', (one, other) => {
    expect(isKey(one, isWide(other), written(other), 3)).toBe(false)
  })

  it('takes one byte a unit where it can', () => {
    expect([isWide('sé\u00ff'), isWide('s\u0100')]).toEqual([false, true])
  })
})

describe('the hash of a key', () => {
  it('depends on every unit, on the length and on the seed', () => {
    const keys = ['', 's', 's\u0000', 'sa', 'sb', 'as', 'sab', 'sabc', 'sabd', 'tabc', 's\u0161', 's\u0061']
    const distinct = new Set(keys)
    const hashes = [...distinct].map(key => hashOf(key, SEED))
    expect(new Set(hashes).size).toBe(distinct.size)
    expect([...distinct].map(key => hashOf(key, { ...SEED, low: 1 })).filter(hash => hashes.includes(hash))).toEqual([])
  })

  it('spreads keys that are numbers in a row evenly', () => {
    const buckets = new Array<number>(64).fill(0)
    for (let i = 0; i < 64_000; i++) {
      const bucket = hashOf(`sproduct:${i}`, SEED) & 63
      buckets[bucket] = (buckets[bucket] as number) + 1
    }
    expect(Math.min(...buckets)).toBeGreaterThan(850)
    expect(Math.max(...buckets)).toBeLessThan(1_150)
  })
})
