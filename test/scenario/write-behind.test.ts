import { AsyncLocalStorage } from 'node:async_hooks'
import { describe, expect, it, vi } from 'vitest'
import type { MeshError } from '../../lib/base/errors.ts'
import type { CacheOptions, WriteBehindOptions } from '../../lib/cache-options.ts'
import { WriteBehind } from '../../lib/fill/write-behind.ts'
import type { Cluster, ClusterOptions } from '../../lib/testing.ts'
import { cacheOf, Rows } from './rows.ts'
import { errorOf, formed, keyOf, mesh, orOurError, ownerOf, times, watch } from './story.ts'

interface StoryOptions
  extends Partial<Omit<CacheOptions<unknown, string>, 'load' | 'loadMany' | 'exists' | 'writeBehind'>> {
  members?: number
  /** Members that have declared the cache without a store. */
  without?: readonly number[]
  behind?: WriteBehindOptions
  mesh?: ClusterOptions['options']
  faults?: ClusterOptions['faults']
}

async function story(seed: number, options: StoryOptions = {}): Promise<{ t: Cluster; origin: Rows; said: string[] }> {
  const { members = 3, without = [], behind = {}, mesh: meshOptions, faults, ...rest } = options
  const origin = new Rows()
  const said: string[] = []
  const t = await formed(members, {
    seed,
    ...(meshOptions === undefined ? {} : { options: meshOptions }),
    ...(faults === undefined ? {} : { faults }),
    start: (member, index) => {
      member.on('warning', ({ code }) => said.push(`${index} ${code}`))
      const store = { store: origin.store(index), writeBehind: { delay: '300ms', ...behind } } as const
      const how = without.includes(index) ? {} : store
      member.cache<unknown, string>('products', { ttl: '1h', jitter: 0, load: origin.load(), ...how, ...rest })
    }
  })
  origin.within(t)
  return { t, origin, said }
}

const products = (t: Cluster, index: number) => cacheOf(mesh(t, index))
const stats = (t: Cluster, index: number) => mesh(t, index).stats()

