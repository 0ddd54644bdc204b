import fc from 'fast-check'
import { expect, it } from 'vitest'
import { saltOf } from '../../lib/placement/hash.ts'
import { PARTITIONS } from '../../lib/placement/partitions.ts'
import { plan } from '../../lib/placement/plan.ts'
import { buildTable, type Placed, type Table } from '../../lib/placement/table.ts'

const COPIES = 4

const member: fc.Arbitrary<Placed> = fc.record({
  // Few ids, so that members come, go, come back and change.
  id: fc.integer({ min: 1, max: 14 }).map(number => `member-${number}`),
  weight: fc.oneof({ weight: 4, arbitrary: fc.constant(1) }, fc.constantFrom(0, 0.5, 2, 7)),
  zone: fc.constantFrom(undefined, undefined, 'zone-1', 'zone-2', 'zone-3'),
  host: fc.constantFrom('host-1', 'host-2', 'host-3')
})
const members = fc.uniqueArray(member, { maxLength: 12, selector: ({ id }) => id })

function rowsOf(table: Table): string[] {
  return Array.from({ length: PARTITIONS }, (_, partition) => table.owners(partition).join())
}

it('a table made from the one before equals the one made from nothing, whatever came, went and changed', () => {
  fc.assert(
    fc.property(fc.array(members, { minLength: 2, maxLength: 6 }), fc.nat(1_000), (sets, number) => {
      const salt = saltOf(`mesh ${number}`)
      let table = buildTable([], salt, COPIES)
      for (const set of sets) {
        table = buildTable(set, salt, COPIES, table)
        const anew = buildTable(set, salt, COPIES)
        expect(table.ids).toEqual(anew.ids)
        expect(rowsOf(table)).toEqual(rowsOf(anew))
        for (const id of table.ids) expect(table.rankOf(id, 77)).toBe(anew.rankOf(id, 77))
      }
    }),
    { numRuns: 15 }
  )
})

it('so does one that a member joins or leaves at a time', () => {
  fc.assert(
    fc.property(fc.array(member, { minLength: 4, maxLength: 10 }), changes => {
      const salt = saltOf('one at a time')
      const present = new Map<string, Placed>()
      let table = buildTable([], salt, COPIES)
      for (const change of changes) {
        if (present.has(change.id)) present.delete(change.id)
        else present.set(change.id, change)
        const set = [...present.values()]
        table = buildTable(set, salt, COPIES, table)
        expect(rowsOf(table)).toEqual(rowsOf(buildTable(set, salt, COPIES)))
      }
    }),
    { numRuns: 10 }
  )
})

it('the plan lists just the partitions whose primary changes', () => {
  fc.assert(
    fc.property(members, members, (some, others) => {
      const salt = saltOf('plan')
      const [before, after] = [buildTable(some, salt, COPIES), buildTable(others, salt, COPIES)]
      const moves = new Map(plan(before, after).map(move => [move.partition, move]))
      for (let partition = 0; partition < PARTITIONS; partition++) {
        const [from, to] = [before.primary(partition), after.primary(partition)]
        expect(moves.get(partition)).toEqual(from === to ? undefined : { partition, from, to })
      }
    }),
    { numRuns: 10 }
  )
})
