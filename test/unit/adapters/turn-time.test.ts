import { beforeEach, describe, expect, it } from 'vitest'
import { turnTime } from '../../../lib/adapters/turn-time.ts'

let nowMs: number
let looks: number
let ends: (() => void)[]
let turnMs: () => number

beforeEach(() => {
  nowMs = 1_000
  looks = 0
  ends = []
  const look = (): number => {
    looks++
    return nowMs
  }
  turnMs = turnTime(look, fn => ends.push(fn))
})

function endTurn(): void {
  for (const end of ends.splice(0)) end()
}

/** Calls that come thick and fast. */
function calls(count: number): void {
  for (let i = 0; i < count; i++) {
    nowMs += 0.000_1
    turnMs()
  }
}

describe('the time of a turn', () => {
  it('is looked at by each call that stands alone, which asks for no end of its turn', () => {
    for (let i = 0; i < 100; i++) {
      nowMs += 1
      expect(turnMs()).toBe(nowMs)
    }
    expect([looks, ends.length]).toEqual([100, 0])
  })

  it('is one look for many calls that come thick and fast, and one end for all of them', () => {
    calls(10_000)
    expect(looks).toBeLessThan(200)
    expect(ends).toHaveLength(1)
  })

  it('is another in the next turn, however short the last', () => {
    calls(1_000)
    for (let turn = 0; turn < 5; turn++) {
      endTurn()
      nowMs += 5_000
      expect(turnMs()).toBe(nowMs)
      calls(3)
    }
  })

  it('passes in a turn without an end, also where each call is slow from some moment on', () => {
    calls(10_000)
    let old = 0
    for (let i = 0; i < 200; i++) {
      nowMs += 1_000
      if (turnMs() !== nowMs) old++
    }
    expect(old, 'calls that share a look of before').toBeLessThanOrEqual(64)
    nowMs += 1_000
    expect(turnMs()).toBe(nowMs)
  })

  it('never goes back', () => {
    let last = 0
    for (let i = 0; i < 10_000; i++) {
      nowMs += [0, 0.000_1, 0.01, 7][i % 4] as number
      if (i % 97 === 0) endTurn()
      const seen = turnMs()
      expect(seen >= last && seen <= nowMs).toBe(true)
      last = seen
    }
  })
})