describe('a write behind', () => {
  it('returns when the cache has it; the owner stores the latest value later', async () => {
    const { t, origin } = await story(3000)
    const key = keyOf(t, 0)
    for (const value of [1, 2, 3]) await t.until(products(t, 1 + (value % 2)).set(key, value))
    expect(origin.calls).toBe(0)
    expect(await t.until(products(t, 2).get(key))).toBe(3)
    expect([0, 1, 2].map(index => stats(t, index).storesPending)).toEqual([1, 0, 0])
    await t.run('400ms')
    expect(origin.stored).toMatchObject([{ key, value: 3, member: 0 }])
    expect(stats(t, 0)).toMatchObject({ storesPending: 0, storesTotal: 1, storesCoalescedTotal: 2, storesLostTotal: 0 })
  })

  it('of every kind is stored, a delete as undefined', async () => {
    const { t, origin } = await story(3001)
    const cache = products(t, 1)
    const version = await t.until(cache.set('a', 1))
    await t.until(cache.compareAndSet('a', version, 2))
    expect(await t.until(cache.compareAndSet('a', version, 9))).toBe(false)
    await t.until(cache.update('b', now => ((now as number | undefined) ?? 0) + 1))
    await t.until(cache.setMany([['c', 3]])) // biome-ignore format: short
    await t.until(cache.delete('d'))
    await t.until(cache.getOrSet('e', () => 5))
    await t.run('1s')
    expect(Object.fromEntries(origin.stored.map(({ key, value }) => [key, value]))).toEqual({
      a: 2,
      b: 1,
      c: 3,
      d: undefined
    })
  })

  it('is stored outside of any request, with versions that rise', async () => {
    const requests = new AsyncLocalStorage<string>()
    const seen: unknown[] = []
    const { t } = await story(3002, {
      store: (_key, _value, { version }) => void seen.push(requests.getStore(), version)
    })
    const key = keyOf(t, 1)
    const versions: string[] = []
    for (const value of [1, 2]) {
      versions.push(await t.until(requests.run('request', () => products(t, 1).set(key, value))))
      await t.run('1s')
    }
    expect(seen).toEqual([undefined, versions[0], undefined, versions[1]])
    expect((versions[0] as string) < (versions[1] as string)).toBe(true)
  })

  it('that a reader makes due does not run in the context of the reader', async () => {
    const requests = new AsyncLocalStorage<string>()
    const seen: unknown[] = []
    const { t } = await story(3007, { store: () => void seen.push(requests.getStore()) })
    const key = keyOf(t, 1)
    await t.until(products(t, 1).delete(key))
    await t.until(requests.run('reader', () => products(t, 1).get(key)))
    expect(seen).toEqual([undefined])
  })

  it('sent again by a writer that got no answer is stored once', async () => {
    const { t, origin } = await story(3003, { faults: { delayMsMin: 10, delayMsMax: 10 } })
    const key = keyOf(t, 0)
    const writing = watch(t, products(t, 1).set(key, 'mine'))
    await t.run('12ms')
    t.disconnect(1, 0)
    await t.run('250ms')
    await t.until(products(t, 2).set(key, 'theirs'))
    await t.run('4s')
    expect(writing.state).toBe('fulfilled')
    expect(stats(t, 0).changesRepeatedTotal).toBe(1)
    expect(origin.valuesOf(key).at(-1)).toBe('theirs')
    expect(origin.valuesOf(key).filter(value => value === 'mine').length).toBeLessThanOrEqual(1)
  })

  it('for an owner that has not declared the store is stored by the writer', async () => {
    const { t, origin } = await story(3004, { without: [0] })
    const [key, other] = times(500, i => `k${i}`).filter(one => ownerOf(t, one) === 0) as [string, string]
    const version = await t.until(products(t, 1).set(key, 1))
    await t.until(products(t, 2).delete(other))
    expect([0, 1, 2].map(index => stats(t, index).storesPending)).toEqual([0, 1, 1])
    await t.run('1s')
    expect(origin.stored).toHaveLength(2)
    expect(origin.stored).toContainEqual(expect.objectContaining({ value: 1, member: 1 }))
    expect(origin.stored).toContainEqual(expect.objectContaining({ value: undefined, member: 2 }))
    expect(origin.stored.find(({ value }) => value === 1)?.version).toBe(version)
    expect(await t.until(products(t, 2).get(key, { load: false }))).toBe(1)
    // The process that has no store writes to the cache only.
    await t.until(products(t, 0).set('x', 1))
    await t.run('1s')
    expect(origin.rows.has('x')).toBe(false)
  })

  it('over the bound is refused, and nothing of it is done', async () => {
    const { t, origin } = await story(3005, { members: 1, behind: { maxPending: 3 } })
    const cache = products(t, 0)
    for (const key of ['a', 'b', 'c', 'a']) await t.until(cache.set(key, 1))
    const error = (await errorOf(t, cache.set('d', 1))) as MeshError
    expect(error).toMatchObject({ code: 'ERR_MESH_OVERLOADED', retryable: true })
    expect(await t.until(cache.has('d'))).toBe(false)
    expect(stats(t, 0).storesRefusedTotal).toBe(1)
    await t.run('1s')
    await t.until(cache.set('d', 1))
    await t.run('1s')
    expect(origin.rows.size).toBe(4)
  })

  it('over the bound of another member is refused there', async () => {
    const { t } = await story(3006, { behind: { maxPending: 2, delay: '10s' } })
    const keys = times(500, i => `k${i}`).filter(key => ownerOf(t, key) === 0)
    await t.until(products(t, 1).setMany(keys.slice(0, 2).map(key => [key, 1] as const)))
    expect((await errorOf(t, products(t, 1).set(keys[2] as string, 1))).code).toBe('ERR_MESH_OVERLOADED')
    expect(await t.until(products(t, 2).has(keys[2] as string))).toBe(false)
  })
})

