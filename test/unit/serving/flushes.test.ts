import { describe, expect, it } from 'vitest'
import type { MeshError } from '../../../lib/base/errors.ts'
import { CallFailed, type Client } from '../../../lib/rpc/client.ts'
import type { MessageOf, Reply } from '../../../lib/rpc/messages.ts'
import { ACKS_ALL } from '../../../lib/rpc/words.ts'
import { Flushes, type Held } from '../../../lib/serving/flushes.ts'
import { Routes, type RoutesDeps } from '../../../lib/serving/routes.ts'
import { MeshClock } from '../../../lib/store/version.ts'
import { ManualClock } from '../rpc/manual-clock.ts'

const ABOUT = { name: 'c', namespace: 'n', backups: 2 }
const TIMEOUT_MS = 1_000

interface Asked {
  readonly peer: string
  readonly ask: MessageOf<'flush'>
  readonly timeoutMs: number
  answer(reply: Reply | CallFailed): void
}

/** A member `self` among a, b and c; a test answers for the others and lets them come and go. */
class World {
  readonly clock = new ManualClock()
  readonly meshClock = new MeshClock(this.clock)
  readonly boots = new Map([...'abc', 'self'].map(id => [id, 1]))
  readonly unlinked = new Set<string>()
  /** How often it was asked whether a process is still here. */
  looks = 0
  readonly asked: Asked[] = []
  readonly here: { backupAcks: number; untilMs: number; answer(held: Held): void }[] = []
  readonly routes = new Routes({
    self: 'self',
    clock: this.clock,
    isReachable: (peer: string) => !this.unlinked.has(peer)
  } as unknown as RoutesDeps)
  readonly flushes = new Flushes({
    routes: this.routes,
    meshClock: this.meshClock,
    client: { call: (...given: never[]) => this.#call(...(given as unknown as CallArguments)) } as unknown as Client,
    bootOf: peer => {
      this.looks++
      return this.boots.get(peer)
    },
    flushHere: (backupAcks, untilMs) =>
      new Promise(resolve => {
        this.here.push({ backupAcks, untilMs, answer: resolve })
      })
  })

  #call(peer: string, ask: MessageOf<'flush'>, { timeoutMs }: { timeoutMs: number }): { reply: Promise<Reply> } {
    const reply = new Promise<Reply>((resolve, reject) => {
      const answer = (end: Reply | CallFailed): void => (end instanceof CallFailed ? reject(end) : resolve(end))
      this.asked.push({ peer, ask, timeoutMs, answer })
    })
    return { reply }
  }

  took(...peers: string[]): void {
    for (const peer of peers) this.flushes.took('n', peer)
  }

  flush(backupAcks = 2): Promise<number | MeshError> {
    return this.flushes.flush(ABOUT, backupAcks, TIMEOUT_MS).catch((error: MeshError) => error)
  }

  /** Who has been asked, since the last time. */
  peers(): string[] {
    return this.asked.map(({ peer }) => peer)
  }

  async answer(peer: string, reply: Reply | CallFailed): Promise<void> {
    const at = this.asked.findIndex(one => one.peer === peer)
    this.asked.splice(at, 1)[0]?.answer(reply)
    await turn()
  }
}

type CallArguments = [string, MessageOf<'flush'>, { timeoutMs: number }]

const held = (acked: number, wanted = 2): Reply => ({ type: 'flushed', acked, wanted })
const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

describe('a flush', () => {
  it('asks each member that has taken a change, and nobody twice for the same', async () => {
    const world = new World()
    world.took('a', 'b', 'a')
    const flushed = world.flush()
    expect(world.peers()).toEqual(['a', 'b'])
    expect(world.asked[0]?.ask.backupAcks).toBe(2)
    await world.answer('a', held(3))
    await world.answer('b', held(2))
    expect(await flushed).toBe(2)
    expect(await world.flush()).toBe(2)
    expect(world.peers()).toEqual([])
  })

  it('asks this very member by itself', async () => {
    const world = new World()
    world.took('self')
    const flushed = world.flush(1)
    world.here[0]?.answer({ acked: 1, wanted: 1 })
    expect(await flushed).toBe(1)
    expect(world.peers()).toEqual([])
  })

  it('is over at once where nothing was written, or no backup is wanted', async () => {
    const world = new World()
    expect(await world.flush(1)).toBe(1)
    expect(await world.flush(ACKS_ALL)).toBe(2)
    world.took('a')
    expect(await world.flush(0)).toBe(0)
    expect(await world.flushes.flush({ ...ABOUT, backups: 0 }, ACKS_ALL, TIMEOUT_MS)).toBe(0)
    expect(world.peers()).toEqual([])
  })

  it('of one cache does not ask about another', async () => {
    const world = new World()
    world.flushes.took('other', 'a')
    expect(await world.flush()).toBe(2)
    expect(world.peers()).toEqual([])
  })

  it('leaves time for the answer to come back', async () => {
    const world = new World()
    world.took('a')
    void world.flush()
    expect(world.asked[0]?.timeoutMs).toBe(TIMEOUT_MS)
    expect(world.asked[0]?.ask.untilMs).toBe(world.meshClock.now() + TIMEOUT_MS - 200)
  })

  it('asks again for what was changed while it asked', async () => {
    const world = new World()
    world.took('a')
    const flushed = world.flush()
    world.took('a')
    await world.answer('a', held(2))
    expect(await flushed).toBe(2)
    void world.flush()
    expect(world.peers()).toEqual(['a'])
  })

  it('takes fewer backups for enough where there are no more, if all are wanted', async () => {
    const world = new World()
    world.took('a')
    const flushed = world.flush(ACKS_ALL)
    expect(world.asked[0]?.ask.backupAcks).toBe(ACKS_ALL)
    await world.answer('a', held(1, 1))
    expect(await flushed).toBe(1)
  })

  it('of which too few backups have something says who is short, and asks those again', async () => {
    const world = new World()
    world.took('a', 'b')
    const flushed = world.flush()
    await world.answer('a', held(2))
    await world.answer('b', held(1))
    const error = (await flushed) as MeshError
    const told = { written: true, acked: 1, wanted: 2, missing: ['b'], retryable: true, cache: 'c' }
    expect(error).toMatchObject({ code: 'ERR_MESH_BACKUPS', ...told })
    expect(error.outcome).toBeUndefined()
    expect(error.message).toContain('not yet held by 2 backups everywhere, but by 1 at least; short of it at b.')
    void world.flush()
    expect(world.peers()).toEqual(['b'])
  })
})

