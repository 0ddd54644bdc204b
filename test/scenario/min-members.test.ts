import { describe, expect, it } from 'vitest'
import type { Mesh } from '../../lib/mesh.ts'
import { type Cluster, cluster } from '../../lib/testing.ts'
import { errorOf, formed, keyOf, mesh, ownerOf, times, watch } from './story.ts'

const SMALL = [0, 1]
const LARGE = [2, 3, 4]

function five(seed: number): Promise<Cluster> {
  const load = (id: string): string => `${id}!`
  return formed(5, {
    seed,
    options: { minMembers: 3 },
    start: member => {
      member.cache('products', { ttl: '1h' })
      member.cache('loaded', { ttl: '1h', exists: { keys: 10 }, load })
    }
  })
}

/** Every operation of a cache and of a counter. */
const OPERATIONS: readonly [string, (member: Mesh) => Promise<unknown>][] = [
  ['get', m => m.cache('products').get('k')],
  ['getMany', m => m.cache('products').getMany(['k', 'l'])],
  ['getEntry', m => m.cache('products').getEntry('k')],
  ['has', m => m.cache('products').has('k')],
  ['getOrSet', m => m.cache('products').getOrSet('k', () => 1)],
  ['getOrSetMany', m => m.cache('products').getOrSetMany(['k'], () => [1])],
  ['set', m => m.cache('products').set('k', 1)],
  ['setMany', m => m.cache('products').setMany([['k', 1]])],
  ['update', m => m.cache('products').update('k', () => 1)],
  ['compareAndSet', m => m.cache('products').compareAndSet('k', null, 1)],
  ['touch', m => m.cache('products').touch('k', '1m')],
  ['delete', m => m.cache('products').delete('k')],
  ['deleteMany', m => m.cache('products').deleteMany(['k'])],
  ['clear', m => m.cache('products').clear()],
  ['flush', m => m.cache('products').flush()],
  ['explain', m => m.cache('products').explain('k')],
  ['keys', async m => m.cache('products').keys()],
  ['refresh', m => loading(m).refresh('k')],
  ['warm', m => loading(m).warm(['k'])],
  ['exists.add', m => loading(m).exists.add('k')],
  ['add', m => m.counter('hits', { ttl: '1m' }).add('k')],
  ['get of a counter', m => m.counter('hits', { ttl: '1m' }).get('k')],
  ['reset', m => m.counter('hits', { ttl: '1m' }).reset('k')],
  ['flush of a counter', m => m.counter('hits', { ttl: '1m' }).flush()]
]

const loading = (member: Mesh) =>
  member.cache('loaded', { ttl: '1h', exists: { keys: 10 }, load: async (id: string) => `${id}!` })

describe('with minMembers of more than half', () => {
  it('the smaller side of a split refuses everything, and the larger one serves', async () => {
    const t = await five(1)
    t.cut(SMALL, LARGE)
    await t.run('10s')
    for (const [name, operation] of OPERATIONS) {
      const error = await errorOf(t, operation(mesh(t, 0)))
      expect(error, name).toMatchObject({ code: 'ERR_MESH_MIN_MEMBERS', retryable: true })
      expect(error.message, name).toContain('with 3 members or more (minMembers), and this one sees 2')
    }
    const products = mesh(t, 2).cache<number>('products')
    const keys = times(20, i => `key-${i}`)
    await t.until(products.setMany(keys.map((key, i) => [key, i])))
    expect(await t.until(mesh(t, 4).cache('products').getMany(keys))).toEqual(times(20, i => i))
  })

  it('it serves again when the split has healed', async () => {
    const t = await five(2)
    t.cut(SMALL, LARGE)
    await t.run('10s')
    t.heal()
    await t.run('5s')
    await t.until(mesh(t, 0).cache('products').set('k', 1))
    expect(await t.until(mesh(t, 3).cache('products').get('k'))).toBe(1)
  })

  it('what needs nobody else goes on: stats, declaring, leaving', async () => {
    const t = await five(3)
    t.cut(SMALL, LARGE)
    await t.run('10s')
    expect(mesh(t, 0).stats().members).toBe(2)
    expect(mesh(t, 0).cache('another', { ttl: '1h' }).name).toBe('another')
    expect(mesh(t, 0).counter('another', { ttl: '1h' }).name).toBe('another')
    await t.until(mesh(t, 0).leave())
    expect(mesh(t, 0).state).toBe('left')
  })

  it('pages of keys end where members go', async () => {
    const t = await five(4)
    const products = mesh(t, 0).cache<number>('products')
    await t.until(products.setMany(times(100, i => [`key-${i}`, i])))
    const pages = products.keys()[Symbol.asyncIterator]()
    t.cut(SMALL, LARGE)
    await t.run('10s')
    expect(await errorOf(t, pages.next())).toMatchObject({ code: 'ERR_MESH_MIN_MEMBERS' })
  })

  it('ready waits for so many, unless it is told another number', async () => {
    const t = cluster(3, { seed: 5, options: { minMembers: 3 } })
    t.crash(2)
    await t.run('5s')
    const ready = watch(t, mesh(t, 0).ready())
    await t.until(mesh(t, 0).ready({ members: 2 }))
    await t.run('5s')
    expect(ready.state).toBe('pending')
    t.restart(2)
    await t.until(ready.promise)
    expect(mesh(t, 0).members).toHaveLength(3)
  })

  it('a mesh that has not got so far serves nobody', async () => {
    const t = cluster(3, { seed: 6, options: { minMembers: 3 }, start: m => m.cache('products', { ttl: '1h' }) })
    const early = await errorOf(t, mesh(t, 0).cache('products').get('k'))
    expect(early).toMatchObject({ code: 'ERR_MESH_MIN_MEMBERS' })
    await t.until(mesh(t, 0).ready())
    expect(await t.until(mesh(t, 0).cache('products').get('k'))).toBeUndefined()
  })

  it('by default both sides of a split serve', async () => {
    const t = await formed(5, { seed: 7, start: m => m.cache('products', { ttl: '1h' }) })
    t.cut(SMALL, LARGE)
    await t.run('10s')
    const key = keyOf(t, 0)
    expect(ownerOf(t, key)).toBe(0)
    await t.until(mesh(t, 1).cache('products').set(key, 'small'))
    await t.until(mesh(t, 2).cache('products').set(key, 'large'))
    expect(await t.until(mesh(t, 0).cache('products').get(key))).toBe('small')
  })
})
