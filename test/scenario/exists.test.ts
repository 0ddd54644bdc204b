/** Ids that do not exist never reach the origin, and none that does is ever taken for one of them. */
import { describe, expect, it } from 'vitest'
import type { PartialError } from '../../lib/base/errors.ts'
import type { LoadingCache } from '../../lib/cache.ts'
import type { Mesh } from '../../lib/mesh.ts'
import { type Cluster, type ClusterOptions, cluster } from '../../lib/testing.ts'
import { errorOf, formed, keyOf, mesh, orOurError, ownersOf, times, watch } from './story.ts'

const KEYS = 20_000
const row = (i: number): string => `product:${i}`
const nowhere = (i: number): string => `nowhere:${i}`

/** A mesh over an origin; which ids it was asked for. */
interface Shop {
  readonly t: Cluster
  readonly asked: string[]
}

function declare(asked: string[], options: object = {}): (member: Mesh) => void {
  const load = async (key: string): Promise<string | undefined> => {
    asked.push(key)
    return key.startsWith('nowhere') ? undefined : `row of ${key}`
  }
  // Nothing is kept of what was not found: each get would ask again.
  return member =>
    void member.cache('products', { ttl: '1h', negativeTtl: 0, exists: { keys: KEYS }, load, ...options })
}

async function shop(size: number, o: Partial<ClusterOptions> & { cache?: object } = {}): Promise<Shop> {
  const asked: string[] = []
  const { cache, ...rest } = o
  const t = await formed(size, { seed: 1300 + size, start: declare(asked, cache), ...rest })
  return { t, asked }
}

type Products = LoadingCache<string | undefined>
const products = (t: Cluster, index: number): Products => mesh(t, index).cache('products') as unknown as Products

/** How many of these ids, read through this member, have reached the origin. */
async function reaching({ t, asked }: Shop, index: number, ids: readonly string[]): Promise<number> {
  const before = asked.length
  for (let from = 0; from < ids.length; from += 2_000)
    await t.until(products(t, index).getMany(ids.slice(from, from + 2_000)))
  return asked.length - before
}

/** The ids that this member takes for impossible; what is stored is forgotten first, in all. */
async function denied(t: Cluster, index: number, ids: readonly string[]): Promise<string[]> {
  await t.until(products(t, index).clear())
  const rows = await t.until(products(t, index).getMany(ids))
  return ids.filter((_, i) => rows[i] === undefined)
}

