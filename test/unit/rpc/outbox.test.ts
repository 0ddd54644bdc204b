import { describe, expect, it } from 'vitest'
import { Stats } from '../../../lib/observe/stats.ts'
import type { Message } from '../../../lib/rpc/messages.ts'
import { Outbox } from '../../../lib/rpc/outbox.ts'
import { ManualClock } from './manual-clock.ts'
import { ManualTransport } from './manual-transport.ts'

function setup() {
  const clock = new ManualClock()
  const transport = new ManualTransport()
  const stats = new Stats()
  let clockMs = 5
  const outbox = new Outbox({ transport, clock, stats, header: () => ({ clockMs: clockMs++, viewHash: 7 }) })
  outbox.open('peer', { type: 'absent' })
  clock.endTurn()
  transport.taken.length = 0
  return { clock, transport, stats, outbox }
}

const value = (bytes: number): Message => ({
  type: 'loaded',
  code: 'value',
  bytes: new Uint8Array(bytes),
  failure: '',
  negative: false,
  stamp: 1,
  writer: 'a',
  expiresAtMs: 1,
  tags: new Uint8Array()
})

describe('an outbox', () => {
  it('greets on both lanes before anything else, because one may overtake the other', () => {
    const { clock, transport, outbox } = setup()
    outbox.open('new', { type: 'waiting' })
    outbox.post('new', 1, { type: 'absent' })
    outbox.post('new', 2, value(100_000))
    clock.endTurn()
    expect(transport.kinds('data')).toEqual([['waiting', 'absent']])
    expect(transport.kinds('bulk').flat()).toEqual(['waiting', 'loaded'])
  })

  it('sends what one turn asks for in one frame, stamped when it leaves', () => {
    const { clock, transport, outbox } = setup()
    for (let call = 0; call < 100; call++) outbox.post('peer', call, { type: 'absent' })
    expect(transport.taken).toHaveLength(0)
    clock.endTurn()
    expect(transport.taken).toHaveLength(1)
    expect(transport.taken[0]?.frame.messages.map(({ call }) => call)).toEqual(Array.from({ length: 100 }, (_, i) => i))
    outbox.post('peer', 1, { type: 'absent' })
    clock.endTurn()
    expect(transport.taken.map(({ frame }) => frame.clockMs)).toEqual([7, 8])
  })

  it('keeps data frames small and sends what is large on the other lane', () => {
    const { clock, transport, outbox } = setup()
    for (let call = 0; call < 40; call++) outbox.post('peer', call, value(10_000))
    outbox.post('peer', 99, value(60_000))
    clock.endTurn()
    const data = transport.taken.filter(({ lane }) => lane === 'data')
    expect(data.length).toBeGreaterThan(5)
    for (const { bytes } of data) expect(bytes).toBeLessThanOrEqual(64 * 1024)
    expect(data.flatMap(({ frame }) => frame.messages.map(({ call }) => call))).toEqual(
      Array.from({ length: 40 }, (_, i) => i)
    )
    expect(transport.kinds('bulk')).toEqual([['loaded']])
  })

  it('waits when a lane is full, goes on in order when it drains, and the other lane is not held up', () => {
    const { clock, transport, outbox } = setup()
    transport.full.add('peer/data')
    outbox.post('peer', 1, { type: 'absent' })
    outbox.post('peer', 2, value(100_000))
    clock.endTurn()
    outbox.post('peer', 3, { type: 'absent' })
    clock.endTurn()
    expect(transport.kinds('data')).toEqual([])
    expect(transport.kinds('bulk')).toEqual([['loaded']])
    outbox.drained('peer', 'bulk')
    expect(transport.kinds('data')).toEqual([])
    transport.full.clear()
    outbox.drained('peer', 'data')
    expect(transport.taken.at(-1)?.frame.messages.map(({ call }) => call)).toEqual([1, 3])
  })

  it('tells that a message has left only when the transport has taken it', () => {
    const { clock, transport, outbox } = setup()
    transport.full.add('peer/data')
    const departure = outbox.post('peer', 1, { type: 'absent' })
    clock.endTurn()
    expect(departure?.sent).toBe(false)
    transport.full.clear()
    outbox.drained('peer', 'data')
    expect(departure?.sent).toBe(true)
  })

  it('refuses more than 32 MiB for one peer and lane, and takes it again when there is room', () => {
    const { clock, transport, outbox } = setup()
    transport.full.add('peer/bulk')
    let taken = 0
    while (outbox.post('peer', taken, value(1024 ** 2))) taken++
    expect(taken).toBeGreaterThan(28)
    expect(taken).toBeLessThanOrEqual(32)
    expect(outbox.post('peer', 100, { type: 'absent' })).toBeDefined()
    clock.endTurn()
    transport.full.clear()
    outbox.drained('peer', 'bulk')
    expect(transport.taken.filter(({ lane }) => lane === 'bulk')).toHaveLength(taken)
    expect(outbox.post('peer', 101, value(1024 ** 2))).toBeDefined()
  })

  it('refuses more than 128 MiB for all peers together, and forgets what waited for one that has gone', () => {
    const { transport, outbox } = setup()
    const peers = ['a', 'b', 'c', 'd', 'e', 'f']
    for (const peer of peers) {
      transport.full.add(`${peer}/bulk`)
      outbox.open(peer, { type: 'waiting' })
    }
    const taken = peers.map(peer => {
      let count = 0
      while (outbox.post(peer, count, value(1024 ** 2))) count++
      return count
    })
    expect(taken.slice(4)).toEqual([3, 0])
    expect(outbox.post('f', 1, { type: 'absent' })).toBeDefined()
    outbox.close('a')
    expect(outbox.post('f', 2, value(1024 ** 2))).toBeDefined()
  })

  it('refuses what no frame can carry, and everything for a peer without a link', () => {
    const { clock, transport, outbox } = setup()
    expect(outbox.post('peer', 1, value(16 * 1024 ** 2))).toBeUndefined()
    expect(outbox.post('stranger', 1, { type: 'absent' })).toBeUndefined()
    outbox.beat('stranger')
    outbox.drained('stranger', 'data')
    clock.endTurn()
    expect(transport.taken).toHaveLength(0)
  })

  it('loses what waits when the link goes, and a new link begins anew', () => {
    const { clock, transport, outbox } = setup()
    const departure = outbox.post('peer', 1, { type: 'absent' })
    outbox.close('peer')
    outbox.open('peer', { type: 'waiting' })
    clock.endTurn()
    clock.endTurn()
    expect(departure?.sent).toBe(false)
    expect(transport.kinds('data')).toEqual([['waiting']])
  })

  it('beats with an empty frame, and not when something is on its way anyhow', () => {
    const { clock, transport, outbox } = setup()
    outbox.beat('peer')
    outbox.beat('peer')
    clock.endTurn()
    expect(transport.kinds()).toEqual([[]])
    outbox.post('peer', 1, { type: 'absent' })
    outbox.beat('peer')
    clock.endTurn()
    expect(transport.kinds()).toEqual([[], ['absent']])
  })

  it('serves every peer of a turn', () => {
    const { clock, transport, outbox } = setup()
    for (const peer of ['a', 'b', 'c']) outbox.open(peer, { type: 'waiting' })
    for (const peer of ['c', 'a', 'peer']) outbox.post(peer, 1, { type: 'absent' })
    clock.endTurn()
    const peers = transport.taken.filter(({ frame }) => frame.messages.some(({ message }) => message.type === 'absent'))
    expect(peers.map(({ peer }) => peer).sort()).toEqual(['a', 'c', 'peer'])
  })
})
