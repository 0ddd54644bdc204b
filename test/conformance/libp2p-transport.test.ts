import { spawn } from 'node:child_process'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { afterEach, describe, expect, test } from 'vitest'
import { LINK_PROTOCOL } from '../../lib/adapters/libp2p-links.ts'
import { meshNode } from '../../lib/adapters/libp2p-node.ts'
import { Libp2pPubSub } from '../../lib/adapters/libp2p-pubsub.ts'
import { libp2pAdapters } from '../../lib/adapters/libp2p-transport.ts'
import { encodeGreeting, LANES } from '../../lib/adapters/link-greeting.ts'
import type { Address, LinkEvents } from '../../lib/ports/transport.ts'
import { freeAddress, loudLog } from './libp2p-world.ts'
import { settleInRealTime as settle } from './settle.ts'

/** What only the real network can get wrong: sockets that freeze, peers that break the protocol, ports, processes. */
const MESH = 'real'
const ends: (() => Promise<unknown> | unknown)[] = []

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

class Heard implements LinkEvents {
  readonly ups: string[] = []
  readonly history: string[] = []
  frames = 0
  onUp(peer: string): void {
    this.ups.push(peer)
    this.history.push('up')
  }
  onDown(_peer: string, reason: string): void {
    this.history.push(`down: ${reason}`)
  }
  onFrame(): void {
    this.frames++
  }
  onDrain(): void {}
}

async function member(listen = '127.0.0.1:0') {
  const { transport, pubsub } = await libp2pAdapters({ mesh: MESH, secrets: [], listen, log: loudLog })
  ends.push(() => transport.stop())
  const heard = new Heard()
  const [address] = await transport.start(heard)
  return { transport, pubsub, heard, address: address! }
}

describe('links', { timeout: 30_000 }, () => {
  test('a peer that comes back while its old link looks alive replaces it', async () => {
    const [a, b] = [await member(), await member()]
    const proxy = await freezingProxy(a.address)
    await b.transport.connect(proxy.address)
    await settle(() => a.heard.history.length === 1, 'up')
    proxy.freeze()
    b.transport.close(a.transport.self, 'test')
    await settle(() => b.heard.history.length === 2, 'b is down')
    expect(a.heard.history).toEqual(['up'])
    await b.transport.connect(a.address)
    await settle(() => a.heard.history.length === 3, 'a has replaced the link')
    expect(a.heard.history).toEqual(['up', 'down: the peer has opened a newer link', 'up'])
    expect(a.transport.send(b.transport.self, 'data', new Uint8Array(3))).toBe(true)
    await settle(() => b.heard.frames === 1, 'a frame on the new link')
  })

  test('a dial made anew does not wait for one that hangs', async () => {
    const [a, b] = [await member(), await member()]
    const proxy = await freezingProxy(a.address)
    proxy.freeze()
    const hanging = b.transport.connect(proxy.address).catch((error: Error) => error.message)
    await settle(() => proxy.sockets.length === 2, 'the first has come and is swallowed')
    proxy.freeze(false)
    expect(await b.transport.connect(proxy.address, { anew: true })).toBe(a.transport.self)
    expect(await hanging).toMatch(/a later dial has taken its place/)
    expect(b.heard.history).toEqual(['up'])
    await settle(() => a.heard.history.length === 1, 'up')
    expect(await b.transport.connect(proxy.address)).toBe(a.transport.self)
    expect(a.heard.history).toEqual(['up'])
  })

  test('a frame over the limit ends the link before memory is taken for it', async () => {
    const a = await member()
    const { streams } = await rawPeer(a.address, true)
    await settle(() => a.heard.history.length === 1, 'up')
    streams[0]!.send(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 1, 2, 3))
    await settle(() => a.heard.history.length === 2, 'down')
    expect(a.heard.history[1]).toMatch(/over the limit/)
    expect(a.heard.frames).toBe(0)
  })

  test('who does not greet, greets wrongly or never confirms gets no link', async () => {
    const a = await member()
    const silent = await rawPeer(a.address, false)
    await settle(() => silent.answers.length === 2, 'both accepts')
    for (const garbage of [
      Uint8Array.of(0, 0, 0, 3, 1, 2, 3),
      Buffer.concat([Uint8Array.of(0, 0, 0, 12), encodeGreeting({ kind: 'confirm', lane: 'data', offer: 1 })]),
      Uint8Array.of(0, 0, 0, 200)
    ]) {
      const stream = await silent.open()
      stream.send(garbage)
      await settle(() => stream.status !== 'open', 'the stream is reset')
    }
    silent.streams[1]!.send(Uint8Array.of(0, 0, 0, 1, 9))
    await settle(() => silent.streams.every(stream => stream.status !== 'open'), 'the offer is reset')
    expect(a.heard.history).toEqual([])
  })

  test('a peer whose process is killed goes down without an error of its stream', async () => {
    const [a, b] = [await member(), await member()]
    const proxy = await freezingProxy(a.address)
    await b.transport.connect(proxy.address)
    await settle(() => a.heard.history.length === 1, 'up')
    proxy.cut()
    await settle(() => a.heard.history.length === 2 && b.heard.history.length === 2, 'both down')
  })
})

