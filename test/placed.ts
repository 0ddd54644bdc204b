/** Who decides for a key: placement is a function of the view, so a test can know it before anything is asked. */
import { encodeKey, type Key } from '../lib/codec/keys.ts'
import { namespaceOf } from '../lib/fill/definition.ts'
import type { Member } from '../lib/member.ts'
import { saltOf } from '../lib/placement/hash.ts'
import { partitionOf } from '../lib/placement/partitions.ts'
import { buildTable } from '../lib/placement/table.ts'

/** The ids of the owners of many keys of one cache, in their order, with one table for all. */
export function placed(mesh: string, members: readonly Member[], cache: string, keys: readonly Key[]): string[] {
  return placedEncoded(
    mesh,
    members,
    cache,
    keys.map(key => encodeKey(key, cache))
  )
}

export function placedEncoded(
  mesh: string,
  members: readonly Member[],
  cache: string,
  encodedKeys: readonly string[]
): string[] {
  const salt = saltOf(mesh)
  const table = buildTable(members, salt, 1)
  const place = saltOf(namespaceOf(cache, 1), salt)
  return encodedKeys.map(key => table.primary(partitionOf(key, place)) as string)
}
