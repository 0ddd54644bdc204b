/**
 * What lies in the members of a simulated mesh, for checkers that judge it from within: who holds which record, and how
 * much of it all. Placement is reckoned anew here, from the members alone, so that a mesh that places wrongly is seen.
 */
import { encodeKey } from '../../lib/codec/keys.ts'
import { counterNamespaceOf, namespaceOf } from '../../lib/fill/definition.ts'
import type { Member } from '../../lib/member.ts'
import type { Mesh } from '../../lib/mesh.ts'
import { saltOf } from '../../lib/placement/hash.ts'
import { partitionOf } from '../../lib/placement/partitions.ts'
import { buildTable, type Table } from '../../lib/placement/table.ts'
import { BACKUPS_MAX } from '../../lib/rpc/words.ts'
import type { Entry } from '../../lib/store/entry.ts'
import type { Cluster } from '../../lib/testing.ts'
import type { CacheName, ClientCall, Holdings, Insides } from './checkers/checker.ts'

const MESH = 'sim'
/** What is about to be over may be over at one member and not at the other. */
const NEARLY_OVER_MS = 1_000
/** Counters of what is moved outside the course of changes. */
const MOVED = ['recordsPulledTotal', 'recordsPushedTotal', 'repairsTotal'] as const

export function insidesOf(cluster: Cluster, member: number): Insides {
  const { stats } = cluster.partsOf(member)
  const mesh = cluster.meshes[member] as Mesh
  const counters = stats as unknown as Record<string, number | undefined>
  return {
    member,
    id: mesh.id,
    moved: MOVED.reduce((sum, name) => sum + (counters[name] ?? 0), 0)
  }
}

/** Which member decides for a key, as the one that is asked sees it. */
export function ownerOf(cluster: Cluster, call: Pick<ClientCall, 'cache' | 'key' | 'member'>): number | undefined {
  const { ownership } = cluster.partsOf(call.member)
  const id = ownership.ownerOf(namespaceFor(call.cache), encodeKey(call.key, call.cache))
  const index = cluster.meshes.findIndex(mesh => mesh.id === id)
  return index === -1 ? undefined : index
}

/** Of each key that anybody holds, who does. */
export function holdingsOf(
  cluster: Cluster,
  live: readonly number[],
  keys: Readonly<Record<string, readonly string[]>>
): Holdings[] {
  const members = live.map(member => (cluster.meshes[member] as Mesh).members.find(({ self }) => self) as Member)
  const table = buildTable(members, saltOf(MESH), BACKUPS_MAX + 1)
  return Object.entries(keys).flatMap(([name, ofCache]) =>
    ofCache.map(key => heldOf(cluster, live, table, name as CacheName, key)).filter(({ held }) => held.size > 0)
  )
}

function heldOf(cluster: Cluster, live: readonly number[], table: Table, cache: CacheName, key: string): Holdings {
  const namespace = namespaceFor(cache)
  const encoded = encodeKey(key, cache)
  const held = new Map<string, Entry>()
  // By one clock for all, or what is over for the one is there for the other.
  const latestMs = Math.max(...live.map(member => cluster.partsOf(member).meshClock.now()))
  for (const member of live) {
    const entry = cluster.partsOf(member).store.entry(namespace, encoded)
    if (entry !== undefined && entry.expiresAtMs > latestMs + NEARLY_OVER_MS)
      held.set((cluster.meshes[member] as Mesh).id, entry)
  }
  const partition = partitionOf(encoded, saltOf(namespace, saltOf(MESH)))
  return { cache, key, ranked: table.owners(partition), held }
}

function namespaceFor(cache: CacheName): string {
  return cache === 'hits' ? counterNamespaceOf(cache) : namespaceOf(cache, 1)
}
