import { afterEach, describe, expect, it, vi } from 'vitest'
import type { Mesh } from '../../lib/mesh.ts'
import { hash52, saltOf } from '../../lib/placement/hash.ts'
import { PARTITIONS } from '../../lib/placement/partitions.ts'
import type { LinkEvents } from '../../lib/ports/transport.ts'
import { Replication } from '../../lib/replication/replication.ts'
import { FrameBuilder } from '../../lib/rpc/frame.ts'
import type { MessageOf } from '../../lib/rpc/messages.ts'
import { Process } from '../../lib/sim/world.ts'
import { type Cluster, cluster } from '../../lib/testing.ts'
import { record } from '../member-record.ts'
import { errorOf, formed, keyOf, mesh, ownerOf, times, watch, weighing } from './story.ts'

afterEach(() => void vi.restoreAllMocks())

const declare = (member: Mesh): unknown => member.cache('products', { ttl: '1h', load: (id: string) => `row ${id}` })

const seen = (t: Cluster): number[] => t.meshes.map(({ members }) => members.length)

async function readAll(t: Cluster, indexes: readonly number[]): Promise<void> {
  const keys = times(40, i => `k${i}`)
  for (const index of indexes)
    expect(await t.until(mesh(t, index).cache('products').getMany(keys))).toEqual(keys.map(key => `row ${key}`))
}

describe('a mesh', () => {
  it.each([1, 2, 3, 8])('of %i members finds itself within 3 s', async size => {
    const t = await formed(size, { seed: 800 + size })
    expect(seen(t)).toEqual(times(size, () => size))
    await t.until(Promise.all(t.meshes.map(member => member.ready({ members: size, timeout: '5s' }))))
  })

  it('finds itself without a single gossip message', async () => {
    const t = await formed(5, { seed: 809, faults: { gossipLoss: 1 } })
    expect(seen(t)).toEqual([5, 5, 5, 5, 5])
    t.crash(4)
    await t.run('5s')
    expect(seen(t).slice(0, 4)).toEqual([4, 4, 4, 4])
  })

  it('serves all while it forms, and none hangs', async () => {
    const t = cluster(4, { seed: 810, start: declare })
    const reads = times(100, i =>
      t.sleep(i * 5).then(() =>
        mesh(t, i % 4)
          .cache('products')
          .get(`k${i}`)
      )
    )
    expect(await t.until(Promise.all(reads))).toEqual(times(100, i => `row k${i}`))
  })

  it('says why it is not ready', async () => {
    const t = await formed(2, { seed: 811 })
    const error = await errorOf(t, mesh(t, 0).ready({ members: 3, timeout: '1s' }))
    expect(error.code).toBe('ERR_MESH_TIMEOUT')
    expect(error.message).toContain('2 of 3 members are here')
  })

  it('is ready when so much of what a member owns is there as is asked for', async () => {
    const t = await formed(2, { seed: 812 })
    const share = vi.spyOn(Replication.prototype, 'warmShare').mockReturnValue(0.5)
    await t.until(Promise.all([mesh(t, 0).ready(), mesh(t, 0).ready({ warm: 0.5 })]))
    const error = await errorOf(t, mesh(t, 0).ready({ warm: 0.9, timeout: '1s' }))
    expect(error.code).toBe('ERR_MESH_TIMEOUT')
    expect(error.message).toContain('50 % are here in full, and ready waits for 90 %')
    const gaveUp = new AbortController()
    const aborted = watch(t, mesh(t, 0).ready({ warm: 0.9, signal: gaveUp.signal }))
    const ready = watch(t, mesh(t, 0).ready({ warm: 0.9 }))
    await t.run('5s')
    expect([ready.state, aborted.state]).toEqual(['pending', 'pending'])
    gaveUp.abort(new Error('enough'))
    expect((await errorOf(t, aborted.promise)).message).toBe('enough')
    share.mockReturnValue(0.9)
    await t.until(ready.promise)
    const late = watch(t, mesh(t, 0).ready({ warm: 1 }))
    await t.until(mesh(t, 0).leave())
    expect((await errorOf(t, late.promise)).code).toBe('ERR_MESH_LEFT')
  })
})

