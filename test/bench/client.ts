/**
 * A process that asks: one contender, told by its parent what to do for how long. Callers run in a closed loop, each
 * awaits its answer and asks for the next key at once; every answer is looked at.
 */
import { type Contender, type ContenderPlan, contender } from './contenders.ts'
import { quantile } from './rounds.ts'

export const KEYS = 1_000
export const LARGE_KEYS = 8
export const LARGE_BYTES = 1024 ** 2
const LATENCIES_MAX = 1 << 17
/** Between two looks at the clock, where a call takes less than looking at the clock. */
const CALLS_A_LOOK = 32

export type ValueKind = 'buffer' | 'object'

export type Order =
  | { readonly do: 'fill'; readonly value: ValueKind; readonly bytes: number; readonly large: boolean }
  | {
      readonly do: 'run'
      readonly what: 'get' | 'many' | 'set'
      readonly callers: number
      readonly ms: number
      /** Callers of values of 1 MiB that run at the same time and are not counted. */
      readonly beside?: number
      /** Calls are too short to time each. */
      readonly untimed?: boolean
    }
  | { readonly do: 'end' }

export interface Slice {
  readonly callsPerS: number
  readonly p50Us: number
  readonly p99Us: number
  /** Processor time of the client for each call. */
  readonly cpuUs: number
}

export type Answer = { readonly slice: Slice } | { readonly done: true } | { readonly error: string }

const keys = Array.from({ length: KEYS }, (_, i) => `product:${String(i).padStart(6, '0')}`)
const largeKeys = Array.from({ length: LARGE_KEYS }, (_, i) => `picture:${i}`)
const KEYS_AT_ONCE = 100

class Client {
  readonly #contender: Contender
  #value: unknown
  #next = 0
  #batches = 0

  constructor(its: Contender) {
    this.#contender = its
  }

  async obey(order: Order): Promise<Answer> {
    switch (order.do) {
      case 'fill':
        return this.#fill(order)
      case 'run':
        return { slice: await this.#run(order) }
      case 'end':
        this.#contender.prove?.()
        await this.#contender.close()
        return { done: true }
    }
  }

  async #fill({ value, bytes, large }: Order & { do: 'fill' }): Promise<Answer> {
    this.#value = value === 'buffer' ? Buffer.alloc(bytes, 7) : product(0)
    for (const [i, key] of keys.entries()) await this.#contender.set(key, value === 'buffer' ? this.#value : product(i))
    if (large) for (const key of largeKeys) await this.#contender.set(key, Buffer.alloc(LARGE_BYTES, 9))
    return { done: true }
  }

  async #run({ what, callers, ms, beside = 0, untimed = false }: Order & { do: 'run' }): Promise<Slice> {
    await this.#contender.wake?.(keys)
    const latencies = new Float64Array(LATENCIES_MAX)
    const tally = { calls: 0 }
    const cpu = process.cpuUsage()
    const began = performance.now()
    const until = began + ms
    const all = Array.from({ length: callers }, () =>
      untimed ? this.#untimed(tally, until) : this.#timed(what, tally, latencies, until)
    )
    const large = Array.from({ length: beside }, (_, i) => this.#large(i, until))
    await Promise.all([...all, ...large])
    const tookMs = performance.now() - began
    const { user, system } = process.cpuUsage(cpu)
    const known = latencies.subarray(0, Math.min(tally.calls, LATENCIES_MAX))
    return {
      callsPerS: tally.calls / (tookMs / 1_000),
      p50Us: untimed ? Number.NaN : quantile(known, 0.5) * 1_000,
      p99Us: untimed ? Number.NaN : quantile(known, 0.99) * 1_000,
      cpuUs: (user + system) / tally.calls
    }
  }

  async #timed(
    what: 'get' | 'many' | 'set',
    tally: { calls: number },
    latencies: Float64Array,
    until: number
  ): Promise<void> {
    for (let now = performance.now(); now < until; ) {
      await this.#call(what)
      const after = performance.now()
      latencies[tally.calls++ % LATENCIES_MAX] = after - now
      now = after
    }
  }

  async #call(what: 'get' | 'many' | 'set'): Promise<void> {
    if (what === 'get') return check(await this.#contender.get(this.#key()))
    if (what === 'set') {
      await this.#contender.set(this.#key(), this.#value)
      return
    }
    const from = (this.#batches++ * KEYS_AT_ONCE) % KEYS
    const values = await this.#contender.many(keys.slice(from, from + KEYS_AT_ONCE))
    for (const value of values) check(value)
  }

  async #untimed(tally: { calls: number }, until: number): Promise<void> {
    const { getNow } = this.#contender
    while (performance.now() < until) {
      if (getNow !== undefined) for (let i = 0; i < CALLS_A_LOOK; i++) check(getNow(this.#key()))
      else for (let i = 0; i < CALLS_A_LOOK; i++) check(await this.#contender.get(this.#key()))
      tally.calls += CALLS_A_LOOK
    }
  }

  async #large(first: number, until: number): Promise<void> {
    for (let i = first; performance.now() < until; i++)
      check(await this.#contender.get(largeKeys[i % LARGE_KEYS] as string))
  }

  #key(): string {
    return keys[this.#next++ % KEYS] as string
  }
}

function product(i: number): object {
  return {
    id: i,
    name: `Espresso machine ${i}`,
    price: 249.5,
    currency: 'EUR',
    stock: { berlin: 7, oslo: 0 },
    tags: ['kitchen', 'coffee']
  }
}

function check(value: unknown): void {
  if (value === undefined || value === null) throw new Error('a value that was set is not there')
}

function tell(answer: Answer): void {
  process.send?.(answer)
}

// Nothing of a benchmark that was cut short stays behind.
process.on('disconnect', () => process.exit())
const client = new Client(await contender(JSON.parse(process.argv[2] as string) as ContenderPlan))
process.on('message', (order: Order) => {
  client.obey(order).then(tell, (error: Error) => tell({ error: error.stack ?? error.message }))
})
tell({ done: true })
