/**
 * Soft deletes: stale from now on, and not gone. A soft delete is a change like another, with a version, copies and a
 * fence; what is special is only what may be answered after it.
 */
import { describe, expect, it } from 'vitest'
import type { LoadingCache } from '../../lib/cache.ts'
import type { CacheOptions } from '../../lib/cache-options.ts'
import type { Key } from '../../lib/codec/keys.ts'
import type { Cluster, ClusterOptions } from '../../lib/testing.ts'
import { errorOf, formed, keyOf, mesh, ownerOf, times, watch } from './story.ts'

type Options = Partial<CacheOptions<unknown, string>>

/** Three members, the key at the first; the origin answers with the number of its call, or throws while it is down. */
async function served(seed: number, options: Options, faults: ClusterOptions['faults'] = {}) {
  const origin = { calls: 0, ms: 10, down: false }
  const load = async () => {
    const call = ++origin.calls
    await t.sleep(origin.ms)
    if (origin.down) throw new Error('down')
    return call
  }
  const start: ClusterOptions['start'] = member =>
    void member.cache('products', { ttl: '1h', jitter: 0, ...options, load } as never)
  const t: Cluster = await formed(3, { seed, faults, start })
  const cache = (by: number) => mesh(t, by).cache('products') as unknown as LoadingCache<number>
  const get = (key: string, by = 1, o = {}) => t.until(cache(by).get(key, o))
  const soften = (key: string, by = 2) => t.until(cache(by).delete(key, { soft: true }))
  return { t, origin, cache, get, soften, key: keyOf(t, 0) }
}

