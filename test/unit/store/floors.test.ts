import { beforeEach, describe, expect, it } from 'vitest'
import { Stats } from '../../../lib/observe/stats.ts'
import { seededRandom } from '../../../lib/sim/random.ts'
import type { Entry } from '../../../lib/store/entry.ts'
import { Store } from '../../../lib/store/store.ts'

let stats: Stats
let store: Store

beforeEach(() => {
  stats = new Stats()
  store = new Store({ bytesMax: 1e9, stats, random: seededRandom(1), floorsMs: 1_000 })
  store.expire(100)
})

function entry(key: string, stamp: number, namespace = 'n'): Entry {
  const rest = { partition: 0, kind: 'value', expiresAtMs: 1e9, negative: false, backups: 0 } as const
  return { ...rest, namespace, key, version: { stamp, writer: 'w' }, bytes: new Uint8Array(1) }
}

/** Parts of caches that are remembered one by one. */
const FLOORS_MAX = 1_024

const floor = (text: string, stamp: number, over: { namespace?: string; atMs?: number } = {}) => ({
  kind: 'prefix' as const,
  namespace: 'n',
  text,
  stamp,
  atMs: 100,
  ...over
})

describe('a floor', () => {
  it('drops what lies below it and begins so, and takes no more of that', () => {
    for (const key of ['sa', 'sab', 'sb']) store.put(entry(key, 5))
    store.put(entry('sac', 9))
    store.put(entry('sa', 5, 'm'))
    store.addFloor(floor('sa', 9))
    expect([...store.keysIn('n', 0, '', 100)].sort()).toEqual(['sac', 'sb'])
    expect(store.entry('m', 'sa')).toBeDefined()
    expect(store.merge(entry('sa', 8), 100)).toBe('refused')
    expect(store.put(entry('sa', 8))).toBe(false)
    expect(store.merge(entry('sac', 8), 100)).toBe('refused')
    expect(store.merge(entry('sa', 9), 100)).toBe('kept')
    expect(store.merge(entry('sb', 8), 100)).toBe('kept')
  })

  it('is of array keys what their first parts say', () => {
    for (const key of ['a[1]', 'a[1,2]', 'a[12]']) store.put(entry(key, 5))
    store.addFloor(floor('a[1]', 9))
    expect([...store.keysIn('n', 0, '', 100)]).toEqual(['a[12]'])
  })

  it('of one prefix is the highest there was, in whatever order they came', () => {
    store.mergeFloors([floor('', 9), floor('', 7, { atMs: 300 }), floor('sa', 8)])
    expect(store.floorsSince().floors).toEqual([floor('', 9, { atMs: 300 }), floor('sa', 8)].slice(0, 1))
    expect(store.merge(entry('sa', 8), 100)).toBe('refused')
  })

  it('goes by itself after its time, and does not come back', () => {
    store.addFloor(floor('', 9))
    store.expire(1_099)
    expect(store.merge(entry('k', 8), 1_099)).toBe('refused')
    store.expire(1_100)
    expect(store.floorsSince().floors).toEqual([])
    store.mergeFloors([floor('', 9)])
    expect([store.floorsSince().floors, store.merge(entry('k', 8), 1_100)]).toEqual([[], 'kept'])
  })

  it('too many become one for the whole cache, the oldest first, counted', () => {
    store.put(entry('other', 2))
    for (let i = 0; i < FLOORS_MAX; i++) store.addFloor(floor(`s${i}`, 10 + i))
    expect([store.floorsSince().floors.length, stats.floorsFoldedTotal, store.size]).toEqual([FLOORS_MAX, 0, 1])
    store.addFloor(floor('s9999', 5_000))
    expect(store.floorsSince().floors.length).toBe(FLOORS_MAX)
    expect(stats.floorsFoldedTotal).toBe(2)
    expect(store.floorsSince().floors).toContainEqual(floor('', 11))
    store.expire(100)
    expect([store.size, store.merge(entry('other', 10), 100), store.merge(entry('other', 11), 100)]).toEqual([
      0,
      'refused',
      'kept'
    ])
  })

  it('too many of whole caches: the oldest is forgotten, counted', () => {
    for (let i = 0; i <= FLOORS_MAX; i++) store.addFloor(floor('', 10 + i, { namespace: `n${i}` }))
    expect([store.floorsSince().floors.length, stats.floorsFoldedTotal]).toEqual([FLOORS_MAX, 1])
    expect(store.floorsSince().floors.some(({ namespace }) => namespace === 'n0')).toBe(false)
  })
})
