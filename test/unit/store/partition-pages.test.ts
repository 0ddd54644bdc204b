import { describe, expect, it } from 'vitest'
import { recordName } from '../../../lib/base/record-name.ts'
import { Stats } from '../../../lib/observe/stats.ts'
import { seededRandom } from '../../../lib/sim/random.ts'
import { type Entry, entryBytes } from '../../../lib/store/entry.ts'
import { Store } from '../../../lib/store/store.ts'

const START = { namespace: '', key: '' }

function entry(namespace: string, key: string, over: Partial<Entry> = {}): Entry {
  const version = { stamp: 7, writer: 'w' }
  const rest = { version, kind: 'value', expiresAtMs: 1_000, negative: false, backups: 1, partition: 3 } as const
  return { ...rest, namespace, key, bytes: new Uint8Array(50), keeping: undefined, ...over }
}

function filled(): Store {
  const store = new Store({ bytesMax: 1e9, stats: new Stats(), random: seededRandom(1) })
  store.expire(1)
  for (const namespace of ['m', 'n'])
    for (let i = 0; i < 10; i++) store.put(entry(namespace, `s${(i * 7) % 10}`, { backups: i % 3 }))
  store.put(entry('n', 'elsewhere', { partition: 4 }))
  return store
}

describe('a partition, page by page', () => {
  it.each([0, 1, 2, 3])('is told whole and in order, of rank %d', rank => {
    const store = filled()
    const wanted = store.recordsIn(3, 0, START, 1e9).records.filter(({ backups }) => backups >= rank)
    expect(wanted.map(({ namespace, key }) => recordName(namespace, key))).toEqual(
      wanted.map(({ namespace, key }) => recordName(namespace, key)).toSorted()
    )
    const listed = []
    for (let after = START; ; after = listed.at(-1) ?? after) {
      const page = store.versionsIn(3, rank, after, 3)
      listed.push(...page)
      if (page.length === 0) break
    }
    expect(listed).toEqual(
      wanted.map(({ namespace, key, version, expiresAtMs }) => ({ namespace, key, version, expiresAtMs }))
    )
    const pages = []
    for (let after = START, isComplete = false; !isComplete; after = pages.at(-1) ?? after) {
      const page = store.recordsIn(3, rank, after, entryBytes(entry('n', 's0')) * 2 + 2)
      expect(page.records.length).toBeLessThanOrEqual(2)
      pages.push(...page.records)
      isComplete = page.isComplete
    }
    expect(pages).toEqual(wanted)
    expect(store.digestOf(3, rank).count).toBe(wanted.length)
  })

  it('has at least one record on each page', () => {
    expect(filled().recordsIn(3, 0, START, 1)).toMatchObject({
      records: [{ namespace: 'm', key: 's0' }],
      isComplete: false
    })
    expect(filled().recordsIn(5, 0, START, 1)).toEqual({ records: [], isComplete: true })
  })

  it('is known to be held until it is dropped', () => {
    const store = filled()
    expect([store.heldPartitions(), store.holds(3), store.holds(5)]).toEqual([[3, 4], true, false])
    expect([store.dropPartition(3), store.heldPartitions(), store.dropPartition(3)]).toEqual([20, [4], 0])
  })

  it('loses what was given, but not what was written since', () => {
    const store = filled()
    for (const key of ['s1', 's2', 's3', 'none']) store.markGiven('n', key)
    store.put(entry('n', 's2', { version: { stamp: 8, writer: 'w' } }))
    store.merge(entry('n', 's3', { version: { stamp: 8, writer: 'w' } }), 1)
    expect([store.dropGiven(4, -1), store.dropGiven(3, -1), store.size]).toEqual([0, 1, 20])
    expect(store.entry('n', 's1')).toBeUndefined()
  })

  it('loses what is older, whatever it is', () => {
    const store = filled()
    store.put(entry('n', 'new', { version: { stamp: 8, writer: 'w' } }))
    expect([store.dropOlder(8), store.size]).toEqual([21, 1])
  })

  it('is as hot as it was read of late', () => {
    const store = filled()
    for (let i = 0; i < 8; i++) store.value('n', 's1', 1)
    store.glance('n', 'elsewhere', 1)
    store.value('n', 'none', 1)
    store.versionOf('n', 's1')
    store.entry('n', 's1')
    expect([store.heatOf(3), store.heatOf(4), store.heatOf(5)]).toEqual([8, 1, 0])
    store.expire(20_001)
    expect([store.heatOf(3), store.heatOf(4)]).toEqual([2, 0])
  })
})

describe('a digest', () => {
  it('tells apart another version, writer and end, and no order of coming', () => {
    const digestOf = (...entries: Entry[]) => {
      const store = new Store({ bytesMax: 1e9, stats: new Stats(), random: seededRandom(entries.length) })
      for (const one of entries) store.put(one)
      return store.digestOf(3, 0)
    }
    const [a, b] = [entry('n', 'a'), entry('n', 'b', { version: { stamp: 9, writer: 'w' } })]
    const all = [
      digestOf(a),
      digestOf(b),
      digestOf({ ...a, version: { stamp: 7, writer: 'x' } }),
      digestOf({ ...a, expiresAtMs: 1_001 }),
      digestOf({ ...a, expiresAtMs: Number.POSITIVE_INFINITY }),
      digestOf({ ...a, version: { stamp: 7 + 2 ** 40, writer: 'w' } }),
      digestOf(a, b)
    ]
    for (const part of ['low', 'high'] as const) expect(new Set(all.map(one => one[part])).size).toBe(all.length)
    expect(digestOf(b, a)).toEqual(digestOf(a, b))
    expect(digestOf({ ...a, bytes: new Uint8Array(3) }, a)).toEqual(digestOf(a))
    // The same at any member and in any release that speaks with this one.
    expect(digestOf(a)).toEqual({ count: 1, low: 1_481_659_516, high: 3_309_596_938 })
  })
})
