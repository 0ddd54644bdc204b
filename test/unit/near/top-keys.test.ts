import { beforeEach, describe, expect, it } from 'vitest'
import { COUNTERS_MAX, HOT_PER_SECOND, TopKeys, WINDOW_MS } from '../../../lib/near/top-keys.ts'

let told: string[]
let top: TopKeys

beforeEach(() => {
  told = []
  top = new TopKeys(({ key }) => told.push(key))
})

/** Asked for so often in this window; each key has a partition of its own unless it is said. Hot at the last? */
function ask(key: string, times: number, { partition = partitionOf(key), bytes = 10 } = {}): boolean {
  let isHot = false
  for (let i = 0; i < times; i++) isHot = top.count(partition, 'n', key, bytes, 1)
  return isHot
}

const partitionOf = (key: string): number =>
  [...key].reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), 7) % 16_384
const turn = (): void => top.turn(WINDOW_MS)
const rates = (): [string, number][] => top.top().map(({ key, perSecond }) => [key, Math.round(perSecond)])

/** So many windows of the same demand. */
function windows(count: number, demand: Record<string, number>): void {
  for (let i = 0; i < count; i++) {
    for (const [key, times] of Object.entries(demand)) ask(key, times)
    turn()
  }
}

describe('a key', () => {
  it('is hot within the window in which it is asked for often enough, told once, and not before', () => {
    expect(ask('k', (HOT_PER_SECOND * WINDOW_MS) / 1_000)).toBe(false)
    expect([ask('k', 20), told, top.hot]).toEqual([true, ['k'], 1])
    windows(5, { k: 60 })
    expect(told).toEqual(['k'])
  })

  it('is not hot below that, however long it is asked for', () => {
    windows(20, { k: 45, other: 3 })
    expect([told, rates()]).toEqual([[], [['k', 90]]])
  })

  it('is not hot where many are asked for as much', () => {
    const many = Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`key ${i}`, 200]))
    for (let round = 0; round < 200; round++) for (const key of Object.keys(many)) ask(key, 1)
    expect(top.hot, 'in the first window').toBe(0)
    turn()
    for (let i = 0; i < 5; i++) {
      for (let round = 0; round < 200; round++) for (const key of Object.keys(many)) ask(key, 1)
      turn()
    }
    expect([top.hot, told]).toEqual([0, []])
  })

  it('is hot where it is asked for eight times as much as the mean, and its neighbours are not', () => {
    const many = Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`key ${i}`, 100]))
    windows(6, { ...many, k: 2_000 })
    expect(
      top
        .top()
        .filter(({ isHot }) => isHot)
        .map(({ key }) => key)
    ).toEqual(['k'])
  })

  it('is hot in a cache of three keys as well', () => {
    windows(3, { a: 900, b: 1_000, c: 1_100 })
    expect(rates().map(([key]) => key)).toEqual(['c', 'b', 'a'])
    expect(top.hot).toBe(3)
  })

  it('stays hot down to half of what made it hot, and then cools down', () => {
    windows(4, { k: 200 })
    windows(10, { k: 30 })
    expect(top.hot).toBe(1)
    windows(10, { k: 20 })
    expect([top.hot, ask('k', 1)]).toEqual([0, false])
  })

  it('is forgotten once nobody asks for it', () => {
    windows(4, { k: 5_000 })
    expect(top.isCold).toBe(false)
    windows(40, {})
    expect([top.isCold, top.top(), top.hot]).toEqual([true, [], 0])
  })

  it('is one of its cache and of its partition', () => {
    for (let i = 0; i < 200; i++) {
      top.count(7, 'n', 'k', 10, 1)
      top.count(7, 'other', 'k', 10, 1)
      top.count(7, 'n', 'l', 10, 1)
    }
    turn()
    expect(
      top
        .top()
        .map(({ namespace, key }) => `${namespace} ${key}`)
        .sort()
    ).toEqual(['n k', 'n l', 'other k'])
  })

  it('is counted by what it brings, and for all reads that are told at once', () => {
    for (let i = 0; i < 4; i++) {
      top.count(7, 'n', 'k', 1_000, 300)
      turn()
    }
    expect(top.top()).toEqual([
      { namespace: 'n', key: 'k', partition: 7, perSecond: 600, bytesPerSecond: 600_000, isHot: true }
    ])
  })
})

describe('a rate', () => {
  it('is right from the first whole window on, and half of what it was a second after the last read', () => {
    windows(2, { k: 400 })
    expect(rates()[0]?.[1]).toBeGreaterThan(770)
    windows(8, { k: 400 })
    expect(rates()).toEqual([['k', expect.closeTo(800, -1)]])
    top.turn(1_000)
    expect(rates()).toEqual([['k', expect.closeTo(400, -1)]])
  })

  it('goes by the time that has passed and not by how often it was looked', () => {
    for (let i = 0; i < 8; i++) {
      ask('k', 400)
      top.turn(2_000)
    }
    expect(rates()).toEqual([['k', expect.closeTo(200, -1)]])
  })

  it('is never more than there was', () => {
    for (let round = 0; round < 50; round++) {
      for (let i = 0; i < 300; i++) ask(`key ${round} ${i}`, 40, { partition: i % 50 })
      ask('k', 300)
      turn()
      expect(top.top().every(({ key, perSecond }) => perSecond <= (key === 'k' ? 600 : 80))).toBe(true)
    }
    expect(rates()[0]).toEqual(['k', 600])
  })
})

describe('many keys', () => {
  it('share as many counters as there are, and those in most demand have one', () => {
    const heavy = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`heavy ${i}`, 2_000]))
    const light = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`light ${i}`, 30]))
    windows(6, { ...light, ...heavy })
    const counted = rates().map(([key]) => key)
    expect(counted.length).toBeLessThanOrEqual(COUNTERS_MAX)
    expect(counted.slice(0, 20).sort()).toEqual(Object.keys(heavy).sort())
  })

  it('give way to others that are asked for now, though all counters are taken', () => {
    const before = Object.fromEntries(Array.from({ length: COUNTERS_MAX }, (_, i) => [`before ${i}`, 500]))
    windows(4, before)
    expect(rates()).toHaveLength(COUNTERS_MAX)
    windows(4, { new: 5_000 })
    expect(rates()[0]?.[0]).toBe('new')
  })
})
