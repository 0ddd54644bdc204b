import { describe, expect, it } from 'vitest'
import type { MeshError } from '../../lib/base/errors.ts'
import type { CacheOptions } from '../../lib/cache-options.ts'
import type { Cluster } from '../../lib/testing.ts'
import { errorOf, formed, keyOf, mesh, times } from './story.ts'

function plain(seed: number, options: Partial<CacheOptions<unknown, string>> = {}): Promise<Cluster> {
  return formed(3, { seed, start: member => member.cache('plain', { ttl: '1h', ...options } as never) })
}

describe('values', () => {
  it('that are falsy come back as they were, on every member', async () => {
    const t = await plain(400)
    for (const [i, value] of [0, '', false, null, Number.NaN, -0].entries()) {
      await t.until(
        mesh(t, i % 3)
          .cache('plain')
          .set(`k${i}`, value)
      )
      for (const member of t.meshes) {
        expect(await t.until(member.cache('plain').get(`k${i}`))).toStrictEqual(value)
        expect(await t.until(member.cache('plain').has(`k${i}`))).toBe(true)
      }
    }
  })

  it('null is a value to set, and undefined is refused', async () => {
    const t = await plain(401)
    await t.until(mesh(t, 0).cache('plain').set('k', null))
    expect(await t.until(mesh(t, 1).cache('plain').get('k'))).toBeNull()
    const error = await errorOf(t, mesh(t, 1).cache('plain').set('k', undefined))
    expect(error.code).toBe('ERR_MESH_VALUE')
    expect(error.message).toContain('store null, or delete the entry')
    expect(await t.until(mesh(t, 2).cache('plain').get('k'))).toBeNull()
  })

  it('are private copies on every path: changing one changes nothing for anybody', async () => {
    const loaded = { tags: ['a'] }
    const t = await formed(3, {
      seed: 402,
      start: member => member.cache('products', { ttl: '1h', load: () => loaded })
    })
    const key = keyOf(t, 0)
    const read = (index: number): Promise<{ tags: string[] }> =>
      t.until(mesh(t, index).cache<{ tags: string[] }>('products').get(key) as Promise<{ tags: string[] }>)
    const together = times(4, i =>
      mesh(t, i % 2)
        .cache<{ tags: string[] }>('products')
        .get(key)
    )
    for (const copy of await t.until(Promise.all(together))) copy?.tags.push('changed')
    for (const index of [0, 1, 2, 0]) {
      const copy = await read(index)
      expect(copy).toEqual({ tags: ['a'] })
      copy.tags.push('changed')
    }
    expect(loaded).toEqual({ tags: ['a'] })
  })

  it('are taken as they are at the call: what the writer changes later is not seen', async () => {
    const t = await plain(403)
    const value = { n: 1 }
    const written = mesh(t, 0).cache('plain').set('k', value)
    value.n = 2
    await t.until(written)
    expect(await t.until(mesh(t, 1).cache('plain').get('k'))).toEqual({ n: 1 })
  })

  it('over maxValueBytes are refused by set, and what was there stays', async () => {
    const t = await plain(404, { maxValueBytes: '1kb' })
    await t.until(mesh(t, 0).cache('plain').set('k', 'small'))
    const error = await errorOf(t, mesh(t, 1).cache('plain').set('k', 'x'.repeat(1025)))
    expect(error.code).toBe('ERR_MESH_VALUE_TOO_LARGE')
    expect(error.message).toMatch(/at most 1024 bytes, got 10\d\d\. Raise maxValueBytes of cache 'plain'/)
    expect(await t.until(mesh(t, 2).cache('plain').get('k'))).toBe('small')
  })

  it('over maxValueBytes that a loader made are handed out, not kept, and counted', async () => {
    let calls = 0
    const t = await formed(3, {
      seed: 405,
      start: member =>
        member.cache('pages', { ttl: '1h', maxValueBytes: '1kb', load: () => `${++calls}`.padEnd(5_000, '.') })
    })
    const key = keyOf(t, 0, { cache: 'pages' })
    expect(await t.until(mesh(t, 1).cache('pages').get(key))).toHaveLength(5_000)
    expect(await t.until(mesh(t, 2).cache('pages').get(key))).toHaveLength(5_000)
    expect(calls).toBe(2)
    expect(mesh(t, 0).stats()).toMatchObject({ valuesTooLargeTotal: 2, records: 0, memoryBytes: 0 })
  })

  it.each([15.5, 17])('of %f MiB that a loader made never cost a link or a process', async mebibytes => {
    const bytes = new Uint8Array(mebibytes * 1024 ** 2)
    const codec = { encode: () => bytes, decode: () => 'large' }
    const t = await formed(3, {
      seed: 406,
      start: member => member.cache('pages', { ttl: '1h', codec, load: () => 'large' })
    })
    const read = mesh(t, 1)
      .cache('pages')
      .get(keyOf(t, 0, { cache: 'pages' }))
    const outcome = await t.until(read.catch((error: MeshError) => error.code ?? String(error)))
    expect(outcome).toBe('ERR_MESH_VALUE_TOO_LARGE')
    expect(t.meshes.map(member => member.stats().linksRefusedTotal)).toEqual([0, 0, 0])
  })

  describe.each([
    ['maxBytes of the cache', { maxBytes: '8kb' }, {}],
    ['memory of the member', {}, { memory: '8kb' }]
  ] as const)('over the %s', (_, options, memberOptions) => {
    const few = () =>
      formed(2, {
        seed: 409,
        options: memberOptions,
        start: member => member.cache('few', { ttl: '1h', ...options } as never)
      })
    const TOO_LARGE = 'x'.repeat(8 * 1024 - 50)

    it.each([
      ['this member', 0],
      ['another member', 1]
    ])('are refused where %s is the owner, and what was there stays', async (__, caller) => {
      const t = await few()
      const key = keyOf(t, 0, { cache: 'few' })
      const cache = mesh(t, caller).cache('few')
      const version = await t.until(cache.set(key, 'small'))
      const refused = [
        () => cache.set(key, TOO_LARGE),
        () => cache.compareAndSet(key, version, TOO_LARGE),
        () => cache.update(key, () => TOO_LARGE)
      ]
      for (const call of refused) {
        const error = await errorOf(t, call())
        expect(error).toMatchObject({ code: 'ERR_MESH_VALUE_TOO_LARGE', retryable: false })
        expect(error.message).toMatch(
          /takes at most 8192 bytes, .* got one that takes 8\d\d\d with its key and overhead\. Nothing was done/
        )
      }
      expect(await t.until(cache.compareAndSet(key, null, TOO_LARGE))).toBe(false)
      expect(await t.until(cache.get(key))).toBe('small')
      await t.until(cache.set(key, TOO_LARGE.slice(300)))
      expect(await t.until(cache.get(key))).toBe(TOO_LARGE.slice(300))
    })
  })

  it('of a few hundred kilobytes travel between members', async () => {
    const t = await plain(407)
    const large = 'é'.repeat(400_000)
    await t.until(mesh(t, 0).cache('plain').set('k', large))
    expect(await t.until(mesh(t, 1).cache('plain').get('k'))).toBe(large)
    expect(await t.until(mesh(t, 2).cache('plain').get('k'))).toBe(large)
  })

  it('of another codec are told apart from damaged ones, with what to do', async () => {
    const codec = { encode: (value: unknown) => new TextEncoder().encode(String(value)), decode: () => 'decoded' }
    const t = await formed(2, {
      seed: 408,
      start: (member, index) => member.cache<unknown>('plain', { ttl: '1h', codec: index === 0 ? codec : undefined })
    })
    await t.until(mesh(t, 0).cache('plain').set('k', 'v'))
    expect(await t.until(mesh(t, 0).cache('plain').get('k'))).toBe('decoded')
    expect((await errorOf(t, mesh(t, 1).cache('plain').get('k'))).message).toContain('declare the cache alike')
  })
})