describe('a member that leaves', () => {
  it('is gone for the others at once, and they take over', async () => {
    const t = await formed(3, { seed: 820, start: declare })
    await readAll(t, [0, 1, 2])
    const left: string[] = []
    mesh(t, 0).on('leave', member => left.push(member.id))
    await t.until(mesh(t, 2).leave())
    expect(mesh(t, 2).state).toBe('left')
    expect(mesh(t, 0).members).toHaveLength(2)
    expect(mesh(t, 1).members).toHaveLength(2)
    expect(left).toEqual(['member-2'])
    await readAll(t, [0, 1])
    await t.run('30s')
    expect(seen(t).slice(0, 2)).toEqual([2, 2])
  })

  it('answers every later call with ERR_MESH_LEFT, and may be told to leave twice', async () => {
    const t = await formed(2, { seed: 821, start: declare })
    const cache = mesh(t, 1).cache<string>('products')
    const [left, again] = await t.until(Promise.all([mesh(t, 1).leave(), mesh(t, 1).leave()]))
    expect(left).toEqual({ partitions: 0, records: 0, bytes: 0, left: { partitions: 0, records: 0 } })
    expect(again).toEqual(left)
    expect(mesh(t, 1).state).toBe('left')
    const calls = [
      () => cache.get('k'),
      () => cache.getMany(['k']),
      () => cache.has('k'),
      () => cache.set('k', 'v'),
      () => cache.delete('k'),
      () => cache.getOrSet('k', () => 'v'),
      () => mesh(t, 1).ready()
    ]
    for (const call of calls) expect((await errorOf(t, call())).code).toBe('ERR_MESH_LEFT')
    expect(() => mesh(t, 1).cache('other', { ttl: '1h' })).toThrowError(/has left the mesh/)
    await t.until(mesh(t, 1).leave())
  })

  it('still serves its own callers while it leaves, through the others', async () => {
    const t = await formed(3, { seed: 822, start: declare })
    const leaving = mesh(t, 2).leave()
    const reads = times(30, i => mesh(t, 2).cache('products').get(`k${i}`))
    expect(await t.until(Promise.all(reads))).toEqual(times(30, i => `row k${i}`))
    await t.until(leaving)
  })

  it('leaves nobody waiting for a load it was running', async () => {
    const t: Cluster = await formed(3, {
      seed: 823,
      start: member => member.cache('products', { ttl: '1h', load: () => t.sleep('3s').then(() => 'row') })
    })
    const key = keyOf(t, 2)
    const waiting = times(3, i => watch(t, mesh(t, i).cache('products').get(key)))
    await t.run('1s')
    await t.until(mesh(t, 2).leave())
    await t.run('20s')
    expect(waiting.map(({ value }) => value)).toEqual(['row', 'row', 'row'])
  })

  it('without anybody to tell is gone at once', async () => {
    const t = await formed(1, { seed: 824 })
    await t.until(mesh(t, 0).leave(), '1s')
    expect(mesh(t, 0).state).toBe('left')
  })

  it('goes in spite of others that do not answer, at its deadline', async () => {
    const t = await formed(3, { seed: 825 })
    t.pause(0)
    t.pause(1)
    await t.until(mesh(t, 2).leave({ deadline: '500ms' }), '600ms')
    expect(mesh(t, 2).state).toBe('left')
  })
})