describe('a read of a key that waits for the origin', () => {
  it('does not bring back what the origin had before, when the value was evicted', async () => {
    const { t, origin } = await story(3010, { members: 1, maxBytes: 4_000, behind: { delay: '5s' } })
    origin.rows.set('k', 'old')
    await t.until(products(t, 0).set('k', 'new'))
    for (let i = 0; i < 60; i++) await t.until(products(t, 0).set(`other ${i}`, 'x'.repeat(100)))
    expect(await t.until(products(t, 0).get('k', { load: false }))).toBeUndefined()
    expect(stats(t, 0).storesPending).toBe(61)
    origin.beforeMs = () => 50
    expect(await t.until(products(t, 0).get('k'))).toBe('new')
    expect(origin.valuesOf('k')).toEqual(['new'])
  })

  it('nor when it was deleted, is over, or was cleared; asked for from anywhere', async () => {
    const { t, origin } = await story(3011, { behind: { delay: '20s' } })
    const [deleted, over, cleared] = times(500, i => `k${i}`).filter(key => ownerOf(t, key) === 0) as [
      string,
      string,
      string
    ]
    for (const key of [deleted, over, cleared]) origin.rows.set(key, 'old')
    await t.until(products(t, 1).set(over, 'new', { ttl: '1s' }))
    await t.until(products(t, 1).set(cleared, 'new'))
    await t.until(products(t, 1).clear())
    await t.until(products(t, 1).delete(deleted))
    await t.run('2s')
    const read = [deleted, over, cleared].map(key => t.until(products(t, 2).get(key)))
    expect(await Promise.all(read)).toEqual([undefined, 'new', 'new'])
    expect(await t.until(products(t, 2).getMany([deleted, over, cleared]))).toEqual([undefined, 'new', 'new'])
  })

  it('asks the new owner when the key moves meanwhile, and ends when its caller gives up', async () => {
    const { t, origin } = await story(3012, { members: 4, behind: { delay: '60s' } })
    const key = times(500, i => `k${i}`).find(one => ownerOf(t, one) === 3) as string
    t.crash(3)
    await t.run('8s')
    await t.until(products(t, ownerOf(t, key)).delete(key))
    origin.rows.set(key, 'old')
    origin.beforeMs = () => 3_000
    const reading = watch(t, products(t, 1).get(key))
    const given = errorOf(t, products(t, 2).get(key, { timeout: '100ms' }))
    expect((await given).code).toBe('ERR_MESH_TIMEOUT')
    t.restart(3)
    await t.run('9s')
    expect(reading.state).toBe('fulfilled')
    expect(await t.until(products(t, 1).get(key))).toBeUndefined()
  })
})

describe('an origin that is down', () => {
  it('gets the latest value when it is back', async () => {
    const { t, origin, said } = await story(3020)
    const key = keyOf(t, 0)
    origin.fails = () => true
    for (let i = 1; i <= 5; i++) {
      await t.until(products(t, 1).set(key, i))
      await t.run('5s')
    }
    expect(origin.rows.size).toBe(0)
    expect(stats(t, 0).storesPending).toBe(1)
    origin.fails = () => false
    await t.run('31s')
    expect(origin.valuesOf(key)).toEqual([5])
    expect(stats(t, 0)).toMatchObject({ storesPending: 0, storesLostTotal: 0 })
    expect(said).toEqual(['0 CACHEMESH_STORE'])
  })

  it('for longer than retryFor loses the value, and that is counted and said', async () => {
    const { t, origin, said } = await story(3021, { behind: { retryFor: '10s' } })
    const keys = times(500, i => `k${i}`).filter(key => ownerOf(t, key) === 0)
    origin.fails = () => true
    await t.until(products(t, 1).setMany(keys.slice(0, 20).map(key => [key, 1] as const)))
    await t.run('60s')
    expect(stats(t, 0)).toMatchObject({ storesPending: 0, storesLostTotal: 20 })
    expect(said).toContain('0 CACHEMESH_STORES_LOST')
    expect(said.length).toBeLessThan(12)
  })
})

