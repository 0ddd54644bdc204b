import { describe, expect, it } from 'vitest'
import type { MeshError } from '../../lib/base/errors.ts'
import type { Mesh } from '../../lib/mesh.ts'
import type { Cluster } from '../../lib/testing.ts'
import { keysHeldBy } from './copied.ts'
import { errorOf, formed, keyOf, mesh, ownerOf, times, watch } from './story.ts'

/** Without copies: what a change comes to is then the business of one owner. With them: `acks.test.ts`. */
function declare(member: Mesh): void {
  member.cache('products', { ttl: '1h', backups: 0 })
  member.counter('hits', { ttl: '1h', backups: 0 })
}

const counter = (t: Cluster, index: number) => mesh(t, index).counter('hits', { ttl: '1h', backups: 0 })
const products = (t: Cluster, index: number) => mesh(t, index).cache<unknown>('products')

/** A key that member `index` counts. */
async function countedBy(t: Cluster, index: number): Promise<string> {
  for (let i = 0; i < 200; i++) {
    const before = mesh(t, index).stats().records
    await t.until(counter(t, index).add(`c${i}`, 0))
    if (mesh(t, index).stats().records > before) return `c${i}`
  }
  throw new Error(`member ${index} counts nothing`)
}

/** Delays of 10 ms: what leaves now arrives then, and its answer is on the way back for as long. */
function slowly(seed: number, size = 3): Promise<Cluster> {
  return formed(size, { seed, start: declare, faults: { delayMsMin: 10, delayMsMax: 10 } })
}

describe('a change whose answer is lost with its link', () => {
  it('is sent again when the link is back, and answered from memory', async () => {
    const t = await slowly(1100)
    const key = await countedBy(t, 0)
    const adding = watch(t, counter(t, 1).add(key))
    // It has arrived, and its answer finds the link closed from here.
    await t.run('12ms')
    t.disconnect(1, 0)
    await t.run('4s')
    expect(adding.value?.value).toBe(1)
    expect(await t.until(counter(t, 2).get(key))).toBe(1)
    expect(mesh(t, 1).stats().changesResentTotal).toBe(1)
    expect(mesh(t, 0).stats().changesRepeatedTotal).toBe(1)
  })

  it.each(['set', 'delete', 'compareAndSet', 'touch'] as const)('%s answers as it did the first time', async kind => {
    const t = await slowly(1101)
    const key = keyOf(t, 0)
    const first = await t.until(products(t, 0).set(key, 'first'))
    const change = watch<unknown>(
      t,
      {
        set: () => products(t, 1).set(key, 'mine'),
        delete: () => products(t, 1).delete(key),
        compareAndSet: () => products(t, 1).compareAndSet(key, first, 'mine'),
        touch: () => products(t, 1).touch(key, '1m')
      }[kind]()
    )
    await t.run('12ms')
    t.disconnect(1, 0)
    await t.run(0)
    // Somebody else comes in between: what is made only once is not made over it.
    const between = kind === 'touch' ? undefined : await t.until(products(t, 2).set(key, 'theirs'))
    await t.run('4s')
    expect(change.state).toBe('fulfilled')
    if (kind !== 'touch') {
      expect(await t.until(products(t, 0).getEntry(key))).toMatchObject({ value: 'theirs', version: between })
      if (kind === 'delete') expect(change.value).toBe(true)
      else expect((change.value as string) > first && (change.value as string) < (between as string)).toBe(true)
    } else expect(change.value).toBe(true)
    expect(mesh(t, 0).stats().changesRepeatedTotal).toBe(1)
  })

  it('is made once, though links are lost a hundred times', async () => {
    const t = await slowly(1102)
    const key = await countedBy(t, 0)
    const adds = []
    for (let i = 0; i < 100; i++) {
      adds.push(watch(t, counter(t, 1 + (i % 2)).add(key)))
      await t.run('12ms')
      t.disconnect(1 + (i % 2), 0)
      await t.run('300ms')
    }
    await t.run('6s')
    const values = adds.map(({ value }) => value?.value)
    expect([...values].sort((a, b) => (a ?? 0) - (b ?? 0))).toEqual(times(100, i => i + 1))
    expect(await t.until(counter(t, 1).get(key))).toBe(100)
    expect(mesh(t, 0).stats().changesRepeatedTotal).toBeGreaterThan(20)
  })
})

describe('a change whose owner dies', () => {
  it('waits for the next owner, whether it has been made at the dead one or not', async () => {
    for (const atMs of [0, 5, 12]) {
      const t = await slowly(1110)
      const key = await countedBy(t, 0)
      const adding = watch(t, counter(t, 1).add(key))
      await t.run(atMs)
      t.disconnect(1, 0)
      t.crash(0)
      await t.run('6s')
      // What was counted before has died with its owner.
      expect(adding.value?.value, `crash after ${atMs} ms`).toBe(1)
      expect(await t.until(counter(t, 2).get(key))).toBe(1)
    }
  })

  it('does not set a value that was compared with a version of before', async () => {
    const t = await slowly(1111)
    const key = keyOf(t, 0)
    const version = await t.until(products(t, 0).set(key, 'a'))
    const compare = watch(t, products(t, 1).compareAndSet(key, version, 'b'))
    await t.run('12ms')
    t.disconnect(1, 0)
    t.crash(0)
    await t.run('6s')
    expect(compare.value).toBe(false)
    expect(await t.until(products(t, 2).has(key))).toBe(false)
  })

  it('is answered from memory by an owner that has given the key away meanwhile', async () => {
    const t = await slowly(1112, 4)
    const moving = times(500, i => `k${i}`).find(key => ownerOf(t, key) === 3) as string
    t.crash(3)
    await t.run('8s')
    const owner = ownerOf(t, moving)
    const [asker] = [0, 1, 2].filter(index => index !== owner) as [number]
    const written = watch(t, products(t, asker).set(moving, 'v'))
    await t.run('12ms')
    t.disconnect(asker, owner)
    t.restart(3)
    await t.run('6s')
    expect(written.state).toBe('fulfilled')
    expect(ownerOf(t, moving)).toBe(3)
  })
})

