/** A new primary looks for a key at those who had it, and does not hear them for a moment: the origin is not asked for that. */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Replication } from '../../lib/replication/replication.ts'
import { CallFailed, Client } from '../../lib/rpc/client.ts'
import { formed, mesh, times, watch } from './story.ts'

afterEach(() => void vi.restoreAllMocks())

describe('a look at members that had a key', () => {
  it('is repeated where the first is not answered in time', async () => {
    let calls = 0
    const load = async (key: string): Promise<string> => {
      calls++
      return `loaded ${key}`
    }
    const t = await formed(3, {
      seed: 8220,
      start: member => member.cache('products', { ttl: '1h', backups: 1, load })
    })
    t.crash(2)
    await t.run('15s')
    const products = mesh(t, 0).cache<string>('products')
    const keys = times(300, i => `key-${i}`)
    await t.until(products.setMany(keys.map(key => [key, `set ${key}`] as const)))
    // Answers to a first look lie unread while the loop stands still.
    const { begin } = Client.prototype
    const looks = new Map<string, number>()
    vi.spyOn(Client.prototype, 'begin').mockImplementation(function (this: Client, peer, message, terms, onReply) {
      if (message.type === 'peek' && !looks.has(message.key)) looks.set(message.key, t.now)
      const isFirst = message.type === 'peek' && looks.get(message.key) === t.now
      // Nor is anybody's load followed, which would bring the value as well.
      const isUnheard = isFirst || message.type === 'follow'
      return begin.call(this, peer, message, terms, reply =>
        onReply(isUnheard ? new CallFailed('timeout', true) : reply)
      )
    })
    t.restart(2)
    while (mesh(t, 0).members.length < 3) await t.run(20)
    const found = await t.until(Promise.all(keys.map(key => products.get(key))))
    expect(looks.size).toBeGreaterThan(20)
    expect(found).toEqual(keys.map(key => `set ${key}`))
    expect(calls).toBe(0)
  })
})

describe('two members that come at once and look at each other', () => {
  /** How long the longest read at either of them took, in the mesh's time. */
  async function longestMs(): Promise<number> {
    const t = await formed(4, { seed: 8221, start: member => member.cache('products', { ttl: '1h', backups: 0 }) })
    for (const index of [2, 3]) t.crash(index)
    await t.run('15s')
    const keys = times(300, i => `key-${i}`)
    const first = mesh(t, 0).cache<string>('products')
    await t.until(first.setMany(keys.map(key => [key, `set ${key}`] as const)))
    for (const index of [2, 3]) t.restart(index)
    while ([2, 3].some(index => mesh(t, index).members.length < 4)) await t.run(5)
    const beganMs = t.now
    const reads = [2, 3].flatMap(index => keys.map(key => watch(t, mesh(t, index).cache<string>('products').get(key))))
    await t.run('10s')
    expect(reads.map(({ value }) => value)).toEqual([...keys, ...keys].map(key => `set ${key}`))
    return Math.max(...reads.map(({ atMs }) => atMs - beganMs))
  }

  it('do not wait for each other', async () => {
    expect(await longestMs()).toBeLessThan(200)
  })

  it('would, if a look were answered only by who has everything itself', async () => {
    const { handle } = Replication.prototype
    vi.spyOn(Replication.prototype, 'handle').mockImplementation(function (this: Replication, peer, request, respond) {
      if (request.type !== 'peek' || this.partitionsWarming === 0) handle.call(this, peer, request, respond)
    })
    expect(await longestMs()).toBeGreaterThan(200)
  })
})
