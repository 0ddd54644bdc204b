/**
 * Events of a cache: each member tells what happens to keys there, once, to those of its application who listen, and
 * without letting them into the middle of it.
 */
import { describe, expect, it } from 'vitest'
import type { CacheOptions } from '../../lib/cache-options.ts'
import type { Key } from '../../lib/codec/keys.ts'
import type { LoadContext } from '../../lib/fill/definition.ts'
import type { Cluster } from '../../lib/testing.ts'
import { formed, keyOf, mesh, orOurError, times } from './story.ts'

type Name = 'fill' | 'invalidate' | 'evict'
type Options = Omit<CacheOptions<unknown, string>, 'load' | 'loadMany' | 'ttl' | 'exists'>

const products = (t: Cluster, by: number) => mesh(t, by).cache<unknown, Key>('products')

/** What each member is told, as `[member, event]`. */
function listening(t: Cluster, name: Name): [number, unknown][] {
  const told: [number, unknown][] = []
  for (const i of t.meshes.keys()) products(t, i).on(name, event => void told.push([i, event]))
  return told
}

/** Three members that load what takes 30 ms; `key` is owned by member 0. */
async function loading(
  seed: number,
  o: { load?: (key: string) => unknown; options?: Options; declaredBy?: (index: number) => boolean } = {}
): Promise<{ t: Cluster; key: string }> {
  const { load = key => `loaded ${key}`, options = {}, declaredBy = () => true } = o
  const t = await formed(3, {
    seed,
    start: (member, i) => {
      if (!declaredBy(i)) return
      const slow = async (key: string): Promise<unknown> => {
        await t.sleep(30)
        return load(key)
      }
      member.cache('products', { ttl: '1h', backups: 0, jitter: 0, ...options, load: slow })
    }
  })
  return { t, key: keyOf(t, 0) }
}

/** Loaded, then followed, then kept. */
async function keep(t: Cluster, key: string, ...readers: readonly number[]): Promise<void> {
  for (const by of [...readers, ...readers, ...readers]) {
    await t.until(products(t, by).get(key))
    await t.run(50)
  }
  for (const by of readers) expect(mesh(t, by).stats().nearEntries).toBe(1)
}

describe('a fill', () => {
  it('is told by the member that ran the load, once however many asked, with what the loader took', async () => {
    const { t, key } = await loading(7101)
    const told = listening(t, 'fill')
    await t.until(Promise.all(times(9, i => products(t, i % 3).get(key))))
    await t.run(50)
    expect(told).toEqual([[0, { key, ms: expect.any(Number) }]])
    const [ms] = told.map(([, event]) => (event as { ms: number }).ms)
    expect(ms).toBeGreaterThanOrEqual(30)
    expect(ms).toBeLessThan(40)
    await t.until(products(t, 2).get(key))
    await t.run(50)
    expect(told).toHaveLength(1)
  })

  it('is told by who loads under a lease of the owner, and has the key as it was given', async () => {
    const { t } = await loading(7102)
    const told = listening(t, 'fill')
    const key = ['berlin', 42, true]
    for (const by of [0, 1, 2]) await t.until(products(t, by).getOrSet([...key, by], () => 'made here'))
    await t.run(50)
    expect(told.map(([by, event]) => [by, (event as { key: Key }).key])).toEqual(times(3, by => [by, [...key, by]]))
  })

  it('of keys loaded together is told for each', async () => {
    const { t } = await loading(7103)
    const told = listening(t, 'fill')
    const keys = times(5, i => `key ${i}`)
    await t.until(products(t, 1).getOrSetMany(keys, async missing => missing.map(key => `made of ${String(key)}`)))
    await t.run(50)
    expect(told.map(([by, event]) => [by, (event as { key: Key }).key]).sort()).toEqual(keys.map(key => [1, key]))
  })

  it('is none where the load failed, found nothing, or was not stored', async () => {
    const answers: Record<string, () => unknown> = {
      failing: () => {
        throw new Error('no')
      },
      nothing: () => undefined
    }
    const { t, key } = await loading(7104, { load: asked => (answers[asked] ?? (() => 'there'))() })
    const told = listening(t, 'fill')
    for (const asked of ['failing', 'nothing']) await t.until(orOurError(products(t, 1).get(asked)))
    const unkept = ({ store }: LoadContext): string => {
      store(false)
      return 'x'
    }
    await t.until(products(t, 1).getOrSet('thrown away', unkept))
    // Deleted while it is loaded: the value is for those who waited.
    const waiting = products(t, 1).get(key)
    await t.run(15)
    await t.until(products(t, 2).delete(key))
    expect(await t.until(waiting)).toBe('there')
    await t.run(100)
    expect(told).toEqual([])
    await t.until(products(t, 1).get(key))
    await t.run(50)
    expect(told).toHaveLength(1)
  })
})

