/** Traces of keys, as numbers, and how many of them the policies have when they are asked for. */
import { LRUCache } from 'lru-cache'
import { Stats } from '../../lib/observe/stats.ts'
import type { Random } from '../../lib/ports/random.ts'
import { seededRandom } from '../../lib/sim/random.ts'
import { type Entry, entryBytes } from '../../lib/store/entry.ts'
import type { EvictionName } from '../../lib/store/eviction.ts'
import { Store } from '../../lib/store/store.ts'

export interface Trace {
  readonly name: string
  readonly next: () => number
}

/** Rank r is asked for in proportion to r^-skew. */
export function zipf(keys: number, skew: number, random: Random): () => number {
  const sums = new Float64Array(keys)
  let sum = 0
  for (let rank = 0; rank < keys; rank++) {
    sum += (rank + 1) ** -skew
    sums[rank] = sum
  }
  return () => {
    const at = random.float() * sum
    let [low, high] = [0, keys - 1]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((sums[middle] as number) < at) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** From `from` on, each key once, and from the beginning again after `keys`. */
export function inTurn(keys: number, from = 0): () => number {
  let at = 0
  return () => from + (at++ % keys)
}

/** So many of the one, then so many of the other. */
export function inRuns(one: () => number, ofOne: number, other: () => number, ofOther: number): () => number {
  let at = 0
  return () => (at++ % (ofOne + ofOther) < ofOne ? one() : other())
}

export function traces(keys: number, cached: number): readonly Trace[] {
  const random = (label: string): Random => seededRandom(`traces/${label}`)
  return [
    ...[0.7, 0.9, 1].map(skew => ({ name: `Zipf ${skew.toFixed(1)}`, next: zipf(keys, skew, random(`${skew}`)) })),
    { name: 'scan: every key in turn', next: inTurn(keys) },
    { name: 'loop: 1.5 × the cache', next: inTurn(Math.floor(cached * 1.5)) },
    {
      name: 'Zipf 0.9, a third scan',
      next: inRuns(zipf(keys, 0.9, random('mixed')), cached * 2, inTurn(Number.MAX_SAFE_INTEGER, keys), cached)
    },
    {
      name: 'Zipf 0.9, new keys at half',
      next: shifting(zipf(keys, 0.9, random('shift')), keys)
    }
  ]
}

/** What was popular is not any more: after a quarter of a million requests all ranks belong to other keys. */
function shifting(next: () => number, keys: number): () => number {
  let asked = 0
  return () => next() + (asked++ < 250_000 ? 0 : keys)
}

interface Cache {
  get(key: string): boolean
  put(key: string): void
}

const VALUE = new Uint8Array(100)
const KEY_LENGTH = 10

function entryOf(key: string, ttlMs: number): Entry {
  const version = { stamp: 1, writer: 'bench' }
  const rest = { namespace: 'bench', partition: 0, version, kind: 'value', negative: false, backups: 0 } as const
  return { ...rest, key, bytes: VALUE, expiresAtMs: ttlMs }
}

export function bareCache(entries: number): Cache {
  const cache = new LRUCache<string, Uint8Array>({ max: entries })
  return { get: key => cache.get(key) !== undefined, put: key => void cache.set(key, VALUE) }
}

/** With room for exactly so many entries; each has a TTL by chance, for `ttl` to go by. */
export function storeCache(entries: number, eviction: EvictionName): Cache {
  const random = seededRandom('store')
  const bytesMax = entries * entryBytes(entryOf('k'.repeat(KEY_LENGTH), 0))
  const store = new Store({ bytesMax, stats: new Stats(), random })
  store.limit('bench', { bytesMax, eviction })
  store.expire(1)
  return {
    get: key => store.value('bench', key, 1) !== undefined,
    put: key => void store.put(entryOf(key, 3_600_000 + random.integer(3_600_000)))
  }
}

/** The share of requests that were answered from the cache, the first tenth of them aside: it fills the cache. */
export function hitRatio(cache: Cache, trace: Trace, requests: number): number {
  let hits = 0
  for (let i = -requests / 10; i < requests; i++) {
    const key = `k${trace.next()}`.padEnd(KEY_LENGTH, '-')
    if (!cache.get(key)) cache.put(key)
    else if (i >= 0) hits++
  }
  return hits / requests
}