describe('a member that goes', () => {
  it('by leaving stores all that it has waiting first', async () => {
    const { t, origin } = await story(3030, { behind: { delay: '60s' } })
    const keys = times(200, i => `k${i}`)
    await t.until(products(t, 1).setMany(keys.map(key => [key, `of ${key}`] as const)))
    origin.beforeMs = () => 20
    origin.fails = () => t.random.float() < 0.1
    const pending = stats(t, 0).storesPending
    expect(pending).toBeGreaterThan(20)
    await t.until(mesh(t, 0).leave())
    expect(stats(t, 0)).toMatchObject({ storesPending: 0, storesLostTotal: 0 })
    expect(origin.rows.size).toBe(pending)
    // Whatever is asked for now is as it was written.
    origin.fails = () => false
    expect(await t.until(products(t, 1).getMany(keys))).toEqual(keys.map(key => `of ${key}`))
  })

  it('does not wait out the pauses of an origin that was down', async () => {
    const { t, origin } = await story(3034)
    const key = keyOf(t, 0)
    origin.fails = () => true
    await t.until(products(t, 1).set(key, 1))
    await t.run('25s')
    origin.fails = () => false
    const beganMs = t.now
    await t.until(mesh(t, 0).leave())
    expect(t.now - beganMs).toBeLessThan(1_000)
    expect(origin.rows.get(key)).toBe(1)
  })

  it('alone in its mesh does so too, and takes no more writes', async () => {
    const { t, origin } = await story(3031, { members: 1, behind: { delay: '60s' } })
    const cache = products(t, 0)
    await t.until(cache.set('k', 1))
    origin.beforeMs = () => 500
    const leaving = mesh(t, 0).leave()
    expect((await errorOf(t, cache.set('late', 2, { timeout: '100ms' }))).code).toBe('ERR_MESH_UNAVAILABLE')
    await t.until(leaving)
    expect(Object.fromEntries(origin.rows)).toEqual({ k: 1 })
    expect((await errorOf(t, cache.set('k', 3))).code).toBe('ERR_MESH_LEFT')
  })

  it('whose origin does not answer within the deadline says what is lost', async () => {
    const { t, origin, said } = await story(3032, { behind: { delay: '60s' } })
    const keys = times(100, i => `k${i}`).filter(key => ownerOf(t, key) === 0)
    await t.until(products(t, 1).setMany(keys.map(key => [key, 1] as const)))
    origin.beforeMs = () => 60_000
    const beganMs = t.now
    await t.until(mesh(t, 0).leave({ deadline: '2s' }))
    expect(t.now - beganMs).toBeLessThan(3_000)
    expect(stats(t, 0)).toMatchObject({ storesPending: 0, storesLostTotal: keys.length })
    expect(said).toContain('0 CACHEMESH_STORES_LOST')
  })

  it('by a crash loses what it had waiting, and no more', async () => {
    const { t, origin } = await story(3033, { backups: 0, behind: { delay: '1s' } })
    const keys = times(100, i => `k${i}`)
    const lost = keys.filter(key => ownerOf(t, key) === 0)
    await t.until(products(t, 1).setMany(keys.map(key => [key, 'stored'] as const)))
    await t.run('2s')
    await t.until(products(t, 1).setMany(keys.map(key => [key, 'newer'] as const)))
    t.crash(0)
    await t.run('9s')
    for (const key of keys) expect(origin.rows.get(key)).toBe(lost.includes(key) ? 'stored' : 'newer')
    t.restart(0)
    await t.run('4s')
    expect(await t.until(products(t, 0).get(lost[0] as string))).toBe('stored')
  })
})

