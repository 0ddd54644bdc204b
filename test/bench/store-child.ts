/**
 * One measurement of `store.ts`, in a process of its own so that one heap does not tell on another. Run by it with
 * `--expose-gc`; answers with a line of JSON.
 */
import { LRUCache } from 'lru-cache'
import { Stats } from '../../lib/observe/stats.ts'
import { seededRandom } from '../../lib/sim/random.ts'
import type { EvictionName } from '../../lib/store/eviction.ts'
import { Store } from '../../lib/store/store.ts'

const VALUE_BYTES = 100
const START_MS = 215_000_000_000
const NAME = '["products","1"]'
const PARTITIONS = 16_384

interface Subject {
  put(key: string, i: number): void
  get(key: string): Uint8Array | undefined
}

const gc = (globalThis as unknown as { gc: () => void }).gc
const value = Buffer.alloc(VALUE_BYTES, 7)
const keyOf = (i: number): string => `sproduct:${i}`

function storeOf(eviction: EvictionName): Subject {
  const store = new Store({ bytesMax: 2 ** 40, stats: new Stats(), random: seededRandom(1) })
  const version = { stamp: START_MS * 4096, writer: 'member' }
  store.limit(NAME, { bytesMax: Number.POSITIVE_INFINITY, eviction })
  store.expire(START_MS)
  return {
    put: (key, i) => {
      const expiresAtMs = START_MS + 60_000 + ((i * 977) % 3_600_000)
      const partition = (i * 7919) & (PARTITIONS - 1)
      // Written out: making it by a spread would take longer than the put.
      store.put({
        namespace: NAME,
        key,
        partition,
        version,
        kind: 'value',
        bytes: value,
        expiresAtMs,
        negative: false,
        backups: 0
      })
    },
    get: key => store.value(NAME, key, START_MS)?.bytes
  }
}

/** A Buffer of its own for each entry, as one would have it who keeps what came from a socket. */
function bareCache(): Subject {
  const cache = new LRUCache<string, Buffer>({ maxSize: 2 ** 40, sizeCalculation: bytes => bytes.length })
  return { put: key => void cache.set(key, Buffer.from(value)), get: key => cache.get(key) }
}

function subjectOf(name: string): Subject {
  return name === 'lru-cache' ? bareCache() : storeOf(name as EvictionName)
}

/** What a million entries cost, and what they do to the collector. */
function memory(name: string, entries: number): object {
  const warm = subjectOf(name)
  for (let i = 0; i < 20_000; i++) warm.put(keyOf(i), i)
  const subject = subjectOf(name)
  gc()
  const before = process.memoryUsage()
  // As processor time: on a machine that does other things too, the longest wait is a wait for the machine.
  let longestPutMs = 0
  for (let i = 0, last = processorMs(); i < entries; i++) {
    subject.put(keyOf(i), i)
    const now = processorMs()
    longestPutMs = Math.max(longestPutMs, now - last)
    last = now
  }
  const fullGcMs = Math.min(...Array.from({ length: 5 }, () => millisecondsOf(gc)))
  const after = process.memoryUsage()
  const payload = VALUE_BYTES + keyOf(entries / 2).length
  const grown = (part: (usage: NodeJS.MemoryUsage) => number): number =>
    (part(after) - part(before)) / entries - payload
  return {
    overheadRssBytes: grown(({ rss }) => rss),
    overheadHeapBytes: grown(({ heapUsed, external }) => heapUsed + external),
    fullGcMs,
    longestPutMs,
    kept: subject.get(keyOf(0)) !== undefined
  }
}

function processorMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

function millisecondsOf(work: () => void): number {
  const began = performance.now()
  work()
  return performance.now() - began
}

/** Nanoseconds of processor time for each call, ours and theirs in turns; the quickest round counts. */
function rates(entries: number): object {
  const ours = storeOf('lru')
  const bare = bareCache()
  const keys = Array.from({ length: entries }, (_, i) => keyOf((i * 7919 * 104_729) % entries))
  const hot = keys.slice(0, 1_000)
  const best: Record<string, number> = {}
  const measure = (name: string, times: number, work: (i: number) => void): void => {
    const began = processorMs()
    for (let i = 0; i < times; i++) work(i)
    best[name] = Math.min(best[name] ?? Number.POSITIVE_INFINITY, ((processorMs() - began) * 1e6) / times)
  }
  for (let round = 0; round < 3; round++) {
    const put = round === 0 ? 'put new' : 'put again'
    measure(`${put} ours`, entries, i => ours.put(keys[i] as string, i))
    measure(`${put} lru-cache`, entries, i => bare.put(keys[i] as string, i))
    measure('get hot ours', entries, i => ours.get(hot[i % 1_000] as string))
    measure('get hot lru-cache', entries, i => bare.get(hot[i % 1_000] as string))
    measure('get any ours', entries, i => ours.get(keys[i] as string))
    measure('get any lru-cache', entries, i => bare.get(keys[i] as string))
  }
  return best
}

const [what, name, entries] = process.argv.slice(2) as [string, string, string]
const result = what === 'memory' ? memory(name, Number(entries)) : rates(Number(entries))
process.stdout.write(`${JSON.stringify(result)}\n`)
