/**
 * What stories of copies share: who holds a key by rank, streams that carry nothing, and records put straight into the
 * stores, so that it is known who has what.
 */
import { afterEach, beforeEach, vi } from 'vitest'
import { encodeKey, type Key } from '../../lib/codec/keys.ts'
import { namespaceOf } from '../../lib/fill/definition.ts'
import { saltOf } from '../../lib/placement/hash.ts'
import { partitionOf } from '../../lib/placement/partitions.ts'
import { buildTable } from '../../lib/placement/table.ts'
import { Stream } from '../../lib/replication/stream.ts'
import type { Entry } from '../../lib/store/entry.ts'
import { Store } from '../../lib/store/store.ts'
import type { Cluster } from '../../lib/testing.ts'
import { keyOf, mesh, times } from './story.ts'

const CACHE = 'products'
const NAMESPACE = namespaceOf(CACHE, 1)

/**
 * In each story of this file backups get nothing from their primaries and have what the story gives them; whoever waits
 * for them is told that they have it.
 */
export function withoutStreams(): void {
  beforeEach(() => {
    vi.spyOn(Stream.prototype, 'send').mockImplementation(function (this: Stream, item) {
      item.onEnd?.('held', this.peer)
    })
    vi.spyOn(Stream.prototype, 'compare').mockImplementation(() => {})
  })
  afterEach(() => {
    vi.restoreAllMocks()
  })
}

/** Who holds a key, by rank, as member 0 sees it. */
export function holdersIn(t: Cluster): (key: Key) => number[] {
  const salt = saltOf('sim')
  const [place, table] = [saltOf(NAMESPACE, salt), buildTable(mesh(t, 0).members, salt, 4)]
  return key => {
    const ids = table.owners(partitionOf(encodeKey(key, CACHE), place))
    return ids.map(id => t.meshes.findIndex(member => member.id === id))
  }
}

/** Keys that these members hold, in this order. */
export function keysHeldBy(t: Cluster, count: number, ...ranks: readonly number[]): string[] {
  const holders = holdersIn(t)
  const isHeld = (key: string): boolean => ranks.every((member, rank) => holders(key)[rank] === member)
  const found = times(5_000, i => `held-${i}`)
    .filter(isHeld)
    .slice(0, count)
  if (found.length < count) throw new Error(`only ${found.length} keys are held by ${ranks}`)
  return found
}

/** Everybody loses the link to a member and nobody can dial it again: it is gone, and not yet taken for dead. */
export function loseLinksTo(t: Cluster, gone: number): void {
  const others = t.meshes.map((_, index) => index).filter(index => index !== gone)
  t.cut([gone], others)
  for (const index of others) t.disconnect(index, gone)
}

/** The stores of the members, found by which of them takes a key that the member owns. */
export async function storesOf(t: Cluster): Promise<Store[]> {
  const put = vi.spyOn(Store.prototype, 'put')
  const stores: Store[] = []
  for (const [index, member] of t.meshes.entries()) {
    const key = keyOf(t, index)
    const before = put.mock.calls.length
    await t.until(member.cache<number>(CACHE).set(key, 0))
    const at = put.mock.calls.findIndex(([entry], call) => call >= before && entry.key === encodeKey(key, CACHE))
    stores.push(put.mock.contexts[at] as Store)
  }
  put.mockRestore()
  return stores
}

/** As its primary has it now, or changed a little. */
export function copy(from: Store, to: Store, key: Key, changed: Partial<Entry> = {}): void {
  const entry = from.entry(NAMESPACE, encodeKey(key, CACHE))
  if (entry === undefined) throw new Error(`there is no ${String(key)} to copy`)
  to.put({ ...entry, ...changed })
}
