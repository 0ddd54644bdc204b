import { describe, expect, it } from 'vitest'
import { freeze } from '../../../lib/codec/freeze.ts'

describe('a value that callers share', () => {
  it('is frozen all the way down', () => {
    const value = { a: [{ b: 1 }], c: 'text', d: null, e: undefined }
    expect(freeze(value)).toBe(true)
    expect([value, value.a, value.a[0]].every(Object.isFrozen)).toBe(true)
    for (const plain of [1, 'text', true, null, undefined, 7n]) expect(freeze(plain)).toBe(true)
  })

  it.each([
    ['a Map', new Map([['a', 1]])],
    ['a Set', new Set([1])],
    ['a Date', new Date(7)],
    ['bytes', Buffer.from('ab')],
    ['numbers', Float64Array.of(1)],
    ['memory', new ArrayBuffer(8)]
  ])('is not whole with %s in it', (_, part) => {
    expect(freeze(part)).toBe(false)
    const value = { before: { a: 1 }, part, after: [1] }
    expect(freeze(value)).toBe(false)
    expect([value, value.before, value.after].every(Object.isFrozen)).toBe(true)
  })
})

describe('a value that somebody has frozen already', () => {
  it('is not whole, for nobody knows how deep', () => {
    expect(freeze(Object.freeze({ at: new Date(7) }))).toBe(false)
    expect(freeze({ part: Object.freeze({ a: 1 }) })).toBe(false)
  })

  it('nor is one that goes in a circle', () => {
    const value: { self?: unknown } = {}
    value.self = value
    expect(freeze(value)).toBe(false)
  })
})
