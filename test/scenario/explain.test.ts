import { describe, expect, it } from 'vitest'
import { errorOf, formed, keyOf, mesh, watch } from './story.ts'

describe('explain', () => {
  it('tells of a key from beginning to end, whoever asks', async () => {
    const origin = { down: false }
    const t = await formed(3, {
      seed: 990,
      start: member =>
        member.cache('products', {
          ttl: '10s',
          jitter: 0,
          staleIfError: '1m',
          errorBackoff: '2s',
          load: async (id: string, { store }) => {
            store({ tags: [id] })
            await t.sleep('500ms')
            if (origin.down) throw new Error('down')
            return { id }
          }
        })
    })
    // Each member has its table now, and for a while the owner before is asked first, which would be told too.
    for (const one of t.meshes) one.stats()
    await t.run('30s')
    const key = keyOf(t, 0)
    const owner = mesh(t, 0).id
    const cache = mesh(t, 1).cache<{ id: string }>('products')
    const explain = (by = 2) => t.until(mesh(t, by).cache('products').explain(key))

    expect(await explain()).toMatchObject({
      owner,
      replicas: [owner, expect.any(String)],
      entry: undefined,
      fill: undefined,
      lastEvents: []
    })

    const first = watch(t, cache.get(key))
    await t.run('100ms')
    const during = await explain()
    expect(during.fill).toMatchObject({ member: owner, waiters: 1, reason: 'miss' })
    expect(during.fill?.ms).toBeGreaterThan(80)
    expect(during.origin).toMatchObject({ running: 1, queued: 0, breaker: 'closed' })
    await t.run('1s')
    expect(first.value).toEqual({ id: key })

    const entry = await t.until(cache.getEntry(key))
    const stored = await explain(0)
    const { version, expiresAt, tags } = entry ?? {}
    expect(stored.entry).toMatchObject({ version, tags, stale: false, negative: false })
    expect(Math.abs((stored.entry?.expiresAt ?? 0) - (expiresAt ?? 0))).toBeLessThan(10_000)
    expect(stored.entry?.overAt).toBe((stored.entry?.expiresAt ?? 0) + 60_000)
    expect(stored.lastEvents.map(({ what }) => what)).toEqual([
      'load begun here, miss',
      'loaded here, kept for 10000 ms'
    ])

    origin.down = true
    await t.run('10s')
    expect(await t.until(cache.get(key))).toEqual({ id: key })
    expect(await t.until(cache.get(key))).toEqual({ id: key })
    const failed = await explain()
    expect(failed).toMatchObject({
      entry: { stale: true },
      backOff: { failures: 1 },
      mayExist: true,
      storePending: false
    })
    expect(failed.backOff?.why).toMatch(/down/)
    expect(failed.lastEvents.map(({ what }) => what.replace(/\d+ ms left/, 'some left')).slice(2)).toEqual([
      'load begun here, miss',
      'load here failed: down',
      'not loaded: its last load failed, some left'
    ])
    expect(failed.lastEvents.every(({ at }, i, all) => i === 0 || at >= (all[i - 1]?.at ?? 0))).toBe(true)

    await t.until(cache.delete(key))
    const gone = await explain()
    expect(gone.entry).toBeUndefined()
    expect(gone.deletedAt).toBeGreaterThan(0)
    expect(gone.backOff).toBeUndefined()
  })

  it('keeps within its message, however long the story of a failure is', async () => {
    const t = await formed(2, {
      seed: 992,
      start: member =>
        member.cache('products', {
          ttl: '1h',
          errorBackoff: '5s',
          load: () => Promise.reject(new Error('é'.repeat(1_500), { cause: new Error('ü'.repeat(1_500)) }))
        })
    })
    const key = keyOf(t, 0)
    await errorOf(t, mesh(t, 1).cache('products').get(key))
    const { backOff } = await t.until(mesh(t, 1).cache('products').explain(key))
    expect(backOff?.why).toMatch(/^The last load of this key failed \(é+/)
    expect(backOff?.why).not.toContain('\n')
    expect(t.meshes.map(one => one.stats().linksRefusedTotal)).toEqual([0, 0])
  })

  it('refuses what is no key, and says so when nobody can be asked', async () => {
    const t = await formed(2, {
      seed: 991,
      options: { weight: 0 },
      start: member => member.cache('products', { ttl: '1h' })
    })
    const cache = mesh(t, 0).cache('products')
    expect((await errorOf(t, cache.explain(''))).code).toBe('ERR_MESH_KEY')
    expect((await errorOf(t, cache.explain('k'))).code).toBe('ERR_MESH_UNAVAILABLE')
  })
})
