import { beforeEach, describe, expect, it } from 'vitest'
import { EXPIRES, NOBODY, Rows } from '../../../lib/store/rows.ts'
import { TimingWheel } from '../../../lib/store/timing-wheel.ts'

const START_MS = 215_000_000_000
const SLOT_MS = 128
const HOUR_MS = 3_600_000
const YEAR_MS = 365 * 24 * HOUR_MS

let rows: Rows
let wheel: TimingWheel

beforeEach(() => {
  rows = new Rows()
  wheel = new TimingWheel(rows)
  wheel.advance(START_MS)
})

function add(inMs: number): number {
  const id = rows.add()
  rows.setDouble(id, EXPIRES, START_MS + inMs)
  wheel.add(id)
  return id
}

/** All that comes out by a time, and how many were looked at for it. */
function dueAt(ms: number): { ids: number[]; looked: number } {
  wheel.advance(START_MS + ms)
  const ids: number[] = []
  let looked = 0
  for (; wheel.hasDue; looked++) {
    const id = wheel.due()
    if (id === NOBODY) continue
    ids.push(id)
    wheel.remove(id)
  }
  return { ids, looked }
}

describe('a timing wheel', () => {
  it.each([
    0,
    1,
    100,
    8_191,
    8_192,
    9_000,
    524_287,
    524_288,
    HOUR_MS,
    9 * HOUR_MS,
    30 * 24 * HOUR_MS,
    YEAR_MS,
    6 * YEAR_MS
  ])('gives out what expires in %d ms then, not before, however it gets there', inMs => {
    for (const hops of [1, 3, 1_000]) {
      rows = new Rows()
      wheel = new TimingWheel(rows)
      wheel.advance(START_MS)
      const id = add(inMs)
      for (let hop = 1; hop < hops; hop++) {
        const { ids } = dueAt(((inMs - 1) * hop) / hops)
        expect(ids).toEqual([])
      }
      expect(dueAt(inMs - 1).ids).toEqual([])
      expect(dueAt(inMs + 2 * SLOT_MS).ids).toEqual([id])
    }
  })

  it('gives out at once what is over when it is put in', () => {
    const id = add(-SLOT_MS)
    expect(dueAt(0).ids).toEqual([id])
  })

  it('never gives out what never expires', () => {
    add(Number.POSITIVE_INFINITY)
    expect(dueAt(1_000 * YEAR_MS).ids).toEqual([])
  })

  it('passes over no slot, however far the clock jumps', () => {
    for (const jumpMs of [10_000, 600_000, 12 * HOUR_MS, 40 * 24 * HOUR_MS, 20 * YEAR_MS]) {
      rows = new Rows()
      wheel = new TimingWheel(rows)
      wheel.advance(START_MS)
      const slots = Array.from({ length: 70 }, (_, i) => i)
      const ids = [SLOT_MS, 64 * SLOT_MS, 4_096 * SLOT_MS].flatMap(ms => slots.map(i => add(i * ms)))
      const over = ids.filter(id => rows.getDouble(id, EXPIRES) <= START_MS + jumpMs - 2 * SLOT_MS)
      const { ids: due } = dueAt(jumpMs)
      expect(over.filter(id => !due.includes(id))).toEqual([])
    }
  })

  it('forgets what is taken out, wherever it was', () => {
    const ids = [1, 1, 1, 9_000, 9_000, HOUR_MS].map(add)
    for (const index of [1, 0, 4, 5]) wheel.remove(ids[index] as number)
    expect(dueAt(YEAR_MS).ids).toEqual([ids[2], ids[3]])
  })

  it('looks at a record no more often than there are levels, and a jump looks at none', () => {
    for (let i = 0; i < 1_000; i++) add(10 * 24 * HOUR_MS + i)
    wheel.advance(START_MS + 9 * 24 * HOUR_MS)
    let looked = 0
    for (let ms = 0; ms <= 11 * 24 * HOUR_MS; ms += 60_000) looked += dueAt(ms).looked
    expect(looked).toBeLessThanOrEqual(5_000)
    expect(looked).toBeGreaterThanOrEqual(1_000)
  })

  it('may begin before it has been told the time', () => {
    wheel = new TimingWheel(rows)
    const [soon, later] = [add(1_000), add(HOUR_MS)]
    expect(dueAt(0).ids).toEqual([])
    expect(dueAt(2_000).ids).toEqual([soon])
    expect(dueAt(2 * HOUR_MS).ids).toEqual([later])
  })

  it('does not go back', () => {
    const id = add(1_000)
    wheel.advance(START_MS - HOUR_MS)
    expect(dueAt(2_000).ids).toEqual([id])
  })

  it('names the soonest, and one that never expires when there is no other', () => {
    expect(wheel.soonest()).toBe(NOBODY)
    const never = add(Number.POSITIVE_INFINITY)
    expect(wheel.soonest()).toBe(never)
    const [year, hour, minute, second] = [YEAR_MS, HOUR_MS, 60_000, 1_000].map(add) as [number, number, number, number]
    for (const id of [second, minute, hour, year, never]) {
      expect(wheel.soonest()).toBe(id)
      wheel.remove(id)
    }
    expect(wheel.soonest()).toBe(NOBODY)
  })

  it('names the soonest of one slot too', () => {
    const [, soonest] = [HOUR_MS + 900, HOUR_MS, HOUR_MS + 400].map(add)
    expect(wheel.soonest()).toBe(soonest)
  })

  it('lists all that is in it', () => {
    const ids = [-1_000, 5, 10_000, YEAR_MS, Number.POSITIVE_INFINITY].map(add)
    expect(wheel.ids().toSorted((a, b) => a - b)).toEqual(ids)
  })
})
