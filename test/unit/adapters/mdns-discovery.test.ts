/**
 * What members say and believe is tested in a network of this process, in virtual time. What follows speaks real
 * multicast, on loopback and a port of the test's own: nothing leaves the machine.
 */
import { execFile } from 'node:child_process'
import { createSocket, Socket } from 'node:dgram'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { networkInterfaces } from 'node:os'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { rolldown } from 'rolldown'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { type MdnsSurroundings, mdns, mdnsSource } from '../../../lib/adapters/mdns-discovery.ts'
import { type Hear, type OwnRecord, openWire, type Packet, type Wire } from '../../../lib/adapters/mdns-wire.ts'
import { nodeClock } from '../../../lib/adapters/node-clock.ts'
import { nodeRandom } from '../../../lib/adapters/node-random.ts'
import { turn } from '../../../lib/adapters/turn.ts'
import { isMeshError } from '../../../lib/base/errors.ts'
import type { DiscoverySource } from '../../../lib/ports/discovery.ts'
import { seededRandom } from '../../../lib/sim/random.ts'
import { Process, World } from '../../../lib/sim/world.ts'
import { settleInRealTime } from '../../conformance/settle.ts'

/** The interfaces of this host, or those a test says it has. */
const interfaces = vi.hoisted((): { pretended: ReturnType<typeof networkInterfaces> | undefined } => ({
  pretended: undefined
}))

vi.mock('node:os', async importOriginal => {
  const os = await importOriginal<typeof import('node:os')>()
  return { ...os, networkInterfaces: () => interfaces.pretended ?? os.networkInterfaces() }
})

const GROUP = '224.0.0.251'
const LOOPBACK = '127.0.0.1'
const signal = new AbortController().signal
const NETWORK_DOWN = new Error('send ENETUNREACH 224.0.0.251:5353')

interface Said {
  readonly atMs: number
  readonly from: string
  readonly packet: Packet
}

/** A local network in virtual time: what one says all hear, itself too, a millisecond later. */
class Network {
  readonly world = new World(turn)
  readonly said: Said[] = []
  readonly #hearers = new Set<Hear>()
  isDown = false
  losesNext = 0
  /** How long sending takes. */
  slowMs = 0
  opened: (string | undefined)[] = []

  around(from: string): MdnsSurroundings {
    return {
      clock: this.world.clockOf(new Process(from, 0)),
      random: seededRandom(from),
      hosts: () => [LOOPBACK, '10.0.0.1', '192.168.0.1'],
      open: async (hear, onlyOn) => {
        this.opened.push(onlyOn)
        this.#hearers.add(hear)
        return this.#wire(hear, from)
      }
    }
  }

  get openWires(): number {
    return this.#hearers.size
  }

