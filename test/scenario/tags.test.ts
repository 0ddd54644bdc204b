/**
 * Tags: everything that was written or loaded under one of them until now is gone, in every member, whatever its key; and
 * nothing that was read before can bring it back.
 */
import { describe, expect, it } from 'vitest'
import type { PartialError } from '../../lib/base/errors.ts'
import type { Cache } from '../../lib/cache.ts'
import type { Mesh } from '../../lib/mesh.ts'
import type { Cluster } from '../../lib/testing.ts'
import { errorOf, formed, keyOf, mesh, times, watch } from './story.ts'

const products = (t: Cluster, by: number): Cache<unknown, string> => mesh(t, by).cache<unknown, string>('products')
const offers = (t: Cluster, by: number): Cache<unknown, string> => mesh(t, by).cache<unknown, string>('offers')
const KEYS = times(60, i => `key-${i}`)
const tagOf = (i: number): string => (i % 3 === 0 ? 'red' : 'blue')

function tagged(size: number, seed: number, options: object = {}, ofMesh: object = {}): Promise<Cluster> {
  const start = (member: Mesh): void => void member.cache('products', { ttl: '1h', ...options } as never)
  return formed(size, { seed, start, options: ofMesh })
}

/** Every third is red, all of them are goods, and one has no tags. */
async function filled(t: Cluster, by = 0): Promise<void> {
  await t.until(products(t, by).setMany(KEYS.map((key, i) => [key, i, { tags: [tagOf(i), 'goods'] }] as const)))
  await t.until(products(t, by).set('plain', 'plain'))
}

const left = async (t: Cluster, by: number): Promise<unknown[]> => {
  const values = await t.until(products(t, by).getMany([...KEYS, 'plain']))
  return values.filter(value => value !== undefined)
}
const BLUE = KEYS.flatMap((_, i) => (tagOf(i) === 'blue' ? [i] : []))

async function keysOf(t: Cluster, by: number): Promise<string[]> {
  const all: string[] = []
  const iterate = async (): Promise<void> => {
    for await (const key of products(t, by).keys()) all.push(key)
  }
  await t.until(iterate())
  return all
}

