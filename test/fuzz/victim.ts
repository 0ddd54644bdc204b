/**
 * A whole member, the very class that runs in production, on the simulator's clock, with one peer that says whatever the
 * fuzzer likes. A frame that is no frame must change nothing but two counters and end the link; one that is well formed
 * may change what it may change, but nothing may be thrown and no request may fail inside.
 *
 * What "nothing" means is watched at the places through which all changes go: steps of the membership, writes and drops
 * of the store, clocks heard, replies and requests handed on, leases renewed, frames sent, timers set.
 */
import { ByteReader } from '../../lib/base/bytes.ts'
import { isMeshError } from '../../lib/base/errors.ts'
import { Fills } from '../../lib/fill/fills.ts'
import { LocalMember } from '../../lib/local-member.ts'
import { Protocol } from '../../lib/membership/protocol.ts'
import type { MeshStats } from '../../lib/mesh.ts'
import { meshSettings } from '../../lib/options.ts'
import { buildTable } from '../../lib/placement/table.ts'
import type { Clock } from '../../lib/ports/clock.ts'
import type { LinkEvents } from '../../lib/ports/transport.ts'
import { Client } from '../../lib/rpc/client.ts'
import { readFrame } from '../../lib/rpc/frame.ts'
import { type Message, type MessageOf, readGossip } from '../../lib/rpc/messages.ts'
import { Server } from '../../lib/rpc/server.ts'
import { LeasedLoads } from '../../lib/serving/leased-loads.ts'
import { seededRandom } from '../../lib/sim/random.ts'
import { Process, World } from '../../lib/sim/world.ts'
import { Store } from '../../lib/store/store.ts'
import { MeshClock } from '../../lib/store/version.ts'
import { hostileFrame, inventedGossip, type Verdict } from './decoders.ts'
import type { Dice } from './dice.ts'
import { assemble, partOf } from './messages.ts'
import { mutated } from './mutate.ts'

const PEER = 'peer'
const SELF = 'victim'
/** Counting the partitions it owns takes a member longer than reading a frame. Even: two looks belong together. */
const LOOKS_A_WHOLE = 32
const DRAIN = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

const tables = new Map<string, ReturnType<typeof buildTable>>()

export class Victim {
  readonly #world = new World(DRAIN)
  readonly #member: LocalMember
  readonly #failures: Error[] = []
  #events: LinkEvents | undefined
  #hearGossip: ((message: Uint8Array) => void) | undefined
  #hello: MessageOf<'hello'> | undefined
  #closed = 0
  #sent = 0
  #timers = 0
  #clockMs = 0
  #asked = 0
  #looks = 0

  constructor(seed: string) {
    const process = new Process(SELF, 0)
    this.#member = new LocalMember(
      {
        clock: this.#counting(this.#world.clockOf(process)),
        random: seededRandom(seed),
        transport: {
          self: SELF,
          start: async events => {
            this.#events = events
            return ['victim:7700']
          },
          stop: async () => {},
          connect: async address => {
            throw new Error(`nobody listens at ${address}`)
          },
          send: (_peer, _lane, frame) => this.#take(frame),
          close: () => {
            this.#closed++
          }
        },
        pubsub: {
          publish: () => {},
          subscribe: (_topic, listener) => {
            this.#hearGossip = listener
            return () => {}
          }
        },
        detach: work => work(),
        log: { debug() {}, info() {}, warn() {}, error: o => this.#failedInside(o) },
        tableOf: smallTable
      },
      meshSettings(
        { name: 'fuzz', listen: 'victim:7700', insecure: true, discovery: [() => []] },
        {
          host: SELF,
          memoryBytes: 64 * 1024 ** 2,
          soloBecause: undefined,
          cutOffBecause: undefined,
          defaultDiscovery: () => ({ name: 'none', find: () => [] })
        }
      )
    )
  }

