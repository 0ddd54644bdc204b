import { describe, expect, it } from 'vitest'
import { Stats } from '../../../lib/observe/stats.ts'
import { seededRandom } from '../../../lib/sim/random.ts'
import { type Entry, entryBytes } from '../../../lib/store/entry.ts'
import { Store } from '../../../lib/store/store.ts'

function entry(key: string, bytes = 100, over: Partial<Entry> = {}): Entry {
  const version = { stamp: 1, writer: 'w' }
  const rest = {
    namespace: 'n',
    partition: 0,
    version,
    kind: 'value',
    expiresAtMs: 1_000,
    negative: false,
    backups: 0
  } as const
  return { ...rest, key, bytes: new Uint8Array(bytes), ...over }
}

describe('a store', () => {
  it('lets the least recently used go first, and counts them', () => {
    const stats = new Stats()
    const store = new Store({ bytesMax: entryBytes(entry('s0')) * 3, stats, random: seededRandom(1) })
    for (const key of ['s0', 's1', 's2']) store.put(entry(key))
    store.value('n', 's0', 0)
    store.put(entry('s3'))
    expect(['s0', 's1', 's2', 's3'].map(key => store.value('n', key, 0)?.key)).toEqual(['s0', undefined, 's2', 's3'])
    expect(stats.evictionsTotal).toBe(1)
  })

  it('does not count as evicted what expired, was replaced or moved away', () => {
    const stats = new Stats()
    const store = new Store({ bytesMax: 1e6, stats, random: seededRandom(1) })
    store.put(entry('s0'))
    store.put(entry('s0', 200))
    expect(store.value('n', 's0', 1_000)).toBeUndefined()
    store.put(entry('s1', 10, { partition: 7 }))
    expect(store.dropPartition(7)).toBe(1)
    expect([store.size, store.bytes, stats.evictionsTotal]).toEqual([0, 0, 0])
  })

  it('does not keep what is larger than all it may hold, nor the older value under that name', () => {
    const store = new Store({ bytesMax: 2_000, stats: new Stats(), random: seededRandom(1) })
    store.put(entry('s0'))
    store.put(entry('s1'))
    expect(store.put(entry('s0', 5_000))).toBe(false)
    expect(store.value('n', 's0', 0)).toBeUndefined()
    expect(store.value('n', 's1', 0)).toBeDefined()
  })

  it('keeps the same key of two caches apart', () => {
    const store = new Store({ bytesMax: 1e6, stats: new Stats(), random: seededRandom(1) })
    store.put(entry('s0'))
    expect(store.value('m', 's0', 0)).toBeUndefined()
  })

  it('knows a tombstone and shows no value for it', () => {
    const store = new Store({ bytesMax: 1e6, stats: new Stats(), random: seededRandom(1) })
    store.put(entry('s0', 0, { kind: 'tombstone' }))
    expect(store.value('n', 's0', 0)).toBeUndefined()
    expect(store.entry('n', 's0')?.kind).toBe('tombstone')
  })
})

describe('a store with several caches', () => {
  const UNLIMITED = Number.POSITIVE_INFINITY

  it('takes from the largest when the member is full, and leaves a small one alone', () => {
    const stats = new Stats()
    const store = new Store({ bytesMax: 100_000, stats, random: seededRandom(1) })
    for (let i = 0; i < 100; i++) store.put(entry(`small ${i}`, 100, { namespace: 'small' }))
    for (let i = 0; i < 2_000; i++) store.put(entry(`large ${i}`, 100, { namespace: 'large' }))
    expect(store.bytesOf('small')).toBe(100 * entryBytes(entry('small 10')) - 10)
    expect(store.bytesOf('large')).toBeGreaterThan(70_000)
    expect(stats.evictionsTotal).toBeGreaterThan(1_000)
  })

  it('a cache over its own limit gives up its own, though there is room', () => {
    const store = new Store({ bytesMax: 1e9, stats: new Stats(), random: seededRandom(1) })
    for (let i = 0; i < 100; i++) for (const namespace of ['n', 'm']) store.put(entry(`k${i}`, 100, { namespace }))
    store.limit('n', { bytesMax: 5_000, eviction: 'lru' })
    expect(store.bytesOf('n')).toBeLessThanOrEqual(5_000)
    expect(store.value('n', 'k99', 0)).toBeDefined()
    expect(store.put(entry('too large', 6_000))).toBe(false)
    expect(store.put(entry('too large', 6_000, { namespace: 'm' }))).toBe(true)
    expect(store.value('m', 'k0', 0)).toBeDefined()
    store.limit('n', { bytesMax: UNLIMITED, eviction: 'lru' })
    expect(store.put(entry('too large', 6_000))).toBe(true)
  })

  it('forgets names of caches and members that nothing is left of', () => {
    const store = new Store({ bytesMax: 1e9, stats: new Stats(), random: seededRandom(1) })
    // More than there are numbers for.
    for (let i = 0; i < 70_000; i++) {
      const one = { namespace: `cache ${i}`, version: { stamp: 1, writer: `member ${i}` } }
      expect(store.put(entry('k', 1, one))).toBe(true)
      expect(store.drop(`cache ${i}`, 'k')).toBe(true)
    }
    expect(store.put(entry('k', 1, { expiresAtMs: 1_000 }))).toBe(true)
    store.expire(60_000)
    expect([store.size, store.bytes, store.bytesOf('n')]).toEqual([0, 0, 0])
  })
})