describe('with a filter of what exists', () => {
  it('of 100,000 gets of ids that do not exist, at most 1.5 % reach the origin, and every id that does exist is found', async () => {
    const world = await shop(4)
    await world.t.until(products(world.t, 1).exists.fill(times(KEYS, row)))
    let reached = 0
    for (const index of times(4, i => i))
      reached += await reaching(
        world,
        index,
        times(25_000, i => nowhere(i * 4 + index))
      )
    const stats = world.t.meshes.map(member => member.stats())
    console.log(`of 100,000 ids that do not exist ${reached} reached the origin`)
    expect(reached).toBeLessThanOrEqual(1_500)
    expect(stats.reduce((sum, { loadsSparedTotal }) => sum + loadsSparedTotal, 0)).toBe(100_000 - reached)
    expect(stats.map(({ filterTransfersTotal }) => filterTransfersTotal > 0)).toEqual([true, false, true, true])
    for (const { filterBytes } of stats) expect(filterBytes).toBeGreaterThan((KEYS * 9.5) / 8)
    expect(await reaching(world, 2, times(KEYS, row))).toBe(KEYS)
  })

  it('is asked only where a registered load would begin', async () => {
    const world = await shop(3)
    const { t, asked } = world
    await t.until(products(t, 0).exists.fill(['known']))
    expect(await t.until(products(t, 1).get('nowhere'))).toBeUndefined()
    expect(await t.until(products(t, 1).getEntry('nowhere'))).toBeUndefined()
    expect(await t.until(products(t, 1).getOrSet('made', () => 'here'))).toBe('here')
    await t.until(products(t, 1).set('stored', 'value'))
    expect(await t.until(products(t, 2).get('stored'))).toBe('value')
    expect(asked).toEqual([])
  })

  it('lets everything through until it is filled, after it is cleared, and in a cache without one', async () => {
    const world = await shop(3)
    expect(await reaching(world, 0, times(50, nowhere))).toBe(50)
    await world.t.until(products(world.t, 0).exists.fill(['known']))
    expect(await reaching(world, 1, times(50, nowhere))).toBeLessThan(5)
    await world.t.until(products(world.t, 2).exists.clear())
    expect(await reaching(world, 1, times(50, nowhere))).toBe(50)
    expect(mesh(world.t, 0).stats().filterBytes).toBe(0)
    const bare = await shop(2, { cache: { exists: undefined } })
    const error = await errorOf(bare.t, products(bare.t, 0).exists.add('k'))
    expect(error).toMatchObject({ code: 'ERR_MESH_OPTION', message: expect.stringContaining('without exists') })
  })

  it('knows an id that was added in every member as soon as that is confirmed', async () => {
    const world = await shop(5)
    const { t } = world
    await t.until(products(t, 0).exists.fill(times(100, row)))
    for (const [round, by] of [3, 0, 4].entries()) {
      const fresh = times(200, i => `fresh:${round}:${i}`)
      expect(await reaching(world, 1, fresh)).toBeLessThan(10)
      await t.until(products(t, by).exists.add(fresh))
      for (const index of times(5, i => i)) expect(await denied(t, index, fresh)).toEqual([])
    }
  })

  it('knows what was written or made, also after it has expired', async () => {
    const { t } = await shop(3)
    await t.until(products(t, 0).exists.fill(['known']))
    await t.until(products(t, 1).set('written', 'v', { ttl: '10s' }))
    await t.until(products(t, 2).getOrSet('made', () => 'v', { ttl: '10s' }))
    await t.run('30s')
    t.crash(0)
    await t.run('15s')
    expect(await t.until(products(t, 1).getMany(['written', 'made']))).toEqual(['row of written', 'row of made'])
  })

  it('is replaced by the next filling: what is no longer among its keys is gone', async () => {
    const world = await shop(4)
    const { t } = world
    await t.until(products(t, 0).exists.fill(times(1_000, row)))
    await t.until(products(t, 3).exists.fill(times(1_000, i => row(i + 500))))
    for (const index of [0, 1, 2, 3]) {
      expect((await denied(t, index, times(500, row))).length).toBeGreaterThan(480)
      expect(
        await denied(
          t,
          index,
          times(1_000, i => row(i + 500))
        )
      ).toEqual([])
    }
  })

  it('takes in what is added while it is filled, and the old one counts until then', async () => {
    const world = await shop(3)
    const { t } = world
    await t.until(products(t, 0).exists.fill(times(100, row)))
    async function* slowly(): AsyncGenerator<string> {
      for (let i = 0; i < 10; i++) {
        yield row(i)
        await t.sleep('1s')
      }
    }
    const filling = watch(t, products(t, 1).exists.fill(slowly()))
    await t.run('5s')
    expect((await denied(t, 2, times(100, nowhere))).length).toBeGreaterThan(90)
    await t.until(products(t, 2).exists.add(['late']))
    await t.run('10s')
    expect(filling.state).toBe('fulfilled')
    for (const index of [0, 1, 2]) expect(await denied(t, index, ['late', row(9)])).toEqual([])
    expect(
      (
        await denied(
          t,
          0,
          times(50, i => row(i + 50))
        )
      ).length
    ).toBeGreaterThan(40)
  })

  it('goes by the filling that began last, whichever ends last', async () => {
    const { t } = await shop(3)
    async function* slowly(): AsyncGenerator<string> {
      yield 'first'
      await t.sleep('5s')
    }
    const first = watch(t, products(t, 0).exists.fill(slowly()))
    await t.run('1s')
    await t.until(products(t, 1).exists.fill(['second']))
    await t.run('10s')
    expect(first.state).toBe('fulfilled')
    expect(await denied(t, 2, ['first', 'second'])).toEqual(['first'])
  })

  it('comes to a member that joins, with what is added meanwhile', async () => {
    const world = await shop(4, { cache: { exists: { keys: 400_000 } } })
    const { t } = world
    await t.until(products(t, 0).exists.fill(times(2_000, row)))
    t.crash(3)
    await t.run('20s')
    t.restart(3)
    const added: string[] = []
    for (let i = 0; i < 200; i++) {
      added.push(`fresh:${i}`)
      const add = watch(t, products(t, i % 3).exists.add(`fresh:${i}`))
      await t.run('5ms')
      if (i % 20 === 0) await t.until(add.promise)
    }
    await t.run('3s')
    const fresh = mesh(t, 3).stats()
    expect(fresh.filterTransfersTotal).toBeGreaterThan(0)
    for (const index of [0, 3]) expect(await denied(t, index, [...added, ...times(2_000, row)])).toEqual([])
    expect((await denied(t, 3, times(500, nowhere))).length).toBeGreaterThan(480)
    expect(mesh(t, 3).stats().loadsSparedTotal).toBeGreaterThan(0)
  })

  it('comes through links that are lost again and again', async () => {
    const { t } = await shop(3, { cache: { exists: { keys: 1_000_000 } }, seed: 77 })
    const filling = watch(t, products(t, 0).exists.fill(times(3_000, row)))
    for (let i = 0; filling.state === 'pending' && i < 2_000; i++) {
      if (i < 40) t.disconnect(0, 1 + (i % 2))
      await t.run('7ms')
    }
    expect(filling.state).toBe('fulfilled')
    for (const index of [0, 1, 2]) expect(await denied(t, index, times(3_000, row))).toEqual([])
    await t.run('5s')
    expect((await denied(t, 1, times(500, nowhere))).length).toBeGreaterThan(480)
  })

  it('after a crash denies nothing for five seconds, and then goes on', async () => {
    const world = await shop(4)
    const { t } = world
    await t.until(products(t, 0).exists.fill(times(100, row)))
    const cold = nowhere(ownersOf(t, times(100, nowhere)).findIndex(owner => owner !== 3))
    t.crash(3)
    await t.run('1s')
    expect(await reaching(world, 0, [cold])).toBe(1)
    await t.run('10s')
    expect(await reaching(world, 0, times(200, nowhere))).toBeLessThan(10)
  })
})

