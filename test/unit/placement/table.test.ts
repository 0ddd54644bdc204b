import { describe, expect, it } from 'vitest'
import { saltOf } from '../../../lib/placement/hash.ts'
import { PARTITIONS, partitionOf } from '../../../lib/placement/partitions.ts'
import { buildTable, type Placed } from '../../../lib/placement/table.ts'

const SALT = saltOf('shop')
const members = (count: number): Placed[] =>
  Array.from({ length: count }, (_, i) => ({ id: `member-${i}`, weight: 1, host: `host-${i}` }))

describe('buildTable', () => {
  it('owns nothing with nobody', () => {
    const table = buildTable([], SALT, 3)
    expect(table.primary(0)).toBeUndefined()
    expect(table.owners(PARTITIONS - 1)).toEqual([])
    expect(table.rankOf('member-0', 5)).toBe(-1)
  })

  it('has as many ranks as there are owners, no more', () => {
    const table = buildTable(members(2), SALT, 3)
    expect(table.ranks).toBe(2)
    expect([...table.owners(7)].sort()).toEqual(['member-0', 'member-1'])
  })

  it('tells the rank of an owner and of nobody else', () => {
    const table = buildTable(members(5), SALT, 3)
    for (const partition of [0, 1, 8_191, PARTITIONS - 1]) {
      const owners = table.owners(partition)
      expect(owners.map(id => table.rankOf(id, partition))).toEqual([0, 1, 2])
      expect(table.primary(partition)).toBe(owners[0])
      for (const { id } of members(5)) expect(table.rankOf(id, partition)).toBe(owners.indexOf(id))
      expect(table.rankOf('stranger', partition)).toBe(-1)
    }
  })

  it('gives a weight of 0 nothing', () => {
    const table = buildTable([...members(2), { id: 'client', weight: 0, host: 'host-9' }], SALT, 3)
    expect(table.ids).toEqual(['member-0', 'member-1'])
    for (let partition = 0; partition < PARTITIONS; partition++) expect(table.rankOf('client', partition)).toBe(-1)
  })

  it('takes weights as relative', () => {
    const heavy = members(6).map((member, i) => ({ ...member, weight: 10 * (1 + (i % 2)) }))
    const light = members(6).map((member, i) => ({ ...member, weight: 1 + (i % 2) }))
    const [a, b] = [buildTable(heavy, SALT, 2), buildTable(light, SALT, 2)]
    for (let partition = 0; partition < PARTITIONS; partition++)
      expect(a.owners(partition)).toEqual(b.owners(partition))
  })

  it('gives a tie to the smaller id, in whatever order they come', () => {
    // Found by search: these two throw the same die for this partition.
    const tied = [89, 562].map(i => ({ id: `member-${i}`, weight: 1, host: `host-${i}` }))
    for (const placed of [tied, tied.toReversed()])
      expect(buildTable(placed, SALT, 2).owners(15_827)).toEqual(['member-562', 'member-89'])
    for (const placed of [tied, tied.toReversed()].map(two => [...two, { id: 'x', weight: 1e-9, host: 'x' }]))
      expect(buildTable(placed, SALT, 2).owners(15_827)).toEqual(['member-562', 'member-89'])
  })

  it('keeps copies on different hosts where no zone is named', () => {
    const hosted = members(6).map((member, i) => ({ ...member, host: `host-${i % 3}` }))
    const hostOf = new Map(hosted.map(({ id, host }) => [id, host]))
    const table = buildTable(hosted, SALT, 3)
    for (let partition = 0; partition < PARTITIONS; partition++)
      expect(new Set(table.owners(partition).map(id => hostOf.get(id))).size).toBe(3)
  })

  it('does not take a host for a zone of the same name', () => {
    const mixed: Placed[] = [
      { id: 'a', weight: 1, host: 'x', zone: 'same' },
      { id: 'b', weight: 1, host: 'same' },
      { id: 'c', weight: 1, host: 'y', zone: 'same' }
    ]
    const table = buildTable(mixed, SALT, 2)
    for (let partition = 0; partition < PARTITIONS; partition++) expect(table.owners(partition)).toContain('b')
  })

  it('never changes: members of different releases must agree', () => {
    const table = buildTable(members(5), SALT, 2)
    expect([0, 1, 2, 3].map(partition => table.owners(partition).join())).toEqual([
      'member-4,member-0',
      'member-0,member-3',
      'member-2,member-1',
      'member-2,member-1'
    ])
    expect(partitionOf('s42', SALT)).toBe(6036)
  })
})

describe('partitionOf', () => {
  it('spreads keys over all partitions, differently for each namespace', () => {
    const [a, b] = [saltOf('products', SALT), saltOf('users', SALT)]
    const filled = new Set<number>()
    let same = 0
    for (let i = 0; i < 200_000; i++) {
      const partition = partitionOf(`sproduct:${i}`, a)
      filled.add(partition)
      if (partition === partitionOf(`sproduct:${i}`, b)) same++
    }
    expect(filled.size).toBe(PARTITIONS)
    expect(same).toBeLessThan(40)
    expect(Math.max(...filled)).toBe(PARTITIONS - 1)
  })
})
