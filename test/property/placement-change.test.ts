/** What a change of the members moves, and who inherits: rule S1 of the protocol. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { Salt } from '../../lib/placement/hash.ts'
import { PARTITIONS } from '../../lib/placement/partitions.ts'
import { plan } from '../../lib/placement/plan.ts'
import { buildTable, type Placed, type Table } from '../../lib/placement/table.ts'
import { anySalt, isSameRow, scoreboard, siteOf, someMembers } from './placement-rule.ts'

const RUNS = { numRuns: 15 }
const copiesKept = fc.integer({ min: 1, max: 4 })

it('moves exactly what a joiner throws highest for, and changes exactly the rows it gets into', () => {
  fc.assert(
    fc.property(someMembers(1), anySalt, copiesKept, (members, salt, copies) => {
      const [joiner, ...others] = members as [Placed, ...Placed[]]
      const [before, after] = [buildTable(others, salt, copies), buildTable(members, salt, copies)]
      const byScore = scoreboard(members, salt)
      const expected = [...Array(PARTITIONS).keys()]
        .filter(partition => byScore(partition)[0] === joiner)
        .map(partition => ({ partition, from: before.primary(partition), to: joiner.id }))
      expect(plan(before, after)).toEqual(expected)
      expectChangedRows(before, after, partition => after.owners(partition).includes(joiner.id))
    }),
    RUNS
  )
})

it('moves exactly what a leaver was primary of, to the best of the others, and changes exactly its rows', () => {
  fc.assert(
    fc.property(someMembers(1), anySalt, copiesKept, (members, salt, copies) => {
      const [leaver, ...others] = members as [Placed, ...Placed[]]
      const [before, after] = [buildTable(members, salt, copies), buildTable(others, salt, copies)]
      const [byScore, byScoreAfter] = [scoreboard(members, salt), scoreboard(others, salt)]
      const expected = [...Array(PARTITIONS).keys()]
        .filter(partition => byScore(partition)[0] === leaver)
        .map(partition => ({ partition, from: leaver.id, to: byScoreAfter(partition)[0]?.id }))
      expect(plan(before, after)).toEqual(expected)
      expectChangedRows(before, after, partition => before.owners(partition).includes(leaver.id))
    }),
    RUNS
  )
})

it('plans the moves between any two tables: the partitions whose primary differs', () => {
  fc.assert(
    fc.property(someMembers(0), someMembers(0), anySalt, (some, others, salt) => {
      const [before, after] = [buildTable(some, salt, 1), buildTable(others, salt, 1)]
      const expected = [...Array(PARTITIONS).keys()]
        .map(partition => ({ partition, from: before.primary(partition), to: after.primary(partition) }))
        .filter(({ from, to }) => from !== to)
      expect(plan(before, after)).toEqual(expected)
    }),
    RUNS
  )
})

it('lets the first backup inherit exactly when nobody left at the site of the primary outscores it', () => {
  fc.assert(
    fc.property(someMembers(2), fc.infiniteStream(fc.boolean()), anySalt, (members, coins, salt) => {
      const survivors = members.slice(1).filter(() => coins.next().value)
      const byScore = scoreboard(members, salt)
      for (const { partition, primary, backup, heir } of heirs(members, survivors, salt)) {
        const ranking = byScore(partition)
        const better = ranking.slice(0, ranking.indexOf(backup)).filter(one => survivors.includes(one))
        const isOutscored = better.some(one => siteOf(one) === siteOf(primary))
        if ((heir === backup.id) === isOutscored) throw new Error(`partition ${partition}: the heir is ${heir}`)
      }
    }),
    RUNS
  )
})

it('always lets it inherit where the whole site goes, and where no two members share one', () => {
  fc.assert(
    fc.property(someMembers(2), fc.infiniteStream(fc.boolean()), anySalt, (members, coins, salt) => {
      const site = siteOf(members[0] as Placed)
      const elsewhere = members.filter(one => siteOf(one) !== site)
      const apart = members.map(({ id, weight }) => ({ id, weight, host: id }))
      const someApart = apart.slice(1).filter(() => coins.next().value)
      for (const { partition, backup, heir } of [...heirs(members, elsewhere, salt), ...heirs(apart, someApart, salt)])
        if (heir !== backup.id) throw new Error(`partition ${partition}: the heir is ${heir}`)
    }),
    RUNS
  )
})

function expectChangedRows(before: Table, after: Table, isChanged: (partition: number) => boolean): void {
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const [old, now] = [before.owners(partition), after.owners(partition)]
    if (isSameRow(old, now) === isChanged(partition)) throw new Error(`row ${partition} was ${old} and is ${now}`)
  }
}

interface Heir {
  readonly partition: number
  readonly primary: Placed
  readonly backup: Placed
  readonly heir: string | undefined
}

/** Who is primary when only the survivors are left, wherever the primary has gone and its first backup has not. */
function heirs(members: readonly Placed[], survivors: readonly Placed[], salt: Salt): Heir[] {
  const before = buildTable(members, salt, 2)
  const after = buildTable(survivors, salt, 2, before)
  const memberOf = new Map(members.map(one => [one.id, one]))
  const found: Heir[] = []
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const [primary, backup] = before.owners(partition).map(id => memberOf.get(id) as Placed)
    if (primary === undefined || backup === undefined) continue
    if (survivors.includes(primary) || !survivors.includes(backup)) continue
    found.push({ partition, primary, backup, heir: after.primary(partition) })
  }
  return found
}
