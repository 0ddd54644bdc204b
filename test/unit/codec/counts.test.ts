import { expect, it } from 'vitest'
import { decodeCount, encodeCount, isExact } from '../../../lib/codec/counts.ts'

it.each([0, 1, -1, 0.1, Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER])('a count of %d comes back', count => {
  expect(decodeCount(encodeCount(count))).toBe(count)
  // As a store may hold it: a piece of something larger.
  const within = new Uint8Array(20)
  within.set(encodeCount(count), 3)
  expect(decodeCount(within.subarray(3, 11))).toBe(count)
})

it('what is no count is not taken for one', () => {
  expect(() => decodeCount(new Uint8Array(7))).toThrow('one number')
  expect([Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER + 1, Number.POSITIVE_INFINITY].map(isExact)).toEqual([
    true,
    false,
    false
  ])
})
