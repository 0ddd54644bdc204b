import { beforeEach, describe, expect, it } from 'vitest'
import type { Once, Reply } from '../../../lib/rpc/messages.ts'
import { Done } from '../../../lib/serving/done.ts'

let done: Done

beforeEach(() => {
  done = new Done()
})

const NOW = 1_000
const once = (number: number, over: Partial<Once> = {}): Once => ({
  boot: 1,
  number,
  openFrom: 0,
  untilMs: 6_000,
  ...over
})
const reply = (value: number): Reply => ({ type: 'added', done: true, value, expiresAtMs: 0 })
const FORGOTTEN = { type: 'forgotten' }

function make(number: number, over: Partial<Once> = {}, peer = 'a'): void {
  expect(done.answer(peer, once(number, over), NOW)).toBeUndefined()
  done.remember(peer, once(number, over), reply(number), NOW)
}

describe('what was done', () => {
  it('is answered as it was, to the same writer and the same process of it', () => {
    make(1)
    expect(done.answer('a', once(1), NOW + 3_000)).toEqual(reply(1))
    expect(done.answer('b', once(1), NOW)).toBeUndefined()
    expect(done.answer('a', once(1, { boot: 2 }), NOW)).toBeUndefined()
    expect(done.answer('a', once(2), NOW)).toBeUndefined()
  })

  it('is answered after its deadline as long as it is known, and what is new is not done then', () => {
    make(1)
    expect(done.answer('a', once(1), 7_000)).toEqual(reply(1))
    expect(done.answer('a', once(2), 6_000)).toBeUndefined()
    expect(done.answer('a', once(2), 6_001)).toEqual(FORGOTTEN)
    expect(done.answer('stranger', once(2), 6_001)).toEqual(FORGOTTEN)
  })

  it('is dropped as soon as its writer will not ask again, and what is below is never done later', () => {
    for (let number = 1; number <= 100; number++) make(number, { openFrom: number })
    expect(done.size).toBe(1)
    expect(done.answer('a', once(50), NOW)).toEqual(FORGOTTEN)
    expect(done.answer('a', once(100), NOW)).toEqual(reply(100))
    expect(done.answer('a', once(101), NOW)).toBeUndefined()
  })

  it('is told to others, and that it is settled where nothing else is known of it', () => {
    for (let number = 1; number <= 3; number++) make(number, { openFrom: number })
    expect(done.answered('a', 1, 3)).toMatchObject({ reply: 'added', value: 3 })
    expect(done.answered('a', 1, 2)).toMatchObject({ reply: 'forgotten' })
    expect([done.answered('a', 1, 4), done.answered('a', 2, 2), done.answered('b', 1, 2)]).toEqual(
      Array(3).fill(undefined)
    )
  })

  it('is told to others as far as there is room, and the rest is counted', () => {
    for (let number = 1; number <= 5; number++) make(number)
    let untold = 0
    const told = done.answeredIn(new Set([0]), 3, () => untold++)
    expect([told.map(({ number }) => number), untold]).toEqual([[1, 2, 3], 2])
    expect(done.answeredIn(new Set([1]), 3, () => untold++)).toEqual([])
    expect(untold).toBe(2)
  })

  it('that came out of order is dropped a little later', () => {
    make(5)
    make(3)
    make(6, { openFrom: 4 })
    make(7, { openFrom: 7 })
    expect(done.size).toBe(1)
  })

  it('of one writer is bounded, and the oldest is not done again but said to be forgotten', () => {
    for (let number = 1; number <= 16_384; number++) make(number)
    expect(done.size).toBe(16_384)
    expect(done.answer('a', once(1), NOW)).toEqual(reply(1))
    make(16_385)
    make(16_386)
    expect(done.size).toBe(16_384)
    for (const number of [1, 2]) expect(done.answer('a', once(number), NOW)).toEqual(FORGOTTEN)
    expect(done.answer('a', once(3), NOW)).toEqual(reply(3))
  })

  it('of all writers is bounded, at the cost of the one with the most', () => {
    for (let writer = 0; writer < 16; writer++)
      for (let number = 1; number <= 8_192; number++) make(number, {}, `w${writer}`)
    expect(done.size).toBe(131_072)
    make(8_193, {}, 'w15')
    make(1, {}, 'new')
    expect(done.size).toBe(131_072)
    expect(done.answer('w15', once(1), NOW)).toEqual(FORGOTTEN)
    expect(done.answer('new', once(1), NOW)).toEqual(reply(1))
  })

  it('of a process that was started again makes way for the new one', () => {
    make(1)
    make(1, { boot: 2 })
    expect(done.size).toBe(1)
    expect(done.answer('a', once(1, { boot: 2 }), NOW)).toEqual(reply(1))
  })

  it('of writers that have fallen silent is swept when its deadline is over', () => {
    for (let peer = 0; peer < 50; peer++) make(1, { untilMs: 6_000 }, `p${peer}`)
    done.remember('late', once(1, { untilMs: 60_000 }), reply(1), 20_000)
    expect(done.size).toBe(1)
    expect(done.answer('p1', once(1), 20_000)).toEqual(FORGOTTEN)
  })
})
