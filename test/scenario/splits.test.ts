import { describe, expect, it } from 'vitest'
import { type Cluster, cluster } from '../../lib/testing.ts'
import { times } from './story.ts'

const sizes = (t: Cluster): number[] => t.meshes.map(({ members }) => members.length)

describe('a mesh of seven split into three and four', () => {
  it.each([
    ['a minute', '60s', 10],
    ['half an hour', '30m', 3]
  ] as const)('for %s is one view within five seconds of healing', async (_, duration, seeds) => {
    for (let seed = 300; seed < 300 + seeds; seed++) {
      const t = cluster(7, { seed })
      await t.run('5s')
      t.cut([0, 1, 2], [3, 4, 5, 6])
      await t.run(duration)
      expect(sizes(t)).toEqual([3, 3, 3, 4, 4, 4, 4])
      t.heal()
      await t.run('5s')
      expect(sizes(t), `seed ${seed}`).toEqual(times(7, () => 7))
    }
  })
})

describe('32 members that know one address', () => {
  it('and start at once are one mesh within two seconds', async () => {
    for (let seed = 320; seed < 323; seed++) {
      const t = cluster(32, { seed, seeds: [0] })
      await t.run('2s')
      expect(sizes(t), `seed ${seed}`).toEqual(times(32, () => 32))
      expect(t.isLinked).toBe(true)
    }
  })
})

describe('a member that comes again', () => {
  it('on the same address and under the same name replaces the one that crashed', async () => {
    for (let seed = 330; seed < 340; seed++) {
      const left: string[] = []
      const t = cluster(5, { seed, start: mesh => void mesh.on('leave', ({ id }) => left.push(`${mesh.id} ${id}`)) })
      await t.run('5s')
      t.restart(2)
      await t.run('3s')
      expect(sizes(t), `seed ${seed}`).toEqual([5, 5, 5, 5, 5])
      // Seen to go, once, by each of the others: what it held is lost.
      expect(left.sort()).toEqual(['member-0 member-2', 'member-1 member-2', 'member-3 member-2', 'member-4 member-2'])
    }
  })
})

describe('a suspicion', () => {
  it('is told to the application, and ends when the member speaks up', async () => {
    const suspected: string[] = []
    const t = cluster(5, { seed: 350, start: mesh => void mesh.on('suspect', ({ id }) => suspected.push(id)) })
    await t.run('5s')
    t.pause(3)
    await t.run('2.3s')
    t.resume(3)
    expect(t.meshes[0]?.members.find(({ id }) => id === 'member-3')?.status).toBe('suspect')
    await t.run('2s')
    expect(new Set(suspected)).toEqual(new Set(['member-3']))
    for (const { members } of t.meshes) expect(members.map(({ status }) => status)).toEqual(times(5, () => 'alive'))
    expect(t.meshes[3]?.stats().suspicionsRefutedTotal).toBeGreaterThan(0)
  })
})
