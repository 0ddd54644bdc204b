import { expect, it } from 'vitest'
import type { Mesh } from '../../lib/mesh.ts'
import { type Cluster, cluster } from '../../lib/testing.ts'

/**
 * A member that is cut off for three seconds, awake: long enough for the others, who confirm each other's suspicion, to
 * bury it and to go on with its keys, and too short for it to give up anybody itself. To it nothing has happened.
 */
const KEYS = Array.from({ length: 200 }, (_, i) => `key-${i}`)

function numbers(t: Cluster, index: number) {
  return (t.meshes[index] as Mesh).cache<number>('numbers')
}

function sees(t: Cluster, index: number): number {
  return (t.meshes[index] as Mesh).members.length
}

/** Four that have values and have been together for a while. */
async function formed(seed: number): Promise<Cluster> {
  const start = (mesh: Mesh): void => void mesh.cache<number>('numbers', { ttl: '1h', backups: 1 })
  const t = cluster(4, { seed, options: { tombstoneTtl: '10s' }, start })
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

it.each([1, 2, 3])('answers with nothing that was changed meanwhile when it is back, seed %i', async seed => {
  const t = await formed(seed)
  await buryLast(t)
  await t.until(numbers(t, 0).setMany(KEYS.map((key, i) => [key, 1_000 + i] as const)))
  t.heal()
  await seenAgain(t)
  expect(await t.until(numbers(t, 0).getMany(KEYS))).toEqual(KEYS.map((_, i) => 1_000 + i))
})

it.each([1, 2, 3])('lets no comparison with what was replaced meanwhile succeed, seed %i', async seed => {
  const t = await formed(seed)
  await buryLast(t)
  const before = await t.until(Promise.all(KEYS.map(key => numbers(t, 0).getEntry(key))))
  const replace = (value: number) =>
    t.until(Promise.all(KEYS.map((key, i) => numbers(t, 0).compareAndSet(key, before[i]?.version ?? null, value))))
  expect((await replace(1)).every(version => version !== false)).toBe(true)
  t.heal()
  await seenAgain(t)
  expect((await replace(2)).filter(version => version !== false)).toEqual([])
})

it('gives up nothing for having stood still long before, with all others and unburied', async () => {
  const t = await formed(4)
  for (const index of [0, 1, 2, 3]) t.pause(index)
  await t.run('6s')
  for (const index of [0, 1, 2, 3]) t.resume(index)
  await t.run('12s')
  await buryLast(t)
  t.heal()
  await seenAgain(t)
  await t.run('1s')
  expect((t.meshes[3] as Mesh).stats().recordsOutdatedTotal).toBe(0)
  expect(await t.until(numbers(t, 3).getMany(KEYS))).toEqual(KEYS.map((_, i) => i))
})
