/**
 * Topics: what one process publishes, every process that listens hears, at most once, also while gossip is lost, doubled
 * and out of order; and nothing that a listener or a publisher does wrong reaches anybody else.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { describe, expect, it } from 'vitest'
import { ByteWriter } from '../../lib/base/bytes.ts'
import { defaultCodec } from '../../lib/codec/values.ts'
import type { Member } from '../../lib/member.ts'
import { TOPIC_MESSAGE_BYTES_MAX, writePublished } from '../../lib/rpc/topic-talk.ts'
import { Process } from '../../lib/sim/world.ts'
import type { Cluster } from '../../lib/testing.ts'
import { WAITING_MAX } from '../../lib/topics/outgoing.ts'
import { LISTENED_MAX } from '../../lib/topics/topics.ts'
import { formed, mesh, times } from './story.ts'

interface Price {
  readonly sku: string
  readonly price: number
}

const topic = <T = unknown>(t: Cluster, by: number, name = 'prices') => mesh(t, by).topic<T>(name)

/** What each member has heard, and of whom. */
function listening(t: Cluster, name = 'prices'): { message: unknown; from: Member }[][] {
  return t.meshes.map((_, i) => {
    const heard: { message: unknown; from: Member }[] = []
    topic(t, i, name).on((message, from) => void heard.push({ message, from }))
    return heard
  })
}

const messagesOf = (heard: readonly { message: unknown }[]): unknown[] => heard.map(({ message }) => message)

function codeOf(call: () => unknown): unknown {
  try {
    return `nothing thrown but ${String(call())}`
  } catch (error) {
    return (error as { code?: string }).code
  }
}

