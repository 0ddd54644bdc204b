import fc from 'fast-check'
import { expect, it } from 'vitest'
import { saltOf } from '../../lib/placement/hash.ts'
import { PARTITIONS } from '../../lib/placement/partitions.ts'
import { buildTable, type Placed, type Table } from '../../lib/placement/table.ts'

const RUNS = { numRuns: 12 }
const COPIES = 3

const member: fc.Arbitrary<Placed> = fc.record({
  id: fc.uuid(),
  weight: fc.oneof({ weight: 3, arbitrary: fc.constant(1) }, fc.constantFrom(0, 0.5, 2, 3, 10)),
  zone: fc.constantFrom(undefined, undefined, 'zone-1', 'zone-2'),
  host: fc.constantFrom('host-1', 'host-2', 'host-3', 'zone-1')
})
const equal: fc.Arbitrary<Placed> = fc.uuid().map(id => ({ id, weight: 1, host: id }))
const several = (one: fc.Arbitrary<Placed>, minLength: number) =>
  fc.uniqueArray(one, { minLength, maxLength: 12, selector: ({ id }) => id })
const salt = fc.string().map(name => saltOf(name))

function forEachPartition(check: (partition: number) => void): void {
  for (let partition = 0; partition < PARTITIONS; partition++) check(partition)
}

function countOf(holds: (partition: number) => boolean): number {
  let count = 0
  for (let partition = 0; partition < PARTITIONS; partition++) if (holds(partition)) count++
  return count
}

function rowsOf(table: Table): string[] {
  return Array.from({ length: PARTITIONS }, (_, partition) => table.owners(partition).join())
}

it('does not depend on the order of members, nor on who builds it', () => {
  fc.assert(
    fc.property(several(member, 0), salt, fc.infiniteStream(fc.nat()), (members, aSalt, dice) => {
      const shuffled = members.map(one => ({ one: { ...one }, at: dice.next().value as number }))
      const reordered = shuffled.sort((a, b) => a.at - b.at).map(({ one }) => one)
      expect(rowsOf(buildTable(reordered, aSalt, COPIES))).toEqual(rowsOf(buildTable(members, aSalt, COPIES)))
    }),
    RUNS
  )
})

it('ranks by the rule: the best at a site without a copy, else the best', () => {
  fc.assert(
    fc.property(several(member, 1), salt, (members, aSalt) => {
      const table = buildTable(members, aSalt, COPIES)
      // Each member on a host of its own: the order of scores alone, found by the same code without sites in the way.
      const byScore = buildTable(
        members.map(({ id, weight }) => ({ id, weight, host: id })),
        aSalt,
        members.length
      )
      const siteOf = new Map(members.map(({ id, zone, host }) => [id, zone === undefined ? `h ${host}` : `z ${zone}`]))
      forEachPartition(partition => {
        const left = [...byScore.owners(partition)]
        const served = new Set<string | undefined>()
        for (const owner of table.owners(partition)) {
          const expected = left.find(id => !served.has(siteOf.get(id))) ?? left[0]
          if (owner !== expected) throw new Error(`partition ${partition}: ${owner} instead of ${expected}`)
          left.splice(left.indexOf(owner), 1)
          served.add(siteOf.get(owner))
        }
      })
    }),
    RUNS
  )
})

it('keeps the first ranks the same however many are kept', () => {
  fc.assert(
    fc.property(several(member, 1), salt, (members, aSalt) => {
      const [few, many] = [buildTable(members, aSalt, 2), buildTable(members, aSalt, 4)]
      forEachPartition(partition => {
        const prefix = many.owners(partition).slice(0, few.ranks)
        if (prefix.join() !== few.owners(partition).join()) throw new Error(`partition ${partition} differs`)
      })
    }),
    RUNS
  )
})

it('moves partitions only to a member that joins, and about 1/N of them', () => {
  fc.assert(
    fc.property(several(equal, 2), fc.uuid(), salt, (members, id, aSalt) => {
      fc.pre(members.every(one => one.id !== id))
      const joined = [...members, { id, weight: 1, host: id }]
      const [before, after] = [buildTable(members, aSalt, 1), buildTable(joined, aSalt, 1)]
      const moved = countOf(partition => before.primary(partition) !== after.primary(partition))
      forEachPartition(partition => {
        const primary = after.primary(partition)
        if (primary !== before.primary(partition) && primary !== id) throw new Error(`${partition} moved elsewhere`)
      })
      expect((moved / PARTITIONS) * joined.length).toBeGreaterThan(0.85)
      expect((moved / PARTITIONS) * joined.length).toBeLessThan(1.15)
    }),
    RUNS
  )
})

it('lets a joiner of any weight take, and nobody else', () => {
  fc.assert(
    fc.property(several(member, 1), member, salt, (members, joiner, aSalt) => {
      fc.pre(members.every(({ id }) => id !== joiner.id))
      const [before, after] = [buildTable(members, aSalt, 1), buildTable([...members, joiner], aSalt, 1)]
      forEachPartition(partition => {
        const primary = after.primary(partition)
        if (primary !== before.primary(partition) && primary !== joiner.id)
          throw new Error(`${partition} moved elsewhere`)
      })
    }),
    RUNS
  )
})

it('moves only what a member held when it goes, to the next rank', () => {
  fc.assert(
    fc.property(several(equal, 3), salt, (members, aSalt) => {
      const [gone, ...rest] = members as [Placed, ...Placed[]]
      const [before, after] = [buildTable(members, aSalt, COPIES), buildTable(rest, aSalt, COPIES)]
      forEachPartition(partition => {
        const expected = before.owners(partition).filter(id => id !== gone.id)
        const kept = after.owners(partition).slice(0, expected.length)
        if (kept.join() !== expected.join()) throw new Error(`partition ${partition}: ${kept} instead of ${expected}`)
      })
    }),
    RUNS
  )
})

it('makes the first backup primary when the whole zone of the primary goes', () => {
  fc.assert(
    fc.property(several(member, 2), salt, fc.constantFrom('zone-1', 'zone-2'), (members, aSalt, zone) => {
      const survivors = members.filter(one => one.zone !== zone)
      const [before, after] = [buildTable(members, aSalt, COPIES), buildTable(survivors, aSalt, COPIES)]
      const zoneOf = new Map(members.map(one => [one.id, one.zone]))
      forEachPartition(partition => {
        const [primary, backup] = before.owners(partition)
        if (primary === undefined || zoneOf.get(primary) !== zone) return
        // The first backup is in the same zone only where there was no other place left.
        const expected = backup === undefined || zoneOf.get(backup) === zone ? undefined : backup
        if (after.primary(partition) !== expected) throw new Error(`partition ${partition}: the heir is ${expected}`)
      })
    }),
    RUNS
  )
})
