/** How sure a change is: what waits for copies has them when it resolves, and says so when it has not. */
import { describe, expect, it } from 'vitest'
import { BackupsError } from '../../lib/base/errors.ts'
import type { CounterOptions } from '../../lib/cache-options.ts'
import type { Cluster } from '../../lib/testing.ts'
import { holdersIn, keysHeldBy } from './copied.ts'
import { errorOf, formed, mesh, times, watch } from './story.ts'

function story(seed: number, size: number, options: Omit<CounterOptions, 'ttl'> = {}): Promise<Cluster> {
  return formed(size, {
    seed,
    start: member => {
      member.cache<number>('products', { ttl: '1h', ...options })
      member.counter('hits', { ttl: '1h', ...options })
    }
  })
}

const products = (t: Cluster, index: number) => mesh(t, index).cache<number>('products')
const hits = (t: Cluster, index: number, o: object = {}) => mesh(t, index).counter('hits', { ttl: '1h', ...o })

/** Somebody who is neither of these. */
const another = (t: Cluster, ...these: number[]): number =>
  t.meshes.findIndex((member, index) => !these.includes(index) && member.state !== 'left')

describe('a change that waits for a backup', () => {
  it.each<[string, (t: Cluster, by: number, key: string) => Promise<unknown>, number | undefined]>([
    ['set', (t, by, key) => products(t, by).set(key, 2, { backupAcks: 1 }), 2],
    ['setMany', (t, by, key) => products(t, by).setMany([[key, 2, { backupAcks: 'all' }]]), 2],
    ['update', (t, by, key) => products(t, by).update(key, () => 2, { backupAcks: 1 }), 2],
    ['delete', (t, by, key) => products(t, by).delete(key), undefined]
  ])('(%s) outlives its owner, killed in the next moment', async (_, change, expected) => {
    for (let seed = 8200; seed < 8206; seed++) {
      const t = await story(seed, 4)
      const key = `key-${seed}`
      const [owner, backup] = holdersIn(t)(key) as [number, number]
      const by = another(t, owner)
      await t.until(products(t, by).set(key, 1, { backupAcks: 'all' }))
      await t.until(change(t, by, key))
      t.crash(owner)
      expect(await t.until(products(t, another(t, owner, backup)).get(key)), `seed ${seed}`).toBe(expected)
      await t.run('8s')
      expect(await t.until(products(t, another(t, owner)).get(key)), `seed ${seed}, later`).toBe(expected)
    }
  })

  it('outlives as many members as it has waited for', async () => {
    const t = await story(8210, 5, { backups: 2, backupAcks: 'all' })
    const key = 'one'
    const [owner, first, second] = holdersIn(t)(key) as [number, number, number]
    await t.until(products(t, another(t, owner, first, second)).set(key, 1))
    t.crash(owner)
    t.crash(first)
    expect(await t.until(products(t, second).get(key))).toBe(1)
  })

  it('an add is counted once, and outlives the owner', async () => {
    const t = await story(8211, 3, { backupAcks: 1 })
    const counter = (index: number) => hits(t, index, { backupAcks: 1 })
    for (let i = 0; i < 5; i++) await t.until(counter(i % 3).add('k'))
    for (const index of [0, 1]) {
      t.crash(index)
      await t.run('8s')
      expect(await t.until(counter(2).get('k'))).toBe(5)
    }
  })
})

describe('with too few members for it', () => {
  it.each([
    ['a number', 1, 1],
    ['a majority', 'quorum' as const, 1]
  ])('%s is never reached, and the change was made', async (_, backupAcks, wanted) => {
    const t = await story(8220, 1, { backupAcks })
    const beganMs = t.now
    const error = await errorOf(t, products(t, 0).set('k', 1))
    // Known at once: nobody who could come would be waited for.
    expect(t.now - beganMs).toBeLessThan(100)
    expect(error).toBeInstanceOf(BackupsError)
    expect(error).toMatchObject({ written: true, acked: 0, wanted, missing: [], retryable: true })
    expect(await t.until(products(t, 0).get('k'))).toBe(1)
    const added = await errorOf(t, hits(t, 0, { backupAcks }).add('k'))
    expect(added).toMatchObject({ code: 'ERR_MESH_BACKUPS', written: true, retryable: false })
    expect(await t.until(hits(t, 0, { backupAcks }).get('k'))).toBe(1)
    await t.until(products(t, 0).set('k', 2, { backupAcks: 0 }))
    await t.until(products(t, 0).delete('k'))
  })

  it("'all' is those that are here", async () => {
    const alone = await story(8221, 1, { backupAcks: 'all' })
    await alone.until(products(alone, 0).set('k', 1))
    const two = await story(8222, 2, { backups: 3, backupAcks: 'all' })
    await two.until(products(two, 0).setMany(times(20, i => [`key-${i}`, i])))
    two.crash(1)
    expect(await two.until(products(two, 0).getMany(times(20, i => `key-${i}`)))).toEqual(times(20, i => i))
  })

  it('the one that does not answer is named, and the change stays and spreads', async () => {
    const t = await story(8223, 3)
    const [key] = keysHeldBy(t, 1, 0, 1) as [string]
    t.pause(1)
    const error = await errorOf(t, products(t, 2).set(key, 1, { backupAcks: 1, timeout: '500ms' }))
    expect(error).toMatchObject({ code: 'ERR_MESH_BACKUPS', written: true, acked: 0, wanted: 1, missing: ['member-1'] })
    t.resume(1)
    expect(await t.until(products(t, 2).flush())).toEqual({ acked: 1 })
    t.crash(0)
    expect(await t.until(products(t, 2).get(key))).toBe(1)
  })

  it('a delete waits for every backup, and names the one that has not heard of it', async () => {
    const t = await story(8224, 3)
    const [key] = keysHeldBy(t, 1, 0, 1) as [string]
    await t.until(products(t, 2).set(key, 1, { backupAcks: 1 }))
    t.pause(1)
    const error = await errorOf(t, products(t, 2).delete(key, { timeout: '500ms' }))
    expect(error).toMatchObject({ written: true, acked: 0, wanted: 1, missing: ['member-1'], retryable: true })
    expect(error.message).toContain('delete again')
    t.resume(1)
    expect(await t.until(products(t, 2).delete(key))).toBe(false)
    t.crash(0)
    expect(await t.until(products(t, 2).get(key))).toBeUndefined()
  })
})

