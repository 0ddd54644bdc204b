import { describe, expect, it } from 'vitest'
import type { Cluster } from '../../lib/testing.ts'
import { coordinatorOf, formed, mesh, orOurError, times } from './story.ts'

const CAP = 20
/** Several, so that a story can choose one by who hands out its permits. */
const CACHES = times(30, i => `cache${i}`)

/** What the origin sees: calls at once, and when each began. */
class Origin {
  readonly beganMs: number[] = []
  readonly #running = new Map<number, number>()
  max = 0
  isDown = false

  get running(): number {
    return [...this.#running.values()].reduce((a, b) => a + b, 0)
  }

  async call(t: Cluster, member: number): Promise<void> {
    this.beganMs.push(t.now)
    this.#add(member, 1)
    this.max = Math.max(this.max, this.running)
    await t.sleep('50ms')
    // What a dead process awaits never comes.
    if (!t.isAlive(member)) await new Promise(() => {})
    this.#add(member, -1)
    if (this.isDown) throw new Error('the origin is down')
  }

  /** Its connections are closed with it. */
  died(member: number): void {
    this.#running.delete(member)
  }

  get lastedMs(): number {
    return (this.beganMs.at(-1) as number) - (this.beganMs[0] as number)
  }

  #add(member: number, count: number): void {
    this.#running.set(member, (this.#running.get(member) ?? 0) + count)
  }
}

async function guarded(size: number, seed: number, breaker = false): Promise<{ t: Cluster; origin: Origin }> {
  const origin = new Origin()
  const t: Cluster = await formed(size, {
    seed,
    start: (member, index) => {
      for (const name of CACHES)
        member.cache(name, {
          ttl: '1h',
          loadConcurrency: CAP,
          breaker,
          load: (id: string) => origin.call(t, index).then(() => `row ${id}`)
        })
    }
  })
  return { t, origin }
}

/** Reads keys one after the other, again where it is refused; answers with how many came to something. */
async function readAll(t: Cluster, cache: string, index: number, keys: readonly string[]): Promise<number> {
  const handle = mesh(t, index).cache<string>(cache)
  let read = 0
  for (const key of keys) {
    const value = (await orOurError(handle.get(key))) ?? (await t.sleep(20).then(() => orOurError(handle.get(key))))
    if (value === `row ${key}`) read++
  }
  return read
}

/** Twenty readers at each of the members share the keys; how many they have read. */
async function readTogether(
  t: Cluster,
  cache: string,
  members: readonly number[],
  keys: readonly string[]
): Promise<number> {
  const readers = members.length * 20
  const parts = times(readers, i => keys.filter((_, k) => k % readers === i))
  const read = await Promise.all(parts.map((part, i) => readAll(t, cache, members[i % members.length] as number, part)))
  return read.reduce((a, b) => a + b, 0)
}

