/**
 * What the origin has changed by itself, told by whoever listens to it: once or many times, in order or not, by one member
 * or by all.
 */
import { describe, expect, it } from 'vitest'
import type { LoadingCache } from '../../lib/cache.ts'
import type { Cluster, ClusterOptions } from '../../lib/testing.ts'
import { errorOf, formed, keyOf, mesh, ownerOf, times, watch } from './story.ts'

/** Three members and rows at an origin, the key owned by the first. */
async function served(seed: number, options: object = {}, faults: ClusterOptions['faults'] = {}) {
  const origin = { rows: new Map<string, number>(), loads: 0, ms: 5 }
  const load = async (key: string) => {
    origin.loads++
    const row = origin.rows.get(key) ?? 0
    await t.sleep(origin.ms)
    return row
  }
  const start: ClusterOptions['start'] = member => void member.cache('products', { ttl: '1h', ...options, load })
  const t: Cluster = await formed(3, { seed, faults, start })
  const cache = (by: number) => mesh(t, by).cache('products') as unknown as LoadingCache<number>
  const get = (key: string, by = 1) => t.until(cache(by).get(key))
  const told = (key: string, version?: number | bigint | string, by = 2) =>
    t.until(cache(by).invalidate(key, { version }))
  const repeated = () => t.meshes.reduce((sum, one) => sum + one.stats().invalidationsRepeatedTotal, 0)
  return { t, origin, cache, get, told, repeated, key: keyOf(t, 0) }
}

