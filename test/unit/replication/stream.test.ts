import { beforeEach, describe, expect, it } from 'vitest'
import { Stream, type StreamDeps } from '../../../lib/replication/stream.ts'
import type { Client } from '../../../lib/rpc/client.ts'
import type { MessageOf, Reply } from '../../../lib/rpc/messages.ts'
import { ManualClock } from '../rpc/manual-clock.ts'

let clock: ManualClock
let viewHash: number
let asked: { message: MessageOf<'copies'>; answer: (reply: Reply) => void }[]
let compared: number[]
let uncompared: number[]
let stream: Stream

beforeEach(() => {
  clock = new ManualClock()
  viewHash = 1
  asked = []
  compared = []
  uncompared = []
  const client = {
    begin: (_: string, message: MessageOf<'copies'>, __: unknown, answer: (reply: Reply) => void) =>
      asked.push({ message, answer })
  }
  const deps: Partial<StreamDeps> = {
    clock,
    client: client as unknown as Client,
    timeoutMs: 1_000,
    viewHash: () => viewHash,
    nowMs: () => 0,
    floors: { for: () => ({ floors: [] }), heard: () => {} } as unknown as StreamDeps['floors'],
    holdingFor: partition => ({ partition, count: 0, low: 0, high: 0, heat: 0 }),
    onCompared: (_, partitions) => compared.push(...partitions),
    onOtherView: (_, partitions) => uncompared.push(...partitions)
  }
  stream = new Stream('b', deps as StreamDeps)
})

/** Asks about a partition, and the peer finds nothing different in the view that it has. */
function compareWhile(change: () => void, viewThere: number): void {
  stream.compare([7])
  clock.endTurn()
  const [{ message, answer }] = asked as [(typeof asked)[number]]
  expect(message.digests.map(({ partition }) => partition)).toEqual([7])
  change()
  answer({ type: 'copied', viewHash: viewThere, refused: [], differing: [], floors: [] })
}

describe('a comparison', () => {
  it('counts where both sides have had one view all along', () => {
    compareWhile(() => {}, 1)
    expect([compared, uncompared]).toEqual([[7], []])
  })

  it('is made again where the peer sees another view', () => {
    compareWhile(() => {}, 2)
    expect([compared, uncompared]).toEqual([[], [7]])
  })

  it('is made again where our view has become the peer’s since we asked: it may be another backup than it was', () => {
    compareWhile(() => {
      viewHash = 2
    }, 2)
    expect([compared, uncompared]).toEqual([[], [7]])
  })
})