describe('calls of the origin at once', () => {
  it.each([1, 2, 3])('are never more than loadConcurrency in all members together, and as many (%i)', async seed => {
    const { t, origin } = await guarded(5, 900 + seed)
    const keys = times(500, i => `k${i}`)
    expect(await t.until(readTogether(t, 'cache0', [0, 1, 2, 3, 4], keys))).toBe(500)
    expect(origin.beganMs).toHaveLength(500)
    expect(origin.max).toBeLessThanOrEqual(CAP)
    expect(origin.max).toBeGreaterThanOrEqual(18)
    // Not at one moment only: 500 calls of 50 ms, 20 at a time, take 1,250 ms, and the last readers are few.
    expect(origin.lastedMs).toBeLessThan(1_600)
    expect(t.meshes.map(member => member.stats().loadBudgetFallbacksTotal)).toEqual([0, 0, 0, 0, 0])
    await t.run('2s')
    expect(t.meshes.map(member => member.stats().loadsQueued)).toEqual([0, 0, 0, 0, 0])
  })

  it('are all there for one member that alone has something to load', async () => {
    const { t, origin } = await guarded(5, 905)
    const cache = CACHES.find(name => coordinatorOf(t, name) !== 2) as string
    const values = times(100, i =>
      mesh(t, 2)
        .cache(cache)
        .getOrSet(`k${i}`, () => origin.call(t, 2))
    )
    await t.until(Promise.allSettled(values))
    expect(origin.max).toBe(CAP)
    expect(origin.beganMs.length).toBeGreaterThanOrEqual(2 * CAP)
  })

  it.each([
    ['the one that joins', 1],
    ['the one that leaves', 2],
    ['one that stays', 3]
  ])('are no more while a member joins and another leaves, and %s hands out the permits', async (who, seed) => {
    const { t, origin } = await guarded(6, 910 + seed)
    const joins = 5
    const leaves = 1
    const wanted = who === 'the one that joins' ? joins : who === 'the one that leaves' ? leaves : 0
    const cache = CACHES.find(name => coordinatorOf(t, name) === wanted) as string
    t.crash(joins)
    await t.run('10s')
    const done = readTogether(
      t,
      cache,
      [0, 2, 3, 4],
      times(1_500, i => `k${i}`)
    )
    await t.run('700ms')
    t.restart(joins)
    await t.run('1500ms')
    expect(mesh(t, 0).members).toHaveLength(6)
    expect(coordinatorOf(t, cache)).toBe(wanted)
    const left = mesh(t, leaves).leave()
    expect(await t.until(done)).toBeGreaterThan(1_400)
    await t.until(left)
    expect(origin.max).toBeLessThanOrEqual(CAP)
    expect(origin.max).toBeGreaterThanOrEqual(18)
    expect(origin.beganMs.length).toBeGreaterThan(1_450)
  })

  it.each([true, false])(
    'come back from a member that dies, also the one that hands them out (%s)',
    async isHanding => {
      const { t, origin } = await guarded(5, 920)
      const cache = CACHES.find(name => (coordinatorOf(t, name) === 4) === isHanding) as string
      const done = readTogether(
        t,
        cache,
        [0, 1, 2, 3],
        times(1_000, i => `k${i}`)
      )
      await t.run('500ms')
      t.crash(4)
      origin.died(4)
      expect(await t.until(done)).toBeGreaterThan(900)
      expect(origin.max).toBeLessThanOrEqual(CAP)
      const before = origin.beganMs.length
      const began = t.now
      await t.until(
        readTogether(
          t,
          cache,
          [0, 1, 2, 3],
          times(400, i => `later${i}`)
        )
      )
      // All 20 are there again: 400 calls of 50 ms take a second.
      expect([origin.beganMs.length - before, origin.max]).toEqual([400, CAP])
      expect((origin.beganMs.at(-1) as number) - began).toBeLessThan(1_300)
    }
  )

  it('go on with an even share each where the one that hands out permits cannot be reached', async () => {
    const { t, origin } = await guarded(4, 925)
    const cache = CACHES.find(name => coordinatorOf(t, name) === 0) as string
    t.pause(0)
    const values = times(30, i =>
      mesh(t, 1)
        .cache(cache)
        .getOrSet(`k${i}`, () => origin.call(t, 1).then(() => i))
    )
    const settled = Promise.allSettled(values)
    await t.run('4s')
    expect(origin.max).toBe(5)
    expect(mesh(t, 1).stats().loadBudgetFallbacksTotal).toBe(1)
    await t.until(settled)
  })
})

describe('an origin that is down', () => {
  it('is called a few times a second in all, however many keys are asked for, and found again', async () => {
    const { t, origin } = await guarded(5, 930, true)
    origin.isDown = true
    const whys = new Map<string, number>()
    const read = (i: number): void => {
      mesh(t, i % 5)
        .cache<string>('cache0')
        .get(`k${i}`)
        .catch(error => {
          const why = (error as { code: string }).code
          whys.set(why, (whys.get(why) ?? 0) + 1)
        })
    }
    let openMs = Number.POSITIVE_INFINITY
    const fromMs = t.now
    // 300 reads a second for a minute, each of another key.
    for (let i = 0; i < 6_000; i++) {
      for (let j = 0; j < 3; j++) read(i * 3 + j)
      await t.run('10ms')
      if (openMs === Number.POSITIVE_INFINITY && t.meshes.every(member => member.stats().breakersOpen === 1))
        openMs = t.now
    }
    expect(openMs - fromMs).toBeLessThan(200)
    const after = origin.beganMs.filter(ms => ms > openMs)
    const inOneSecond = after.map(ms => after.filter(other => other >= ms && other < ms + 1_000).length)
    expect(Math.max(...inOneSecond)).toBeLessThanOrEqual(5)
    // After 1, 2, 4, 8 and then every 10 s: one call each.
    expect(after.length).toBeLessThanOrEqual(9)
    expect(after.length).toBeGreaterThanOrEqual(7)
    expect(whys.get('ERR_MESH_BACKOFF')).toBeGreaterThan(17_900)
    expect(t.meshes.reduce((sum, member) => sum + member.stats().breakersOpenedTotal, 0)).toBe(after.length + 1)

    origin.isDown = false
    await t.run('11s')
    read(1_000_000)
    await t.run('1s')
    expect(t.meshes.map(member => member.stats().breakersOpen)).toEqual([0, 0, 0, 0, 0])
    expect(await t.until(mesh(t, 3).cache('cache0').get('well'))).toBe('row well')
  })

  it('stays left alone when the member that keeps the breaker leaves', async () => {
    const { t, origin } = await guarded(4, 931, true)
    const cache = CACHES.find(name => coordinatorOf(t, name) === 3) as string
    origin.isDown = true
    const keys = times(40, i => `k${i}`)
    await t.until(Promise.allSettled(keys.map(key => mesh(t, 0).cache(cache).get(key))))
    const before = origin.beganMs.length
    await t.until(mesh(t, 3).leave())
    await t.until(Promise.allSettled(keys.map(key => mesh(t, 1).cache(cache).get(key))))
    expect(origin.beganMs.length - before).toBe(0)
  })
})
