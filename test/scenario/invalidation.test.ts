import { describe, expect, it } from 'vitest'
import type { Cluster } from '../../lib/testing.ts'
import { formed, keyOf, mesh, watch } from './story.ts'

/**
 * One fill of a remote key takes, from its first frame to its last, less than 30 ms here: 2 ms there, 20 ms of origin,
 * 2 ms back. The delete is walked through it in steps finer than one hop.
 */
const STEPS_MS = Array.from({ length: 56 }, (_, i) => i * 0.5)
const ORIGIN_MS = 20

interface Story {
  readonly t: Cluster
  readonly key: string
  readonly read: (index: number) => Promise<number | undefined>
  readonly update: () => void
}

/** An origin row that is read first and arrives later, as with a real database. */
async function story(seed: number, kind: 'load' | 'getOrSet'): Promise<Story> {
  let row = 1
  const origin = async (): Promise<number> => {
    const seen = row
    await t.sleep(ORIGIN_MS)
    return seen
  }
  const t: Cluster = await formed(3, {
    seed,
    start: member => {
      if (kind === 'load') member.cache('products', { ttl: '1h', load: origin })
      else member.cache('products', { ttl: '1h' })
    }
  })
  const read = (index: number): Promise<number | undefined> => {
    const cache = mesh(t, index).cache<number>('products')
    return kind === 'load' ? cache.get(key) : cache.getOrSet(key, origin)
  }
  const key = keyOf(t, 0)
  return {
    t,
    key,
    read,
    update: () => {
      row++
    }
  }
}

describe.each(['load', 'getOrSet'] as const)('a delete at any moment of a fill (%s)', kind => {
  it('never leaves the old value behind, and no later caller gets it', async () => {
    const stale: number[] = []
    for (const atMs of STEPS_MS) {
      const { t, key, read, update } = await story(100, kind)
      const early = watch(t, read(1))
      await t.run(atMs)
      update()
      await t.until(mesh(t, 2).cache('products').delete(key))
      const later = await t.until(Promise.all([read(0), read(1), read(2)]))
      await t.until(early.promise)
      await t.run('1s')
      const last = await t.until(Promise.all([read(0), read(1), read(2)]))
      if (![...later, ...last].every(row => row === 2)) stale.push(atMs)
      expect([1, 2]).toContain(early.value)
    }
    expect(stale).toEqual([])
  })

  it('lets those who waited have the value they asked for before the delete', async () => {
    const { t, key, read, update } = await story(101, kind)
    const waiting = [watch(t, read(0)), watch(t, read(1)), watch(t, read(2))]
    await t.run(10)
    update()
    await t.until(mesh(t, 1).cache('products').delete(key))
    await t.until(Promise.all(waiting.map(({ promise }) => promise)))
    expect(waiting.map(({ value }) => value)).toEqual([1, 1, 1])
    expect(await t.until(mesh(t, 2).cache('products').get(key, { load: false }))).toBeUndefined()
  })

  it('a set at any moment of a fill is what all read afterwards', async () => {
    for (const atMs of STEPS_MS) {
      const { t, key, read } = await story(102, kind)
      const early = watch(t, read(1))
      await t.run(atMs)
      await t.until(mesh(t, 2).cache<number>('products').set(key, 77))
      expect(await t.until(Promise.all([read(0), read(1), read(2)]))).toEqual([77, 77, 77])
      await t.until(early.promise)
      await t.run('1s')
      expect(await t.until(read(1))).toBe(77)
    }
  })
})

describe('deletes', () => {
  it('count a fill they fenced', async () => {
    const { t, key, read } = await story(103, 'load')
    const early = watch(t, read(1))
    await t.run(10)
    await t.until(mesh(t, 1).cache('products').delete(key))
    await t.until(early.promise)
    await t.run('1s')
    expect(mesh(t, 0).stats().fillsFencedTotal).toBe(1)
    expect(mesh(t, 0).stats().recordsMovedAwayTotal).toBe(0)
  })

  it('answer true for what was there and false for what was not', async () => {
    const t = await formed(3, { seed: 104, start: member => member.cache('plain', { ttl: '1h' }) })
    const cache = mesh(t, 1).cache<number>('plain')
    expect(await t.until(cache.delete('never seen'))).toBe(false)
    await t.until(cache.set('seen', 0))
    expect(await t.until(mesh(t, 2).cache('plain').delete('seen'))).toBe(true)
    expect(await t.until(cache.delete('seen'))).toBe(false)
    expect(await t.until(cache.has('seen'))).toBe(false)
  })

  it('a value set after a delete stays, at whatever member the two were called', async () => {
    const t = await formed(3, { seed: 105, start: member => member.cache('plain', { ttl: '1h' }) })
    for (let i = 0; i < 30; i++) {
      const [deleter, setter] = [mesh(t, i % 3), mesh(t, (i + 1) % 3)]
      await t.until(deleter.cache('plain').delete(`k${i}`))
      await t.until(setter.cache<number>('plain').set(`k${i}`, i))
      expect(await t.until(deleter.cache('plain').get(`k${i}`))).toBe(i)
    }
  })
})
