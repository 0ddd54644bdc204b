import { describe, expect, it } from 'vitest'
import type { LoadContext } from '../../lib/fill/definition.ts'
import type { Cluster } from '../../lib/testing.ts'
import { formed, keyOf, mesh, watch } from './story.ts'

/** A load that ends when it is told to, or by its signal. */
class SlowOrigin {
  readonly signals: AbortSignal[] = []
  readonly #settle: ((row: string) => void)[] = []

  load = (_: unknown, { signal }: Pick<LoadContext, 'signal'>): Promise<string> => {
    this.signals.push(signal)
    return new Promise((resolve, reject) => {
      this.#settle.push(resolve)
      signal.addEventListener('abort', () => reject(signal.reason))
    })
  }

  answer(row: string): void {
    for (const settle of this.#settle) settle(row)
  }

  get aborted(): boolean[] {
    return this.signals.map(({ aborted }) => aborted)
  }
}

const WHERE = ['at the owner', 'under a lease of the owner'] as const

/** Callers of several members that wait for one load, each with a signal to give up by. */
async function waiting(seed: number, where: (typeof WHERE)[number], members: readonly number[]) {
  const origin = new SlowOrigin()
  const t: Cluster = await formed(3, {
    seed,
    start: member =>
      member.cache('products', where === 'at the owner' ? { ttl: '1h', load: origin.load as never } : { ttl: '1h' })
  })
  const key = keyOf(t, 0)
  const callers = []
  for (const member of members) {
    const aborter = new AbortController()
    const cache = mesh(t, member).cache<string>('products')
    const { signal } = aborter
    const read =
      where === 'at the owner' ? cache.get(key, { signal }) : cache.getOrSet(key, c => origin.load(0, c), { signal })
    const watched = watch(t, read)
    callers.push({ watched, giveUp: () => aborter.abort(new Error('enough')) })
    await t.run('20ms')
  }
  return { t, key, origin, callers }
}

describe.each(WHERE)('a load %s', where => {
  it.each([
    ['in the order they came', [0, 1, 2]],
    ['the first that came last', [2, 1, 0]],
    ['from the middle', [1, 0, 2]]
  ])('is aborted when the last of its callers in the mesh has gone, and not before: %s', async (_, order) => {
    const { t, origin, callers } = await waiting(940, where, [1, 0, 2])
    for (const [gone, caller] of order.entries()) {
      expect(origin.aborted, `${gone} have gone`).toEqual([false])
      callers[caller]?.giveUp()
      await t.run('50ms')
    }
    expect(origin.aborted).toEqual([true])
    expect(t.meshes.map(one => one.stats().loadsInProgress)).toEqual([0, 0, 0])
    expect(callers.map(({ watched }) => (watched.error as Error).message)).toEqual(['enough', 'enough', 'enough'])
  })

  it('serves who stayed, and who came after the others had gone', async () => {
    const { t, key, origin, callers } = await waiting(941, where, [1, 2])
    callers[0]?.giveUp()
    await t.run('50ms')
    const late = watch(
      t,
      mesh(t, 1)
        .cache<string>('products')
        .getOrSet(key, c => origin.load(0, c))
    )
    await t.run('50ms')
    callers[1]?.giveUp()
    await t.run('50ms')
    expect(origin.aborted).toEqual([false])
    origin.answer('row')
    await t.run('50ms')
    expect([late.value, await t.until(mesh(t, 0).cache('products').get(key))]).toEqual(['row', 'row'])
  })

  it('that was aborted keeps nobody from loading again', async () => {
    const { t, key, origin, callers } = await waiting(942, where, [1])
    callers[0]?.giveUp()
    await t.run('50ms')
    const again = watch(
      t,
      mesh(t, 2)
        .cache<string>('products')
        .getOrSet(key, c => origin.load(0, c))
    )
    await t.run('50ms')
    expect(origin.aborted).toEqual([true, false])
    origin.answer('row')
    await t.run('50ms')
    expect(again.value).toBe('row')
  })
})

describe('a load whose owner has died', () => {
  it('goes on for its own callers, and is aborted when they have gone: nobody else can want it', async () => {
    const { t, origin, callers } = await waiting(945, 'under a lease of the owner', [1])
    t.crash(0)
    await t.run('5s')
    expect([origin.aborted, callers[0]?.watched.state]).toEqual([[false], 'pending'])
    callers[0]?.giveUp()
    await t.run('50ms')
    expect(origin.aborted).toEqual([true])
  })
})

describe('a load without an owner', () => {
  it('is aborted when its last caller has gone', async () => {
    const origin = new SlowOrigin()
    const t = await formed(2, {
      seed: 943,
      options: { weight: 0 },
      start: member => member.cache('products', { ttl: '1h', load: origin.load as never })
    })
    const aborters = [new AbortController(), new AbortController()]
    const reads = aborters.map(({ signal }) => watch(t, mesh(t, 0).cache('products').get('k', { signal })))
    await t.run('2s')
    expect(origin.aborted).toEqual([false])
    aborters[0]?.abort()
    await t.run('10ms')
    expect(origin.aborted).toEqual([false])
    aborters[1]?.abort()
    await t.run('10ms')
    expect([origin.aborted, reads.map(({ state }) => state)]).toEqual([[true], ['rejected', 'rejected']])
  })
})

describe('a refresh behind', () => {
  it('is wanted by the cache itself: its reader has gone long ago', async () => {
    const origin = new SlowOrigin()
    const t = await formed(3, {
      seed: 944,
      start: member =>
        member.cache('products', { ttl: '1s', jitter: 0, staleWhileRevalidate: '1h', load: origin.load as never })
    })
    const key = keyOf(t, 0)
    const first = watch(t, mesh(t, 1).cache('products').get(key))
    await t.run('50ms')
    origin.answer('old')
    await t.run('2s')
    expect([first.value, await t.until(mesh(t, 1).cache('products').get(key))]).toEqual(['old', 'old'])
    await t.run('1s')
    expect(origin.aborted).toEqual([false, false])
    origin.answer('new')
    await t.run('50ms')
    expect(await t.until(mesh(t, 2).cache('products').get(key))).toBe('new')
  })
})
