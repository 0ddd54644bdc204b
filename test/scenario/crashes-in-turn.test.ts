/** Members that crash one after the other take nothing with them, if the mesh has had the time to say that all is level. */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Stream } from '../../lib/replication/stream.ts'
import { formed, mesh, times } from './story.ts'

const KEYS = times(400, i => `key-${i}`)

afterEach(() => {
  vi.restoreAllMocks()
})

describe('members that crash in turn', () => {
  it('lose nothing: who moves up to keep copies is given them', async () => {
    const t = await formed(5, { seed: 8200, start: member => member.cache('products', { ttl: '1h', backups: 1 }) })
    const written = KEYS.map(key => [key, `value of ${key}`] as const)
    await t.until(mesh(t, 4).cache<string>('products').setMany(written))
    await t.run('1s')
    for (const victim of [0, 1, 2]) {
      t.crash(victim)
      const alive = [0, 1, 2, 3, 4].filter(index => index > victim).map(index => mesh(t, index))
      // The crash is known, and then all that it cost is made good.
      await t.run('10s')
      expect(alive.map(member => member.stats().partitionsWithoutBackup)).toEqual(alive.map(() => 0))
      const found = await t.until(mesh(t, 4).cache<string>('products').getMany(KEYS))
      expect(found.filter(value => value === undefined)).toHaveLength(0)
    }
  })

  it('have their copies compared a moment later, and the second does not put off what the first has begun', async () => {
    const t = await formed(5, { seed: 8201, start: member => member.cache('products', { ttl: '1h', backups: 1 }) })
    await t.until(
      mesh(t, 4)
        .cache<string>('products')
        .setMany(KEYS.map(key => [key, key] as const))
    )
    await t.run('5s')
    const tables: number[] = []
    mesh(t, 4).on('view', () => tables.push(t.world.nowMs))
    const { compare } = Stream.prototype
    const comparedAfterMs: number[] = []
    vi.spyOn(Stream.prototype, 'compare').mockImplementation(function (this: Stream, partitions) {
      comparedAfterMs.push(t.world.nowMs - (tables[0] ?? Number.NaN))
      compare.call(this, partitions)
    })
    t.crash(0)
    while (tables.length === 0) await t.world.step()
    await t.run('200ms')
    t.crash(1)
    await t.run('1s')
    expect(tables.length).toBeGreaterThan(1)
    // Not all see the first view at the very same time.
    expect(Math.min(...comparedAfterMs)).toBeGreaterThan(250)
    expect(Math.min(...comparedAfterMs)).toBeLessThan(350)
    await t.run('1s')
    const alive = [2, 3, 4].map(index => mesh(t, index))
    expect(alive.map(member => member.stats().partitionsWithoutBackup)).toEqual([0, 0, 0])
  })
})
