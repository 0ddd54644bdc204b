import { AsyncLocalStorage } from 'node:async_hooks'
import { getEventListeners } from 'node:events'
import { describe, expect, it } from 'vitest'
import { isMeshError, PartialError } from '../../lib/base/errors.ts'
import type { LoadContext } from '../../lib/fill/definition.ts'
import type { Cluster } from '../../lib/testing.ts'
import { errorOf, formed, keyOf, mesh, ownerOf, times, watch } from './story.ts'

/** Keys of the cache 'plain' that member `index` decides for. */
function keysOf(t: Cluster, index: number, count: number): string[] {
  const keys: string[] = []
  for (let i = 0; keys.length < count; i++) if (ownerOf(t, `k${i}`, { cache: 'plain' }) === index) keys.push(`k${i}`)
  return keys
}

/** A loader of 1 s whose context the story can look at. */
async function slow(seed: number): Promise<{ t: Cluster; contexts: LoadContext[] }> {
  const contexts: LoadContext[] = []
  const t: Cluster = await formed(3, {
    seed,
    start: member =>
      member.cache('products', {
        ttl: '1h',
        load: async (id: string, context) => {
          contexts.push(context)
          await t.sleep('1s')
          return id
        }
      })
  })
  return { t, contexts }
}

describe('reads that do not load', () => {
  it('has and get with load: false never call the loader', async () => {
    const { t, contexts } = await slow(600)
    expect(await t.until(mesh(t, 1).cache('products').has('k'))).toBe(false)
    expect(await t.until(mesh(t, 1).cache('products').get('k', { load: false }))).toBeUndefined()
    expect(await t.until(mesh(t, 1).cache('products').getMany(['k', 'l'], { load: false }))).toEqual([
      undefined,
      undefined
    ])
    const own = mesh(t, 1)
      .cache('products')
      .getOrSet('k', () => 'own', { load: false })
    expect(await t.until(own)).toBeUndefined()
    expect(contexts).toHaveLength(0)
  })

  it('do not wait for a load that runs', async () => {
    const { t } = await slow(601)
    const loading = watch(t, mesh(t, 1).cache('products').get('k'))
    await t.run('100ms')
    expect(await t.until(mesh(t, 2).cache('products').has('k'), '50ms')).toBe(false)
    expect(loading.state).toBe('pending')
  })
})

describe('a loader given with the call', () => {
  it('runs in the request context of its caller, wherever the key lives', async () => {
    const t = await formed(3, { seed: 605, start: member => member.cache('products', { ttl: '1h' }) })
    const requests = new AsyncLocalStorage<string>()
    for (const owner of [0, 1, 2]) {
      const read = requests.run(`request ${owner}`, () =>
        mesh(t, 0)
          .cache<string | undefined>('products')
          .getOrSet(keyOf(t, owner), () => requests.getStore())
      )
      expect(await t.until(read)).toBe(`request ${owner}`)
    }
  })
})

