import { describe, expect, it } from 'vitest'
import type { Mesh } from '../../lib/mesh.ts'
import type { Cluster, ClusterOptions } from '../../lib/testing.ts'
import { copy, keysHeldBy, loseLinksTo, storesOf, withoutStreams } from './copied.ts'
import { errorOf, formed, mesh, times, watch } from './story.ts'

withoutStreams()

const declare = (member: Mesh): unknown => member.cache('products', { ttl: '1h', backups: 2 })

/** Five members; `key` is held by 0, 1 and 2, and has a value that these of them have. */
async function copied(seed: number, holders: readonly number[], start: ClusterOptions['start'] = declare) {
  const t: Cluster = await formed(5, { seed, start })
  const stores = await storesOf(t)
  const [key] = keysHeldBy(t, 1, 0, 1, 2) as [string]
  await t.until(mesh(t, 3).cache<string>('products').set(key, 'v1'))
  for (const index of holders) copy(stores[0] as never, stores[index] as never, key)
  const get = (by: number) => watch(t, mesh(t, by).cache<string>('products').getEntry(key))
  return { t, stores, key, get }
}

describe('a read whose owner cannot be reached', () => {
  it('is answered by the next rank at once, and says so', async () => {
    const { t, get } = await copied(301, [1, 2])
    loseLinksTo(t, 0)
    await t.run(5)
    const reads = [3, 4].map(get)
    await t.run(5)
    expect(reads.map(({ value }) => [value?.value, value?.from])).toEqual([
      ['v1', 'backup'],
      ['v1', 'backup']
    ])
    expect(mesh(t, 3).stats()).toMatchObject({ readsBackupTotal: 1, failoversTotal: 1 })
  })

  it('is answered by the rank after that, if the next has no copy yet', async () => {
    const { t, get } = await copied(302, [2])
    loseLinksTo(t, 0)
    await t.run(5)
    const read = get(4)
    await t.run(10)
    expect([read.value?.value, read.value?.from]).toEqual(['v1', 'backup'])
  })

  it('is not held up by a rank that stands still, while there is another', async () => {
    const { t, get } = await copied(306, [1, 2])
    loseLinksTo(t, 0)
    t.pause(1)
    await t.run(5)
    const read = get(4)
    await t.run(120)
    expect([read.value?.value, read.value?.from]).toEqual(['v1', 'backup'])
  })

  it('looks into its own store without a message, where it holds a copy itself', async () => {
    const { t, get } = await copied(303, [1])
    loseLinksTo(t, 0)
    await t.run(5)
    const served = t.meshes.map(member =>
      t.isAlive(t.meshes.indexOf(member)) ? member.stats().requestsServedTotal : 0
    )
    const read = get(1)
    await t.run(0)
    expect([read.value?.value, read.value?.from]).toEqual(['v1', 'backup'])
    expect(mesh(t, 2).stats().requestsServedTotal).toBe(served[2])
  })

  it('under way when its link was lost goes on at the next rank', async () => {
    const { t, key, get } = await copied(304, [1])
    const read = get(3)
    await t.run(0.1)
    loseLinksTo(t, 0)
    await t.run(10)
    expect([read.value?.value, read.value?.from]).toEqual(['v1', 'backup'])
    const many = watch(t, mesh(t, 4).cache<string>('products').getMany([key, key]))
    await t.run(10)
    expect(many.value).toEqual(['v1', 'v1'])
  })

  it('fails, after it has waited for another owner, only where nobody has it', async () => {
    const { t, key } = await copied(305, [])
    loseLinksTo(t, 0)
    await t.run(5)
    const beganMs = t.now
    const error = await errorOf(t, mesh(t, 3).cache('products').get(key))
    expect(error.code).toBe('ERR_MESH_UNAVAILABLE')
    expect(t.now - beganMs).toBeGreaterThanOrEqual(500)
  })
})

describe('a read whose owner is suspended', () => {
  it('is answered by a copy, from the first moment on and for as long as it lasts', async () => {
    const { t, key } = await copied(311, [1, 2])
    // What is usual is known by then.
    for (const by of [3, 4]) for (const _ of times(20, i => i)) await t.until(mesh(t, by).cache('products').get(key))
    t.pause(0)
    const reads: (ReturnType<typeof watch<string | undefined>> & { beganMs: number })[] = []
    for (const round of times(400, i => i)) {
      for (const by of [3, 4]) {
        const read = watch(t, mesh(t, by).cache<string>('products').get(key))
        reads.push(Object.assign(read, { beganMs: t.now }))
      }
      await t.run(round < 100 ? 1 : 10)
    }
    await t.run('1s')
    expect(reads.filter(({ value }) => value !== 'v1')).toEqual([])
    expect(Math.max(...reads.map(({ atMs, beganMs }) => atMs - beganMs))).toBeLessThan(250)
    const asked = mesh(t, 3).stats()
    expect(asked.readsHedgedTotal).toBeGreaterThan(0)
    expect(asked.failoversTotal).toBeGreaterThan(300)
    expect(asked.readsBackupTotal).toBe(400)
  })

  it('goes to the owner again once that is heard', async () => {
    const { t, key, get } = await copied(312, [1])
    t.pause(0)
    const silent = times(3, () => get(3))
    await t.run('200ms')
    expect(silent.map(({ value }) => value?.from)).toEqual(['backup', 'backup', 'backup'])
    t.resume(0)
    await t.run('100ms')
    expect(await t.until(mesh(t, 3).cache('products').getEntry(key))).toMatchObject({ from: 'owner' })
  })
})