  async begin(): Promise<void> {
    this.#member.cache('products', { ttl: '1h', load: (key: string) => `loaded ${key}` })
    void this.#member.start()
    await this.#world.run(4_000)
    // Its own hello is what the peer's is made from.
    this.#events?.onUp(PEER)
    await this.#world.run(10)
    this.#greet()
    await this.#world.run(1_000)
    if (this.#member.members.length !== 2) throw new Error('the peer did not become a member')
  }

  /** Lets time pass, and has callers of its own, whose calls are open while hostile frames come. */
  async live(dice: Dice): Promise<void> {
    const cache = this.#member.cache<unknown, string>('plain', { ttl: '1h' })
    for (let i = 0; i < 4; i++) {
      const key = `k${this.#asked++ % 40}`
      const call = dice.chance(0.5) ? cache.get(key) : cache.set(key, 'x')
      call.catch(error => {
        if (!isMeshError(error)) this.#failures.push(error)
      })
    }
    await this.#world.run(dice.below(100))
    this.#throwFailure()
  }

  frame(dice: Dice): Uint8Array {
    return hostileFrame(dice, { clockMs: this.#clockMs, viewHash: dice.below(3) })
  }

  gossip(dice: Dice): Uint8Array {
    const draft = inventedGossip(dice)
    return dice.chance(0.3) ? draft.bytes : mutated(dice, draft, draft.bytes)
  }

  hearFrame(bytes: Uint8Array): Verdict {
    const isFrame = reads(() => readFrame(bytes))
    const before = isFrame ? '' : this.#fingerprint()
    const closedBefore = this.#closed
    this.#events?.onFrame(PEER, 'data', bytes)
    const wasClosed = this.#closed > closedBefore
    if (!isFrame) this.#checkRefusal(before, this.#closed - closedBefore)
    if (wasClosed) this.#relink()
    this.#throwFailure()
    return isFrame && !wasClosed ? 'accepted' : 'refused'
  }

  hearGossip(bytes: Uint8Array): Verdict {
    const isGossip = reads(() => readGossip(new ByteReader(bytes)))
    const before = isGossip ? '' : this.#fingerprint()
    this.#hearGossip?.(bytes)
    if (!isGossip) this.#checkRefusal(before, 1)
    this.#throwFailure()
    return isGossip ? 'accepted' : 'refused'
  }

  #checkRefusal(before: string, closed: number): void {
    const after = this.#fingerprint()
    if (after !== before) throw new Error(`a malformed message changed the member:\n  ${before}\n  ${after}`)
    if (closed !== 1) throw new Error(`a malformed frame closed its link ${closed} times`)
  }

  /** All that can be seen of the member, for one in so many; the places of change, which are quick to look at, always. */
  #fingerprint(): string {
    const isWhole = this.#looks++ % LOOKS_A_WHOLE < 2
    // First, for it makes the table of a view that nobody has asked about yet.
    const all = isWhole ? [withoutRefusals(this.#member.stats()), this.#member.members] : []
    return JSON.stringify([watched.changes, this.#sent, this.#timers, ...all])
  }

  #take(frame: Uint8Array): boolean {
    this.#sent++
    const { clockMs, messages } = readFrame(frame)
    this.#clockMs = clockMs
    const [first] = messages
    if (first?.message.type === 'hello') this.#hello = first.message
    return true
  }

  #relink(): void {
    this.#events?.onDown(PEER, 'closed')
    this.#events?.onUp(PEER)
    this.#greet()
  }

  #greet(): void {
    if (this.#hello === undefined) throw new Error('the member said no hello')
    const record = { ...this.#hello.record, id: PEER, addresses: ['peer:7700'], host: PEER }
    const hello: Message = { ...this.#hello, boot: 7, record: { ...record, boot: 7 } }
    const { bytes } = assemble([partOf(0, hello)], { clockMs: this.#clockMs, viewHash: 1 })
    const closedBefore = this.#closed
    this.#events?.onFrame(PEER, 'data', bytes)
    if (this.#closed > closedBefore) throw new Error('the member refused a good hello')
  }

  #counting(clock: Clock): Clock {
    return {
      ...clock,
      after: (ms, fn) => {
        this.#timers++
        return clock.after(ms, fn)
      },
      defer: fn => {
        this.#timers++
        clock.defer(fn)
      }
    }
  }

  /** A key that no member writes is refused where it is decoded, before anything has changed; nothing else may fail. */
  #failedInside(o: object): void {
    const { err } = o as { err?: unknown }
    if (isMeshError(err, 'ERR_MESH_KEY')) return
    this.#failures.push(err instanceof Error ? err : new Error(`the member reports: ${JSON.stringify(o)}`))
  }

  #throwFailure(): void {
    const [first] = this.#failures.splice(0)
    if (first !== undefined) throw first
  }
}

function withoutRefusals(stats: MeshStats): object {
  const { linksRefusedTotal: _refused, framesReceivedTotal: _received, logLinesWithheldTotal: _said, ...rest } = stats
  return rest
}

const watched = { changes: 0 }

/** Counts whatever changes a member, until the answer is called. */
export function watchChanges(): () => void {
  const restores = [
    counted(Protocol.prototype, 'step'),
    counted(Store.prototype, 'put'),
    counted(Store.prototype, 'merge'),
    counted(Store.prototype, 'drop'),
    counted(Store.prototype, 'dropPartition'),
    counted(Store.prototype, 'dropExcess'),
    counted(Store.prototype, 'addFloor'),
    counted(MeshClock.prototype, 'hear'),
    counted(Client.prototype, 'reply'),
    counted(Server.prototype, 'request'),
    counted(Server.prototype, 'cancel'),
    counted(Fills.prototype, 'holderSays'),
    counted(LeasedLoads.prototype, 'dropped')
  ]
  return () => {
    for (const restore of restores) restore()
  }
}

function counted<T extends object, K extends keyof T>(of: T, name: K): () => void {
  const original = of[name] as unknown as (...args: unknown[]) => unknown
  of[name] = function (this: unknown, ...args: unknown[]): unknown {
    watched.changes++
    return original.apply(this, args)
  } as T[K]
  return () => {
    of[name] = original as unknown as T[K]
  }
}

function reads(read: () => unknown): boolean {
  try {
    read()
    return true
  } catch {
    // How it refuses is judged where the decoder alone is fuzzed.
    return false
  }
}

/** By the first two members alone: tables of thousands of invented ones would take all the time there is. */
function smallTable(...[members, salt, copies]: Parameters<typeof buildTable>): ReturnType<typeof buildTable> {
  const known = [SELF, PEER].filter(id => members.some(member => member.id === id))
  const table =
    tables.get(`${known}`) ??
    buildTable(
      known.map(id => ({ id, weight: 1, host: id })),
      salt,
      copies
    )
  tables.set(`${known}`, table)
  return table
}