describe('a member that has taken a change and', () => {
  it('has gone makes the outcome unknown, and is named once', async () => {
    const world = new World()
    world.took('a', 'b')
    world.boots.delete('a')
    const flushed = world.flush()
    expect(world.peers()).toEqual(['b'])
    await world.answer('b', held(2))
    const error = (await flushed) as MeshError
    const told = { written: false, missing: ['a'], acked: 2, wanted: 2, outcome: 'unknown', retryable: false }
    expect(error).toMatchObject({ code: 'ERR_MESH_BACKUPS', ...told })
    expect(error.message).toContain('Members have gone that took changes of this member')
    expect(await world.flush()).toBe(2)
  })

  it('goes while it is asked is one that has gone', async () => {
    const world = new World()
    world.took('a')
    const flushed = world.flush()
    world.boots.delete('a')
    world.unlinked.add('a')
    await world.answer('a', new CallFailed('lost', true))
    expect(await flushed).toMatchObject({ outcome: 'unknown', missing: ['a'] })
  })

  it('was started again is another, also when it has taken a change since', async () => {
    const world = new World()
    world.took('a')
    world.boots.set('a', 2)
    expect(await world.flush()).toMatchObject({ outcome: 'unknown', missing: ['a'] })
    world.took('a')
    world.boots.set('a', 3)
    world.took('a')
    const flushed = world.flush()
    expect(world.peers()).toEqual(['a'])
    await world.answer('a', held(2))
    expect(await flushed).toMatchObject({ outcome: 'unknown', missing: ['a'] })
  })

  it('has lost its link is asked again when it has one', async () => {
    const world = new World()
    world.took('a')
    const flushed = world.flush()
    world.unlinked.add('a')
    await world.answer('a', new CallFailed('lost', true))
    expect(world.peers()).toEqual([])
    world.clock.pass(400)
    world.unlinked.delete('a')
    world.routes.changed()
    await turn()
    expect(world.asked[0]?.timeoutMs).toBe(TIMEOUT_MS - 400)
    await world.answer('a', held(2))
    expect(await flushed).toBe(2)
  })

  it('cannot be reached in time has confirmed nothing, and is remembered', async () => {
    const world = new World()
    world.took('a')
    world.unlinked.add('a')
    const flushed = world.flush()
    world.clock.pass(TIMEOUT_MS)
    await turn()
    expect(await flushed).toMatchObject({ written: true, acked: 0, wanted: 2, missing: ['a'] })
    world.unlinked.delete('a')
    void world.flush()
    expect(world.peers()).toEqual(['a'])
  })

  it.each(['timeout', 'overloaded'] as const)('does not answer (%s) has confirmed nothing', async end => {
    const world = new World()
    world.took('a')
    const flushed = world.flush()
    await world.answer('a', new CallFailed(end, true))
    expect(await flushed).toMatchObject({ written: true, acked: 0, missing: ['a'] })
  })

  it('answers something else is told of, and asked again', async () => {
    const world = new World()
    world.took('a')
    const flushed = world.flush()
    await world.answer('a', { type: 'broken', reason: 'Error while serving flush' })
    expect(await flushed).toMatchObject({ code: 'ERR_MESH_UNAVAILABLE' })
    void world.flush()
    expect(world.peers()).toEqual(['a'])
  })

  it('is one of thousands that came and went is forgotten but for some of their names', async () => {
    const world = new World()
    for (let i = 0; i < 5_000; i++) {
      world.boots.set(`passing ${i}`, 1)
      world.took(`passing ${i}`)
      world.boots.delete(`passing ${i}`)
    }
    world.looks = 0
    const error = (await world.flush()) as MeshError & { missing: string[] }
    expect(world.looks).toBeLessThan(4_096)
    expect(error.outcome).toBe('unknown')
    expect(error.missing).toHaveLength(16)
  })
})