describe('getMany', () => {
  it('answers in the order of the keys, the same key twice included', async () => {
    const { t } = await slow(610)
    const keys = ['c', 'a', 'b', 'a', ...times(40, i => `k${i}`)]
    expect(await t.until(mesh(t, 1).cache('products').getMany(keys))).toEqual(keys)
    expect(await t.until(mesh(t, 1).cache('products').getMany([]))).toEqual([])
  })

  it('asks each owner once for what is stored, however many the keys are', async () => {
    const t = await formed(3, { seed: 613, start: member => member.cache('plain', { ttl: '1h', backups: 0 }) })
    const keys = times(3_000, i => `k${i}`)
    const plain = (index: number) => mesh(t, index).cache<string>('plain')
    await t.until(Promise.all(keys.map(key => plain(0).set(key, `v ${key}`))))
    const servedBefore = t.meshes.map(member => member.stats().requestsServedTotal)
    const found = await t.until(plain(0).getMany([...keys, 'missing']))
    expect(found).toEqual([...keys.map(key => `v ${key}`), undefined])
    const served = t.meshes.map((member, i) => member.stats().requestsServedTotal - (servedBefore[i] as number))
    expect(served[0]).toBe(0)
    // Some thousand keys for each, and at most 1,024 in a request.
    for (const requests of served.slice(1)) expect(requests).toBeLessThanOrEqual(2)
  })

  it('brings values that are too large to come along, and what its owner has in parts', async () => {
    const t = await formed(2, { seed: 614, start: member => member.cache('plain', { ttl: '1h' }) })
    const plain = (index: number) => mesh(t, index).cache<Buffer>('plain')
    const sizes = [10, 20_000, 20_000, 200_000, 31_000, 0, 40_000, 30_000]
    const keys = keysOf(t, 1, sizes.length)
    await t.until(Promise.all(keys.map((key, i) => plain(1).set(key, Buffer.alloc(sizes[i] as number, i)))))
    const found = await t.until(plain(0).getMany(keys))
    expect(found.map(value => value?.length)).toEqual(sizes)
    expect(found.map(value => value?.every(byte => byte === found.indexOf(value)))).toEqual(sizes.map(() => true))
  })

  it('reads alone what loses its owner while it is asked for', async () => {
    const { t, contexts } = await slow(615)
    const keys = [keyOf(t, 2), keyOf(t, 1), keyOf(t, 0)]
    const read = watch(t, mesh(t, 0).cache('products').getMany(keys))
    t.crash(2)
    await t.run('20s')
    expect(read.value).toEqual(keys)
    expect(contexts).toHaveLength(3)
  })

  it('rejects with what succeeded and what failed, each at its place', async () => {
    const load = (id: string): string => {
      if (id.startsWith('bad')) throw new Error(`no ${id}`)
      return id
    }
    const t = await formed(3, { seed: 611, start: member => member.cache('products', { ttl: '1h', load }) })
    const error = await errorOf(t, mesh(t, 2).cache('products').getMany(['a', 'bad1', 'b', 'bad2']))
    expect(error).toBeInstanceOf(PartialError)
    const { values, errors, code } = error as PartialError
    expect(code).toBe('ERR_MESH_PARTIAL')
    expect(values).toEqual(['a', undefined, 'b', undefined])
    expect([...errors.keys()]).toEqual([1, 3])
    expect([...errors.values()].every(one => isMeshError(one, 'ERR_MESH_LOAD'))).toBe(true)
  })

  it('asks for nothing when one of the keys is none', async () => {
    const { t, contexts } = await slow(612)
    expect((await errorOf(t, mesh(t, 0).cache('products').getMany(['a', '']))).code).toBe('ERR_MESH_KEY')
    await t.run('1s')
    expect(contexts).toHaveLength(0)
  })

  it('that is aborted rejects with the reason of the signal', async () => {
    const { t } = await slow(613)
    const stop = new AbortController()
    const read = watch(t, mesh(t, 1).cache('products').getMany(['a', 'b'], { signal: stop.signal }))
    await t.run('100ms')
    stop.abort(new Error('the user has gone'))
    await t.run('1ms')
    expect(read.error).toBe(stop.signal.reason)
  })
})

describe('a call with a timeout', () => {
  it('gives up at it, load included, while the load goes on for others', async () => {
    const { t, contexts } = await slow(620)
    const beganMs = t.now
    const hasty = watch(t, mesh(t, 1).cache('products').get('k', { timeout: '300ms' }))
    const patient = watch(t, mesh(t, 1).cache('products').get('k'))
    await t.run('2s')
    expect((hasty.error as Error & { code: string }).code).toBe('ERR_MESH_TIMEOUT')
    expect(hasty.atMs - beganMs).toBeCloseTo(300, 0)
    expect(patient.value).toBe('k')
    expect(contexts).toHaveLength(1)
    expect(contexts[0]?.signal.aborted).toBe(false)
  })

  it('is not cut short by the timeout of the mesh while a load runs', async () => {
    const t: Cluster = await formed(2, {
      seed: 621,
      options: { timeout: '200ms' },
      start: member => member.cache('products', { ttl: '1h', load: () => t.sleep('5s').then(() => 1) })
    })
    expect(await t.until(mesh(t, 1).cache('products').get(keyOf(t, 0)))).toBe(1)
  })

  it('fails with ERR_MESH_TIMEOUT when the owner is there and does not answer', async () => {
    const t = await formed(2, { seed: 622, start: member => member.cache('plain', { ttl: '1h' }) })
    t.pause(0)
    const key = keyOf(t, 0, { cache: 'plain', by: 1 })
    const read = watch(t, mesh(t, 1).cache('plain').get(key))
    const write = watch(t, mesh(t, 1).cache('plain').set(key, 1, { timeout: '500ms' }))
    await t.run('3s')
    expect(isMeshError(read.error, 'ERR_MESH_TIMEOUT')).toBe(true)
    expect(isMeshError(write.error, 'ERR_MESH_TIMEOUT')).toBe(true)
    expect(String(write.error)).toContain('the outcome is unknown')
  })
})

