/**
 * Hot keys: what is asked for far more than anything else is kept near by whoever asks, for a moment and unasked, so that
 * its owner serves no more than the others; and what holds for near copies holds for these.
 */
import { describe, expect, it } from 'vitest'
import type { CacheOptions } from '../../lib/cache-options.ts'
import type { Mesh } from '../../lib/mesh.ts'
import type { Cluster, ClusterOptions } from '../../lib/testing.ts'
import { formed, keyOf, mesh, ownerOf, times } from './story.ts'

const MEMBERS = 5
/** Reads of each member in a second of the mesh. */
const PER_SECOND = 250

interface Terms {
  readonly seed: number
  readonly cache?: Partial<Omit<CacheOptions<unknown, string>, 'load' | 'loadMany' | 'exists'>>
  readonly faults?: ClusterOptions['faults']
}

class Story {
  readonly t: Cluster
  readonly hot: string
  loads = 0
  /** Which of the others is read next. */
  #next = 0

  constructor(t: Cluster) {
    this.t = t
    this.hot = keyOf(t, 0)
  }

  cache(by: number) {
    return mesh(this.t, by).cache<string>('products')
  }

  /** All members read, nine times of ten the one key. */
  async read(seconds: number, share = 0.9): Promise<void> {
    const rounds = seconds * 50
    for (let round = 0; round < rounds; round++) {
      const reads = times(PER_SECOND / 50, i => i).flatMap(i => {
        const isHot = ((round * 5 + i) % 10) / 10 < share
        return times(MEMBERS, by => this.cache(by).get(isHot ? this.hot : this.#other()))
      })
      await Promise.all([...reads, this.t.run(20)])
    }
  }

  async from(by: number): Promise<string | undefined> {
    return (await this.t.until(this.cache(by).getEntry(this.hot)))?.from
  }

  sum(counter: 'hotGrantsTotal' | 'confirmationsTotal' | 'invalidationsSentTotal' | 'readsNearTotal'): number {
    return this.t.meshes.reduce((sum, one) => sum + one.stats()[counter], 0)
  }

  #other(): string {
    return `other ${this.#next++ % 200}`
  }
}

async function story({ seed, cache, faults = {} }: Terms): Promise<Story> {
  let it: Story | undefined
  const load = (key: string): string => {
    if (it !== undefined && key === it.hot) it.loads++
    return `v0 of ${key}`
  }
  const options = { ttl: '1h', jitter: 0, ...cache, load: load as (key: string) => unknown } as const
  const start = (member: Mesh): void => void member.cache('products', options)
  it = new Story(await formed(MEMBERS, { seed, faults, start }))
  return it
}

describe('one key at nine tenths of all reads, and no near copies asked for', () => {
  it('costs its owner no more than others serve, and one call of the origin for each TTL', async () => {
    const it = await story({ seed: 9600, cache: { ttl: '10s' } })
    await it.read(2)
    const before = it.t.meshes.map(one => one.stats())
    const loadsBefore = it.loads
    await it.read(20)
    const after = it.t.meshes.map(one => one.stats())
    const served = after.map((now, i) => now.requestsServedTotal - (before[i]?.requestsServedTotal as number))
    const mean = served.reduce((sum, one) => sum + one) / MEMBERS
    expect(Math.max(...served) / mean, `served: ${served}`).toBeLessThan(2)
    const remote = after.reduce((sum, now, i) => sum + now.readsOwnerTotal - (before[i]?.readsOwnerTotal as number), 0)
    expect(remote).toBeGreaterThan(1_000)
    expect(it.loads - loadsBefore).toBe(2)
    expect(mesh(it.t, 0).stats().hotKeys).toBe(1)
  })

  it('stays hot though its owner is hardly asked, and is shown with what is read near', async () => {
    const it = await story({ seed: 9601 })
    const counts: number[] = []
    for (let i = 0; i < 20; i++) {
      await it.read(0.5)
      counts.push(mesh(it.t, 0).stats().hotKeys)
    }
    expect(counts.slice(2)).toEqual(times(18, () => 1))
    const [hottest] = mesh(it.t, 0).hotKeys()
    expect(hottest).toMatchObject({ cache: 'products', key: it.hot })
    // Of four others; what the owner reads itself is not asked of it.
    expect(hottest?.perSecond).toBeGreaterThan(PER_SECOND * 0.9 * 4 * 0.7)
    expect(hottest?.perSecond).toBeLessThan(PER_SECOND * 0.9 * 4 * 1.3)
    expect(hottest?.bytesPerSecond).toBeGreaterThan(hottest?.perSecond as number)
    expect(
      mesh(it.t, 1)
        .hotKeys()
        .some(({ key }) => key === it.hot)
    ).toBe(false)
  })

  it('cools down when nobody asks for it any more, and nobody is asked or told anything then', async () => {
    const it = await story({ seed: 9602 })
    await it.read(3)
    expect(it.sum('readsNearTotal')).toBeGreaterThan(0)
    await it.t.run('30s')
    expect([mesh(it.t, 0).stats().hotKeys, mesh(it.t, 0).hotKeys()]).toEqual([0, []])
    const [asked, told] = [it.sum('confirmationsTotal'), it.sum('invalidationsSentTotal')]
    for (const i of times(20, n => n)) await it.t.until(it.cache(1).set(it.hot, `v${i}`))
    await it.t.run('10s')
    expect([it.sum('confirmationsTotal'), it.sum('invalidationsSentTotal')]).toEqual([asked, told])
  })

  it('is kept by nobody where the cache says never', async () => {
    const it = await story({ seed: 9603, cache: { near: false } })
    await it.read(3)
    expect(it.sum('hotGrantsTotal')).toBeGreaterThan(0)
    expect([it.sum('readsNearTotal'), it.sum('confirmationsTotal')]).toEqual([0, 0])
    expect(await it.from(1)).toBe('owner')
  })
})

describe('a hot key of which all gossip is lost', () => {
  it('is read as it was for less than two seconds after a change, and by its writer not at all', async () => {
    const it = await story({ seed: 9605, faults: { gossipLoss: 1 } })
    await it.read(2)
    const near = it.sum('readsNearTotal')
    for (const round of times(8, i => i)) {
      const writer = 1 + (round % 4)
      await it.t.until(it.cache(writer).set(it.hot, `v${round}`))
      const setAtMs = it.t.now
      for (let old = MEMBERS; old > 0; ) {
        const values = await it.t.until(Promise.all(times(MEMBERS, by => it.cache(by).get(it.hot))))
        expect(values[writer]).toBe(`v${round}`)
        old = values.filter(value => value !== `v${round}`).length
        if (old > 0) expect(it.t.now - setAtMs).toBeLessThan(2_000)
        await it.read(0.1)
      }
      await it.read(0.4)
    }
    expect(it.sum('readsNearTotal') - near).toBeGreaterThan(1_000)
  })
})

describe('keys that are all read alike', () => {
  it('are kept near by nobody, and nobody is asked or told anything for their sake', async () => {
    const it = await story({ seed: 9610 })
    await it.read(4, 0)
    await it.t.until(it.cache(1).set(it.hot, 'v1'))
    expect(it.t.meshes.map(one => one.stats().nearEntries)).toEqual(times(MEMBERS, () => 0))
    for (const counter of ['hotGrantsTotal', 'confirmationsTotal', 'invalidationsSentTotal'] as const)
      expect(it.sum(counter), counter).toBe(0)
  })
})

describe('a hot value', () => {
  it('is a copy for each caller, with its tags', async () => {
    const it = await story({ seed: 9620, cache: { tags: () => ['tagged'] } })
    await it.read(2)
    const entry = await it.t.until(it.cache(1).getEntry(it.hot))
    expect(entry).toMatchObject({ from: 'near', tags: ['tagged'], stale: false, value: `v0 of ${it.hot}` })
    const objects = await story({ seed: 9621 })
    await objects.t.until(
      mesh(objects.t, 2)
        .cache<object>('products')
        .set(objects.hot, { list: [1] })
    )
    await objects.read(2)
    expect(await objects.from(1)).toBe('near')
    const [a, b] = times(2, () => mesh(objects.t, 1).cache<object>('products').peek(objects.hot))
    expect([a, Object.isFrozen(a)]).toEqual([{ list: [1] }, false])
    expect(a).not.toBe(b)
  })

  it('is gone within milliseconds when it changes, and its writer never reads what it has overwritten', async () => {
    const it = await story({ seed: 9630 })
    await it.read(2)
    for (const round of times(10, i => i)) {
      const writer = 1 + (round % 4)
      await it.read(0.2)
      expect(await it.from(writer), `before round ${round}`).toBe('near')
      await it.t.until(it.cache(writer).set(it.hot, `v${round + 1}`))
      expect(await it.t.until(it.cache(writer).get(it.hot))).toBe(`v${round + 1}`)
      await it.t.run(20)
      for (const by of times(MEMBERS, i => i))
        expect(await it.t.until(it.cache(by).get(it.hot)), `member ${by}`).toBe(`v${round + 1}`)
    }
  })

  it('is told to who listens at its owner, by its name and what is asked of it, and to nobody else', async () => {
    const it = await story({ seed: 9631 })
    const told: [number, { readonly perSecond: number }][] = []
    for (const by of times(MEMBERS, i => i)) it.cache(by).on('hot', event => void told.push([by, event]))
    await it.read(2)
    expect(told).toEqual([[ownerOf(it.t, it.hot), { key: it.hot, perSecond: expect.any(Number) }]])
    expect(told.every(([, { perSecond }]) => perSecond >= 100)).toBe(true)
  })
})