describe('flush', () => {
  it('waits for what was ours a moment ago, until its owner of now has it', async () => {
    for (let seed = 8260; seed < 8266; seed++) {
      const t = await story(seed, 4, { backups: 1 })
      const keys = times(60, i => `alone-${i}`).filter(key => !holdersIn(t)(key).slice(0, 2).includes(3))
      t.cut([3], [0, 1, 2])
      await t.run('15s')
      await t.until(products(t, 3).setMany(keys.map(key => [key, 1] as const)))
      t.heal()
      while (mesh(t, 3).members.length < 4) await t.run('10ms')
      await t.until(products(t, 3).flush({ backupAcks: 1 }))
      t.crash(3)
      await t.run('8s')
      expect(await t.until(products(t, 0).getMany(keys)), `seed ${seed}`).toEqual(keys.map(() => 1))
    }
  })

  const KEYS = times(200, i => `key-${i}`)

  it('resolves when what this member wrote is copied: then no single death costs anything of it', async () => {
    for (let seed = 8230; seed < 8234; seed++) {
      const t = await story(seed, 4)
      await t.until(products(t, 0).setMany(KEYS.map((key, i) => [key, i])))
      expect(await t.until(products(t, 0).flush())).toEqual({ acked: 1 })
      t.crash(1 + (seed % 3))
      expect(await t.until(products(t, 0).getMany(KEYS)), `seed ${seed}`).toEqual(times(KEYS.length, i => i))
    }
  })

  it('of a counter and of as many as are asked for', async () => {
    const t = await story(8235, 4, { backups: 2 })
    const counter = hits(t, 0, { backups: 2 })
    for (const key of KEYS.slice(0, 20)) await t.until(counter.add(key))
    expect(await t.until(counter.flush({ backupAcks: 1 }))).toMatchObject({ acked: 1 })
    for (const key of KEYS.slice(0, 20)) await t.until(counter.add(key))
    expect(await t.until(counter.flush())).toEqual({ acked: 2 })
    t.crash(1)
    t.crash(2)
    for (const key of KEYS.slice(0, 20)) expect(await t.until(counter.get(key))).toBe(2)
  })

  it('where there are too few says so, and all that are here are enough', async () => {
    const t = await story(8236, 1)
    await t.until(products(t, 0).set('k', 1))
    const error = await errorOf(t, products(t, 0).flush({ timeout: '1s' }))
    expect(error).toMatchObject({ code: 'ERR_MESH_BACKUPS', written: true, acked: 0, wanted: 1, missing: ['member-0'] })
    await t.until(products(t, 0).flush({ backupAcks: 'all' }))
    expect(await t.until(products(t, 0).flush({ backupAcks: 0 }))).toEqual({ acked: 0 })
  })

  it('after an owner has died does not know, says so once, and goes on', async () => {
    const t = await story(8237, 3)
    await t.until(products(t, 0).setMany(KEYS.map((key, i) => [key, i])))
    t.crash(1)
    await t.run('8s')
    const error = await errorOf(t, products(t, 0).flush())
    expect(error).toMatchObject({ written: false, outcome: 'unknown', missing: ['member-1'], retryable: false })
    await t.until(products(t, 0).set('k', 1))
    expect(await t.until(products(t, 0).flush())).toEqual({ acked: 1 })
  })

  it('waits while a backup stands still, and ends by the timeout of the call', async () => {
    const t = await story(8238, 2)
    t.pause(1)
    const [key] = keysHeldBy(t, 1, 0, 1) as [string]
    await t.until(products(t, 0).set(key, 1))
    const flushed = watch(t, products(t, 0).flush())
    await t.run('200ms')
    expect(flushed.state).toBe('pending')
    expect(await errorOf(t, products(t, 0).flush({ timeout: '300ms' }))).toMatchObject({ acked: 0, wanted: 1 })
    t.resume(1)
    expect(await t.until(flushed.promise)).toEqual({ acked: 1 })
  })
})
