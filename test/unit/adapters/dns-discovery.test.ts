import { createSocket, type Socket } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { type DnsSurroundings, dns, dnsSource, type NameServers } from '../../../lib/adapters/dns-discovery.ts'
import { isMeshError } from '../../../lib/base/errors.ts'
import type { DiscoverySource } from '../../../lib/ports/discovery.ts'
import { adapters } from '../../conformance/libp2p-world.ts'

const signal = new AbortController().signal
const find = (source: DiscoverySource) => source.find({ signal })

type Srv = { name: string; port: number }
type Records = { A?: string[] | Error; AAAA?: string[] | Error; SRV?: Srv[] | Error }

/** Name servers and a clock that the test is in charge of. */
class Around implements DnsSurroundings {
  zone: Record<string, Records> = {}
  conf = ''
  nowMs = 0
  /** While set, questions wait for it; cancelling rejects it. */
  gate: PromiseWithReject | undefined
  readonly asked: string[] = []

  monotonicMs(): number {
    return this.nowMs
  }

  async resolvConf(): Promise<string> {
    return this.conf
  }

  nameServers(): NameServers {
    return {
      resolve4: name => this.#answer(name, 'A') as Promise<string[]>,
      resolve6: name => this.#answer(name, 'AAAA') as Promise<string[]>,
      resolveSrv: name => this.#answer(name, 'SRV') as Promise<Srv[]>,
      cancel: () => this.gate?.reject(failure('ECANCELLED'))
    }
  }

  async #answer(name: string, type: keyof Records): Promise<unknown[]> {
    this.asked.push(`${type} ${name}`)
    await this.gate?.promise
    const records = this.zone[name]
    if (records === undefined) throw failure('ENOTFOUND')
    const found = records[type] ?? failure('ENODATA')
    if (found instanceof Error) throw found
    return found
  }
}

class PromiseWithReject {
  resolve: () => void = () => {}
  reject: (error: Error) => void = () => {}
  readonly promise = new Promise<void>((resolve, reject) => {
    this.resolve = resolve
    this.reject = reject
  })
}

function failure(code: string): Error {
  return Object.assign(new Error(`query ${code}`), { code })
}

function shop(records: Records | undefined, every?: number | `${number}s`) {
  const around = new Around()
  if (records !== undefined) around.zone['shop.svc'] = records
  return { around, source: dnsSource('shop.svc', { port: 7700, every }, around) }
}

const GONE = new Error('no longer wanted')

/** A question whose answer the test holds back, once it has reached the name server. */
async function held(source: DiscoverySource, around: Around) {
  around.gate = new PromiseWithReject()
  const before = around.asked.length
  const controller = new AbortController()
  const found = Promise.resolve(source.find({ signal: controller.signal }))
  // Every test looks at it, but some only after it has failed.
  found.catch(() => {})
  for (let turn = 0; turn < 100 && around.asked.length < before + 2; turn++) await Promise.resolve()
  expect(around.asked).toHaveLength(before + 2)
  return { found, abort: () => controller.abort(GONE), gate: around.gate }
}

describe('A and AAAA', () => {
  it('answer together, with the port, sorted, IPv6 in brackets and nobody twice', async () => {
    const { around, source } = shop({ A: ['10.0.0.9', '10.0.0.1', '10.0.0.9'], AAAA: ['fd00::2'] })
    expect(await find(source)).toEqual(['10.0.0.1:7700', '10.0.0.9:7700', '[fd00::2]:7700'])
    expect(around.asked).toEqual(['A shop.svc', 'AAAA shop.svc'])
  })

  it.each(['ENODATA', 'ENOTFOUND', 'ESERVFAIL', 'ETIMEOUT'])(
    'one of them failing with %s leaves the other',
    async code => {
      expect(await find(shop({ A: failure(code), AAAA: ['fd00::2'] }).source)).toEqual(['[fd00::2]:7700'])
      expect(await find(shop({ A: ['10.0.0.1'], AAAA: failure(code) }).source)).toEqual(['10.0.0.1:7700'])
    }
  )

  it('that do not exist are an empty answer, since nobody is ready yet', async () => {
    expect(await find(shop(undefined).source)).toEqual([])
    expect(await find(shop({}).source)).toEqual([])
  })

  it('that fail beside a type without records are a failure: nothing is known', async () => {
    await expect(find(shop({ A: failure('ESERVFAIL') }).source)).rejects.toThrow('query ESERVFAIL')
    await expect(find(shop({ AAAA: failure('ESERVFAIL') }).source)).rejects.toThrow('query ESERVFAIL')
  })

  it('are at most 256, the same ones for everybody', async () => {
    const all = Array.from({ length: 300 }, (_, i) => `10.0.${i >> 8}.${i & 255}`)
    const found = await find(shop({ A: all }).source)
    expect(found).toHaveLength(256)
    expect(await find(shop({ A: all.toReversed() }).source)).toEqual(found)
  })
})