describe('a call with a signal', () => {
  it('rejects with its reason at once, before and during the call', async () => {
    const { t } = await slow(630)
    const reason = new Error('the user has gone')
    const cache = mesh(t, 1).cache('products')
    for (const call of [
      (signal: AbortSignal) => cache.get('k', { signal }),
      (signal: AbortSignal) => cache.getOrSet('k', () => 1, { signal }),
      (signal: AbortSignal) => cache.has('k', { signal }),
      (signal: AbortSignal) => cache.set('k', 1, { signal }),
      (signal: AbortSignal) => cache.delete('k', { signal }),
      (signal: AbortSignal) => mesh(t, 1).ready({ signal, members: 9 })
    ]) {
      expect(await errorOf(t, call(AbortSignal.abort(reason)))).toBe(reason)
      const stop = new AbortController()
      const running = watch(t, call(stop.signal))
      stop.abort(reason)
      await t.run(0)
      if (running.state !== 'fulfilled') expect(running.error).toBe(reason)
    }
  })

  it('hangs one listener on the signal, however many calls share it', async () => {
    const { t } = await slow(631)
    const { signal } = new AbortController()
    const reads = times(50, i =>
      mesh(t, i % 3)
        .cache('products')
        .get(`k${i}`, { signal })
    )
    expect(getEventListeners(signal, 'abort')).toHaveLength(1)
    await t.until(Promise.all(reads))
  })

  it('lets the others go on when one of them leaves, and aborts the load when the last one has', async () => {
    const { t, contexts } = await slow(632)
    const key = keyOf(t, 0)
    const stops = times(6, () => new AbortController())
    const reads = stops.map(({ signal }, i) =>
      watch(
        t,
        mesh(t, i % 3)
          .cache('products')
          .get(key, { signal })
      )
    )
    await t.run('100ms')
    for (const [i, stop] of stops.entries()) {
      expect(contexts[0]?.signal.aborted).toBe(false)
      stop.abort()
      await t.run('50ms')
      expect(reads.map(({ state }) => state === 'rejected')).toEqual(times(6, j => j <= i))
    }
    expect(contexts).toHaveLength(1)
    expect(contexts[0]?.signal.aborted).toBe(true)
    expect(mesh(t, 0).stats()).toMatchObject({ loadsInProgress: 0, records: 0 })
  })

  it('leaves no load that a later caller could join', async () => {
    const { t, contexts } = await slow(633)
    const key = keyOf(t, 0)
    const stop = new AbortController()
    watch(t, mesh(t, 1).cache('products').get(key, { signal: stop.signal }))
    await t.run('100ms')
    stop.abort()
    await t.run('100ms')
    expect(await t.until(mesh(t, 2).cache('products').get(key))).toBe(key)
    expect(contexts).toHaveLength(2)
  })

  it('ends the wait where no member owns the key, and then nothing is loaded for nobody', async () => {
    let calls = 0
    const load = (): number => ++calls
    const t = await formed(2, {
      seed: 634,
      options: { weight: 0 },
      start: member => member.cache('products', { ttl: '1h', load })
    })
    const stop = new AbortController()
    const read = watch(t, mesh(t, 1).cache('products').get('k', { signal: stop.signal }))
    await t.run('100ms')
    stop.abort()
    await t.run('5s')
    expect(read.state).toBe('rejected')
    expect(calls).toBe(0)
  })
})
