/**
 * The numbers in the header of `lib/placement/rendezvous.ts`: a ring with 150 virtual nodes, jump hash and our table,
 * side by side. All three place the same 16,384 partitions on the same members; shares and moves are means over
 * several sets of members, times are medians. Run it with `node dist/test/bench/placement.js`.
 */
import { hash32, saltOf } from '../../lib/placement/hash.ts'
import { PARTITIONS } from '../../lib/placement/partitions.ts'
import { plan } from '../../lib/placement/plan.ts'
import { buildTable, type Placed, type Table } from '../../lib/placement/table.ts'

const SIZES = [10, 32, 100, 1000]
const SETS = 7
const COPIES = 4
const VIRTUAL_NODES = 150
const SALT = saltOf('bench')

/** The primary of each partition, as the place of a member in the list. */
type Placement = (members: readonly Placed[]) => ArrayLike<number>

function ring(members: readonly Placed[]): ArrayLike<number> {
  const points = members.flatMap(({ id }, index) =>
    Array.from({ length: VIRTUAL_NODES }, (_, n) => ({ at: hash32(`${id} ${n}`, SALT), index }))
  )
  points.sort((a, b) => a.at - b.at)
  const keys = Array.from({ length: PARTITIONS }, (_, partition) => ({ partition, at: hash32(`${partition}`, SALT) }))
  keys.sort((a, b) => a.at - b.at)
  const primaries = new Uint16Array(PARTITIONS)
  let next = 0
  for (const { partition, at } of keys) {
    while (next < points.length && (points[next] as { at: number }).at < at) next++
    primaries[partition] = (points[next % points.length] as { index: number }).index
  }
  return primaries
}

/** Lamping and Veach. It numbers its members, so only the last may go; the generator is replaced by hashes of 32 bits. */
function jump(members: readonly Placed[]): ArrayLike<number> {
  return Uint16Array.from({ length: PARTITIONS }, (_, partition) => {
    let last = 0
    let next = 0
    for (let n = 0; next < members.length; n++) {
      last = next
      next = Math.floor(((last + 1) * 0x100000000) / (hash32(`${partition} ${n}`, SALT) + 1))
    }
    return last
  })
}

function primariesOf(table: Table, members: readonly Placed[]): ArrayLike<number> {
  const indexOf = new Map(members.map(({ id }, index) => [id, index]))
  return Uint16Array.from({ length: PARTITIONS }, (_, p) => indexOf.get(table.primary(p) as string) as number)
}

function membersOf(set: number, count: number): Placed[] {
  return Array.from({ length: count }, (_, i) => ({ id: `set-${set}-member-${i}`, weight: 1, host: `host-${i}` }))
}

function unevenness(primaries: ArrayLike<number>, count: number): number {
  const counts = new Uint32Array(count)
  for (let p = 0; p < PARTITIONS; p++) counts[primaries[p] as number] = (counts[primaries[p] as number] as number) + 1
  return (Math.max(...counts) * count) / PARTITIONS
}

function movedShare(before: ArrayLike<number>, after: ArrayLike<number>): number {
  let moved = 0
  for (let p = 0; p < PARTITIONS; p++) if (before[p] !== after[p]) moved++
  return moved / PARTITIONS
}

function millisecondsOf(work: () => unknown): number {
  const start = performance.now()
  work()
  return performance.now() - start
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] as number
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

function print(name: string, count: number, figures: Record<string, string>): void {
  const cells = Object.entries(figures).map(([label, figure]) => `${label} ${figure.padStart(7)}`)
  console.log(`${name.padEnd(22)} ${`${count}`.padStart(5)}  ${cells.join('  ')}`)
}

function measure(name: string, count: number, place: Placement): void {
  const sets = Array.from({ length: SETS }, (_, set) => membersOf(set, count + 1))
  const rows = sets.map(joined => {
    const members = joined.slice(0, count)
    const [before, after] = [place(members), place(joined)]
    return {
      peak: unevenness(before, count),
      moved: movedShare(before, after) * (count + 1),
      build: millisecondsOf(() => place(members))
    }
  })
  print(name, count, {
    'max/mean': mean(rows.map(({ peak }) => peak)).toFixed(3),
    'moved/ideal': mean(rows.map(({ moved }) => moved)).toFixed(3),
    'build ms': median(rows.map(({ build }) => build)).toFixed(2)
  })
}

/** Build and update of a whole table, with `copies` ranks. */
function measureTable(name: string, count: number, shape: (member: Placed, index: number) => Placed): void {
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

// The very first, as a process that has just started has it: nothing is compiled yet.
const cold = membersOf(SETS, 101)
const first = millisecondsOf(() => buildTable(cold.slice(0, 100), SALT, COPIES))
const coldTable = buildTable(cold.slice(0, 100), SALT, COPIES)
const firstJoin = millisecondsOf(() => buildTable(cold, SALT, COPIES, coldTable))
print('first in the process', 100, { 'build ms': first.toFixed(2), 'join ms': firstJoin.toFixed(2) })

for (const count of SIZES) {
  measure('ring, 150 virtual', count, ring)
  measure('jump hash', count, jump)
  measure('ours, primaries only', count, members => primariesOf(buildTable(members, SALT, 1), members))
}
for (const count of SIZES) {
  measureTable('ours, 4 ranks', count, member => member)
  measureTable('… three zones', count, (member, i) => ({ ...member, zone: `zone-${i % 3}` }))
  measureTable('… weights 1, 2, 4', count, (member, i) => ({ ...member, weight: 2 ** (i % 3) }))
  measureTable('… one alone in a zone', count, (member, i) => ({ ...member, zone: i === 0 ? 'a' : 'b' }))
}
