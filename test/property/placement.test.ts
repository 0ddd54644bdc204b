/** What a table is: the rule, for whoever knows the members. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { buildTable } from '../../lib/placement/table.ts'
import { anySalt, compareRows, manyMembers, rowByRule, scoreboard, someMembers } from './placement-rule.ts'

const RUNS = { numRuns: 12 }

it('follows the rule: the best at a site without a copy, else the best', () => {
  fc.assert(
    fc.property(
      fc.oneof({ weight: 2, arbitrary: someMembers(0) }, manyMembers),
      anySalt,
      fc.integer({ min: 1, max: 5 }),
      (members, salt, copies) => {
        const byScore = scoreboard(members, salt)
        compareRows(buildTable(members, salt, copies), partition =>
          rowByRule(byScore(partition), copies).map(({ id }) => id)
        )
      }
    ),
    { numRuns: 20 }
  )
})

it('does not depend on the order of members, nor on who builds it', () => {
  fc.assert(
    fc.property(someMembers(0), anySalt, fc.infiniteStream(fc.nat()), (members, salt, dice) => {
      const shuffled = members.map(one => ({ one: { ...one }, at: dice.next().value as number }))
      const reordered = shuffled.sort((a, b) => a.at - b.at).map(({ one }) => one)
      const [table, other] = [buildTable(members, salt, 3), buildTable(reordered, salt, 3)]
      expect(other.ids).toEqual(table.ids)
      compareRows(other, partition => table.owners(partition))
    }),
    RUNS
  )
})

it('keeps the first ranks the same however many are kept', () => {
  fc.assert(
    fc.property(someMembers(1), anySalt, (members, salt) => {
      const [few, many] = [buildTable(members, salt, 2), buildTable(members, salt, 4)]
      compareRows(few, partition => many.owners(partition).slice(0, 2))
    }),
    RUNS
  )
})