describe('an add', () => {
  it('that cannot reach a member names it, and is confirmed when it is back', async () => {
    const { t } = await shop(3)
    await t.until(products(t, 0).exists.fill(['known']))
    t.pause(2)
    const error = (await errorOf(t, products(t, 0).exists.add('fresh', { timeout: '500ms' }))) as PartialError
    expect(error).toMatchObject({ code: 'ERR_MESH_PARTIAL', retryable: true, values: ['member-0', 'member-1'] })
    expect([...error.errors.values()]).toMatchObject([{ member: 'member-2', outcome: 'unknown' }])
    t.resume(2)
    await t.run('3s')
    await t.until(products(t, 0).exists.add('fresh'))
    await t.run('3s')
    for (const index of [0, 1, 2]) expect(await denied(t, index, ['fresh'])).toEqual([])
  })

  it('of a key that is none is refused, and so are options that are none', async () => {
    const { t } = await shop(1)
    expect(await errorOf(t, products(t, 0).exists.add(['fine', 7 as never]))).toMatchObject({ code: 'ERR_MESH_KEY' })
    expect(await errorOf(t, products(t, 0).exists.add('k', 5 as never))).toMatchObject({ code: 'ERR_MESH_OPTION' })
    expect(await errorOf(t, products(t, 0).exists.fill(7 as never))).toMatchObject({ code: 'ERR_MESH_OPTION' })
    const misspelt = products(t, 0).exists.clear({ prefix: 'a' } as never)
    expect(await errorOf(t, misspelt)).toMatchObject({ code: 'ERR_MESH_OPTION' })
  })
})

