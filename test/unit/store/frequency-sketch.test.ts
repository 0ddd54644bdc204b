import { describe, expect, it } from 'vitest'
import { seededRandom } from '../../../lib/sim/random.ts'
import { FrequencySketch } from '../../../lib/store/frequency-sketch.ts'

const random = seededRandom('sketch')
const hashes = Array.from({ length: 20_000 }, () => random.integer(2 ** 32) | 0)

function sketchOf(keys: number): FrequencySketch {
  const sketch = new FrequencySketch()
  sketch.fit(keys)
  return sketch
}

describe('a frequency sketch', () => {
  it('counts up to fifteen', () => {
    const sketch = sketchOf(10_000)
    const [hash] = hashes as [number]
    for (const expected of [0, 1, 2, 3, 4]) {
      expect(sketch.frequency(hash)).toBe(expected)
      sketch.used(hash)
    }
    for (let i = 0; i < 50; i++) sketch.used(hash)
    expect(sketch.frequency(hash)).toBe(15)
  })

  it('tells nearly all keys apart when it holds as many as it was made for', () => {
    const sketch = sketchOf(1_000)
    const [often, seldom] = [hashes.slice(0, 200), hashes.slice(200, 1_000)]
    for (const hash of seldom) sketch.used(hash)
    for (let i = 0; i < 6; i++) for (const hash of often) sketch.used(hash)
    // It forgets meanwhile: a fifth of all words has been halved once.
    expect(often.filter(hash => sketch.frequency(hash) < 3)).toEqual([])
    expect(seldom.filter(hash => sketch.frequency(hash) > 2).length).toBeLessThan(20)
  })

  it('forgets what is not used any more', () => {
    const sketch = sketchOf(1_000)
    const [hash, ...others] = hashes.slice(0, 1_000) as [number, ...number[]]
    for (let i = 0; i < 15; i++) sketch.used(hash)
    for (let i = 0; i < 45; i++) for (const other of others) sketch.used(other)
    expect(sketch.frequency(hash)).toBeLessThan(5)
  })

  it('forgets a little with each use and never all at once', () => {
    const sketch = sketchOf(1_000)
    for (let i = 0; i < 8; i++) for (const hash of hashes.slice(0, 1_000)) sketch.used(hash)
    const sum = (): number => hashes.slice(0, 1_000).reduce((total, hash) => total + sketch.frequency(hash), 0)
    let before = sum()
    for (let i = 0; i < 1_000; i++) {
      sketch.used(hashes[1_000] as number)
      const now = sum()
      // One word is eight counters; a key may lose with each, and loses at most half.
      expect(before - now).toBeLessThan(70)
      before = now
    }
  })

  it('remembers when it grows, and has four bytes for each key', () => {
    const sketch = sketchOf(64)
    const few = hashes.slice(0, 20)
    for (let i = 0; i < 5; i++) for (const hash of few) sketch.used(hash)
    const before = few.map(hash => sketch.frequency(hash))
    sketch.fit(5_000)
    expect(few.map(hash => sketch.frequency(hash))).toEqual(before)
    expect(sketch.bytes).toBe(8_192 * 4)
  })
})
