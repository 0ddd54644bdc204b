import { AsyncLocalStorage } from 'node:async_hooks'
import { describe, expect, it, vi } from 'vitest'
import type { MeshError } from '../../lib/base/errors.ts'
import type { CacheOptions } from '../../lib/cache-options.ts'
import { Tickets } from '../../lib/serving/tickets.ts'
import type { Cluster } from '../../lib/testing.ts'
import { cacheOf, Rows } from './rows.ts'
import { errorOf, formed, keyOf, mesh, orOurError, ownerOf, times, watch } from './story.ts'

async function story(
  seed: number,
  options: Partial<Omit<CacheOptions<unknown, string>, 'load' | 'loadMany' | 'exists'>> & {
    members?: number
    without?: readonly number[]
  } = {}
): Promise<{ t: Cluster; origin: Rows }> {
  const { members = 3, without = [], ...rest } = options
  const origin = new Rows()
  const t = await formed(members, {
    seed,
    start: (member, index) => {
      const store = without.includes(index) ? undefined : origin.store(index)
      member.cache<unknown, string>('products', { ttl: '1h', jitter: 0, load: origin.load(), store, ...rest })
    }
  })
  origin.within(t)
  return { t, origin }
}

const products = (t: Cluster, index: number) => cacheOf(mesh(t, index))
const cached = (t: Cluster, key: string) => t.until(products(t, 0).get(key, { load: false }))
const contested = (t: Cluster): number => t.meshes.reduce((sum, member) => sum + member.stats().storesContestedTotal, 0)

describe('a write through', () => {
  it('returns when the origin and the cache have it, and is stored in the process of the caller', async () => {
    const { t, origin } = await story(2000)
    for (const owner of [0, 1]) {
      const key = keyOf(t, owner)
      const version = await t.until(products(t, 1).set(key, { n: 1 }))
      expect(origin.rows.get(key)).toEqual({ n: 1 })
      expect(await t.until(products(t, 2).getEntry(key, { load: false }))).toMatchObject({ value: { n: 1 }, version })
    }
    expect(origin.stored.map(({ member }) => member)).toEqual([1, 1])
    expect(mesh(t, 1).stats()).toMatchObject({ storesTotal: 2, storesFailedTotal: 0, storesContestedTotal: 0 })
  })

  it('of every kind is stored, and nothing else is', async () => {
    const { t, origin } = await story(2001)
    const cache = products(t, 1)
    await t.until(cache.setMany([['a', 1], ['b', 2]])) // biome-ignore format: short
    await t.until(cache.update('a', now => (now as number) + 10))
    const version = await t.until(cache.set('c', 3))
    expect(await t.until(cache.compareAndSet('c', version, 4))).not.toBe(false)
    expect(await t.until(cache.compareAndSet('c', version, 5))).toBe(false)
    expect(await t.until(cache.delete('b'))).toBe(true)
    expect(await t.until(cache.deleteMany(['c', 'd']))).toBe(1)
    expect(['a', 'b', 'c', 'd'].map(key => origin.valuesOf(key))).toEqual([
      [1, 11],
      [2, undefined],
      [3, 4, undefined],
      [undefined]
    ])
    const calls = origin.calls
    await t.until(cache.touch('a', '1m'))
    await t.until(cache.getOrSet('e', () => 5))
    await t.until(cache.clear())
    expect(origin.calls).toBe(calls)
  })

  it('stores what it was given when it was called, with versions that rise', async () => {
    const { t, origin } = await story(2002)
    const row = { n: 1 }
    const writing = products(t, 1).set('k', row)
    row.n = 2
    await t.until(writing)
    await t.until(products(t, 2).set('k', row))
    expect(origin.valuesOf('k')).toEqual([{ n: 1 }, { n: 2 }])
    const [first, second] = origin.stored.map(({ version }) => version) as [string, string]
    expect(first < second).toBe(true)
  })

  it('runs in the context of the call that made it', async () => {
    const requests = new AsyncLocalStorage<string>()
    const seen: unknown[] = []
    const { t } = await story(2003, { store: () => void seen.push(requests.getStore()) })
    const key = keyOf(t, 0)
    await t.until(requests.run('request 7', () => products(t, 1).set(key, 1)))
    expect(seen).toEqual(['request 7'])
  })

  it('of a process that has not declared store writes to the cache only', async () => {
    const { t, origin } = await story(2004, { without: [2] })
    await t.until(products(t, 2).set('k', 1))
    expect(origin.calls).toBe(0)
    expect(await cached(t, 'k')).toBe(1)
  })

  it('of many keys calls store for 32 of them at a time', async () => {
    const { t, origin } = await story(2005)
    let running = 0
    let most = 0
    origin.beforeMs = () => {
      most = Math.max(most, ++running)
      return 5
    }
    origin.afterMs = () => {
      running--
      return 0
    }
    await t.until(products(t, 1).setMany(times(100, i => [`k${i}`, i] as const)))
    expect(origin.rows.size).toBe(100)
    expect(most).toBe(32)
  })
})

