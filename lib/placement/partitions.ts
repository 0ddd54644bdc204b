/**
 * Which partition a key belongs to.
 *
 * Keys are placed in bulk: a partition is the unit that has owners, moves and is compared. There are many of them
 * because rendezvous placement is only as even as its dice: with 16,384 the fullest of 32 equal members holds about a
 * tenth more than its share, with 1,024 a third more. Members that disagree on the number cannot be one mesh.
 */
import { hash32, type Salt } from './hash.ts'

export const PARTITIONS = 16_384

/**
 * The salt is that of the namespace: `saltOf(namespace, meshSalt)`, made once per cache. So one key in two caches lies
 * in two places, and the path of a lookup hashes the key and nothing else.
 */
export function partitionOf(encodedKey: string, salt: Salt): number {
  return hash32(encodedKey, salt) & (PARTITIONS - 1)
}