describe('a change that comes to nothing', () => {
  it('says that the outcome is unknown where somebody may have made it, and whether to make it again', async () => {
    const t = await slowly(1121)
    const [own, key] = [await countedBy(t, 0), keyOf(t, 0)]
    t.pause(0)
    const failures = await Promise.all([
      errorOf(t, counter(t, 1).add(own, 1, { timeout: '300ms' })),
      errorOf(t, products(t, 1).compareAndSet(key, null, 1, { timeout: '300ms' })),
      errorOf(t, products(t, 1).set(key, 1, { timeout: '300ms' })),
      errorOf(t, products(t, 1).touch(key, '1m', { timeout: '300ms' }))
    ])
    for (const [i, error] of failures.entries())
      expect(error).toMatchObject({ code: 'ERR_MESH_TIMEOUT', outcome: 'unknown', retryable: i > 1 })
    // It wakes, and finds requests whose time is over, by a clock that may be a delay behind: none of them is made.
    await t.run('20ms')
    t.resume(0)
    await t.run('5s')
    expect(await t.until(counter(t, 0).get(own))).toBe(0)
    expect(await t.until(products(t, 0).has(key))).toBe(false)
  })

  it('says that nothing was done where nobody could be asked', async () => {
    const t = await formed(2, { seed: 1122, options: { weight: 0 }, start: declare })
    const error = (await errorOf(t, products(t, 1).set('k', 1))) as MeshError
    expect(error).toMatchObject({ code: 'ERR_MESH_UNAVAILABLE', retryable: true })
    expect(error.outcome).toBeUndefined()
    expect(error.message).toContain('Nothing was done')
  })

  it('has five seconds by default, longer than it takes to notice a dead owner', async () => {
    const t = await formed(2, { seed: 1123, options: { weight: 0 }, start: declare })
    const beganMs = t.now
    const failed = watch(t, products(t, 1).set('k', 1))
    await t.run('4900ms')
    expect(failed.state).toBe('pending')
    await t.run('200ms')
    expect(failed.atMs - beganMs).toBeCloseTo(5_000, 0)
  })
})

describe('an owner that stands still', () => {
  it.each(['1500ms', '2500ms', '4s'] as const)('for %s makes what waited for it once', async standstill => {
    const t = await formed(4, { seed: 1130, start: declare })
    const key = await countedBy(t, 0)
    t.pause(0)
    const adds = times(20, i => watch(t, counter(t, 1 + (i % 3)).add(key)))
    await t.run(standstill)
    t.resume(0)
    await t.run('8s')
    const acknowledged = adds.filter(({ state }) => state === 'fulfilled').length
    const unknown = adds.filter(({ error }) => (error as MeshError | undefined)?.outcome === 'unknown').length
    const sum = await t.until(counter(t, 2).get(key))
    // After longer another has counted for it, and has given that up with the key when it was back.
    if (standstill !== '4s') expect(sum).toBeGreaterThanOrEqual(acknowledged)
    expect(sum).toBeLessThanOrEqual(acknowledged + unknown)
    expect(acknowledged).toBeGreaterThan(0)
  })
})

describe('a change whose owner dies before its writer has heard', () => {
  it('is not made again by a writer that becomes the owner, has looked for the record, and found the rest equal', async () => {
    const start = (member: Mesh): unknown => member.cache('products', { ttl: '1h', backups: 2 })
    const t = await formed(4, { seed: 1160, start })
    const [key] = keysHeldBy(t, 1, 2, 1, 0) as [string]
    // What the owner says to the second in rank gets lost; the third has its copy.
    t.cutOneWay([2], [1])
    const writing = watch(t, products(t, 1).compareAndSet(key, null, 'first', { timeout: '30s' }))
    await t.run(20)
    t.crash(2)
    while (mesh(t, 1).members.some(({ id }) => id === mesh(t, 2).id)) await t.run(10)
    // The new owner looks for what others have of the key, and makes this of it.
    await t.until(products(t, 3).set(key, 'second'))
    await t.run('30s')
    expect(writing.value, 'it was made, and that is what its writer is told').toEqual(expect.any(String))
    expect(await t.until(products(t, 0).get(key))).toBe('second')
  })

  it('is not made again where the next owner dies too, which remembered what the first had done', async () => {
    const start = (member: Mesh): unknown => member.cache('products', { ttl: '1h', backups: 1 })
    const t = await formed(4, { seed: 1161, start })
    const [key] = keysHeldBy(t, 1, 2, 1, 0) as [string]
    const [lastOwner, writer] = [0, 3]
    // What both owners say to the writer gets lost, and it sends its change again and again.
    t.cutOneWay([2, 1], [writer])
    const writing = watch(t, products(t, writer).compareAndSet(key, null, 'first', { timeout: '30s' }))
    await t.run(20)
    t.crash(2)
    while (mesh(t, 1).members.length > 3) await t.run(10)
    // The record goes to the next by another change, with the answer to that alone.
    expect(await t.until(products(t, 1).touch(key, '2h'))).toBe(true)
    await t.run(20)
    t.crash(1)
    await t.run('30s')
    expect(writing.value, 'it was made, and that is what its writer is told').toEqual(expect.any(String))
    expect(await t.until(products(t, lastOwner).get(key))).toBe('first')
  })
})
