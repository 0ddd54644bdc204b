import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  type Address,
  CONNECT_MS_MAX,
  FRAME_BYTES_MAX,
  type Lane,
  type LinkEvents,
  type PeerId,
  type Transport
} from '../../lib/ports/transport.ts'
import { during, type Settle } from './settle.ts'

export interface TransportInit {
  readonly mesh: string
  readonly secrets: readonly string[]
  /** False: it only dials. */
  readonly listen: boolean
}

/** A network in which transports can be made. */
export interface TransportWorld {
  readonly settle: Settle
  /** Milliseconds that have passed in this world. */
  nowMs(): number
  /** Not started yet. */
  make(init: TransportInit): Promise<Transport>
  /** A well-formed address at which nobody listens. */
  deadAddress(): Promise<Address>
  end(): Promise<void>
}

const SECRET = 'a secret of at least thirty-two bytes, spelt out'
const OTHER_SECRET = 'another secret of at least thirty-two bytes, too'
const DEFAULTS: TransportInit = { mesh: 'conformance', secrets: [SECRET], listen: true }
const LANES: readonly Lane[] = ['data', 'bulk']

/** What every transport must hold: see lib/ports/transport.ts, whose numbers stand in the names of the tests. */
export function transportSuite(name: string, makeWorld: () => Promise<TransportWorld>): void {
  describe(`transport: ${name}`, { timeout: 60_000 }, () => {
    let world: TransportWorld
    let members: Member[]

    beforeEach(async () => {
      world = await makeWorld()
      members = []
    })

    afterEach(async () => {
      for (const member of members) member.calling(() => void member.transport.stop())
      await Promise.all(members.map(member => during(world.settle, member.transport.stop(), 'a stop')))
      await world.end()
      for (const member of members) expect(member.violations).toEqual([])
    })

    async function join(init: Partial<TransportInit> = {}): Promise<Member> {
      const member = new Member(await world.make({ ...DEFAULTS, ...init }))
      members.push(member)
      await during(world.settle, member.start(), 'a start')
      return member
    }

    const connect = (from: Member, to: Member) => during(world.settle, from.connect(to.address), 'a connect')

    async function pair(): Promise<[Member, Member]> {
      const [a, b] = [await join(), await join()]
      await connect(a, b)
      await world.settle(() => a.isUp(b) && b.isUp(a), 'both up')
      return [a, b]
    }

    test('5: connect resolves with the proven id when the link is up, and both sides are told once', async () => {
      const [a, b] = [await join(), await join()]
      expect(await connect(a, b)).toBe(b.id)
      expect(a.isUp(b)).toBe(true)
      await world.settle(() => b.isUp(a), 'the listener is up')
      expect([a.history(b), b.history(a)]).toEqual([['up'], ['up']])
    })

    test('5: connecting again, by both sides, changes nothing', async () => {
      const [a, b] = await pair()
      for (let i = 0; i < 3; i++) {
        expect(await connect(a, b)).toBe(b.id)
        expect(await connect(b, a)).toBe(a.id)
      }
      expect([a.history(b), b.history(a)]).toEqual([['up'], ['up']])
      await exchange(world, a, b, 20)
    })

    test('5: many connects at the same moment make one link', async () => {
      const [a, b] = [await join(), await join()]
      const ids = await during(
        world.settle,
        Promise.all(Array.from({ length: 10 }, () => a.connect(b.address))),
        'ten connects'
      )
      expect(new Set(ids)).toEqual(new Set([b.id]))
      await world.settle(() => b.isUp(a), 'the listener is up')
      expect([a.history(b), b.history(a)]).toEqual([['up'], ['up']])
    })

    test('5: an address of its own resolves with self and makes no link', async () => {
      const a = await join()
      expect(await connect(a, a)).toBe(a.id)
      expect(a.events).toEqual([])
    })

    test('5: connect to an address where nobody listens rejects in time', async () => {
      const a = await join()
      await refused(world, a, await world.deadAddress())
    })

    test('5: connect to what is no address rejects', async () => {
      const a = await join()
      for (const address of ['', 'x', '127.0.0.1', '127.0.0.1:0', '127.0.0.1:65536', '::1:80', '[::1]', '/ip4/1.1.1.1'])
        await refused(world, a, address)
    })

    test('1: both sides dialing at the same moment make one link, without a flap', async () => {
      for (let i = 0; i < 20; i++) {
        const [a, b] = [await join(), await join()]
        const ids = Promise.all([a.connect(b.address), b.connect(a.address)])
        expect(await during(world.settle, ids, 'both connects')).toEqual([b.id, a.id])
        await world.settle(() => a.isUp(b) && b.isUp(a), 'both up')
        await exchange(world, a, b, 3)
        expect([a.history(b), b.history(a)]).toEqual([['up'], ['up']])
      }
    })

    test('1: five members that all dial each other at once have ten links, without a flap', async () => {
      const five = [await join(), await join(), await join(), await join(), await join()]
      const pairs = five.flatMap(from => five.filter(to => to !== from).map(to => ({ from, to })))
      await during(world.settle, Promise.all(pairs.map(({ from, to }) => from.connect(to.address))), 'all connects')
      await world.settle(() => pairs.every(({ from, to }) => from.isUp(to)), 'all up')
      for (const { from, to } of pairs) await exchange(world, from, to, 2)
      for (const { from, to } of pairs) expect(from.history(to)).toEqual(['up'])
    })

    test('2: frames of every size arrive whole, in order and once, in both directions on both lanes', async () => {
      const [a, b] = await pair()
      await exchange(world, a, b, 300)
    })

    test('2: the largest frame arrives, and one byte more is the caller’s mistake', async () => {
      const [a, b] = await pair()
      const largest = patterned(FRAME_BYTES_MAX, 7)
      expect(a.send(b, 'bulk', largest)).toBe(true)
      await world.settle(() => b.frames(a, 'bulk').length === 1, 'the largest frame')
      expect(Buffer.compare(b.frames(a, 'bulk')[0]!, largest)).toBe(0)
      expect(() => a.send(b, 'bulk', new Uint8Array(FRAME_BYTES_MAX + 1))).toThrow(/invariant/)
    })

    test('2: large frames on bulk do not hold up data', async () => {
      const [a, b] = await pair()
      const large = patterned(3_000_000, 1)
      let taken = 0
      while (taken < 10 && a.send(b, 'bulk', large)) taken++
      expect(taken).toBeGreaterThanOrEqual(2)
      expect(a.send(b, 'data', patterned(10, 2))).toBe(true)
      await world.settle(() => b.frames(a, 'data').length === 1, 'the small frame')
      expect(b.frames(a, 'bulk').length).toBeLessThan(taken)
      await world.settle(() => b.frames(a, 'bulk').length === taken, 'the large frames')
      for (const frame of b.frames(a, 'bulk')) expect(Buffer.compare(frame, large)).toBe(0)
    })

    test('3: without a link send is false', async () => {
      const [a, b] = [await join(), await join()]
      for (const lane of LANES) expect(a.send(b, lane, patterned(1, 1))).toBe(false)
      expect(a.transport.send('nobody', 'data', patterned(1, 1))).toBe(false)
    })

    test('3: a full budget takes no more, drains, and takes again; what was taken arrives and nothing else', async () => {
      const [a, b] = await pair()
      for (const lane of LANES) {
        let sent = 0
        for (let round = 0; round < 3; round++) {
          const drainsBefore = a.drains(b, lane)
          let full = false
          for (let i = 0; i < 2_000 && !full; i++) {
            if (a.send(b, lane, numbered(sent, 100_000))) sent++
            else full = true
          }
          expect(full).toBe(true)
          await world.settle(() => a.drains(b, lane) > drainsBefore, `drain ${round} of ${lane}`)
        }
        await world.settle(() => b.frames(a, lane).length >= sent, `all frames of ${lane}`)
        expect(b.frames(a, lane).map(number)).toEqual(Array.from({ length: sent }, (_, i) => i))
      }
    })

    test('4: a frame given to the receiver is not touched any more', async () => {
      const [a, b] = await pair()
      for (let i = 0; i < 50; i++) a.send(b, 'data', numbered(i, 100 + i))
      await world.settle(() => b.frames(a, 'data').length === 50, 'fifty frames')
      for (const frame of b.frames(a, 'data')) frame.fill(0xff, 4)
      await exchange(world, b, a, 20)
      expect(b.frames(a, 'data').slice(0, 50).map(number)).toEqual(Array.from({ length: 50 }, (_, i) => i))
    })

    test('6: close is down on both sides, at once for send; a closed peer may connect again, from either side', async () => {
      const [a, b] = await pair()
      for (let round = 1; round <= 6; round++) {
        const [closer, other] = round % 2 === 0 ? [a, b] : [b, a]
        const [dialer, listener] = round % 3 === 0 ? [a, b] : [b, a]
        closer.close(other)
        expect(closer.send(other, 'data', patterned(1, 1))).toBe(false)
        await world.settle(() => !a.isUp(b) && !b.isUp(a), `both down in round ${round}`)
        expect(await connect(dialer, listener)).toBe(listener.id)
        await world.settle(() => a.isUp(b) && b.isUp(a), `both up in round ${round}`)
        await exchange(world, a, b, 5)
      }
      expect([a.history(b).length, b.history(a).length]).toEqual([13, 13])
    })

    test('6: connecting again in the same turn as the close makes a new link', async () => {
      const [a, b] = await pair()
      for (let round = 0; round < 5; round++) {
        a.close(b)
        expect(await connect(a, b)).toBe(b.id)
        await world.settle(() => a.isUp(b) && b.isUp(a), 'both up again')
      }
      await exchange(world, a, b, 5)
      await world.settle(() => b.history(a).length === a.history(b).length, 'as many links on both sides')
    })

    test('6: closing a peer without a link does nothing', async () => {
      const [a, b] = [await join(), await join()]
      a.close(b)
      a.transport.close('nobody', 'test')
      await connect(a, b)
      expect(a.history(b)).toEqual(['up'])
    })

    test('2: nothing of an old link arrives on a new one', async () => {
      const [a, b] = await pair()
      for (let generation = 0; generation < 8; generation++) {
        for (const lane of LANES) for (let i = 0; i < 20; i++) a.send(b, lane, numbered(generation, 150_000))
        const [closer, other] = generation % 2 === 0 ? [a, b] : [b, a]
        closer.close(other)
        // Whoever closed dials at once, while the other side may not have heard of it.
        await connect(closer, other)
        await world.settle(() => b.history(a).length === 2 * generation + 3, `link ${generation + 1}`)
        b.markGeneration(a, generation + 1)
      }
      for (const { generation, frame } of b.framesByGeneration(a)) expect(number(frame)).toBe(generation)
    })

    test('8: a peer with another secret, with none, or of another mesh is refused in both directions', async () => {
      const insider = await join()
      const strangers = [
        await join({ secrets: [OTHER_SECRET] }),
        await join({ secrets: [] }),
        await join({ mesh: 'another mesh' }),
        await join({ mesh: 'another mesh', secrets: [] })
      ]
      for (const stranger of strangers) {
        await refused(world, stranger, insider.address)
        await refused(world, insider, stranger.address)
      }
      for (const member of members) expect(member.events).toEqual([])
      const friend = await join()
      expect(await connect(friend, insider)).toBe(insider.id)
    })

    test('8: an open mesh is one by its name alone', async () => {
      const [a, b, c] = [
        await join({ secrets: [] }),
        await join({ secrets: [] }),
        await join({ secrets: [], mesh: 'b' })
      ]
      expect(await connect(a, b)).toBe(b.id)
      await refused(world, a, c.address)
      await refused(world, c, a.address)
    })

    test('8: while a secret is rotated members with either or both meet', async () => {
      const [old, both, next] = [
        await join({ secrets: [SECRET] }),
        await join({ secrets: [OTHER_SECRET, SECRET] }),
        await join({ secrets: [OTHER_SECRET] })
      ]
      expect(await connect(old, both)).toBe(both.id)
      expect(await connect(both, next)).toBe(next.id)
      expect(await connect(next, both)).toBe(both.id)
      await refused(world, old, next.address)
    })

    test('start: a member that does not listen has no address and can dial', async () => {
      const [a, b] = [await join(), await join({ listen: false })]
      expect(b.addresses).toEqual([])
      expect(await connect(b, a)).toBe(a.id)
      await world.settle(() => a.isUp(b), 'the listener is up')
      await exchange(world, a, b, 10)
    })

    test('stop: what was taken is flushed, peers are told, and the one that stopped hears nothing more', async () => {
      const [a, b] = await pair()
      const c = await join()
      await connect(c, a)
      await world.settle(() => a.isUp(c), 'the third is up')
      for (let i = 0; i < 20; i++) expect(a.send(b, 'data', numbered(i, 5_000))).toBe(true)
      // The onDown of a close in the same turn would come after the stop, so it does not come.
      a.close(c)
      const eventsBefore = a.events.length
      await during(world.settle, a.stop(), 'the stop')
      await world.settle(() => !b.isUp(a) && !c.isUp(a), 'both peers down')
      expect(b.frames(a, 'data').map(number)).toEqual(Array.from({ length: 20 }, (_, i) => i))
      expect(a.events.length).toBe(eventsBefore)
      expect(a.send(b, 'data', patterned(1, 1))).toBe(false)
      await refused(world, a, b.address)
      await refused(world, b, a.address)
      await during(world.settle, a.stop(), 'a second stop')
    })

    test('stop: a connect under way settles', async () => {
      const [a, b] = [await join(), await join()]
      const outcome = a.connect(b.address).then(
        () => 'resolved',
        () => 'rejected'
      )
      await during(world.settle, a.stop(), 'the stop')
      expect(['resolved', 'rejected']).toContain(await during(world.settle, outcome, 'the connect'))
      expect(a.events).toEqual([])
    })
  })
}

