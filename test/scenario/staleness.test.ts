import { describe, expect, it } from 'vitest'
import type { LoadingCache } from '../../lib/cache.ts'
import type { CacheOptions } from '../../lib/cache-options.ts'
import type { LoadContext } from '../../lib/fill/definition.ts'
import type { Cluster } from '../../lib/testing.ts'
import { errorOf, formed, keyOf, mesh, times, watch } from './story.ts'

type Options = Partial<CacheOptions<unknown, string>>

/** Three members; the origin answers with the number of its call, after `origin.ms`, or throws while `origin.down`. */
async function served(seed: number, options: Options) {
  const origin = { calls: 0, ms: 10, down: false, told: [] as Pick<LoadContext, 'reason' | 'previous'>[] }
  const t: Cluster = await formed(3, {
    seed,
    start: member =>
      member.cache('products', {
        ttl: '10s',
        jitter: 0,
        ...options,
        load: async (_key: string, { reason, previous }: LoadContext) => {
          const call = ++origin.calls
          origin.told.push({ reason, previous })
          await t.sleep(origin.ms)
          if (origin.down) throw new Error('down')
          return call
        }
      } as never)
  })
  const get = (key: string, by = 1, o = {}) => t.until(mesh(t, by).cache<number>('products').get(key, o))
  return { t, origin, get, key: keyOf(t, 0) }
}

describe('staleWhileRevalidate', () => {
  it('answers at once with what is stale, while one load behind makes it new', async () => {
    const { t, origin, get, key } = await served(900, { staleWhileRevalidate: '30s' })
    expect(await get(key)).toBe(1)
    await t.run('11s')
    const before = t.now
    const stale = await t.until(Promise.all([0, 1, 2].map(by => mesh(t, by).cache('products').getEntry(key))))
    expect(t.now - before).toBeLessThan(origin.ms)
    expect(stale.map(entry => [entry?.value, entry?.stale])).toEqual(times(3, () => [1, true]))
    await t.run('100ms')
    expect([await get(key), origin.calls]).toEqual([2, 2])
    expect(origin.told[1]).toMatchObject({ reason: 'stale', previous: { value: 1, stale: true } })
    expect(t.meshes.map(one => one.stats().readsStaleTotal)).toEqual([1, 1, 1])
  })

  it('of a key that is read all the time makes no reader wait, for many TTLs', async () => {
    const { t, origin, get, key } = await served(901, { ttl: '1s', staleWhileRevalidate: '1s' })
    await get(key)
    origin.ms = 200
    let waitedMs = 0
    for (let i = 0; i < 300; i++) {
      const before = t.now
      await get(key, i % 3)
      waitedMs = Math.max(waitedMs, t.now - before)
      await t.run('100ms')
    }
    expect(waitedMs).toBeLessThan(20)
    expect(origin.calls).toBeGreaterThan(20)
  })

  it('ends with its window: then a read waits again', async () => {
    const { t, origin, get, key } = await served(902, { staleWhileRevalidate: '5s' })
    await get(key)
    await t.run('15s')
    expect([await get(key), origin.calls]).toEqual([2, 2])
  })

  it('is not for a caller that allows nothing stale', async () => {
    const { t, get, key } = await served(903, { staleWhileRevalidate: '30s' })
    await get(key)
    await t.run('11s')
    expect(await get(key, 2, { allowStale: false, load: false })).toBeUndefined()
    expect(await get(key, 2, { load: false })).toBe(1)
    expect(await get(key, 2, { allowStale: false })).toBe(2)
  })

  it.each(['delete', 'set', 'clear'] as const)('never answers what a %s has ended', async how => {
    const { t, get, key } = await served(904, { staleWhileRevalidate: '30s' })
    await get(key)
    await t.run('11s')
    const cache = mesh(t, 2).cache<number>('products')
    if (how === 'delete') await t.until(cache.delete(key))
    else if (how === 'set') await t.until(cache.set(key, 77))
    else await t.until(cache.clear())
    expect(await get(key)).toBe(how === 'set' ? 77 : 2)
  })

  it('loads by its caller where the owner has no loader, and in the context of getOrSet', async () => {
    const t = await formed(3, {
      seed: 905,
      start: member => member.cache('products', { ttl: '10s', jitter: 0, staleWhileRevalidate: '30s' })
    })
    const key = keyOf(t, 0)
    const read = (row: string) =>
      t.until(
        mesh(t, 1)
          .cache<string>('products')
          .getOrSet(key, () => row)
      )
    expect(await read('old')).toBe('old')
    await t.run('11s')
    expect(await read('new')).toBe('old')
    await t.run('1s')
    expect(await read('newer')).toBe('new')
  })

  it('keeps its window through touch and compareAndSet', async () => {
    const { t, get, key } = await served(906, { staleWhileRevalidate: '30s' })
    await get(key)
    const cache = mesh(t, 1).cache<number>('products')
    const entry = await t.until(cache.getEntry(key))
    await t.until(cache.compareAndSet(key, entry?.version as never, 5))
    await t.until(cache.touch(key, '20s'))
    await t.run('21s')
    expect(await t.until(cache.getEntry(key))).toMatchObject({ value: 5, stale: true })
  })
})