describe('a soft delete', () => {
  it('leaves a value that is answered stale at once, in every member, while one load makes it new', async () => {
    const { t, origin, cache, get, soften, key } = await served(1100, { staleWhileRevalidate: '30s' })
    expect(await get(key)).toBe(1)
    const before = await t.until(cache(1).getEntry(key))
    expect(await soften(key)).toBe(true)
    const read = await t.until(Promise.all([0, 1, 2].map(by => cache(by).getEntry(key))))
    expect(read.map(entry => [entry?.value, entry?.stale])).toEqual(times(3, () => [1, true]))
    for (const entry of read) expect(String(entry?.version) > String(before?.version)).toBe(true)
    await t.run('100ms')
    expect([await get(key), origin.calls]).toEqual([2, 2])
    expect(await t.until(cache(1).getEntry(key))).toMatchObject({ value: 2, stale: false })
  })

  it('ends with the window, which begins with it and not with the TTL', async () => {
    const { t, origin, cache, get, soften, key } = await served(1101, { staleWhileRevalidate: '5s' })
    await get(key)
    await soften(key)
    const told = (await t.until(cache(0).explain(key))).entry
    expect((told?.overAt as number) - (told?.expiresAt as number)).toBe(5_000)
    await t.run('5001ms')
    expect(await t.until(cache(1).has(key))).toBe(false)
    expect([await get(key), origin.calls]).toEqual([2, 2])
  })

  it('of what is stale already prolongs nothing, and says that nothing fresh was there', async () => {
    const { t, get, soften, cache, key } = await served(1102, { ttl: '10s', staleIfError: '20s' })
    await get(key)
    await t.run('25s')
    expect(await soften(key)).toBe(false)
    expect(await t.until(cache(1).has(key))).toBe(true)
    await t.run('5100ms')
    expect(await t.until(cache(1).has(key))).toBe(false)
  })

  it('has the value stand in for a load that fails, and for nothing else, where that is the window', async () => {
    const { t, origin, get, soften, key } = await served(1103, { staleIfError: '30s', errorBackoff: 0 })
    await get(key)
    await soften(key)
    origin.down = true
    expect(await get(key)).toBe(1)
    origin.down = false
    expect(await get(key)).toBe(3)
    await soften(key)
    origin.down = true
    await t.run('31s')
    expect((await errorOf(t, get(key))).message).toContain('down')
  })

  it('is a delete where the cache answers nothing stale', async () => {
    const { t, origin, cache, get, soften, key } = await served(1104, {})
    await get(key)
    expect([await soften(key), await soften(key)]).toEqual([true, false])
    expect(await t.until(cache(0).has(key))).toBe(false)
    expect((await t.until(cache(1).explain(key))).deletedAt).toBeGreaterThan(0)
    expect([await get(key), origin.calls]).toEqual([2, 2])
  })

  it('of what is fresh for ever has the windows that the cache is declared with', async () => {
    const { t, get, soften, cache, key } = await served(1105, { ttl: 'forever', staleWhileRevalidate: '5s' })
    await get(key)
    await soften(key)
    expect(await t.until(cache(1).getEntry(key, { load: false }))).toMatchObject({ value: 1, stale: true })
    await t.run('5001ms')
    expect(await t.until(cache(1).has(key))).toBe(false)
  })

  it.each([true, false])('fences a load that began before it (something was there: %s)', async isThere => {
    const { t, origin, cache, get, soften, key } = await served(1106, { staleWhileRevalidate: '30s' })
    if (isThere) await get(key)
    origin.ms = 1_000
    const loading = watch(t, cache(1).refresh(key))
    await t.run('500ms')
    expect(await soften(key)).toBe(isThere)
    await t.run('1s')
    expect(loading.value).toBe(origin.calls)
    const stored = await t.until(cache(1).getEntry(key, { load: false }))
    expect([stored?.value, stored?.stale]).toEqual(isThere ? [1, true] : [undefined, undefined])
  })

  it('is never answered to who allows nothing stale', async () => {
    const { origin, get, soften, key } = await served(1107, { staleWhileRevalidate: '30s' })
    await get(key)
    await soften(key)
    expect([await get(key, 1, { allowStale: false }), origin.calls]).toEqual([2, 2])
  })

  it('outlives the owner: its backups know that the value is stale', async () => {
    const { t, origin, get, soften, cache, key } = await served(1108, { staleIfError: '10m' })
    await get(key)
    await soften(key)
    t.crash(0)
    await t.run('10s')
    expect(ownerOf(t, key, { by: 1 })).not.toBe(0)
    const entry = await t.until(cache(1).getEntry(key, { load: false }))
    expect(entry).toMatchObject({ value: 1, stale: true })
    expect([await get(key), origin.calls]).toEqual([2, 2])
  })

  it('drops near copies, and what is stale does not become one', async () => {
    const { t, origin, get, cache, soften, key } = await served(1109, { near: {}, staleIfError: '10m' })
    for (let i = 0; i < 3; i++) {
      await get(key)
      await t.run(20)
    }
    expect((await t.until(cache(1).getEntry(key)))?.from).toBe('near')
    await soften(key)
    await t.run(20)
    origin.down = true
    for (let i = 0; i < 2; i++)
      expect(await t.until(cache(1).getEntry(key))).toMatchObject({ value: 1, stale: true, from: 'owner' })
  })

  it('answers a comparison with the version of before that it differs', async () => {
    const { t, cache, get, soften, key } = await served(1110, { staleWhileRevalidate: '30s' })
    await get(key)
    const before = await t.until(cache(1).getEntry(key))
    await soften(key)
    expect(await t.until(cache(1).compareAndSet(key, before?.version as never, 7))).toBe(false)
  })

  it('keeps the tags of the value', async () => {
    const { t, cache, soften, key } = await served(1111, { staleWhileRevalidate: '30s' })
    await t.until(cache(1).set(key, 5, { tags: ['red'] }))
    await soften(key)
    expect(await t.until(cache(1).getEntry(key, { load: false }))).toMatchObject({ tags: ['red'], stale: true })
  })

  it('of many keys counts those that were fresh', async () => {
    const { t, cache, get, key } = await served(1112, { staleWhileRevalidate: '30s' })
    await get(key)
    await get('other')
    const soften = () => t.until(cache(1).deleteMany([key, 'other', 'absent'], { soft: true }))
    expect([await soften(), await soften()]).toEqual([2, 0])
    expect(await t.until(cache(2).getMany([key, 'other', 'absent'], { load: false }))).toEqual([1, 2, undefined])
  })

  it('is refused where soft is anything but yes or no', async () => {
    const { t, cache, key } = await served(1114, {})
    const error = await errorOf(t, cache(1).delete(key, { soft: 'yes' as never }))
    expect(error.message).toContain("Expected soft of delete of cache 'products' to be true or false, got 'yes'")
  })
})

