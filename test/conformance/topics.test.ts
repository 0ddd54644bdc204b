/**
 * Topics over real sockets: heard once, and as many of them as a member may listen to. What others remember of its
 * subscriptions is bounded by libp2p, which ignores those beyond without a word.
 */
import { expect, it } from 'vitest'
import { nodeClock } from '../../lib/adapters/node-clock.ts'
import { defaultCodec } from '../../lib/codec/values.ts'
import { Complaints } from '../../lib/observe/complaints.ts'
import { Stats } from '../../lib/observe/stats.ts'
import { LISTENED_MAX, Topics } from '../../lib/topics/topics.ts'
import { record } from '../member-record.ts'
import { adapters, loudLog } from './libp2p-world.ts'
import { settleInRealTime as settle } from './settle.ts'

/** The longest there may be, all of them different. */
const longest = (i: number): string => `${i}`.padStart(200, '-')
const MESH = longest(0)
const NO_EVENTS = { onUp: () => {}, onDown: () => {}, onFrame: () => {}, onDrain: () => {} }

async function member() {
  const { transport, pubsub } = await adapters({ mesh: MESH, secrets: [], listen: true })
  const [clock, stats] = [nodeClock(), new Stats()]
  const topics = new Topics({
    ...{ mesh: MESH, pubsub, stats, clock, log: loudLog, self: transport.self, boot: 1 },
    complaints: new Complaints({ clock, stats, log: loudLog }),
    detach: fn => fn(),
    recordOf: id => record(id)
  })
  return { transport, topics, stats }
}

it('a member hears all topics that it may listen to, with the longest names there are', {
  timeout: 60_000
}, async () => {
  const [a, b] = [await member(), await member()]
  try {
    const heard: unknown[][] = Array.from({ length: LISTENED_MAX }, () => [])
    for (const [i, one] of heard.entries()) a.topics.listen(longest(i), (message, { id }) => one.push([message, id]))
    const [address] = await a.transport.start(NO_EVENTS)
    await b.transport.start(NO_EVENTS)
    await b.transport.connect(address as string)
    let said = 0
    // Before the subscriptions have spread a message is lost, as it may be.
    await settle(() => {
      const isHeard = heard.every(one => one.length > 0)
      if (!isHeard && said++ % 50 === 0)
        for (const [i, one] of heard.entries())
          if (one.length === 0) b.topics.publish(longest(i), defaultCodec.encode(i, { topic: longest(i) }))
      return isHeard
    }, 'each topic is heard')
    for (const [i, one] of heard.entries()) expect(one[0]).toEqual([i, b.transport.self])
    expect(a.stats).toMatchObject({ topicGossipStrayTotal: 0, linksRefusedTotal: 0 })
  } finally {
    for (const { topics, transport } of [a, b]) {
      topics.stop()
      await transport.stop()
    }
  }
})