describe('invalidateTag', () => {
  it('drops what has the tag in all members, and nothing else', async () => {
    const t = await tagged(5, 9400)
    await filled(t)
    await t.until(products(t, 3).invalidateTag('red'))
    for (const by of [0, 1, 4]) expect(await left(t, by)).toEqual([...BLUE, 'plain'])
    expect((await keysOf(t, 2)).length).toBe(BLUE.length + 1)
    expect(await t.until(products(t, 1).getEntry('key-1'))).toMatchObject({ tags: ['blue', 'goods'] })
    // What it has meanwhile is not meant.
    await t.until(products(t, 1).set('key-0', 'new', { tags: ['red'] }))
    expect(await t.until(products(t, 2).get('key-0'))).toBe('new')
    await t.until(products(t, 2).invalidateTag(['nobody', 'goods']))
    expect(await left(t, 0)).toEqual(['new', 'plain'])
  })

  it('is of one cache, or of all by the mesh, whoever has declared them', async () => {
    const t = await tagged(3, 9401)
    await filled(t)
    mesh(t, 1).cache('offers', { ttl: '1h' })
    await t.until(offers(t, 1).set('one', 1, { tags: ['red'] }))
    await t.until(products(t, 0).invalidateTag('red'))
    expect(await t.until(offers(t, 1).get('one'))).toBe(1)
    await t.until(mesh(t, 0).invalidateTag('red'))
    expect(await t.until(offers(t, 1).get('one'))).toBeUndefined()
    expect(await left(t, 1)).toEqual([...BLUE, 'plain'])
    expect(mesh(t, 0).stats().tagsInvalidatedTotal).toBe(2)
  })

  it('gives the memory back, at owners and backups alike, without a word about single keys', async () => {
    const t = await tagged(3, 9402, { backups: 1 })
    await filled(t)
    await t.run('2s')
    const sent = t.meshes.map(member => member.stats().repairsTotal)
    await t.until(products(t, 0).invalidateTag('goods'))
    await t.run('65s')
    expect(t.meshes.map(member => member.stats().records)).toEqual(t.meshes.map(() => expect.any(Number)))
    expect(t.meshes.reduce((sum, member) => sum + member.stats().records, 0)).toBe(2)
    expect(t.meshes.map(member => member.stats().repairsTotal)).toEqual(sent)
  })

  it('outlives the member that held it, for its backup has the same', async () => {
    const t = await tagged(4, 9403, { backups: 1 })
    await filled(t)
    await t.run('1s')
    await t.until(products(t, 0).invalidateTag('red'))
    t.crash(2)
    await t.run('8s')
    expect(await left(t, 0)).toEqual([...BLUE, 'plain'])
  })

  it('reaches who was cut off, and who joins', async () => {
    const t = await tagged(4, 9404, { backups: 1 })
    await filled(t)
    await t.run('1s')
    t.cut([3], [0, 1, 2])
    await t.run('15s')
    await t.until(products(t, 0).invalidateTag('red'))
    t.restart(2)
    await t.run('5s')
    t.heal()
    await t.run('10s')
    for (const by of [0, 2, 3]) expect(await left(t, by), `member ${by}`).toEqual([...BLUE, 'plain'])
  })

  it('ends near copies in all members that may own keys before it resolves', async () => {
    const t = await tagged(3, 9405, { near: {}, backups: 0 }, {})
    await t.until(products(t, 1).set('k', 1, { tags: ['red'] }))
    for (const by of [0, 1, 2])
      for (let i = 0; i < 3; i++) await t.until(products(t, by).get('k')).then(() => t.run(20))
    expect(t.meshes.reduce((sum, member) => sum + member.stats().nearEntries, 0)).toBe(2)
    await t.until(products(t, 0).invalidateTag('red'))
    for (const by of [0, 1, 2]) {
      expect(products(t, by).peek('k')).toBeUndefined()
      expect(await t.until(products(t, by).get('k'))).toBeUndefined()
    }
  })

  it('names the members that have not confirmed, and stays and spreads', async () => {
    const t = await tagged(3, 9406)
    await filled(t)
    t.pause(0)
    const error = (await errorOf(t, products(t, 1).invalidateTag('red', { timeout: '500ms' }))) as PartialError
    expect(error).toMatchObject({ code: 'ERR_MESH_PARTIAL', cache: 'products', retryable: true })
    expect(error.message).toContain(
      "1 of 3 members have not confirmed that tag 'red' of cache 'products' is invalidated: member-0."
    )
    const all = (await errorOf(t, mesh(t, 1).invalidateTag(['a', 'b'], { timeout: '500ms' }))) as PartialError
    expect(all.message).toContain("that tags 'a', 'b' of all caches are invalidated: member-0.")
    expect(all.cache).toBeUndefined()
    t.resume(0)
    await t.run('40s')
    expect(await left(t, 0)).toEqual([...BLUE, 'plain'])
  })

  it('says what it expected', async () => {
    const t = await tagged(1, 9407)
    for (const tags of [undefined, '', 7, [''], ['x'.repeat(201)], times(65, String)]) {
      const error = await errorOf(t, products(t, 0).invalidateTag(tags as never))
      expect(error, String(tags)).toMatchObject({ code: 'ERR_MESH_OPTION' })
      expect(error.message).toContain("Expected the tags to invalidate in cache 'products' to be")
    }
    const error = await errorOf(t, mesh(t, 0).invalidateTag('a', { hard: true } as never))
    expect(error.message).toContain('invalidateTag of the mesh')
    expect((await errorOf(t, mesh(t, 0).invalidateTag('a', 5 as never))).message).toContain('mesh.invalidateTag(tag, {')
    await t.until(products(t, 0).invalidateTag([]))
    expect(mesh(t, 0).stats().tagsInvalidatedTotal).toBe(0)
  })
})

describe('invalidateTag with soft', () => {
  const windows = { staleWhileRevalidate: '1m' } as const

  it('makes what has the tag stale and not gone, in a cache that answers with stale values', async () => {
    let calls = 0
    const t = await tagged(3, 9430, {
      ...windows,
      load: (key: string) => `${key} of call ${++calls}`,
      tags: (_: string, key: string) => [key]
    })
    const [red, blue] = [keyOf(t, 0), keyOf(t, 1)]
    const first = await Promise.all([red, blue].map(key => t.until(products(t, 2).get(key))))
    await t.until(products(t, 2).invalidateTag(red, { soft: true }))
    const entry = async (key: string) => t.until(products(t, 2).getEntry(key, { load: false }))
    expect([await entry(red), await entry(blue)]).toMatchObject([
      { stale: true, value: first[0] },
      { stale: false, value: first[1] }
    ])
    // Answered with what there was, and loaded behind.
    expect(await t.until(products(t, 1).get(red))).toBe(first[0])
    await t.run('1s')
    expect(await t.until(products(t, 1).get(red))).toBe(`${red} of call 3`)
    expect(await t.until(products(t, 1).get(blue))).toBe(first[1])
  })

  it('of all caches, and gone where nothing stale is answered', async () => {
    const t = await tagged(3, 9431, windows)
    mesh(t, 1).cache('offers', { ttl: '1h' })
    for (const cache of [products(t, 0), offers(t, 1)]) await t.until(cache.set('one', 1, { tags: ['red'] }))
    await t.until(mesh(t, 2).invalidateTag('red', { soft: true }))
    expect(await t.until(products(t, 2).getEntry('one', { load: false }))).toMatchObject({ value: 1, stale: true })
    expect(await t.until(offers(t, 2).get('one'))).toBeUndefined()
    await t.until(offers(t, 1).set('one', 2, { tags: ['red'] }))
    await t.until(offers(t, 1).invalidateTag('red', { soft: true }))
    expect(await t.until(offers(t, 2).get('one'))).toBeUndefined()
  })

  it('keeps no load that began before', async () => {
    let calls = 0
    const t: Cluster = await tagged(3, 9432, {
      ...windows,
      load: () => {
        const number = ++calls
        return t.sleep('1s').then(() => number)
      },
      tags: () => ['red']
    })
    const key = keyOf(t, 0)
    const early = watch(t, products(t, 1).get(key))
    await t.run('100ms')
    await t.until(products(t, 1).invalidateTag('red', { soft: true }))
    const late = watch(t, products(t, 2).get(key))
    await t.run('3s')
    expect([early.value, late.value]).toEqual([1, 2])
  })
})