describe('what is published', () => {
  it('is heard by every member that listens, with who published it, and by the publisher itself', async () => {
    const t = await formed(3, { seed: 7001 })
    const heard = listening(t)
    const price = { sku: 'lamp', price: 7, since: new Date(5), tags: new Set(['a']) }
    topic(t, 1).publish(price)
    expect(heard[1]).toEqual([])
    await t.run(50)
    for (const [i, one] of heard.entries()) {
      expect(messagesOf(one)).toEqual([price])
      expect(one[0]?.from).toEqual({ ...mesh(t, 1).members.find(({ self }) => self), self: i === 1 })
      expect(one[0]?.message).not.toBe(price)
    }
    expect(mesh(t, 1).stats()).toMatchObject({ topicMessagesPublishedTotal: 1, topicMessagesHeardTotal: 1 })
    expect(mesh(t, 2).stats()).toMatchObject({ topicMessagesPublishedTotal: 0, topicMessagesHeardTotal: 1 })
  })

  it('is a copy of its own for each listener, also of one member, and undefined is a message', async () => {
    const t = await formed(2, { seed: 7002 })
    const heard: unknown[] = []
    for (const listen of [topic<Price | undefined>(t, 0), topic<Price | undefined>(t, 0)])
      listen.on(message => {
        heard.push(message)
        if (message !== undefined) Object.assign(message, { price: 0 })
      })
    topic(t, 1).publish({ sku: 'lamp', price: 7 })
    topic(t, 1).publish(undefined)
    await t.run(50)
    expect(heard).toEqual([{ sku: 'lamp', price: 0 }, { sku: 'lamp', price: 0 }, undefined, undefined])
    expect(heard[0]).not.toBe(heard[1])
  })

  it('is heard under its own name only, in the order of its publisher while nothing is lost in between', async () => {
    const t = await formed(2, { seed: 7003 })
    const [prices, orders] = [listening(t, 'prices'), listening(t, 'orders')]
    for (const i of times(5, i => i)) {
      topic(t, 0, 'prices').publish(i)
      topic(t, 0, 'orders').publish(`order ${i}`)
    }
    await t.run(50)
    for (const heard of prices) expect(messagesOf(heard)).toEqual([0, 1, 2, 3, 4])
    for (const heard of orders) expect(messagesOf(heard)).toEqual(times(5, i => `order ${i}`))
  })

  it('in one turn travels as one message of gossip', async () => {
    const t = await formed(3, { seed: 7004 })
    const told: number[] = []
    const { pubsub } = listeningTo(t, told)
    const heard = listening(t)
    for (const i of times(500, i => i)) topic(t, 0).publish({ sku: `sku ${i}`, price: i })
    await t.run(50)
    pubsub()
    expect(told).toHaveLength(1)
    expect(heard.map(one => one.length)).toEqual([500, 500, 500])
  })

  it('is heard at most once while gossip is lost, doubled and late, and for the most part it is heard', async () => {
    const faults = { gossipLoss: 0.2, gossipDuplication: 0.5, delayMsMin: 0.2, delayMsMax: 40 }
    const t = await formed(3, { seed: 7005, faults })
    await t.run('5s')
    const heard = listening(t)
    for (const i of times(200, i => i)) {
      topic(t, i % 3).publish(i)
      await t.run(7)
    }
    await t.run('2s')
    for (const [by, one] of heard.entries()) {
      const messages = messagesOf(one) as number[]
      expect(new Set(messages).size).toBe(messages.length)
      expect(messages.length).toBeGreaterThan(120)
      expect(messages.length).toBeLessThan(200)
      // Its own are no gossip.
      expect(messages.filter(i => i % 3 === by)).toHaveLength(times(200, i => i).filter(i => i % 3 === by).length)
    }
    // Out of order as well, or this would be no test of that.
    const orders = heard.map(one => messagesOf(one).map(Number))
    expect(orders.some(order => order.some((i, at) => at > 0 && i < (order[at - 1] as number)))).toBe(true)
    expect(t.meshes.map(one => one.stats().topicGossipRepeatedTotal).every(repeated => repeated > 10)).toBe(true)
  })

  it('goes to nobody on the other side of a split, and is not brought there later', async () => {
    const t = await formed(3, { seed: 7006 })
    const heard = listening(t)
    t.cut([0], [1, 2])
    topic(t, 0).publish('lost')
    await t.run('1s')
    t.heal()
    await t.run('5s')
    topic(t, 0).publish('heard')
    await t.run(50)
    expect(heard.map(messagesOf)).toEqual([['lost', 'heard'], ['heard'], ['heard']])
  })
})

