import { describe, expect, it } from 'vitest'
import type { PartialError } from '../../lib/base/errors.ts'
import type { Cache } from '../../lib/cache.ts'
import type { Key } from '../../lib/codec/keys.ts'
import { namespaceOf } from '../../lib/fill/definition.ts'
import type { Mesh } from '../../lib/mesh.ts'
import type { Cluster } from '../../lib/testing.ts'
import { keysHeldBy } from './copied.ts'
import { errorOf, formed, keyOf, mesh, ownersOf, times, watch } from './story.ts'

const products = (t: Cluster, index: number): Cache<unknown, Key> => mesh(t, index).cache<unknown, Key>('products')

function plain(size: number, seed: number, options: object = {}, ofMesh: object = {}): Promise<Cluster> {
  const start = (member: Mesh) => void member.cache('products', { ttl: '1h', ...options } as never)
  return formed(size, { seed, start, options: ofMesh })
}

async function listed(t: Cluster, keys: AsyncIterable<Key>): Promise<Key[]> {
  const all: Key[] = []
  const iterate = async (): Promise<void> => {
    for await (const key of keys) all.push(key)
  }
  await t.until(iterate())
  return all
}

const inOrder = (keys: readonly Key[]): string[] => keys.map(key => JSON.stringify(key)).sort()

/** What prefixes are told apart by. */
const SHELF: readonly Key[] = [
  'user:1',
  'user:12',
  'user',
  'a["berlin"',
  ['berlin'],
  ['berlin', 1],
  ['berlin', 1, 'x'],
  ['berlin', 12],
  ['berlin2', 1],
  ['berlin,1'],
  [1],
  [12],
  ['1'],
  [true],
  [true, 'x']
]
const PREFIXES: readonly [string | readonly (string | number | boolean)[], readonly Key[]][] = [
  ['user:1', ['user:1', 'user:12']],
  ['user', ['user:1', 'user:12', 'user']],
  ['a[', ['a["berlin"']],
  [['berlin'], [['berlin'], ['berlin', 1], ['berlin', 1, 'x'], ['berlin', 12]]],
  [
    ['berlin', 1],
    [
      ['berlin', 1],
      ['berlin', 1, 'x']
    ]
  ],
  [[1], [[1]]],
  [[true], [[true], [true, 'x']]],
  [['nobody'], []]
]