describe('a load that runs while its tag is invalidated', () => {
  /** Each call of the origin finds another row, whose tag is known when it is there. */
  async function loading(seed: number): Promise<{ t: Cluster; key: string; calls: () => number }> {
    let calls = 0
    const t: Cluster = await tagged(3, seed, {
      load: () => {
        const row = { number: ++calls, tag: 'red' }
        return t.sleep('1s').then(() => row)
      },
      tags: ({ tag }: { tag: string }) => [tag]
    })
    return { t, key: keyOf(t, 0), calls: () => calls }
  }

  it('is for those who waited when it was; the others have one new load between them, which is kept', async () => {
    const { t, key, calls } = await loading(9410)
    const early = [0, 1, 2].map(by => watch(t, products(t, by).get(key)))
    await t.run('100ms')
    await t.until(products(t, 1).invalidateTag('red'))
    const late = [0, 1, 2].map(by => watch(t, products(t, by).get(key)))
    await t.run('3s')
    expect(early.map(({ value }) => value)).toEqual(times(3, () => ({ number: 1, tag: 'red' })))
    expect(late.map(({ value }) => value)).toEqual(times(3, () => ({ number: 2, tag: 'red' })))
    expect(await t.until(products(t, 2).get(key))).toEqual({ number: 2, tag: 'red' })
    expect(calls()).toBe(2)
  })

  it('is not for who came between two invalidations, nor between those of two of its tags', async () => {
    for (const [first, second] of [
      ['red', 'red'],
      ['red', 'row'],
      ['row', 'red']
    ] as const) {
      let calls = 0
      const t: Cluster = await tagged(3, 9413, {
        load: () => {
          const number = ++calls
          return t.sleep('1s').then(() => number)
        },
        tags: () => ['red', 'row']
      })
      const key = keyOf(t, 0)
      const early = watch(t, products(t, 1).get(key))
      await t.run('100ms')
      await t.until(products(t, 1).invalidateTag(first))
      const between = watch(t, products(t, 2).get(key))
      await t.run('100ms')
      await t.until(mesh(t, 1).invalidateTag(second))
      await t.run('4s')
      expect([early.value, between.value], `${first}, ${second}`).toEqual([1, 2])
    }
  })

  it('is kept if it has another tag', async () => {
    const { t, key, calls } = await loading(9411)
    const early = watch(t, products(t, 1).get(key))
    await t.run('100ms')
    await t.until(products(t, 1).invalidateTag('blue'))
    await t.run('2s')
    expect(early.state).toBe('fulfilled')
    expect(await t.until(products(t, 2).get(key))).toEqual({ number: 1, tag: 'red' })
    expect(calls()).toBe(1)
  })

  it('is not kept either if a caller runs it under a lease', async () => {
    const t: Cluster = await tagged(3, 9412)
    const key = keyOf(t, 0)
    const slow = (value: string) => (): Promise<string> => t.sleep('1s').then(() => value)
    const early = watch(t, products(t, 1).getOrSet(key, slow('old'), { tags: ['red'] }))
    await t.run('100ms')
    await t.until(products(t, 2).invalidateTag('red'))
    const late = watch(t, products(t, 2).getOrSet(key, slow('new'), { tags: ['red'] }))
    await t.run('3s')
    expect([early.value, late.value]).toEqual(['old', 'new'])
    expect(await t.until(products(t, 0).get(key))).toBe('new')
  })

  it('is not followed by a new owner, which cannot know when it began', async () => {
    for (let seed = 9420; seed < 9426; seed++) {
      const { t, key } = await loading(seed)
      const early = watch(t, products(t, 0).get(key))
      await t.run('100ms')
      const leaving = watch(t, mesh(t, 0).leave())
      await t.run('30ms')
      await t.until(products(t, 1).invalidateTag('red'))
      const late = watch(t, products(t, 2).get(key))
      await t.run('6s')
      expect([early.state, late.state, leaving.state]).toEqual(['fulfilled', 'fulfilled', 'fulfilled'])
      expect((late.value as { number: number }).number, `seed ${seed}`).toBeGreaterThan(1)
      expect((await t.until(products(t, 1).get(key))) as object, `seed ${seed}`).toMatchObject({
        number: expect.any(Number)
      })
    }
  })
})
