/**
 * How long a table takes: from nothing, for one member more and one less, and the plan between two. Medians over sets
 * of members. Run it with `npm run bench:placement`.
 */
import { plan } from '../../lib/placement/plan.ts'
import { buildTable, type Placed } from '../../lib/placement/table.ts'
import { commandLine } from '../command-line.ts'
import { median, membersOf, millisecondsOf, print, SALT } from './placement-measure.ts'

const SIZES = [10, 32, 100, 1000]
const SETS = 9
const COPIES = 4

function measure(name: string, count: number, shape: (member: Placed, index: number) => Placed): void {
  const rows = Array.from({ length: SETS }, (_, set) => {
    const joined = membersOf(set, count + 1).map(shape)
    const members = joined.slice(0, count)
    const before = buildTable(members, SALT, COPIES)
    const after = buildTable(joined, SALT, COPIES, before)
    return {
      build: millisecondsOf(() => buildTable(members, SALT, COPIES)),
      join: millisecondsOf(() => buildTable(joined, SALT, COPIES, before)),
      leave: millisecondsOf(() => buildTable(members, SALT, COPIES, after)),
      plan: millisecondsOf(() => plan(before, after))
    }
  })
  const figure = (key: 'build' | 'join' | 'leave' | 'plan') => median(rows.map(row => row[key])).toFixed(2)
  print(name, count, {
    'build ms': figure('build'),
    'join ms': figure('join'),
    'leave ms': figure('leave'),
    'plan ms': figure('plan')
  })
}

commandLine({}, 'Usage: npm run bench:placement, without options')

// As a process that has just started has it: nothing is compiled yet.
const cold = membersOf(SETS, 101)
let coldTable = buildTable([], SALT, COPIES)
const coldBuild = millisecondsOf(() => {
  coldTable = buildTable(cold.slice(0, 100), SALT, COPIES)
})
const coldJoin = millisecondsOf(() => buildTable(cold, SALT, COPIES, coldTable))
print('first in the process', 100, { 'build ms': coldBuild.toFixed(2), 'join ms': coldJoin.toFixed(2) })

for (const count of SIZES) {
  measure('4 ranks', count, member => member)
  measure('… three zones', count, (member, i) => ({ ...member, zone: `zone-${i % 3}` }))
  measure('… weights 1, 2, 4', count, (member, i) => ({ ...member, weight: 2 ** (i % 3) }))
  measure('… one alone in a zone', count, (member, i) => ({ ...member, zone: i === 0 ? 'a' : 'b' }))
}
