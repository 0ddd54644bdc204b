import { describe, expect, it } from 'vitest'
import { isMeshError, type PartialError } from '../../lib/base/errors.ts'
import type { Cache } from '../../lib/cache.ts'
import type { CacheOptions } from '../../lib/cache-options.ts'
import type { LoadContext, Version } from '../../lib/fill/definition.ts'
import type { Mesh } from '../../lib/mesh.ts'
import type { Cluster } from '../../lib/testing.ts'
import { errorOf, formed, keyOf, mesh, times, watch } from './story.ts'

function plain(seed: number, options: Partial<CacheOptions<unknown, string>> = {}): Promise<Cluster> {
  return formed(3, { seed, start: member => member.cache('products', { ttl: '1h', ...options } as never) })
}

function products(t: Cluster, index: number): Cache<unknown> {
  return mesh(t, index).cache('products')
}

/** The simulated members have wall clocks seconds apart: what is left is told by one that is known. */
async function leftMs(t: Cluster, index: number, expiresAt = Number.NaN): Promise<number> {
  const minute = await t.until(products(t, index).set('a minute from now', 1, { ttl: '1m' }))
  const known = await t.until(products(t, index).getEntry('a minute from now'))
  expect(known?.version).toBe(minute)
  return expiresAt - (known?.expiresAt as number) + 60_000
}

async function expectLeft(t: Cluster, index: number, expiresAt: number | undefined, ms: number): Promise<void> {
  expect(Math.abs((await leftMs(t, index, expiresAt)) - ms)).toBeLessThan(50)
}

describe('getEntry', () => {
  it('answers with value, version and expiry, at the owner and elsewhere alike', async () => {
    const t = await plain(1000)
    const key = keyOf(t, 0)
    const version = await t.until(products(t, 1).set(key, { n: 1 }, { ttl: '10s' }))
    for (const index of [0, 1, 2]) {
      const entry = await t.until(products(t, index).getEntry(key))
      expect(entry).toMatchObject({ value: { n: 1 }, version, stale: false, tags: [] })
      expect(entry?.from).toBe(index === 0 ? 'local' : 'owner')
      await expectLeft(t, index, entry?.expiresAt, 10_000)
    }
  })

  it('says Infinity for what is kept for ever, and nothing where there is nothing', async () => {
    const t = await plain(1001)
    await t.until(products(t, 0).set('k', null, { ttl: 'forever' }))
    expect(await t.until(products(t, 1).getEntry('k'))).toMatchObject({
      value: null,
      expiresAt: Number.POSITIVE_INFINITY
    })
    expect(await t.until(products(t, 1).getEntry('absent'))).toBeUndefined()
    await t.until(products(t, 2).delete('k'))
    expect(await t.until(products(t, 1).getEntry('k'))).toBeUndefined()
  })

  it('loads like get, and its version is the one that is stored', async () => {
    const t = await plain(1002, { load: (id: string) => `${id}!`, jitter: 0 })
    const key = keyOf(t, 0)
    const [loaded, waited] = await t.until(Promise.all([products(t, 1).getEntry(key), products(t, 2).getEntry(key)]))
    expect(loaded).toMatchObject({ value: `${key}!`, from: 'load' })
    expect(waited?.version).toBe(loaded?.version)
    const stored = await t.until(products(t, 0).getEntry(key))
    expect(stored).toMatchObject({ value: `${key}!`, version: loaded?.version, from: 'local' })
    expect(await t.until(products(t, 2).getEntry('other', { load: false }))).toBeUndefined()
  })

  it('has the version of a value that this process has loaded under a lease', async () => {
    // The owner has not declared the cache: whoever asks loads.
    const t = await formed(2, {
      seed: 1003,
      start: (member, index) => index === 1 && member.cache('products', { ttl: '1h', load: () => 'mine', jitter: 0 })
    })
    const key = keyOf(t, 0)
    const entry = await t.until(products(t, 1).getEntry(key))
    expect(entry).toMatchObject({ value: 'mine', from: 'load' })
    await t.run('10ms')
    expect(await t.until(products(t, 1).getEntry(key))).toMatchObject({ version: entry?.version, from: 'owner' })
    await expectLeft(t, 1, entry?.expiresAt, 3_600_000)
  })

  it.each([null, undefined])('is undefined where a loader found %s', async nothing => {
    const t = await plain(1004, { load: () => nothing })
    for (const index of [0, 1, 2, 1]) expect(await t.until(products(t, index).getEntry('k'))).toBeUndefined()
  })

  it('of a value that is not kept has expired, and cannot be compared with', async () => {
    const load = (_key: string, { store }: LoadContext): string => {
      store(false)
      return 'passing'
    }
    const t = await plain(1005, { load })
    const key = keyOf(t, 0)
    const entry = await t.until(products(t, 1).getEntry(key))
    expect(entry?.value).toBe('passing')
    await expectLeft(t, 1, entry?.expiresAt, 0)
    expect(await t.until(products(t, 1).compareAndSet(key, entry?.version as Version, 'next'))).toBe(false)
  })
})

