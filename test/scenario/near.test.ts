/**
 * Near copies: what is read twice is read here, and what changes anywhere is gone from here: within milliseconds by
 * gossip, within two seconds without it, and at once for who has made the change.
 */
import { describe, expect, it } from 'vitest'
import type { CacheOptions } from '../../lib/cache-options.ts'
import type { Mesh } from '../../lib/mesh.ts'
import type { Cluster, ClusterOptions } from '../../lib/testing.ts'
import { formed, keyOf, mesh, orOurError, times } from './story.ts'

type Product = { readonly name: string; readonly parts: readonly string[] }
const PRODUCT: Product = { name: 'bolt', parts: ['head', 'shaft'] }

interface Terms {
  readonly seed: number
  readonly cache?: Partial<Omit<CacheOptions<unknown, string>, 'load' | 'loadMany'>>
  readonly faults?: ClusterOptions['faults']
}

/** Three members; `key` is owned by member 0. */
async function near({ seed, cache, faults = {} }: Terms): Promise<{ t: Cluster; key: string }> {
  const options = { ttl: '1h', backups: 0, near: {}, ...cache } as const
  const t = await formed(3, { seed, faults, start: member => void member.cache('products', options) })
  return { t, key: keyOf(t, 0) }
}

const products = <V = Product>(t: Cluster, by: number) => mesh(t, by).cache<V>('products')
const entry = (t: Cluster, by: number, key: string) => t.until(products(t, by).getEntry(key))
const fromOf = async (t: Cluster, by: number, key: string) => (await entry(t, by, key))?.from

/** Read until it is kept: the first read of an owner only begins to follow it. */
async function keep(t: Cluster, by: number, key: string): Promise<void> {
  for (let i = 0; i < 2; i++) {
    await t.until(products(t, by).get(key))
    await t.run(20)
  }
}