describe('a split', () => {
  it('leaves both sides serving, and heals into one view', async () => {
    const t = await formed(5, { seed: 830, start: declare })
    t.cut([0, 1], [2, 3, 4])
    await t.run('15s')
    expect(seen(t)).toEqual([2, 2, 3, 3, 3])
    await readAll(t, [0, 1, 2, 3, 4])
    t.heal()
    await t.run('15s')
    expect(seen(t)).toEqual([5, 5, 5, 5, 5])
    await t.until(Promise.all(t.meshes.map(member => member.ready({ timeout: '5s' }))))
    await readAll(t, [0, 1, 2, 3, 4])
  })

  it('of an hour heals as well', async () => {
    const t = await formed(3, { seed: 831 })
    t.cut([0], [1, 2])
    await t.run('10m')
    expect(seen(t)).toEqual([1, 2, 2])
    t.heal()
    await t.run('60s')
    expect(seen(t)).toEqual([3, 3, 3])
  })

  it('settles every call that was under way', async () => {
    const t: Cluster = await formed(4, {
      seed: 832,
      start: member => member.cache('products', { ttl: '1h', load: () => t.sleep('1s').then(() => 'row') })
    })
    const reads = times(80, i =>
      watch(
        t,
        mesh(t, i % 4)
          .cache('products')
          .get(`k${i}`)
      )
    )
    const writes = times(40, i =>
      watch(
        t,
        mesh(t, i % 4)
          .cache('products')
          .set(`w${i}`, 'v')
      )
    )
    await t.run(1)
    t.cut([0, 1], [2, 3])
    await t.run('20s')
    expect([...reads, ...writes].filter(({ state }) => state === 'pending')).toEqual([])
  })

  it('one way leaves no call hanging, and heals', async () => {
    const t = await formed(3, { seed: 833, start: declare })
    t.cutOneWay([0], [1])
    for (let i = 0; i < 20; i++) {
      const reads = times(6, j =>
        watch(
          t,
          mesh(t, j % 3)
            .cache('products')
            .get(`k${i}-${j}`)
        )
      )
      await t.run('3s')
      expect(reads.filter(({ state }) => state === 'pending')).toEqual([])
    }
    t.heal()
    await t.run('20s')
    expect(seen(t)).toEqual([3, 3, 3])
    await readAll(t, [0, 1, 2])
  })
})