describe('a store that fails', () => {
  it.each(['before', 'after'] as const)(
    'with a throw %s its commit is told with its cause, and no old value stays cached',
    async when => {
      const { t, origin } = await story(2010)
      const key = keyOf(t, 0)
      await t.until(products(t, 1).set(key, 'old'))
      origin.fails = (_key, _value, at) => at === when
      const error = (await errorOf(t, products(t, 1).set(key, 'new'))) as MeshError
      expect(error).toMatchObject({ code: 'ERR_MESH_STORE', retryable: true, cache: 'products' })
      expect((error.cause as Error).message).toContain('connection')
      expect(error.outcome).toBeUndefined()
      expect(await cached(t, key)).toBeUndefined()
      expect(await t.until(products(t, 2).get(key))).toBe(when === 'before' ? 'old' : 'new')
      expect(mesh(t, 1).stats()).toMatchObject({ storesTotal: 2, storesFailedTotal: 1 })
    }
  )

  it('by its timeout is aborted, and may have written', async () => {
    const signals: AbortSignal[] = []
    const { t } = await story(2011, {
      storeTimeout: '300ms',
      store: (_key, _value, { signal }) => new Promise<void>(() => void signals.push(signal))
    })
    const beganMs = t.now
    const error = (await errorOf(t, products(t, 1).set('k', 1))) as MeshError
    expect(error).toMatchObject({ code: 'ERR_MESH_STORE', outcome: 'unknown', retryable: true })
    expect(error.message).toContain('300 ms')
    expect(t.now - beganMs).toBeLessThan(400)
    expect(signals[0]?.aborted).toBe(true)
  })

  it('does not outlast the timeout of the call', async () => {
    const { t } = await story(2012, { store: () => new Promise<void>(() => {}) })
    const beganMs = t.now
    expect((await errorOf(t, products(t, 1).set('k', 1, { timeout: '200ms' }))).code).toBe('ERR_MESH_STORE')
    expect(t.now - beganMs).toBeLessThan(300)
  })

  it('in a comparison lets the next one in', async () => {
    const { t, origin } = await story(2013)
    origin.fails = () => true
    expect((await errorOf(t, products(t, 1).compareAndSet('k', null, 1))).code).toBe('ERR_MESH_STORE')
    origin.fails = () => false
    expect(await t.until(products(t, 2).compareAndSet('k', null, 2))).not.toBe(false)
    expect(origin.rows.get('k')).toBe(2)
  })
})

