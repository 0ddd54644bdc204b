import { beforeEach, expect, it } from 'vitest'
import { Tickets } from '../../../lib/serving/tickets.ts'
import { seededRandom } from '../../../lib/sim/random.ts'
import { ManualClock } from '../rpc/manual-clock.ts'

let clock: ManualClock
let tickets: Tickets
let overdue: string[]

beforeEach(() => {
  clock = new ManualClock()
  overdue = []
  const onOverdue = (_: string, key: string): void => void overdue.push(key)
  tickets = new Tickets({ clock, random: seededRandom(1), onOverdue })
})

const open = (key: string, o: { exclusive?: boolean; partition?: number; lifeMs?: number } = {}): number => {
  const { exclusive = false, partition = 1, lifeMs = 1_000 } = o
  return tickets.open('n', key, { partition, exclusive, lifeMs, kept: { expiresAtMs: 7, keeping: undefined } }).number
}
const isGood = (key: string, number: number): boolean => tickets.close('n', key, number) !== undefined

it('one alone is good, once, and tells what it was opened with', () => {
  const number = open('a')
  expect(tickets.close('n', 'a', number)).toMatchObject({ number, kept: { expiresAtMs: 7, keeping: undefined } })
  expect(isGood('a', number)).toBe(false)
  expect(clock.armed).toBe(0)
})

it('one after the other are both good, and so are those of two keys or two caches', () => {
  const first = open('a')
  const other = open('b')
  expect(tickets.close('m', 'a', first)).toBeUndefined()
  expect([isGood('a', first), isGood('b', other), isGood('a', open('a'))]).toEqual([true, true, true])
})

it('those that were open at the same time are contested, all of a chain, whoever comes back first', () => {
  const [first, second] = [open('a'), open('a')]
  expect(isGood('a', first)).toBe(false)
  const third = open('a')
  expect(isGood('a', second)).toBe(false)
  expect(isGood('a', third)).toBe(false)
  expect(isGood('a', open('a'))).toBe(true)
})

it('one that is not known contests those that are open', () => {
  const number = open('a')
  expect(isGood('a', 12_345)).toBe(false)
  expect(isGood('a', number)).toBe(false)
})

it('those that are open when the key changes beside them are contested, and none of another key', () => {
  const [number, other] = [open('a'), open('b')]
  tickets.contest('n', 'a')
  expect([isGood('a', number), isGood('b', other), isGood('a', open('a'))]).toEqual([false, true, true])
})

it('one that does not come back in its time is told of, and is not good any more', () => {
  const number = open('a')
  clock.pass(999)
  expect(overdue).toEqual([])
  clock.pass(1)
  expect(overdue).toEqual(['a'])
  expect(isGood('a', number)).toBe(false)
})

it('a time without end, or before now, is bounded', () => {
  open('a', { lifeMs: Number.POSITIVE_INFINITY })
  open('b', { lifeMs: -5 })
  clock.pass(1)
  expect(overdue).toEqual(['b'])
  clock.pass(3_600_000)
  expect(overdue).toEqual(['b', 'a'])
})

it('an exclusive one keeps all others out, and waits for all others', () => {
  expect(tickets.isBusy('n', 'a', true)).toBe(false)
  const shared = open('a')
  expect([tickets.isBusy('n', 'a', true), tickets.isBusy('n', 'a', false)]).toEqual([true, false])
  tickets.close('n', 'a', shared)
  const exclusive = open('a', { exclusive: true })
  expect([tickets.isBusy('n', 'a', true), tickets.isBusy('n', 'a', false)]).toEqual([true, true])
  expect(isGood('a', exclusive)).toBe(true)
  expect(tickets.isBusy('n', 'a', false)).toBe(false)
})

it('those of partitions that were lost are forgotten', () => {
  const [lost, kept] = [open('a', { partition: 1 }), open('b', { partition: 2 })]
  tickets.lose(partition => partition === 1)
  expect([isGood('a', lost), isGood('b', kept)]).toEqual([false, true])
  clock.pass(5_000)
  expect(overdue).toEqual([])
})

it('there is room for so many', () => {
  const first = open('k0')
  for (let i = 1; i < 65_536; i++) open(`k${i}`)
  expect(tickets.isFull).toBe(true)
  tickets.close('n', 'k0', first)
  expect(tickets.isFull).toBe(false)
})