describe('compareAndSet', () => {
  it('sets at the version it is given, and at no other', async () => {
    const t = await plain(1010)
    const key = keyOf(t, 0)
    const first = await t.until(products(t, 1).set(key, 'a'))
    const second = (await t.until(products(t, 2).compareAndSet(key, first, 'b'))) as Version
    expect(second > first).toBe(true)
    for (const index of [0, 1, 2]) expect(await t.until(products(t, index).compareAndSet(key, first, 'c'))).toBe(false)
    expect(await t.until(products(t, 1).getEntry(key))).toMatchObject({ value: 'b', version: second })
    expect(mesh(t, 2).stats()).toMatchObject({ comparesTotal: 2, comparesRefusedTotal: 1 })
  })

  it('with null sets only where there is no value: not there, deleted, expired, or found to be nothing', async () => {
    const t = await plain(1011, { load: () => null })
    const set = (expected: Version | null, value: unknown) =>
      t.until(products(t, 1).compareAndSet('k', expected, value, { ttl: '1s' }))
    expect(await set(null, 1)).toBeTypeOf('string')
    expect(await set(null, 2)).toBe(false)
    await t.run('1100ms')
    expect(await set(null, 3)).toBeTypeOf('string')
    await t.until(products(t, 2).delete('k'))
    expect(await set(null, 4)).toBeTypeOf('string')
    await t.until(products(t, 2).delete('k'))
    expect(await t.until(products(t, 2).get('k'))).toBeNull()
    expect(await set(null, 5)).toBeTypeOf('string')
    expect(await t.until(products(t, 0).get('k'))).toBe(5)
  })

  it('keeps the TTL that runs, unless it is given another', async () => {
    const t = await plain(1012)
    const version = await t.until(products(t, 1).set('k', 1, { ttl: '10s' }))
    await t.run('4s')
    const kept = (await t.until(products(t, 2).compareAndSet('k', version, 2))) as Version
    const entry = await t.until(products(t, 2).getEntry('k'))
    await expectLeft(t, 2, entry?.expiresAt, 6_000)
    await t.until(products(t, 2).compareAndSet('k', kept, 3, { ttl: '1m' }))
    await t.run('20s')
    expect(await t.until(products(t, 1).get('k'))).toBe(3)
  })

  it('of a hundred that compare with one version tells one yes', async () => {
    const t = await plain(1013)
    const version = await t.until(products(t, 0).set('k', 0))
    const all = await t.until(Promise.all(times(100, i => products(t, i % 3).compareAndSet('k', version, i))))
    expect(all.filter(one => one !== false)).toHaveLength(1)
  })

  it('fences a load that runs', async () => {
    const t: Cluster = await plain(1014, { load: () => t.sleep('1s').then(() => 'old') })
    const loading = watch(t, products(t, 1).get('k'))
    await t.run('100ms')
    expect(await t.until(products(t, 2).compareAndSet('k', null, 'new'))).toBeTypeOf('string')
    await t.run('2s')
    expect(loading.value).toBe('old')
    expect(await t.until(products(t, 0).get('k'))).toBe('new')
  })

  it('works by a handle alone where the value keeps its TTL', async () => {
    const t = await formed(2, {
      seed: 1015,
      start: (member, index) => index === 0 && member.cache('products', { ttl: '1h' })
    })
    const version = await t.until(products(t, 0).set('k', 1))
    expect(await t.until(products(t, 1).compareAndSet('k', version, 2))).toBeTypeOf('string')
    expect((await errorOf(t, products(t, 1).compareAndSet('new', null, 2))).message).toContain('its ttl is not known')
    expect(await t.until(products(t, 1).compareAndSet('new', null, 2, { ttl: '1m' }))).toBeTypeOf('string')
  })
})