describe('gossip', { timeout: 30_000 }, () => {
  test('many members of one host all hear, although they share one address', async () => {
    const hub = await member()
    const heard = new Set<number>()
    for (let i = 0; i < 16; i++) {
      const spoke = await member()
      spoke.pubsub.subscribe('topic', () => heard.add(i))
      await spoke.transport.connect(hub.address)
    }
    await settle(() => {
      hub.pubsub.publish('topic', new Uint8Array(10))
      return heard.size === 16
    }, 'all sixteen hear the hub')
    // By now every peer has been judged for its address.
    heard.clear()
    await settle(() => {
      hub.pubsub.publish('topic', new Uint8Array(10))
      return heard.size === 16
    }, 'all sixteen still hear it')
  })

  test('a peer to which the stream has died is heard by again, although its connection stayed open', async () => {
    const [a, b] = [await meshNode({ mesh: MESH, secrets: [] }), await meshNode({ mesh: MESH, secrets: [] })]
    for (const { libp2p, stop } of [a, b]) {
      ends.push(stop)
      await libp2p.start()
    }
    await b.listen(multiaddr('/ip4/127.0.0.1/tcp/0'))
    const connection = await a.libp2p.dial(multiaddr(`/ip4/127.0.0.1/tcp/${b.port()}`))
    const links = { up: () => [{ id: connection.remotePeer.toString(), connection }] }
    const [from, to] = [
      new Libp2pPubSub(a.gossip, links, loudLog),
      new Libp2pPubSub(b.gossip, { up: () => [] }, loudLog)
    ]
    const heard = new Set<string>()
    to.subscribe('topic', message => heard.add(Buffer.from(message).toString()))
    for (const pubsub of [from, to]) {
      pubsub.start()
      ends.push(() => pubsub.stop())
    }
    const publishUntilHeard = async (what: string) => {
      await settle(() => {
        from.publish('topic', Buffer.from(what))
        return heard.has(what)
      }, what)
    }
    await publishUntilHeard('a message')
    const meshsub = connection.streams.filter(
      stream => stream.protocol.startsWith('/meshsub') && stream.direction === 'outbound'
    )
    expect(meshsub).toHaveLength(1)
    meshsub[0]!.abort(new Error('the test kills it'))
    await publishUntilHeard('a message after the stream had died')
  })
})

