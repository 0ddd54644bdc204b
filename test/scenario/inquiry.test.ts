import { afterEach, describe, expect, it, vi } from 'vitest'
import { Membership } from '../../lib/membership/membership.ts'
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
  vi.spyOn(Membership.prototype, 'hears').mockReturnValue(false)
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