describe('a filling', () => {
  it('that is aborted, or whose keys fail, changes nothing and leaves nothing behind', async () => {
    const { t } = await shop(2)
    await t.until(products(t, 0).exists.fill(['known']))
    const bytes = mesh(t, 0).stats().filterBytes
    const stop = new AbortController()
    async function* endless(): AsyncGenerator<string> {
      for (let i = 0; ; i++) {
        yield row(i)
        await t.sleep('100ms')
      }
    }
    const aborted = watch(t, products(t, 0).exists.fill(endless(), { signal: stop.signal }))
    await t.run('1s')
    expect(mesh(t, 0).stats().filterBytes).toBe(2 * bytes)
    stop.abort(new Error('enough'))
    await t.run('1s')
    expect(aborted.error).toMatchObject({ message: 'enough' })
    function* failing(): Generator<string> {
      yield row(1)
      throw new Error('the table is locked')
    }
    const failed = products(t, 0).exists.fill(failing())
    expect(await errorOf(t, failed)).toMatchObject({ message: 'the table is locked' })
    expect(mesh(t, 0).stats().filterBytes).toBe(bytes)
    expect(await denied(t, 1, ['known', row(1)])).toEqual([row(1)])
  })

  it('from a member that owns nothing is refused; it adds and clears', async () => {
    const asked: string[] = []
    const t = await formed(2, { seed: 1350, start: declare(asked), options: { weight: 0 } })
    const error = await errorOf(t, products(t, 0).exists.fill(['k']))
    expect(error).toMatchObject({ code: 'ERR_MESH_OPTION', message: expect.stringContaining('weight 0') })
    await t.until(products(t, 0).exists.add('k'))
    await t.until(products(t, 0).exists.clear())
  })

  it('by a member with another size is held by those it fits, and others let everything through and say so once', async () => {
    const asked: string[] = []
    const warnings: string[] = []
    const t = await formed(3, {
      seed: 1351,
      start: (member, index) => {
        declare(asked, { exists: { keys: [40_000, 25_000, 1_000][index] as number } })(member)
        member.on('warning', ({ code }) => warnings.push(`${index} ${code}`))
      }
    })
    const fill = products(t, 0).exists.fill(times(1_000, row))
    await t.until(fill)
    await t.run('12s')
    expect(warnings).toEqual(['2 CACHEMESH_FILTER_UNFIT'])
    expect(mesh(t, 2).stats().filterBytes).toBe(0)
    const [fits, not] = [keyOf(t, 1), keyOf(t, 2)]
    await t.until(products(t, 0).getMany([fits, not]))
    expect(asked).toEqual([not])
    await t.until(products(t, 2).exists.add(fits))
    expect(await t.until(products(t, 0).get(fits))).toBe(`row of ${fits}`)
  })
})