describe('two that store the same key', () => {
  it('and pass each other on the way to the cache leave it empty, and the next read loads', async () => {
    const { t, origin } = await story(2020)
    const key = keyOf(t, 0)
    await t.until(products(t, 1).set(key, 'before'))
    // A's row is first and its word is last.
    origin.beforeMs = (_key, value) => (value === 'A' ? 10 : 20)
    origin.afterMs = (_key, value) => (value === 'A' ? 50 : 0)
    await t.until(Promise.all([products(t, 1).set(key, 'A'), products(t, 2).set(key, 'B')]))
    expect(origin.rows.get(key)).toBe('B')
    expect(await cached(t, key)).toBeUndefined()
    expect(contested(t)).toBe(2)
    expect(await t.until(products(t, 1).get(key))).toBe('B')
  })

  it('one after the other keep what the later one wrote', async () => {
    const { t, origin } = await story(2021)
    const key = keyOf(t, 0)
    await t.until(products(t, 1).set(key, 'A'))
    await t.until(products(t, 2).set(key, 'B'))
    expect(await cached(t, key)).toBe('B')
    expect([origin.loads, contested(t)]).toEqual([0, 0])
  })

  it('do not keep what was loaded between them', async () => {
    const { t, origin } = await story(2022)
    const key = keyOf(t, 0)
    origin.beforeMs = (_key, value) => (value === 'A' ? 5 : 60)
    const writes = Promise.all([products(t, 1).set(key, 'A'), products(t, 2).set(key, 'B')])
    await t.run('20ms')
    expect(await t.until(products(t, 1).get(key))).toBe('A')
    await t.until(writes)
    expect(await cached(t, key)).toBeUndefined()
    expect(await t.until(products(t, 1).get(key))).toBe('B')
  })

  it('one of them a delete, leave it empty and not with a value the origin has no more', async () => {
    const { t, origin } = await story(2023)
    const key = keyOf(t, 0)
    origin.beforeMs = (_key, value) => (value === undefined ? 20 : 10)
    origin.afterMs = (_key, value) => (value === undefined ? 0 : 50)
    await t.until(Promise.all([products(t, 1).set(key, 'A'), products(t, 2).delete(key)]))
    expect(origin.rows.has(key)).toBe(false)
    expect(await t.until(products(t, 1).get(key))).toBeUndefined()
  })

  it('behind a handle that has no store: what was stored is what stays', async () => {
    const { t, origin } = await story(2024, { without: [2] })
    const key = keyOf(t, 0)
    origin.beforeMs = () => 50
    const writing = products(t, 1).set(key, 'stored')
    await t.run('20ms')
    await t.until(products(t, 2).set(key, 'cached only'))
    await t.until(writing)
    expect(await cached(t, key)).toBe('stored')
  })
})

describe('comparisons of one version', () => {
  it('reach the origin one at a time, and only the first says yes', async () => {
    const { t, origin } = await story(2030)
    const key = keyOf(t, 0)
    const version = await t.until(products(t, 0).set(key, 0))
    origin.beforeMs = () => 30
    const compares = times(6, i => products(t, i % 3).compareAndSet(key, version, i + 1))
    const done = (await t.until(Promise.all(compares))).filter(result => result !== false)
    expect(done).toHaveLength(1)
    expect(origin.calls).toBe(2)
    expect(await cached(t, key)).toBe(origin.rows.get(key))
  })

  it('in updates lose nothing, also from what only the origin has', async () => {
    const { t, origin } = await story(2031)
    const key = keyOf(t, 0)
    origin.rows.set(key, 100)
    origin.beforeMs = () => 3
    const adding = times(9, i => products(t, i % 3).update(key, now => (now as number) + 1))
    await t.until(Promise.all(adding))
    expect(origin.rows.get(key)).toBe(109)
    expect(await cached(t, key)).toBe(109)
  })

  it('wait for a write that is being stored, and the other way round', async () => {
    const { t, origin } = await story(2032)
    const key = keyOf(t, 0)
    const version = await t.until(products(t, 0).set(key, 'before'))
    origin.beforeMs = (_key, value) => (value === 'slow' ? 100 : 1)
    const compare = watch(t, products(t, 1).compareAndSet(key, version, 'slow'))
    await t.run('10ms')
    const set = watch(t, products(t, 2).set(key, 'set'))
    await t.run('600ms')
    expect(compare.value).not.toBe(false)
    expect(set.state).toBe('fulfilled')
    expect(origin.valuesOf(key)).toEqual(['before', 'slow', 'set'])
    expect(await cached(t, key)).toBe('set')
    expect(contested(t)).toBe(0)
  })

  it('that never get a turn say so, and nothing was stored', async () => {
    const { t, origin } = await story(2033)
    const key = keyOf(t, 0)
    origin.beforeMs = () => 5_000
    const first = watch(t, products(t, 1).compareAndSet(key, null, 1))
    await t.run('10ms')
    const error = await errorOf(t, products(t, 2).compareAndSet(key, null, 2, { timeout: '400ms' }))
    expect(error).toMatchObject({ code: 'ERR_MESH_CONFLICT', retryable: true })
    await t.run('6s')
    expect(first.state).toBe('fulfilled')
    expect(origin.valuesOf(key)).toEqual([1])
  })

  it('keep the TTL that was running when they were compared', async () => {
    const { t } = await story(2034)
    const version = await t.until(products(t, 1).set('k', 1, { ttl: '10s' }))
    await t.run('2s')
    await t.until(products(t, 1).compareAndSet('k', version, 2))
    await t.run('7s')
    expect(await cached(t, 'k')).toBe(2)
    await t.run('2s')
    expect(await cached(t, 'k')).toBeUndefined()
  })
})