describe('listening', { timeout: 30_000 }, () => {
  test('an address of its own by another name is itself', async () => {
    const a = await member()
    expect(await a.transport.connect(a.address.replace('127.0.0.1', 'localhost'))).toBe(a.transport.self)
    expect(a.heard.history).toEqual([])
  })

  test('the first free port of a range is taken; none free says what to do', async () => {
    const port = Number((await freeAddress()).split(':')[1])
    const range = `127.0.0.1:${port}-${port + 1}`
    expect((await member(range)).address).toBe(`127.0.0.1:${port}`)
    expect((await member(range)).address).toBe(`127.0.0.1:${port + 1}`)
    await expect(member(range)).rejects.toMatchObject({
      code: 'ERR_MESH_LISTEN',
      message: expect.stringMatching(/range/)
    })
  })

  test('an address of another machine says so', async () => {
    await expect(member('192.0.2.1:0')).rejects.toMatchObject({
      code: 'ERR_MESH_LISTEN',
      message: expect.stringMatching(/EADDRNOTAVAIL/)
    })
  })

  test('it does not start while keys of connections would be logged', async () => {
    process.env.DUMP_SESSION_KEYS = '1'
    ends.push(() => {
      delete process.env.DUMP_SESSION_KEYS
    })
    await expect(member()).rejects.toMatchObject({ code: 'ERR_MESH_SECRET' })
    delete process.env.DUMP_SESSION_KEYS
    const { NODE_OPTIONS = '' } = process.env
    process.env.NODE_OPTIONS = `${NODE_OPTIONS} --tls-keylog=/dev/null`
    ends.push(() => {
      process.env.NODE_OPTIONS = NODE_OPTIONS
    })
    await expect(member()).rejects.toMatchObject({
      code: 'ERR_MESH_SECRET',
      message: expect.stringMatching(/--tls-keylog/)
    })
  })
})

test('after a stop nothing keeps the process alive', { timeout: 60_000 }, async () => {
  const script = `
    import { runnerImport } from 'vite'
    const { module } = await runnerImport(${JSON.stringify(join(import.meta.dirname, 'exit-probe.ts'))})
    await module.startMeetAndStop()
    process.stdout.write('stopped')
  `
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  ends.push(() => child.kill())
  let stoppedMs = 0
  child.stdout.on('data', data => {
    if (String(data).includes('stopped')) stoppedMs = performance.now()
  })
  const code = await new Promise(resolve => child.once('exit', resolve))
  expect(code).toBe(0)
  expect(stoppedMs).toBeGreaterThan(0)
  // A timer that is forgotten takes 1,000 ms; a busy machine takes less than half of that to end a process.
  expect(performance.now() - stoppedMs).toBeLessThan(400)
})

/** Passes bytes on to an address until it is told to freeze (a cable pulled out) or to cut (a process killed). */
async function freezingProxy(target: Address) {
  const [host, port] = target.split(':')
  const sockets: Socket[] = []
  const server = createServer(client => {
    const upstream = connect(Number(port), host)
    sockets.push(client, upstream)
    for (const [from, to] of [
      [client, upstream],
      [upstream, client]
    ] as const) {
      // Sockets die here by design.
      from.on('error', () => {})
      from.on('data', data => {
        if (!frozen) to.write(data)
      })
      from.on('close', () => {
        if (!frozen) to.destroy()
      })
    }
  })
  let frozen = false
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  ends.push(() => {
    cut()
    server.close()
  })
  const bound = server.address()
  if (bound === null || typeof bound === 'string') throw new Error('no port')
  const freeze = (value = true) => {
    frozen = value
  }
  return { address: `127.0.0.1:${bound.port}`, sockets, freeze, cut }
}

/** A peer that holds the secret and speaks the protocol by hand. */
async function rawPeer(address: Address, confirms: boolean) {
  const node = await meshNode({ mesh: MESH, secrets: [] })
  ends.push(() => node.stop())
  await node.libp2p.start()
  const [host, port] = address.split(':')
  const connection = await node.libp2p.dial(multiaddr(`/ip4/${host}/tcp/${port}`))
  const open = () => connection.newStream(LINK_PROTOCOL)
  const streams: Stream[] = []
  const answers: Uint8Array[] = []
  const greet = (stream: Stream, kind: 'open' | 'confirm', lane: 'data' | 'bulk') =>
    stream.send(Buffer.concat([Uint8Array.of(0, 0, 0, 12), encodeGreeting({ kind, lane, offer: 1 })]))
  for (const lane of LANES) {
    const stream = await open()
    stream.addEventListener('message', event => {
      answers.push(event.data.subarray())
      if (confirms) greet(stream, 'confirm', lane)
    })
    streams.push(stream)
    greet(stream, 'open', lane)
  }
  return { streams, answers, open }
}