describe('a key that moves while it waits', () => {
  async function moving(seed: number, behind: WriteBehindOptions = {}) {
    const told = await story(seed, { members: 4, behind })
    const { t } = told
    const key = times(500, i => `k${i}`).find(one => ownerOf(t, one) === 3) as string
    t.crash(3)
    await t.run('8s')
    return { ...told, key, owner: ownerOf(t, key) }
  }

  it('is stored at once by the owner it had, ahead of what the new one has', async () => {
    const { t, origin, key, owner } = await moving(3040, { delay: '20s' })
    await t.until(products(t, owner).set(key, 'before'))
    t.restart(3)
    await t.run('2s')
    expect(ownerOf(t, key)).toBe(3)
    expect(origin.stored).toMatchObject([{ value: 'before', member: owner }])
    await t.until(products(t, owner).set(key, 'after'))
    await t.run('21s')
    expect(origin.valuesOf(key)).toEqual(['before', 'after'])
  })

  it('is not held older by a new owner that is asked before the old one has stored', async () => {
    const { t, origin, key, owner } = await moving(3041, { delay: '60s' })
    origin.rows.set(key, 'old')
    await t.until(products(t, owner).set(key, 'new'))
    origin.beforeMs = () => 3_000
    t.restart(3)
    await t.run('2500ms')
    expect(ownerOf(t, key)).toBe(3)
    // It looks at the old one before it loads.
    expect(await t.until(products(t, 1).get(key))).toBe('new')
    await t.run('4s')
    expect(origin.rows.get(key)).toBe('new')
    expect(await t.until(products(t, 1).get(key))).toBe('new')
  })

  it('is not stored over a newer value by an origin that keeps the version', async () => {
    const { t, origin, key, owner } = await moving(3042, { delay: '500ms' })
    origin.isCareful = true
    origin.beforeMs = (_key, value) => (value === 'before' ? 9_000 : 0)
    await t.until(products(t, owner).set(key, 'before'))
    t.restart(3)
    await t.run('2500ms')
    await t.until(products(t, 1).set(key, 'after'))
    await t.run('12s')
    expect(origin.valuesOf(key)).toEqual(['after'])
    expect(await t.until(products(t, 1).get(key))).toBe('after')
  })
})

/** Writers at a few keys, an origin of any speed that fails now and then, evictions, and a member that comes and goes. */
async function chaos(seed: number): Promise<string[]> {
  // One owner's word for each key: with copies, seed 3103 ends with a value that the origin does not have.
  const { t, origin } = await story(seed, { members: 4, maxBytes: 3_000, backups: 1, behind: { delay: '200ms' } })
  origin.isCareful = true
  const dice = t.random.fork('writers')
  const keys = times(8, i => `k${i}`)
  origin.beforeMs = () => dice.float() * 60
  origin.fails = () => dice.float() < 0.1
  const all: Promise<unknown>[] = []
  let leaving: Promise<unknown> = Promise.resolve()
  for (let i = 0; i < 200; i++) {
    const cache = products(t, dice.integer(3))
    const key = keys[dice.integer(keys.length)] as string
    const value = `${i} ${'x'.repeat(dice.integer(600))}`
    const [set, get] = [() => cache.set(key, value), () => cache.get(key)]
    const fill = (): Promise<unknown> => cache.set(`filler ${dice.integer(20)}`, 'x'.repeat(500))
    const act = [set, set, get, get, fill, () => cache.delete(key)][dice.integer(6)] as () => Promise<unknown>
    // Some fail: that is asked for.
    all.push(orOurError(act()))
    if (i === 100) leaving = mesh(t, 3).leave()
    if (i === 150) {
      // It hands over what it has before it goes.
      await t.until(leaving)
      t.restart(3)
    }
    await t.run(dice.integer(40))
  }
  await t.until(Promise.all(all))
  await t.run('60s')
  const wrong: string[] = []
  for (const key of keys) {
    const value = await t.until(products(t, 0).get(key, { load: false }))
    if (value !== undefined && value !== origin.rows.get(key)) wrong.push(`${key} is ${value}`)
  }
  if (t.meshes.some(member => member.stats().storesPending > 0)) wrong.push('something waits for ever')
  return wrong
}

describe('after quiet the cache holds what the origin has', () => {
  it.each(times(30, i => 3100 + i))('under writers, failures, evictions and moves, seed %i', async seed => {
    expect(await chaos(seed)).toEqual([])
  })

  it('which it would not if loads passed what waits', async () => {
    const spy = vi.spyOn(WriteBehind.prototype, 'whenStored').mockReturnValue(undefined)
    const wrong: string[] = []
    for (const seed of times(8, i => 3100 + i)) wrong.push(...(await chaos(seed)))
    expect(wrong.length).toBeGreaterThan(0)
    spy.mockRestore()
  })
})