describe('an invalidation', () => {
  it('is told by the owner of a key that is deleted, wherever that was asked, and not of a value that is replaced', async () => {
    const { t, key } = await loading(7105)
    const told = listening(t, 'invalidate')
    await t.until(products(t, 1).set(key, 1))
    await t.until(products(t, 1).set(key, 2))
    await t.run(50)
    expect(told).toEqual([])
    await t.until(products(t, 2).delete(key))
    await t.run(50)
    expect(told).toEqual([[0, { key }]])
  })

  it('is told by whoever held a near copy, once, also in the process that has deleted it', async () => {
    const { t, key } = await loading(7106, { options: { near: {} } })
    await keep(t, key, 1, 2)
    const told = listening(t, 'invalidate')
    await t.until(products(t, 1).delete(key))
    await t.run('3s')
    expect(told.sort()).toEqual([0, 1, 2].map(by => [by, { key }]))
  })

  it('is not told of a near copy that another value has replaced', async () => {
    const { t, key } = await loading(7107, { options: { near: {} } })
    await keep(t, key, 1)
    const told = listening(t, 'invalidate')
    await t.until(products(t, 2).set(key, 'new'))
    await t.run(100)
    expect(mesh(t, 1).stats().nearDroppedTotal).toBe(1)
    await keep(t, key, 1)
    await t.until(products(t, 1).set(key, 'newer'))
    await t.run('3s')
    expect(mesh(t, 1).stats().nearEntries).toBe(0)
    expect(told).toEqual([])
  })

  it('of a tag is told once by each member, whether of this cache or of all', async () => {
    const { t } = await loading(7109)
    const told = listening(t, 'invalidate')
    await t.until(products(t, 2).invalidateTag('red'))
    await t.until(mesh(t, 1).invalidateTag('blue'))
    await t.until(mesh(t, 1).cache('others', { ttl: '1h' }).invalidateTag('green'))
    await t.run('3s')
    const each = (tag: string): unknown[] => [0, 1, 2].map(by => [by, { tag }])
    expect(told.sort((a, b) => JSON.stringify(a).localeCompare(JSON.stringify(b)))).toEqual(
      [...each('blue'), ...each('red')].sort((a, b) => JSON.stringify(a).localeCompare(JSON.stringify(b)))
    )
  })

  it('by a clear is told once by each member', async () => {
    const { t, key } = await loading(7108, { options: { near: {} } })
    await keep(t, key, 1)
    const told = listening(t, 'invalidate')
    await t.until(products(t, 2).clear())
    await t.run('3s')
    expect(told.sort()).toEqual([0, 1, 2].map(by => [by, { clear: true }]))
  })
})

