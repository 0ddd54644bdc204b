/** Members that crash one after the other take nothing with them, if the mesh has had the time to say that all is level. */
import { describe, expect, it } from 'vitest'
import { formed, mesh, times } from './story.ts'

const KEYS = times(400, i => `key-${i}`)

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
})