describe('a member', () => {
  it('restarted under its name is a new one: what it held is had from its backup, and not loaded again', async () => {
    let calls = 0
    const t = await formed(3, {
      seed: 840,
      start: member => member.cache('products', { ttl: '1h', load: () => ++calls })
    })
    const key = keyOf(t, 0)
    await t.until(mesh(t, 1).cache('products').get(key))
    t.restart(0)
    await t.run('5s')
    expect(seen(t)).toEqual([3, 3, 3])
    expect(await t.until(mesh(t, 2).cache('products').get(key))).toBe(1)
    expect(await t.until(mesh(t, 0).cache('products').get(key))).toBe(1)
  })

  it('restarted ten times in a row is one member in the end', async () => {
    const t = await formed(3, { seed: 841, start: declare })
    for (let i = 0; i < 10; i++) {
      t.restart(0)
      await t.run(i * 70)
    }
    await t.run('10s')
    expect(seen(t)).toEqual([3, 3, 3])
    await readAll(t, [0, 1, 2])
  })

  it('paused for longer than the silence limit is left out, and comes back when it goes on', async () => {
    const t = await formed(3, { seed: 842, start: declare })
    await readAll(t, [0])
    t.pause(2)
    await t.run('15s')
    expect(seen(t).slice(0, 2)).toEqual([2, 2])
    await readAll(t, [0, 1])
    t.resume(2)
    await t.run('15s')
    expect(seen(t)).toEqual([3, 3, 3])
    await readAll(t, [0, 1, 2])
  })

  it('paused for a moment loses nothing', async () => {
    const t = await formed(3, { seed: 843, start: declare })
    let left = 0
    for (const member of t.meshes) member.on('leave', () => left++)
    for (let i = 0; i < 5; i++) {
      t.pause(2)
      await t.run('2500ms')
      t.resume(2)
      await t.run('2s')
    }
    expect(left).toBe(0)
  })

  it('of weight 0 owns nothing and reads and writes all the same', async () => {
    const t = await weighted(850, [1, 1, 0])
    expect(mesh(t, 2).stats().partitionsOwned).toBe(0)
    await readAll(t, [2, 0])
    await t.until(mesh(t, 2).cache<string>('products').set('k', 'set'))
    expect(await t.until(mesh(t, 0).cache('products').get('k'))).toBe('set')
    expect(mesh(t, 2).stats().records).toBe(0)
  })

  it('of weight 2 owns about twice what the others own, and all agree on who owns what', async () => {
    const t = await weighted(851, [1, 2, 1])
    const owned = t.meshes.map(member => member.stats().partitionsOwned)
    expect(owned.reduce((sum, one) => sum + one, 0)).toBe(PARTITIONS)
    expect((owned[1] as number) / PARTITIONS).toBeCloseTo(0.5, 1)
    for (const key of times(50, i => `k${i}`))
      expect(new Set([0, 1, 2].map(by => ownerOf(t, key, { by }))).size).toBe(1)
  })

  it('in a mesh where nobody owns anything loads for itself and cannot write', async () => {
    const t = await weighted(852, [0, 0])
    expect(await t.until(mesh(t, 1).cache('products').get('k'))).toBe('row k')
    expect((await errorOf(t, mesh(t, 1).cache<string>('products').set('k', 'v'))).code).toBe('ERR_MESH_UNAVAILABLE')
    expect(mesh(t, 1).stats().loadsUnstoredTotal).toBe(1)
  })

  it('that joins takes its share, and every member answers the same afterwards', async () => {
    const t = await formed(3, { seed: 853, start: declare })
    t.crash(2)
    await t.run('5s')
    await readAll(t, [0])
    t.restart(2)
    await t.run('5s')
    await readAll(t, [2, 1, 0])
    expect(mesh(t, 0).stats().recordsMovedAwayTotal + mesh(t, 1).stats().recordsMovedAwayTotal).toBeGreaterThan(0)
  })

  it('with a zone in another script or behind a byte order mark is seen as any other', async () => {
    for (const zone of ['東'.repeat(60), '\ufeffeu']) {
      const t = await formed(2, { seed: 854, options: { zone } })
      await t.until(Promise.all(t.meshes.map(member => member.ready({ members: 2, timeout: '5s' }))))
      expect(mesh(t, 0).members.map(member => member.zone)).toEqual([zone, zone])
    }
  })

  it('whose wall clock is wrong by seconds harms neither order nor expiry', async () => {
    const versions: string[] = []
    const t = await formed(3, { seed: 855, start: declare })
    const walls = t.meshes.map((_, i) => i)
    for (let i = 0; i < 30; i++) {
      versions.push(
        await t.until(
          mesh(t, walls[i % 3] as number)
            .cache<string>('products')
            .set('k', `v${i}`)
        )
      )
      expect(
        await t.until(
          mesh(t, (i + 1) % 3)
            .cache('products')
            .get('k')
        )
      ).toBe(`v${i}`)
    }
    expect([...versions].sort()).toEqual(versions)
    await t.until(mesh(t, 0).cache<string>('products').set('short', 'v', { ttl: '2s' }))
    await t.run('1900ms')
    for (const member of t.meshes) expect(await t.until(member.cache('products').has('short'))).toBe(true)
    await t.run('200ms')
    for (const member of t.meshes) expect(await t.until(member.cache('products').has('short'))).toBe(false)
  })
})

function weighted(seed: number, weights: readonly number[]): Promise<Cluster> {
  return formed(weights.length, { seed, start: declare, options: weighing(weights) })
}

/** Somebody on the same network who speaks the protocol and is not a member. */
class Stranger {
  readonly heard: string[] = []
  readonly #t: Cluster
  readonly #transport

  constructor(t: Cluster, name: string) {
    this.#t = t
    this.#transport = t.network.transport(new Process(name, 0), name, `${name}:1`)
  }

