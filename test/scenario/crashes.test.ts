import { describe, expect, it } from 'vitest'
import type { Mesh } from '../../lib/mesh.ts'
import type { Cluster } from '../../lib/testing.ts'
import { formed, keyOf, mesh, ownerOf, times, watch } from './story.ts'

const declare = (member: Mesh): unknown => member.cache('products', { ttl: '1h' })

/** A loader that takes `ms` and counts its calls. */
function slowOrigin(t: () => Cluster, ms: number): { load: () => Promise<string>; calls: () => number } {
  let calls = 0
  const load = async (): Promise<string> => {
    calls++
    await t().sleep(ms)
    return 'row'
  }
  return { load, calls: () => calls }
}

describe('a getOrSet caller that crashes in the middle', () => {
  it('hands its lease on: two calls at most, and everybody who waits gets the value', async () => {
    for (const atMs of [1, 3, 10, 100, 400, 900]) {
      const t: Cluster = await formed(4, { seed: 200, start: declare })
      const { load, calls } = slowOrigin(() => t, 1_000)
      const key = keyOf(t, 0)
      watch(t, mesh(t, 1).cache<string>('products').getOrSet(key, load))
      await t.run(atMs)
      const waiting = [0, 2, 3].map(index => watch(t, mesh(t, index).cache<string>('products').getOrSet(key, load)))
      await t.run(2)
      t.crash(1)
      await t.run('12s')
      expect(waiting.map(({ value }) => value)).toEqual(['row', 'row', 'row'])
      expect(calls()).toBeLessThanOrEqual(2)
    }
  })

  it('fails nobody even when it crashes late in a long load', async () => {
    const t: Cluster = await formed(4, { seed: 201, start: declare })
    const { load } = slowOrigin(() => t, 8_000)
    const key = keyOf(t, 0)
    watch(t, mesh(t, 1).cache<string>('products').getOrSet(key, load))
    await t.run('50ms')
    const waiting: ReturnType<typeof watch<string>>[] = []
    for (const index of [2, 3]) {
      waiting.push(watch(t, mesh(t, index).cache<string>('products').getOrSet(key, load)))
      await t.run('50ms')
    }
    await t.run('7s')
    t.crash(1)
    await t.run('30s')
    expect(waiting.map(({ state }) => state)).toEqual(['fulfilled', 'fulfilled'])
  })

  it('that is only paused loses its lease, and what it loaded then is its own alone', async () => {
    const t: Cluster = await formed(3, { seed: 202, start: declare })
    const key = keyOf(t, 0)
    const paused = watch(
      t,
      mesh(t, 1)
        .cache<string>('products')
        .getOrSet(key, () => t.sleep('500ms').then(() => 'old'))
    )
    await t.run('100ms')
    const next = watch(
      t,
      mesh(t, 2)
        .cache<string>('products')
        .getOrSet(key, () => 'new')
    )
    t.pause(1)
    await t.run('20s')
    expect(next.value).toBe('new')
    t.resume(1)
    await t.run('20s')
    expect(paused.state).not.toBe('pending')
    expect(await t.until(mesh(t, 2).cache('products').get(key))).toBe('new')
  })

  it('whose signal aborts while its lease is on the way does not make others wait for the lease to run out', async () => {
    const t = await formed(3, { seed: 203, start: declare, faults: { delayMsMin: 20, delayMsMax: 20 } })
    const key = keyOf(t, 0)
    const gone = new AbortController()
    watch(
      t,
      mesh(t, 1)
        .cache('products')
        .getOrSet(key, () => 'a', { signal: gone.signal })
    )
    // The request has arrived and the lease is on its way back.
    await t.run('25ms')
    const next = watch(
      t,
      mesh(t, 2)
        .cache('products')
        .getOrSet(key, () => 'b')
    )
    const beganMs = t.now
    gone.abort()
    await t.run('10s')
    expect(next.value).toBe('b')
    expect(next.atMs - beganMs).toBeLessThan(500)
  })
})

