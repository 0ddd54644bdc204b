import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  isDue,
  isPlainlyFresh,
  joinKeeping,
  type KeepTerms,
  keptAnew,
  keptFrom,
  shadowOf,
  softened,
  splitKeeping,
  withShadow
} from '../../../lib/store/keeping.ts'

const NONE: KeepTerms = { revalidateMs: 0, staleMs: 0, ahead: 0, earlyMs: 0, tags: new Uint8Array(0) }
const keepingOf = (over: Partial<KeepTerms>, ttlMs = 1_000) => keptFrom(100, ttlMs, { ...NONE, ...over })

describe('how a value is kept', () => {
  it('is nothing but its expiry where nothing more was asked for', () => {
    expect(keptFrom(100, 1_000, undefined)).toEqual({ expiresAtMs: 1_100, keeping: undefined })
  })

  it.each([
    [{ revalidateMs: 500, staleMs: 300 }, 1_600, 1_600],
    [{ revalidateMs: 300, staleMs: 500 }, 1_600, 1_400]
  ])('ends with the longer of its windows, not their sum: %j', (over, expiresAtMs, revalidateUntilMs) => {
    const kept = keepingOf(over)
    expect(kept).toMatchObject({ expiresAtMs, keeping: { freshUntilMs: 1_100, revalidateUntilMs } })
  })

  it('is for ever where the TTL is, and then nothing is ahead of its end', () => {
    const { expiresAtMs, keeping } = keepingOf({ revalidateMs: 500, ahead: 0.2, earlyMs: 10 }, Number.POSITIVE_INFINITY)
    expect([expiresAtMs, keeping?.freshUntilMs, keeping?.aheadFromMs]).toEqual(Array(3).fill(Number.POSITIVE_INFINITY))
    if (keeping !== undefined)
      expect([isPlainlyFresh(keeping, 1e12), isDue(keeping, 1e12, 0.999)]).toEqual([true, false])
  })

  it('begins anew with another TTL, its windows as long as before', () => {
    const before = keepingOf({ revalidateMs: 500, staleMs: 700, ahead: 0.2, earlyMs: 3 })
    const anew = keptAnew(before, 5_000, 10_000)
    expect(anew).toMatchObject({
      expiresAtMs: 15_700,
      keeping: { freshUntilMs: 15_000, revalidateUntilMs: 15_500, aheadFromMs: 14_800, earlyMs: 3 }
    })
  })

  it('survives lying in front of a value', () => {
    const time = fc.double({ noNaN: true })
    const bytes = fc.uint8Array({ maxLength: 300 })
    const keeping = fc.record(
      {
        freshUntilMs: time,
        revalidateUntilMs: time,
        aheadFromMs: time,
        earlyMs: time,
        shadowUntilMs: time,
        tags: bytes
      },
      { noNullPrototype: true }
    )
    fc.assert(
      fc.property(keeping, bytes, (one, value) => {
        expect(splitKeeping(joinKeeping(one, value))).toEqual({ keeping: one, value })
      })
    )
  })
})

describe('a value that is loaded anew ahead of time', () => {
  it('is so in the last share of its TTL', () => {
    const { keeping } = keepingOf({ ahead: 0.2 })
    if (keeping === undefined) throw new Error('it has no keeping')
    expect([899, 901].map(ms => isPlainlyFresh(keeping, ms))).toEqual([true, false])
    expect([899, 901].map(ms => isDue(keeping, ms, 0))).toEqual([false, true])
  })

  it('is so by chance from ten load times before its end on, and surely from two', () => {
    const { keeping } = keepingOf({ earlyMs: 10 })
    if (keeping === undefined) throw new Error('it has no keeping')
    expect([999, 1_000].map(ms => isPlainlyFresh(keeping, ms))).toEqual([true, false])
    expect([1_079, 1_080].map(ms => isDue(keeping, ms, 0))).toEqual([false, true])
    // Half of the draws are above ln 2 load times.
    expect([1_073, 1_074].map(ms => isDue(keeping, ms, 0.5))).toEqual([false, true])
  })
})

describe('the shadow of what was replaced', () => {
  it('is the latest end of all before, where that is later than its own', () => {
    const plain = { expiresAtMs: 900 }
    expect([shadowOf(undefined, 500), shadowOf(plain, 500), shadowOf(plain, 900)]).toEqual([0, 900, 0])
    const shaded = withShadow({ expiresAtMs: 900, keeping: undefined }, 2_000)
    expect([shadowOf(shaded, 500), shadowOf(shaded, 2_000)]).toEqual([2_000, 0])
  })

  it('is kept with the value, which is otherwise as plain as before', () => {
    const plain = { expiresAtMs: 900, keeping: undefined }
    expect(withShadow(plain, 0)).toBe(plain)
    const { keeping } = withShadow(plain, 2_000)
    expect(keeping !== undefined && isPlainlyFresh(keeping, 899)).toBe(true)
    if (keeping !== undefined) expect(splitKeeping(joinKeeping(keeping, Uint8Array.of(1))).keeping).toEqual(keeping)
    const kept = keepingOf({ revalidateMs: 5, tags: Uint8Array.of(1, 65) })
    expect(withShadow(withShadow(kept, 9_000), 0)).toEqual(kept)
  })
})

describe('a value that is stale from now on', () => {
  const windows = { revalidateMs: 30, staleMs: 50, ahead: 0.2, earlyMs: 3, tags: Uint8Array.of(1) }

  it('has its windows from now on, and its tags', () => {
    const kept = keptFrom(1_000, 100, windows)
    expect(softened(kept, 1_040)).toEqual({
      expiresAtMs: 1_090,
      keeping: { ...kept.keeping, freshUntilMs: 1_040, revalidateUntilMs: 1_070, aheadFromMs: 1_020 }
    })
  })

  it('is none where it has no windows, or their time is over', () => {
    expect(softened(keptFrom(1_000, 100, undefined), 1_040)).toBeUndefined()
    expect(softened(keptFrom(1_000, 100, { ...windows, revalidateMs: 0, staleMs: 0 }), 1_040)).toBeUndefined()
    expect(softened(keptFrom(1_000, 100, windows), 1_150)).toBeUndefined()
  })

  it('that was so before stays as it was', () => {
    const kept = keptFrom(1_000, 100, windows)
    expect(softened(kept, 1_120)).toEqual(kept)
  })

  it('that was to be fresh for ever has the windows of its cache', () => {
    const kept = keptFrom(1_000, Number.POSITIVE_INFINITY, windows)
    const ofCache = { staleWhileRevalidateMs: 7, staleIfErrorMs: 5 }
    expect(softened(kept, 1_040, ofCache)).toMatchObject({
      expiresAtMs: 1_047,
      keeping: { freshUntilMs: 1_040, revalidateUntilMs: 1_047 }
    })
    expect(softened(kept, 1_040)).toBeUndefined()
  })

  it.each([0, 1, 39, 99, 100, 101, 149])('never outlasts what it would have lasted (%s ms later)', laterMs => {
    const kept = keptFrom(1_000, 100, windows)
    const after = softened(kept, 1_000 + laterMs)
    expect(after?.expiresAtMs).toBeLessThanOrEqual(kept.expiresAtMs)
    expect(after?.keeping?.revalidateUntilMs).toBeLessThanOrEqual(kept.keeping?.revalidateUntilMs as number)
    expect(after?.keeping?.freshUntilMs).toBeLessThanOrEqual(1_000 + laterMs)
  })
})
