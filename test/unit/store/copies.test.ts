import { describe, expect, it } from 'vitest'
import { Stats } from '../../../lib/observe/stats.ts'
import { seededRandom } from '../../../lib/sim/random.ts'
import { type Entry, entryBytes } from '../../../lib/store/entry.ts'
import { EVICTION_NAMES } from '../../../lib/store/eviction.ts'
import { withShadow } from '../../../lib/store/keeping.ts'
import type { Evicted } from '../../../lib/store/room.ts'
import { Store } from '../../../lib/store/store.ts'

const NEVER = Number.POSITIVE_INFINITY

function entry(key: string, over: Partial<Entry> = {}): Entry {
  const version = { stamp: 1, writer: 'w' }
  const rest = { namespace: 'n', partition: 0, version, kind: 'value', negative: false, backups: 1 } as const
  return { ...rest, key, bytes: new Uint8Array(100), expiresAtMs: 1_000, keeping: undefined, ...over }
}

const stamped = (stamp: number, writer = 'w') => ({ version: { stamp, writer } })
const shaded = (expiresAtMs: number, untilMs: number) => withShadow({ expiresAtMs, keeping: undefined }, untilMs)
const ONE = entryBytes(entry('k00'))
/** All of one length, so that all cost the same. */
const keyOf = (i: number, letter: string | number = 'k'): string => `${letter}${`${i}`.padStart(2, '0')}`

interface Told {
  readonly store: Store
  readonly stats: Stats
  readonly evicted: Evicted[]
  readonly givenUp: number[]
}

function storeFor(records: number): Told {
  const [stats, evicted, givenUp] = [new Stats(), [] as Evicted[], [] as number[]]
  const store = new Store({ bytesMax: ONE * records, stats, random: seededRandom(1) })
  store.leaving.evicted = one => evicted.push(one)
  store.leaving.givenUp = partition => givenUp.push(partition)
  store.expire(1)
  return { store, stats, evicted, givenUp }
}

describe('a merge', () => {
  it('takes what is newer, and says what it found', () => {
    const { store } = storeFor(10)
    expect(store.merge(entry('k', stamped(5)), 1)).toBe('kept')
    expect(store.merge(entry('k', stamped(4)), 1)).toBe('older')
    expect(store.merge(entry('k', stamped(5, 'v')), 1)).toBe('older')
    expect(store.merge(entry('k', { ...stamped(5), bytes: new Uint8Array(1) }), 1)).toBe('same')
    expect(store.value('n', 'k', 1)?.bytes).toHaveLength(100)
    expect(store.merge(entry('k', { ...stamped(5), expiresAtMs: 900 }), 1)).toBe('kept')
    expect(store.versionOf('n', 'k')).toEqual({ ...stamped(5), expiresAtMs: 900 })
    expect(store.merge(entry('k', { ...stamped(5, 'x'), kind: 'tombstone' }), 1)).toBe('kept')
    expect(store.merge(entry('k', stamped(5)), 1)).toBe('older')
    expect(store.versionOf('n', 'k')?.version.writer).toBe('x')
    expect(store.versionOf('n', 'none')).toBeUndefined()
  })

  it('refuses what is over, and what is older than that goes', () => {
    const { store } = storeFor(10)
    store.merge(entry('k', stamped(5)), 1)
    expect(store.merge(entry('k', { ...stamped(5), expiresAtMs: 300 }), 500)).toBe('refused')
    expect(store.value('n', 'k', 500)).toBeDefined()
    expect(store.merge(entry('k', { ...stamped(6), expiresAtMs: 500 }), 500)).toBe('refused')
    expect(store.size).toBe(0)
  })

  it('takes what is over as the mark that is to stay of it', () => {
    const { store } = storeFor(10)
    const over = entry('k', { ...stamped(6), ...shaded(500, 800) })
    expect(store.merge(over, 500)).toBe('kept')
    expect(store.entry('n', 'k')).toMatchObject({ kind: 'tombstone', expiresAtMs: 800, ...stamped(6), backups: 1 })
    expect(store.merge(over, 500)).toBe('same')
    expect(store.merge(over, 800)).toBe('refused')
  })
})