describe('staleIfError', () => {
  it('answers with what is stale when the load fails, and while the key is left alone', async () => {
    const { t, origin, get, key } = await served(910, { staleIfError: '1m', errorBackoff: '2s' })
    await get(key)
    await t.run('11s')
    origin.down = true
    expect(await t.until(Promise.all([0, 1, 2].map(by => mesh(t, by).cache('products').get(key))))).toEqual([1, 1, 1])
    expect(await get(key)).toBe(1)
    expect(origin.calls).toBe(2)
    origin.down = false
    await t.run('2s')
    expect([await get(key), origin.calls]).toEqual([3, 3])
  })

  it('is over at its end, and not for a caller that allows nothing stale', async () => {
    const { t, origin, get, key } = await served(911, { staleIfError: '30s', errorBackoff: 0 })
    await get(key)
    await t.run('11s')
    origin.down = true
    expect((await errorOf(t, mesh(t, 1).cache('products').get(key, { allowStale: false }))).code).toBe('ERR_MESH_LOAD')
    expect(await get(key)).toBe(1)
    await t.run('30s')
    expect((await errorOf(t, mesh(t, 1).cache('products').get(key))).code).toBe('ERR_MESH_LOAD')
  })

  it('never answers what a delete has killed, though the load fails', async () => {
    const { t, origin, get, key } = await served(912, { staleIfError: '1m', errorBackoff: 0 })
    await get(key)
    await t.run('11s')
    origin.down = true
    const waiting = watch(t, mesh(t, 1).cache('products').get(key))
    await t.run('3ms')
    await t.until(mesh(t, 2).cache('products').delete(key))
    await t.run('1s')
    expect(waiting.state).toBe('rejected')
    expect((await errorOf(t, mesh(t, 1).cache('products').get(key))).code).toBe('ERR_MESH_LOAD')
  })
})

describe('whoever has the lease', () => {
  it('gets what is stale like those who wait, when its load fails or takes long', async () => {
    const t = await formed(3, {
      seed: 913,
      start: member =>
        member.cache('products', { ttl: '10s', jitter: 0, staleIfError: '1m', errorBackoff: 0, softTimeout: '50ms' })
    })
    const key = keyOf(t, 0)
    const cache = (by: number) => mesh(t, by).cache<string>('products')
    await t.until(cache(1).getOrSet(key, () => 'old'))
    await t.run('11s')
    const fails = () => Promise.reject(new Error('down'))
    for (const by of [0, 1, 2]) expect(await t.until(cache(by).getOrSet(key, fails)), `member ${by}`).toBe('old')
    const before = t.now
    const slow = () => t.sleep('1s').then(() => 'new')
    expect(await t.until(cache(2).getOrSet(key, slow))).toBe('old')
    expect(t.now - before).toBeLessThan(100)
    await t.run('2s')
    expect(await t.until(cache(1).getOrSet(key, fails))).toBe('new')
    // What was deleted while it was loaded in vain is gone.
    await t.run('11s')
    const doomed = watch(
      t,
      cache(1).getOrSet(key, () => t.sleep('40ms').then(fails))
    )
    await t.run('20ms')
    await t.until(cache(2).delete(key))
    await t.run('1s')
    expect(doomed.state).toBe('rejected')
  })
})

describe('softTimeout', () => {
  it('answers with what is stale when the load takes longer, and the load goes on behind', async () => {
    const { t, origin, get, key } = await served(915, { staleIfError: '1m', softTimeout: '50ms' })
    await get(key)
    await t.run('11s')
    origin.ms = 1_000
    const before = t.now
    expect(await get(key)).toBe(1)
    expect(t.now - before).toBeGreaterThanOrEqual(50)
    expect(t.now - before).toBeLessThan(100)
    expect(t.meshes.map(one => one.stats().softTimeoutsTotal)).toEqual([1, 0, 0])
    await t.run('1s')
    expect([await get(key), origin.calls]).toEqual([2, 2])
  })

  it('has nothing to answer with where nothing is stale', async () => {
    const { origin, get, key } = await served(916, { softTimeout: '50ms' })
    origin.ms = 300
    expect(await get(key)).toBe(1)
  })
})

