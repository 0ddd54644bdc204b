import { afterEach, expect, it, vi } from 'vitest'
import type { Mesh } from '../../lib/mesh.ts'
import { Gifts } from '../../lib/replication/gifts.ts'
import { Store } from '../../lib/store/store.ts'
import { type Cluster, cluster } from '../../lib/testing.ts'

const KEYS = Array.from({ length: 40 }, (_, i) => `key-${i}`)

afterEach(() => {
  vi.restoreAllMocks()
})

/** Keys go to a member that joins, are deleted there, and come back when it dies. */
async function thereAndBack(): Promise<readonly unknown[]> {
  const t = cluster(3, { seed: 5, start: mesh => void mesh.cache<number>('numbers', { ttl: '1h' }) })
  t.crash(2)
  await t.run('5s')
  await t.until(Promise.all(KEYS.map(key => numbers(t, 0).set(key, 1))))
  t.restart(2)
  await t.run('5s')
  await t.until(Promise.all(KEYS.map(key => numbers(t, 1).delete(key))))
  t.crash(2)
  await t.run('5s')
  return t.until(Promise.all(KEYS.map(key => numbers(t, 0).get(key))))
}

function numbers(t: Cluster, index: number) {
  return (t.meshes[index] as Mesh).cache<number>('numbers')
}

it('what was deleted elsewhere does not come back with its partition', async () => {
  expect(await thereAndBack()).toEqual(KEYS.map(() => undefined))
})

it('would, if nobody were told of deletes', async () => {
  const { merge } = Store.prototype
  vi.spyOn(Store.prototype, 'merge').mockImplementation(function (this: Store, entry, nowMs) {
    return entry.kind === 'tombstone' ? 'same' : merge.call(this, entry, nowMs)
  })
  expect((await thereAndBack()).filter(value => value === 1).length).toBeGreaterThan(0)
})

it('many keys asked for together at the very member that has just come to own them are found', async () => {
  const t = cluster(3, { seed: 6, start: mesh => void mesh.cache<number>('numbers', { ttl: '1h', backups: 0 }) })
  t.crash(2)
  await t.run('5s')
  await t.until(Promise.all(KEYS.map((key, i) => numbers(t, 0).set(key, i))))
  t.restart(2)
  // Its view is there, and nothing has moved yet.
  await t.run(150)
  expect((t.meshes[2] as Mesh).members).toHaveLength(3)
  expect((t.meshes[2] as Mesh).stats().partitionsWarming).toBeGreaterThan(0)
  expect(await t.until(numbers(t, 2).getMany(KEYS))).toEqual(KEYS.map((_, i) => i))
})

it('what was shown to a new owner while another was dying is its copy afterwards, and is there when that one dies', async () => {
  const t = cluster(4, { seed: 7, start: mesh => void mesh.cache<number>('numbers', { ttl: '1h', backups: 1 }) })
  t.crash(3)
  await t.run('15s')
  const keys = Array.from({ length: 400 }, (_, i) => `key-${i}`)
  await t.until(Promise.all(keys.map((key, i) => numbers(t, 0).set(key, i))))
  await t.run('3s')
  // The newcomer comes into a table in which the dead one still stands between it and those who have the records.
  t.pause(2)
  t.restart(3)
  while ((t.meshes[3] as Mesh).members.length < 4) await t.run(5)
  // Those of the dying one fail, or not: what counts is that the others are looked for.
  await t.until(Promise.allSettled(keys.map(key => numbers(t, 3).get(key))))
  t.crash(2)
  await t.run('15s')
  t.crash(3)
  await t.run('5s')
  expect(await t.until(Promise.all(keys.map(key => numbers(t, 0).get(key))))).toEqual(keys.map((_, i) => i))
})

it('what several hold is pulled from one of them, and the others are not even asked for a list', async () => {
  const t = cluster(4, { seed: 8, start: mesh => void mesh.cache<number>('numbers', { ttl: '1h', backups: 1 }) })
  t.crash(3)
  await t.run('15s')
  const keys = Array.from({ length: 2_000 }, (_, i) => `key-${i}`)
  await t.until(numbers(t, 0).setMany(keys.map((key, i) => [key, i] as const)))
  await t.run('5s')
  const list = vi.spyOn(Gifts.prototype, 'list')
  t.restart(3)
  await t.run('5s')
  expect((t.meshes[3] as Mesh).stats().partitionsWarming).toBe(0)
  expect((t.meshes[3] as Mesh).stats().recordsPulledTotal).toBeGreaterThan(400)
  expect(list.mock.calls.length).toBeLessThan(20)
})
