import { describe, expect, it } from 'vitest'
import type { Cluster } from '../../lib/testing.ts'
import { errorOf, formed, keyOf, mesh, orOurError, times, watch } from './story.ts'

async function failing(seed: number, options = {}) {
  const origin = { calls: [] as number[], down: true }
  const t: Cluster = await formed(3, {
    seed,
    start: member =>
      member.cache('products', {
        ttl: '1h',
        ...options,
        load: () => {
          origin.calls.push(t.now)
          if (origin.down) throw Object.assign(new Error('down'), { code: 'E_DOWN' })
          return 'row'
        }
      })
  })
  return { t, origin, key: keyOf(t, 0), cache: (by: number) => mesh(t, by).cache<string>('products') }
}

describe('a key whose load has failed', () => {
  it('is left alone by the whole mesh, longer with each failure in a row, up to 5 s', async () => {
    const { t, origin, key, cache } = await failing(950)
    for (let i = 0; i < 3_000; i++) {
      await Promise.all(times(3, by => orOurError(cache(by).get(key))).concat(t.run('10ms') as never))
    }
    const waits = origin.calls.slice(1).map((at, i) => at - (origin.calls[i] as number))
    expect(waits.slice(0, 6).map(ms => Math.round(ms / 100) * 100)).toEqual([100, 200, 400, 800, 1_600, 3_200])
    for (const ms of waits.slice(6)) expect(Math.round(ms / 100) * 100).toBe(5_000)
  })

  it('tells each who waited the failure, and each who comes later that it is left alone, with the same cause', async () => {
    const { t, origin, key, cache } = await failing(951, { errorBackoff: '1s' })
    const waited = await Promise.all([0, 1, 2].map(by => errorOf(t, cache(by).get(key))))
    expect(waited.map(({ code }) => code)).toContain('ERR_MESH_LOAD')
    await t.run('10ms')
    for (const by of [0, 1, 2]) {
      const error = await errorOf(t, cache(by).get(key))
      expect(error).toMatchObject({
        code: 'ERR_MESH_BACKOFF',
        retryable: true,
        cause: { message: 'down', code: 'E_DOWN' }
      })
      expect(error.message).toMatch(
        /The last load of this key failed \(down\), so the origin is left alone with it for \d+ ms more/
      )
    }
    expect(origin.calls).toHaveLength(1)
    expect(mesh(t, 0).stats().loadsBackedOffTotal).toBeGreaterThanOrEqual(3)
  })

  it.each(['set', 'delete', 'clear'] as const)(
    'is asked for again after a %s: somebody may have mended it',
    async how => {
      const { t, origin, key, cache } = await failing(952, { errorBackoff: '5s' })
      await errorOf(t, cache(1).get(key))
      if (how === 'set') await t.until(cache(2).set(key, 'mended', { ttl: '1s' }))
      else if (how === 'delete') await t.until(cache(2).delete(key))
      else await t.until(cache(2).clear())
      origin.down = false
      await t.run('1100ms')
      expect([await t.until(cache(1).get(key)), origin.calls.length]).toEqual(['row', 2])
    }
  )

  it('does not keep others from being loaded', async () => {
    const { t, origin, key, cache } = await failing(953, { errorBackoff: '5s' })
    await errorOf(t, cache(1).get(key))
    origin.down = false
    expect(await t.until(cache(1).get(`${key}-other`))).toBe('row')
  })

  it('keeps a caller with a loader of its own waiting too', async () => {
    const { t, key, cache } = await failing(954, { errorBackoff: '1s' })
    const own = () => Promise.reject(new Error('own'))
    expect((await errorOf(t, cache(1).getOrSet(key, own))).code).toBe('ERR_MESH_LOAD')
    // Its owner hears of the failure a moment after its caller.
    await t.run('10ms')
    const late = cache(2).getOrSet(key, () => 'row')
    expect((await errorOf(t, late)).code).toBe('ERR_MESH_BACKOFF')
    await t.run('1s')
    expect(await t.until(cache(2).getOrSet(key, () => 'row'))).toBe('row')
  })

  it('forgets its failures with the first success', async () => {
    const { t, origin, key, cache } = await failing(955, { ttl: '10ms', jitter: 0 })
    for (let i = 0; i < 3; i++) {
      watch(t, cache(1).get(key))
      await t.run('450ms')
    }
    origin.down = false
    expect(await t.until(cache(1).get(key))).toBe('row')
    await t.run('20ms')
    origin.down = true
    await errorOf(t, cache(1).get(key))
    await t.run('105ms')
    origin.down = false
    expect(await t.until(cache(1).get(key))).toBe('row')
  })
})
