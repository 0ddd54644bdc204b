import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { GOSSIP_BYTES_MAX, type PubSub } from '../../lib/ports/pubsub.ts'
import type { Transport } from '../../lib/ports/transport.ts'
import { during, type Settle } from './settle.ts'

/** Members that can be linked and gossip. */
export interface PubSubWorld {
  readonly settle: Settle
  /** Not started yet. */
  make(): Promise<{ transport: Transport; pubsub: PubSub }>
  end(): Promise<void>
}

const TOPIC = 'cachemesh/conformance'
const NO_EVENTS = { onUp: () => {}, onDown: () => {}, onFrame: () => {}, onDrain: () => {} }

/** What every pubsub must hold: see lib/ports/pubsub.ts. */
export function pubsubSuite(name: string, makeWorld: () => Promise<PubSubWorld>): void {
  describe(`pubsub: ${name}`, { timeout: 60_000 }, () => {
    let world: PubSubWorld
    let made: { transport: Transport; pubsub: PubSub }[]

    beforeEach(async () => {
      world = await makeWorld()
      made = []
    })

    afterEach(async () => {
      await Promise.all(made.map(({ transport }) => during(world.settle, transport.stop(), 'a stop')))
      await world.end()
    })

    async function make() {
      const adapters = await world.make()
      made.push(adapters)
      return adapters
    }

    /** Started and linked, each with each. */
    async function linked(count: number, before: (pubsub: PubSub, i: number) => void = () => {}): Promise<PubSub[]> {
      const members = []
      for (let i = 0; i < count; i++) {
        const { transport, pubsub } = await make()
        before(pubsub, i)
        const [address] = await during(world.settle, transport.start(NO_EVENTS), 'a start')
        for (const other of members) await during(world.settle, transport.connect(other.address), 'a connect')
        members.push({ pubsub, address: address! })
      }
      return members.map(({ pubsub }) => pubsub)
    }

    /** Publishes until the condition holds: a message before the subscription has spread is lost, as it may be. */
    async function publishUntil(pubsub: PubSub, topic: string, text: string, done: () => boolean) {
      await world.settle(() => {
        if (!done()) pubsub.publish(topic, bytes(text))
        return done()
      }, `'${text}' is heard`)
    }

    test('a message reaches every subscriber of its topic, and not its publisher', async () => {
      const heard: string[][] = [[], [], [], []]
      const members = await linked(4, (pubsub, i) => pubsub.subscribe(TOPIC, message => heard[i]!.push(text(message))))
      for (const [i, member] of members.entries()) {
        const others = heard.filter((_, j) => j !== i)
        await publishUntil(member, TOPIC, `from ${i}`, () => others.every(each => each.includes(`from ${i}`)))
        expect(heard[i]).not.toContain(`from ${i}`)
      }
    })

    test('topics subscribed before the start and after it work; other topics are not heard', async () => {
      const heard: string[] = []
      const [a, b] = await linked(2, (pubsub, i) => {
        if (i === 0) pubsub.subscribe('before', message => heard.push(`before ${text(message)}`))
      })
      a!.subscribe('after', message => heard.push(`after ${text(message)}`))
      await publishUntil(b!, 'before', '1', () => heard.includes('before 1'))
      b!.publish('neither', bytes('2'))
      await publishUntil(b!, 'after', '3', () => heard.includes('after 3'))
      expect(new Set(heard)).toEqual(new Set(['before 1', 'after 3']))
    })

    test('the same bytes published twice are two messages', async () => {
      const heard: string[] = []
      const [a, b] = await linked(2)
      a!.subscribe(TOPIC, message => heard.push(text(message)))
      await publishUntil(b!, TOPIC, 'ready', () => heard.includes('ready'))
      for (let i = 0; i < 5; i++) b!.publish(TOPIC, bytes('same'))
      await world.settle(() => heard.filter(each => each === 'same').length >= 5, 'all five')
      expect(heard.filter(each => each === 'same')).toHaveLength(5)
    })

    test('a cancelled subscription hears nothing more, others of the topic do, and cancelling is idempotent', async () => {
      const heard: string[] = []
      const [a, b] = await linked(2)
      const cancel = a!.subscribe(TOPIC, message => heard.push(`first ${text(message)}`))
      const cancelSecond = a!.subscribe(TOPIC, message => heard.push(`second ${text(message)}`))
      await publishUntil(b!, TOPIC, '1', () => heard.includes('first 1') && heard.includes('second 1'))
      cancel()
      cancel()
      await publishUntil(b!, TOPIC, '2', () => heard.includes('second 2'))
      expect(heard).not.toContain('first 2')
      cancelSecond()
      a!.subscribe(TOPIC, message => heard.push(`third ${text(message)}`))
      await publishUntil(b!, TOPIC, '3', () => heard.includes('third 3'))
      expect(heard).not.toContain('second 3')
    })

    test('a message of the largest size arrives unchanged, a larger one is dropped', async () => {
      const heard: Uint8Array[] = []
      const [a, b] = await linked(2)
      a!.subscribe(TOPIC, message => heard.push(message))
      await publishUntil(b!, TOPIC, 'ready', () => heard.length > 0)
      const largest = Buffer.alloc(GOSSIP_BYTES_MAX, 7)
      b!.publish(TOPIC, Buffer.alloc(GOSSIP_BYTES_MAX + 1, 8))
      b!.publish(TOPIC, largest)
      await world.settle(() => heard.some(each => each.byteLength === GOSSIP_BYTES_MAX), 'the largest message')
      expect(Buffer.compare(heard.find(each => each.byteLength === GOSSIP_BYTES_MAX)!, largest)).toBe(0)
      await publishUntil(b!, TOPIC, 'after', () => heard.some(each => text(each) === 'after'))
      expect(heard.some(each => each.byteLength > GOSSIP_BYTES_MAX)).toBe(false)
    })

    test('publish and subscribe never throw: before the start, alone, and after the stop', async () => {
      const { transport, pubsub } = await make()
      const tryAll = () => {
        const cancel = pubsub.subscribe(TOPIC, () => {})
        expect(pubsub.publish(TOPIC, bytes('x'))).toBe(undefined)
        expect(pubsub.publish('nobody listens', bytes('x'))).toBe(undefined)
        cancel()
      }
      tryAll()
      await during(world.settle, transport.start(NO_EVENTS), 'the start')
      tryAll()
      await during(world.settle, transport.stop(), 'the stop')
      tryAll()
    })
  })
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

function text(message: Uint8Array): string {
  return message.byteLength > 100 ? 'a long message' : new TextDecoder().decode(message)
}
