import { beforeEach, describe, expect, it } from 'vitest'
import { TOPIC_MESSAGES_MAX } from '../../../lib/rpc/topic-talk.ts'
import { Outgoing, TOGETHER_BYTES_MAX, WAITING_BYTES_MAX, WAITING_MAX } from '../../../lib/topics/outgoing.ts'

let outgoing: Outgoing

beforeEach(() => {
  outgoing = new Outgoing()
})

const message = (first: number, length = 1): Uint8Array => new Uint8Array(length).fill(first, 0, 1)
const firsts = () => {
  const batch = outgoing.next()
  return batch && [batch.topic, ...batch.messages.map(([first]) => first)]
}

describe('messages that wait', () => {
  it('go by topic, each topic in its order, and the topics in turn', () => {
    for (const [i, topic] of ['a', 'b', 'a', 'a'].entries()) expect(outgoing.add(topic, message(i))).toBe(true)
    expect([firsts(), firsts(), firsts()]).toEqual([['a', 0, 2, 3], ['b', 1], undefined])
  })

  it('of a topic that has very many do not hold up another', () => {
    for (let i = 0; i < TOPIC_MESSAGES_MAX * 2; i++) outgoing.add('loud', message(1))
    outgoing.add('quiet', message(2))
    const turns = Array.from({ length: 3 }, () => outgoing.next())
    expect(turns.map(turn => [turn?.topic, turn?.messages.length])).toEqual([
      ['loud', TOPIC_MESSAGES_MAX],
      ['quiet', 1],
      ['loud', TOPIC_MESSAGES_MAX]
    ])
  })

  it('go together up to so many bytes, and a large one alone', () => {
    const half = TOGETHER_BYTES_MAX / 2
    for (const length of [half, half, 1, TOGETHER_BYTES_MAX, 1]) outgoing.add('a', message(1, length))
    const sizes = Array.from({ length: 4 }, () => outgoing.next()).map(batch => [batch?.messages.length, batch?.bytes])
    expect(sizes).toEqual([
      [2, 2 * half],
      [1, 1],
      [1, TOGETHER_BYTES_MAX],
      [1, 1]
    ])
  })

  it('are bounded in number, and there is room again once some were told', () => {
    const taken = Array.from({ length: WAITING_MAX + 3 }, (_, i) => outgoing.add(`topic ${i % 7}`, message(i)))
    expect(taken.filter(Boolean)).toHaveLength(WAITING_MAX)
    expect(taken.at(-1)).toBe(false)
    outgoing.next()
    expect(outgoing.add('a', message(1))).toBe(true)
  })

  it('are bounded in bytes', () => {
    const large = message(1, TOGETHER_BYTES_MAX)
    let count = 0
    while (outgoing.add('a', large)) count++
    expect(count).toBe(WAITING_BYTES_MAX / TOGETHER_BYTES_MAX)
    outgoing.next()
    expect(outgoing.add('b', large)).toBe(true)
    expect(outgoing.add('b', message(1))).toBe(false)
  })
})
