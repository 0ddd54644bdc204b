import { expect, it } from 'vitest'
import type { Version } from '../../lib/fill/definition.ts'
import type { Mesh } from '../../lib/mesh.ts'
import { type Cluster, cluster } from '../../lib/testing.ts'

/**
 * Members that are cut off for some seconds, awake, while the others go on with their keys. Cut off alone for three
 * seconds, one does not even notice: the others confirm each other's suspicion and bury it sooner than it gives up them.
 */
const KEYS = Array.from({ length: 120 }, (_, i) => `key-${i}`)

function numbers(t: Cluster, index: number) {
  return (t.meshes[index] as Mesh).cache<number>('numbers')
}

function sees(t: Cluster, index: number): number {
  return (t.meshes[index] as Mesh).members.length
}

/** So many that have values and have been together for a while. */
async function formed(size: number, seed: number): Promise<Cluster> {
  const start = (mesh: Mesh): void => void mesh.cache<number>('numbers', { ttl: '1h', backups: 1 })
  const t = cluster(size, { seed, options: { tombstoneTtl: '10s' }, start })
  await t.run('1500ms')
  await t.until(numbers(t, 0).setMany(KEYS.map((key, i) => [key, i] as const)))
  await t.run('3s')
  return t
}

/** Until the last of four has been buried by the three others; it sees all of them still. */
async function buryLast(t: Cluster): Promise<void> {
  t.cut([0, 1, 2], [3])
  while ([0, 1, 2].some(index => sees(t, index) > 3)) await t.run(10)
  expect(sees(t, 3)).toBe(4)
}

async function seenAgain(t: Cluster): Promise<void> {
  while (sees(t, 0) < 4) await t.run(1)
}

it.each([1, 2, 3, 4, 5])(
  'one is back: whoever reads is answered at once, and soon with what is new, seed %i',
  async seed => {
    const t = await formed(4, seed)
    await buryLast(t)
    await t.until(numbers(t, 0).setMany(KEYS.map((key, i) => [key, 1_000 + i] as const)))
    t.heal()
    await seenAgain(t)
    for (const index of [0, 1, 2, 3]) await t.until(numbers(t, index).getMany(KEYS), '250ms')
    await t.run('5s')
    for (const index of [0, 1, 2, 3])
      expect(await t.until(numbers(t, index).getMany(KEYS))).toEqual(KEYS.map((_, i) => 1_000 + i))
  }
)

/**
 * What others replaced while these were cut off is compared with again, by each of those who stayed, in each of the
 * milliseconds in which they find each other again: in one after the other of these an owner is not yet known to be back,
 * does not yet know that it was buried, or not yet who did it.
 */
it.each([
  [4, [3], 'in both directions', 3_400, 4_404],
  [4, [3], 'in both directions', 5_000, 6_000],
  [5, [3, 4], 'in both directions', 6_500, 6_003],
  [4, [3], 'so that it hears and is not heard', 9_000, 10_004],
  [5, [3, 4], 'so that it hears and is not heard', 9_000, 10_005],
  [3, [2], 'in both directions', 4_300, 5_309],
  [3, [2], 'so that it hears and is not heard', 9_000, 10_003]
] as const)(
  'of %i, %j are cut off, %s, for %i ms: no comparison with what was replaced meanwhile succeeds, seed %i',
  async (size, gone, way, ms, seed) => {
    const t = await formed(size, seed)
    const entries = await t.until(Promise.all(KEYS.map(key => numbers(t, 0).getEntry(key))))
    const before = new Map(KEYS.map((key, i) => [key, entries[i]?.version as Version]))
    const here = t.meshes.flatMap((_, index) => (gone.some(one => one === index) ? [] : [index]))
    t.cutOneWay(gone, here)
    if (way === 'in both directions') t.cutOneWay(here, gone)
    await t.run(ms - 300)
    const replaced: string[] = []
    const again: string[] = []
    const compare = async (key: string, by: number, won: string[]): Promise<void> => {
      // One that finds nobody to ask has not succeeded.
      const version = await numbers(t, by)
        .compareAndSet(key, before.get(key) as Version, by)
        .catch(() => false)
      if (version !== false) won.push(key)
    }
    const replacing = KEYS.map(key => compare(key, 0, replaced))
    await t.run(300)
    t.heal()
    const known = [...replaced]
    expect(known.length).toBeGreaterThan(KEYS.length / 2)
    const comparing: Promise<void>[] = []
    for (let atMs = 0; atMs < 350; atMs++) {
      await t.run(1)
      for (let i = 0; i < 4; i++)
        for (const by of here) comparing.push(compare(known[(atMs * 4 + i) % known.length] as string, by, again))
    }
    await t.until(Promise.all([...replacing, ...comparing]))
    expect(again).toEqual([])
  }
)

it('one that stands still and is buried gives up nothing for a longer stop long before, with all others and unburied', async () => {
  const t = await formed(4, 4)
  for (const index of [0, 1, 2, 3]) t.pause(index)
  await t.run('6s')
  for (const index of [0, 1, 2, 3]) t.resume(index)
  await t.run('12s')
  t.pause(3)
  while (sees(t, 0) > 3) await t.run(10)
  t.resume(3)
  await seenAgain(t)
  await t.run('1s')
  expect((t.meshes[3] as Mesh).stats().recordsOutdatedTotal).toBe(0)
  expect(await t.until(numbers(t, 3).getMany(KEYS))).toEqual(KEYS.map((_, i) => i))
})
