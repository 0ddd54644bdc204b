import { describe, expect, it } from 'vitest'
import { Stats } from '../../../lib/observe/stats.ts'
import { type Entry, entryBytes } from '../../../lib/store/entry.ts'
import { Store } from '../../../lib/store/store.ts'

function entry(key: string, bytes = 100, over: Partial<Entry> = {}): Entry {
  const version = { stamp: 1, writer: 'w' }
  const rest = { namespace: 'n', partition: 0, version, kind: 'value', expiresAtMs: 1_000, negative: false } as const
  return { ...rest, key, bytes: new Uint8Array(bytes), ...over }
}

describe('a store', () => {
  it('lets the least recently used go first, and counts them', () => {
    const stats = new Stats()
    const store = new Store({ bytesMax: entryBytes(entry('s0')) * 3, stats })
    for (const key of ['s0', 's1', 's2']) store.put(entry(key))
    store.value('n', 's0', 0)
    store.put(entry('s3'))
    expect(['s0', 's1', 's2', 's3'].map(key => store.value('n', key, 0)?.key)).toEqual(['s0', undefined, 's2', 's3'])
    expect(stats.evictionsTotal).toBe(1)
  })

  it('does not count as evicted what expired, was replaced or moved away', () => {
    const stats = new Stats()
    const store = new Store({ bytesMax: 1e6, stats })
    store.put(entry('s0'))
    store.put(entry('s0', 200))
    expect(store.value('n', 's0', 1_000)).toBeUndefined()
    store.put(entry('s1', 10, { partition: 7 }))
    expect(store.dropPartitions(partition => partition === 7)).toBe(1)
    expect([store.size, store.bytes, stats.evictionsTotal]).toEqual([0, 0, 0])
  })

  it('does not keep what is larger than all it may hold, nor the older value under that name', () => {
    const store = new Store({ bytesMax: 2_000, stats: new Stats() })
    store.put(entry('s0'))
    store.put(entry('s1'))
    expect(store.put(entry('s0', 5_000))).toBe(false)
    expect(store.value('n', 's0', 0)).toBeUndefined()
    expect(store.value('n', 's1', 0)).toBeDefined()
  })

  it('keeps the same key of two caches apart', () => {
    const store = new Store({ bytesMax: 1e6, stats: new Stats() })
    store.put(entry('s0'))
    expect(store.value('m', 's0', 0)).toBeUndefined()
  })

  it('knows a tombstone and shows no value for it', () => {
    const store = new Store({ bytesMax: 1e6, stats: new Stats() })
    store.put(entry('s0', 0, { kind: 'tombstone' }))
    expect(store.value('n', 's0', 0)).toBeUndefined()
    expect(store.entry('n', 's0')?.kind).toBe('tombstone')
  })
})
