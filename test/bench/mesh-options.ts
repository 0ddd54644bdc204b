/**
 * The options with which a get is answered by the owner, and by nobody nearer: of those that this release knows. What
 * it does not know yet is asked of the library itself, so that a section begins to measure when there is something.
 */
import { type CacheOptions, createMesh, isMeshError, type Mesh } from '../../lib/index.ts'

export interface Abilities {
  readonly backups: boolean
  readonly near: boolean
  readonly peek: boolean
}

/** What is kept of a value beside its owner, and what a write waits for. */
export interface Copying {
  readonly backups: number
  readonly backupAcks: number
}

export const NO_COPIES: Copying = { backups: 0, backupAcks: 0 }

export async function abilitiesOf(): Promise<Abilities> {
  const mesh = await createMesh({ name: 'abilities', listen: false, log: false })
  try {
    const plain: object = mesh.cache('plain', { ttl: '1h' })
    return { backups: knows(mesh, { backups: 0 }), near: knows(mesh, { near: false }), peek: 'peek' in plain }
  } finally {
    await mesh.leave()
  }
}

export function cacheOptions(
  abilities: Abilities,
  copying: Copying,
  near = false
): CacheOptions<unknown, string> & { load?: undefined } {
  return {
    ttl: '1h',
    maxValueBytes: '4mb',
    ...(abilities.near ? { near: near && { maxEntries: 200_000, ttl: '1h' } } : {}),
    ...(abilities.backups ? copying : {})
  }
}

function knows(mesh: Mesh, option: object): boolean {
  try {
    mesh.cache(`with ${Object.keys(option)}`, { ttl: '1h', ...option })
    return true
  } catch (error) {
    if (isMeshError(error, 'ERR_MESH_OPTION')) return false
    throw error
  }
}