describe('a refresh ahead of time', () => {
  it('by earlyRefresh spares the readers of a hot key every miss, for an hour', async () => {
    const { t, origin, get, key } = await served(920, { ttl: '30s', earlyRefresh: true })
    origin.ms = 100
    await get(key)
    const before = t.meshes.reduce((sum, one) => sum + one.stats().readsLoadTotal, 0)
    for (let i = 0; i < 40_000; i++) {
      await t.run('90ms')
      await get(key, i % 3)
    }
    const loads = t.meshes.reduce((sum, one) => sum + one.stats().readsLoadTotal, 0)
    expect(loads - before).toBe(0)
    expect(origin.calls).toBeGreaterThanOrEqual(120)
    expect(origin.calls).toBeLessThan(125)
    expect(origin.told.at(-1)?.reason).toBe('early')
  }, 120_000)

  it('by refreshAhead loads behind the first read in the last share of the TTL, once', async () => {
    const { t, origin, get, key } = await served(921, { refreshAhead: 0.2 })
    await get(key)
    await t.run('7900ms')
    expect([await get(key), origin.calls]).toEqual([1, 1])
    await t.run('200ms')
    expect(await t.until(Promise.all([0, 1, 2].map(by => mesh(t, by).cache('products').get(key))))).toEqual([1, 1, 1])
    await t.run('100ms')
    expect([await get(key), origin.calls, origin.told[1]?.reason]).toEqual([2, 2, 'early'])
  })
})

describe('refresh', () => {
  it('loads though a value is stored, once for all who ask at the same time', async () => {
    const { t, origin, get, key } = await served(925, {})
    await get(key)
    const refreshed = [0, 1, 2].map(by => (mesh(t, by).cache('products') as LoadingCache<unknown>).refresh(key))
    expect(await t.until(Promise.all(refreshed))).toEqual([2, 2, 2])
    expect([await get(key), origin.calls]).toEqual([2, 2])
    expect(origin.told[1]).toMatchObject({ previous: { value: 1, stale: false } })
  })
})

describe('jitter', () => {
  it('spreads what was loaded in one second over ten and more', async () => {
    const t = await formed(3, {
      seed: 930,
      start: member => member.cache('products', { ttl: '60s', jitter: 0.2, backups: 0, load: (key: string) => key })
    })
    const cache = mesh(t, 0).cache<string>('products')
    const keys = times(10_000, i => `k${i}`)
    const beganMs = t.now
    for (let i = 0; i < 10; i++) await t.until(cache.getMany(keys.slice(i * 1_000, (i + 1) * 1_000)))
    expect(t.now - beganMs).toBeLessThan(1_000)
    const ends: number[] = []
    for (let second = 0; second < 70; second++) {
      const stored = t.meshes.reduce((sum, one) => sum + one.stats().records, 0)
      ends.push(stored)
      await t.run('1s')
    }
    const dropping = ends.filter((stored, i) => i > 0 && stored < (ends[i - 1] as number)).length
    expect(dropping).toBeGreaterThanOrEqual(10)
    expect(ends.at(-1)).toBe(0)
    // No second takes much more than its share of a twelfth.
    const steepest = Math.max(...ends.map((stored, i) => (i === 0 ? 0 : (ends[i - 1] as number) - stored)))
    expect(steepest).toBeLessThan(10_000 / 8)
  })
})

describe('tags', () => {
  it('are those of the call or the loader, else those the cache finds in the value', async () => {
    const t = await formed(3, {
      seed: 935,
      start: member =>
        member.cache('products', {
          ttl: '1h',
          load: (id: string, { store }) => {
            if (id.endsWith('own')) store({ tags: ['by the loader'] })
            return { id }
          },
          tags: ({ id }: { id: string }) => [`of ${id}`, `of ${id}`]
        })
    })
    const cache = mesh(t, 1).cache<{ id: string }>('products')
    const tags = async (key: string) => (await t.until(cache.getEntry(key)))?.tags
    const key = keyOf(t, 0)
    expect(await tags(key)).toEqual([`of ${key}`])
    expect(await tags(key)).toEqual([`of ${key}`])
    expect(await tags('its own')).toEqual(['by the loader'])
    await t.until(cache.set(key, { id: 'x' }, { tags: ['b', 'a'] }))
    expect(await tags(key)).toEqual(['a', 'b'])
    const refused = await errorOf(t, cache.set(key, { id: 'x' }, { tags: ['', 'a'] }))
    expect([refused.code, refused.message]).toEqual(['ERR_MESH_OPTION', expect.stringContaining("tags: ['user:42']")])
  })
})
