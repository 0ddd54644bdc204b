/** The caches of a simulated run and what they are declared with. */
import type { Counter } from '../../lib/counter.ts'
import type { LoadContext } from '../../lib/fill/definition.ts'
import type { Mesh } from '../../lib/mesh.ts'
import type { MeshOptions } from '../../lib/options.ts'
import type { Random } from '../../lib/ports/random.ts'
import type { CacheName } from './checkers/checker.ts'
import type { Knobs } from './knobs.ts'
import { SHORT_TOMBSTONE_MS } from './trouble.ts'

export const KEYS = ['k0', 'k1', 'k2', 'k3', 'k4', 'k5']
const BULK_KEYS = 40
const BULK_UNITS_MAX = 200
const LARGE_UNITS_MAX = 12_000
const MEMORY_BYTES_MIN = 40_000
const MEMORY_BYTES_RANGE = 160_000

/** How long a near copy answers for an owner that cannot be asked. */
export const NEAR_MS = 4_000

/** What all values of a cache with tags have, beside one of their own. */
export const TAG_OF_ALL = 'rows'

export function tagOf(key: string): string {
  return `row of ${key}`
}

export type BulkDice = string

export const bulkKeys = Array.from({ length: BULK_KEYS }, (_, i) => `b${i}`)

export function bulkKey(dice: Random): string {
  return bulkKeys[dice.integer(BULK_KEYS)] as string
}

export function bulkValue(dice: Random, { pressure }: Knobs): string {
  return 'x'.repeat(1 + dice.integer(pressure ? LARGE_UNITS_MAX : BULK_UNITS_MAX))
}

/** The caches whose reads are judged at the end. */
export const READ_CACHES = ['loaded', 'plain', 'safe', 'copied', 'near'] as const satisfies CacheName[]

export function meshOptions({ pressure, longSplits }: Knobs, dice: Random): Partial<MeshOptions> {
  return {
    ...(pressure && { memory: MEMORY_BYTES_MIN + dice.integer(MEMORY_BYTES_RANGE) }),
    ...(longSplits && { tombstoneTtl: SHORT_TOMBSTONE_MS })
  }
}

export function declareAll(
  mesh: Mesh,
  knobs: Knobs,
  load: (key: string, signal: AbortSignal) => Promise<number>
): void {
  const ttl = '1h'
  const copying = { backups: knobs.backups }
  const waiting = { backups: Math.max(1, knobs.backups), backupAcks: knobs.acks }
  const tags = knobs.tags ? { tags: (_: number, key: string) => [tagOf(key), TAG_OF_ALL] } : {}
  const loading = { loadTimeout: '10s', load: (key: string, { signal }: LoadContext) => load(key, signal) } as const
  mesh.cache<number, string>('loaded', { ttl, ...loading, ...tags, ...copying })
  mesh.cache<number>('plain', { ttl, ...copying })
  mesh.cache<number>('guarded', { ttl, ...copying })
  counterOf(mesh, knobs)
  mesh.cache<number>('safe', { ttl, ...waiting })
  mesh.cache<number>('copied', { ttl, ...copying })
  mesh.cache<number>('near', { ttl, near: { ttl: NEAR_MS, maxEntries: KEYS.length - 1 }, ...tags, ...copying })
  mesh.cache<string>('bulk', { ttl, ...copying })
}

export function counterOf(mesh: Mesh, { backups }: Knobs): Counter {
  return mesh.counter('hits', { ttl: '1h', backups })
}
