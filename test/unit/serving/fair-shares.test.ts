import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fairShares } from '../../../lib/serving/fair-shares.ts'

describe('fair shares', () => {
  it.each([
    [[5, 5, 5], 30, [5, 5, 5]],
    [[10, 10, 10], 9, [3, 3, 3]],
    [[1, 10, 10], 9, [1, 4, 4]],
    [[10, 2, 10], 11, [5, 2, 4]],
    [[10, 10, 10], 2, [1, 1, 0]],
    [[0, 3, -4], 5, [0, 3, 0]],
    [[3], -2, [0]],
    [[], 7, []]
  ])('of %j out of %i are %j', (wants, available, shares) => {
    expect(fairShares(wants, available)).toEqual(shares)
  })

  it('give nobody more than it wants, leave nothing over, and nobody could have more but from one who has more', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(40), { maxLength: 12 }), fc.nat(200), (wants, available) => {
        const shares = fairShares(wants, available)
        const total = shares.reduce((a, b) => a + b, 0)
        const wanted = wants.reduce((a, b) => a + b, 0)
        expect(total).toBe(Math.min(wanted, available))
        const most = Math.max(0, ...shares)
        for (const [i, share] of shares.entries()) {
          expect(share).toBeLessThanOrEqual(wants[i] as number)
          if (share < (wants[i] as number)) expect(share).toBeGreaterThanOrEqual(most - 1)
        }
      })
    )
  })
})