describe('clear', () => {
  it('drops everything of this cache in all members, and nothing of another', async () => {
    const t = await plain(4, 1200)
    await t.until(products(t, 1).setMany(times(100, i => [`k${i}`, i])))
    await t.until(mesh(t, 1).cache('others', { ttl: '1h' }).set('k', 1))
    await t.until(mesh(t, 1).cache('products2', { ttl: '1h' }).set('k', 1))
    await t.until(mesh(t, 1).counter('products', { ttl: '1h' }).add('k'))
    await t.until(products(t, 2).clear())
    expect(await t.until(products(t, 3).getMany(times(100, i => `k${i}`)))).toEqual(times(100, () => undefined))
    // What is dead is swept behind.
    await t.run('3s')
    expect(t.meshes.reduce((sum, member) => sum + member.stats().records, 0)).toBe(3 * 2)
    expect(await t.until(mesh(t, 1).counter('products', { ttl: '1h' }).get('k'))).toBe(1)
    expect(mesh(t, 2).stats().clearsTotal).toBe(1)
  })

  it.each(PREFIXES)('under %j drops that and nothing else', async (prefix, matching) => {
    const t = await plain(2, 1201)
    await t.until(products(t, 0).setMany(SHELF.map(key => [key, 1])))
    await t.until(products(t, 1).clear({ prefix }))
    const left = inOrder(await listed(t, products(t, 0).keys()))
    const gone = inOrder(SHELF).filter(key => !left.includes(key))
    expect(gone).toEqual(inOrder(matching))
  })

  it('fences loads that run: those who wait get the value, nobody later does', async () => {
    let calls = 0
    const t: Cluster = await plain(3, 1202, { load: () => t.sleep('1s').then(() => ++calls) })
    const key = keyOf(t, 0)
    const early = watch(t, products(t, 1).get(key))
    const other = watch(t, products(t, 1).get(['apart', 1]))
    await t.run('100ms')
    await t.until(products(t, 2).clear({ prefix: 'key-' }))
    const late = watch(t, products(t, 2).get(key))
    await t.run('3s')
    expect([early.state, other.state, late.state]).toEqual(['fulfilled', 'fulfilled', 'fulfilled'])
    expect(late.value).toBe(3)
    expect(await t.until(products(t, 0).get(key))).toBe(3)
    expect(await t.until(products(t, 0).get(['apart', 1]))).toBe(other.value)
  })

  it('fences a load of a caller under a lease too', async () => {
    const t: Cluster = await plain(3, 1203)
    const key = keyOf(t, 0)
    const early = watch(
      t,
      products(t, 1).getOrSet(key, () => t.sleep('1s').then(() => 'old'))
    )
    await t.run('100ms')
    await t.until(products(t, 2).clear())
    await t.run('2s')
    expect(early.value).toBe('old')
    expect(await t.until(products(t, 2).has(key))).toBe(false)
  })

  it('of a mesh of one, and of an empty cache, is done', async () => {
    const t = await plain(1, 1204)
    await t.until(products(t, 0).clear())
    await t.until(products(t, 0).set('k', 1))
    await t.until(products(t, 0).clear({ prefix: 'k' }))
    expect(await t.until(products(t, 0).has('k'))).toBe(false)
  })

  it('asks nobody who can hold nothing: two that only dial could not even reach each other', async () => {
    const t = await plain(3, 1209, {}, { weight: 0 })
    t.pause(0)
    await t.until(products(t, 1).clear(), '50ms')
  })

  it('waits for a member whose link is lost', async () => {
    const t = await plain(3, 1205)
    const key = keyOf(t, 0)
    await t.until(products(t, 1).set(key, 1))
    t.disconnect(1, 0)
    await t.run('1ms')
    await t.until(products(t, 1).clear(), '4s')
    expect(await t.until(products(t, 2).has(key))).toBe(false)
  })

  it('does not wait for a member that dies meanwhile, and asks one that joins', async () => {
    const t = await plain(4, 1206)
    await t.until(products(t, 1).set('k', 1))
    t.crash(0)
    await t.until(products(t, 1).clear(), '5s')
    t.restart(0)
    await t.run('30ms')
    await t.until(products(t, 1).clear(), '5s')
    expect(await t.until(products(t, 1).has('k'))).toBe(false)
  })

  it('names the members that have not confirmed', async () => {
    const t = await plain(3, 1207)
    const [stuck, well] = [keyOf(t, 0), keyOf(t, 2)]
    await t.until(
      products(t, 1).setMany([
        [stuck, 1],
        [well, 1]
      ])
    )
    t.pause(0)
    const error = (await errorOf(t, products(t, 1).clear({ timeout: '500ms' }))) as PartialError
    expect(error).toMatchObject({ code: 'ERR_MESH_PARTIAL', retryable: true, values: ['member-1', 'member-2'] })
    expect(error.message).toContain("1 of 3 members have not confirmed that cache 'products' is cleared: member-0.")
    expect([...error.errors.values()]).toMatchObject([
      { member: 'member-0', code: 'ERR_MESH_TIMEOUT', outcome: 'unknown' }
    ])
    expect(await t.until(products(t, 1).has(well))).toBe(false)
    t.resume(0)
    await t.run('2s')
    await t.until(products(t, 1).clear())
    expect(await t.until(products(t, 2).has(stuck))).toBe(false)
  })

  it('reaches the other side of a split as soon as that has healed', async () => {
    const t = await plain(4, 1208)
    await t.until(products(t, 0).setMany(times(40, i => [`k${i}`, i])))
    t.cut([0, 1], [2, 3])
    await t.run('10s')
    await t.until(products(t, 0).clear())
    expect(await listed(t, products(t, 0).keys())).toEqual([])
    t.heal()
    await t.run('10s')
    expect(await listed(t, products(t, 3).keys())).toEqual([])
    expect(await listed(t, products(t, 0).keys())).toEqual([])
  })
})