describe('a split', () => {
  it.each([
    [
      [0, 1, 2],
      [3, 4]
    ] as const,
    [
      [0, 1],
      [2, 3, 4]
    ] as const
  ])(
    'into %j and %j: an add that is confirmed is denied by nobody, before, in and after it',
    async (one, other) => {
      const world = await shop(5, { seed: 1360 + one.length })
      const { t } = world
      const [major, minor] = one.length > other.length ? [one, other] : [other, one]
      await t.until(products(t, 0).exists.fill(times(500, row)))
      t.cut(one, other)
      // Asked for on both sides from the first moment on, while nobody knows yet that there is a split.
      const adds: { key: string; add: ReturnType<typeof watch<void>> }[] = []
      const wrong: string[] = []
      const everybody = [...one, ...other]
      for (let i = 0; i < 60; i++) {
        for (const by of [major[0] as number, minor[0] as number]) {
          const key = `fresh:${i}:${by}`
          adds.push({ key, add: watch(t, products(t, by).exists.add(key)) })
        }
        await t.run('250ms')
        for (const { key, add } of adds) {
          if (add.state !== 'fulfilled') continue
          const reads = everybody.map(index => products(t, index).get(key))
          for (const [index, value] of (await t.until(Promise.all(reads))).entries())
            if (value === undefined) wrong.push(`member ${everybody[index]} denies ${key}`)
        }
      }
      expect(wrong).toEqual([])
      await t.run('15s')
      expect(adds.filter(({ add }) => add.state === 'pending')).toEqual([])
      // The majority goes on, with its filter; the minority is told that its adds are not confirmed, and denies nothing.
      const last = adds.slice(-2).map(({ add }) => add.state)
      expect(last).toEqual(['fulfilled', 'rejected'])
      expect(await reaching(world, major[0] as number, times(300, nowhere))).toBeLessThan(15)
      expect(await reaching(world, minor[0] as number, times(300, nowhere))).toBe(300)
      // Who fills there is told so before the first key is taken, and what is known on the other side stays.
      let taken = 0
      function* counted(): Generator<string> {
        taken++
        yield row(0)
      }
      const filling = products(t, minor[0] as number).exists.fill(counted(), { timeout: '2s' })
      expect(await errorOf(t, filling)).toMatchObject({ code: 'ERR_MESH_PARTIAL', retryable: true })
      expect(taken).toBe(0)
      t.heal()
      for (let i = 0; i < 40; i++) {
        await t.run('250ms')
        const done = adds.filter(({ add }) => add.state === 'fulfilled').map(({ key }) => key)
        for (const index of everybody) {
          await t.until(orOurError(products(t, index).clear({ timeout: '10s' })))
          const rows = await t.until(products(t, index).getMany(done))
          expect(done.filter((_, k) => rows[k] === undefined)).toEqual([])
        }
      }
      // Both sides' adds are known to all in the end, also those that were not confirmed then.
      for (const index of everybody) {
        expect(
          await denied(
            t,
            index,
            adds.map(({ key }) => key)
          )
        ).toEqual([])
        expect(
          await reaching(
            world,
            index,
            times(300, i => nowhere(1_000 + index * 300 + i))
          )
        ).toBeLessThan(15)
      }
    },
    120_000
  )
})

describe('two meshes that meet', () => {
  it('go by the later filling, and what was added to either is not denied', async () => {
    const asked: string[] = []
    const t = cluster(4, { seed: 1370, start: declare(asked) })
    t.cut([0, 1], [2, 3])
    await t.run('5s')
    await t.until(products(t, 0).exists.fill(times(500, row)))
    await t.run('2s')
    await t.until(products(t, 3).exists.fill(times(500, row)))
    await t.until(products(t, 1).exists.add('only:here'))
    await t.until(products(t, 2).exists.add('only:there'))
    t.heal()
    while (t.meshes.some(({ members }) => members.length < 4)) await t.run('1ms')
    for (let i = 0; i < 60; i++) {
      for (const index of [0, 1, 2, 3])
        expect(await t.until(products(t, index).getMany(['only:here', 'only:there']))).not.toContain(undefined)
      await t.until(products(t, 0).clear({ timeout: '5s' }))
      await t.run('50ms')
    }
    await t.run('5s')
    for (const index of [0, 1, 2, 3]) {
      expect(await denied(t, index, ['only:here', 'only:there', ...times(500, row)])).toEqual([])
      expect((await denied(t, index, times(200, nowhere))).length).toBeGreaterThan(190)
    }
  })
})