describe('an eviction', () => {
  it('for want of room is told by the owner, for each value that went and nothing else', async () => {
    const t = await formed(2, {
      seed: 7109,
      start: member => void member.cache('products', { ttl: '1h', backups: 1, maxBytes: 20_000 })
    })
    const told = listening(t, 'evict')
    const keys = times(300, i => `key-${i}`)
    for (const key of keys) await t.until(products(t, 0).set(key, 'x'.repeat(100)))
    await t.run('2s')
    const left = new Set<Key>()
    const list = async (): Promise<void> => {
      for await (const key of products(t, 0).keys()) left.add(key)
    }
    await t.until(list())
    const gone = told.map(([, event]) => (event as { key: Key }).key)
    expect(gone.length).toBeGreaterThan(20)
    expect(new Set(gone).size).toBe(gone.length)
    expect([...gone, ...left].sort()).toEqual([...keys].sort())
    expect(told.every(([, event]) => (event as { reason: string }).reason === 'size')).toBe(true)
    const evicted = t.meshes.reduce((sum, one) => sum + one.stats().evictionsTotal, 0)
    expect(gone).toHaveLength(evicted)
  })

  it('by time is told once, by the owner alone, and not of a key that was deleted', async () => {
    const t = await formed(2, {
      seed: 7110,
      options: { tombstoneTtl: '10s' },
      start: member => void member.cache('products', { ttl: '2s', backups: 1 })
    })
    const told = listening(t, 'evict')
    const [key, deleted] = [keyOf(t, 1), `${keyOf(t, 1)} deleted`]
    await t.until(products(t, 0).set(key, 1))
    await t.until(products(t, 0).set(deleted, 1))
    await t.until(products(t, 0).delete(deleted))
    await t.run('30s')
    expect(told).toEqual([[1, { key, reason: 'ttl' }]])
  })

  it('is not told of a mark that there is nothing', async () => {
    const { t, key } = await loading(7111, { load: () => undefined })
    const told = listening(t, 'evict')
    await t.until(products(t, 1).get(key))
    await t.run('20s')
    expect(told).toEqual([])
  })
})

describe('a listener', () => {
  it('hears nothing more once it has ended, and nothing of another cache', async () => {
    const { t, key } = await loading(7112)
    const [one, other]: [unknown[], unknown[]] = [[], []]
    const stop = products(t, 0).on('invalidate', event => void one.push(event))
    products(t, 0).on('invalidate', event => void other.push(event))
    mesh(t, 0)
      .cache('orders', { ttl: '1h' })
      .on('invalidate', event => void other.push(['orders', event]))
    await t.until(products(t, 0).delete(key))
    await t.run(10)
    stop()
    stop()
    await t.until(products(t, 0).delete(key))
    await t.run(10)
    expect([one, other]).toEqual([[{ key }], [{ key }, { key }]])
  })

  it('may have begun before the cache was declared here, under another version', async () => {
    const t = await formed(1, { seed: 7113 })
    const told: unknown[] = []
    mesh(t, 0)
      .cache('products')
      .on('invalidate', event => void told.push(event))
    const declared = mesh(t, 0).cache('products', { ttl: '1h', version: 2 })
    await t.until(declared.delete('a'))
    await t.run(10)
    expect(told).toEqual([{ key: 'a' }])
  })

  it('may ask and change the cache, and one that throws harms nobody', async () => {
    const { t, key } = await loading(7114)
    const told: unknown[] = []
    const [first, second] = [keyOf(t, 0), `${keyOf(t, 0)} again`]
    products(t, 0).on('invalidate', () => {
      throw new Error('mine')
    })
    products(t, 0).on('invalidate', async () => {
      throw new Error('mine too')
    })
    products(t, 0).on('invalidate', event => {
      told.push(event)
      if (told.length === 1) void products(t, 0).delete(second)
    })
    const before = await t.until(products(t, 0).set(key, 'x'))
    expect(await t.until(products(t, 0).delete(first))).toBe(true)
    await t.run('1s')
    expect(before).toBeTypeOf('string')
    expect(told[0]).toEqual({ key: first })
  })

  it('for no event that there is, or that is none, is refused', async () => {
    const t = await formed(1, { seed: 7115 })
    expect(() => products(t, 0).on('fills' as never, () => {})).toThrow(
      /the event of cache 'products' to be one of fill, invalidate, evict, hot, warm, got 'fills'/
    )
    expect(() => products(t, 0).on('fill', 7 as never)).toThrow(/the listener of cache 'products' to be a function/)
  })
})
