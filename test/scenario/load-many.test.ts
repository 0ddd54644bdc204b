import { describe, expect, it } from 'vitest'
import { isMeshError, PartialError } from '../../lib/base/errors.ts'
import type { LoadingCache } from '../../lib/cache.ts'
import type { LoadManyContext } from '../../lib/fill/definition.ts'
import type { Cluster } from '../../lib/testing.ts'
import { errorOf, formed, keyOf, mesh, ownersOf, times, watch } from './story.ts'

type LoadMany = (keys: readonly string[], context: LoadManyContext<string>) => unknown

/** Three members whose `loadMany` is recorded: which keys each call was for. */
async function batched(seed: number, loadMany: LoadMany = keys => keys.map(key => `many ${key}`), options = {}) {
  const calls: (readonly string[])[] = []
  let singles = 0
  const t: Cluster = await formed(3, {
    seed,
    start: member =>
      member.cache('products', {
        ttl: '1h',
        ...options,
        load: async (key: string) => {
          singles++
          await t.sleep('20ms')
          return `one ${key}`
        },
        loadMany: async (keys: readonly string[], context: LoadManyContext<string>) => {
          calls.push(keys)
          await t.sleep('20ms')
          return (await loadMany(keys, context)) as readonly unknown[]
        }
      } as never)
  })
  // Each member has its table now, and for a while its owner before is asked first: they would come back one by one.
  for (const one of t.meshes) one.stats()
  await t.run('30s')
  const cache = (by: number) => mesh(t, by).cache<string>('products') as unknown as LoadingCache<string>
  return { t, calls, singles: () => singles, cache }
}

const KEYS = times(500, i => `k${i}`)

describe('keys that are missed together', () => {
  it('are one call of loadMany at each owner, and then stored there', async () => {
    const { t, calls, singles, cache } = await batched(960)
    expect(await t.until(cache(1).getMany(KEYS))).toEqual(KEYS.map(key => `many ${key}`))
    expect([calls.length, singles()]).toEqual([3, 0])
    const owners = ownersOf(t, KEYS)
    for (const keys of calls) expect(new Set(keys.map(key => owners[KEYS.indexOf(key)])).size).toBe(1)
    expect(calls.flat().sort()).toEqual([...KEYS].sort())
    expect(await t.until(cache(2).get('k7'))).toBe('many k7')
    expect(calls).toHaveLength(3)
    expect(t.meshes.map(one => one.stats().loadsTotal)).toEqual([1, 1, 1])
    expect(t.meshes.reduce((sum, one) => sum + one.stats().loadsBatchedTotal, 0)).toBe(500)
  })

  it('share the load of a key that somebody asks for alone, before and after', async () => {
    const { t, calls, cache } = await batched(961)
    const before = watch(t, cache(2).get('k0'))
    await t.run('10ms')
    const many = watch(t, cache(1).getMany(['k0', 'k1', 'k2', 'k3']))
    await t.run('10ms')
    const after = watch(t, cache(0).get('k3'))
    await t.run('200ms')
    expect(many.value).toEqual(['many k0', 'many k1', 'many k2', 'many k3'])
    expect([before.value, after.value]).toEqual(['many k0', 'many k3'])
    expect(calls.flat().sort()).toEqual(['k0', 'k1', 'k2', 'k3'])
  })

  it('have a result each: a value, nothing, an error, a TTL, tags, or not to be kept', async () => {
    const { t, cache, calls } = await batched(962, (keys, { store }) =>
      keys.map(key => {
        if (key === 'k1') return undefined
        if (key === 'k2') return new Error('no k2')
        if (key === 'k3') store(key, { ttl: '1s', tags: ['short'] })
        if (key === 'k4') store(key, false)
        return key
      })
    )
    const failed = (await errorOf(t, cache(1).getMany(['k0', 'k1', 'k2', 'k3', 'k4']))) as PartialError
    expect(failed).toBeInstanceOf(PartialError)
    expect(failed.values).toEqual(['k0', undefined, undefined, 'k3', 'k4'])
    expect([...failed.errors.keys()]).toEqual([2])
    expect(isMeshError(failed.errors.get(2), 'ERR_MESH_LOAD')).toBe(true)
    expect(failed.errors.get(2)?.cause).toMatchObject({ message: 'no k2' })
    const entry = await t.until(cache(0).getEntry('k3'))
    expect(entry?.tags).toEqual(['short'])
    const loaded = calls.flat().length
    await t.until(cache(1).get('k4'))
    await t.run('1100ms')
    await t.until(cache(1).get('k3'))
    await t.until(cache(1).get('k0'))
    expect(calls.flat().slice(loaded).sort()).toEqual(['k3', 'k4'])
  })

  it.each([
    ['throws', () => Promise.reject(new Error('down')), 'down'],
    ['gives too few', (keys: readonly string[]) => keys.slice(1), 'array of'],
    ['gives no list', () => 'rows', 'array of']
  ])('fail each for itself when loadMany %s', async (_, loadMany, what) => {
    const { t, cache } = await batched(963, loadMany as LoadMany, { errorBackoff: 0 })
    const error = (await errorOf(t, cache(1).getMany(['k0', 'k1', 'k2']))) as PartialError
    expect([...error.errors.values()].map(one => (one.cause as Error).message)).toEqual(
      times(3, () => expect.stringContaining(what))
    )
  })

  it('are aborted together when nobody waits for any of them', async () => {
    const signals: AbortSignal[] = []
    const { t, cache } = await batched(964, async (keys, { signal }) => {
      signals.push(signal)
      await t.sleep('5s')
      return keys
    })
    const [one, other] = [new AbortController(), new AbortController()]
    const owner = keyOf(t, 0)
    const second = times(100, i => `x${i}`).find((_, i) => ownersOf(t, [`x${i}`])[0] === 0) as string
    const reads = [
      watch(t, cache(1).get(owner, { signal: one.signal })),
      watch(t, cache(2).get(second, { signal: other.signal }))
    ]
    await t.run('100ms')
    one.abort()
    await t.run('100ms')
    expect(signals.map(({ aborted }) => aborted)).toEqual([false])
    other.abort()
    await t.run('100ms')
    expect(signals.map(({ aborted }) => aborted)).toEqual([true])
    expect(reads.map(({ state }) => state)).toEqual(['rejected', 'rejected'])
  })

  it('one by one are bound by the timeout of the call as a whole', async () => {
    const t = await formed(1, {
      seed: 966,
      start: member =>
        member.cache('products', { ttl: '1h', loadConcurrency: 1, load: () => t.sleep('50ms').then(() => 'row') })
    })
    const before = t.now
    const error = (await errorOf(t, mesh(t, 0).cache('products').getMany(KEYS, { timeout: '200ms' }))) as PartialError
    expect(t.now - before).toBeLessThan(300)
    expect(error.errors.size).toBeGreaterThan(490)
    expect(new Set([...error.errors.values()].map(one => (one as { code?: string }).code))).toEqual(
      new Set(['ERR_MESH_TIMEOUT'])
    )
  })

  it('are refused where loadMany comes without load', async () => {
    const t = await formed(1, { seed: 965 })
    expect(() => mesh(t, 0).cache('c', { ttl: '1h', loadMany: () => [] } as never)).toThrow(/given together with load/)
  })
})

