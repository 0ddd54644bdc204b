import { beforeEach, expect, it } from 'vitest'
import { Moves } from '../../../lib/fill/moves.ts'
import { ManualClock } from '../rpc/manual-clock.ts'

let clock: ManualClock
let moves: Moves

beforeEach(() => {
  clock = new ManualClock()
  moves = new Moves(clock)
  moves.gained(7, 'before')
})

it('tells for a while from whom a partition has come, until it goes or something changes in it', () => {
  expect([moves.before(7, 'n'), moves.before(8, 'n')]).toEqual(['before', undefined])
  clock.pass(29_999)
  expect(moves.before(7, 'n')).toBe('before')
  clock.pass(1)
  expect(moves.before(7, 'n')).toBeUndefined()
  moves.gained(7, 'another')
  moves.lost(partition => partition === 8)
  expect(moves.before(7, 'n')).toBe('another')
  moves.lost(() => true)
  expect(moves.before(7, 'n')).toBeUndefined()
  moves.gained(7, 'before')
  moves.changed(7)
  expect(moves.before(7, 'n')).toBeUndefined()
})

it('tells nothing for a cache that was cleared, and for none where too many were', () => {
  moves.cleared('n')
  expect([moves.before(7, 'n'), moves.before(7, 'm')]).toEqual([undefined, 'before'])
  for (let i = 0; i < 1_024; i++) moves.cleared(`c${i}`)
  expect(moves.before(7, 'm')).toBeUndefined()
  clock.pass(30_000)
  moves.gained(7, 'before')
  expect([moves.before(7, 'n'), moves.before(7, 'm')]).toEqual(['before', 'before'])
})

it('forgets all rather than lose count of members that come and go', () => {
  for (let i = 0; i < 5_000; i++) moves.gained(9, `member ${i}`)
  expect([moves.before(9, 'n'), moves.before(7, 'n')]).toEqual(['member 4999', undefined])
})
