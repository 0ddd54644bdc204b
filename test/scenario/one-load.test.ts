import { describe, expect, it } from 'vitest'
import type { Cluster } from '../../lib/testing.ts'
import { formed, keyOf, mesh, times, watch } from './story.ts'

/** Three members whose loader takes 50 ms and counts its calls. */
async function loading(seed: number, size = 3): Promise<{ t: Cluster; calls: () => number }> {
  let calls = 0
  const t: Cluster = await formed(size, {
    seed,
    start: member =>
      member.cache('products', {
        ttl: '1h',
        load: async (id: string) => {
          calls++
          await t.sleep('50ms')
          return `row ${id}`
        }
      })
  })
  return { t, calls: () => calls }
}

describe('one load for everybody', () => {
  it('serves thousands of callers on all members with one call of the loader', async () => {
    const { t, calls } = await loading(1)
    const reads = t.meshes.flatMap(member => times(1_000, () => member.cache<string>('products').get('cold')))
    expect(new Set(await t.until(Promise.all(reads)))).toEqual(new Set(['row cold']))
    expect(calls()).toBe(1)
  })

  it('joins callers that come while the load runs, whoever owns the key', async () => {
    const { t, calls } = await loading(2)
    for (const owner of [0, 1, 2]) {
      const key = keyOf(t, owner)
      const reads = times(60, i =>
        t.sleep(i).then(() =>
          mesh(t, i % 3)
            .cache('products')
            .get(key)
        )
      )
      await t.until(Promise.all(reads))
    }
    expect(calls()).toBe(3)
  })

  it('serves thousands of getOrSet callers on all members with one call, made by a caller', async () => {
    const t = await formed(3, { seed: 3, start: member => member.cache('plain', { ttl: '1h' }) })
    const ran: number[] = []
    const reads = [0, 1, 2].flatMap(index =>
      times(1_000, () =>
        mesh(t, index)
          .cache<string>('plain')
          .getOrSet('cold', async () => {
            ran.push(index)
            await t.sleep('50ms')
            return 'loaded'
          })
      )
    )
    expect(new Set(await t.until(Promise.all(reads)))).toEqual(new Set(['loaded']))
    expect(ran).toHaveLength(1)
  })

  it('lets get and getOrSet share one load', async () => {
    const { t, calls } = await loading(4)
    const key = keyOf(t, 0)
    const own = mesh(t, 1)
      .cache<string>('products')
      .getOrSet(key, async () => {
        await t.sleep('50ms')
        return 'of the caller'
      })
    await t.run('10ms')
    const registered = mesh(t, 2).cache<string>('products').get(key)
    expect(await t.until(Promise.all([own, registered]))).toEqual(['of the caller', 'of the caller'])
    expect(calls()).toBe(0)
  })

  it('keeps what was loaded for all members', async () => {
    const { t, calls } = await loading(5)
    await t.until(mesh(t, 1).cache('products').get('42'))
    await t.run('1s')
    const again = t.meshes.map(member => member.cache('products').get('42'))
    expect(await t.until(Promise.all(again))).toEqual(['row 42', 'row 42', 'row 42'])
    expect(calls()).toBe(1)
  })

  it('serves a member of one alone in the same way', async () => {
    const { t, calls } = await loading(6, 1)
    await t.until(Promise.all(times(500, () => mesh(t, 0).cache('products').get('42'))))
    expect(calls()).toBe(1)
  })

  it('loads at the owner and never sees the key of another caller', async () => {
    const { t } = await loading(7)
    const keys = times(50, i => `k${i}`)
    expect(await t.until(mesh(t, 2).cache('products').getMany(keys))).toEqual(keys.map(key => `row ${key}`))
  })

  it('loads at the caller when the owner has not declared the cache, and then serves all from the owner', async () => {
    const ran: number[] = []
    const t = await formed(3, {
      seed: 8,
      start: (member, index) => {
        if (index === 0) return
        member.cache('products', {
          ttl: '1h',
          load: (id: string) => {
            ran.push(index)
            return `row ${id}`
          }
        })
      }
    })
    const key = keyOf(t, 0)
    expect(await t.until(mesh(t, 1).cache('products').get(key))).toBe(`row ${key}`)
    await t.run('1s')
    expect(await t.until(mesh(t, 2).cache('products').get(key))).toBe(`row ${key}`)
    expect(await t.until(mesh(t, 0).cache('products').get(key))).toBe(`row ${key}`)
    expect(ran).toEqual([1])
    expect(mesh(t, 0).stats().records).toBe(1)
  })

  it('settles every caller when the load runs under a lease and hundreds wait at all members', async () => {
    const t = await formed(4, { seed: 9, start: member => member.cache('plain', { ttl: '1h' }) })
    const key = keyOf(t, 3, { cache: 'plain' })
    const reads = times(400, i =>
      t.sleep(i / 10).then(() =>
        mesh(t, i % 4)
          .cache<number>('plain')
          .getOrSet(key, () => t.sleep('2s').then(() => 7))
      )
    )
    const watched = reads.map(read => watch(t, read))
    await t.run('3s')
    expect(watched.map(({ value }) => value)).toEqual(times(400, () => 7))
  })
})
