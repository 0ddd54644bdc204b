/** Who may join: whoever holds the secret, and nobody is let in by mistake. */
import { createServer, type Server } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { libp2pAdapters } from '../../lib/adapters/libp2p-transport.ts'
import { createMesh, type MeshOptions } from '../../lib/index.ts'
import { noLog } from '../../lib/ports/log.ts'
import type { Plan } from './member.ts'
import { addressOf, allReady, freePorts, type MemberProcess, Processes, until, viewsOf } from './processes.ts'

const SECRET = 'b2xkIHNlY3JldCBvZiB0aGlzIHRlc3QsIG5vdCByYW5kb20='
const OTHER = 'bmV3IHNlY3JldCBvZiB0aGlzIHRlc3QsIG5vdCByYW5kb20='
/** Several rounds of discovery, in each of which they dial each other again. */
const STRANGERS_MS = 4_000

let processes: Processes

beforeEach(() => {
  processes = new Processes()
})

afterEach(() => processes.end())

describe('a stranger', () => {
  it.each([
    ['with another secret', { name: 'shop', secret: OTHER }],
    ['without a secret', { name: 'shop' }],
    ['of a mesh with another name', { name: 'store', secret: SECRET }]
  ] satisfies [string, Plan][])('%s never appears in a view, nor sees anybody', async (_, plan) => {
    const members = await processes.mesh(2, { name: 'shop', secret: SECRET })
    const seed = await addressOf(members[0] as MemberProcess)
    // It knows their address, and they find its own in the directory that they share.
    const stranger = await processes.member({ ...plan, localDir: defaultDir(), seeds: [seed] })
    const knowsIt = { name: 'shop', secret: SECRET, seeds: [seed, await addressOf(stranger)] }
    const third = await processes.member(knowsIt)
    await allReady([...members, third], 3)
    const since = performance.now()
    while (performance.now() - since < STRANGERS_MS) {
      const [own, ...theirs] = await viewsOf([stranger, ...members, third])
      expect(own?.length).toBe(1)
      expect(theirs.map(view => view.length)).toEqual([3, 3, 3])
      expect(theirs.flat()).not.toContain(own?.[0])
      await sleep(100)
    }
    await stranger.ask('ready', 1, 1_000)
  })

  it('is refused in the handshake and cannot be heard, where one with the secret is', async () => {
    const member = await processes.member({ name: 'shop', secret: SECRET, localDir: defaultDir() })
    const address = await addressOf(member)
    for (const secrets of [[OTHER], []]) {
      await using intruder = await shoutAt(address, secrets)
      await expect(intruder.connect()).rejects.toThrow(/cannot connect/)
      const since = performance.now()
      while (performance.now() - since < 1_000) {
        intruder.shout()
        await sleep(50)
      }
      const { linksRefusedTotal } = await member.ask('stats')
      expect(linksRefusedTotal).toBe(0)
    }
    // The same noise from one that is let in is heard, and refused for what it says.
    await using insider = await shoutAt(address, [SECRET])
    await insider.connect()
    await until('nonsense of an insider is heard', 5_000, async () => {
      insider.shout()
      return (await member.ask('stats')).linksRefusedTotal > 0
    })
  })
})

describe('a secret', () => {
  it('is changed without a mesh ever falling in two', async () => {
    const both = { name: 'shop', secret: [OTHER, SECRET] }
    const before = await processes.member({ name: 'shop', secret: SECRET })
    const rotating = await Promise.all([processes.member(both), processes.member(both)])
    await allReady([before, ...rotating], 3)
    await before.ask('leave')
    const after = await processes.member({ name: 'shop', secret: OTHER })
    await allReady([after, ...rotating], 3)
    const views = await viewsOf([after, ...rotating])
    for (const view of views) expect(view).toEqual(views[0])
  })
})

describe('a mesh that others could reach', () => {
  const discovery = [() => []]

  it.each([
    ['no secret', { listen: '0.0.0.0:0', discovery }, 'ERR_MESH_SECRET', /same secret.*openssl rand.*insecure: true/],
    [
      'a short secret',
      { listen: '0.0.0.0:0', discovery, secret: 'hunter2' },
      'ERR_MESH_SECRET',
      /at least 32 .*openssl/
    ],
    ['an empty list of secrets', { listen: '10.0.0.5:7700', discovery, secret: [] }, 'ERR_MESH_SECRET', /openssl/],
    ['no discovery', { listen: '0.0.0.0:0', secret: SECRET }, 'ERR_MESH_OPTION', /mesh of its own.*seeds\(/]
  ] satisfies [string, Omit<MeshOptions, 'name'>, string, RegExp][])(
    'does not start with %s, and says what to do',
    async (_, options, code, message) => {
      const created = createMesh({ name: 'open', ...options })
      await expect(created).rejects.toMatchObject({ code, message: expect.stringMatching(message) })
      await expect(created).rejects.not.toMatchObject({ message: expect.stringContaining('hunter2') })
    }
  )

  it('is refused a short secret on loopback as well', async () => {
    await expect(createMesh({ name: 'open', listen: '127.0.0.1:0', secret: 'short' })).rejects.toMatchObject({
      code: 'ERR_MESH_SECRET'
    })
  })
})

describe('a port', () => {
  it('that is taken is an error that says so, and a range takes the next one', async () => {
    const from = await freePorts(4)
    const taken = await occupy(from)
    try {
      await expect(processes.member({ name: 'shop', listen: `127.0.0.1:${from}` })).rejects.toMatchObject({
        code: 'ERR_MESH_LISTEN',
        message: expect.stringMatching(/no port of it is free.*range/)
      })
      const members = await processes.mesh(3, { name: 'shop', listen: `127.0.0.1:${from}-${from + 3}` })
      const addresses = await Promise.all(members.map(addressOf))
      expect(addresses.sort()).toEqual([1, 2, 3].map(i => `127.0.0.1:${from + i}`))
      await expect(processes.member({ name: 'shop', listen: `127.0.0.1:${from}-${from + 3}` })).rejects.toMatchObject({
        code: 'ERR_MESH_LISTEN'
      })
    } finally {
      await new Promise(resolve => taken.close(resolve))
    }
  })
})

/** The directory in which the default `local()` of these processes looks. */
function defaultDir(): string {
  return `${processes.dir}/cachemesh-${process.getuid?.() ?? 'user'}`
}

/** A peer that speaks the protocol below the mesh and gossips nonsense where members tell of each other. */
async function shoutAt(address: string, secrets: readonly string[]) {
  const ignored = { onUp: () => {}, onDown: () => {}, onFrame: () => {}, onDrain: () => {} }
  const { transport, pubsub } = await libp2pAdapters({ mesh: 'shop', secrets, listen: false, log: noLog })
  await transport.start(ignored)
  const topic = 'cachemesh/shop/members'
  pubsub.subscribe(topic, () => {})
  return {
    connect: () => transport.connect(address),
    shout: () => pubsub.publish(topic, new Uint8Array([255, 254, 253])),
    [Symbol.asyncDispose]: () => transport.stop()
  }
}

function occupy(port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => resolve(server))
  })
}
