import { afterEach, describe, expect, it, vi } from 'vitest'
import type { MeshError } from '../../lib/base/errors.ts'
import type { Cache } from '../../lib/cache.ts'
import { Detection } from '../../lib/membership/detection.ts'
import { type Cluster, cluster } from '../../lib/testing.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

/** A mesh of four in which one path is broken for half a minute; answers with all that were ever seen to leave. */
async function brokenPath(breakIt: (t: Cluster) => void): Promise<{ t: Cluster; left: string[] }> {
  const left: string[] = []
  const t = cluster(4, { seed: 31, start: mesh => void mesh.on('leave', member => left.push(member.id)) })
  await t.run('5s')
  breakIt(t)
  await t.run('30s')
  return { t, left }
}

it('a path broken in one direction costs nobody its place', async () => {
  const { t, left } = await brokenPath(t => t.cutOneWay([0], [1]))
  expect(left).toEqual([])
  expect(t.meshes.map(mesh => mesh.members.length)).toEqual([4, 4, 4, 4])
})

it('nor does one broken in both, and the two are linked again when it heals', async () => {
  const { t, left } = await brokenPath(t => t.cut([0], [1]))
  expect(left).toEqual([])
  t.heal()
  await t.run('5s')
  expect(t.isLinked).toBe(true)
})

it('would, if nobody else were asked', async () => {
  const { answered } = Detection.prototype
  vi.spyOn(Detection.prototype, 'answered').mockImplementation(function (this: Detection, by, peer, _, nowMs) {
    answered.call(this, by, peer, false, nowMs)
  })
  const { left } = await brokenPath(t => t.cut([0], [1]))
  expect(left.length).toBeGreaterThan(0)
})

it('a member that nobody hears is still declared dead, by the last one left too', async () => {
  const left: string[] = []
  const t = cluster(3, {
    seed: 32,
    start: mesh => void mesh.on('leave', member => left.push(`${mesh.id} ${member.id}`))
  })
  await t.run('5s')
  t.crash(1)
  await t.run('1s')
  expect(left.sort()).toEqual(['member-0 member-1', 'member-2 member-1'])
  t.crash(2)
  await t.run('1s')
  expect(t.meshes[0]?.members.map(member => member.id)).toEqual(['member-0'])
})

describe('a member that stands still', () => {
  it('is out of every view within five seconds, and back within five when it goes on', async () => {
    for (let seed = 40; seed < 50; seed++) {
      const t = cluster(4, { seed })
      await t.run('5s')
      await t.run(seed * 37)
      t.pause(1)
      await t.run('5s')
      expect([0, 2, 3].map(i => t.meshes[i]?.members.length)).toEqual([3, 3, 3])
      t.resume(1)
      await t.run('5s')
      expect(t.meshes.map(mesh => mesh.members.length)).toEqual([4, 4, 4, 4])
      expect(t.isLinked).toBe(true)
    }
  })

  it('for two seconds is nobody’s loss, alone or with a third of the others', async () => {
    const left: string[] = []
    for (let seed = 60; seed < 70; seed++) {
      const t = cluster(6, { seed, start: mesh => void mesh.on('leave', member => left.push(member.id)) })
      await t.run('5s')
      for (const group of [[1], [2, 3]]) {
        await t.run(seed * 41)
        for (const index of group) t.pause(index)
        await t.run('2s')
        for (const index of group) t.resume(index)
        await t.run('5s')
      }
    }
    expect(left).toEqual([])
  })

  it('is missed by the only other one too', async () => {
    const t = cluster(2, { seed: 71 })
    await t.run('5s')
    t.pause(1)
    await t.run('5s')
    expect(t.meshes[0]?.members.length).toBe(1)
    t.resume(1)
    await t.run('5s')
    expect(t.meshes.map(mesh => mesh.members.length)).toEqual([2, 2])
  })
})

describe('a member that wakes after others took over', () => {
  it('serves nothing of what was changed without it, neither to its own callers nor to others', async () => {
    for (let seed = 80; seed < 90; seed++) {
      const t = cluster(4, { seed, start: mesh => void mesh.cache<number>('plain', { ttl: '1h' }) })
      await t.run('5s')
      const at = (index: number) => t.meshes[index]?.cache<number>('plain') as Cache<number>
      const keys = Array.from({ length: 60 }, (_, i) => `k${i}`)
      for (const key of keys) await t.until(at(0).set(key, 1))
      t.pause(1)
      await t.run('5s')
      for (const key of keys) await t.until(at(0).set(key, 2))
      // The copies of others are level, so what is old is of the one that wakes.
      await t.run('100ms')
      t.resume(1)
      // Before a single event of its own has run, and while it comes back.
      const read = (index: number, key: string) =>
        at(index)
          .get(key)
          .catch((error: MeshError) => error.code ?? String(error))
      const early = keys.map(key => read(1, key))
      const reads: Promise<number | string | undefined>[] = []
      for (let i = 0; i < 60; i++) {
        await t.run('5ms')
        reads.push(read(i % 4, keys[i] as string))
      }
      const seen = await t.until(Promise.all([...early, ...reads]))
      expect(seen.filter(value => ![2, undefined, 'ERR_MESH_UNAVAILABLE'].includes(value))).toEqual([])
      expect(seen.filter(value => value === 2).length).toBeGreaterThan(20)
    }
  })
})