describe('update', () => {
  const inc = (now: unknown): number => ((now as number | undefined) ?? 0) + 1

  it('makes a new value of the one there is and answers with it', async () => {
    const t = await plain(1020)
    expect(await t.until(products(t, 1).update('k', inc))).toBe(1)
    expect(await t.until(products(t, 2).update('k', inc))).toBe(2)
    expect(await t.until(products(t, 0).get('k'))).toBe(2)
  })

  it('loses none of sixty that meet on one key', async () => {
    const t = await plain(1021)
    await t.until(Promise.all(times(60, i => products(t, i % 3).update('k', inc))))
    expect(await t.until(products(t, 0).get('k'))).toBe(60)
  })

  it('changes nothing where fn answers undefined, and says what is there', async () => {
    const t = await plain(1022)
    const version = await t.until(products(t, 1).set('k', 'kept'))
    expect(await t.until(products(t, 2).update('k', () => undefined))).toBe('kept')
    expect(await t.until(products(t, 2).update('none', () => undefined))).toBeUndefined()
    expect((await t.until(products(t, 0).getEntry('k')))?.version).toBe(version)
  })

  it('keeps the TTL that runs, waits for a slow fn, and never loads', async () => {
    let loads = 0
    const t: Cluster = await plain(1023, { load: () => ++loads })
    await t.until(products(t, 1).set('k', 1, { ttl: '10s' }))
    await t.until(products(t, 1).update('k', now => t.sleep('2s').then(() => inc(now))))
    await t.run('7s')
    expect(await t.until(products(t, 2).get('k', { load: false }))).toBe(2)
    await t.run('2s')
    expect(await t.until(products(t, 2).has('k'))).toBe(false)
    await t.until(products(t, 2).update('absent', inc))
    expect(loads).toBe(0)
  })

  it('rejects with what fn throws, and with ERR_MESH_CONFLICT when others are always faster', async () => {
    const t = await plain(1024)
    const failure = new Error('mine')
    expect(
      await errorOf(
        t,
        products(t, 1).update('k', () => {
          throw failure
        })
      )
    ).toBe(failure)
    let tries = 0
    const beaten = products(t, 1).update('k', async () => {
      await products(t, 2).set('k', ++tries)
      return 'mine'
    })
    expect((await errorOf(t, beaten)).code).toBe('ERR_MESH_CONFLICT')
    expect(tries).toBe(32)
    expect(await t.until(products(t, 0).get('k'))).toBe(32)
  })

  it('ends at its timeout and at its signal, with nothing changed', async () => {
    const t: Cluster = await plain(1025)
    const slow = (): Promise<string> => t.sleep('5s').then(() => 'late')
    expect((await errorOf(t, products(t, 1).update('k', slow, { timeout: '1s' }))).code).toBe('ERR_MESH_TIMEOUT')
    const stop = new AbortController()
    const stopped = watch(t, products(t, 1).update('k', slow, { signal: stop.signal }))
    await t.run('100ms')
    stop.abort()
    await t.run('10s')
    expect(stopped.error).toBe(stop.signal.reason)
    expect(await t.until(products(t, 1).has('k'))).toBe(false)
  })
})