describe('SRV', () => {
  const NAME = '_mesh._tcp.shop.svc'

  function mesh(records: Records) {
    const around = new Around()
    around.zone[NAME] = records
    return { around, source: dnsSource(NAME, { port: 7700 }, around) }
  }

  it('answers with targets and ports of its own, and A is not asked', async () => {
    const { around, source } = mesh({
      SRV: [
        { name: 'pod-1.shop.svc', port: 7801 },
        { name: 'pod-0.shop.svc', port: 7800 },
        { name: 'pod-1.shop.svc', port: 7801 }
      ]
    })
    expect(await find(source)).toEqual(['pod-0.shop.svc:7800', 'pod-1.shop.svc:7801'])
    expect(around.asked).toEqual([`SRV ${NAME}`])
  })

  it('leaves out what cannot be dialled', async () => {
    const SRV = [
      { name: '', port: 7700 },
      { name: 'no-port.svc', port: 0 },
      { name: 'no name', port: 7700 },
      { name: 'pod.svc', port: 7700 }
    ]
    expect(await find(mesh({ SRV }).source)).toEqual(['pod.svc:7700'])
  })

  it('without records is an empty answer, and failing a failure', async () => {
    expect(await find(mesh({}).source)).toEqual([])
    await expect(find(mesh({ SRV: failure('EREFUSED') }).source)).rejects.toThrow('query EREFUSED')
  })

  it('has targets that the transport dials by their name', async () => {
    const init = { mesh: 'dns', secrets: [], listen: true }
    const [a, b] = [(await adapters(init)).transport, (await adapters(init)).transport]
    const events = { onUp: () => {}, onDown: () => {}, onFrame: () => {}, onDrain: () => {} }
    try {
      const [address] = await a.start(events)
      await b.start(events)
      const [named] = await find(mesh({ SRV: [{ name: 'localhost', port: Number(address?.split(':')[1]) }] }).source)
      expect(named).toMatch(/^localhost:\d+$/)
      expect(await b.connect(named as string)).toBe(a.self)
    } finally {
      await Promise.all([a.stop(), b.stop()])
    }
  })
})

describe('a short name', () => {
  const CONF = 'search old.example\nsearch ns.svc.cluster.local  cluster.local. -bad*\noptions timeout:1 ndots:5\n'
  const FOUND = { A: ['10.0.0.1'] }
  const namesAsked = (around: Around) => around.asked.filter(each => each.startsWith('A ')).map(each => each.slice(2))

  it('is looked for in the domains of the search list, in their order', async () => {
    const { around, source } = shop(undefined)
    around.conf = CONF
    around.zone['shop.svc.cluster.local'] = FOUND
    expect(await find(source)).toEqual(['10.0.0.1:7700'])
    expect(namesAsked(around)).toEqual(['shop.svc.ns.svc.cluster.local', 'shop.svc.cluster.local'])
  })

  it('comes last itself, and first where it has dots enough', async () => {
    const few = shop(undefined)
    few.around.conf = CONF
    await find(few.source)
    expect(namesAsked(few.around).at(-1)).toBe('shop.svc')
    const enough = shop(undefined)
    enough.around.conf = 'domain example\n'
    await find(enough.source)
    expect(namesAsked(enough.around)).toEqual(['shop.svc', 'shop.svc.example'])
  })

  it('is complete with a dot at its end', async () => {
    const around = new Around()
    around.conf = CONF
    await find(dnsSource('shop.svc.', { port: 1 }, around))
    expect(namesAsked(around)).toEqual(['shop.svc'])
  })

  it('is found past a domain that is out of order, and not called absent because of it', async () => {
    const { around, source } = shop(undefined, 1_000)
    around.conf = CONF
    around.zone['shop.svc.ns.svc.cluster.local'] = { A: failure('ESERVFAIL') }
    await expect(find(source)).rejects.toThrow('query ESERVFAIL')
    around.nowMs = 1_000
    around.zone['shop.svc.cluster.local'] = FOUND
    expect(await find(source)).toEqual(['10.0.0.1:7700'])
  })

  it('is not completed to more than a name may be long', async () => {
    const around = new Around()
    around.conf = CONF
    const long = Array.from({ length: 4 }, () => 'x'.repeat(61)).join('.')
    await find(dnsSource(long, { port: 1 }, around))
    expect(namesAsked(around)).toEqual([long])
  })
})