  async meet(index: number): Promise<void> {
    const events: LinkEvents = {
      onUp: () => this.heard.push('up'),
      onDown: (_, reason) => this.heard.push(`down: ${reason}`),
      onFrame: () => {},
      onDrain: () => {}
    }
    await this.#transport.start(events)
    await this.#t.until(this.#transport.connect(`member-${index}:7700`))
  }

  async send(index: number, frame: Uint8Array): Promise<void> {
    this.#transport.send(`member-${index}`, 'data', frame)
    await this.#t.run('1s')
  }
}

function hello(id: string, over: Partial<MessageOf<'hello'>> = {}): MessageOf<'hello'> {
  return {
    type: 'hello',
    mesh: 'sim',
    partitions: PARTITIONS,
    placement: hash52('placement', saltOf('sim')),
    boot: 1,
    record: record(id),
    ...over
  }
}

function frame(message: MessageOf<'hello'> | MessageOf<'absent'>, clockMs = 0): Uint8Array {
  const builder = new FrameBuilder()
  builder.add(0, message)
  return builder.finish({ clockMs, viewHash: 0 })
}

describe('a stranger on the network', () => {
  it.each([
    ['of another mesh', frame(hello('stranger', { mesh: 'other' })), "belongs to the mesh 'other'"],
    ['with other partitions', frame(hello('stranger', { partitions: 1024 })), 'has 1024 partitions'],
    ['that places keys otherwise', frame(hello('stranger', { placement: 1 })), 'places keys differently'],
    ['under a name it has not proved', frame(hello('member-1')), 'not the id it proved'],
    ['that does not greet', frame({ type: 'absent' }), 'began with absent instead of hello'],
    ['that says something else', Uint8Array.of(1, 2, 3), 'malformed bytes'],
    ['of another wire version', Uint8Array.of(0xca, 99, ...new Array(40).fill(0)), 'wire version 99'],
    ['whose clock is a day ahead', frame(hello('stranger'), 2e12), 'clock is over a minute ahead']
  ])('%s is refused with the reason, and nobody else notices', async (_, bytes, reason) => {
    const t = await formed(2, { seed: 860, start: declare })
    await t.until(mesh(t, 0).cache<string>('products').set('k', 'v'))
    await t.until(mesh(t, 1).cache<string>('products').set('l', 'v'))
    const stranger = new Stranger(t, 'stranger')
    await stranger.meet(0)
    await stranger.send(0, bytes)
    expect(stranger.heard.at(-1)).toContain(reason)
    expect(seen(t)).toEqual([2, 2])
    expect(mesh(t, 0).stats().linksRefusedTotal).toBe(1)
    await readAll(t, [0, 1])
  })

  it('that greets rightly is a member', async () => {
    const t = await formed(2, { seed: 861 })
    const stranger = new Stranger(t, 'stranger')
    await stranger.meet(0)
    await stranger.send(0, frame(hello('stranger')))
    expect(mesh(t, 0).members).toHaveLength(3)
  })

  it('that says nothing at all does not keep its link', async () => {
    const t = await formed(2, { seed: 862 })
    const stranger = new Stranger(t, 'stranger')
    await stranger.meet(0)
    await t.run('30s')
    expect(stranger.heard.at(-1)).toContain('down')
  })

  it.each([
    ['an endless weight', { weight: Number.POSITIVE_INFINITY }],
    ['a negative weight', { weight: -1 }]
  ])('with %s cannot make the members disagree', async (_, over) => {
    const t = await formed(2, { seed: 863, start: declare })
    const stranger = new Stranger(t, 'stranger')
    await stranger.meet(0)
    const greeting = hello('stranger')
    await stranger.send(0, frame({ ...greeting, record: { ...greeting.record, ...over } }))
    await t.run('30s')
    await readAll(t, [0, 1])
    expect(seen(t)).toEqual([2, 2])
  })
})
