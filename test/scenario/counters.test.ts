import { describe, expect, it } from 'vitest'
import type { Counter } from '../../lib/counter.ts'
import type { Cluster } from '../../lib/testing.ts'
import { errorOf, formed, mesh, times } from './story.ts'

const hits = (t: Cluster, index: number, ttl: '1m' | 'forever' = '1m'): Counter =>
  mesh(t, index).counter('hits', { ttl })

describe('a counter', () => {
  it('adds up what all members add, and is 0 before and after', async () => {
    const t = await formed(3, { seed: 1300 })
    expect(await t.until(hits(t, 1).get('k'))).toBe(0)
    const sums = await t.until(Promise.all(times(300, i => hits(t, i % 3).add('k'))))
    expect(sums.map(({ value }) => value).sort((a, b) => a - b)).toEqual(times(300, i => i + 1))
    for (const index of [0, 1, 2]) expect(await t.until(hits(t, index).get('k'))).toBe(300)
    await t.until(hits(t, 2).reset('k'))
    expect(await t.until(hits(t, 0).get('k'))).toBe(0)
    expect(mesh(t, 1).stats().countsTotal).toBe(100)
  })

  it('adds by any number, below 0 and between too', async () => {
    const t = await formed(2, { seed: 1301 })
    const sums: number[] = []
    for (const by of [5, -7, 0.5, 0, 2.5]) sums.push((await t.until(hits(t, 1).add('k', by))).value)
    expect(sums).toEqual([5, -2, -1.5, -1.5, 1])
  })

  it('ends a TTL after its first add, however often it is added to', async () => {
    const t = await formed(2, { seed: 1302 })
    const first = await t.until(hits(t, 1).add('k'))
    await t.run('50s')
    const second = await t.until(hits(t, 1).add('k'))
    expect(Math.abs(second.expiresAt - first.expiresAt)).toBeLessThanOrEqual(5)
    await t.run('11s')
    expect(await t.until(hits(t, 0).get('k'))).toBe(0)
    const next = await t.until(hits(t, 1).add('k'))
    expect(next.value).toBe(1)
    expect(next.expiresAt - first.expiresAt).toBeGreaterThan(60_000)
  })

  it('that is kept for ever says so', async () => {
    const t = await formed(2, { seed: 1303 })
    expect(await t.until(hits(t, 1, 'forever').add('k'))).toEqual({ value: 1, expiresAt: Number.POSITIVE_INFINITY })
    await t.run('10m')
    expect(await t.until(hits(t, 0, 'forever').get('k'))).toBe(1)
  })

  it('refuses to leave the range of exact numbers, and adds nothing then', async () => {
    const t = await formed(2, { seed: 1304 })
    expect((await t.until(hits(t, 1).add('k', Number.MAX_SAFE_INTEGER))).value).toBe(Number.MAX_SAFE_INTEGER)
    const error = await errorOf(t, hits(t, 1).add('k'))
    expect(error.code).toBe('ERR_MESH_VALUE')
    expect(error.message).toContain('reset the counter')
    expect((await errorOf(t, hits(t, 1).add('low', -Number.MAX_VALUE))).code).toBe('ERR_MESH_VALUE')
    expect((await t.until(hits(t, 0).add('k', -1))).value).toBe(Number.MAX_SAFE_INTEGER - 1)
    expect(await t.until(hits(t, 0).get('low'))).toBe(0)
  })

  it('and a cache of the same name and key do not meet', async () => {
    const t = await formed(3, { seed: 1305, start: member => member.cache<unknown>('hits', { ttl: '1h' }) })
    const cache = mesh(t, 1).cache<unknown>('hits')
    await t.until(cache.set('k', 'text'))
    await t.until(hits(t, 1).add('k'))
    expect(await t.until(cache.get('k'))).toBe('text')
    await t.until(cache.clear())
    expect(await t.until(hits(t, 2).get('k'))).toBe(1)
    await t.until(mesh(t, 1).cache('counter', { ttl: '1h', version: 'hits' }).set('k', 'text'))
    expect(await t.until(hits(t, 2).get('k'))).toBe(1)
  })

  it('is declared once; again with another ttl is an error, and without one too', async () => {
    const t = await formed(1, { seed: 1306 })
    expect(hits(t, 0)).toBe(hits(t, 0))
    expect(() => hits(t, 0, 'forever')).toThrow("The counter 'hits' is declared already with another ttlMs")
    expect(() => mesh(t, 0).counter('other', {} as never)).toThrow('Expected ttl of counter')
    expect(() => mesh(t, 0).counter('other', undefined as never)).toThrow('to be an object')
    expect(() => mesh(t, 0).counter('', { ttl: 1 })).toThrow("mesh.counter('hits', { ttl: '1m' })")
    expect(() => mesh(t, 0).counter('other', { ttl: 0 })).toThrow("ttl of counter 'other'")
    expect(() => mesh(t, 0).counter('other', { ttl: 1, jitter: 0 } as never)).toThrow("Unknown option 'jitter'")
  })
})

