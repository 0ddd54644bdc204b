import { expect, it } from 'vitest'
import { HedgeBudget } from '../../../lib/serving/hedge-budget.ts'

/** How many of so many questions it allows. */
function spent(budget: HedgeBudget, questions: number): number {
  return Array.from({ length: questions }, () => budget.spend()).filter(Boolean).length
}

it('allows a hundred at once, and then a tenth of the reads', () => {
  const budget = new HedgeBudget()
  expect(spent(budget, 1_000)).toBe(100)
  for (let i = 0; i < 55; i++) budget.earn()
  expect(spent(budget, 1_000)).toBe(5)
  for (let i = 0; i < 5; i++) budget.earn()
  expect(spent(budget, 1_000)).toBe(1)
})

it('keeps no more than a hundred for later', () => {
  const budget = new HedgeBudget()
  budget.earn(1_000_000)
  expect(spent(budget, 1_000)).toBe(100)
})