describe('a soft delete in a cache with a store', () => {
  it('does not tell the origin, and nothing that was stored before it comes back fresh', async () => {
    const stored: unknown[] = []
    let storeMs = 0
    const store = async (key: Key, value: unknown) => {
      if (storeMs > 0) await t.sleep(storeMs)
      stored.push([key, value])
    }
    const { t, cache, soften, get, key } = await served(1115, { staleWhileRevalidate: '30s', store } as never)
    await t.until(cache(1).set(key, 50))
    await soften(key)
    expect(stored).toEqual([[key, 50]])
    expect(await t.until(cache(1).getEntry(key, { load: false }))).toMatchObject({ value: 50, stale: true })
    storeMs = 500
    const writing = watch(t, cache(1).set(key, 51))
    await t.run('200ms')
    await soften(key)
    await t.run('1s')
    expect([writing.state, stored.length]).toEqual(['fulfilled', 2])
    expect(await t.until(cache(1).has(key))).toBe(false)
    expect(await get(key)).toBe(1)
  })
})

describe('a soft clear', () => {
  const KEYS = times(300, i => (i % 2 === 0 ? `even:${i}` : `odd:${i}`))

  it('makes stale what is there, in every member, and no load more than one for each key', async () => {
    const { t, origin, cache } = await served(1120, { staleWhileRevalidate: '30s' })
    await t.until(cache(1).getMany(KEYS))
    await t.until(cache(2).clear({ soft: true }))
    const entries = await t.until(Promise.all(KEYS.map((key, i) => cache(i % 3).getEntry(key))))
    expect(entries.filter(entry => entry?.stale !== true)).toEqual([])
    await t.run('1s')
    expect(origin.calls).toBe(2 * KEYS.length)
    const after = await t.until(Promise.all(KEYS.map((key, i) => cache(i % 3).getEntry(key))))
    expect(after.filter(entry => entry?.stale !== false)).toEqual([])
  })

  it('leaves what is not under its prefix', async () => {
    const { t, cache } = await served(1121, { staleWhileRevalidate: '30s' })
    await t.until(cache(1).getMany(KEYS))
    await t.until(cache(1).clear({ soft: true, prefix: 'even:' }))
    const entries = await t.until(Promise.all(KEYS.map(key => cache(0).getEntry(key, { load: false }))))
    expect(entries.map(entry => entry?.stale)).toEqual(KEYS.map(key => key.startsWith('even:')))
  })

  it('fences loads that began before, and drops that nothing was found', async () => {
    const { t, origin, cache, get, key } = await served(1122, { staleWhileRevalidate: '30s', negativeTtl: '1h' })
    origin.ms = 1_000
    const loading = watch(t, cache(1).get(key))
    await t.until(cache(1).getOrSet('none', () => undefined as never))
    await t.run('500ms')
    await t.until(cache(2).clear({ soft: true }))
    await t.run('1s')
    expect([loading.value, await t.until(cache(1).has(key))]).toEqual([1, false])
    expect([await get('none'), await get(key)]).toEqual([2, 3])
  })

  it('is known to the backups: what the owner made stale stays so without it', async () => {
    const { t, cache } = await served(1123, { staleIfError: '10m' })
    await t.until(cache(1).getMany(KEYS))
    await t.until(cache(1).clear({ soft: true }))
    await t.run('1s')
    t.crash(0)
    await t.run('10s')
    const entries = await t.until(Promise.all(KEYS.map(key => cache(1).getEntry(key, { load: false }))))
    expect(entries.map(entry => entry?.stale)).toEqual(KEYS.map(() => true))
  })

  it('of a cache that answers nothing stale is a clear', async () => {
    const { t, cache } = await served(1124, {})
    await t.until(cache(1).getMany(KEYS))
    await t.until(cache(1).clear({ soft: true }))
    expect(await t.until(cache(2).getMany(KEYS, { load: false }))).toEqual(KEYS.map(() => undefined))
    expect(t.meshes.map(one => one.stats().tombstonesEvictedTotal)).toEqual([0, 0, 0])
  })

  it('lets others be served between its slices', async () => {
    const { t, cache, key } = await served(1125, { staleWhileRevalidate: '30s' })
    const many = times(3_000, i => `k${i}`)
    await t.until(cache(1).setMany(many.map((id, i) => [id, i])))
    await t.until(cache(1).set(key, 7))
    const clearing = watch(t, cache(1).clear({ soft: true }))
    while (clearing.state === 'pending') await t.until(cache(1).has(key))
    const entries = await t.until(Promise.all(many.map(id => cache(0).getEntry(id, { load: false }))))
    expect(entries.every(entry => entry?.stale)).toBe(true)
  })
})