describe('getOrSetMany', () => {
  it('loads what nobody has by one call for each owner, here, and shares it', async () => {
    const t = await formed(3, { seed: 970, start: member => member.cache('products', { ttl: '1h' }) })
    const cache = (by: number) => mesh(t, by).cache<string>('products')
    await t.until(cache(0).set('k1', 'there'))
    const calls: (readonly string[])[] = []
    const load = async (keys: readonly string[]) => {
      calls.push(keys)
      await t.sleep('50ms')
      return keys.map(key => `row ${key}`)
    }
    const [first, second] = [watch(t, cache(1).getOrSetMany(KEYS, load)), watch(t, cache(2).getOrSetMany(KEYS, load))]
    await t.run('1s')
    const rows = KEYS.map(key => (key === 'k1' ? 'there' : `row ${key}`))
    expect([first.value, second.value]).toEqual([rows, rows])
    expect(calls.flat().sort()).toEqual(KEYS.filter(key => key !== 'k1').sort())
    // Each of the two may be first at some owners, and is called once for those of each.
    expect(calls.length).toBeLessThanOrEqual(6)
    expect(await t.until(cache(0).getMany(KEYS))).toEqual(rows)
  })

  it('loads alone what has no owner', async () => {
    const t = await formed(2, {
      seed: 971,
      options: { weight: 0 },
      start: member => member.cache('products', { ttl: '1h' })
    })
    const rows = mesh(t, 0)
      .cache<string>('products')
      .getOrSetMany(['a', 'b'], keys => keys.map(key => (key === 'b' ? new Error('no b') : `row ${key}`)))
    const error = (await errorOf(t, rows)) as PartialError
    expect(error.values).toEqual(['row a', undefined])
  })

  it('refuses what is no function and a key that is none before anything is loaded', async () => {
    const t = await formed(1, { seed: 972, start: member => member.cache('products', { ttl: '1h' }) })
    const cache = mesh(t, 0).cache('products')
    expect((await errorOf(t, cache.getOrSetMany(['a'], 'rows' as never))).code).toBe('ERR_MESH_OPTION')
    expect(
      (
        await errorOf(
          t,
          cache.getOrSetMany(['a', 7 as never], () => [])
        )
      ).code
    ).toBe('ERR_MESH_KEY')
  })
})

