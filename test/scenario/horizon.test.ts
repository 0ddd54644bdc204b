/**
 * Deletes are remembered for `tombstoneTtl`. A member that was kept apart for longer holds what was deleted meanwhile,
 * and nobody else remembers that it was: so it must bring back nothing of what is older than that.
 */
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { Mesh } from '../../lib/mesh.ts'
import { Absences } from '../../lib/replication/absences.ts'
import type { Cluster } from '../../lib/testing.ts'
import { keysHeldBy } from './copied.ts'
import { formed, mesh, times, watch } from './story.ts'

const KEYS = times(60, i => `key-${i}`)
const sizesOf = (t: Cluster): number[] => t.meshes.map(({ members }) => members.length)
const products = (t: Cluster, index: number) => mesh(t, index).cache<string>('products')

afterEach(() => {
  vi.restoreAllMocks()
})

function plain(seed: number): Promise<Cluster> {
  const start = (member: Mesh): unknown => member.cache('products', { ttl: '1h', backups: 1 })
  return formed(5, { seed, start, options: { tombstoneTtl: '10s' } })
}

/** Keys that member 4 was kept apart with while the others deleted them; what each member reads afterwards. */
async function deletedMeanwhile(apart: string): Promise<(string | undefined)[]> {
  const t = await plain(8300)
  await t.until(products(t, 0).setMany(KEYS.map(key => [key, 'old'] as const)))
  await t.run('2s')
  t.cut([4], [0, 1, 2, 3])
  await t.run('8s')
  await t.until(products(t, 0).deleteMany(KEYS))
  await t.run(apart as '40s')
  t.heal()
  await t.run('15s')
  const found = await Promise.all([0, 4].map(index => t.until(products(t, index).getMany(KEYS))))
  return found.flat()
}

describe('what was deleted while a member was kept apart', () => {
  it('stays deleted, however long it was away', async () => {
    for (const apart of ['1s', '60s'])
      expect(new Set(await deletedMeanwhile(apart)), apart).toEqual(new Set([undefined]))
  })

  it('would come back with it after so long a time, if it kept what is older', async () => {
    vi.spyOn(Absences.prototype, 'came').mockReturnValue(undefined)
    expect((await deletedMeanwhile('60s')).filter(value => value === 'old').length).toBeGreaterThan(0)
  })
})

/** Reads all keys, takes members away, and says which are there that were not before. */
async function backAfterCrashOf(t: Cluster, ...members: readonly number[]): Promise<string[]> {
  const before = await t.until(products(t, 0).getMany(KEYS))
  for (const member of members) {
    t.crash(member)
    await t.run('8s')
  }
  const after = await t.until(products(t, 0).getMany(KEYS))
  return KEYS.filter((_, i) => before[i] === undefined && after[i] !== undefined)
}

describe('a delete that a backup has not heard of before it was forgotten', () => {
  it('does not come undone when the backup is there again, nor when it is all that is left', async () => {
    for (let seed = 8310; seed < 8314; seed++) {
      const t = await plain(seed)
      const [owner, backup] = [3, 4]
      const keys = keysHeldBy(t, 5, owner, backup)
      await t.until(products(t, 0).setMany(keys.map(key => [key, 'old'] as const)))
      await t.run('2s')
      // The others reach both, so both stay in every view.
      t.cut([owner], [backup])
      const unheard = watch(t, products(t, 0).deleteMany(keys))
      await t.run('30s')
      expect(unheard.state).not.toBe('pending')
      expect(sizesOf(t)).toEqual([5, 5, 5, 5, 5])
      t.heal()
      await t.run('40s')
      expect(new Set(await t.until(products(t, 0).getMany(keys))), `seed ${seed}`).toEqual(new Set([undefined]))
      t.crash(owner)
      await t.run('8s')
      expect(new Set(await t.until(products(t, 0).getMany(keys))), `seed ${seed}`).toEqual(new Set([undefined]))
    }
  })
})

describe('after a split longer than deletes are remembered', () => {
  it('who gave up what is older is equal with who came to it since, so a crash brings nothing back', async () => {
    const t = await plain(8302)
    await t.until(products(t, 0).setMany(KEYS.map(key => [key, 'old'] as const)))
    await t.run('2s')
    t.cut([3, 4], [0, 1, 2])
    await t.run('8s')
    t.restart(4)
    await t.run('20s')
    t.heal()
    await t.run('45s')
    expect(await backAfterCrashOf(t, 3, 4)).toEqual([])
  })

  it('the larger side keeps what it has, and what either has written since stays', async () => {
    const t = await plain(8301)
    await t.until(products(t, 0).setMany(KEYS.map(key => [key, 'old'] as const)))
    await t.run('2s')
    t.cut([3, 4], [0, 1, 2])
    await t.run('40s')
    await t.until(products(t, 0).set('one', 'by the larger'))
    await t.until(products(t, 4).set('other', 'by the smaller'))
    const kept = (await t.until(products(t, 0).getMany(KEYS))).filter(value => value === 'old').length
    t.heal()
    await t.run('15s')
    const after = await t.until(products(t, 4).getMany([...KEYS, 'one', 'other']))
    expect(after.filter(value => value === 'old').length).toBeGreaterThanOrEqual(kept)
    expect(kept).toBeGreaterThan(30)
    expect(after.slice(-2)).toEqual(['by the larger', 'by the smaller'])
  })
})