type Recorded =
  | { kind: 'up'; peer: PeerId }
  | { kind: 'down'; peer: PeerId }
  | { kind: 'drain'; peer: PeerId; lane: Lane }
  | { kind: 'frame'; peer: PeerId; lane: Lane; frame: Uint8Array; generation: number }

/** A transport under test and all it has told; breaches of what holds always (1, 7) are noted as they happen. */
class Member implements LinkEvents {
  readonly transport: Transport
  readonly events: Recorded[] = []
  readonly violations: string[] = []
  addresses: readonly Address[] = []
  readonly #up = new Set<PeerId>()
  readonly #generations = new Map<PeerId, number>()
  #calls = 0
  #stopped = false

  constructor(transport: Transport) {
    this.transport = transport
  }

  get id(): PeerId {
    return this.transport.self
  }

  get address(): Address {
    return this.addresses[0] ?? 'this member does not listen'
  }

  async start(): Promise<void> {
    this.addresses = await this.calling(() => this.transport.start(this))
  }

  connect(address: Address): Promise<PeerId> {
    return this.calling(() => this.transport.connect(address))
  }

  send(to: Member, lane: Lane, frame: Uint8Array): boolean {
    return this.calling(() => this.transport.send(to.id, lane, frame))
  }

  close(peer: Member): void {
    this.calling(() => this.transport.close(peer.id, 'test'))
  }