describe('time', () => {
  const [ONE, TWO] = [{ A: ['10.0.0.1'] }, { A: ['10.0.0.2'] }]

  it('the answer stands for `every`, by default 5 s, and is asked for anew after it', async () => {
    for (const [every, ms] of [['7s', 7_000] as const, [undefined, 5_000] as const]) {
      const { around, source } = shop(ONE, every)
      await find(source)
      around.zone['shop.svc'] = TWO
      around.nowMs = ms - 1
      expect(await find(source)).toEqual(['10.0.0.1:7700'])
      expect(around.asked).toHaveLength(2)
      around.nowMs = ms
      expect(await find(source)).toEqual(['10.0.0.2:7700'])
    }
  })

  it('an answer of nobody is an answer: who was there before is forgotten', async () => {
    const { around, source } = shop(ONE, 1_000)
    await find(source)
    around.nowMs = 1_000
    delete around.zone['shop.svc']
    expect(await find(source)).toEqual([])
  })

  it('the last answer stands while the name server fails, for ten times `every`, and then the failure shows', async () => {
    const { around, source } = shop(ONE, 1_000)
    await find(source)
    around.zone['shop.svc'] = { A: failure('ESERVFAIL') }
    for (around.nowMs = 1_000; around.nowMs <= 10_000; around.nowMs += 1_000) {
      expect(await find(source)).toEqual(['10.0.0.1:7700'])
    }
    await expect(find(source)).rejects.toThrow('query ESERVFAIL')
    around.zone['shop.svc'] = TWO
    around.nowMs += 1_000
    expect(await find(source)).toEqual(['10.0.0.2:7700'])
  })

  it('a failure is told again and not asked for again before `every` has passed', async () => {
    const { around, source } = shop({ A: failure('ESERVFAIL') }, 1_000)
    await expect(find(source)).rejects.toThrow('query ESERVFAIL')
    around.nowMs = 999
    await expect(find(source)).rejects.toThrow('query ESERVFAIL')
    expect(around.asked).toHaveLength(2)
  })

  it('an answer that took long to come is an answer, also after a failure', async () => {
    const { around, source } = shop({ A: failure('ESERVFAIL') }, 1_000)
    await expect(find(source)).rejects.toThrow('query ESERVFAIL')
    around.zone['shop.svc'] = ONE
    around.nowMs = 1_000
    const look = await held(source, around)
    around.nowMs = 60_000
    look.gate.resolve()
    expect(await look.found).toEqual(['10.0.0.1:7700'])
  })

  it('all who look at once share one question', async () => {
    const { around, source } = shop(ONE)
    expect(await Promise.all([find(source), find(source)])).toEqual([['10.0.0.1:7700'], ['10.0.0.1:7700']])
    expect(around.asked).toHaveLength(2)
  })
})

