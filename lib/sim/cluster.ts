/**
 * A mesh of several members in one process, without sockets and without real time. The members are the very class that
 * runs in production; the clock, the network and chance are the simulator's, and one seed replays everything.
 *
 *   const t = cluster(3, { seed: 8123, start: mesh => mesh.cache('products', { ttl: '1h', load }) })
 *   await t.run('5s')                    // they find each other
 *   t.cut([0], [1, 2])
 *   await t.run('10s')
 *   t.heal()
 *   await t.until(t.meshes[1].cache('products').get('42'))
 *
 * Virtual time stands still while nobody runs it: await a call of a mesh through `until`, or run time beside it.
 */
import { MeshError } from '../base/errors.ts'
import { type Duration, durationMs } from '../base/units.ts'
import { LocalMember } from '../local-member.ts'
import type { Mesh } from '../mesh.ts'
import { type MeshOptions, meshSettings } from '../options.ts'
import type { Parts } from '../parts.ts'
import { buildTable, type Table } from '../placement/table.ts'
import type { Detach } from '../ports/context.ts'
import { noLog } from '../ports/log.ts'
import type { Random } from '../ports/random.ts'
import { Network, type NetworkFaults, type SimTransport } from './network.ts'
import { seededRandom } from './random.ts'
import { Process, World } from './world.ts'

export interface ClusterOptions {
  /** The same seed gives the same history, event by event. */
  seed: number
  /** Called for each member as it starts and starts again: declare caches here. */
  start?: (mesh: Mesh, index: number) => void
  /** Which members everybody knows the address of. Default: all of them. */
  seeds?: readonly number[]
  /** Options for every member; the simulator sets name, listen and discovery. */
  options?: Partial<Omit<MeshOptions, 'name' | 'listen' | 'discovery'>>
  /** What the network does wrong. Default: 0.2 to 2 ms of delay and no losses. */
  faults?: Partial<NetworkFaults>
}

/** What the simulator needs of the real world: a way to let promise jobs run out, and the async context of loads. */
export interface Engine {
  readonly drain: () => Promise<void>
  readonly detach: Detach
}

const QUIET: NetworkFaults = { delayMsMin: 0.2, delayMsMax: 2, loss: 0, gossipLoss: 0, gossipDuplication: 0 }
const WALL_SKEW_MS_MAX = 5_000
const MEMORY_BYTES = 64 * 1024 ** 2
const SETTLE_MS_MAX = 60_000

interface Node {
  process: Process
  transport: SimTransport
  mesh: LocalMember
}

export class Cluster {
  readonly world: World
  readonly network: Network
  readonly random: Random
  readonly #options: ClusterOptions
  readonly #engine: Engine
  readonly #nodes: Node[] = []
  readonly #size: number

  constructor(size: number, options: ClusterOptions, engine: Engine) {
    this.#size = size
    this.#options = options
    this.#engine = engine
    this.world = new World(engine.drain)
    this.random = seededRandom(options.seed)
    this.network = new Network(this.world, this.random.fork('network'), { ...QUIET, ...options.faults })
    for (let index = 0; index < size; index++) this.#nodes.push(this.#start(index))
  }

  /** The members, by index; after a restart the new one. */
  get meshes(): readonly Mesh[] {
    return this.#nodes.map(node => node.mesh)
  }

  /** Virtual milliseconds. */
  get now(): number {
    return this.world.nowMs
  }

  run(duration: Duration): Promise<void> {
    return this.world.run(durationMs(duration, 'duration', 'zero'))
  }

  /** Lets time go on until the promise settles; an error after `limit` of virtual time. */
  until<T>(promise: Promise<T>, limit: Duration = SETTLE_MS_MAX): Promise<T> {
    return this.world.until(promise, durationMs(limit, 'limit'))
  }

  /** For loaders: waits in virtual time. */
  sleep(duration: Duration): Promise<void> {
    return new Promise(resolve => this.world.after(durationMs(duration, 'duration', 'zero'), undefined, resolve))
  }

  /** Nothing passes between the two groups, in either direction, and nobody is told. */
  cut(a: readonly number[], b: readonly number[]): void {
    this.cutOneWay(a, b)
    this.cutOneWay(b, a)
  }