  stop(): Promise<void> {
    this.#stopped = true
    return this.calling(() => this.transport.stop())
  }

  calling<T>(call: () => T): T {
    this.#calls++
    try {
      return call()
    } finally {
      this.#calls--
    }
  }

  isUp(peer: Member): boolean {
    return this.#up.has(peer.id)
  }

  history(peer: Member): readonly string[] {
    return this.events.flatMap(event =>
      event.peer === peer.id && (event.kind === 'up' || event.kind === 'down') ? [event.kind] : []
    )
  }

  frames(peer: Member, lane: Lane): readonly Uint8Array[] {
    return this.events.flatMap(event =>
      event.kind === 'frame' && event.peer === peer.id && event.lane === lane ? [event.frame] : []
    )
  }

  framesByGeneration(peer: Member): readonly { generation: number; frame: Uint8Array }[] {
    return this.events.flatMap(event => (event.kind === 'frame' && event.peer === peer.id ? [event] : []))
  }

  /** Frames that arrive from now on belong to this generation. */
  markGeneration(peer: Member, generation: number): void {
    this.#generations.set(peer.id, generation)
  }

  drains(peer: Member, lane: Lane): number {
    return this.events.filter(event => event.kind === 'drain' && event.peer === peer.id && event.lane === lane).length
  }

