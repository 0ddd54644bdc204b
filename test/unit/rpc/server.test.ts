import { describe, expect, it } from 'vitest'
import { Complaints } from '../../../lib/observe/complaints.ts'
import { Stats } from '../../../lib/observe/stats.ts'
import { type Logger, noLog } from '../../../lib/ports/log.ts'
import type { Reply, Request } from '../../../lib/rpc/messages.ts'
import { Outbox } from '../../../lib/rpc/outbox.ts'
import { type Handler, Server } from '../../../lib/rpc/server.ts'
import { ManualClock } from './manual-clock.ts'
import { ManualTransport } from './manual-transport.ts'

const READ: Request = { type: 'read', namespace: 'n', key: 'sk', mode: 'load', wish: 'usual' }

function setup(handler: Handler, log: Logger = noLog) {
  const clock = new ManualClock()
  const transport = new ManualTransport()
  const stats = new Stats()
  const outbox = new Outbox({ transport, clock, stats, header: () => ({ clockMs: 1, viewHash: 0 }) })
  const server = new Server({ outbox, handler, stats, complaints: new Complaints({ clock, log, stats }) })
  outbox.open('peer', { type: 'waiting' })
  clock.endTurn()
  transport.taken.length = 0
  const replies = (): string[] => {
    clock.endTurn()
    return transport.taken.flatMap(({ frame }) => frame.messages.map(({ call, message }) => `${call} ${message.type}`))
  }
  return { server, stats, outbox, replies }
}

/** Keeps what it was asked, to be answered later. */
function later() {
  const asked: ((reply: Reply) => void)[] = []
  let withdrawn = 0
  const handler: Handler = (_, __, respond) => {
    asked.push(respond)
    return () => withdrawn++
  }
  return { asked, handler, withdrawn: () => withdrawn }
}

describe('a server', () => {
  it('answers once with a final reply, whatever its handler does', () => {
    const { server, replies } = setup((_, __, respond) => {
      for (const type of ['waiting', 'absent', 'notOwner'] as const) respond({ type })
      return undefined
    })
    server.request('peer', 5, READ)
    expect(replies()).toEqual(['5 waiting', '5 absent'])
  })

  it('turns a handler that throws into an answer', () => {
    const { server, replies } = setup(() => {
      throw new TypeError('a bug')
    })
    server.request('peer', 5, READ)
    expect(replies()).toEqual(['5 broken'])
  })

  it('tells its log of a peer that asks for nonsense once, and the peer each time', () => {
    let lines = 0
    const log = { ...noLog, error: () => lines++ }
    const { server, stats, replies } = setup(() => {
      throw new TypeError('a bug')
    }, log)
    for (let call = 1; call <= 100; call++) server.request('peer', call, READ)
    expect(replies()).toHaveLength(100)
    expect([lines, stats.logLinesWithheldTotal]).toEqual([1, 99])
  })

  it('takes a request back when its caller gives up or its link dies, and only once', () => {
    const { handler, withdrawn } = later()
    const { server } = setup(handler)
    server.request('peer', 1, READ)
    server.request('peer', 2, READ)
    server.request('other', 1, READ)
    server.cancel('peer', 1)
    server.cancel('peer', 1)
    expect(withdrawn()).toBe(1)
    server.linkDown('peer')
    expect(withdrawn()).toBe(2)
    server.linkDown('other')
    server.cancel('nobody', 9)
    expect(withdrawn()).toBe(3)
  })

  it('does not take back what has been answered', () => {
    const { asked, handler, withdrawn } = later()
    const { server, replies } = setup(handler)
    server.request('peer', 1, READ)
    asked[0]?.({ type: 'absent' })
    server.cancel('peer', 1)
    expect(withdrawn()).toBe(0)
    expect(replies()).toEqual(['1 absent'])
  })

  it('leaves no request behind when a peer uses a number twice', () => {
    const { handler, withdrawn } = later()
    const { server } = setup(handler)
    server.request('peer', 1, READ)
    server.request('peer', 1, READ)
    server.linkDown('peer')
    expect(withdrawn()).toBe(2)
  })

  it('refuses more than it can hold for one peer, and serves another all the same', () => {
    const { handler, asked } = later()
    const { server, stats, outbox, replies } = setup(handler)
    outbox.open('other', { type: 'waiting' })
    for (let call = 0; call <= 16_384; call++) server.request('peer', call, READ)
    expect(replies().filter(line => line !== '0 waiting')).toEqual(['16384 overloaded'])
    expect(stats.requestsOverloadedTotal).toBe(1)
    server.request('other', 1, READ)
    expect(asked).toHaveLength(16_385)
  })
})
