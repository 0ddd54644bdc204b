/** What the tests of moves and crashes share: a storm of callers for cold keys, and the calls of the origin by key. */
import { expect } from 'vitest'
import type { Mesh } from '../../lib/mesh.ts'
import type { Random } from '../../lib/ports/random.ts'
import { type Cluster, cluster } from '../../lib/testing.ts'
import { mesh, times, type Watched, watch } from './story.ts'

export type Kind = 'load' | 'getOrSet'

/** The longest that any caller of a storm may wait. */
export const CALLER_MS_MAX = 20_000

const SEEDS = 6
export const KEYS = times(200, i => `key-${i}`)
export const STORM_MS = 300
export const originMs = (dice: Random): number => 50 + dice.float() * 450
/** Members that are there from the beginning to the end, and the one that comes or goes. */
export const STAYING = [0, 1, 2]
export const MOVING = 3

export interface StormOptions {
  readonly size: number
  readonly kind: Kind
  readonly originMs: (dice: Random) => number
  /** So many of the last members are down, and may join later. */
  readonly absent?: number
  readonly backups?: number
}

interface Call {
  readonly member: number
  readonly read: Watched<string | undefined>
  readonly beganMs: number
}

export class Storm {
  readonly t: Cluster
  readonly reads: Call[] = []
  readonly #kind: Kind
  readonly #backups: number
  readonly #originMs: (dice: Random) => number
  readonly #dice: Random
  readonly #callsOf = new Map<string, number>()

  constructor(seed: number, { size, kind, originMs, absent = 0, backups = 1 }: StormOptions) {
    this.#kind = kind
    this.#backups = backups
    this.#originMs = originMs
    this.t = cluster(size, { seed, start: member => this.#declare(member) })
    this.#dice = this.t.random.fork('storm')
    for (const index of times(absent, i => size - 1 - i)) this.t.crash(index)
  }

  /** Chance of the storm itself. */
  get dice(): Random {
    return this.#dice
  }

  /** How often the origin was called for each key. */
  get calls(): readonly number[] {
    return [...this.#callsOf.values()]
  }

  get callsMax(): number {
    return Math.max(0, ...this.calls)
  }

  read(member: number, key: string): void {
    const cache = mesh(this.t, member).cache<string>('products')
    const options = { timeout: CALLER_MS_MAX }
    const value = this.#kind === 'load' ? cache.get(key, options) : cache.getOrSet(key, () => this.#load(key), options)
    this.reads.push({ member, read: watch(this.t, value), beganMs: this.t.now })
  }

  /** All these members ask for all keys, each twice, in no order and spread over `overMs`. */
  begin(members: readonly number[], keys: readonly string[], overMs: number): void {
    for (const key of keys)
      for (const member of members)
        for (const _ of times(2, () => 0))
          void this.t.sleep(this.#dice.float() * overMs).then(() => this.read(member, key))
  }

  /** What callers of these members got, other than the value. */
  unserved(members: readonly number[]): string[] {
    return this.reads
      .filter(({ member, read }) => members.includes(member) && read.state !== 'fulfilled')
      .map(({ member, read }) => `${read.state} at ${member}: ${read.error}`)
  }

  /** The longest that a caller of these members waited; Infinity while one still does. */
  waitedMs(members: readonly number[]): number {
    const of = this.reads.filter(({ member }) => members.includes(member))
    return Math.max(
      ...of.map(({ read, beganMs }) => (read.state === 'pending' ? Number.POSITIVE_INFINITY : read.atMs - beganMs))
    )
  }

  #declare(member: Mesh): void {
    const terms = { ttl: '1h', backups: this.#backups } as const
    if (this.#kind === 'load') member.cache('products', { ...terms, load: (key: string) => this.#load(key) })
    else member.cache('products', terms)
  }

  async #load(key: string): Promise<string> {
    this.#callsOf.set(key, (this.#callsOf.get(key) ?? 0) + 1)
    await this.t.sleep(this.#originMs(this.#dice))
    return `row ${key}`
  }
}

/** The same storm with many seeds; tells how many calls its keys cost. */
export async function stormsOf(name: string, run: (seed: number) => Promise<Storm>): Promise<Storm[]> {
  const storms: Storm[] = []
  for (let seed = 500; seed < 500 + SEEDS; seed++) storms.push(await run(seed))
  const calls = storms.flatMap(storm => storm.calls)
  console.log(`${name}: calls for ${KEYS.length} keys in ${SEEDS} seeds: ${spread(calls)}`)
  expect(calls).toHaveLength(KEYS.length * SEEDS)
  return storms
}

/** How many keys had how many calls of the origin. */
function spread(calls: readonly number[]): string {
  const counts = new Map<number, number>()
  for (const count of calls) counts.set(count, (counts.get(count) ?? 0) + 1)
  return [...counts]
    .sort(([a], [b]) => a - b)
    .map(([count, keys]) => `${keys} × ${count}`)
    .join(', ')
}