describe('room, where there are copies', () => {
  const fill = ({ store }: Told, own: number, copiesOf: Record<number, number>): void => {
    for (let i = 0; i < own; i++) store.put(entry(keyOf(i)))
    for (const [partition, count] of Object.entries(copiesOf)) {
      store.setRole(+partition, false)
      for (let i = 0; i < count; i++) store.merge(entry(keyOf(i, partition), { partition: +partition }), 1)
    }
  }
  const keysHeld = (store: Store, partition: number): string[] => [...store.keysIn('n', partition, '', 1)]

  it('is made by own values first, by their policy, down to a quarter', () => {
    const told = storeFor(20)
    fill(told, 12, { 1: 14 })
    expect(keysHeld(told.store, 0)).toEqual(['k06', 'k07', 'k08', 'k09', 'k10', 'k11'])
    expect(keysHeld(told.store, 1)).toHaveLength(14)
    expect(told.evicted.map(({ key }) => key)).toEqual(['k00', 'k01', 'k02', 'k03', 'k04', 'k05'])
    expect(told.evicted[0]).toEqual({
      namespace: 'n',
      key: 'k00',
      partition: 0,
      ...stamped(1),
      backups: 1,
      isOver: false
    })
    expect([told.givenUp, told.stats.evictionsTotal]).toEqual([[], 6])
  })

  it('is made by a whole partition of copies, the oldest, of all caches, when few own values are left', () => {
    const told = storeFor(20)
    fill(told, 5, { 1: 4, 2: 10 })
    told.store.merge(entry('oth', { partition: 1, namespace: 'm' }), 1)
    expect(told.store.size).toBe(20)
    expect(told.store.put(entry('new'))).toBe(true)
    expect([told.givenUp, told.stats.copiesGivenUpTotal, told.evicted]).toEqual([[1], 1, []])
    expect([told.store.holds(1), told.store.holds(2), told.store.size]).toEqual([false, true, 16])
    expect(told.store.digestOf(1, 0)).toEqual({ count: 0, low: 0, high: 0 })
  })

  it('is not made by the partition that it is for: then the copy is refused, and nothing loops', () => {
    const told = storeFor(20)
    fill(told, 4, { 1: 16 })
    expect(told.store.merge(entry('one', { partition: 1 }), 1)).toBe('refused')
    expect(told.store.put(entry('one', { partition: 1 }))).toBe(false)
    expect([told.store.size, told.givenUp, told.evicted]).toEqual([20, [], []])
    // A copy that grows is refused too, and the older one is not left in its place.
    expect(told.store.merge(entry('103', { partition: 1, ...stamped(2), bytes: new Uint8Array(101) }), 1)).toBe(
      'refused'
    )
    expect(told.store.entry('n', '103')).toBeUndefined()
  })

  it('in a cache with a limit of its own is made by what that cache has', () => {
    const told = storeFor(100)
    for (let i = 0; i < 10; i++) told.store.put(entry(keyOf(i), { namespace: 'm' }))
    fill(told, 4, { 1: 8, 2: 8 })
    told.store.limit('n', { bytesMax: ONE * 20, eviction: 'lru' })
    told.store.put(entry('new'))
    expect([told.givenUp, told.evicted, told.store.bytesOf('m')]).toEqual([[1], [], ONE * 10])
    told.store.limit('n', { bytesMax: ONE * 3, eviction: 'lru' })
    expect(told.givenUp).toEqual([1, 2])
    expect(keysHeld(told.store, 0)).toEqual(['k03', 'new'])
  })

  it.each(EVICTION_NAMES)('takes no copy as a victim of %s, also when the policy is given later', eviction => {
    const told = storeFor(40)
    fill(told, 10, { 1: 10 })
    told.store.limit('n', { bytesMax: ONE * 20, eviction })
    // They end before all others.
    for (let i = 0; i < 10; i++)
      told.store.merge(entry(keyOf(i, 1), { partition: 1, ...stamped(2), expiresAtMs: 300 }), 1)
    for (let i = 0; i < 10; i++) expect(told.store.value('n', keyOf(i, 1), 1)).toBeDefined()
    for (let i = 0; i < 50; i++) told.store.put(entry(`new ${i}`, { bytes: new Uint8Array(90) }))
    for (let i = 0; i < 10; i++) expect(told.store.value('n', keyOf(i, 1), 1)).toBeDefined()
    expect([told.givenUp, told.evicted.length > 40]).toEqual([[], true])
    for (let i = 0; i < 50 && told.store.isBehind; i++) told.store.expire(600)
    told.store.expire(600)
    expect(told.store.holds(1)).toBe(false)
  })

  it.each(EVICTION_NAMES)('follows a role that changes, under %s', eviction => {
    const told = storeFor(10)
    told.store.limit('n', { bytesMax: NEVER, eviction })
    fill(told, 0, { 1: 5 })
    for (let i = 0; i < 5; i++) told.store.put(entry(keyOf(i), { expiresAtMs: 900 - i }))
    told.store.setRole(1, true)
    told.store.setRole(0, false)
    for (let i = 0; i < 2; i++) told.store.put(entry(`new ${i}`, { partition: 1, bytes: new Uint8Array(90) }))
    expect(told.evicted.map(({ partition }) => partition)).toEqual(Array(told.evicted.length).fill(1))
    expect(told.evicted.length).toBeGreaterThan(0)
    expect(keysHeld(told.store, 0)).toHaveLength(5)
    told.store.setRole(0, true)
    expect(told.store.dropOlder(Number.MAX_VALUE)).toBe(told.store.size + 10 + 2 - told.evicted.length)
    expect([told.store.size, told.store.bytes]).toEqual([0, 0])
  })

  it('keeps tombstones of copies with them: an eighth is for own ones', () => {
    const told = storeFor(40)
    fill(told, 10, { 1: 2 })
    const gone = { kind: 'tombstone', bytes: new Uint8Array(0) } as const
    for (let i = 0; i < 20; i++) told.store.merge(entry(`gone ${i}`, { partition: 1, ...gone }), 1)
    expect([told.store.digestOf(1, 0).count, told.stats.tombstonesEvictedTotal]).toEqual([22, 0])
    told.store.setRole(1, true)
    told.store.put(entry('gone too', gone))
    expect(told.stats.tombstonesEvictedTotal).toBeGreaterThan(5)
    expect(told.evicted[0]?.key).toBe('gone 0')
  })

  it('tells of it when all is done, so that who hears of it may ask and put', () => {
    const { store } = storeFor(3)
    const seen: string[] = []
    store.leaving.evicted = ({ key }) => {
      seen.push(`${key} ${store.entry('n', key)?.kind} ${store.size}`)
      if (seen.length < 4) expect(store.put(entry(`again ${seen.length}`, { bytes: new Uint8Array(90) }))).toBe(true)
    }
    for (let i = 0; i < 4; i++) store.put(entry(keyOf(i)))
    expect(seen).toEqual(['k00 undefined 3', 'k01 undefined 3', 'k02 undefined 3', 'k03 undefined 3'])
  })

  it('goes on telling after a hook has thrown', () => {
    const { store, givenUp } = storeFor(3)
    store.setRole(1, false)
    store.merge(entry('copy', { partition: 1 }), 1)
    store.leaving.evicted = () => {
      throw new Error('broken hook')
    }
    store.put(entry('k1'))
    store.put(entry('k2'))
    expect(() => store.put(entry('k3', { bytes: new Uint8Array(290) }))).toThrow('broken hook')
    store.leaving.evicted = () => {}
    store.drop('n', 'k3')
    expect([givenUp, store.size]).toEqual([[1], 0])
  })
})