describe('a publisher', () => {
  it('that nobody knows is not heard, nor another process of its name, nor one that is dead', async () => {
    const t = await formed(3, { seed: 7007 })
    const heard = listening(t)
    const boot = t.partsOf(0).membership.view.get('member-2')?.boot as number
    publishAs(t, 'nobody', 1)
    publishAs(t, 'member-2', boot + 1)
    await t.run(50)
    expect(heard.map(messagesOf)).toEqual([[], [], []])
    expect(mesh(t, 0).stats().topicGossipStrayTotal).toBe(2)
    publishAs(t, 'member-2', boot)
    await t.run(50)
    expect(messagesOf(heard[0] ?? [])).toEqual(['said'])
    t.crash(2)
    await t.run('10s')
    publishAs(t, 'member-2', boot, 2)
    await t.run(50)
    expect(messagesOf(heard[0] ?? [])).toEqual(['said'])
    expect(mesh(t, 0).stats().topicGossipStrayTotal).toBe(3)
  })

  it('that was started again under its name counts anew', async () => {
    const t = await formed(2, { seed: 7008 })
    const heard = listening(t)[0] as { message: unknown; from: Member }[]
    for (const i of times(3, i => i)) {
      topic(t, 1).publish(i)
      await t.run(20)
    }
    t.restart(1)
    await t.run('10s')
    topic(t, 1).publish('again')
    await t.run(50)
    expect(messagesOf(heard)).toEqual([0, 1, 2, 'again'])
  })

  it('that leaves is heard to its last word, and says that it leaves', async () => {
    const t = await formed(2, { seed: 7009 })
    const heard = listening(t)[0] as { message: unknown; from: Member }[]
    const leaving = mesh(t, 1).leave()
    topic(t, 1).publish('bye')
    await t.until(leaving)
    await t.run(50)
    expect(heard).toEqual([{ message: 'bye', from: expect.objectContaining({ id: 'member-1' }) }])
    expect(codeOf(() => topic(t, 1).publish('too late'))).toBe('ERR_MESH_LEFT')
    expect(mesh(t, 0).topic('prices').name).toBe('prices')
  })

  it('is told ERR_MESH_LEFT by a handle of before as well', async () => {
    const t = await formed(1, { seed: 7010 })
    const [prices, heard] = [topic(t, 0), [] as unknown[]]
    const stop = prices.on(message => heard.push(message))
    await t.until(mesh(t, 0).leave())
    expect(codeOf(() => prices.publish(1))).toBe('ERR_MESH_LEFT')
    expect(codeOf(() => prices.on(() => {}))).toBe('ERR_MESH_LEFT')
    stop()
    await t.run(50)
    expect(heard).toEqual([])
  })

  it('that publishes more than can be told is not held up, and what is dropped is counted', async () => {
    const t = await formed(2, { seed: 7011 })
    const heard = listening(t)
    for (const i of times(WAITING_MAX + 100, i => i)) topic(t, 0).publish(i)
    await t.run('1s')
    expect(mesh(t, 0).stats()).toMatchObject({
      topicMessagesPublishedTotal: WAITING_MAX + 100,
      topicMessagesDroppedTotal: 100
    })
    // Told in several goes, which may overtake each other on their way.
    const sorted = heard.map(one => (messagesOf(one) as number[]).sort((a, b) => a - b))
    expect(sorted).toEqual([times(WAITING_MAX, i => i), times(WAITING_MAX, i => i)])
  })

  it('in a mesh of one hears itself, and no caller of it is seen by its listeners', async () => {
    const t = await formed(1, { seed: 7012 })
    const request = new AsyncLocalStorage<string>()
    const heard: unknown[] = []
    topic(t, 0).on((message, { self }) => heard.push([message, self, request.getStore()]))
    await request.run('ada', () => {
      topic(t, 0).publish('hello')
      // Time goes on in the context of whoever lets it, as a turn does in that of whoever began it.
      return t.run(10)
    })
    expect(heard).toEqual([['hello', true, undefined]])
  })
})

describe('a listener', () => {
  it('hears nothing more once it has ended, and ends once; the others hear on', async () => {
    const t = await formed(2, { seed: 7013 })
    const [one, other]: [unknown[], unknown[]] = [[], []]
    const stopOne = topic(t, 0).on(message => one.push(message))
    const stopOther = topic(t, 0).on(message => other.push(message))
    const publish = async (message: unknown): Promise<void> => {
      topic(t, 1).publish(message)
      await t.run(50)
    }
    await publish(1)
    stopOne()
    stopOne()
    await publish(2)
    stopOther()
    await publish(3)
    expect([one, other]).toEqual([[1], [1, 2]])
    // Nobody listens, so nothing comes here.
    expect(mesh(t, 0).stats()).toMatchObject({ topicMessagesHeardTotal: 2, topicGossipStrayTotal: 0 })
    topic(t, 0).on(message => one.push(message))
    await publish(4)
    expect([one, other]).toEqual([
      [1, 4],
      [1, 2]
    ])
  })

  it('that throws, at once or later, harms neither the mesh nor another listener', async () => {
    const t = await formed(2, { seed: 7014 })
    const heard: unknown[] = []
    topic(t, 0).on(() => {
      throw new Error('mine')
    })
    topic(t, 0).on(async () => {
      throw new Error('mine too')
    })
    topic(t, 0).on(message => heard.push(message))
    for (const i of times(3, i => i)) topic(t, 1).publish(i)
    await t.run(50)
    expect(heard).toEqual([0, 1, 2])
  })

  it('may publish what it hears, and may end itself', async () => {
    const t = await formed(2, { seed: 7015 })
    const heard = listening(t, 'echoes')
    const stop = topic<number>(t, 0).on(message => {
      if (message === 3) stop()
      topic(t, 0, 'echoes').publish(message)
      topic(t, 0).publish(message + 1)
    })
    topic(t, 0).publish(1)
    await t.run(100)
    expect(heard.map(messagesOf)).toEqual([
      [1, 2, 3],
      [1, 2, 3]
    ])
  })

  it('hears nothing that cannot be decoded, and a peer that sends it costs a line a minute', async () => {
    const t = await formed(2, { seed: 7016 })
    const heard = listening(t)
    const boot = t.partsOf(0).membership.view.get('member-1')?.boot as number
    publishAs(t, 'member-1', boot, 1, Uint8Array.of(99, 1))
    await t.run(50)
    expect(heard.map(messagesOf)).toEqual([[], []])
    expect(mesh(t, 0).stats().linksRefusedTotal).toBe(1)
    publishAs(t, 'member-1', boot, 2)
    await t.run(50)
    expect(messagesOf(heard[0] ?? [])).toEqual(['said'])
  })
})