  cutOneWay(from: readonly number[], to: readonly number[]): void {
    for (const a of from) for (const b of to) this.network.cut(nameOf(this.#index(a)), nameOf(this.#index(b)))
    this.world.note(`cut ${from} > ${to}`)
  }

  heal(): void {
    this.world.note('heal')
    this.network.heal()
  }

  /** Ends the link between two, as a box on the way does that forgets its connections; they may dial again. */
  disconnect(from: number, to: number): void {
    this.world.note(`disconnect ${from} > ${to}`)
    this.#node(from).transport.close(nameOf(this.#index(to)), 'disconnected')
  }

  /** Kills the process: nothing more of it runs, what it held is lost. */
  crash(index: number): void {
    const node = this.#node(index)
    if (!node.process.alive) return
    this.world.note(`crash ${index}`)
    node.process.alive = false
    this.network.crash(node.transport)
  }

  /** A new process under the same name and address; kills the old one first if it still runs. */
  restart(index: number): void {
    this.crash(index)
    this.world.note(`restart ${index}`)
    this.#nodes[index] = this.#start(index)
  }

  /** Stops the process as SIGSTOP does: it neither runs nor answers, and its sockets stay open. */
  pause(index: number): void {
    this.world.note(`pause ${index}`)
    this.#node(index).process.paused = true
  }

  resume(index: number): void {
    this.world.note(`resume ${index}`)
    this.world.resume(this.#node(index).process)
  }

  /**
   * Sets the member's wall clock forward, or back by a negative number, as an operator or a time service does; its
   * monotonic clock goes on as before, and so must all that the mesh decides. A restart begins with a clock that is
   * right within seconds.
   */
  jumpClock(index: number, ms: number): void {
    this.world.note(`jump clock ${index} by ${ms}`)
    this.#node(index).process.wallSkewMs += ms
  }

  /**
   * The parts a member is made of, for checks that look inside: what it stores and counts. Internal: its shape is that
   * of the code and changes with it; look, do not touch.
   * @internal
   */
  partsOf(index: number): Pick<Parts, 'store' | 'meshClock' | 'stats' | 'membership' | 'ownership'> {
    return this.#node(index).mesh.parts
  }

  isAlive(index: number): boolean {
    return this.#node(index).process.alive
  }

  /** Every pair of live members has a link, and both know. */
  get isLinked(): boolean {
    const live = this.#nodes.filter(node => node.process.alive)
    return live.every(a => live.every(b => a === b || a.transport.isUp(b.transport.self)))
  }

  /** Hash of everything that has happened: equal for equal seeds. */
  get traceHash(): string {
    return this.world.traceHash
  }

  #start(index: number): Node {
    const { options, start } = this.#options
    const name = nameOf(index)
    const born = `${name}@${this.world.nowMs}`
    const random = this.random.fork(born)
    const process = new Process(name, (random.float() * 2 - 1) * WALL_SKEW_MS_MAX)
    const transport = this.network.transport(process, name, addressOf(index))
    const { seeds = Array.from({ length: this.#size }, (_, i) => i) } = this.#options
    const addresses = seeds.map(seed => addressOf(this.#index(seed)))
    const mesh = new LocalMember(
      {
        clock: this.world.clockOf(process),
        random: random.fork('mesh'),
        transport,
        pubsub: this.network.pubsub(process, name),
        detach: this.#engine.detach,
        log: noLog,
        tableOf: sharedTable
      },
      meshSettings(
        { ...options, name: 'sim', listen: addressOf(index), insecure: true, discovery: [() => addresses] },
        {
          host: name,
          memoryBytes: MEMORY_BYTES,
          soloBecause: undefined,
          cutOffBecause: undefined,
          defaultDiscovery: noDefault
        }
      )
    )
    mesh.on('join', member => this.world.note(`${name} sees ${member.id} join`))
    mesh.on('leave', member => this.world.note(`${name} sees ${member.id} leave`))
    start?.(mesh, index)
    // Never before its turn, and never awaited: virtual time carries it on. A start that fails fails the run.
    this.world.after(random.float() * 50, process, () => void mesh.start())
    return { process, transport, mesh }
  }

  #index(index: number): number {
    if (Number.isInteger(index) && index >= 0 && index < this.#size) return index
    throw new MeshError('ERR_MESH_OPTION', `Expected a member from 0 to ${this.#size - 1}, got ${index}.`)
  }

  #node(index: number): Node {
    return this.#nodes[this.#index(index)] as Node
  }
}

/** All members compute the same table from the same view, in every cluster: here one computation serves them all. */
const tables = new Map<string, Table>()
const TABLES_MAX = 512

function sharedTable(...[members, salt, copies]: Parameters<typeof buildTable>): Table {
  const key = JSON.stringify([[...members].sort((a, b) => (a.id < b.id ? -1 : 1)), salt, copies])
  const table = tables.get(key) ?? buildTable(members, salt, copies)
  if (tables.size < TABLES_MAX) tables.set(key, table)
  return table
}

function nameOf(index: number): string {
  return `member-${index}`
}

function addressOf(index: number): string {
  return `member-${index}:7700`
}

function noDefault(): never {
  throw new Error('the simulator names its own discovery')
}
