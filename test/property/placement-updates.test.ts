/** A table made from the one before is the table made from nothing, whatever has happened in between. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { Salt } from '../../lib/placement/hash.ts'
import { buildTable, type Placed } from '../../lib/placement/table.ts'
import { anySalt, compareRows, ids, manyMembers, member, someMembers } from './placement-rule.ts'

interface Change {
  readonly come: readonly Placed[]
  readonly go: readonly string[]
}

/** Members come, come back changed and go, all at once. */
const change: fc.Arbitrary<Change> = fc.record({
  come: fc.uniqueArray(member, { maxLength: 3, selector: ({ id }) => id }),
  go: fc.uniqueArray(fc.constantFrom(...ids, 'one of many 7', 'one of many 11'), { maxLength: 3 })
})

function after(members: readonly Placed[], { come, go }: Change): Placed[] {
  const gone = new Set([...go, ...come.map(({ id }) => id)])
  return [...members.filter(({ id }) => !gone.has(id)), ...come]
}

function expectSameTables(start: readonly Placed[], changes: readonly Change[], salt: Salt, copies: number): void {
  let members = start
  let table = buildTable(members, salt, copies)
  for (const one of changes) {
    members = after(members, one)
    table = buildTable(members, salt, copies, table)
    const anew = buildTable(members, salt, copies)
    expect(table.ids).toEqual(anew.ids)
    compareRows(table, partition => anew.owners(partition))
    for (const id of table.ids) expect(table.rankOf(id, 77)).toBe(anew.rankOf(id, 77))
  }
}

it('equals the one made from nothing among few members, whoever came, went and changed', () => {
  const changes = fc.array(change, { minLength: 1, maxLength: 4 })
  fc.assert(fc.property(someMembers(0), changes, anySalt, fc.integer({ min: 0, max: 5 }), expectSameTables), {
    numRuns: 20
  })
})

it('equals it where one joins, of whatever weight and wherever it stands', () => {
  const newcomer = fc.record({ one: member, weight: fc.constantFrom(0.25, 0.5, 1, 2) })
  fc.assert(
    fc.property(
      someMembers(1),
      newcomer,
      anySalt,
      fc.integer({ min: 1, max: 5 }),
      (members, { one, weight }, salt, copies) =>
        expectSameTables(members, [{ come: [{ ...one, id: 'newcomer', weight }], go: [] }], salt, copies)
    ),
    { numRuns: 32 }
  )
})

it('equals it among many, where most newcomers stay out of most rows', () => {
  const changes = fc.array(change, { minLength: 1, maxLength: 3 })
  fc.assert(fc.property(manyMembers, changes, anySalt, fc.integer({ min: 1, max: 4 }), expectSameTables), {
    numRuns: 15
  })
})