describe('tombstones', () => {
  it('stay while there are values to give up', () => {
    const stats = new Stats()
    const store = new Store({ bytesMax: 50_000, stats, random: seededRandom(1) })
    for (let i = 0; i < 20; i++) store.put(entry(`gone ${i}`, 0, { kind: 'tombstone' }))
    for (let i = 0; i < 1_000; i++) store.put(entry(`k${i}`))
    expect(Array.from({ length: 20 }, (_, i) => store.entry('n', `gone ${i}`)?.kind)).not.toContain(undefined)
    expect([stats.evictionsTotal > 500, stats.tombstonesEvictedTotal]).toEqual([true, 0])
  })

  it('do not empty a cache: past an eighth of it the oldest go and are counted', () => {
    const stats = new Stats()
    const store = new Store({ bytesMax: 80_000, stats, random: seededRandom(1) })
    for (let i = 0; i < 300; i++) store.put(entry(`k${i}`))
    for (let i = 0; i < 1_000; i++) store.put(entry(`gone ${i}`, 0, { kind: 'tombstone' }))
    const left = Array.from({ length: 1_000 }, (_, i) => i).filter(i => store.entry('n', `gone ${i}`) !== undefined)
    expect(left.length * entryBytes(entry('gone 999', 0))).toBeLessThanOrEqual(10_000)
    expect(left).toEqual(Array.from({ length: left.length }, (_, i) => 1_000 - left.length + i))
    expect(stats.tombstonesEvictedTotal).toBe(1_000 - left.length)
    expect(store.bytesOf('n')).toBeGreaterThan(60_000)
  })
})

describe('time', () => {
  it('may jump by an hour: nothing old is answered, and no call does all the work', () => {
    const stats = new Stats()
    const store = new Store({ bytesMax: 1e9, stats, random: seededRandom(1) })
    store.expire(1e11)
    for (let i = 0; i < 10_000; i++) store.put(entry(`k${i}`, 10, { expiresAtMs: 1e11 + (i % 1_000) * 1_000 }))
    expect(store.value('n', 'k5000', 1e11 + 3_600_000)).toBeUndefined()
    expect(store.size).toBeGreaterThan(9_900)
    const dropped = store.expire(1e11 + 3_600_000)
    expect(dropped).toBeGreaterThan(0)
    expect(dropped).toBeLessThan(5_000)
    for (let i = 0; i < 100 && store.isBehind; i++) store.expire(1e11 + 3_600_000)
    expect([store.size, stats.expirationsTotal]).toEqual([0, 10_000])
  })
})

describe('a store asked for a part of a cache', () => {
  function filled(): Store {
    const store = new Store({ bytesMax: 1e6, stats: new Stats(), random: seededRandom(1) })
    const put = (namespace: string, key: string, over: Partial<Entry> = {}): void => {
      const bytes = new Uint8Array(1)
      const version = { stamp: 1, writer: 'a' }
      const rest = {
        version,
        kind: 'value',
        bytes,
        expiresAtMs: 10,
        negative: false,
        backups: 0,
        partition: 1
      } as const
      store.put({ namespace, key, ...rest, ...over })
    }
    put('n', 'sab')
    put('n', 'sa')
    put('n', 'sb')
    put('n', 'sac', { partition: 2 })
    put('nn', 'sab')
    put('n', 'sad', { kind: 'tombstone' })
    put('n', 'sae', { negative: true })
    put('n', 'saf', { expiresAtMs: 5 })
    return store
  }
  const keysOf = (store: Store, prefix: string): string[] => [...store.keysIn('n', 1, prefix, 5)].sort()

  it('tells the keys of one partition that have a value', () => {
    expect(keysOf(filled(), '')).toEqual(['sa', 'sab', 'sb'])
    expect(keysOf(filled(), 'sa')).toEqual(['sa', 'sab'])
    expect([...filled().keysIn('n', 77, '', 5)]).toEqual([])
  })

  it('drops one key', () => {
    const store = filled()
    expect([store.drop('n', 'sa'), store.drop('n', 'none')]).toEqual([true, false])
    expect(keysOf(store, '')).toEqual(['sab', 'sb'])
  })

  it('forgets what was evicted or given away', () => {
    const store = filled()
    store.dropPartition(1)
    expect(keysOf(store, '')).toEqual([])
  })
})