describe('a cached function', () => {
  const price = (t: Cluster, index: number, calls: string[] = []) =>
    mesh(t, index).cached(
      'price',
      async (sku: string, pieces: number) => {
        calls.push(`${sku} ${pieces}`)
        return sku.length * pieces
      },
      { ttl: '1h' }
    )

  it('runs once in the mesh for the same arguments, and once for others', async () => {
    const calls: string[] = []
    const t = await formed(3, { seed: 1310, start: member => void member })
    const functions = [0, 1, 2].map(index => price(t, index, calls))
    const all = await t.until(Promise.all(times(30, i => (functions[i % 3] as (typeof functions)[0])('lamp', 2))))
    expect(new Set(all)).toEqual(new Set([8]))
    expect(await t.until(price(t, 1, calls)('lamp', 3))).toBe(12)
    expect(calls).toEqual(['lamp 2', 'lamp 3'])
  })

  it('is a cache whose keys are the arguments', async () => {
    const calls: string[] = []
    const t = await formed(2, { seed: 1311 })
    const ofLamp = price(t, 1, calls)
    await t.until(ofLamp('lamp', 2))
    expect(await t.until(ofLamp.cache.delete(['lamp', 2]))).toBe(true)
    await t.until(ofLamp('lamp', 2))
    expect(calls).toHaveLength(2)
    expect(ofLamp.cache).toBe(mesh(t, 1).cache('price'))
  })

  it('rejects as a loader does, and refuses what is no key', async () => {
    const t = await formed(1, { seed: 1312 })
    const wrong = mesh(t, 0).cached(
      'wrong',
      (_id: string): string => {
        throw new Error('down')
      },
      { ttl: '1h' }
    )
    expect((await errorOf(t, wrong('k'))).code).toBe('ERR_MESH_LOAD')
    expect((await errorOf(t, (wrong as unknown as () => Promise<unknown>)())).message).toContain('without arguments')
    expect((await errorOf(t, wrong(undefined as never))).code).toBe('ERR_MESH_KEY')
  })

  it('is declared with a function and options, and without a loader beside it', async () => {
    const t = await formed(1, { seed: 1313 })
    const declare =
      (...given: unknown[]) =>
      () =>
        (mesh(t, 0).cached as (...given: unknown[]) => unknown)(...given)
    expect(declare('f', 5, { ttl: 1 })).toThrow('second argument of cached to be a function')
    expect(declare('f', () => 1)).toThrow('options of cached')
    expect(declare('f', () => 1, '1h')).toThrow('options of cached')
    expect(declare('f', () => 1, {})).toThrow("ttl of cache 'f'")
    expect(declare('f', () => 1, { ttl: 1, load: () => 1 })).toThrow('it takes no load')
  })
})