describe('giving up', () => {
  it('ends at once, and the name server is left alone', async () => {
    const { around, source } = shop({ A: ['10.0.0.1'] })
    around.conf = 'search one two'
    const look = await held(source, around)
    look.abort()
    await expect(look.found).rejects.toBe(GONE)
    await expect(look.gate.promise).rejects.toThrow('ECANCELLED')
    expect(around.asked).toEqual(['A shop.svc', 'AAAA shop.svc'])
  })

  it('still answers with what was known', async () => {
    const { around, source } = shop({ A: ['10.0.0.1'] }, 1_000)
    await find(source)
    around.nowMs = 1_000
    const look = await held(source, around)
    look.abort()
    expect(await look.found).toEqual(['10.0.0.1:7700'])
  })

  it('of one does not disturb another', async () => {
    const { around, source } = shop({ A: ['10.0.0.1'] })
    const one = await held(source, around)
    const other = find(source)
    one.abort()
    await expect(one.found).rejects.toBe(GONE)
    one.gate.resolve()
    expect(await other).toEqual(['10.0.0.1:7700'])
  })

  it('before it began asks nobody', async () => {
    const { around, source } = shop({ A: ['10.0.0.1'] })
    await expect(source.find({ signal: AbortSignal.abort(GONE) })).rejects.toBe(GONE)
    expect(around.asked).toEqual([])
  })
})

describe('at the door', () => {
  const refused = (make: () => unknown): string => {
    try {
      make()
    } catch (error) {
      if (isMeshError(error, 'ERR_MESH_OPTION')) return error.message
      throw error
    }
    return 'accepted'
  }
  const untyped = dns as (name: unknown, o?: unknown) => DiscoverySource

  it.each([undefined, 7, '', '.', 'a..b', 'a b', 'shop:7700', '10.0.0.5', '::1', 'x'.repeat(64), 'x.'.repeat(127)])(
    'the name %s is refused with what to write',
    name => {
      const message = refused(() => untyped(name, { port: 1 }))
      expect(message).toMatch(/^Expected the name for dns\(\) to be a DNS name, got /)
      expect(message).toContain("seeds(['10.0.0.5:7700'])")
    }
  )

  it.each([undefined, 0, 65_536, 1.5, Number.NaN, '7700'])('the port %s is refused', port => {
    expect(refused(() => untyped('shop', { port }))).toMatch(
      /^Expected port of dns\('shop'\) .*, got .*\{ port: 7700 \}/
    )
  })

  it('so are a missing object of options, a duration that is none, and an unknown option', () => {
    expect(refused(() => untyped('shop'))).toMatch(/^Expected the options of dns\('shop'\) .* got undefined/)
    expect(refused(() => untyped('shop', { port: 1, every: '5 sec' }))).toMatch(/^Expected every of dns\('shop'\)/)
    expect(refused(() => untyped('shop', { port: 1, every: 0 }))).toMatch(/^Expected every of dns\('shop'\)/)
    const message = refused(() => untyped('shop', { port: 1, evry: '5s' }))
    expect(message).toBe("Unknown option 'evry' of dns('shop'). Known are port, every.")
  })

  it('what is right is accepted, and the source carries the name into what is reported', () => {
    expect(dns('shop.svc.cluster.local', { port: 1, every: undefined }).name).toBe('dns shop.svc.cluster.local')
    expect(dns('_mesh._tcp.shop.svc.', { port: 65_535, every: '1m' }).name).toBe('dns _mesh._tcp.shop.svc.')
  })
})

/** What follows speaks to a name server on this machine: what Node makes of real answers is what the rest relies on. */
const TYPE = { A: 1, AAAA: 28, SRV: 33 } as const
const [NXDOMAIN, SERVFAIL] = [3, 2]

type Answer = { rcode: number } | { records: readonly Buffer[] }

const sockets: Socket[] = []

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.close()
})

/** Answers from the zone, with NXDOMAIN for what is not in it; `silent` is heard and never answered. */
async function nameServer(zone: Record<string, Answer>, silent: { name?: string; heard?: () => void } = {}) {
  const socket = createSocket('udp4')
  sockets.push(socket)
  socket.on('message', (query, from) => {
    const labels: string[] = []
    let at = 12
    for (let length = query[at] as number; length > 0; length = query[at] as number) {
      labels.push(query.toString('latin1', at + 1, at + 1 + length))
      at += 1 + length
    }
    const type = query.readUInt16BE(at + 1)
    const typeName = Object.entries(TYPE).find(([, code]) => code === type)?.[0]
    if (labels.join('.') === silent.name) return silent.heard?.()
    const answer = zone[`${typeName} ${labels.join('.')}`] ?? { rcode: NXDOMAIN }
    socket.send(reply(query.subarray(0, at + 5), type, answer), from.port, from.address)
  })
  await new Promise<void>(resolve => socket.bind(0, '127.0.0.1', resolve))
  const surroundings: DnsSurroundings = {
    nameServers: () => {
      const resolver = new Resolver({ timeout: 5_000, tries: 1 })
      resolver.setServers([`127.0.0.1:${socket.address().port}`])
      return resolver
    },
    resolvConf: async () => 'search cluster.local\noptions ndots:5',
    monotonicMs: () => 0
  }
  return surroundings
}

