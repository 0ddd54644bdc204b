import { describe, expect, it } from 'vitest'
import { Complaints } from '../../../lib/observe/complaints.ts'
import { Stats } from '../../../lib/observe/stats.ts'
import type { PeerId } from '../../../lib/ports/transport.ts'
import { Client } from '../../../lib/rpc/client.ts'
import { FrameBuilder } from '../../../lib/rpc/frame.ts'
import { Links } from '../../../lib/rpc/links.ts'
import type { Message, MessageOf } from '../../../lib/rpc/messages.ts'
import { Outbox } from '../../../lib/rpc/outbox.ts'
import { Server } from '../../../lib/rpc/server.ts'
import { MeshClock } from '../../../lib/store/version.ts'
import { record } from '../../member-record.ts'
import { ManualClock } from './manual-clock.ts'
import { ManualTransport } from './manual-transport.ts'

function helloOf(id: PeerId, over: Partial<MessageOf<'hello'>> = {}): MessageOf<'hello'> {
  return { type: 'hello', mesh: 'm', partitions: 8, placement: 5, boot: 1, record: record(id), ...over }
}

function frame(...messages: Message[]): Uint8Array {
  const builder = new FrameBuilder()
  for (const message of messages) builder.add(0, message)
  return builder.finish({ clockMs: 1, viewHash: 3 })
}

function setup() {
  const clock = new ManualClock()
  const transport = new ManualTransport()
  const stats = new Stats()
  const said: string[] = []
  const warned: string[] = []
  const log = {
    debug: () => {},
    info: () => {},
    error: () => {},
    warn: (_: object, text: string) => void warned.push(text)
  }
  const complaints = new Complaints({ clock, log, stats })
  const outbox = new Outbox({ transport, clock, stats, header: () => ({ clockMs: 1, viewHash: 0 }) })
  const links = new Links({
    transport,
    clock,
    outbox,
    client: new Client({ clock, outbox, stats }),
    server: new Server({
      outbox,
      stats,
      complaints,
      handler: peer => {
        said.push(`request of ${peer}`)
        return undefined
      }
    }),
    meshClock: new MeshClock(clock),
    stats,
    log,
    complaints,
    hello: () => helloOf('self'),
    onUp: peer => said.push(`up ${peer}`),
    onDown: peer => said.push(`down ${peer}`),
    onHeard: (peer, hash) => said.push(`heard ${peer} ${hash}`),
    onTalk: (peer, { type }) => said.push(`${type} from ${peer}`),
    onBudgetTalk: () => {},
    onLease: (peer, { type }) => said.push(`${type} of ${peer}`),
    onRefused: peer => said.push(`refused ${peer}`)
  })
  return { clock, transport, stats, links, said, warned }
}

