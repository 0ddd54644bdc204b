/** Two sides of a split have written the same keys: the later value is kept, or what the cache makes of the two. */
import { describe, expect, it } from 'vitest'
import type { CacheOptions } from '../../lib/cache-options.ts'
import type { Key } from '../../lib/codec/keys.ts'
import type { Mesh } from '../../lib/mesh.ts'
import type { Cluster } from '../../lib/testing.ts'
import { formed, mesh, times } from './story.ts'

const KEYS = times(40, i => `key-${i}`)
type Merge = CacheOptions<string[], Key>['merge']

const baskets = (t: Cluster, index: number) => mesh(t, index).cache<string[]>('baskets')

/** What all members read of each key, when both sides have written it and have met again. */
async function split(merge: Merge, write: (t: Cluster) => Promise<unknown>): Promise<Set<string>> {
  const start = (member: Mesh): unknown => member.cache<string[]>('baskets', { ttl: '1h', backups: 1, merge })
  const t = await formed(5, { seed: 8400, start })
  await t.until(baskets(t, 0).setMany(KEYS.map(key => [key, ['bread']] as const)))
  await t.run('2s')
  t.cut([0, 1], [2, 3, 4])
  await t.run('10s')
  await write(t)
  t.heal()
  await t.run('15s')
  const found = await Promise.all([0, 1, 2, 3, 4].map(index => t.until(baskets(t, index).getMany(KEYS))))
  return new Set(found.flat().map(value => JSON.stringify(value)))
}

const both = async (t: Cluster): Promise<void> => {
  await t.until(baskets(t, 0).setMany(KEYS.map(key => [key, ['bread', 'milk']] as const)))
  await t.run('1s')
  await t.until(baskets(t, 3).setMany(KEYS.map(key => [key, ['bread', 'eggs']] as const)))
}

describe('what two sides of a split have written', () => {
  it('is the later one of the two, everywhere', async () => {
    expect(await split('latest', both)).toEqual(new Set(['["bread","eggs"]']))
  })

  it('is what the cache makes of both, if it says so', async () => {
    const union: Merge = (a, b) => [...new Set([...a.value, ...b.value])].sort()
    expect(await split(union, both)).toEqual(new Set(['["bread","eggs","milk"]']))
  })

  it('is asked about only where both have written since', async () => {
    const asked: string[] = []
    const noted: Merge = (a, b) => {
      asked.push(`${a.value} ${b.value}`)
      return a.value
    }
    const one = (t: Cluster) => t.until(baskets(t, 0).setMany(KEYS.map(key => [key, ['milk']] as const)))
    expect(await split(noted, one)).toEqual(new Set(['["milk"]']))
    expect(asked).toEqual([])
  })

  it('is the later one where the merge throws', async () => {
    const broken: Merge = () => {
      throw new Error('no')
    }
    expect(await split(broken, both)).toEqual(new Set(['["bread","eggs"]']))
  })
})