describe('warm', () => {
  it('loads what is missing at the rate it is given, and tells how far it is', async () => {
    const { t, calls, cache } = await batched(975)
    await t.until(cache(0).getMany(KEYS.slice(0, 100)))
    const told: { loaded: number; present: number; failed: number; done: boolean }[] = []
    cache(1).on('warm', progress => told.push(progress))
    const beganMs = t.now
    async function* stream() {
      yield* KEYS
    }
    expect(await t.until(cache(1).warm(stream(), { rate: 200 }))).toEqual({ loaded: 400, present: 100, failed: 0 })
    expect(t.now - beganMs).toBeGreaterThanOrEqual(2_490)
    expect(t.now - beganMs).toBeLessThan(2_700)
    expect(told.at(-1)).toEqual({ loaded: 400, present: 100, failed: 0, done: true })
    expect(told.length).toBeGreaterThan(15)
    expect(calls.flat()).toHaveLength(500)
    expect(t.meshes.reduce((sum, one) => sum + one.stats().loadsWarmTotal, 0)).toBe(400)
    expect(await t.until(cache(2).get('k499'))).toBe('many k499')
  })

  it('counts keys that fail and goes on; ends with its signal and at a key that is none', async () => {
    const { t, cache } = await batched(976, keys => keys.map(key => (key === 'k3' ? new Error('no') : key)))
    expect(await t.until(cache(1).warm(KEYS.slice(0, 10)))).toEqual({ loaded: 9, present: 0, failed: 1 })
    const aborter = new AbortController()
    const warming = watch(t, cache(1).warm(KEYS, { rate: 100, signal: aborter.signal }))
    await t.run('500ms')
    aborter.abort(new Error('enough'))
    await t.run('500ms')
    expect((warming.error as Error).message).toBe('enough')
    expect((await errorOf(t, cache(1).warm([''], {}))).code).toBe('ERR_MESH_KEY')
    expect((await errorOf(t, cache(1).warm(KEYS, { rate: 0 }))).message).toMatch(
      /Write cache.warm\(keys, { rate: 200 }\)/
    )
    expect((await errorOf(t, cache(1).warm(5 as never))).message).toMatch(/to be iterable/)
  })

  it('ends at once with its signal in a pause, and with its member', async () => {
    const { t, cache } = await batched(978)
    const aborter = new AbortController()
    const paused = watch(t, cache(1).warm(KEYS, { rate: 0.01, signal: aborter.signal }))
    const leaving = watch(t, cache(2).warm(KEYS, { rate: 50 }))
    await t.run('1s')
    aborter.abort(new Error('enough'))
    await t.run('1ms')
    expect((paused.error as Error | undefined)?.message).toBe('enough')
    await t.until(mesh(t, 2).leave())
    await t.run('1s')
    expect(leaving.error).toMatchObject({ code: 'ERR_MESH_LEFT' })
  })

  it('ends for its own reason, and warns where the stream of its keys cannot be closed', async () => {
    const { t, cache } = await batched(979)
    const warned: string[] = []
    mesh(t, 1).on('warning', ({ code, message }) => void warned.push(`${code}: ${message}`))
    const aborter = new AbortController()
    const stream = {
      next: () => new Promise<never>(() => {}),
      return: () => Promise.reject(new Error('the connection is gone')),
      [Symbol.asyncIterator]: () => stream
    }
    const warming = watch(t, cache(1).warm(stream as never, { signal: aborter.signal }))
    await t.run('1s')
    aborter.abort(new Error('enough'))
    await t.run('1ms')
    expect((warming.error as Error | undefined)?.message).toBe('enough')
    expect(warned).toEqual(["CACHEMESH_WARM_STREAM: the stream of keys to warm 'products' failed to close"])
  })

  it('needs a loader', async () => {
    const t = await formed(1, { seed: 977, start: member => member.cache('products', { ttl: '1h' }) })
    const cache = mesh(t, 0).cache('products') as unknown as LoadingCache<string>
    expect((await errorOf(t, cache.refresh('k'))).message).toMatch(/Declare it with load/)
    expect((await errorOf(t, cache.warm(['k']))).message).toMatch(/Declare it with load/)
  })
})
