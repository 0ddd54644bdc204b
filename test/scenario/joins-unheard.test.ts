/**
 * A member has joined, and a reader has no link to it yet. What is the newcomer's now lies where it lay, at the member
 * that was primary until a moment ago: that one has all that any reader has seen, and nobody needs the origin.
 */
import { describe, expect, it } from 'vitest'
import { encodeKey } from '../../lib/codec/keys.ts'
import { namespaceOf } from '../../lib/fill/definition.ts'
import { saltOf } from '../../lib/placement/hash.ts'
import { partitionOf } from '../../lib/placement/partitions.ts'
import { formed, mesh, times, weighing } from './story.ts'

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

describe('a member that has just begun, and is found first by a client that owns nothing', () => {
  it('takes no key for missing that those have of whom the client can tell', async () => {
    let calls = 0
    const load = async (key: string): Promise<string> => {
      calls++
      return `loaded ${key}`
    }
    const t = await formed(4, {
      seed: 8230,
      start: member => member.cache('products', { ttl: '1h', backups: 0, load }),
      options: weighing([1, 1, 1, 0])
    })
    t.crash(2)
    await t.run('15s')
    const keys = times(300, i => `key-${i}`)
    const products = mesh(t, 3).cache<string>('products')
    await t.until(products.setMany(keys.map(key => [key, `set ${key}`] as const)))
    // It reaches them, and their answers are on the way until the heal.
    t.cutOneWay([0, 1], [2])
    t.restart(2)
    const reads: Promise<(string | undefined)[]>[] = []
    for (let turn = 0; turn < 200; turn++) {
      reads.push(Promise.all(keys.slice(turn, turn + 100).map(key => products.get(key))))
      await t.run(0.25)
    }
    t.heal()
    const found = await t.until(Promise.all(reads))
    expect(new Set(found.flat().map(value => value?.split(' ')[0]))).toEqual(new Set(['set']))
    expect(calls).toBe(0)
  })
})