describe('touch', () => {
  it('prolongs and shortens what is there, and its version stays', async () => {
    const t = await plain(1030)
    const version = await t.until(products(t, 1).set('k', 'v', { ttl: '2s' }))
    expect(await t.until(products(t, 2).touch('k', '1m'))).toBe(true)
    await t.run('10s')
    expect(await t.until(products(t, 0).getEntry('k'))).toMatchObject({ value: 'v', version })
    expect(await t.until(products(t, 2).touch('k', '1s'))).toBe(true)
    await t.run('1100ms')
    expect(await t.until(products(t, 0).has('k'))).toBe(false)
    expect(await t.until(products(t, 2).touch('k', 'forever'))).toBe(false)
  })

  it('is false where there is nothing, and where a loader found nothing', async () => {
    const t = await plain(1031, { load: () => null, negativeTtl: '1s' })
    expect(await t.until(products(t, 1).touch('k', '1m'))).toBe(false)
    await t.until(products(t, 1).get('k'))
    expect(await t.until(products(t, 1).touch('k', '1m'))).toBe(false)
  })
})

describe('setMany and deleteMany', () => {
  it('write all, each with its own TTL, and count what they deleted', async () => {
    const t = await plain(1040)
    const keys = times(200, i => `k${i}`)
    const framesBefore = mesh(t, 1).stats().framesSentTotal
    const writing = products(t, 1).setMany(
      keys.map((key, i) => (i % 2 === 0 ? [key, i] : [key, i, { ttl: '1s' }]) as [string, number])
    )
    await t.run(0)
    // One frame for each of the two others, and at most a ping beside them.
    expect(mesh(t, 1).stats().framesSentTotal - framesBefore).toBeLessThanOrEqual(3)
    await t.until(writing)
    expect(await t.until(products(t, 2).getMany(keys))).toEqual(times(200, i => i))
    await t.run('1100ms')
    expect(await t.until(products(t, 0).deleteMany([...keys, 'absent']))).toBe(100)
    expect(await t.until(products(t, 0).deleteMany([]))).toBe(0)
    expect(mesh(t, 1).stats().writesTotal).toBe(200)
  })

  it('takes any iterable, a Map too', async () => {
    const t = await plain(1041)
    await t.until(products(t, 1).setMany(new Map([['a', 1]]), { ttl: '1s' }))
    expect(await t.until(products(t, 2).get('a'))).toBe(1)
    await t.run('1100ms')
    expect(await t.until(products(t, 2).has('a'))).toBe(false)
    await t.until(products(t, 1).setMany([]))
  })

  it('go on where one member cannot be reached, and name what failed by position', async () => {
    const start = (member: Mesh): unknown => member.cache('products', { ttl: '1h', backups: 0 })
    const t = await formed(3, { seed: 1042, start })
    const [own, paused] = [keyOf(t, 1), keyOf(t, 0)]
    t.pause(0)
    const wrong = watch(
      t,
      products(t, 1).setMany(
        [
          [own, 1],
          [paused, 2]
        ],
        { timeout: '500ms' }
      )
    )
    const deleted = watch(t, products(t, 1).deleteMany([own, paused], { timeout: '500ms' }))
    await t.run('1s')
    const { code, errors, values } = wrong.error as PartialError
    expect([code, [...errors.keys()]]).toEqual(['ERR_MESH_PARTIAL', [1]])
    expect(isMeshError(errors.get(1), 'ERR_MESH_TIMEOUT')).toBe(true)
    expect(values[0]).toBeTypeOf('string')
    expect((deleted.error as PartialError).values).toEqual([true, undefined])
  })

  it('larger than what one member takes at once go in turns', async () => {
    const start = (member: Mesh): unknown => member.cache('products', { ttl: '1h', backups: 0 })
    const t = await formed(2, { seed: 1043, start })
    const entries = times(34_000, i => [`k${i}`, i] as const)
    await t.until(products(t, 1).setMany(entries))
    expect(mesh(t, 0).stats().records + mesh(t, 1).stats().records).toBe(34_000)
    expect(await t.until(products(t, 1).getMany(entries.map(([key]) => key)))).toHaveLength(34_000)
  })
})
