/**
 * A member has joined, and a reader has no link to it yet. What is the newcomer's now lies where it lay, at the member
 * that was primary until a moment ago: that one has all that any reader has seen, and nobody needs the origin.
 */
import { describe, expect, it } from 'vitest'
import { encodeKey } from '../../lib/codec/keys.ts'
import { namespaceOf } from '../../lib/fill/definition.ts'
import { saltOf } from '../../lib/placement/hash.ts'
import { partitionOf } from '../../lib/placement/partitions.ts'
import { formed, mesh, times } from './story.ts'

const PLACE = saltOf(namespaceOf('products', 1), saltOf('sim'))

/** Two keys of one partition each: what has been read of the second makes a copy of the first look old. */
function pairs(): [string, string][] {
  const firsts = new Map<number, string>()
  const found: [string, string][] = []
  for (const key of times(4_000, i => `key-${i}`)) {
    const partition = partitionOf(encodeKey(key, 'products'), PLACE)
    const first = firsts.get(partition)
    if (first === undefined) firsts.set(partition, key)
    else found.push([first, key])
  }
  return found
}

describe('a member that joins, and is not heard by all', () => {
  it('costs no call of the origin: the member before it has what it had', async () => {
    let calls = 0
    const load = async (key: string): Promise<string> => {
      calls++
      return `loaded ${key}`
    }
    const start = (member: ReturnType<typeof mesh>): unknown =>
      member.cache('products', { ttl: '1h', backups: 1, load })
    const t = await formed(4, { seed: 8210, start })
    t.crash(3)
    await t.run('15s')
    const [older, newer] = [pairs().map(([key]) => key), pairs().map(([, key]) => key)]
    const products = mesh(t, 0).cache<string>('products')
    for (const keys of [older, newer]) await t.until(products.setMany(keys.map(key => [key, `set ${key}`] as const)))
    await t.until(products.getMany([...older, ...newer]))
    await t.run('2s')
    // Others tell of it.
    t.cut([0], [3])
    t.restart(3)
    while (mesh(t, 0).members.length < 4) await t.run(20)
    const found = await t.until(products.getMany(older))
    expect(found).toEqual(older.map(key => `set ${key}`))
    expect(calls).toBe(0)
  })
})
