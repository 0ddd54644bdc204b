import { expect, it } from 'vitest'
import type { Mesh } from '../../lib/mesh.ts'
import { type Cluster, cluster } from '../../lib/testing.ts'

/**
 * Values without copies that have gone to a new owner, were deleted there, and must not come back from whoever had them
 * before, though that owner dies a moment later and the mark of the delete with it. Those before forget what they gave
 * away within two seconds; all of these stories happen sooner.
 */
const KEYS = Array.from({ length: 400 }, (_, i) => `key-${i}`)
const NOTHING = KEYS.map(() => undefined)

function meshOf(members: number, seed: number): Cluster {
  return cluster(members, { seed, start: mesh => void mesh.cache<number>('numbers', { ttl: '1h', backups: 0 }) })
}

function numbers(t: Cluster, index: number) {
  return (t.meshes[index] as Mesh).cache<number>('numbers')
}

async function setAll(t: Cluster): Promise<void> {
  await t.until(numbers(t, 0).setMany(KEYS.map((key, i) => [key, i] as const)))
}

function readAll(t: Cluster, index: number): Promise<readonly unknown[]> {
  return t.until(numbers(t, index).getMany(KEYS))
}

/** Until it is there, in a mesh of so many, and has all that is to be its own. */
async function join(t: Cluster, index: number, members: number): Promise<void> {
  t.restart(index)
  await seen(t, index, members)
  await warm(t, index)
}

async function warm(t: Cluster, index: number): Promise<void> {
  while ((t.meshes[index] as Mesh).stats().partitionsWarming > 0) await t.run(5)
}

async function seen(t: Cluster, index: number, members: number): Promise<void> {
  while ((t.meshes[index] as Mesh).members.length < members) await t.run(1)
}

/** The last of three has taken what is to be its own, has deleted it, and is killed and begins anew at this moment. */
async function backAtOnce(seed: number): Promise<Cluster> {
  const t = meshOf(3, seed)
  t.crash(2)
  await t.run('5s')
  await setAll(t)
  await join(t, 2, 3)
  await t.until(numbers(t, 0).deleteMany(KEYS))
  t.crash(2)
  t.restart(2)
  return t
}

it('what an owner had deleted is not offered to the next one by who was its owner before', async () => {
  const t = meshOf(4, 21)
  t.crash(2)
  t.crash(3)
  await t.run('5s')
  await setAll(t)
  t.restart(3)
  await join(t, 2, 4)
  await t.until(numbers(t, 0).deleteMany(KEYS))
  t.crash(2)
  while ((t.meshes[3] as Mesh).members.length > 3) await t.run(1)
  expect(await readAll(t, 3)).toEqual(NOTHING)
  await t.run('5s')
  expect(await readAll(t, 0)).toEqual(NOTHING)
})

it('what an owner had deleted is not shown to it when it is back under its name at once', async () => {
  const t = await backAtOnce(22)
  await seen(t, 2, 3)
  expect(await readAll(t, 2)).toEqual(NOTHING)
  await t.run('5s')
  expect(await readAll(t, 0)).toEqual(NOTHING)
})

it('nor is it where its new process is known by hearsay before it is linked', async () => {
  const t = await backAtOnce(23)
  t.cut([2], [1])
  await seen(t, 2, 3)
  await t.run(300)
  t.heal()
  await t.run('5s')
  expect(await readAll(t, 2)).toEqual(NOTHING)
})

it('what a member has just taken is there still when another joins, and when the one goes in peace', async () => {
  const t = meshOf(4, 24)
  t.crash(2)
  t.crash(3)
  await t.run('5s')
  await setAll(t)
  await join(t, 2, 3)
  await join(t, 3, 4)
  await t.until((t.meshes[2] as Mesh).leave())
  t.crash(2)
  expect(await readAll(t, 0)).toEqual(KEYS.map((_, i) => i))
})
