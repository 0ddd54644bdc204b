/**
 * A process that holds so many entries of 100 bytes and weighs them: memory by entry, and how long a full collection
 * stands still because of them. Run with --expose-gc. The weight is what came on top of the empty holder.
 */
import { Redis } from 'ioredis'
import { LRUCache } from 'lru-cache'
import { createMesh } from '../../lib/index.ts'
import { median } from './rounds.ts'

export type Holder = 'cachemesh' | 'lru-cache' | 'map' | 'pooled' | 'redis'

export interface WeighPlan {
  readonly holder: Holder
  readonly entries: number
  /** Of Redis. */
  readonly port: number
}

export interface Weight {
  /** Of the garbage collector's own account: heap and what lies beside it. */
  readonly bytesPerEntry: number
  readonly rssPerEntry: number
  readonly collectionMs: number
  readonly setUs: number
}

const VALUE_BYTES = 100
const BATCH = 1_000
const COLLECTIONS = 5

interface Scale {
  set(key: string, value: Buffer): unknown
  size(): number
  held: unknown
}

async function scaleOf(holder: Holder, entries: number): Promise<Scale> {
  if (holder === 'cachemesh') {
    const mesh = await createMesh({ name: 'weigh', listen: false, memory: '4gb', log: false })
    const cache = mesh.cache<Buffer>('bench', { ttl: '1h' })
    return { set: (key, value) => cache.set(key, value), size: () => mesh.stats().records, held: mesh }
  }
  const map = holder === 'lru-cache' ? new LRUCache<string, Buffer>({ max: entries }) : new Map<string, Buffer>()
  return { set: (key, value) => map.set(key, value), size: () => map.size, held: map }
}

async function weigh({ holder, entries }: WeighPlan): Promise<Weight> {
  const scale = await scaleOf(holder, entries)
  const empty = settled()
  const beganMs = performance.now()
  for (let at = 0; at < entries; at += BATCH) {
    const batch = Array.from({ length: Math.min(BATCH, entries - at) }, (_, i) =>
      scale.set(`product:${String(at + i).padStart(8, '0')}`, bufferFor(holder, at + i))
    )
    await Promise.all(batch)
  }
  const setUs = ((performance.now() - beganMs) / entries) * 1_000
  const full = settled()
  if (scale.size() !== entries) throw new Error(`expected ${entries} entries in ${holder}, got ${scale.size()}`)
  const collectionMs = median(Array.from({ length: COLLECTIONS }, () => collect()))
  return {
    bytesPerEntry: (full.bytes - empty.bytes) / entries,
    rssPerEntry: (full.rss - empty.rss) / entries,
    collectionMs,
    setUs
  }
}

/** Buffers out of Node's shared pool lie eight to a slab, and one that is kept keeps the slab. */
function bufferFor(holder: Holder, i: number): Buffer {
  return holder === 'pooled' ? Buffer.allocUnsafe(VALUE_BYTES).fill(i & 255) : Buffer.alloc(VALUE_BYTES, i & 255)
}

async function weighRedis({ entries, port }: WeighPlan): Promise<Weight> {
  const client = new Redis(port, '127.0.0.1')
  await client.flushall()
  const empty = await usedMemory(client)
  const beganMs = performance.now()
  for (let at = 0; at < entries; at += BATCH) {
    const pipeline = client.pipeline()
    for (let i = at; i < Math.min(entries, at + BATCH); i++)
      pipeline.set(`product:${String(i).padStart(8, '0')}`, bufferFor('map', i))
    await pipeline.exec()
  }
  const setUs = ((performance.now() - beganMs) / entries) * 1_000
  const full = await usedMemory(client)
  if ((await client.dbsize()) !== entries) throw new Error(`expected ${entries} entries in Redis`)
  await client.flushall()
  client.disconnect()
  return {
    bytesPerEntry: (full.bytes - empty.bytes) / entries,
    rssPerEntry: (full.rss - empty.rss) / entries,
    collectionMs: Number.NaN,
    setUs
  }
}

async function usedMemory(client: Redis): Promise<{ bytes: number; rss: number }> {
  const info = await client.info('memory')
  const numberOf = (name: string): number => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(info)?.[1])
  return { bytes: numberOf('used_memory'), rss: numberOf('used_memory_rss') }
}

function settled(): { bytes: number; rss: number } {
  for (let i = 0; i < 3; i++) collect()
  const { heapUsed, external, rss } = process.memoryUsage()
  return { bytes: heapUsed + external, rss }
}

function collect(): number {
  const beganMs = performance.now()
  ;(globalThis as { gc?: () => void }).gc?.()
  return performance.now() - beganMs
}

// Nothing of a benchmark that was cut short stays behind.
process.on('disconnect', () => process.exit())
const plan = JSON.parse(process.argv[2] as string) as WeighPlan
process.send?.(await (plan.holder === 'redis' ? weighRedis(plan) : weigh(plan)))
