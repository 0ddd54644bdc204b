import { beforeEach, describe, expect, it } from 'vitest'
import { seededRandom } from '../../../lib/sim/random.ts'
import { Slab } from '../../../lib/store/slab.ts'

const OFFSET = (1 << 18) - 1
const MB = 1024 ** 2

/** A cell for each record, its words full of its number. */
let cells: Map<number, { cell: number; words: number }>
let slab: Slab
let moves: number

beforeEach(() => {
  cells = new Map()
  moves = 0
  slab = new Slab({
    cellWordsOf: id => (cells.get(id) as { words: number }).words,
    moved: (id, cell) => {
      moves++
      ;(cells.get(id) as { cell: number }).cell = cell
    }
  })
})

function add(id: number, words: number): void {
  const cell = slab.add(id, words)
  cells.set(id, { cell, words })
  slab.wordsOf(cell).fill(id, (cell & OFFSET) + 1, (cell & OFFSET) + words)
}

function remove(id: number): void {
  const { cell, words } = cells.get(id) as { cell: number; words: number }
  slab.remove(cell, words)
  cells.delete(id)
}

function compact(): void {
  for (let i = 0; i < 10_000 && slab.isWasteful; i++) slab.tidy(1_000)
  expect(slab.isWasteful).toBe(false)
}

function expectUnharmed(): void {
  const isWhole = ([id, { cell, words }]: [number, { cell: number; words: number }]): boolean => {
    const at = cell & OFFSET
    return slab
      .wordsOf(cell)
      .subarray(at, at + words)
      .every(word => word === id)
  }
  expect([...cells].filter(one => !isWhole(one))).toEqual([])
  expect(slab.liveBytes).toBe([...cells.values()].reduce((sum, { words }) => sum + words * 4, 0))
}

describe('a slab', () => {
  it('holds little while there is little', () => {
    add(1, 30)
    expect(slab.bytes).toBeLessThanOrEqual(64 * 1024)
  })

  it('closes the gaps when many cells have died here and there, and harms none', () => {
    for (let id = 1; id <= 100_000; id++) add(id, 20 + (id % 17))
    const full = slab.bytes
    for (let id = 1; id <= 100_000; id++) if (id % 4 !== 0) remove(id)
    expect(slab.bytes).toBeGreaterThan(full * 0.9)
    compact()
    expectUnharmed()
    expect(slab.bytes).toBeLessThan(slab.liveBytes * 1.12 + 4 * MB)
    expect(moves).toBeLessThanOrEqual(50_000)
  })

  it('gives back a segment at once when all in it has died', () => {
    for (let id = 1; id <= 100_000; id++) add(id, 30)
    for (let id = 1; id <= 100_000; id++) remove(id)
    expect(slab.bytes).toBeLessThanOrEqual(4 * MB)
    expect(moves).toBe(0)
  })

  it('takes large cells after small ones, and the other way round, in the same memory', () => {
    const most = 100_000
    for (let id = 1; id <= most; id++) add(id, 25)
    const small = slab.bytes
    for (let turn = 0; turn < 4; turn++) {
      const words = turn % 2 === 0 ? 1_000 : 25
      const present = [...cells.keys()]
      let next = Math.max(...present) + 1
      for (const id of present) {
        remove(id)
        if (slab.liveBytes + words * 4 <= small) add(next++, words)
        slab.tidy(words)
      }
      expect(slab.bytes).toBeLessThan(small * 1.12 + 4 * MB)
    }
    expectUnharmed()
  })

  it('keeps up with puts by what each of them does, and no more', () => {
    const random = seededRandom('slab')
    for (let id = 1; id <= 50_000; id++) add(id, 30)
    let most = 0
    const ids = [...cells.keys()]
    for (let id = 50_001; id <= 250_000; id++) {
      const at = random.integer(ids.length)
      remove(ids[at] as number)
      ids[at] = id
      add(id, 30)
      const before = moves
      slab.tidy(30)
      most = Math.max(most, moves - before)
    }
    expectUnharmed()
    expect(slab.bytes).toBeLessThan(slab.liveBytes * 1.12 + 4 * MB)
    expect(most).toBeLessThan(20)
  })
})
