/** What the stories share: a mesh that has formed, and keys whose owner is known before anything is asked. */
import { isMeshError } from '../../lib/base/errors.ts'
import type { Key } from '../../lib/codec/keys.ts'
import type { Mesh } from '../../lib/mesh.ts'
import { COORDINATOR_KEY } from '../../lib/serving/budgets.ts'
import { type Cluster, type ClusterOptions, cluster } from '../../lib/testing.ts'
import { placed, placedEncoded } from '../placed.ts'

/** Members that have found each other and agree. */
export async function formed(size: number, options: ClusterOptions): Promise<Cluster> {
  const t = cluster(size, options)
  await t.run('3s')
  return t
}

export function mesh(t: Cluster, index: number): Mesh {
  return t.meshes[index] as Mesh
}

/** Who decides for a key, by what `by` sees: placement is a function of the view, so a story can know it beforehand. */
export function ownerOf(t: Cluster, key: Key, o: { cache?: string; by?: number } = {}): number {
  return ownersOf(t, [key], o)[0] as number
}

/** Of many keys, with one table for all. */
export function ownersOf(t: Cluster, keys: readonly Key[], o: { cache?: string; by?: number } = {}): number[] {
  const { cache = 'products', by = 0 } = o
  const indexOf = new Map(t.meshes.map(({ id }, index) => [id, index]))
  return placed('sim', mesh(t, by).members, cache, keys).map(id => indexOf.get(id) as number)
}

/** Who hands out the permits to call the origin of a cache. */
export function coordinatorOf(t: Cluster, cache: string, by = 0): number {
  const [id] = placedEncoded('sim', mesh(t, by).members, cache, [COORDINATOR_KEY])
  return t.meshes.findIndex(member => member.id === id)
}

const CANDIDATES = times(1_000, i => `key-${i}`)

/** A key that member `index` decides for. */
export function keyOf(t: Cluster, index: number, o: { cache?: string; by?: number } = {}): string {
  const place = ownersOf(t, CANDIDATES, o).indexOf(index)
  if (place === -1) throw new Error(`member ${index} owns nothing`)
  return CANDIDATES[place] as string
}

/** What a promise came to, without an unhandled rejection while nobody looks. */
export interface Watched<T> {
  readonly promise: Promise<T>
  state: 'pending' | 'fulfilled' | 'rejected'
  value: T | undefined
  error: unknown
  /** Virtual time of the end. */
  atMs: number
}

export function watch<T>(t: Cluster, promise: Promise<T>): Watched<T> {
  const watched: Watched<T> = { promise, state: 'pending', value: undefined, error: undefined, atMs: Number.NaN }
  promise.then(
    value => Object.assign(watched, { state: 'fulfilled', value, atMs: t.now }),
    error => Object.assign(watched, { state: 'rejected', error, atMs: t.now })
  )
  return watched
}

export async function errorOf(t: Cluster, promise: Promise<unknown>): Promise<Error & { code?: string }> {
  const watched = watch(t, promise)
  // What it failed with is in `watched`.
  await t.until(promise.catch(() => {}))
  if (watched.state !== 'rejected') throw new Error(`it did not fail but gave ${String(watched.value)}`)
  return watched.error as Error & { code?: string }
}

/** Some calls fail under faults, and no story asks which; what is not an error of the mesh is a bug of it. */
export function orOurError<T>(call: Promise<T>): Promise<T | undefined> {
  return call.catch((error: unknown) => {
    if (isMeshError(error)) return undefined
    throw error
  })
}

export function times<T>(count: number, make: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i))
}

/** Each member's weight. The simulator gives all the same options: each asks for its own as it starts. */
export function weighing(weights: readonly number[]): { weight: number } {
  let next = 0
  return Object.defineProperty({} as { weight: number }, 'weight', {
    enumerable: true,
    get: () => weights[next++ % weights.length] as number
  })
}