/** The question again, flagged as answered, and a record for each answer whose name points back to the question's. */
function reply(question: Buffer, type: number, answer: Answer): Buffer {
  const [rcode, records] = 'rcode' in answer ? [answer.rcode, []] : [0, answer.records]
  const head = Buffer.from(question)
  head.writeUInt16BE(0x8180 | rcode, 2)
  head.writeUInt16BE(records.length, 6)
  head.writeUInt32BE(0, 8)
  const answers = records.map(data => {
    const record = Buffer.alloc(12)
    record.writeUInt16BE(0xc00c, 0)
    record.writeUInt16BE(type, 2)
    record.writeUInt16BE(1, 4)
    record.writeUInt32BE(30, 6)
    record.writeUInt16BE(data.length, 10)
    return Buffer.concat([record, data])
  })
  return Buffer.concat([head, ...answers])
}

function srv(port: number, target: string): Buffer {
  const fixed = Buffer.alloc(6)
  fixed.writeUInt16BE(port, 4)
  const labels = target.split('.').filter(label => label !== '')
  return Buffer.concat([
    fixed,
    ...labels.map(label => Buffer.concat([Buffer.from([label.length]), Buffer.from(label, 'latin1')])),
    Buffer.from([0])
  ])
}

describe('a real name server', () => {
  const V6 = Buffer.from('fd000000000000000000000000000002', 'hex')

  it('answers for A and AAAA, for SRV, for nobody, and fails', async () => {
    const around = await nameServer({
      'A shop.cluster.local': { records: [Buffer.from([10, 0, 0, 2]), Buffer.from([10, 0, 0, 1])] },
      'AAAA shop.cluster.local': { records: [V6] },
      'A four.cluster.local': { records: [Buffer.from([10, 0, 0, 4])] },
      'AAAA four.cluster.local': { records: [] },
      'A empty.cluster.local': { records: [] },
      'AAAA empty.cluster.local': { records: [] },
      'SRV _mesh._tcp.shop.cluster.local': {
        records: [srv(7801, 'pod-1.shop.svc'), srv(7800, 'pod-0.shop.svc'), srv(1, '')]
      },
      'A broken': { rcode: SERVFAIL },
      'AAAA broken': { rcode: SERVFAIL }
    })
    const ask = async (name: string) => await find(dnsSource(name, { port: 7700 }, around))
    expect(await ask('shop')).toEqual(['10.0.0.1:7700', '10.0.0.2:7700', '[fd00::2]:7700'])
    expect(await ask('four')).toEqual(['10.0.0.4:7700'])
    expect(await ask('empty')).toEqual([])
    expect(await ask('nobody')).toEqual([])
    expect(await ask('_mesh._tcp.shop')).toEqual(['pod-0.shop.svc:7800', 'pod-1.shop.svc:7801'])
    expect(await ask('_none._tcp.shop')).toEqual([])
    await expect(ask('broken')).rejects.toMatchObject({ code: 'ESERVFAIL' })
  })
  it('that says nothing is waited for only as long as somebody wants to know', async () => {
    const controller = new AbortController()
    const around = await nameServer({}, { name: 'silent', heard: () => controller.abort(GONE) })
    const cancelled: Promise<unknown>[] = []
    const watched: DnsSurroundings = {
      ...around,
      nameServers: () => {
        const servers = around.nameServers()
        const resolve4 = (name: string): Promise<string[]> => {
          const asking = servers.resolve4(name)
          cancelled.push(asking.catch(error => error.code))
          return asking
        }
        return { ...servers, resolve4, resolve6: name => servers.resolve6(name), cancel: () => servers.cancel() }
      }
    }
    const source = dnsSource('silent.', { port: 7700 }, watched)
    await expect(source.find({ signal: controller.signal })).rejects.toBe(GONE)
    expect(await Promise.all(cancelled)).toEqual(['ECANCELLED'])
  })
})
