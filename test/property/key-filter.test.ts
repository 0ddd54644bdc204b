/** A filter of keys that exist: what was added is never denied, and merging is a join. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { geometryFor, KeyFilter } from '../../lib/fill/key-filter.ts'

const key = fc.oneof(
  fc.integer({ min: 0, max: 1e6 }).map(i => `s${i}`),
  fc.string({ maxLength: 40 }),
  fc
    .array(fc.oneof(fc.string({ maxLength: 5 }), fc.integer()), { maxLength: 4 })
    .map(parts => `a${JSON.stringify(parts)}`)
)
const keys = fc.array(key, { maxLength: 60 })
const geometry = fc
  .record({ keys: fc.integer({ min: 1, max: 200_000 }), share: fc.double({ min: 0.001, max: 0.5, noNaN: true }) })
  .map(({ keys: count, share }) => geometryFor(count, share))

function filled(of: KeyFilter['geometry'], list: readonly string[]): KeyFilter {
  const filter = new KeyFilter(of)
  for (const one of list) filter.add(one)
  return filter
}

function merge(into: KeyFilter, from: KeyFilter, parts = from.prints().map((_, part) => part)): void {
  for (const part of parts) expect(into.mergePart(part, from.part(part) as Uint8Array)).toBe(true)
}

function differing(a: KeyFilter, b: KeyFilter): number[] {
  const theirs = b.prints()
  return a.prints().flatMap((print, part) => (print === theirs[part] ? [] : [part]))
}

const RUNS = { numRuns: 150 }

describe('a filter of keys', () => {
  it('never denies what was added', () => {
    fc.assert(
      fc.property(geometry, keys, (of, list) => {
        const filter = filled(of, list)
        expect(list.filter(one => !filter.has(one))).toEqual([])
      }),
      RUNS
    )
  })

  it('is the same in whatever order keys and parts come, and its print with it', () => {
    fc.assert(
      fc.property(geometry, keys, keys, (of, one, other) => {
        const [a, b] = [filled(of, one), filled(of, other)]
        merge(a, b)
        merge(b, a)
        merge(b, a)
        const both = filled(of, [...other, ...one].reverse())
        expect([a.print, b.print]).toEqual([both.print, both.print])
        expect(a.prints()).toEqual(both.prints())
        expect([...one, ...other].filter(each => !a.has(each))).toEqual([])
      }),
      RUNS
    )
  })

  it('is level with another after the parts that differ, and no others, were merged', () => {
    fc.assert(
      fc.property(keys, keys, (one, other) => {
        const of = geometryFor(300_000, 0.01)
        const [a, b] = [filled(of, one), filled(of, [...one, ...other])]
        const missing = other.some(each => !a.has(each))
        const parts = differing(a, b)
        expect(parts.length > 0).toBe(missing)
        merge(a, b, parts)
        expect(a.print).toBe(b.print)
        expect(other.filter(each => !a.has(each))).toEqual([])
      }),
      RUNS
    )
  })

  it('refuses parts of another shape, and is as it was', () => {
    const filter = filled(geometryFor(100_000, 0.01), ['k'])
    const { print } = filter
    const whole = filter.part(0) as Uint8Array
    const last = filter.parts - 1
    for (const [index, bytes] of [
      [-1, whole],
      [filter.parts, whole],
      [last, whole],
      [0, whole.subarray(4)],
      [0, new Uint8Array(0)]
    ] as const)
      expect(filter.mergePart(index, new Uint8Array(bytes).fill(255))).toBe(false)
    expect([filter.part(-1), filter.part(filter.parts)]).toEqual([undefined, undefined])
    expect(filter.print).toBe(print)
  })

  it.each([0.1, 0.01, 0.001])('of the keys it was made for lets through about %f of others', share => {
    const [many, others] = [50_000, 200_000]
    for (const name of [(i: number) => `s${i}`, (i: number) => `a["shop",${i}]`, (i: number) => `suser:${i}:orders`]) {
      const filter = new KeyFilter(geometryFor(many, share))
      for (let i = 0; i < many; i++) filter.add(name(i))
      let passed = 0
      for (let i = many; i < many + others; i++) if (filter.has(name(i))) passed++
      expect(passed / others).toBeLessThan(share * 1.2)
      expect(passed / others).toBeGreaterThan(share * 0.8)
      expect(filter.isOverfull).toBe(false)
      for (let i = many; i < many * 2; i++) filter.add(name(i))
      expect(filter.isOverfull).toBe(true)
    }
  })

  it('keeps its bits where they were: another place would deny what others have added', () => {
    const filter = filled(geometryFor(1_000, 0.01), ['product:42', 'a["berlin",1]', 'ключ'])
    expect(filter.geometry).toEqual({ bits: 9_600, hashes: 7, hashing: HASHING })
    expect(filter.print).toBe(PRINT)
  })
})

const HASHING = 562_384_468
const PRINT = 4_208_641_052_099_247