describe('keys', () => {
  it('are all that have a value, wherever they lie, once each', async () => {
    const t = await plain(4, 1220)
    const keys = times(3_000, i => (i % 2 === 0 ? `k${i}` : ['k', i]) as Key)
    await t.until(products(t, 1).setMany(keys.map(key => [key, 1])))
    for (const index of [0, 3]) expect(inOrder(await listed(t, products(t, index).keys()))).toEqual(inOrder(keys))
  })

  it('are not those that are deleted, expired, found to be nothing, or of another cache', async () => {
    const t = await plain(3, 1221, { load: (key: Key) => (key === 'none' ? null : 1) })
    await t.until(
      products(t, 1).setMany([
        ['gone', 1],
        ['short', 1, { ttl: '1s' }],
        ['kept', 1]
      ])
    )
    await t.until(products(t, 1).delete('gone'))
    await t.until(products(t, 1).getMany(['none', 'loaded']))
    await t.until(mesh(t, 1).cache('others', { ttl: '1h' }).set('other', 1))
    await t.until(mesh(t, 1).cache('newer', { ttl: '1h', version: 2 }).set('newer', 1))
    await t.run('1100ms')
    expect((await listed(t, products(t, 2).keys())).sort()).toEqual(['kept', 'loaded'])
  })

  it.each(PREFIXES)('under %j are those and no others', async (prefix, matching) => {
    const t = await plain(3, 1222)
    await t.until(products(t, 0).setMany(SHELF.map(key => [key, 1])))
    expect(inOrder(await listed(t, products(t, 1).keys({ prefix })))).toEqual(inOrder(matching))
  })

  it('come in pages, and more than fit into one partition and one page come too', async () => {
    const t = await formed(2, { seed: 1223, start: member => member.cache('products', { ttl: '1h' }) })
    // Long keys of one member: a page is closed by its bytes, long before it has a thousand.
    const all = times(400, i => `${i}`.padEnd(900, '.'))
    const owners = ownersOf(t, all)
    const keys = all.filter((_, i) => owners[i] === 0)
    await t.until(products(t, 1).setMany(keys.map(key => [key, 1])))
    expect(inOrder(await listed(t, products(t, 1).keys()))).toEqual(inOrder(keys))
    expect(mesh(t, 1).stats().keyPagesTotal).toBeGreaterThan(5)
  })

  it('are told once each although members come and go meanwhile; none of a member that stays is missed', async () => {
    const t = await plain(5, 1224)
    const keys = times(4_000, i => `k${i}`)
    await t.until(products(t, 1).setMany(keys.map(key => [key, 1])))
    const owners = ownersOf(t, keys)
    const staying = keys.filter((_, i) => (owners[i] as number) < 3)
    const told: Key[] = []
    const iterate = async (): Promise<void> => {
      for await (const key of products(t, 1).keys()) {
        told.push(key)
        if (told.length % 500 === 0) await t.sleep('1s')
      }
    }
    const iterating = watch(t, iterate())
    await t.run('1500ms')
    t.crash(3)
    await t.run('1s')
    watch(t, mesh(t, 4).leave())
    await t.run('20s')
    expect(iterating.state).toBe('fulfilled')
    expect(new Set(told).size).toBe(told.length)
    const seen = new Set(told)
    expect(staying.filter(key => !seen.has(key))).toEqual([])
  })

  it('end at a signal and at a timeout for one page, and can be left at any time', async () => {
    const t = await plain(3, 1225)
    await t.until(products(t, 1).setMany(times(50, i => [`k${i}`, i])))
    const stop = new AbortController()
    const reason = new Error('enough')
    const iterate = async (): Promise<void> => {
      for await (const _ of products(t, 1).keys({ signal: stop.signal })) stop.abort(reason)
    }
    expect(await errorOf(t, iterate())).toBe(reason)
    const first = async (): Promise<Key | undefined> => {
      for await (const key of products(t, 1).keys()) return key
      return undefined
    }
    expect(await t.until(first())).toBeDefined()
    t.pause(0)
    const all = async (): Promise<void> => {
      for await (const _ of products(t, 1).keys({ timeout: '300ms' }));
    }
    const beganMs = t.now
    expect((await errorOf(t, all())).code).toBe('ERR_MESH_TIMEOUT')
    expect(t.now - beganMs).toBeLessThan(1_000)
  })

  it('of a member that has left are refused', async () => {
    const t = await plain(2, 1226)
    await t.until(mesh(t, 0).leave())
    expect(() => products(t, 0)).toThrow()
  })
})

describe('a clear whose caller dies in the midst of it', () => {
  it('reaches the primary from a backup that has heard of it, and the two hold the same again', async () => {
    const t = await formed(3, { seed: 1290, start: member => void member.cache('products', { ttl: '1h', backups: 1 }) })
    const { store, meshClock } = t.partsOf(1)
    const [key] = keysHeldBy(t, 1, 0, 1) as [string]
    await t.until(mesh(t, 2).cache<string>('products').set(key, 'v', { backupAcks: 1 }))
    const stamp = meshClock.stamp()
    store.addFloor({ kind: 'prefix', namespace: namespaceOf('products', 1), text: '', stamp, atMs: meshClock.now() })
    await t.run('40s')
    expect(await t.until(mesh(t, 2).cache('products').get(key))).toBeUndefined()
    expect(mesh(t, 0).stats().partitionsWithoutBackup).toBe(0)
  })
})
