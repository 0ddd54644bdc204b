import { describe, expect, it } from 'vitest'
import type { Mesh } from '../../lib/mesh.ts'
import type { Cluster } from '../../lib/testing.ts'
import { copy, keysHeldBy, storesOf, withoutStreams } from './copied.ts'
import { formed, mesh, times, watch } from './story.ts'

withoutStreams()

const declare = (member: Mesh): unknown => member.cache('products', { ttl: '1h', backups: 1, near: false })

/** Member 2 reads keys that member 0 owns and member 1 has copies of, and knows how fast 0 usually is. */
async function copied(seed: number, count: number, holders = [1], start: (member: Mesh) => unknown = declare) {
  const t: Cluster = await formed(3, { seed, start })
  const stores = await storesOf(t)
  const keys = keysHeldBy(t, count, 0, 1)
  const cache = mesh(t, 2).cache<string>('products')
  await t.until(
    mesh(t, 0)
      .cache<string>('products')
      .setMany(keys.map(key => [key, 'v1'] as const))
  )
  for (const holder of holders) for (const key of keys) copy(stores[0] as never, stores[holder] as never, key)
  for (const _ of times(100, i => i)) await t.until(cache.get(keys[0] as string))
  return { t, stores, keys, cache }
}

describe('a read that is slow', () => {
  it('is asked of a backup as well, and the first value is the answer', async () => {
    const { t, keys, cache } = await copied(401, 1)
    t.pause(0)
    const beganMs = t.now
    const read = watch(t, cache.getEntry(keys[0] as string))
    await t.run(30)
    expect(read.value).toMatchObject({ value: 'v1', from: 'backup' })
    // Not at once: the owner is usually fast enough.
    expect(read.atMs - beganMs).toBeGreaterThanOrEqual(4)
    expect(mesh(t, 2).stats()).toMatchObject({
      readsHedgedTotal: 1,
      hedgesWonTotal: 1,
      readsBackupTotal: 1,
      failoversTotal: 0
    })
    t.resume(0)
    await t.run('1s')
    expect(mesh(t, 2).stats()).toMatchObject({ readsOwnerTotal: 100, readsBackupTotal: 1 })
  })

  it('waits on where the backup has nothing, and gets what its owner has', async () => {
    const { t, keys, cache } = await copied(402, 1, [])
    t.pause(0)
    const read = watch(t, cache.getEntry(keys[0] as string))
    await t.run('400ms')
    expect([read.state, mesh(t, 2).stats().readsHedgedTotal]).toEqual(['pending', 1])
    t.resume(0)
    await t.run('100ms')
    expect(read.value).toMatchObject({ value: 'v1', from: 'owner' })
    expect(mesh(t, 2).stats().hedgesWonTotal).toBe(0)
  })

  it('goes to the backup once more when its owner has not answered in time', async () => {
    const { t, stores, keys, cache } = await copied(405, 1, [])
    t.pause(0)
    const beganMs = t.now
    const read = watch(t, cache.getEntry(keys[0] as string))
    await t.run('1s')
    copy(stores[0] as never, stores[1] as never, keys[0] as string)
    await t.run('2s')
    expect(read.value).toMatchObject({ value: 'v1', from: 'backup' })
    expect(read.atMs - beganMs).toBeGreaterThanOrEqual(2_000)
  })

  it('is not asked twice where a load is known to run', async () => {
    let t: Cluster | undefined
    const start = (member: Mesh): unknown =>
      member.cache('products', {
        ttl: '1h',
        backups: 1,
        load: () => (t as Cluster).sleep('300ms').then(() => 'loaded')
      })
    const story = await copied(403, 1, [1], start)
    t = story.t
    await t.until(story.cache.delete(story.keys[0] as string))
    expect(await t.until(story.cache.getEntry(story.keys[0] as string))).toMatchObject({ from: 'load' })
    expect(mesh(t, 2).stats().readsHedgedTotal).toBe(0)
  })

  it('is asked twice for a tenth of the reads and a hundred, and for all once nothing at all is heard', async () => {
    const { t, keys } = await copied(404, 300)
    t.pause(0)
    const reads = keys.map(key => watch(t, mesh(t, 2).cache<string>('products').get(key)))
    await t.run(30)
    // 100 reads came before, and these 300.
    expect(mesh(t, 2).stats().readsHedgedTotal).toBe(100)
    expect(reads.filter(({ value }) => value === 'v1')).toHaveLength(100)
    await t.run(70)
    expect(reads.filter(({ value }) => value === 'v1')).toHaveLength(300)
    expect(Math.max(...reads.map(({ atMs }) => atMs)) - Math.min(...reads.map(({ atMs }) => atMs))).toBeLessThan(100)
  })
})

describe('a read of many keys', () => {
  it('has those of an owner that is slow from their copies', async () => {
    const { t, keys, cache } = await copied(411, 50)
    t.pause(0)
    const many = watch(t, cache.getMany(keys))
    await t.run(60)
    expect(many.value).toEqual(keys.map(() => 'v1'))
    expect(mesh(t, 2).stats()).toMatchObject({ readsHedgedTotal: 50, hedgesWonTotal: 50 })
  })

  it('asks 64 at a time, and no more than may be asked twice until nothing at all is heard', async () => {
    const { t, keys, cache } = await copied(412, 300)
    const before = mesh(t, 1).stats().requestsServedTotal
    t.pause(0)
    const many = watch(t, cache.getMany(keys))
    await t.run(17)
    expect(mesh(t, 1).stats().requestsServedTotal - before).toBeLessThanOrEqual(64)
    await t.run(20)
    expect(mesh(t, 2).stats().readsHedgedTotal).toBe(100)
    await t.run(150)
    expect(many.value).toEqual(keys.map(() => 'v1'))
  })

  it('does not fail for those that a backup has, although their owner does not answer in time', async () => {
    const { t, stores, keys, cache } = await copied(413, 3, [])
    t.pause(0)
    const many = watch(t, cache.getMany(keys))
    await t.run('1s')
    for (const key of keys) copy(stores[0] as never, stores[1] as never, key)
    await t.run('3s')
    expect(many.value ?? many.error).toEqual(['v1', 'v1', 'v1'])
  })
})
