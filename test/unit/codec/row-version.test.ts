import fc from 'fast-check'
import { expect, it } from 'vitest'
import { isHigherRow, ROW_DIGITS_MAX, rowVersionText } from '../../../lib/codec/row-version.ts'

const whole = fc.bigInt({ min: 0n, max: 10n ** BigInt(ROW_DIGITS_MAX) - 1n })
const textOf = (given: unknown): string => rowVersionText(given) as string

it('orders whole numbers as numbers, whatever they are written as', () => {
  fc.assert(
    fc.property(whole, whole, (a, b) => {
      expect(isHigherRow(textOf(a), textOf(String(b)))).toBe(a > b)
    })
  )
})

it('orders places in a log as PostgreSQL does', () => {
  const place = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
  const lsn = (at: bigint): string => `${(at >> 32n).toString(16)}/${(at & 0xffffffffn).toString(16).toUpperCase()}`
  fc.assert(fc.property(place, at => textOf(lsn(at)) === String(at)))
})

it('takes nothing longer than what travels', () => {
  expect(rowVersionText('9'.repeat(ROW_DIGITS_MAX))).toHaveLength(ROW_DIGITS_MAX)
  expect(rowVersionText('9'.repeat(ROW_DIGITS_MAX + 1))).toBeUndefined()
  expect(rowVersionText(10n ** BigInt(ROW_DIGITS_MAX))).toBeUndefined()
})
