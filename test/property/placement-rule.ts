/** The rule of placement in its plainest words, and members to try it on. */
import fc from 'fast-check'
import { hash64, type Salt, saltOf } from '../../lib/placement/hash.ts'
import { PARTITIONS } from '../../lib/placement/partitions.ts'
import { throwDie, weigh } from '../../lib/placement/rendezvous.ts'
import type { Placed, Table } from '../../lib/placement/table.ts'

/** Few, so that members come back, change and share sites; now more, now fewer than those whose rows are made at once. */
export const ids = Array.from({ length: 22 }, (_, i) => `member-${i}`)

const byId = { selector: ({ id }: Placed) => id }
/** The smallest there is makes nearly all scores tie; a little above it, products lose most of their digits. */
const tiny = [Number.MIN_VALUE, 1e-314]
const weights = fc.constantFrom(1, 1, 1, 1, 0, 0.5, 2, 4, 1000, ...tiny)
const sites = {
  zone: fc.constantFrom(undefined, undefined, 'zone-1', 'zone-2', 'zone-3'),
  host: fc.constantFrom('host-1', 'host-2', 'host-3', 'zone-1')
}

export const member: fc.Arbitrary<Placed> = fc.record({ id: fc.constantFrom(...ids), weight: weights, ...sites })

/** Any, or all of one weight, or all in two zones: fewer sites than ranks. */
export function someMembers(minLength: number): fc.Arbitrary<Placed[]> {
  const any = fc.uniqueArray(member, { minLength, maxLength: ids.length, ...byId })
  const ofOneWeight = fc.constantFrom(1, 1, 1, 1000, ...tiny)
  return fc.oneof(
    any,
    fc.tuple(any, ofOneWeight).map(([some, weight]) => some.map(one => ({ ...one, weight }))),
    any.map(some => some.map(one => ({ ...one, zone: one.zone === undefined ? 'zone-1' : 'zone-2' })))
  )
}

/** So many that nearly everybody stays out of nearly every row. */
export const manyMembers: fc.Arbitrary<Placed[]> = fc
  .record({
    size: fc.integer({ min: 24, max: 48 }),
    zoneOf: fc.constantFrom<(i: number) => string | undefined>(
      () => undefined,
      i => `zone-${i % 3}`,
      i => `zone-${i % 5}`,
      i => (i === 7 ? 'alone' : 'together'),
      i => (i < 12 ? `zone-${i % 2}` : undefined)
    ),
    weightOf: fc.constantFrom<(i: number) => number>(
      () => 1,
      i => 2 ** (i % 3),
      i => (i === 5 ? 100 : 1)
    )
  })
  .map(({ size, zoneOf, weightOf }) =>
    Array.from({ length: size }, (_, i) => ({
      id: `one of many ${i}`,
      weight: weightOf(i),
      zone: zoneOf(i),
      host: `host-${i}`
    }))
  )

export const anySalt: fc.Arbitrary<Salt> = fc.string().map(name => saltOf(name))

export function siteOf({ zone, host }: Placed): string {
  return zone === undefined ? `host ${host}` : `zone ${zone}`
}

/** All owners of a partition by score alone. */
export function scoreboard(members: readonly Placed[], salt: Salt): (partition: number) => Placed[] {
  const hashed = members.filter(({ weight }) => weight > 0).map(one => ({ one, hash: hash64(one.id, salt) }))
  return partition =>
    hashed
      .map(({ one, hash }) => {
        const die = throwDie(hash.low, hash.high, partition)
        return { one, die, score: weigh(die, one.weight) }
      })
      .sort((a, b) => b.score - a.score || b.die - a.die || (a.one.id < b.one.id ? -1 : 1))
      .map(({ one }) => one)
}

/** The row that the rule gives: the best at a site without a copy, or the best where no such site is left. */
export function rowByRule(byScore: readonly Placed[], copies: number): Placed[] {
  const left = [...byScore]
  const served = new Set<string>()
  const row: Placed[] = []
  while (row.length < copies && left.length > 0) {
    const next = left.find(one => !served.has(siteOf(one))) ?? (left[0] as Placed)
    left.splice(left.indexOf(next), 1)
    served.add(siteOf(next))
    row.push(next)
  }
  return row
}

export function isSameRow(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((id, rank) => id === b[rank])
}

/** Throws at the first row that differs. */
export function compareRows(actual: Table, expected: (partition: number) => readonly string[]): void {
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const [row, wanted] = [actual.owners(partition), expected(partition)]
    if (!isSameRow(row, wanted)) throw new Error(`partition ${partition}: ${row} instead of ${wanted}`)
  }
}
