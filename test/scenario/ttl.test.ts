import { describe, expect, it } from 'vitest'
import { formed, keyOf, mesh, times } from './story.ts'

describe('a ttl', () => {
  it('given to set holds exactly, without jitter, for every member', async () => {
    const t = await formed(3, { seed: 500, start: member => member.cache('otp', { ttl: '1h', jitter: 1 }) })
    const keys = times(60, i => `k${i}`)
    const setAll = keys.map((key, i) =>
      mesh(t, i % 3)
        .cache('otp')
        .set(key, i, { ttl: '10s' })
    )
    await t.until(Promise.all(setAll))
    await t.run(9_900)
    const before = await t.until(mesh(t, 1).cache('otp').getMany(keys))
    expect(before).toEqual(times(60, i => i))
    await t.run(200)
    expect(await t.until(mesh(t, 2).cache('otp').getMany(keys))).toEqual(times(60, () => undefined))
  })

  it('of the cache is what set uses when it is given none', async () => {
    const t = await formed(2, { seed: 501, start: member => member.cache('plain', { ttl: '2s' }) })
    await t.until(mesh(t, 0).cache('plain').set('k', 1))
    await t.run('1900ms')
    expect(await t.until(mesh(t, 1).cache('plain').has('k'))).toBe(true)
    await t.run('200ms')
    expect(await t.until(mesh(t, 1).cache('plain').has('k'))).toBe(false)
  })

  it('forever outlives a month', async () => {
    const t = await formed(1, { seed: 502, start: member => member.cache('plain', { ttl: 'forever' }) })
    await t.until(mesh(t, 0).cache('plain').set('k', 1))
    // A month of one member, told in one jump of its clock and not in millions of its ticks.
    t.pause(0)
    await t.run('30d')
    t.resume(0)
    expect(await t.until(mesh(t, 0).cache('plain').get('k'))).toBe(1)
  })

  it('of a loaded value is shortened by at most the jitter and never lengthened', async () => {
    const t = await formed(3, {
      seed: 503,
      start: member => member.cache('products', { ttl: '100s', jitter: 0.2, load: () => 1 })
    })
    const keys = times(200, i => `k${i}`)
    await t.until(mesh(t, 0).cache('products').getMany(keys))
    const kept = async (): Promise<number> => {
      const found = await t.until(mesh(t, 0).cache('products').getMany(keys, { load: false }))
      return found.filter(value => value !== undefined).length
    }
    await t.run('79s')
    expect(await kept()).toBe(200)
    await t.run('11s')
    const midway = await kept()
    expect(midway).toBeGreaterThan(50)
    expect(midway).toBeLessThan(150)
    await t.run('11s')
    expect(await kept()).toBe(0)
  })

  it('may be chosen by the loader, or refused altogether', async () => {
    let calls = 0
    const t = await formed(2, {
      seed: 504,
      start: member =>
        member.cache('products', {
          ttl: '1h',
          jitter: 0,
          load: (id: string, { store }) => {
            calls++
            store(id === 'never' ? false : { ttl: '1s' })
            return id
          }
        })
    })
    const cache = mesh(t, 1).cache('products')
    for (let i = 0; i < 3; i++) await t.until(cache.get('never'))
    expect(calls).toBe(3)
    await t.until(cache.get('short'))
    await t.run('900ms')
    await t.until(cache.get('short'))
    expect(calls).toBe(4)
    await t.run('200ms')
    await t.until(cache.get('short'))
    expect(calls).toBe(5)
  })

  it('of getOrSet travels with the value, to an owner that never declared the cache', async () => {
    const t = await formed(2, {
      seed: 505,
      start: (member, i) => i === 1 && member.cache('plain', { ttl: '1h', jitter: 0 })
    })
    const key = keyOf(t, 0, { cache: 'plain' })
    await t.until(
      mesh(t, 1)
        .cache('plain')
        .getOrSet(key, () => 'v', { ttl: '3s' })
    )
    await t.run('2900ms')
    expect(await t.until(mesh(t, 1).cache('plain').get(key))).toBe('v')
    await t.run('200ms')
    expect(await t.until(mesh(t, 1).cache('plain').get(key))).toBeUndefined()
  })
})

describe('memory', () => {
  it('is bounded: the least recently used go first and are counted', async () => {
    const t = await formed(1, {
      seed: 510,
      options: { memory: '64kb' },
      start: member => member.cache('plain', { ttl: '1h' })
    })
    const cache = mesh(t, 0).cache('plain')
    for (let i = 0; i < 100; i++) {
      await t.until(cache.set(`k${i}`, 'x'.repeat(1_000)))
      await t.until(cache.get('k0'))
    }
    const { memoryBytes, memoryLimitBytes, evictionsTotal, records } = mesh(t, 0).stats()
    expect(memoryBytes).toBeLessThanOrEqual(memoryLimitBytes)
    expect(evictionsTotal).toBe(100 - records)
    expect(evictionsTotal).toBeGreaterThan(0)
    expect(await t.until(cache.has('k0'))).toBe(true)
    expect(await t.until(cache.has('k1'))).toBe(false)
  })

  it('of one cache ends at its maxBytes, and others are not touched', async () => {
    const t = await formed(2, {
      seed: 86,
      start: member => {
        member.cache<string>('few', { ttl: '1h', maxBytes: '8kb', eviction: 'lfu' })
        member.cache<string>('all', { ttl: '1h' })
      }
    })
    for (let i = 0; i < 300; i++) {
      await t.until(mesh(t, 0).cache<string>('few').set(`k${i}`, 'x'.repeat(100)))
      await t.until(mesh(t, 0).cache<string>('all').set(`k${i}`, 'x'.repeat(100)))
    }
    const found = async (cache: string): Promise<number> => {
      const values = await t.until(
        mesh(t, 1)
          .cache(cache)
          .getMany(times(300, i => `k${i}`))
      )
      return values.filter(value => value !== undefined).length
    }
    expect(await found('all')).toBe(300)
    // 8 KB in each of two members, at some 190 bytes a record, and copies take as much as they can get.
    expect(await found('few')).toBeGreaterThan(25)
    expect(await found('few')).toBeLessThanOrEqual(88)
  })

  it('comes back when values expire, though nobody asks for them', async () => {
    const t = await formed(2, { seed: 87, start: member => void member.cache<number>('products', { ttl: '10s' }) })
    // Each is there twice: at its owner and at its backup.
    await t.until(Promise.all(times(50, i => mesh(t, 0).cache<number>('products').set(`k${i}`, i))))
    const sum = (name: 'records' | 'memoryBytes' | 'expirationsTotal'): number =>
      mesh(t, 0).stats()[name] + mesh(t, 1).stats()[name]
    await t.run('9s')
    expect(sum('records')).toBe(100)
    await t.run('3s')
    expect([sum('records'), sum('memoryBytes'), sum('expirationsTotal')]).toEqual([0, 0, 100])
  })

  it('a member that has left sets no timer any more', async () => {
    const t = await formed(1, { seed: 88, start: member => void member.cache<number>('products', { ttl: '10s' }) })
    await t.until(mesh(t, 0).leave())
    await t.run('1s')
    const { steps } = t.world
    await t.run('1m')
    expect(t.world.steps).toBe(steps)
  })
})