describe('an invalidation with the version of a row', () => {
  it('drops the value once, however often and by however many it is told of', async () => {
    const { origin, t, cache, get, told, repeated, key } = await served(1200)
    await get(key)
    origin.rows.set(key, 5)
    expect(await told(key, 5)).toBe(true)
    expect(await get(key)).toBe(5)
    const again = await t.until(Promise.all(times(6, i => cache(i % 3).invalidate(key, { version: 5 }))))
    expect(again).toEqual(times(6, () => false))
    expect([await get(key), origin.loads, repeated()]).toEqual([5, 2, 6])
  })

  it('does nothing where a higher one was told of before', async () => {
    const { origin, get, told, key } = await served(1201)
    origin.rows.set(key, 6)
    expect(await told(key, 6)).toBe(false)
    await get(key)
    expect([await told(key, 5), await told(key, '6'), await told(key, 6n)]).toEqual([false, false, false])
    expect(origin.loads).toBe(1)
    expect([await told(key, 7), await get(key), origin.loads]).toEqual([true, 6, 2])
  })

  it.each([
    [9, 10],
    ['9', '10'],
    ['9', 10n],
    ['099', '100'],
    ['0/9B374D8', '0/16B374D8'],
    ['F/FFFFFFFF', '10/0'],
    [2 ** 53 - 1, 2n ** 53n]
  ])('takes %s for lower than %s', async (low, high) => {
    const { get, told, key } = await served(1202)
    await get(key)
    expect(await told(key, low)).toBe(true)
    await get(key)
    expect(await told(key, high)).toBe(true)
    await get(key)
    expect(await told(key, low)).toBe(false)
  })

  it('fences a load that began before it, and its repetition does not', async () => {
    const { t, origin, cache, get, told, key } = await served(1203)
    origin.ms = 1_000
    const early = watch(t, cache(1).get(key))
    await t.run('500ms')
    origin.rows.set(key, 3)
    expect(await told(key, 3)).toBe(false)
    const late = watch(t, cache(1).get(key))
    await t.run('700ms')
    expect([early.value, late.state]).toEqual([0, 'pending'])
    expect(await told(key, 3)).toBe(false)
    await t.run('1s')
    expect([late.value, await get(key), origin.loads]).toEqual([3, 3, 2])
  })

  it('is one for each key', async () => {
    const { get, told, key } = await served(1204)
    await get(key)
    await get('other')
    expect([await told(key, 5), await told('other', 5)]).toEqual([true, true])
  })

  it('is forgotten when the owner dies: then one more value is dropped, and no more', async () => {
    const { t, origin, get, told, key } = await served(1205)
    await told(key, 5)
    expect(await get(key)).toBe(0)
    t.crash(0)
    await t.run('10s')
    expect(ownerOf(t, key, { by: 1 })).not.toBe(0)
    expect([await told(key, 5), await get(key), await told(key, 5)]).toEqual([true, 0, false])
    expect(origin.loads).toBe(2)
  })

  it('is forgotten after tombstoneTtl', async () => {
    const { t, get, told, key } = await served(1206)
    await told(key, 5)
    await get(key)
    await t.run('59m')
    expect(await told(key, 5)).toBe(false)
    await t.run('2m')
    await get(key)
    expect(await told(key, 5)).toBe(true)
  })

  it('is forgotten with a clear, so that an origin restored from yesterday may count anew', async () => {
    const { t, cache, get, told, key } = await served(1212)
    await told(key, 5)
    await t.until(cache(2).clear())
    await get(key)
    expect([await told(key, 1), await told(key, 1)]).toEqual([true, false])
  })

  it('is forgotten when another member brings a value, for that may be from before', async () => {
    const { t, origin, cache, key } = await served(1207, { backups: 2 })
    t.cut([0], [1, 2])
    await t.run('10s')
    origin.rows.set(key, 5)
    expect(await t.until(cache(0).invalidate(key, { version: 5 }))).toBe(false)
    // Clocks of the two sides may differ by what a message takes.
    await t.run('1s')
    await t.until(cache(1).set(key, 4))
    t.heal()
    await t.run('20s')
    expect([0, 1].map(by => ownerOf(t, key, { by }))).toEqual([0, 0])
    expect(await t.until(cache(0).get(key))).toBe(4)
    expect(await t.until(cache(0).invalidate(key, { version: 5 }))).toBe(true)
    expect(await t.until(cache(0).get(key))).toBe(5)
  })

  it('is made again by whoever was told that too few backups know of it, and waits for them', async () => {
    const { t, cache, get, key } = await served(1208, { backups: 2 })
    await get(key)
    t.pause(1)
    const error = await errorOf(t, cache(0).invalidate(key, { version: 5, timeout: '300ms' }))
    expect(error.code).toBe('ERR_MESH_BACKUPS')
    const again = watch(t, cache(0).invalidate(key, { version: 5, timeout: '30s' }))
    await t.run('100ms')
    expect(again.state).toBe('pending')
    t.resume(1)
    await t.run('20s')
    expect(again.value).toBe(false)
  })

  it('makes the value stale instead, where that is asked for', async () => {
    const { t, cache, get, key } = await served(1209, { staleWhileRevalidate: '1m' })
    await get(key)
    expect(await t.until(cache(2).invalidate(key, { version: 5, soft: true }))).toBe(true)
    expect(await t.until(cache(1).getEntry(key, { load: false }))).toMatchObject({ value: 0, stale: true })
  })

  it.each([-1, 1.5, Number.NaN, 2 ** 53, '', ' 5', '1e3', '2024-01-01', 'x', '-3', '1/', '9'.repeat(65), null, {}])(
    'is refused where it does not say which is the later: %s',
    async version => {
      const { t, cache, key } = await served(1210)
      const error = await errorOf(t, cache(1).invalidate(key, { version: version as never }))
      expect(error.code).toBe('ERR_MESH_OPTION')
      expect(error.message).toContain("Expected version of invalidate of cache 'products' to be a whole number")
      expect(error.message).toContain('take it from a sequence')
    }
  )
})

describe('an invalidation without a version', () => {
  it('drops what is there each time, and does not tell the store', async () => {
    const stored: unknown[] = []
    const store = async (key: unknown, value: unknown) => void stored.push([key, value])
    const { t, cache, get, told, repeated, key } = await served(1211, { store })
    await t.until(cache(1).set(key, 9))
    expect([await told(key), await told(key), await get(key)]).toEqual([true, false, 0])
    expect(await told(key)).toBe(true)
    expect([stored, repeated()]).toEqual([[[key, 9]], 0])
  })
})