  onUp(peer: PeerId): void {
    if (this.#up.has(peer)) this.#violated(`onUp twice for ${peer}`)
    if (peer === this.id) this.#violated('a link to itself')
    this.#up.add(peer)
    this.#record({ kind: 'up', peer })
  }

  onDown(peer: PeerId, reason: string): void {
    if (!this.#up.delete(peer)) this.#violated(`onDown without onUp for ${peer}`)
    if (reason === '') this.#violated('onDown without a reason')
    this.#record({ kind: 'down', peer })
  }

  onFrame(peer: PeerId, lane: Lane, frame: Uint8Array): void {
    if (!this.#up.has(peer)) this.#violated(`a frame of ${peer} without a link`)
    this.#record({ kind: 'frame', peer, lane, frame, generation: this.#generations.get(peer) ?? 0 })
  }

  onDrain(peer: PeerId, lane: Lane): void {
    if (!this.#up.has(peer)) this.#violated(`a drain of ${peer} without a link`)
    this.#record({ kind: 'drain', peer, lane })
  }

  #record(event: Recorded): void {
    if (this.#calls > 0) this.#violated(`${event.kind} from inside a call`)
    if (this.#stopped) this.#violated(`${event.kind} after stop`)
    this.events.push(event)
  }

  #violated(what: string): void {
    this.violations.push(what)
  }
}

async function refused(world: TransportWorld, from: Member, address: Address): Promise<void> {
  const startMs = world.nowMs()
  await expect(during(world.settle, from.connect(address), 'a refusal'), address).rejects.toThrow()
  expect(world.nowMs() - startMs).toBeLessThanOrEqual(CONNECT_MS_MAX)
}

/** Frames of many sizes both ways on both lanes, checked byte by byte. */
async function exchange(world: TransportWorld, a: Member, b: Member, count: number): Promise<void> {
  for (const lane of LANES) {
    for (const [from, to] of [
      [a, b],
      [b, a]
    ] as const) {
      const before = to.frames(from, lane).length
      const sent: Uint8Array[] = []
      for (let i = 0; i < count; i++) {
        const frame = patterned(SIZES[i % SIZES.length]! + (i % 3), i)
        if (!from.send(to, lane, frame)) break
        sent.push(frame)
      }
      await world.settle(() => to.frames(from, lane).length >= before + sent.length, `${count} frames of ${lane}`)
      const got = to.frames(from, lane).slice(before)
      expect(sent.length).toBeGreaterThan(0)
      expect(got.length).toBe(sent.length)
      for (const [i, frame] of got.entries()) expect(Buffer.compare(frame, sent[i]!), `frame ${i}`).toBe(0)
    }
  }
}

const SIZES = [0, 1, 3, 100, 1_000, 12, 65_500, 4, 70_000, 16_384, 250_000, 2]

function patterned(bytes: number, seed: number): Uint8Array {
  const frame = new Uint8Array(bytes)
  for (let i = 0; i < bytes; i += 97) frame[i] = (seed * 31 + i) & 0xff
  return frame
}

function numbered(value: number, bytes: number): Uint8Array {
  const frame = Buffer.alloc(bytes)
  frame.writeUInt32BE(value)
  return frame
}

function number(frame: Uint8Array): number {
  return Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength).readUInt32BE()
}