describe('at the door', () => {
  it('a name that is none, a message that would not survive, one that is too large and a listener that is none', async () => {
    const t = await formed(1, { seed: 7017 })
    for (const name of ['', 7, undefined, 'x'.repeat(201)])
      expect(codeOf(() => mesh(t, 0).topic(name as string))).toBe('ERR_MESH_OPTION')
    const prices = topic(t, 0)
    expect(() => prices.publish({ lamp: { price: Promise.resolve(7) } })).toThrow(
      /^message of topic 'prices': value\.lamp\.price /
    )
    expect(codeOf(() => prices.publish({ price: () => 7 }))).toBe('ERR_MESH_VALUE')
    expect(codeOf(() => prices.publish('x'.repeat(TOPIC_MESSAGE_BYTES_MAX)))).toBe('ERR_MESH_VALUE_TOO_LARGE')
    expect(() => prices.publish('x'.repeat(TOPIC_MESSAGE_BYTES_MAX))).toThrow(/65536 is the most.* publish its key/)
    expect(() => prices.on('x' as never)).toThrow(/the listener of topic 'prices' to be a function/)
    expect(mesh(t, 0).stats().topicMessagesPublishedTotal).toBe(0)
  })

  it('more topics to listen to than others remember of us', async () => {
    const t = await formed(1, { seed: 7018 })
    const stops = times(LISTENED_MAX, i => topic(t, 0, `topic ${i}`).on(() => {}))
    expect(() => topic(t, 0, 'one more').on(() => {})).toThrow(/listens to 128 topics already/)
    topic(t, 0, 'topic 0').on(() => {})
    stops[1]?.()
    expect(topic(t, 0, 'one more').on(() => {})).toBeTypeOf('function')
  })
})

/** Gossip that somebody with the secret has made. */
function publishAs(t: Cluster, publisher: string, boot: number, number = 1, bytes?: Uint8Array): void {
  const to = new ByteWriter()
  const message = bytes ?? defaultCodec.encode('said', { topic: 'prices' })
  writePublished(to, { publisher, boot, number, messages: [message] })
  outsider(t).publish('cachemesh/sim/topic/prices', to.finish())
}

/** Sizes of what is gossiped about the topic. */
function listeningTo(t: Cluster, told: number[]): { pubsub: () => void } {
  return { pubsub: outsider(t).subscribe('cachemesh/sim/topic/prices', message => told.push(message.length)) }
}

function outsider(t: Cluster) {
  return t.network.pubsub(new Process('outsider', 0), 'outsider')
}
