/** The figures of `npm run bench:copies`, and what it can be asked for. */
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { failuresOf, latencyOf, rateOf } from '../e2e/copies/figures.ts'
import { Load } from '../e2e/copies/load.ts'
import { COPIES_PARTS, copiesOptions } from './copies-options.ts'

const KB = 1_024

describe('options of bench:copies', () => {
  it('are all parts, twenty kills and three hundred reads by default', () => {
    expect(copiesOptions([])).toEqual({ parts: COPIES_PARTS, tries: 20, readsPerSecond: 300 })
  })

  it('choose parts, kills and reads', () => {
    expect(copiesOptions(['--only', 'grow,kill', '--tries', '3', '--reads', '50'])).toEqual({
      parts: ['kill', 'grow'],
      tries: 3,
      readsPerSecond: 50
    })
  })

  it.each([
    ['--fast'],
    ['--only', 'kills'],
    ['--tries', '0'],
    ['--tries', '1.5'],
    ['--reads', 'many'],
    ['--tries'],
    ['kill']
  ])('that make no sense are refused in one line with what is known: %s %s', (...args) => {
    expect(copiesOptions(args)).toEqual({ problem: expect.stringMatching(/^[^\n]+Known are --tries N [^\n]+\.$/) })
  })
})

describe('figures of calls', () => {
  it('are of all processes together, by when a call was due', () => {
    const one = { dueMs: Float64Array.of(0, 10, 20, 30), tookMs: Float64Array.of(100, 5, 1, 100), failures: [] }
    const other = { dueMs: Float64Array.of(10, 25), tookMs: Float64Array.of(7, 3), failures: [] }
    expect(latencyOf([one, other], 10, 30)).toEqual({ calls: 4, p50Ms: 5, p99Ms: 7, maxMs: 7 })
    expect(latencyOf([one, other])).toMatchObject({ calls: 6, maxMs: 100 })
  })

  it('tell failures in the order in which they were due', () => {
    const [early, late] = [1, 2].map(dueMs => ({ dueMs, tookMs: 0, key: 'lamp', what: 'no' }))
    const empty = { dueMs: new Float64Array(), tookMs: new Float64Array() }
    const all = [late, early].map(each => ({ ...empty, failures: each === undefined ? [] : [each] }))
    expect(failuresOf(all)).toEqual([early, late])
  })
})

describe('a load', () => {
  it('is due at its rate whether or not anybody comes back, and tells what failed', async () => {
    const open: (() => void)[] = []
    const load = new Load(1_000, n => {
      if (n === 3) return undefined
      const done = n === 1 ? Promise.reject(new Error('no')) : new Promise<void>(resolve => open.push(resolve))
      return { key: `key ${n}`, done }
    })
    while (open.length < 4) await sleep(1)
    const stopped = load.stop()
    for (const resolve of open) resolve()
    const { dueMs, tookMs, failures } = await stopped
    expect(dueMs.length).toBe(open.length + 1)
    expect(tookMs.length).toBe(dueMs.length)
    const sorted = dueMs.toSorted()
    // The second was due a millisecond after the first, the fourth was none.
    expect((sorted[1] as number) - (sorted[0] as number)).toBeCloseTo(1, 1)
    expect((sorted[3] as number) - (sorted[2] as number)).toBeCloseTo(2, 1)
    expect(failures).toMatchObject([{ key: 'key 1', what: 'no' }])
  })
})

describe('how fast a counter rose', () => {
  const every100 = (bytes: readonly number[]) => bytes.map((each, i) => ({ atMs: i * 100, bytes: each }))

  it('counts from where it began to where it ended, not the rest before and after', () => {
    const bytes = [0, 0, 0, ...Array.from({ length: 21 }, (_, i) => i * 10 * KB), ...Array(30).fill(200 * KB)]
    expect(rateOf(every100(bytes))).toEqual({ bytes: 200 * KB, tookMs: 2_000, average: 100 * KB, highest: 100 * KB })
  })

  it('finds the second in which most was moved', () => {
    const slow = Array.from({ length: 30 }, (_, i) => i * KB)
    const fast = Array.from({ length: 10 }, (_, i) => 29 * KB + (i + 1) * 50 * KB)
    const after = Array.from({ length: 30 }, (_, i) => 529 * KB + (i + 1) * KB)
    expect(rateOf(every100([...slow, ...fast, ...after]))).toMatchObject({ highest: 500 * KB })
  })

  it('is nothing where nothing moved, and no more than its bytes where all was moved within a second', () => {
    expect(rateOf(every100([5, 5, 5]))).toEqual({ bytes: 0, tookMs: 0, average: 0, highest: 0 })
    expect(rateOf(every100([0, 0, 10 * KB, 10 * KB]))).toMatchObject({ bytes: 10 * KB, highest: 10 * KB })
  })
})
