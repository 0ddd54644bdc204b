/** Thousands of records that come, change and go: long enough that segments are compacted, buckets split and merged, rows moved. */
import { describe, expect, it } from 'vitest'
import { Stats } from '../../../lib/observe/stats.ts'
import { seededRandom } from '../../../lib/sim/random.ts'
import { type Entry, entryBytes } from '../../../lib/store/entry.ts'
import { EVICTION_NAMES } from '../../../lib/store/eviction.ts'
import { Store } from '../../../lib/store/store.ts'

const START_MS = 215_000_000_000
/** Two open segments, one for compaction, one in hand; chunks of rows and of buckets. */
const SLACK_BYTES = 4 * 1024 ** 2

/** As `expect`, which takes longer than what it looks at here. */
function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(`not true: ${what}`)
}

function isSame(a: Entry | undefined, b: Entry | undefined): boolean {
  return a !== undefined && b !== undefined && JSON.stringify(a) === JSON.stringify(b)
}

function churned(seed: number, o: { bytesMax: number; keys: number; steps: number }) {
  const random = seededRandom(seed)
  const stats = new Stats()
  const store = new Store({ bytesMax: o.bytesMax, stats, random: random.fork('store') })
  for (const eviction of EVICTION_NAMES)
    store.limit(eviction, { bytesMax: eviction === 'ttl' ? o.bytesMax / 8 : Number.POSITIVE_INFINITY, eviction })
  const model = new Map<string, Entry>()
  let nowMs = START_MS
  const entryOf = (): Entry => {
    const n = random.integer(o.keys)
    return {
      namespace: EVICTION_NAMES[n % 4] as string,
      key: n % 50 === 0 ? `s商品:${n}` : `s${n}`,
      partition: n % 16_384,
      version: { stamp: nowMs * 4096 + n, writer: `w${n % 7}` },
      kind: random.float() < 0.05 ? 'tombstone' : 'value',
      bytes: new Uint8Array(random.float() < 0.002 ? 9_000 : random.integer(200)).fill(n),
      expiresAtMs: nowMs + random.integer(600_000),
      negative: n % 3 === 0,
      backups: n % 4
    }
  }
  for (let i = 0; i < o.steps; i++) {
    nowMs += random.float() * 10
    const entry = entryOf()
    const name = `${entry.namespace} ${entry.key}`
    const dice = random.float()
    if (dice < 0.6) {
      check(store.put(entry), 'is kept')
      model.set(name, entry)
    } else if (dice < 0.9) {
      const found = store.value(entry.namespace, entry.key, nowMs)
      check(found === undefined || isSame(found, model.get(name)), 'answers with the last')
    } else {
      store.drop(entry.namespace, entry.key)
      model.delete(name)
    }
    if (i % 500 === 0) store.expire(nowMs)
    check(store.bytes <= o.bytesMax, 'keeps to its limit')
    check(store.heldBytes < store.bytes * 1.12 + SLACK_BYTES, 'holds little more than it counts')
  }
  return { store, model, stats, nowMs }
}

describe('a store in use', () => {
  it.each([1, 2, 3])('answers with what was put last, of seed %d', seed => {
    const { store, model, stats } = churned(seed, { bytesMax: 2e6, keys: 20_000, steps: 60_000 })
    const kept = [...model.values()].filter(({ namespace, key }) => store.entry(namespace, key) !== undefined)
    for (const entry of kept) check(isSame(store.entry(entry.namespace, entry.key), entry), 'is unharmed')
    expect(kept.length).toBe(store.size)
    expect(store.bytes).toBe(kept.reduce((sum, entry) => sum + entryBytes(entry), 0))
    expect(stats.evictionsTotal).toBeGreaterThan(1_000)
    expect(stats.expirationsTotal).toBeGreaterThan(100)
  })

  it('gives its memory back when all but a few records have gone, and still knows those', () => {
    const { store, model, nowMs } = churned(4, { bytesMax: 1e9, keys: 100_000, steps: 150_000 })
    expect(store.heldBytes).toBeGreaterThan(5e6)
    const before = store.heldBytes
    for (let partition = 0; partition < 16_384; partition++) if (partition % 20 !== 0) store.dropPartition(partition)
    for (let i = 0; i < 5_000 && store.isBehind; i++) store.expire(nowMs)
    expect(store.isBehind).toBe(false)
    expect(store.heldBytes).toBeLessThan(before / 4)
    const kept = [...model.values()].filter(({ namespace, key }) => store.entry(namespace, key) !== undefined)
    expect(kept.length).toBe(store.size)
    expect(kept.length).toBeGreaterThan(1_000)
    for (const entry of kept) check(isSame(store.entry(entry.namespace, entry.key), entry), 'is unharmed')
    // Every list still holds together: what is left can be walked, counted and taken away.
    const found = [...Array(16_384).keys()].flatMap(partition =>
      EVICTION_NAMES.flatMap(name => [...store.keysIn(name, partition, '', nowMs)])
    )
    expect(new Set(found)).toEqual(
      new Set(
        kept
          .filter(({ kind, negative, expiresAtMs }) => kind === 'value' && !negative && expiresAtMs > nowMs)
          .map(({ key }) => key)
      )
    )
    for (const partition of store.heldPartitions()) store.dropPartition(partition)
    expect([store.size, store.bytes]).toEqual([0, 0])
  })

  it('forgets everything that expires, and nothing before', () => {
    const { store, model, nowMs } = churned(5, { bytesMax: 1e9, keys: 20_000, steps: 30_000 })
    for (let later = nowMs; later < nowMs + 700_000; later += 20_000) {
      for (let i = 0; i < 20; i++) store.expire(later)
      for (const { namespace, key, expiresAtMs } of model.values()) {
        const isKnown = store.entry(namespace, key) !== undefined
        check(isKnown || expiresAtMs <= later, 'stays for its time')
        // A slot of the wheel is an eighth of a second.
        check(!isKnown || expiresAtMs >= later - 256, 'goes after its time')
      }
    }
    expect([store.size, store.bytes]).toEqual([0, 0])
  })
})
