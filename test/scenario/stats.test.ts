import { expect, it } from 'vitest'
import type { Cluster } from '../../lib/testing.ts'
import { formed, keyOf, mesh, times } from './story.ts'

it('reads are counted once each, by where their answer came from', async () => {
  const t = await formed(3, {
    seed: 900,
    start: member => member.cache('products', { ttl: '1h', load: (id: string) => id })
  })
  const keys = [0, 1, 2].map(owner => keyOf(t, owner))
  const cache = mesh(t, 1).cache('products')
  for (let round = 0; round < 4; round++) for (const key of keys) await t.until(cache.get(key))
  await t.until(cache.get('absent', { load: false }))
  await t.until(Promise.all(times(5, () => cache.get(keys[0] as string))))
  const { readsLocalTotal, readsOwnerTotal, readsMissTotal, readsLoadTotal, readsJoinedTotal } = mesh(t, 1).stats()
  expect({ readsLocalTotal, readsOwnerTotal, readsMissTotal, readsLoadTotal, readsJoinedTotal }).toEqual({
    readsLocalTotal: 3,
    readsOwnerTotal: 7,
    readsMissTotal: 1,
    readsLoadTotal: 3,
    readsJoinedTotal: 4
  })
})

it('loads, writes, deletes and records are counted where they happen', async () => {
  const t = await formed(3, {
    seed: 901,
    start: member => member.cache('products', { ttl: '1h', load: (id: string) => id })
  })
  const [zero, one] = [keyOf(t, 0), keyOf(t, 1)]
  await t.until(mesh(t, 2).cache('products').get(zero))
  await t.until(mesh(t, 2).cache('products').get(one))
  await t.until(mesh(t, 2).cache<string>('products').set('k', 'v'))
  await t.until(mesh(t, 2).cache('products').delete('k'))
  expect(t.meshes.map(member => member.stats().loadsTotal)).toEqual([1, 1, 0])
  expect(mesh(t, 2).stats()).toMatchObject({ writesTotal: 1, deletesTotal: 1, members: 3 })
  // Each at its owner and at a backup, the mark of the delete too.
  expect(t.meshes.reduce((sum, member) => sum + member.stats().records, 0)).toBe(6)
})

it('partitions of all members add up, requests sent are requests served, and nothing is left running', async () => {
  const t: Cluster = await formed(4, {
    seed: 902,
    start: member => member.cache('products', { ttl: '1h', load: (id: string) => t.sleep('20ms').then(() => id) })
  })
  await t.until(
    Promise.all(
      times(400, i =>
        mesh(t, i % 4)
          .cache('products')
          .get(`k${i % 97}`)
      )
    )
  )
  await t.run('100ms')
  const all = t.meshes.map(member => member.stats())
  const sum = (name: keyof (typeof all)[number]): number => all.reduce((total, stats) => total + stats[name], 0)
  expect(sum('partitionsOwned')).toBe(16_384)
  expect(sum('loadsTotal')).toBe(97)
  expect(sum('records')).toBe(2 * 97)
  expect(sum('loadsInProgress')).toBe(0)
  expect(sum('requestsOverloadedTotal') + sum('requestsTimedOutTotal') + sum('linksRefusedTotal')).toBe(0)
  expect(sum('readsLoadTotal') + sum('readsOwnerTotal') + sum('readsLocalTotal') + sum('readsJoinedTotal')).toBe(400)
})

it('every number of a fresh member is there and finite', async () => {
  const t = await formed(1, { seed: 903 })
  for (const [name, value] of Object.entries(mesh(t, 0).stats())) expect(value, name).toSatisfy(Number.isFinite)
})

it('counters only rise', async () => {
  const t = await formed(3, {
    seed: 904,
    start: member => member.cache('products', { ttl: '1h', load: (id: string) => id })
  })
  const gauges = new Set([
    'members',
    'partitionsOwned',
    'memoryBytes',
    'memoryLimitBytes',
    'records',
    'loadsInProgress',
    'storesPending',
    'partitionsWithoutBackup',
    'partitionsWarming',
    'transferPendingRecords'
  ])
  let before = mesh(t, 0).stats()
  for (let i = 0; i < 20; i++) {
    await t.until(mesh(t, 0).cache('products').get(`k${i}`))
    if (i === 10) t.crash(2)
    await t.run('300ms')
    const now = mesh(t, 0).stats()
    for (const [name, value] of Object.entries(now))
      if (!gauges.has(name)) expect(value, name).toBeGreaterThanOrEqual(before[name as keyof typeof now])
    before = now
  }
})