describe('what is over before something that it has replaced', () => {
  const shade = (key: string, over: Partial<Entry> = {}): Entry => entry(key, { ...over, ...shaded(200, 5_000) })
  const mark = { kind: 'tombstone', bytes: new Uint8Array(0), expiresAtMs: 5_000, negative: false, backups: 1 }

  it.each([true, false])('leaves a mark when it expires, until that would be over (primary: %s)', isPrimary => {
    const { store, stats } = storeFor(10)
    store.setRole(0, isPrimary)
    store.merge(shade('k', stamped(7)), 1)
    store.merge(entry('plain', { ...stamped(7), expiresAtMs: 200 }), 1)
    store.expire(600)
    expect(store.entry('n', 'k')).toEqual({ ...entry('k', stamped(7)), ...mark })
    expect([store.size, stats.expirationsTotal, store.bytes]).toEqual([
      1,
      2,
      entryBytes(entry('k', { ...mark, kind: 'tombstone' }))
    ])
    expect(store.merge(entry('k', { ...stamped(6), expiresAtMs: 5_000 }), 600)).toBe('older')
    store.expire(6_000)
    expect(store.size).toBe(0)
  })

  it('leaves one when a read finds it over', () => {
    const { store } = storeFor(10)
    store.put(shade('k'))
    expect(store.value('n', 'k', 200)).toBeUndefined()
    expect(store.entry('n', 'k')).toMatchObject(mark)
  })

  it('leaves one when it goes for want of room, as many as there is room for tombstones', () => {
    const { store, evicted, stats } = storeFor(20)
    for (let i = 0; i < 40; i++) store.put(shade(keyOf(i)))
    const kinds = Array.from({ length: 40 }, (_, i) => store.entry('n', keyOf(i))?.kind)
    const marks = kinds.filter(kind => kind === 'tombstone').length
    expect(marks * entryBytes(entry('k00', { bytes: new Uint8Array(0) }))).toBeLessThanOrEqual((ONE * 20) / 8)
    expect(marks).toBeGreaterThan(2)
    expect(evicted.map(({ key }) => key)).toContain('k00')
    expect(stats.evictionsTotal).toBe(40 - kinds.filter(kind => kind === 'value').length)
    expect(
      store.entry('n', evicted.findLast(({ key }) => store.entry('n', key) !== undefined)?.key ?? '')
    ).toMatchObject(mark)
  })

  it('is told to others as the mark, swept or not', () => {
    const [swept, unswept] = [storeFor(100).store, storeFor(100).store]
    for (const store of [swept, unswept]) for (let i = 0; i < 3; i++) store.put(shade(keyOf(i), stamped(i)))
    for (const store of [swept, unswept]) store.put(entry('over', { expiresAtMs: 150 }))
    swept.expire(600)
    unswept.put(entry('moves time', { partition: 1 }))
    expect(unswept.digestAt(0, 0, 600)).toEqual(swept.digestOf(0, 0))
    expect(swept.digestAt(0, 0, 600)).toEqual(swept.digestOf(0, 0))
    expect(unswept.digestOf(0, 0)).not.toEqual(swept.digestOf(0, 0))
    expect(unswept.digestAt(0, 0, 100)).toEqual(unswept.digestOf(0, 0))
    // The fourth of 2,000 that are looked at: time has gone on, but these have not been swept yet.
    const late = storeFor(5_000).store
    for (let i = 0; i < 2_500; i++) late.put(entry(`z${i}`, { partition: 2, expiresAtMs: 150 }))
    for (let i = 0; i < 3; i++) late.put(shade(keyOf(i), stamped(i)))
    late.expire(600)
    expect(late.entry('n', 'k00')?.kind).toBe('value')
    const before = { namespace: '', key: '' }
    expect(late.versionsIn(0, 0, before, 9)).toEqual(swept.versionsIn(0, 0, before, 9))
    expect(late.recordsIn(0, 0, before, 1e6)).toEqual(swept.recordsIn(0, 0, before, 1e6))
    expect(late.versionsIn(2, 0, before, 9)).toEqual([])
  })
})
