import { beforeEach, expect, it } from 'vitest'
import { encodeTags } from '../../../lib/codec/tags.ts'
import { Stats } from '../../../lib/observe/stats.ts'
import { Copies, GIVEN_UP } from '../../../lib/replication/copies.ts'
import { recordOf } from '../../../lib/replication/record.ts'
import type { MessageOf } from '../../../lib/rpc/messages.ts'
import { seededRandom } from '../../../lib/sim/random.ts'
import type { Entry } from '../../../lib/store/entry.ts'
import { keptAs } from '../../../lib/store/keeping.ts'
import { Store } from '../../../lib/store/store.ts'
import type { MeshClock } from '../../../lib/store/version.ts'

let store: Store
let copies: Copies

function record(key: string, stamp: number): Entry {
  const terms = { namespace: 'n', partition: 7, bytes: new Uint8Array(), negative: false, keeping: undefined }
  const expiresAtMs = Number.MAX_SAFE_INTEGER
  return { ...terms, key, kind: 'value', backups: 1, version: { stamp, writer: 'w' }, expiresAtMs }
}

beforeEach(() => {
  store = new Store({ bytesMax: 1e6, stats: new Stats(), random: seededRandom(1) })
  store.setRole(7, false)
  copies = new Copies({
    store,
    meshClock: { now: () => 1_000 } as MeshClock,
    viewHash: () => 1,
    partitionOf: () => 7,
    primaryOf: () => 'primary',
    rankOf: () => 1,
    takeIn: () => {},
    remember: () => {},
    mergeFloors: () => {},
    onEqual: () => {}
  })
})

function told(batch: Partial<MessageOf<'copies'>>): MessageOf<'copied'> {
  const nothing = { records: [], evicted: [], digests: [], floors: [] }
  return copies.receive('primary', {
    ...{ type: 'copies', viewHash: 1, delivers: false, atMs: 1_000, answers: [] },
    ...nothing,
    ...batch
  })
}

/** Its primary says what it has; what is said to differ. */
function differing(theirs: Store): readonly { partition: number; count: number }[] {
  return told({ digests: [{ partition: 7, ...theirs.digestOf(7, 1), heat: 0 }] }).differing
}

/** How many records are said to differ. */
function compared(theirs: Store): number {
  return differing(theirs).length
}

it('a copy that came by another way than the stream is as new as its primary once they were found equal', () => {
  for (const each of [record('a', 5), record('b', 9)]) store.put(each)
  expect(copies.upTo(7)).toBe(0)
  expect(compared(store)).toBe(0)
  expect(copies.upTo(7)).toBe(9)
})

it('what is left over from another time is behind until it was found equal, and not when it differs', () => {
  store.put(record('a', 5))
  copies.behind(7)
  const other = new Store({ bytesMax: 1e6, stats: new Stats(), random: seededRandom(1) })
  other.put(record('a', 6))
  expect([compared(other), copies.isLevel(7), copies.upTo(7)]).toEqual([1, false, 0])
  expect([compared(store), copies.isLevel(7)]).toEqual([0, true])
})

it('what was given up for want of room is a copy like any other once we have been its primary', () => {
  const other = new Store({ bytesMax: 1e6, stats: new Stats(), random: seededRandom(1) })
  other.put(record('a', 6))
  copies.gaveUp(7)
  expect(differing(other)).toEqual([{ partition: 7, count: GIVEN_UP }])
  // A split: on this side it is ours, and somebody has brought us what was before.
  copies.won(7)
  store.put(record('a', 5))
  copies.lost(7)
  expect(differing(other)).toEqual([{ partition: 7, count: 1 }])
  expect(told({ records: [{ record: recordOf(record('a', 6)), answer: undefined }] }).refused).toEqual([])
  expect(store.entry('n', 'a')?.version.stamp).toBe(6)
})

it('the mark of a delete goes with what its primary has put in its place, also where that is dead when it comes', () => {
  const tagged = (key: string, stamp: number): Entry => {
    const terms = { revalidateMs: 0, staleMs: 0, ahead: 0, earlyMs: 0, tags: encodeTags(['t'], 'tags') }
    return { ...record(key, stamp), ...keptAs({ expiresAtMs: Number.MAX_SAFE_INTEGER }, terms) }
  }
  // The tag is of the value alone: what it replaces has none, and is not dead by it.
  for (const [key, stamp] of [
    ['replaced', 5],
    ['newer', 9]
  ] as const)
    store.put({ ...record(key, stamp), kind: 'tombstone' })
  store.addFloor({ kind: 'tag', namespace: 'n', text: 't', stamp: 8, atMs: 900 })
  told({ records: ['replaced', 'newer'].map(key => ({ record: recordOf(tagged(key, 7)), answer: undefined })) })
  expect(store.versionOf('n', 'replaced')).toBeUndefined()
  expect(store.versionOf('n', 'newer')?.version.stamp).toBe(9)
})
