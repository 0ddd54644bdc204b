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

/** The last of four has just been buried by the three others, and sees all of them. */
async function buried(seed: number): Promise<Cluster> {
  const t = cluster(4, { seed, start: mesh => void mesh.cache<number>('numbers', { ttl: '1h', backups: 1 }) })
  await t.until(numbers(t, 0).setMany(KEYS.map((key, i) => [key, i] as const)))
  await t.run('3s')
  t.cut([0, 1, 2], [3])
  while ([0, 1, 2].some(index => sees(t, index) > 3)) await t.run(10)
  expect(sees(t, 3)).toBe(4)
  return t
}

async function seenAgain(t: Cluster): Promise<void> {
  while (sees(t, 0) < 4) await t.run(1)
}

it.each([1, 2, 3])('answers with nothing that was changed meanwhile when it is back, seed %i', async seed => {
  const t = await buried(seed)
  await t.until(numbers(t, 0).setMany(KEYS.map((key, i) => [key, 1_000 + i] as const)))
  t.heal()
  await seenAgain(t)
  expect(await t.until(numbers(t, 0).getMany(KEYS))).toEqual(KEYS.map((_, i) => 1_000 + i))
})

it.each([1, 2, 3])('lets no comparison with what was replaced meanwhile succeed, seed %i', async seed => {
  const t = await buried(seed)
  const before = await t.until(Promise.all(KEYS.map(key => numbers(t, 0).getEntry(key))))
  const replace = (value: number) =>
    t.until(Promise.all(KEYS.map((key, i) => numbers(t, 0).compareAndSet(key, before[i]?.version ?? null, value))))
  expect((await replace(1)).every(version => version !== false)).toBe(true)
  t.heal()
  await seenAgain(t)
  expect((await replace(2)).filter(version => version !== false)).toEqual([])
})
