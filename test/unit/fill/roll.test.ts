import { describe, expect, it } from 'vitest'
import { GRACE_MS, type Listed, Roll } from '../../../lib/fill/roll.ts'

/** Members by letters: here, and how those that are not here went. */
function view(roll: Roll, here: string, nowMs: number, gone: Record<string, Listed['status']> = {}): void {
  const owners = [...here].map(
    (letter): Listed => ({ id: letter.toLowerCase(), status: letter < 'a' ? 'suspect' : 'alive' })
  )
  roll.update(owners, id => gone[id], nowMs)
}

function formed(here: string): Roll {
  const roll = new Roll()
  view(roll, here, -10_000)
  return roll
}

describe('the roll', () => {
  it('of members that are all here is calm, and they are the majority', () => {
    const roll = formed('abc')
    expect([roll.isCalm(0), roll.isMajority(0), roll.lost(0)]).toEqual([true, true, []])
  })

  it('is not calm while one is suspected, nor for a second after one came', () => {
    const roll = formed('abc')
    view(roll, 'abC', 0)
    expect(roll.isCalm(GRACE_MS * 9)).toBe(false)
    view(roll, 'abcd', 0)
    expect([roll.isCalm(999), roll.isCalm(1_000)]).toEqual([false, true])
  })

  it('counts one that was lost for five seconds, and one that left not at all', () => {
    const roll = formed('abcd')
    view(roll, 'abc', 0, { d: 'left' })
    expect([roll.isCalm(0), roll.lost(0)]).toEqual([true, []])
    view(roll, 'ab', 100, { c: 'dead', d: 'left' })
    expect([roll.isCalm(99 + GRACE_MS), roll.lost(99 + GRACE_MS)]).toEqual([false, ['c']])
    expect([roll.isCalm(100 + GRACE_MS), roll.lost(100 + GRACE_MS)]).toEqual([true, []])
  })

  it('in a minority forgets nobody, however long it lasts, until they are back', () => {
    const roll = formed('abcde')
    view(roll, 'ab', 0, { c: 'dead', d: 'dead', e: 'dead' })
    expect([roll.isMajority(1e9), roll.lost(1e9)]).toEqual([false, ['c', 'd', 'e']])
    view(roll, 'abc', 2e9)
    expect([roll.isMajority(2e9), roll.lost(2e9)]).toEqual([true, []])
  })

  it('knows a minority also where it loses the others one by one', () => {
    const roll = formed('abcde')
    view(roll, 'abde', 0, { c: 'dead' })
    view(roll, 'abe', 1_000, { c: 'dead', d: 'dead' })
    view(roll, 'ab', 2_000, { c: 'dead', d: 'dead', e: 'dead' })
    expect(roll.isMajority(60_000)).toBe(false)
  })

  it('of two halves takes the one with the lowest id for the majority', () => {
    const [one, other] = [formed('abcd'), formed('abcd')]
    view(one, 'ac', 0, { b: 'dead', d: 'dead' })
    view(other, 'bd', 0, { a: 'dead', c: 'dead' })
    expect([one.isMajority(0), other.isMajority(0)]).toEqual([true, false])
  })

  it('of several losses forgets none before the majority has outlasted it', () => {
    const roll = formed('abcde')
    view(roll, 'abcd', 0, { e: 'dead' })
    view(roll, 'abc', GRACE_MS - 1, { e: 'dead', d: 'dead' })
    expect(roll.lost(GRACE_MS)).toEqual(['d'])
    expect(roll.lost(2 * GRACE_MS)).toEqual([])
  })
})