describe('a loader that finds nothing', () => {
  it.each([null, undefined])('hands back %s as it was, and is not asked again for negativeTtl', async nothing => {
    let calls = 0
    const t = await formed(3, {
      seed: 410,
      start: member =>
        member.cache('products', {
          ttl: '1h',
          negativeTtl: '2s',
          jitter: 0,
          load: () => {
            calls++
            return nothing
          }
        })
    })
    const key = keyOf(t, 0)
    for (const member of t.meshes) expect(await t.until(member.cache('products').get(key))).toBe(nothing)
    expect(calls).toBe(1)
    expect(await t.until(mesh(t, 1).cache('products').has(key))).toBe(false)
    expect(await t.until(mesh(t, 1).cache('products').delete(key))).toBe(false)
    await t.until(mesh(t, 1).cache('products').get(key))
    await t.run('2100ms')
    await t.until(mesh(t, 2).cache('products').get(key))
    expect(calls).toBe(3)
  })

  it('is asked each time where negativeTtl is 0', async () => {
    let calls = 0
    const load = (): null => {
      calls++
      return null
    }
    const t = await formed(2, { seed: 411, start: m => m.cache('products', { ttl: '1h', negativeTtl: 0, load }) })
    for (let i = 0; i < 3; i++) await t.until(mesh(t, 1).cache('products').get('k'))
    expect(calls).toBe(3)
  })

  it('keeps nothing for 5 s by default, and never longer than the ttl', async () => {
    for (const [ttl, keptMs] of [
      ['1h', 5_000],
      ['1s', 1_000]
    ] as const) {
      let calls = 0
      const load = (): undefined => {
        calls++
      }
      const t = await formed(1, { seed: 412, start: m => m.cache('products', { ttl, jitter: 0, load }) })
      await t.until(mesh(t, 0).cache('products').get('k'))
      await t.run(keptMs - 10)
      await t.until(mesh(t, 0).cache('products').get('k'))
      expect(calls).toBe(1)
      await t.run(20)
      await t.until(mesh(t, 0).cache('products').get('k'))
      expect(calls).toBe(2)
    }
  })
})
