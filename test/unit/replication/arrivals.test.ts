import { beforeEach, expect, it } from 'vitest'
import { Stats } from '../../../lib/observe/stats.ts'
import type { Table } from '../../../lib/placement/table.ts'
import { Arrivals } from '../../../lib/replication/arrivals.ts'
import { seededRandom } from '../../../lib/sim/random.ts'
import type { Entry } from '../../../lib/store/entry.ts'
import { withShadow } from '../../../lib/store/keeping.ts'
import { Store } from '../../../lib/store/store.ts'
import type { MeshClock } from '../../../lib/store/version.ts'

const FOREVER = Number.MAX_SAFE_INTEGER

let store: Store
let stats: Stats
let toldGone: string[]
let toldOf: string[]
let arrivals: Arrivals
let isLevel: boolean

function record(key: string, stamp: number, kind: Entry['kind'] = 'value'): Entry {
  const terms = { namespace: 'n', partition: 7, bytes: new Uint8Array(), negative: false, keeping: undefined }
  return { ...terms, key, kind, backups: 1, version: { stamp, writer: 'w' }, expiresAtMs: FOREVER }
}

beforeEach(() => {
  stats = new Stats()
  store = new Store({ bytesMax: 1e6, stats, random: seededRandom(1) })
  store.setRole(7, true)
  toldGone = []
  toldOf = []
  isLevel = false
  arrivals = new Arrivals({
    self: 'self',
    meshClock: { now: () => 1_000, stamp: () => 100 } as MeshClock,
    store,
    stats,
    backups: {
      changed: ({ key, kind, version }) => void toldOf.push(`${kind} ${key} of ${version.stamp}`),
      outdated: () => {},
      isKnownLevel: () => isLevel,
      evicted: ({ key, version }) => void toldGone.push(`${key} up to ${version.stamp}`)
    },
    table: () => ({ primary: () => 'self' }) as unknown as Table,
    isWarming: () => false,
    apartSince: () => undefined,
    onChanged: () => {},
    onTakenIn: () => {},
    reconciled: () => undefined
  })
})

it('what may be older than something given up is not taken, and its holder is told to forget it', () => {
  arrivals.evicted({ ...record('a', 5), isOver: false })
  arrivals.takeIn(record('a', 4), 'backup')
  expect(store.entry('n', 'a')).toBeUndefined()
  expect(toldGone).toEqual(['a up to 5', 'a up to 4'])
  expect(stats.recordsOutdatedTotal).toBe(1)
})

it('what is newer is taken, and so are marks of deletes, and newer versions of what is here', () => {
  store.put(record('c', 2))
  arrivals.evicted({ ...record('a', 5), isOver: false })
  for (const each of [record('a', 6), record('b', 1, 'tombstone'), record('c', 3)]) arrivals.takeIn(each, 'backup')
  expect(['a', 'b', 'c'].map(key => store.entry('n', key)?.version.stamp)).toEqual([6, 1, 3])
})

it('a partition that is won begins without that', () => {
  arrivals.evicted({ ...record('a', 5), isOver: false })
  arrivals.won(7)
  arrivals.takeIn(record('a', 4), 'backup')
  expect(store.entry('n', 'a')?.version.stamp).toBe(4)
})

it('a tombstone that a backup may not have heard of goes like something given up', () => {
  arrivals.evicted({ ...record('a', 5, 'tombstone'), isOver: true })
  arrivals.takeIn(record('a', 4), 'backup')
  expect(store.entry('n', 'a')).toBeUndefined()
  expect(toldGone).toEqual(['a up to 5', 'a up to 4'])
})

it('one that all have heard of goes without a word', () => {
  isLevel = true
  arrivals.evicted({ ...record('a', 5, 'tombstone'), isOver: true })
  arrivals.takeIn(record('b', 4), 'backup')
  expect(store.entry('n', 'b')?.version.stamp).toBe(4)
  expect(toldGone).toEqual([])
})

it('what is over when it comes leaves a mark in place of what would have lived on, and backups hear of that', () => {
  for (const key of ['a', 'b']) store.put({ ...record(key, 2), expiresAtMs: 5_000 })
  store.put({ ...record('b', 3), ...withShadow({ expiresAtMs: 900, keeping: undefined }, 5_000) })
  store.expire(1_000)
  for (const key of ['a', 'b']) arrivals.takeIn({ ...record(key, 4), expiresAtMs: 950 }, 'holder')
  for (const key of ['a', 'b']) {
    expect(store.entry('n', key)).toMatchObject({ kind: 'tombstone', version: { stamp: 4 }, expiresAtMs: 5_000 })
    arrivals.takeIn({ ...record(key, 2), expiresAtMs: 5_000 }, 'backup')
    expect(store.entry('n', key)?.kind).toBe('tombstone')
  }
  expect(toldOf).toEqual(['tombstone a of 4', 'tombstone b of 4'])
})

it('what is over and not newer, or replaces nothing that would live on, leaves what is here', () => {
  store.put({ ...record('a', 2), ...withShadow({ expiresAtMs: 5_000, keeping: undefined }, 9_000) })
  arrivals.takeIn({ ...record('a', 2), expiresAtMs: 950 }, 'holder')
  arrivals.takeIn({ ...record('a', 1), expiresAtMs: 950 }, 'holder')
  arrivals.takeIn({ ...record('b', 1), expiresAtMs: 950 }, 'holder')
  expect(store.entry('n', 'a')).toMatchObject({ kind: 'value', version: { stamp: 2 }, expiresAtMs: 5_000 })
  expect(store.entry('n', 'b')).toBeUndefined()
  expect(toldOf).toEqual([])
})
