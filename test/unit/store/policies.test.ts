import { describe, expect, it } from 'vitest'
import { Stats } from '../../../lib/observe/stats.ts'
import { seededRandom } from '../../../lib/sim/random.ts'
import { type Entry, entryBytes } from '../../../lib/store/entry.ts'
import type { EvictionName } from '../../../lib/store/eviction.ts'
import { Store } from '../../../lib/store/store.ts'

const NOW_MS = 215_000_000_000
const HOUR_MS = 3_600_000

function entry(key: string, over: Partial<Entry> = {}): Entry {
  const version = { stamp: 1, writer: 'w' }
  const rest = { namespace: 'n', partition: 0, version, kind: 'value', negative: false, backups: 0 } as const
  return { ...rest, key, bytes: new Uint8Array(100), expiresAtMs: NOW_MS + HOUR_MS, ...over }
}

const key = (n: number): string => `k${`${n}`.padStart(7, '0')}`
const COST = entryBytes(entry(key(0)))

function storeFor(entries: number, eviction: EvictionName): { store: Store; stats: Stats } {
  const stats = new Stats()
  const store = new Store({ bytesMax: COST * entries, stats, random: seededRandom(7) })
  store.limit('n', { bytesMax: Number.POSITIVE_INFINITY, eviction })
  store.expire(NOW_MS)
  return { store, stats }
}

/** As a cache is used: read, and put where there was nothing. True for a hit. */
function ask(store: Store, n: number): boolean {
  if (store.value('n', key(n), NOW_MS) !== undefined) return true
  store.put(entry(key(n)))
  return false
}

const kept = (store: Store, keys: readonly number[]): number[] =>
  keys.filter(n => store.entry('n', key(n)) !== undefined)
const range = (length: number, from = 0): number[] => Array.from({ length }, (_, i) => from + i)

describe('lru', () => {
  it('gives up exactly the least recently used', () => {
    const { store, stats } = storeFor(10, 'lru')
    for (const n of range(10)) ask(store, n)
    for (const n of [0, 3, 5]) ask(store, n)
    for (const n of range(7, 100)) ask(store, n)
    expect(kept(store, range(10))).toEqual([0, 3, 5])
    expect(stats.evictionsTotal).toBe(7)
  })

  it('loses everything to a scan, which is why there is lfu', () => {
    const { store } = storeFor(100, 'lru')
    for (let round = 0; round < 5; round++) for (const n of range(50)) ask(store, n)
    for (const n of range(1_000, 100)) ask(store, n)
    expect(kept(store, range(50))).toEqual([])
  })
})

describe('lfu', () => {
  it('keeps what is used often through a scan', () => {
    const { store } = storeFor(100, 'lfu')
    for (let round = 0; round < 5; round++) for (const n of range(50)) ask(store, n)
    for (const n of range(700, 100)) ask(store, n)
    expect(kept(store, range(50)).length).toBeGreaterThanOrEqual(45)
    // After so long it has forgotten how often they were used, and the protected part stays all the same.
    for (const n of range(10_000, 1_000)) ask(store, n)
    expect(kept(store, range(50)).length).toBeGreaterThanOrEqual(35)
  })

  it('lets in what becomes popular', () => {
    const { store } = storeFor(100, 'lfu')
    for (let round = 0; round < 5; round++) for (const n of range(100)) ask(store, n)
    for (let round = 0; round < 40; round++) for (const n of range(80, 1_000)) ask(store, n)
    expect(kept(store, range(80, 1_000)).length).toBeGreaterThanOrEqual(70)
  })

  it('has most of a loop that does not fit', () => {
    const { store } = storeFor(100, 'lfu')
    let hits = 0
    for (let round = 0; round < 60; round++) for (const n of range(150)) hits += ask(store, n) ? 1 : 0
    expect(hits / (60 * 150)).toBeGreaterThan(0.4)
  })

  it('keeps a value that is written again where it was', () => {
    const { store } = storeFor(100, 'lfu')
    for (let round = 0; round < 5; round++) for (const n of range(50)) ask(store, n)
    for (const n of range(10_000, 100)) {
      ask(store, n)
      store.put(entry(key(n % 50), { bytes: new Uint8Array(n % 100) }))
    }
    expect(kept(store, range(50)).length).toBeGreaterThanOrEqual(45)
  })
})

describe('ttl', () => {
  it('gives up what expires soonest, what is over before that, and what never expires last', () => {
    const { store, stats } = storeFor(6, 'ttl')
    const expiries = [4, 1, Number.POSITIVE_INFINITY, 3, 2, 5].map(hours => NOW_MS + hours * HOUR_MS)
    for (const [n, expiresAtMs] of expiries.entries()) store.put(entry(key(n), { expiresAtMs }))
    const left = [0, 1, 2, 3, 4, 5]
    for (const next of [1, 4, 3, 0, 5, 2]) {
      expect(kept(store, range(6))).toEqual(left)
      store.put(entry(key(100 + next), { expiresAtMs: Number.POSITIVE_INFINITY }))
      left.splice(left.indexOf(next), 1)
    }
    expect(stats.evictionsTotal).toBe(6)
  })
})

describe('random', () => {
  it('gives up each as likely, and the same ones for the same seed', () => {
    const run = (): number[] => {
      const { store } = storeFor(200, 'random')
      for (const n of range(300)) ask(store, n)
      return kept(store, range(300))
    }
    const left = run()
    expect(left).toEqual(run())
    expect(left.length).toBe(200)
    // The oldest have had more occasions to go, and still a good part is there.
    expect(left.filter(n => n < 100).length).toBeGreaterThan(40)
    expect(left.filter(n => n < 100).length).toBeLessThan(85)
  })
})

describe('every policy', () => {
  it.each<EvictionName>(['lru', 'lfu', 'ttl', 'random'])(
    '%s takes over the values of another and gives each up once',
    to => {
      for (const from of ['lru', 'lfu', 'ttl', 'random'] as const) {
        const { store, stats } = storeFor(50, from)
        for (const n of range(50)) ask(store, n)
        store.put(entry('gone', { kind: 'tombstone', bytes: new Uint8Array(0) }))
        store.limit('n', { bytesMax: Number.POSITIVE_INFINITY, eviction: to })
        expect(store.size).toBe(50)
        const before = stats.evictionsTotal
        for (const n of range(49, 1_000)) ask(store, n)
        expect(stats.evictionsTotal - before).toBe(49)
        expect(store.entry('n', 'gone')).toBeDefined()
        expect(store.expire(NOW_MS + 2 * HOUR_MS)).toBe(store.size === 0 ? 50 : Number.NaN)
      }
    }
  )
})