  say(packet: Packet, from: string): void {
    this.said.push({ atMs: this.world.nowMs, from, packet })
    if (this.losesNext > 0) this.losesNext--
    else this.world.after(1, undefined, () => [...this.#hearers].map(hear => hear(packet, from)))
  }

  #wire(hear: Hear, from: string): Wire {
    const send = async (packet: Packet): Promise<void> => {
      if (this.isDown) throw NETWORK_DOWN
      if (this.slowMs > 0) await new Promise<void>(sent => this.world.after(this.slowMs, undefined, sent))
      this.say(packet, from)
    }
    return {
      join: () => {},
      ask: name => send({ questions: [{ name, type: 'PTR' }], answers: [] }),
      answer: records => send({ questions: [], answers: records.map(decoded) }),
      close: async () => void this.#hearers.delete(hear)
    }
  }
}

/** Texts arrive as bytes. */
function decoded(record: OwnRecord): Packet['answers'][number] {
  return record.type === 'TXT' ? { ...record, data: record.data.map(text => Buffer.from(text)) } : record
}

let net: Network

beforeEach(() => {
  net = new Network()
})

interface Announced {
  readonly source: DiscoverySource
  readonly leave: () => Promise<void>
}

async function announced(
  id: string,
  addresses: readonly string[],
  o: { mesh?: string; from?: string } = {}
): Promise<Announced> {
  const source = mdnsSource({}, net.around(o.from ?? '10.0.0.1'))
  return { source, leave: await source.announce!({ mesh: o.mesh ?? 'shop', id, addresses }) }
}

const find = (source: DiscoverySource) => net.world.until(Promise.resolve(source.find({ signal })), 10_000)
const questions = () => net.said.filter(({ packet }) => packet.questions.length > 0)
const answers = () => net.said.filter(({ packet }) => packet.answers.length > 0)

describe('members', () => {
  it('find each other and not themselves', async () => {
    const a = await announced('a', ['10.0.0.1:7700'])
    const b = await announced('b', ['10.0.0.2:7700', '[fd00::2]:7700'])
    expect(await find(a.source)).toEqual(['10.0.0.2:7700', '[fd00::2]:7700'])
    expect(await find(b.source)).toEqual(['10.0.0.1:7700'])
  })

  it('hear of a newcomer at once, and not at their next question', async () => {
    const a = await announced('a', ['10.0.0.1:7700'])
    await net.world.run(5_000)
    await announced('b', ['10.0.0.2:7700'])
    await net.world.run(150)
    expect(await find(a.source)).toEqual(['10.0.0.2:7700'])
  })

  it('hear nothing of another mesh, and its name is not said', async () => {
    const a = await announced('a', ['10.0.0.1:7700'])
    await announced('b', ['10.0.0.2:7700'], { mesh: 'another' })
    expect(await find(a.source)).toEqual([])
    const names = net.said.flatMap(({ packet }) => [...packet.questions, ...packet.answers].map(({ name }) => name))
    expect(new Set(names.map(name => name.replace(/[0-9a-f]{12,}/g, '#')))).toEqual(
      new Set(['_cm-#._tcp.local', '#._cm-#._tcp.local'])
    )
    expect(JSON.stringify(net.said)).not.toMatch(/shop|another/)
    // Members of different versions must agree on it.
    expect(names).toContain('_cm-d4234686fe5f._tcp.local')
  })

  it('that only dial find others and are not found', async () => {
    const a = await announced('a', ['10.0.0.1:7700'])
    const client = await announced('client', [])
    expect(await find(client.source)).toEqual(['10.0.0.1:7700'])
    expect(await find(a.source)).toEqual([])
    await client.leave()
    expect(answers().every(({ packet }) => packet.answers.some(({ data }) => `${data}` === 'a0=10.0.0.1:7700'))).toBe(
      true
    )
  })

  it('that leave are forgotten at once, and their socket is closed', async () => {
    const a = await announced('a', ['10.0.0.1:7700'])
    const b = await announced('b', ['10.0.0.2:7700'])
    expect(await find(a.source)).toHaveLength(1)
    expect(await find(b.source)).toHaveLength(1)
    await Promise.all([b.leave(), b.leave()])
    expect(await find(b.source)).toEqual([])
    await net.world.run(10)
    expect(await find(a.source)).toEqual([])
    expect(net.openWires).toBe(1)
    expect(answers().filter(({ packet }) => packet.answers.some(({ ttl }) => ttl === 0))).toHaveLength(1)
    await a.leave()
    const before = net.said.length
    await net.world.run(100_000)
    expect(net.said).toHaveLength(before)
    expect(await find(a.source)).toEqual([])
  })

  it('that leave before they have answered are not heard of afterwards', async () => {
    const a = await announced('a', ['10.0.0.1:7700'])
    const b = await announced('b', ['10.0.0.2:7700'])
    await net.world.run(5)
    await b.leave()
    await net.world.run(2_000)
    expect(await find(a.source)).toEqual([])
  })

  it('that are asked while they leave say nothing any more', async () => {
    const a = await announced('a', ['10.0.0.1:7700'])
    await net.world.run(3_000)
    net.slowMs = 50
    const left = a.leave()
    net.say(questions()[0]!.packet, '10.0.0.9')
    await net.world.until(left, 1_000)
    const before = net.said.length
    await net.world.run(100_000)
    expect(net.said).toHaveLength(before)
  })

  it('that crash are forgotten after 80 s, and those that live are not, in an hour', async () => {
    const a = await announced('a', ['10.0.0.1:7700'])
    const b = await announced('b', ['10.0.0.2:7700'])
    for (let minute = 0; minute < 60; minute++) {
      await net.world.run(60_000)
      expect(await find(a.source)).toEqual(['10.0.0.2:7700'])
      expect(await find(b.source)).toEqual(['10.0.0.1:7700'])
    }
    const crashed = await announced('c', ['10.0.0.3:7700'])
    await net.world.run(2_000)
    net.isDown = true
    await net.world.run(79_000)
    expect(await find(a.source)).toContain('10.0.0.3:7700')
    await net.world.run(2_000)
    await expect(find(a.source)).rejects.toBe(NETWORK_DOWN)
    expect(crashed.source.name).toBe('mdns')
  })

  it('find the first other although the first question is lost', async () => {
    await announced('a', ['10.0.0.1:7700'])
    await net.world.run(3_000)
    net.losesNext = 1
    const b = await announced('b', ['10.0.0.2:7700'])
    expect(await find(b.source)).toEqual(['10.0.0.1:7700'])
  })

  it('are few or many, the network carries one question in 20 s and an answer each', async () => {
    for (let i = 0; i < 50; i++) await announced(`m${i}`, [`10.0.1.${i}:7700`], { from: `10.0.1.${i}` })
    await net.world.run(30_000)
    net.said.length = 0
    await net.world.run(200_000)
    expect(questions().length).toBeGreaterThanOrEqual(8)
    expect(questions().length).toBeLessThanOrEqual(20)
    expect(answers()).toHaveLength(questions().length * 50)
  })

  it('answer at most once in a second, however often they are asked', async () => {
    await announced('a', ['10.0.0.1:7700'])
    await net.world.run(3_000)
    const [question] = questions()
    net.said.length = 0
    for (let i = 0; i < 500; i++) {
      net.say(question!.packet, '10.0.0.9')
      await net.world.run(10)
    }
    const times = answers().map(({ atMs }) => atMs)
    expect(times).toHaveLength(5)
    expect(times.every((atMs, i) => i === 0 || atMs - times[i - 1]! >= 1_000)).toBe(true)
  })

  it('answer questions for members of their mesh, and no others', async () => {
    await announced('a', ['10.0.0.1:7700'])
    await net.world.run(3_000)
    const { name } = questions()[0]!.packet.questions[0]!
    net.said.length = 0
    for (const question of [
      { name: '_ipp._tcp.local', type: 'PTR' },
      { name, type: 'A' },
      { name: '', type: 'PTR' }
    ]) {
      net.say({ questions: [question], answers: [] }, '10.0.0.9')
      await net.world.run(1_000)
    }
    expect(answers()).toEqual([])
    net.say(
      {
        questions: [
          { name: '', type: 'A' },
          { name: name.toUpperCase(), type: 'PTR' }
        ],
        answers: []
      },
      '10.0.0.9'
    )
    await net.world.run(1_000)
    expect(answers()).toHaveLength(1)
  })
})

describe('looking', () => {
  it('before the member is announced finds nothing and opens nothing', async () => {
    expect(await find(mdnsSource({}, net.around('10.0.0.1')))).toEqual([])
    expect(net.opened).toEqual([])
  })

  it('for the first time waits for the first answer, and no longer than 1.3 s for one', async () => {
    const a = await announced('a', ['10.0.0.1:7700'])
    const beganMs = net.world.nowMs
    expect(await find(a.source)).toEqual([])
    expect(net.world.nowMs - beganMs).toBeCloseTo(1_300, 0)
    await net.world.run(3_000)
    const b = await announced('b', ['10.0.0.2:7700'])
    const secondMs = net.world.nowMs
    expect(await find(b.source)).toEqual(['10.0.0.1:7700'])
    expect(net.world.nowMs - secondMs).toBeLessThanOrEqual(125)
  })

  it('ends at once when nobody wants to know any more, or the member leaves', async () => {
    const a = await announced('a', ['10.0.0.1:7700'])
    const controller = new AbortController()
    const found = Promise.resolve(a.source.find({ signal: controller.signal }))
    controller.abort(new Error('no longer wanted'))
    await expect(found).rejects.toThrow('no longer wanted')
    const another = Promise.resolve(a.source.find({ signal }))
    await a.leave()
    expect(await another).toEqual([])
  })

  it('tells why nothing can be said while nobody is heard, and forgets it when it can', async () => {
    net.isDown = true
    const a = await announced('a', ['10.0.0.1:7700'])
    await expect(find(a.source)).rejects.toBe(NETWORK_DOWN)
    net.isDown = false
    await net.world.run(30_000)
    expect(await find(a.source)).toEqual([])
    await announced('b', ['10.0.0.2:7700'])
    await net.world.run(2_000)
    net.isDown = true
    await net.world.run(60_000)
    expect(await find(a.source)).toEqual(['10.0.0.2:7700'])
    net.isDown = false
    await net.world.run(30_000)
    await expect(find(a.source)).resolves.toEqual(['10.0.0.2:7700'])
  })

  it('after opening has failed fails with the same, and the source can be used again', async () => {
    const around = net.around('10.0.0.1')
    let isBroken = true
    const open: MdnsSurroundings['open'] = (hear, onlyOn) =>
      isBroken ? Promise.reject(NETWORK_DOWN) : around.open(hear, onlyOn)
    const source = mdnsSource({}, { ...around, open })
    const announce = () => source.announce!({ mesh: 'shop', id: 'a', addresses: ['10.0.0.1:7700'] })
    await expect(announce()).rejects.toBe(NETWORK_DOWN)
    await expect(find(source)).rejects.toBe(NETWORK_DOWN)
    isBroken = false
    const leave = await announce()
    await expect(announce()).rejects.toMatchObject({ code: 'ERR_MESH_OPTION' })
    expect(await find(source)).toEqual([])
    await leave()
    await (await announce())()
  })
})

describe('what is heard', () => {
  /** The service of the mesh 'shop', and a member that listens. */
  async function listener(from = '10.0.0.1') {
    const { source } = await announced('a', [], { from })
    await net.world.run(2_000)
    const [question] = questions()
    return { source, service: question!.packet.questions[0]!.name }
  }

  function announcement(service: string, i: number, addresses: readonly unknown[], ttl: unknown = 80): Packet {
    const name = `${i.toString(16).padStart(16, '0')}.${service}`
    const data = addresses.map((address, at) => Buffer.from(`a${at}=${address}`))
    return { questions: [], answers: [{ name, type: 'TXT', ttl, data }] }
  }

  async function heard(packet: Packet, from = '10.0.0.9', to = '10.0.0.1'): Promise<readonly string[]> {
    const { source } = await listener(to)
    net.say(packet, from)
    await net.world.run(10)
    return await find(source)
  }

  it.each([
    ['10.0.0.5:7700', '10.0.0.5:7700'],
    ['[fd00::5]:7700', '[fd00::5]:7700'],
    ['10.0.0.5:07700', '10.0.0.5:7700'],
    ['10.0.0.5:0', undefined],
    ['10.0.0.5:65536', undefined],
    ['10.0.0.5:1-200', undefined],
    ['10.0.0.5', undefined],
    ['', undefined],
    ['evil.example:7700', undefined],
    ['localhost:22', undefined],
    ['010.0.0.5:7700', undefined],
    ['0.0.0.0:22', undefined],
    ['[::]:22', undefined],
    ['[::ffff:0.0.0.0]:22', undefined],
    ['224.0.0.251:5353', undefined],
    ['255.255.255.255:7', undefined],
    ['[ff02::fb]:5353', undefined],
    ['[fe80::1]:7700', undefined],
    ['[fe80::1%eth0]:7700', undefined],
    ['[fd00::1%eth0]:7700', undefined],
    ['127.0.0.1:22', undefined],
    ['[::1]:22', undefined],
    ['[::ffff:127.0.0.1]:22', undefined],
    [`[${'0'.repeat(70)}::5]:7700`, undefined],
    ['10.0.0.5:7700\n', undefined]
  ])('%j counts as %s', async (address, expected) => {
    const { service } = await listener()
    expect(await heard(announcement(service, 1, [address]))).toEqual(expected === undefined ? [] : [expected])
  })

  it('on loopback counts from this host', async () => {
    const { service } = await listener()
    expect(await heard(announcement(service, 1, ['127.0.0.1:7700', '[::1]:7700']), '127.0.0.1')).toEqual([
      '127.0.0.1:7700',
      '[::1]:7700'
    ])
  })

  it('counts in any case of letters, as DNS has it', async () => {
    const { service } = await listener()
    const { answers: records } = announcement(service, 10, ['10.0.0.5:7700'])
    const shouted = records.map(record => ({ ...record, name: record.name.toUpperCase() }))
    expect(await heard({ questions: [], answers: shouted })).toEqual(['10.0.0.5:7700'])
  })

  it('does not count when it is no announcement of a member', async () => {
    const { service } = await listener()
    const data = [Buffer.from('a0=10.0.0.5:7700')]
    const name = `${'0'.repeat(16)}.${service}`
    for (const answer of [
      { name, type: 'A', ttl: 80, data },
      { name: service, type: 'TXT', ttl: 80, data },
      { name: `x.${service}`, type: 'TXT', ttl: 80, data },
      { name: `${name}.`, type: 'TXT', ttl: 80, data },
      { name: `0.${name}`, type: 'TXT', ttl: 80, data },
      { name: '', type: 'TXT', ttl: 80, data },
      { name, type: 'TXT', ttl: 80, data: undefined },
      { name, type: 'TXT', ttl: 80, data: 'a0=10.0.0.5:7700' },
      { name, type: 'TXT', ttl: 80, data: [Buffer.from('b0=10.0.0.5:7700'), Buffer.alloc(0), 7, null] }
    ]) {
      expect(await heard({ questions: [], answers: [answer] })).toEqual([])
    }
  })

  it('is kept for 256 members, those heard last, with 16 addresses each, and named are 256', async () => {
    const { source, service } = await listener()
    for (let i = 0; i < 300; i++) net.say(announcement(service, i, [`10.1.${i >> 8}.${i & 255}:1`]), '10.0.0.9')
    net.say(announcement(service, 44, ['10.1.0.44:1']), '10.0.0.9')
    net.say(announcement(service, 300, ['10.1.1.44:1']), '10.0.0.9')
    await net.world.run(10)
    const found = await find(source)
    expect(found).toHaveLength(256)
    expect(found.slice(0, 3)).toEqual(['10.1.1.44:1', '10.1.0.44:1', '10.1.1.43:1'])
    expect(found).not.toContain('10.1.0.45:1')
    for (let i = 45; i <= 300; i++) net.say(announcement(service, i, [], 0), '10.0.0.9')
    await net.world.run(10)
    expect(await find(source)).toEqual(['10.1.0.44:1'])
    const many = Array.from({ length: 40 }, (_, i) => `10.2.0.${i}:1`)
    for (let i = 0; i < 30; i++)
      net.say(
        announcement(
          service,
          i,
          many.map(each => each.replace('2', `${i}`))
        ),
        '10.0.0.9'
      )
    await net.world.run(10)
    const more = await find(source)
    expect(more).toHaveLength(256)
    expect(more.slice(15, 17)).toEqual(['10.29.0.15:1', '10.28.0.0:1'])
  })

  it('replaces what the member said before', async () => {
    const { source, service } = await listener()
    net.say(announcement(service, 1, ['10.0.0.5:1']), '10.0.0.9')
    net.say(announcement(service, 1, ['10.0.0.5:2']), '10.0.0.9')
    await net.world.run(10)
    expect(await find(source)).toEqual(['10.0.0.5:2'])
  })
})

describe('what is announced', () => {
  const announce = (addresses: string[], o: { interface?: string } = {}) =>
    mdnsSource(o, net.around('10.0.0.1')).announce!({ mesh: 'shop', id: 'a', addresses })

  async function texts(): Promise<string[]> {
    await net.world.run(2_000)
    const [answer] = answers()
    return (answer!.packet.answers[1]!.data as Buffer[]).map(String)
  }

  it.each([
    [['127.0.0.1:7700', '[::1]:7700'], {}, LOOPBACK],
    [['[::1]:7700'], {}, LOOPBACK],
    [['192.168.0.1:7700'], {}, '192.168.0.1'],
    [['127.0.0.1:7700', '192.168.0.1:7700'], {}, '192.168.0.1'],
    [['192.168.0.10:7700'], {}, undefined],
    [['[fd00::1]:7700'], {}, undefined],
    [[], {}, undefined],
    [[], { interface: '10.0.0.1' }, '10.0.0.1'],
    [['192.168.0.1:7700'], { interface: '10.0.0.1' }, '10.0.0.1']
  ])('is said where others are to dial: %j with %j on %s', async (addresses, o, onlyOn) => {
    await announce(addresses, o)
    expect(net.opened).toEqual([onlyOn])
  })

  it('is what others can dial', async () => {
    await announce(['shop.internal:7700', '127.0.0.1:7700', '10.0.0.1:7700', '[fd00::1]:7700'])
    expect(await texts()).toEqual(['a0=10.0.0.1:7700', 'a1=[fd00::1]:7700'])
  })

  it('is at most 16 addresses', async () => {
    await announce(Array.from({ length: 20 }, (_, i) => `10.0.0.${i}:1`))
    expect(await texts()).toHaveLength(16)
  })

  it.each([
    [['shop.internal:7700'], {}],
    [['127.0.0.1:7700'], { interface: '10.0.0.1' }]
  ])('is not nothing: %j with %j is refused', async (addresses, o) => {
    await expect(announce(addresses, o)).rejects.toMatchObject({
      code: 'ERR_MESH_OPTION',
      message: expect.stringMatching(new RegExp(`^Expected IP addresses .*, got ${addresses[0]}\\. Write listen: `))
    })
  })
})

describe('at the door', () => {
  const refused = (o: unknown): string => {
    try {
      mdns(o as never)
    } catch (error) {
      if (isMeshError(error, 'ERR_MESH_OPTION')) return error.message
      throw error
    }
    return 'accepted'
  }

  it('options that are none, unknown ones and what is no IPv4 address are refused', () => {
    expect(refused(null)).toMatch(/^Expected the options of mdns\(\) to be an object, got null/)
    expect(refused({ iface: 'eth0' })).toBe("Unknown option 'iface' of mdns(). Known is interface.")
    for (const wrong of ['eth0', '::1', '', 7])
      expect(refused({ interface: wrong })).toMatch(
        /^Expected interface of mdns\(\) to be an IPv4 address .*, got .*10\.0/
      )
    expect(refused({})).toBe('accepted')
    expect(refused({ interface: undefined })).toBe('accepted')
    expect(refused({ interface: '10.0.0.5' })).toBe('accepted')
  })
})

describe('real multicast on loopback', () => {
  let port: number
  const sockets: Socket[] = []
  const members: { leave: () => Promise<void> }[] = []

  beforeEach(async () => {
    const probe = createSocket('udp4')
    await new Promise<void>(resolve => probe.bind(0, LOOPBACK, resolve))
    port = probe.address().port
    probe.close()
  })

  afterEach(async () => {
    await Promise.all(members.splice(0).map(member => member.leave()))
    for (const socket of sockets.splice(0)) socket.close()
    interfaces.pretended = undefined
  })

  const onLoopback = (): MdnsSurroundings => ({
    clock: nodeClock(),
    random: nodeRandom(),
    hosts: () => [LOOPBACK],
    open: (hear, onlyOn) => openWire(hear, onlyOn, port)
  })

  async function member(id: string, addresses: string[], o: { interface?: string } = {}) {
    const source = mdnsSource(o, onLoopback())
    const leave = await source.announce!({ mesh: 'shop', id, addresses })
    members.push({ leave })
    return { leave, find: async () => await source.find({ signal }) }
  }

  /** Somebody who speaks to the group, and hears it, with what was sent from where. */
  async function stranger() {
    const socket = createSocket({ type: 'udp4', reuseAddr: true })
    sockets.push(socket)
    const got: { bytes: Buffer; from: string }[] = []
    socket.on('message', (bytes, { address }) => got.push({ bytes, from: address }))
    await new Promise<void>(resolve => socket.bind({ port, address: '0.0.0.0', exclusive: true }, resolve))
    socket.setMulticastInterface(LOOPBACK)
    socket.addMembership(GROUP, LOOPBACK)
    return { got, say: (bytes: Buffer) => new Promise<void>(sent => socket.send(bytes, port, GROUP, () => sent())) }
  }

  it('members find each other, and forget who leaves; nothing is sent from another address than 127.0.0.1', async () => {
    const { got } = await stranger()
    const a = await member('a', ['127.0.0.1:1'])
    const b = await member('b', ['127.0.0.1:2', '[::1]:2'])
    expect(await a.find()).toEqual(['127.0.0.1:2', '[::1]:2'])
    expect(await b.find()).toEqual(['127.0.0.1:1'])
    const c = await member('c', ['127.0.0.1:3'])
    await settleInRealTime(() => got.length > 5, 'c is announced')
    expect([...(await a.find())].sort()).toEqual(['127.0.0.1:2', '127.0.0.1:3', '[::1]:2'])
    await Promise.all([b.leave(), c.leave()])
    const until = performance.now() + 5_000
    while ((await a.find()).length > 0 && performance.now() < until) await turn()
    expect(await a.find()).toEqual([])
    expect(new Set(got.map(({ from }) => from))).toEqual(new Set([LOOPBACK]))
  })

  it('a member that has left holds no socket', async () => {
    const a = await member('a', ['127.0.0.1:1'])
    await a.leave()
    const selfish = createSocket({ type: 'udp4', reuseAddr: false })
    sockets.push(selfish)
    await new Promise<void>((resolve, reject) => {
      selfish.once('error', reject)
      selfish.bind({ port, address: '0.0.0.0' }, resolve)
    })
  })

  it('sixteen of the longest addresses arrive', async () => {
    const all = Array.from({ length: 16 }, (_, i) => `[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ff${i.toString(16)}0]:65535`)
    await member('a', all, { interface: LOOPBACK })
    const b = await member('b', ['127.0.0.1:2'])
    expect(await b.find()).toEqual(all)
  })

  /** What a member of the name announces, as bytes. */
  async function announcement({ got }: { got: readonly { bytes: Buffer }[] }): Promise<string> {
    const isAnnouncement = ({ bytes }: { bytes: Buffer }): boolean => bytes.includes('a0=')
    await settleInRealTime(() => got.some(isAnnouncement), 'a member is announced')
    return got.find(isAnnouncement)!.bytes.toString('latin1')
  }

  /** The same of another member, at another port of one digit. */
  function another(text: string, instance: string, port_: number): Buffer {
    const [own] = /[0-9a-f]{16}/.exec(text)!
    return Buffer.from(text.replaceAll(own, instance.repeat(16)).replace(/:\d$/, `:${port_}`), 'latin1')
  }

  it('a message that is too large is not read', async () => {
    const { got, say } = await stranger()
    const a = await member('a', ['127.0.0.1:1'])
    const text = await announcement({ got })
    await say(Buffer.concat([another(text, 'b', 2), Buffer.alloc(1_472)]))
    await say(another(text, 'c', 3))
    await settleInRealTime(() => got.some(({ bytes }) => bytes.includes('c'.repeat(16))), 'both were sent')
    expect(await a.find()).toEqual(['127.0.0.1:3'])
  })

  it('a message from a network that the member does not speak to is not read', async () => {
    const { got, say } = await stranger()
    const a = await member('a', ['127.0.0.1:1'])
    const text = await announcement({ got })
    const elsewhere = { address: '127.0.0.9', netmask: '255.0.0.0', family: 'IPv4', mac: '', internal: false } as const
    interfaces.pretended = { other0: [{ ...elsewhere, cidr: '127.0.0.9/8' }] }
    const b = await member('b', ['127.0.0.1:2'])
    await say(another(text, 'c', 3))
    expect(await a.find()).not.toEqual([])
    expect(await b.find()).toEqual([])
  })

  it('what a question says about others is not believed', async () => {
    const { got, say } = await stranger()
    const a = await member('a', ['127.0.0.1:1'])
    const text = await announcement({ got })
    const asked = another(text, 'b', 2)
    asked.writeUInt16BE(0, 2)
    await say(asked)
    await say(another(text, 'c', 3))
    await settleInRealTime(() => got.some(({ bytes }) => bytes.includes('c'.repeat(16))), 'both were sent')
    expect(await a.find()).toEqual(['127.0.0.1:3'])
  })

  it('damaged messages disturb nobody', async () => {
    const { got, say } = await stranger()
    const a = await member('a', ['127.0.0.1:1'])
    const text = await announcement({ got })
    const random = seededRandom('damage')
    const whole = [another(text, 'b', 2), got[0]!.bytes]
    for (let i = 0; i < 500; i++) {
      const damaged = Buffer.from(whole[i % 2]!)
      for (let n = random.integer(4); n >= 0; n--) damaged[random.integer(damaged.length)] = random.integer(256)
      await say(damaged.subarray(0, random.integer(8) > 0 ? undefined : random.integer(damaged.length)))
      await turn()
    }
    await say(another(text, 'c', 3))
    await settleInRealTime(() => got.some(({ bytes }) => bytes.includes('c'.repeat(16))), 'all were sent')
    const found = await a.find()
    expect(found).toContain('127.0.0.1:3')
    expect(found.every(address => /^127\.\d+\.\d+\.\d+:\d$/.test(address))).toBe(true)
  })

  it('an interface that is not here, and a port that is not shared, are errors that say so', async () => {
    await expect(member('a', ['10.0.0.1:1'], { interface: '203.0.113.9' })).rejects.toMatchObject({
      code: 'ERR_MESH_OPTION',
      message: expect.stringMatching(
        /^Expected interface of mdns\(\) .*, got '203\.0\.113\.9' .* It has .*127\.0\.0\.1/
      )
    })
    const selfish = createSocket({ type: 'udp4', reuseAddr: false })
    sockets.push(selfish)
    await new Promise<void>(resolve => selfish.bind({ port, address: '0.0.0.0' }, resolve))
    await expect(member('a', ['127.0.0.1:1'])).rejects.toMatchObject({
      code: 'ERR_MESH_LISTEN',
      message: expect.stringMatching(/^mdns\(\) needs UDP port \d+ .*EADDRINUSE/)
    })
  })

  it('a member that only dials speaks where the system chooses, on a host with all kinds of interfaces', async () => {
    const swallow = [
      vi.spyOn(Socket.prototype, 'addMembership').mockReturnValue(),
      vi.spyOn(Socket.prototype, 'setMulticastInterface').mockReturnValue()
    ]
    const sending = vi.spyOn(Socket.prototype, 'send').mockImplementation((...args: unknown[]) => {
      const done = args.at(-1) as (error: null) => void
      done(null)
    })
    const common = { netmask: '', mac: '', internal: false }
    interfaces.pretended = {
      lo: [
        { ...common, address: '127.0.0.1', family: 'IPv4', cidr: '127.0.0.1/8' },
        { ...common, address: '::1', family: 'IPv6', cidr: '::1/128', scopeid: 0 }
      ],
      odd0: [{ ...common, address: '10.0.0.1', family: 'IPv4', cidr: null }]
    }
    try {
      const client = await member('client', [])
      expect(await client.find()).toEqual([])
      expect(sending).toHaveBeenCalled()
      await client.leave()
    } finally {
      for (const spy of [...swallow, sending]) spy.mockRestore()
    }
  })

  it('what cannot be sent is an error that says what to do', async () => {
    const sending = vi.spyOn(Socket.prototype, 'send').mockImplementation((...args: unknown[]) => {
      const done = args.at(-1) as (error: Error) => void
      done(new Error('send ENETUNREACH'))
    })
    try {
      const a = await member('a', ['127.0.0.1:1'])
      await expect(a.find()).rejects.toMatchObject({
        code: 'ERR_MESH_UNAVAILABLE',
        message: expect.stringMatching(/^mdns\(\) cannot speak .*: send ENETUNREACH\. .*name the interface: mdns\(\{/)
      })
    } finally {
      sending.mockRestore()
    }
  })

  it('where no interface can be joined nothing is said, and looking tells why', async () => {
    const { got } = await stranger()
    const joining = vi.spyOn(Socket.prototype, 'addMembership').mockImplementation(() => {
      throw new Error('addMembership ENODEV')
    })
    try {
      const a = await member('a', ['127.0.0.1:1'])
      await expect(a.find()).rejects.toMatchObject({
        code: 'ERR_MESH_UNAVAILABLE',
        message: 'mdns() hears nobody: no interface of this host has multicast: addMembership ENODEV'
      })
      expect(got).toEqual([])
    } finally {
      joining.mockRestore()
    }
  })

  describe('in processes of their own', () => {
    const root = resolve(import.meta.dirname, '../../..')
    let inside: string
    let outside: string

    /** One directory sees the packages of this project, the other none. */
    beforeAll(async () => {
      mkdirSync(join(root, '.artifacts'), { recursive: true })
      inside = mkdtempSync(join(root, '.artifacts/mdns-'))
      outside = mkdtempSync(join(tmpdir(), 'cachemesh-mdns-'))
      const of = (name: string) => join(root, `lib/adapters/${name}.ts`)
      const bundle = await rolldown({
        input: {
          mdns: of('mdns-discovery'),
          wire: of('mdns-wire'),
          clock: of('node-clock'),
          random: of('node-random')
        },
        platform: 'node',
        external: ['multicast-dns']
      })
      for (const dir of [inside, outside]) await bundle.write({ dir, entryFileNames: '[name].mjs' })
      await bundle.close()
    })

    afterAll(() => {
      for (const dir of [inside, outside]) rmSync(dir, { recursive: true, force: true })
    })

    async function run(dir: string, lines: readonly string[]): Promise<unknown> {
      const file = join(dir, 'main.mjs')
      writeFileSync(file, lines.join('\n'))
      const { stdout } = await promisify(execFile)(process.execPath, [file], { timeout: 20_000 })
      return JSON.parse(stdout)
    }

    /** A source as `onLoopback` makes it. */
    const source = () => `
      import { mdns, mdnsSource } from './mdns.mjs'
      import { openWire } from './wire.mjs'
      import { nodeClock } from './clock.mjs'
      import { nodeRandom } from './random.mjs'
      const { signal } = new AbortController()
      const open = (hear, onlyOn) => openWire(hear, onlyOn, ${port})
      const source = mdnsSource({}, { clock: nodeClock(), random: nodeRandom(), hosts: () => [], open })
      const announce = (id, port) => source.announce({ mesh: 'shop', id, addresses: ['127.0.0.1:' + port] })`

    it('without the package all works until a member is announced, and then says what to install', async () => {
      const said = await run(outside, [
        source(),
        'const failed = async asking => { try { await asking() } catch ({ code, message }) { return { code, message } } }',
        'const before = await mdns().find({ signal })',
        "const announced = await failed(() => announce('a', 1))",
        'const found = await failed(() => source.find({ signal }))',
        'console.log(JSON.stringify({ before, announced, found }))'
      ])
      const missing = {
        code: 'ERR_MESH_OPTION',
        message:
          "Expected the package 'multicast-dns' to be installed, which mdns() needs, got ERR_MODULE_NOT_FOUND when " +
          'loading it. Run npm install multicast-dns, or take another discovery.'
      }
      expect(said).toEqual({ before: [], announced: missing, found: missing })
    })

    it('a member does not keep its process, nor loads the package before it is announced', async () => {
      const said = await run(inside, [
        "import { createRequire } from 'node:module'",
        source(),
        'const isLoaded = () => Object.keys(createRequire(import.meta.url).cache).some(path => /multicast-dns/.test(path))',
        'const before = isLoaded()',
        "await announce('a', 1)",
        'console.log(JSON.stringify([before, isLoaded()]))'
      ])
      expect(said).toEqual([false, true])
    })

    it('workers of one primary find each other, each with a socket of its own', async () => {
      const said = await run(inside, [
        "import cluster from 'node:cluster'",
        source(),
        'if (cluster.isPrimary) {',
        '  const found = []',
        "  cluster.on('message', (worker, addresses) => { found.push(addresses); if (found.length === 3) report() })",
        '  for (let i = 1; i <= 3; i++) cluster.fork()',
        '  const report = () => { console.log(JSON.stringify(found.flat().sort())); cluster.disconnect() }',
        '} else {',
        "  const leave = await announce('w' + cluster.worker.id, cluster.worker.id)",
        '  let addresses = []',
        '  while (addresses.length < 2) {',
        '    addresses = await source.find({ signal })',
        '    await new Promise(resolve => setTimeout(resolve, 10))',
        '  }',
        '  process.send(addresses)',
        "  process.on('disconnect', leave)",
        '}'
      ])
      expect(said).toEqual([1, 1, 2, 2, 3, 3].map(id => `127.0.0.1:${id}`))
    })
  })
})
