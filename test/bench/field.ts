/**
 * The field: which contenders there are on this machine, and their processes. Each has a client process and a server
 * process; two Redis clients share a server, because only one of them runs at a time.
 */
import { randomBytes } from 'node:crypto'
import { userInfo } from 'node:os'
import type { Order, Slice } from './client.ts'
import type { ContenderPlan } from './contenders.ts'
import { type Abilities, abilitiesOf, type Copying, NO_COPIES } from './mesh-options.ts'
import { isInstalled, type Processes, type Program } from './processes.ts'
import type { Row } from './report.ts'
import { interleaved } from './rounds.ts'
import type { Listening, ServerPlan } from './server.ts'

export const VALUE_BYTES = 1_024
/** Enough for the compiler to have seen the code it is to run. */
const WARM_UP = { what: 'get', callers: 16, ms: 1_000 } as const
/** Beyond the slice: what a loaded machine may take on top. */
const ORDER_MS_MAX = 60_000

export class Field {
  readonly secret = randomBytes(32).toString('hex')
  readonly abilities: Abilities
  readonly leftOut: string[] = []
  redisPort: number | undefined
  memcachedPort: number | undefined
  readonly #processes: Processes
  readonly #clients = new Map<string, Program<unknown>>()
  #meshes = 0

  private constructor(processes: Processes, abilities: Abilities) {
    this.#processes = processes
    this.abilities = abilities
  }

  static async open(processes: Processes): Promise<Field> {
    const field = new Field(processes, await abilitiesOf())
    if (isInstalled('redis-server')) field.redisPort = await field.#redis()
    else field.leftOut.push('Redis: redis-server is not on the PATH')
    if (isInstalled('memcached')) field.memcachedPort = await field.#memcached()
    else field.leftOut.push('memcached: it is not on the PATH')
    return field
  }

  get processes(): Processes {
    return this.#processes
  }

  /** A mesh of owners, and a member that owns nothing. */
  async mesh(name: string, owners: number, copying = NO_COPIES): Promise<void> {
    await this.meshes(owners, { [name]: copying })
  }

  /** One mesh of owners, and for each name a member that owns nothing, with a cache of its own. */
  async meshes(owners: number, copying: Readonly<Record<string, Copying>>): Promise<void> {
    const { secret, abilities } = this
    const mesh = { kind: 'cachemesh', name: `bench-${++this.#meshes}`, secret, abilities } as const
    const addresses: string[] = []
    for (let i = 0; i < owners; i++) addresses.push(...(await this.#serve({ ...mesh, beside: [...addresses] })))
    for (const [name, its] of Object.entries(copying))
      await this.add(name, { ...mesh, owners: addresses, copying: its, cache: `bench ${name}` })
  }

  /** Members that own nothing and keep near what they have read, each with a cache of its own. */
  async near(hows: Readonly<Record<string, 'get' | 'peek'>>): Promise<void> {
    const { secret, abilities } = this
    const mesh = { kind: 'cachemesh', name: `bench-${++this.#meshes}`, secret, abilities } as const
    const owners = await this.#serve({ ...mesh, beside: [] })
    for (const [name, near] of Object.entries(hows))
      await this.add(name, { ...mesh, owners, copying: NO_COPIES, cache: `bench ${name}`, near })
  }

  async echo(name: string): Promise<void> {
    const [address = ''] = await this.#serve({ kind: 'echo', valueBytes: VALUE_BYTES })
    await this.add(name, { kind: 'echo', port: Number(address.split(':')[1]) })
  }

  async others(): Promise<void> {
    if (this.redisPort !== undefined) {
      await this.add('Redis, ioredis', { kind: 'redis', port: this.redisPort, autoPipelining: false })
      await this.add('  + auto-pipelining', { kind: 'redis', port: this.redisPort, autoPipelining: true })
    }
    if (this.memcachedPort !== undefined)
      await this.add('memcached, memjs', { kind: 'memcached', port: this.memcachedPort })
  }

  async add(name: string, plan: ContenderPlan): Promise<void> {
    this.#clients.set(name, await this.#processes.program('client', plan))
  }

  get names(): readonly string[] {
    return [...this.#clients.keys()]
  }

  /** Gives each contender the same keys, and warms it up. */
  async fill(order: Omit<Order & { do: 'fill' }, 'do'>): Promise<void> {
    for (const client of this.#clients.values()) {
      await client.ask({ ...order, do: 'fill' }, ORDER_MS_MAX)
      await client.ask({ ...WARM_UP, do: 'run' }, ORDER_MS_MAX)
    }
  }

  /** Interleaved rounds of one kind of work, after one round that does not count. */
  async measure(names: readonly string[], rounds: number, order: Omit<Order & { do: 'run' }, 'do'>): Promise<Row[]> {
    const run = async (name: string): Promise<Slice> => {
      const client = this.#clients.get(name) as Program<unknown>
      return (await client.ask<{ slice: Slice }>({ ...order, do: 'run' }, order.ms + ORDER_MS_MAX)).slice
    }
    await interleaved(names, 1, run)
    const results = await interleaved(names, rounds, run)
    return [...results].map(([contender, slices]) => ({
      contender,
      figures: figuresOf(slices, order.untimed === true)
    }))
  }

  /** Ends the clients; each proves that it has measured what it claims. */
  async close(): Promise<void> {
    for (const client of this.#clients.values()) {
      await client.ask({ do: 'end' }, ORDER_MS_MAX)
      await client.end()
    }
    this.#clients.clear()
  }

  async #serve(plan: ServerPlan): Promise<readonly string[]> {
    return (await (await this.#processes.program<Listening>('server', plan)).started).addresses
  }

  async #redis(): Promise<number> {
    const settings = ['--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', this.#processes.directory]
    return this.#processes.server('redis-server', port => ['--port', `${port}`, ...settings])
  }

  async #memcached(): Promise<number> {
    const settings = ['-l', '127.0.0.1', '-U', '0', '-m', '256', '-I', '4m', '-u', userInfo().username]
    return this.#processes.server('memcached', port => ['-p', `${port}`, ...settings])
  }
}

function figuresOf(slices: readonly Slice[], untimed: boolean): Row['figures'] {
  const figures = { 'calls/s': slices.map(slice => slice.callsPerS) }
  if (untimed) return { ...figures, 'ns a call': slices.map(slice => 1e9 / slice.callsPerS) }
  return {
    ...figures,
    'p50 µs': slices.map(slice => slice.p50Us),
    'p99 µs': slices.map(slice => slice.p99Us),
    'client CPU µs': slices.map(slice => slice.cpuUs)
  }
}