describe('a value that is read again', () => {
  it('is read in this process, and is one frozen value for all', async () => {
    const { t, key } = await near({ seed: 9001 })
    await t.until(products(t, 0).set(key, PRODUCT))
    await keep(t, 1, key)
    const asked = mesh(t, 0).stats().requestsServedTotal
    const [a, b] = [await t.until(products(t, 1).get(key)), await t.until(products(t, 1).get(key))]
    expect(a).toEqual(PRODUCT)
    expect(b).toBe(a)
    expect(Object.isFrozen(a?.parts)).toBe(true)
    expect(await entry(t, 1, key)).toMatchObject({ from: 'near', stale: false, value: PRODUCT })
    expect(await t.until(products(t, 1).has(key))).toBe(true)
    expect(mesh(t, 0).stats().requestsServedTotal).toBe(asked)
    expect(mesh(t, 1).stats()).toMatchObject({ nearEntries: 1, nearKeptTotal: 1, readsNearTotal: 4 })
    expect(mesh(t, 2).stats().nearEntries).toBe(0)
  })

  it('is a copy for each caller where values are copies, and where they hold what cannot be frozen', async () => {
    const copies = await near({ seed: 9002, cache: { values: 'copy' } })
    await copies.t.until(products(copies.t, 0).set(copies.key, PRODUCT))
    await keep(copies.t, 1, copies.key)
    const [a, b] = [await entry(copies.t, 1, copies.key), await entry(copies.t, 1, copies.key)]
    expect([a?.from, b?.from, a?.value]).toEqual(['near', 'near', PRODUCT])
    expect(a?.value).not.toBe(b?.value)
    expect(Object.isFrozen(a?.value)).toBe(false)

    const { t, key } = await near({ seed: 9003 })
    await t.until(products<unknown>(t, 0).set(key, { at: new Date(7), tags: new Set(['a']) }))
    await keep(t, 1, key)
    const [c, d] = [await entry(t, 1, key), await entry(t, 1, key)]
    expect([c?.from, c?.value]).toEqual(['near', { at: new Date(7), tags: new Set(['a']) }])
    expect(c?.value).not.toBe(d?.value)
  })

  it('is shown by peek, as is what this member owns, and nothing else is', async () => {
    const { t, key } = await near({ seed: 9004 })
    await t.until(products(t, 0).set(key, PRODUCT))
    expect(products(t, 1).peek(key)).toBeUndefined()
    await keep(t, 1, key)
    expect(products(t, 1).peek(key)).toEqual(PRODUCT)
    expect(products(t, 0).peek(key)).toEqual(PRODUCT)
    expect(products(t, 2).peek(key)).toBeUndefined()
  })

  it('is read near by a handle that was there before the cache was declared to keep copies', async () => {
    const t = await formed(2, { seed: 9013 })
    const key = keyOf(t, 0, { cache: 'products' })
    const early = mesh(t, 1).cache<Product>('products')
    expect([early.peek(key), await t.until(early.get(key))]).toEqual([undefined, undefined])
    for (const member of [0, 1]) mesh(t, member).cache('products', { ttl: '1h', backups: 0, near: {} })
    await t.until(products(t, 0).set(key, PRODUCT))
    await keep(t, 1, key)
    expect(early.peek(key)).toEqual(PRODUCT)
    expect((await t.until(early.getEntry(key)))?.from).toBe('near')
  })

  it('rejects and does not throw when it cannot be asked for', async () => {
    const { t, key } = await near({ seed: 9014 })
    await t.until(products(t, 0).set(key, PRODUCT))
    await keep(t, 1, key)
    const cache = products(t, 1)
    await expect(cache.get(key, { from: 'here' as never })).rejects.toMatchObject({ code: 'ERR_MESH_OPTION' })
    await expect(cache.get(key, 5 as never)).rejects.toMatchObject({ code: 'ERR_MESH_OPTION' })
    await expect(cache.get(7 as never)).rejects.toMatchObject({ code: 'ERR_MESH_KEY' })
    const reason = new Error('enough')
    await expect(cache.get(key, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    await t.until(mesh(t, 1).leave())
    await expect(cache.get(key)).rejects.toMatchObject({ code: 'ERR_MESH_LEFT' })
    expect(() => cache.peek(key)).toThrow('has left')
  })

  it('is asked of its owner where the call says so, and where the cache keeps no copies', async () => {
    const { t, key } = await near({ seed: 9005 })
    await t.until(products(t, 0).set(key, PRODUCT))
    await keep(t, 1, key)
    expect(await t.until(products(t, 1).getEntry(key, { from: 'owner' }))).toMatchObject({ from: 'owner' })
    const without = await near({ seed: 9006, cache: { near: false } })
    await without.t.until(products(without.t, 0).set(without.key, PRODUCT))
    await keep(without.t, 1, without.key)
    expect(await fromOf(without.t, 1, without.key)).toBe('owner')
  })

  it('is kept no longer than its own TTL, nor than a copy may answer', async () => {
    const { t, key } = await near({ seed: 9007, cache: { near: { ttl: '1m' } } })
    await t.until(products<string>(t, 0).set(key, 'v', { ttl: '3s' }))
    await keep(t, 1, key)
    expect(await fromOf(t, 1, key)).toBe('near')
    await t.run('3s')
    expect(await entry(t, 1, key)).toBeUndefined()
  })
})

describe('a change', () => {
  const CHANGES: Record<string, (cache: ReturnType<typeof products<string>>, key: string) => Promise<unknown>> = {
    set: (cache, key) => cache.set(key, 'v2'),
    delete: (cache, key) => cache.delete(key),
    update: (cache, key) => cache.update(key, () => 'v2'),
    clear: cache => cache.clear(),
    'clear of a prefix': cache => cache.clear({ prefix: 'key-' }),
    touch: (cache, key) => cache.touch(key, '1m')
  }

  describe.each(Object.keys(CHANGES))('by %s', name => {
    const change = CHANGES[name] as (typeof CHANGES)[string]
    it.each([0, 1, 2])('of member %i ends every copy, at once where it was made', async by => {
      const { t, key } = await near({ seed: 9100 + by })
      await t.until(products<string>(t, 0).set(key, 'v1'))
      for (const reader of [1, 2]) await keep(t, reader, key)
      expect([await fromOf(t, 1, key), await fromOf(t, 2, key)]).toEqual(['near', 'near'])
      const before = (await entry(t, 0, key))?.expiresAt
      await t.until(change(products<string>(t, by), key))
      const expected = name === 'touch' ? 'v1' : ['set', 'update'].includes(name) ? 'v2' : undefined
      expect(await t.until(products<string>(t, by).get(key))).toBe(expected)
      await t.run(20)
      for (const reader of [1, 2]) {
        const now = await entry(t, reader, key)
        expect(now?.value).toBe(expected)
        if (name === 'touch') expect(now?.expiresAt).toBeLessThan(before as number)
      }
    })
  })

  it('is known within two seconds though all gossip is lost, and not a millisecond later', async () => {
    const { t, key } = await near({ seed: 9200, faults: { gossipLoss: 1 } })
    for (const round of times(20, i => i)) {
      await t.until(products<string>(t, 0).set(key, `v${round}`))
      const setAtMs = t.now
      for (;;) {
        const value = await t.until(products<string>(t, 1).get(key))
        if (value === `v${round}`) break
        expect(t.now - setAtMs).toBeLessThan(2_000)
        await t.run(17)
      }
      await t.run(round * 37)
    }
    expect(mesh(t, 1).stats().readsNearTotal).toBeGreaterThan(20)
  })

  it('that came while a read was on its way ends what the read brings', async () => {
    for (const delayMs of times(12, i => i / 3)) {
      const { t, key } = await near({ seed: 9210 })
      await t.until(products<string>(t, 0).set(key, 'v1'))
      await t.until(products<string>(t, 1).get(keyOf(t, 0)))
      await t.run(20)
      const read = products<string>(t, 1).get(key)
      await t.run(delayMs)
      await t.until(Promise.all([products<string>(t, 0).set(key, 'v2'), read]))
      await t.run(30)
      expect(await t.until(products<string>(t, 1).get(key)), `after ${delayMs} ms`).toBe('v2')
    }
  })
})

describe('an owner that cannot be asked', () => {
  it('leaves the copy to answer until its ttl is over, after two seconds only where nobody else does', async () => {
    const { t, key } = await near({ seed: 9300, cache: { near: { ttl: '4s' } } })
    await t.until(products<string>(t, 0).set(key, 'v1'))
    await keep(t, 1, key)
    t.pause(0)
    await t.run('1s')
    expect(await t.until(products<string>(t, 1).get(key))).toBe('v1')
    await t.run('1500ms')
    const asked = t.now
    expect(await t.until(products<string>(t, 1).get(key, { timeout: '100ms' }))).toBe('v1')
    expect(t.now - asked).toBeGreaterThanOrEqual(100)
    await t.run('2s')
    // Others have taken over by now, or nobody answers.
    expect(await t.until(orOurError(products(t, 1).get(key, { timeout: '100ms' })))).toBeUndefined()
  })

  it('takes its copies along when others own its keys, and when it is started anew', async () => {
    const { t, key } = await near({ seed: 9301, cache: { backups: 1 } })
    await t.until(products<string>(t, 0).set(key, 'v1', { backupAcks: 1 }))
    const reader = [1, 2].find(index => keyOf(t, index) !== key) as number
    await keep(t, reader, key)
    expect(mesh(t, reader).stats().nearEntries).toBe(1)
    t.crash(0)
    await t.run('10s')
    const other = [1, 2].find(index => index !== reader) as number
    await t.until(products<string>(t, other).set(key, 'v2'))
    await t.run(10)
    expect(await t.until(products<string>(t, reader).get(key))).toBe('v2')
    t.restart(0)
    await t.run('5s')
    await keep(t, reader, key)
    await t.until(products<string>(t, other).set(key, 'v3'))
    await t.run(20)
    expect(await t.until(products<string>(t, reader).get(key))).toBe('v3')
  })
})

describe('a member that keeps no copies of anybody', () => {
  it('is told nothing, and others do not remember for it', async () => {
    const { t, key } = await near({ seed: 9400, cache: { near: false } })
    for (const i of times(50, n => n)) await t.until(products<string>(t, 1).set(key, `v${i}`))
    expect(mesh(t, 0).stats()).toMatchObject({ invalidationsSentTotal: 0 })
    expect(mesh(t, 1).stats()).toMatchObject({ confirmationsTotal: 0, invalidationsHeardTotal: 0 })
  })

  it('and one that has stopped reading is asked nothing any more', async () => {
    const { t, key } = await near({ seed: 9401 })
    await t.until(products(t, 0).set(key, PRODUCT))
    await keep(t, 1, key)
    await t.run('30s')
    const asked = mesh(t, 1).stats().confirmationsTotal
    await t.run('30s')
    expect(mesh(t, 1).stats().confirmationsTotal).toBe(asked)
  })
})

describe('options that make no sense', () => {
  it.each([
    [{ near: true }, "false, 'hot' or { maxEntries, maxBytes, ttl }"],
    [{ near: { size: 3 } }, 'size'],
    [{ near: { maxEntries: 0 } }, 'maxEntries'],
    [{ near: { ttl: 0 } }, 'ttl'],
    [{ values: 'shared' }, "'copy' or 'frozen'"]
  ])('%o is refused', async (options, what) => {
    const { t } = await near({ seed: 9500 })
    const declare = (): unknown => (mesh(t, 0) as Mesh).cache('other', { ttl: '1h', ...options } as never)
    expect(declare).toThrow(what)
  })
})