describe('a writer, an owner or a link that is lost while the origin is written to', () => {
  it('a writer that dies after the commit: the old value goes when its time is over', async () => {
    const { t, origin } = await story(2040, { storeTimeout: '2s' })
    const key = keyOf(t, 0)
    await t.until(products(t, 1).set(key, 'old'))
    origin.beforeMs = () => 10
    origin.afterMs = () => 50
    watch(t, products(t, 1).set(key, 'new'))
    await t.run('30ms')
    t.crash(1)
    await t.run('13s')
    expect(origin.rows.get(key)).toBe('new')
    expect(await t.until(products(t, 2).get(key))).toBe('new')
    expect(mesh(t, 0).stats().storesContestedTotal).toBe(1)
  })

  it('an owner that dies: the next one knows no ticket and keeps no value', async () => {
    const { t, origin } = await story(2041)
    const key = keyOf(t, 0)
    origin.beforeMs = () => 50
    const writing = watch(t, products(t, 1).set(key, 'new'))
    await t.run('20ms')
    t.crash(0)
    await t.run('8s')
    expect(writing.state).toBe('fulfilled')
    expect(await t.until(products(t, 2).get(key, { load: false }))).toBeUndefined()
    expect(await t.until(products(t, 2).get(key))).toBe('new')
  })

  it('a key that moves to a joiner who loads the old row in between', async () => {
    const { t, origin } = await story(2042, { members: 4 })
    const key = times(500, i => `k${i}`).find(one => ownerOf(t, one) === 3) as string
    origin.rows.set(key, 'old')
    t.crash(3)
    await t.run('8s')
    origin.beforeMs = () => 4_000
    const writing = watch(t, products(t, 1).set(key, 'new'))
    await t.run('50ms')
    t.restart(3)
    await t.run('3s')
    expect(ownerOf(t, key)).toBe(3)
    expect(await t.until(products(t, 2).get(key))).toBe('old')
    await t.run('3s')
    expect(writing.state).toBe('fulfilled')
    expect(await t.until(products(t, 2).get(key))).toBe('new')
  })

  it('a link that is lost with the answer: stored once, kept once', async () => {
    const { t, origin } = await story(2043)
    const key = keyOf(t, 0)
    origin.beforeMs = () => 20
    const writing = watch(t, products(t, 1).set(key, 'new'))
    await t.run('10ms')
    t.disconnect(1, 0)
    await t.run('5s')
    expect(writing.state).toBe('fulfilled')
    expect(origin.valuesOf(key)).toEqual(['new'])
    expect(await cached(t, key)).toBe('new')
  })

  it('an owner that nobody can reach any more: the origin has it, and the outcome is unknown', async () => {
    const { t, origin } = await story(2044, { members: 2 })
    const key = keyOf(t, 0)
    origin.beforeMs = () => 50
    const writing = errorOf(t, products(t, 1).set(key, 'new', { timeout: '1s' }))
    await t.run('20ms')
    t.pause(0)
    const error = (await writing) as MeshError
    expect(error).toMatchObject({ code: 'ERR_MESH_TIMEOUT', outcome: 'unknown', retryable: true })
    expect(origin.rows.get(key)).toBe('new')
  })

  it('an owner whose link is gone for good: that nothing was done would be wrong', async () => {
    const { t, origin } = await story(2047, { members: 2 })
    const key = keyOf(t, 0)
    origin.beforeMs = () => 50
    const writing = errorOf(t, products(t, 1).compareAndSet(key, null, 'new', { timeout: '200ms' }))
    await t.run('20ms')
    t.cut([0], [1])
    t.disconnect(1, 0)
    const error = (await writing) as MeshError
    expect(error).toMatchObject({ code: 'ERR_MESH_TIMEOUT', outcome: 'unknown', retryable: false })
    expect(error.message).toContain('has taken the write')
    expect(origin.rows.get(key)).toBe('new')
  })

  it('no owner at all: nothing is stored, and the caller is told that nothing was done', async () => {
    const origin = new Rows()
    const t = await formed(2, {
      seed: 2045,
      options: { weight: 0 },
      start: (member, index) =>
        member.cache<unknown>('products', { ttl: '1h', load: origin.load(), store: origin.store(index) })
    })
    origin.within(t)
    const error = (await errorOf(t, products(t, 1).set('k', 1, { timeout: '1s' }))) as MeshError
    expect(error).toMatchObject({ code: 'ERR_MESH_UNAVAILABLE', outcome: undefined })
    expect(origin.calls).toBe(0)
  })

  it('an owner that stands still before it gives a ticket: nothing was stored, nothing is unknown', async () => {
    const { t, origin } = await story(2046)
    const key = keyOf(t, 0)
    t.pause(0)
    const error = (await errorOf(t, products(t, 1).set(key, 1, { timeout: '500ms' }))) as MeshError
    expect(error).toMatchObject({ code: 'ERR_MESH_UNAVAILABLE', outcome: undefined })
    expect(origin.calls).toBe(0)
  })
})