describe('a read of a cache with a loader', () => {
  const loading = (calls: string[], t: () => Cluster) => (member: Mesh, index: number) =>
    member.cache('products', {
      ttl: '1h',
      backups: 2,
      load: async () => {
        calls.push(`member ${index}`)
        await t().sleep('50ms')
        return 'loaded'
      }
    })

  it('makes no call of the origin for a key that has a copy, although its owner has crashed', async () => {
    const calls: string[] = []
    let t: Cluster | undefined
    const story = await copied(
      321,
      [2],
      loading(calls, () => t as Cluster)
    )
    t = story.t
    t.crash(0)
    const reads = times(4, i => story.get(i % 2 === 0 ? 3 : 4))
    await t.run('1s')
    expect(reads.map(({ value }) => value?.value)).toEqual(['v1', 'v1', 'v1', 'v1'])
    expect(calls).toEqual([])
  })

  it('makes none either where its copy is busy until the owner is buried, and another comes up that has nothing yet', async () => {
    const calls: string[] = []
    const start = (member: Mesh, index: number) =>
      member.cache('products', {
        ttl: '1h',
        backups: 1,
        load: async () => {
          calls.push(`member ${index}`)
          return 'loaded'
        }
      })
    // At some of these moments the owner is about to be buried, and its copy is silent when it takes over.
    for (const afterMs of times(12, i => 2 * i)) {
      const { t, get } = await copied(330 + afterMs, [1], start)
      t.crash(0)
      await t.run(afterMs)
      t.pause(1)
      const reads = [2, 3, 4].map(get)
      await t.run('150ms')
      t.resume(1)
      await t.run('2s')
      expect(reads.map(({ value }) => value?.value)).toEqual(['v1', 'v1', 'v1'])
      expect(calls, `busy after ${afterMs} ms`).toEqual([])
    }
  })

  it('shares one call of the origin at the last rank, for a key that nobody has, and does not wait for a new owner', async () => {
    const calls: string[] = []
    let t: Cluster | undefined
    const story = await copied(
      322,
      [],
      loading(calls, () => t as Cluster)
    )
    t = story.t
    loseLinksTo(t, 0)
    await t.run(5)
    const reads = [1, 2, 3, 4].map(story.get)
    await t.run(20)
    // Begun; the permit to call the origin takes longer, for not all who share them can be reached.
    expect([1, 2, 3, 4].map(index => mesh(story.t, index).stats().loadsUnstoredTotal)).toEqual([0, 1, 0, 0])
    await t.run('3s')
    expect(reads.map(({ value }) => [value?.value, value?.from])).toEqual(times(4, () => ['loaded', 'load']))
    expect(calls).toEqual(['member 2'])
  })

  it('waits a moment for an owner that orders the callers, where each brings a loader along and no copy has it', async () => {
    const { t, key } = await copied(323, [])
    loseLinksTo(t, 0)
    await t.run(5)
    const read = watch(
      t,
      mesh(t, 3)
        .cache<string>('products')
        .getOrSet(key, () => 'own')
    )
    await t.run(20)
    expect(read.state).toBe('pending')
    await t.run('3s')
    expect([read.value, mesh(t, 3).stats().loadsUnstoredTotal]).toEqual(['own', 1])
  })
})

describe('a member that has seen a value', () => {
  it('is not answered with an older one by a copy: neither than it wrote, nor than it read', async () => {
    const { t, stores, key, get } = await copied(331, [1])
    await t.until(mesh(t, 3).cache<string>('products').set(key, 'v2'))
    await t.until(mesh(t, 4).cache<string>('products').get(key))
    loseLinksTo(t, 0)
    await t.run(5)
    const reads = [2, 3, 4].map(get)
    await t.run('100ms')
    // Who has seen nothing of it is answered with what there is.
    expect(reads.map(({ value, state }) => value?.value ?? state)).toEqual(['v1', 'pending', 'pending'])
    await t.run('1s')
    expect(reads.slice(1).map(({ state }) => state)).toEqual(['rejected', 'rejected'])
    expect(stores).toHaveLength(5)
  })

  it('is answered by a copy that is as recent', async () => {
    const { t, stores, key, get } = await copied(332, [1])
    await t.until(mesh(t, 3).cache<string>('products').set(key, 'v2'))
    copy(stores[0] as never, stores[2] as never, key)
    loseLinksTo(t, 0)
    await t.run(5)
    const read = get(3)
    await t.run(20)
    expect([read.value?.value, read.value?.from]).toEqual(['v2', 'backup'])
  })

  it('does not see again what it has deleted', async () => {
    const { t, key, get } = await copied(333, [1])
    await t.until(mesh(t, 3).cache('products').delete(key))
    loseLinksTo(t, 0)
    await t.run(5)
    const read = get(3)
    await t.run('2s')
    expect(read.value).toBeUndefined()
  })
})