describe('a link', () => {
  it('is a peer once its hello was right, and not before', () => {
    const { links, said } = setup()
    links.onUp('peer')
    expect(links.has('peer')).toBe(false)
    links.onFrame(
      'peer',
      'data',
      frame(helloOf('peer'), { type: 'read', namespace: 'n', key: 'sk', mode: 'load', wish: 'usual' })
    )
    expect(links.has('peer')).toBe(true)
    expect(links.peers()).toEqual(['peer'])
    expect(said).toEqual(['up peer', 'heard peer 3', 'request of peer'])
    links.onFrame('peer', 'bulk', frame(helloOf('peer'), { type: 'renew', lease: 1, boot: 1 }))
    expect(said.slice(3)).toEqual(['heard peer 3', 'renew of peer'])
    links.onDown('peer', 'reset')
    expect(said.at(-1)).toBe('down peer')
    expect(links.has('peer')).toBe(false)
  })

  it('carries what members say about members, in order and once the peer has greeted', () => {
    const { links, said } = setup()
    links.onUp('peer')
    const talk = [
      { type: 'ping', stateHash: 1, news: [] },
      { type: 'pong', stateHash: 1, news: [] },
      { type: 'probe', peer: 'x' },
      { type: 'probed', peer: 'x', heard: true },
      { type: 'view', round: 0, stateHash: 1 },
      { type: 'digest', round: 0, same: true, certain: true, prints: [] },
      { type: 'swap', round: 0, records: [], wanted: [] },
      { type: 'swapped', round: 0, records: [] },
      { type: 'news', records: [] }
    ] as const satisfies readonly Message[]
    links.onFrame('peer', 'data', frame(...talk))
    expect(said).toEqual([])
    const { links: again, said: heard } = setup()
    again.onUp('peer')
    again.onFrame('peer', 'data', frame(helloOf('peer'), ...talk))
    expect(heard).toEqual(['up peer', 'heard peer 3', ...talk.map(({ type }) => `${type} from peer`)])
  })

  it.each([
    ['of another mesh', { mesh: 'other' }, /it belongs to the mesh 'other', this member to 'm'/],
    ['with other partitions', { partitions: 16 }, /it has 16 partitions, this member 8/],
    ['that places keys differently', { placement: 6 }, /it places keys differently/],
    ['in the name of another', { record: helloOf('other').record }, /it calls itself other/]
  ] as const)('%s is refused, and nothing more is read from it', (_, over, reason) => {
    const { transport, stats, links, said, warned } = setup()
    links.onUp('peer')
    links.onFrame('peer', 'data', frame(helloOf('peer', over), { type: 'ping', stateHash: 1, news: [] }))
    expect(links.has('peer')).toBe(false)
    expect(said).toEqual([])
    expect(transport.closed).toMatchObject([{ peer: 'peer', reason: expect.stringMatching(reason) }])
    expect(stats.linksRefusedTotal).toBe(1)
    expect(warned).toEqual([expect.stringMatching(reason)])
    links.onDown('peer', 'closed')
    expect(said).toEqual(['refused peer'])
  })

  it('that never greets is closed after 3 s, and one that greeted is not', () => {
    const { clock, transport, links } = setup()
    links.onUp('silent')
    links.onUp('polite')
    links.onFrame('polite', 'data', frame(helloOf('polite')))
    clock.pass(3_000)
    expect(transport.closed.map(({ peer }) => peer)).toEqual(['silent'])
    links.onDown('silent', 'closed')
    clock.pass(60_000)
    expect(transport.closed).toHaveLength(1)
    expect(clock.armed).toBe(0)
  })

  it('that ends before its hello is told apart, so that it is dialled again', () => {
    const { links, said } = setup()
    links.onUp('peer')
    links.onDown('peer', 'reset')
    expect(said).toEqual(['refused peer'])
  })

  it('with bytes of no shape is closed and counted, and complained of once a peer', () => {
    const { transport, stats, links, said, warned } = setup()
    for (let i = 0; i < 3; i++) {
      links.onUp('peer')
      links.onFrame('peer', 'data', Uint8Array.of(1, 2, 3))
      links.onDown('peer', 'closed')
    }
    expect(transport.closed).toHaveLength(3)
    expect(stats.linksRefusedTotal).toBe(3)
    expect(warned).toHaveLength(1)
    expect(said).toEqual(['refused peer', 'refused peer', 'refused peer'])
  })

  it('of a greeted peer is closed for malformed bytes too', () => {
    const { transport, links } = setup()
    links.onUp('peer')
    links.onFrame('peer', 'data', frame(helloOf('peer')))
    links.onFrame('peer', 'data', Uint8Array.of(0xca, 1, 0))
    expect(transport.closed.map(({ peer }) => peer)).toEqual(['peer'])
  })

  it('that the transport does not have is not listened to', () => {
    const { links, said, stats } = setup()
    links.onFrame('ghost', 'data', frame(helloOf('ghost')))
    expect(said).toEqual([])
    expect(stats.framesReceivedTotal).toBe(0)
  })
})