/** Writers of all kinds at the same few keys, stores of any length that fail now and then, and one member that dies. */
async function chaos(seed: number): Promise<string[]> {
  const { t, origin } = await story(seed, { members: 4, storeTimeout: '1s' })
  const dice = t.random.fork('writers')
  const keys = [0, 1, 2].map(owner => keyOf(t, owner))
  origin.beforeMs = () => dice.float() * 60
  origin.afterMs = () => dice.float() * 40
  origin.fails = () => dice.float() < 0.05
  const all: Promise<unknown>[] = []
  const wrong: string[] = []
  const judge = async (): Promise<void> => {
    for (const key of keys) {
      const value = await cached(t, key)
      if (value !== undefined && value !== origin.rows.get(key))
        wrong.push(`${key} is ${value}, in the origin ${origin.rows.get(key)}`)
    }
  }
  let last = 0
  for (let i = 0; i < 150; i++) {
    const cache = products(t, dice.integer(4))
    const key = keys[dice.integer(3)] as string
    const value = ++last
    const [set, get] = [() => cache.set(key, value), () => cache.get(key)]
    const update = (): Promise<unknown> => cache.update(key, () => value)
    const act = [set, set, set, get, get, () => cache.delete(key), update][dice.integer(7)] as () => Promise<unknown>
    // Some fail: that is asked for.
    all.push(orOurError(act()))
    // Before anybody dies, whenever all have ended.
    if (i % 10 === 9 && i < 100) await t.until(Promise.all(all)).then(judge)
    if (i === 100) t.crash(3)
    if (i === 120) t.restart(3)
    await t.run(dice.integer(30))
  }
  await t.run('25s')
  await judge()
  return wrong
}

describe('after quiet the cache holds nothing older than the origin', () => {
  it.each(times(12, i => 2100 + i))('under writers of all kinds, seed %i', async seed => {
    expect(await chaos(seed)).toEqual([])
  })

  it('which it would without tickets', async () => {
    const { close } = Tickets.prototype
    const spy = vi.spyOn(Tickets.prototype, 'close').mockImplementation(function (this: Tickets, ...args) {
      return close.apply(this, args) ?? { number: args[2], kept: undefined }
    })
    const wrong: string[] = []
    for (const seed of times(12, i => 2100 + i)) wrong.push(...(await chaos(seed)))
    expect(wrong.length).toBeGreaterThan(4)
    spy.mockRestore()
  })
})