describe('an owner that crashes in the middle of a fill', () => {
  it.each([50, 1_000, 1_900])('after %i ms: the new owner loads once for all who waited', async atMs => {
    let calls = 0
    const t: Cluster = await formed(4, {
      seed: 210,
      start: member =>
        member.cache('products', {
          ttl: '1h',
          // With copies a backup loads meanwhile, for those who wait (`failover.test.ts`).
          backups: 0,
          load: async () => {
            calls++
            await t.sleep('2s')
            return 'row'
          }
        })
    })
    const key = keyOf(t, 0)
    const waiting = [1, 2, 3].map(index => watch(t, mesh(t, index).cache<string>('products').get(key)))
    await t.run(atMs)
    t.crash(0)
    await t.run('12s')
    expect(waiting.map(({ value }) => value)).toEqual(['row', 'row', 'row'])
    expect(calls).toBeLessThanOrEqual(2)
    expect(mesh(t, ownerOf(t, key, { by: 1 })).stats().records).toBe(1)
  })

  it('leaves no caller waiting longer than its own timeout', async () => {
    const t = await formed(3, {
      seed: 211,
      start: member => member.cache('products', { ttl: '1h', load: () => new Promise(() => {}), loadTimeout: '5s' })
    })
    const key = keyOf(t, 0)
    const waiting = times(20, i =>
      watch(
        t,
        mesh(t, 1 + (i % 2))
          .cache('products')
          .get(key, { timeout: 1_000 + i * 50 })
      )
    )
    await t.run('500ms')
    t.crash(0)
    await t.run('3s')
    expect(waiting.map(({ state }) => state)).toEqual(times(20, () => 'rejected'))
  })

  it('costs nobody who reads other keys anything but a moment', async () => {
    const t = await formed(4, {
      seed: 212,
      start: member => member.cache('products', { ttl: '1h', load: (id: string) => id })
    })
    t.crash(2)
    const reads = times(300, i =>
      watch(
        t,
        mesh(t, [0, 1, 3][i % 3] as number)
          .cache('products')
          .get(`k${i}`)
      )
    )
    await t.run('5s')
    expect(reads.map(({ value }) => value)).toEqual(times(300, i => `k${i}`))
  })
})

describe('an owner that changes in the middle of a fill', () => {
  it('gives those who waited the value of the one call, and stores it nowhere', async () => {
    const t: Cluster = await formed(4, { seed: 220, start: declare })
    const moving = times(500, i => `k${i}`).find(key => ownerOf(t, key) === 3) as string
    t.crash(3)
    await t.run('8s')
    const owner = ownerOf(t, moving)
    const others = [0, 1, 2].filter(index => index !== owner)
    const { load, calls } = slowOrigin(() => t, 2_500)
    const waiting = [...others, owner].map(index =>
      t
        .sleep(others.indexOf(index) === 0 ? 0 : 100)
        .then(() => watch(t, mesh(t, index).cache<string>('products').getOrSet(moving, load)))
    )
    await t.run('200ms')
    t.restart(3)
    await t.run('20s')
    const ended = await t.until(Promise.all(waiting))
    expect(ended.map(({ value }) => value)).toEqual(['row', 'row', 'row'])
    expect(ownerOf(t, moving)).toBe(3)
    expect(calls()).toBe(1)
  })
})

describe('a write while its owner dies', () => {
  it('waits for the next owner when it cannot have been seen, and says so when it may have been', async () => {
    const t = await formed(3, { seed: 230, start: declare })
    const key = keyOf(t, 0)
    t.crash(0)
    const written = watch(t, mesh(t, 1).cache<string>('products').set(key, 'kept'))
    await t.run('6s')
    if (written.state === 'fulfilled') expect(await t.until(mesh(t, 2).cache('products').get(key))).toBe('kept')
    else expect(String(written.error)).toContain('the outcome is unknown')
    await t.until(mesh(t, 1).cache<string>('products').set(key, 'again'))
    expect(await t.until(mesh(t, 2).cache('products').get(key))).toBe('again')
  })
})
