import { expect, it } from 'vitest'
import { type MemberRecord, View } from '../../../lib/membership/view.ts'
import { PARTITIONS } from '../../../lib/placement/partitions.ts'
import { buildTable } from '../../../lib/placement/table.ts'
import { Ownership } from '../../../lib/serving/ownership.ts'
import { record } from '../../member-record.ts'

const viewOf = (...ids: string[]): View =>
  new View(new Map(ids.map(id => [id, record(id) as MemberRecord])), ids.length, ids.length)

/** A member with its view, and from whom it has got each partition. */
function ownership(self: string, first: View) {
  const gained = new Map<number, string>()
  const state = { view: first }
  const owned = new Ownership({
    self,
    mesh: 'm',
    view: () => state.view,
    gained: (partition, from) => gained.set(partition, from),
    lose: () => {},
    changed: () => {},
    tableOf: buildTable
  })
  return { gained, state, owned }
}

/** Who owns each partition in the eyes of one that knows these members. */
function primaries(...ids: string[]): (string | undefined)[] {
  const { owned } = ownership(ids[0] as string, viewOf(...ids))
  return Array.from({ length: PARTITIONS }, (_, partition) => owned.primaryOf(partition))
}

it('one that joins has each of its partitions from who would own it without it', () => {
  const { gained, state, owned } = ownership('new', viewOf('new'))
  state.view = viewOf('new', 'a', 'b', 'c')
  const [without, withIt] = [primaries('a', 'b', 'c'), primaries('a', 'b', 'c', 'new')]
  expect(owned.partitionsOwned()).toBe(gained.size)
  for (const [partition, from] of gained) expect([withIt[partition], from]).toEqual(['new', without[partition]])
})

it('one that is joined may have loaded, alone, what stays with whom it has joined', () => {
  const { gained, state, owned } = ownership('a', viewOf('a', 'b'))
  const mine = owned.partitionsOwned()
  state.view = viewOf('a', 'b', 'new')
  const left = owned.partitionsOwned()
  expect(left).toBeLessThan(mine)
  expect(gained.size).toBe(left)
  expect(new Set(gained.values())).toEqual(new Set(['new']))
})

it('one that goes leaves its partitions to others, who have them from it; what was theirs stays theirs', () => {
  const { gained, state, owned } = ownership('a', viewOf('a', 'b', 'c'))
  const mine = owned.partitionsOwned()
  state.view = viewOf('a', 'b')
  const more = owned.partitionsOwned()
  expect(gained.size).toBe(more - mine)
  expect(new Set(gained.values())).toEqual(new Set(['c']))
})

it('a table that was foreseen is made ahead, and counts only for the members it was made of', () => {
  const { state, owned } = ownership('a', viewOf('a', 'b', 'c'))
  const all = primaries('a', 'b', 'c')
  owned.foresee('c')
  const ownersNow = (): (string | undefined)[] =>
    Array.from({ length: PARTITIONS }, (_, partition) => owned.primaryOf(partition))
  expect(ownersNow()).toEqual(all)
  state.view = viewOf('a', 'b', 'c', 'd')
  expect(ownersNow()).toEqual(primaries('a', 'b', 'c', 'd'))
  owned.foresee('d')
  state.view = viewOf('a', 'b', 'c')
  expect(ownersNow()).toEqual(all)
})
