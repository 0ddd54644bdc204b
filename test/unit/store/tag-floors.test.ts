import { beforeEach, describe, expect, it } from 'vitest'
import { encodeTags } from '../../../lib/codec/tags.ts'
import { Stats } from '../../../lib/observe/stats.ts'
import { seededRandom } from '../../../lib/sim/random.ts'
import type { Entry } from '../../../lib/store/entry.ts'
import type { Floor } from '../../../lib/store/floor.ts'
import { type KeepTerms, keptAs } from '../../../lib/store/keeping.ts'
import { Store } from '../../../lib/store/store.ts'
import { TAG_FLOORS_MAX } from '../../../lib/store/tag-floors.ts'

const NOW_MS = 100
const FOREVER_MS = 1e9

let stats: Stats
let store: Store

beforeEach(() => {
  stats = new Stats()
  store = new Store({ bytesMax: 1e9, stats, random: seededRandom(1), floorsMs: 1_000 })
  store.expire(NOW_MS)
})

/** What a value says of its tags when it comes. */
const tagged = (tags: readonly string[]): KeepTerms => ({
  ...{ revalidateMs: 0, staleMs: 0, ahead: 0, earlyMs: 0 },
  tags: encodeTags(tags, 'tags')
})

function entry(key: string, stamp: number, tags: string[] = [], namespace = 'n'): Entry {
  const rest = { partition: 0, kind: 'value', negative: false, backups: 0, bytes: new Uint8Array(1) } as const
  const kept = keptAs({ expiresAtMs: FOREVER_MS }, tagged(tags))
  return { ...rest, ...kept, namespace, key, version: { stamp, writer: 'w' } }
}

const floor = (text: string, stamp: number, over: Partial<Floor> = {}): Floor => ({
  kind: 'tag',
  namespace: 'n',
  text,
  stamp,
  atMs: NOW_MS,
  ...over
})

const isThere = (key: string, namespace = 'n'): boolean => store.value(namespace, key, NOW_MS) !== undefined

describe('a tag that was invalidated', () => {
  it('kills what has it and is older, whoever asks how, and takes none of it any more', () => {
    store.put(entry('one', 5, ['a', 'b']))
    store.put(entry('other', 5, ['b']))
    store.put(entry('plain', 5))
    store.put(entry('newer', 9, ['a']))
    store.put(entry('one', 5, ['a'], 'm'))
    store.addFloor(floor('a', 9))
    expect([...store.keysIn('n', 0, '', NOW_MS)].sort()).toEqual(['newer', 'other', 'plain'])
    expect(store.versionsIn(0, 0, { namespace: '', key: '' }, 10).map(({ key }) => key)).not.toContain('one-n')
    expect(store.recordsIn(0, 0, { namespace: '', key: '' }, 1e6).records.length).toBe(4)
    expect(store.glance('n', 'one', NOW_MS)).toBeUndefined()
    expect(store.entry('n', 'one')).toBeUndefined()
    expect(store.versionOf('n', 'one')).toBeUndefined()
    expect(isThere('one', 'm')).toBe(true)
    expect(store.put(entry('one', 8, ['a']))).toBe(false)
    expect(store.merge(entry('one', 8, ['a']), NOW_MS)).toBe('refused')
    expect(store.merge(entry('one', 8, ['b']), NOW_MS)).toBe('kept')
    expect(store.killer(entry('x', 8, ['a']), 8)).toEqual(floor('a', 9))
  })

  it('of no cache is one of all', () => {
    store.put(entry('one', 5, ['a']))
    store.put(entry('one', 5, ['a'], 'm'))
    store.addFloor(floor('a', 9, { namespace: '' }))
    expect([isThere('one'), isThere('one', 'm')]).toEqual([false, false])
  })

  it('is enforced behind, some records at a time, so that their memory comes back', () => {
    for (let i = 0; i < 50_000; i++) store.put(entry(`k${i}`, 5, [i % 2 === 0 ? 'a' : 'b']))
    store.addFloor(floor('a', 9))
    expect(store.size).toBe(50_000)
    expect(store.isBehind).toBe(true)
    store.expire(NOW_MS)
    expect(store.size).toBeLessThan(50_000)
    expect(store.size).toBeGreaterThan(25_000)
    // One that is laid meanwhile is enforced everywhere too.
    store.addFloor(floor('b', 9))
    for (let calls = 0; store.isBehind; calls++) {
      store.expire(NOW_MS)
      expect(calls).toBeLessThan(20)
    }
    expect(store.size).toBe(0)
  })

  it('is the highest there was, in whatever order they came, and none where it is known', () => {
    const told: Floor[] = []
    const other = new Store({ bytesMax: 1e6, stats, random: seededRandom(1), onFloor: one => told.push(one) })
    other.mergeFloors([floor('a', 9), floor('a', 7, { atMs: 300 }), floor('a', 8), floor('a', 9, { atMs: 300 })])
    expect(other.floorsSince().floors).toEqual([floor('a', 9, { atMs: 300 })])
    expect(told.map(({ stamp }) => stamp)).toEqual([9])
  })

  it('is forgotten after its time, and not before', () => {
    store.addFloor(floor('a', 9))
    store.expire(NOW_MS + 999)
    expect(store.merge(entry('one', 8, ['a']), NOW_MS + 999)).toBe('refused')
    store.expire(NOW_MS + 1_000)
    expect(store.floorsSince().floors).toEqual([])
    expect(store.merge(entry('one', 8, ['a']), NOW_MS + 1_000)).toBe('kept')
  })

  it('gives way to a floor for all tags when there are too many, which kills nothing without a tag', () => {
    store.put(entry('plain', 1))
    store.put(entry('tagged', 1, ['never invalidated']))
    store.put(entry('later', 3, ['never invalidated']))
    for (let i = 0; i <= TAG_FLOORS_MAX; i++) store.addFloor(floor(`t${i}`, 2 + i))
    expect(store.floorsSince().floors.length).toBe(TAG_FLOORS_MAX + 1)
    expect(stats.floorsFoldedTotal).toBe(1)
    expect([isThere('plain'), isThere('tagged'), isThere('later')]).toEqual([true, false, true])
  })
})
