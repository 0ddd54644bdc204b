import { beforeEach, describe, expect, it } from 'vitest'
import { cacheDefinition, type WriteBehindOptions } from '../../../lib/cache-options.ts'
import type { CacheDefinition } from '../../../lib/fill/definition.ts'
import { WriteBehind } from '../../../lib/fill/write-behind.ts'
import { Stats } from '../../../lib/observe/stats.ts'
import { noLog } from '../../../lib/ports/log.ts'
import { seededRandom } from '../../../lib/sim/random.ts'
import { ManualClock } from '../rpc/manual-clock.ts'

let clock: ManualClock
let stats: Stats
let behind: WriteBehind
let definition: CacheDefinition
/** Calls of the store, in order, and how to end each. */
let calls: { key: string; value: unknown; version: string; end: (error?: Error) => Promise<void> }[]
let said: string[]
let told: string[]
let stamp: number

const later = async (): Promise<void> => new Promise(resolve => setImmediate(resolve))

function declare(terms: WriteBehindOptions = {}): void {
  const options = {
    ttl: '1h',
    writeBehind: { delay: 100, ...terms },
    store: (key: string, value: unknown, { version }: { version: string }) =>
      new Promise<void>((resolve, reject) => {
        const end = async (error?: Error): Promise<void> => {
          if (error === undefined) resolve()
          else reject(error)
          await later()
        }
        calls.push({ key, value, version, end })
      })
  }
  definition = cacheDefinition('c', options as never)
}

beforeEach(() => {
  clock = new ManualClock()
  stats = new Stats()
  calls = []
  said = []
  told = []
  stamp = 0
  declare()
  behind = new WriteBehind({
    clock,
    random: seededRandom(1),
    stats,
    log: { ...noLog, warn: (_, message) => said.push(message) },
    detach: fn => fn(),
    definition: namespace => (namespace === definition.namespace ? definition : undefined),
    tell: write => {
      told.push(write.key)
      return undefined
    }
  })
})

function take(key: string, value?: unknown, o: { stamp?: number; partition?: number } = {}): boolean {
  const bytes = value === undefined ? undefined : definition.codec.encode(value, { cache: 'c', key })
  const version = { stamp: o.stamp ?? ++stamp, writer: 'me' }
  return behind.take({ namespace: definition.namespace, key: `s${key}`, partition: o.partition ?? 1, bytes, version })
}

async function pass(ms: number): Promise<void> {
  clock.pass(ms)
  await later()
}

const stored = (): unknown[] => calls.map(({ key, value }) => [key, value])
const failure = new Error('origin is down')

describe('what waits', () => {
  it('is stored after the delay, a delete as undefined', async () => {
    expect([take('a', 1), take('b')]).toEqual([true, true])
    await pass(99)
    expect(calls).toEqual([])
    expect(behind.size).toBe(2)
    await pass(1)
    expect(stored()).toEqual([
      ['a', 1],
      ['b', undefined]
    ])
    for (const call of calls) await call.end()
    expect([behind.size, told, stats.storesTotal]).toEqual([0, ['sa', 'sb'], 2])
    expect(clock.armed).toBe(0)
  })

  it('is only the latest of each key, at the time of the first', async () => {
    take('a', 1)
    await pass(60)
    take('a', 2)
    take('a', 3)
    await pass(40)
    expect(stored()).toEqual([['a', 3]])
    expect(stats.storesCoalescedTotal).toBe(2)
  })

  it('is never replaced by something older that comes late', async () => {
    take('a', 'newer', { stamp: 9 })
    take('a', 'older', { stamp: 8 })
    await pass(100)
    expect(stored()).toEqual([['a', 'newer']])
  })

  it('is stored one at a time for each key, the newer value after the older', async () => {
    take('a', 1)
    await pass(100)
    take('a', 2)
    take('a', 3)
    await pass(500)
    expect(stored()).toEqual([['a', 1]])
    await calls[0]?.end()
    expect(behind.size).toBe(1)
    await pass(100)
    expect(stored()).toEqual([
      ['a', 1],
      ['a', 3]
    ])
    expect((calls[0]?.version as string) < (calls[1]?.version as string)).toBe(true)
    await calls[1]?.end()
    expect([behind.size, stats.storesCoalescedTotal]).toEqual([0, 1])
  })

  it('is stored by so many calls at once and no more', async () => {
    declare({ concurrency: 2 })
    for (const key of ['a', 'b', 'c', 'd']) take(key, 1)
    await pass(100)
    expect(calls).toHaveLength(2)
    await calls[0]?.end()
    expect(calls.map(({ key }) => key)).toEqual(['a', 'b', 'c'])
  })

  it('has bytes of its own', async () => {
    const bytes = definition.codec.encode('mine', { cache: 'c', key: 'a' })
    behind.take({
      namespace: definition.namespace,
      key: 'sa',
      partition: 1,
      bytes,
      version: { stamp: 1, writer: 'me' }
    })
    bytes.fill(0)
    await pass(100)
    expect(stored()).toEqual([['a', 'mine']])
  })

  it('is nothing where the cache has no store here', () => {
    const write = { namespace: 'other', key: 'sa', partition: 1, bytes: undefined, version: { stamp: 1, writer: 'me' } }
    expect([behind.take(write), behind.hasRoom('other', 'sa', 1), behind.size]).toEqual([false, true, 0])
  })
})

describe('room', () => {
  it('is for so many keys; one that waits already is always taken', () => {
    declare({ maxPending: 2 })
    const room = (key: string): boolean => behind.hasRoom(definition.namespace, `s${key}`, 1)
    take('a', 1)
    expect(room('b')).toBe(true)
    take('b', 1)
    expect([room('a'), room('b'), room('c')]).toEqual([true, true, false])
    expect(stats.storesRefusedTotal).toBe(1)
  })

  it('is for so many bytes, and for one value whatever it weighs', async () => {
    declare({ maxPendingBytes: 1_000 })
    const room = (key: string, bytes: number): boolean => behind.hasRoom(definition.namespace, `s${key}`, bytes)
    expect(room('a', 5_000)).toBe(true)
    take('a', 'x'.repeat(5_000))
    expect([room('b', 1), room('a', 6_000)]).toEqual([false, true])
    take('a', 'x'.repeat(500))
    expect([room('b', 400), room('b', 600)]).toEqual([true, false])
    await pass(100)
    await calls[0]?.end()
    expect(room('b', 600)).toBe(true)
  })
})

describe('a store that fails', () => {
  it('is called again after pauses that grow, with the latest value, and that is said once', async () => {
    take('a', 1)
    const times: number[] = []
    for (let i = 0; i < 6; i++) {
      const before = calls.length
      while (calls.length === before) await pass(1)
      times.push(clock.nowMs)
      take('a', i + 2)
      await calls.at(-1)?.end(failure)
    }
    const pauses = times.slice(1).map((ms, i) => ms - (times[i] as number))
    for (const [i, ms] of pauses.entries()) {
      expect(ms).toBeGreaterThanOrEqual(50 * 2 ** i)
      expect(ms).toBeLessThanOrEqual(100 * 2 ** i)
    }
    expect(calls.map(({ value }) => value)).toEqual([1, 2, 3, 4, 5, 6])
    expect(said).toEqual(["the store of cache 'c' fails and will be called again"])
    expect(stats.storesFailedTotal).toBe(6)
  })

  it('for longer than retryFor is given up, counted, and said together with others', async () => {
    declare({ retryFor: '1s' })
    take('a', 1)
    take('b', 1)
    for (let i = 0; i < 40 && behind.size > 0; i++) {
      await pass(100)
      for (const call of calls.splice(0)) await call.end(failure)
    }
    await pass(1_000)
    expect([behind.size, stats.storesLostTotal, clock.armed]).toEqual([0, 2, 0])
    expect(said.slice(1).join()).toMatch(/2 keys were given up|1 keys .*1 keys/)
  })

  it('by its timeout is aborted and called again', async () => {
    definition = { ...definition, storeTimeoutMs: 50 }
    take('a', 1)
    await pass(100)
    await pass(50)
    expect(stats.storesFailedTotal).toBe(1)
    await pass(100)
    expect(calls).toHaveLength(2)
  })
})

describe('a reader of a key that waits', () => {
  it('makes it due, and is told when it has been stored', async () => {
    const read: string[] = []
    expect(behind.whenStored(definition.namespace, 'sa', () => read.push('a'))).toBeUndefined()
    take('a', 1)
    behind.whenStored(definition.namespace, 'sa', () => read.push('a'))
    const withdraw = behind.whenStored(definition.namespace, 'sa', () => read.push('withdrawn'))
    withdraw?.()
    expect(stored()).toEqual([['a', 1]])
    expect(read).toEqual([])
    await calls[0]?.end()
    expect(read).toEqual(['a'])
  })

  it('waits for the newer value too, which is then stored at once', async () => {
    const read: string[] = []
    take('a', 1)
    await pass(100)
    take('a', 2)
    behind.whenStored(definition.namespace, 'sa', () => read.push('a'))
    await calls[0]?.end()
    await pass(0)
    expect(stored()).toEqual([
      ['a', 1],
      ['a', 2]
    ])
    expect(read).toEqual([])
    await calls[1]?.end()
    expect(read).toEqual(['a'])
  })

  it('does not hurry an origin that is down', async () => {
    take('a', 1)
    await pass(100)
    await calls[0]?.end(failure)
    behind.whenStored(definition.namespace, 'sa', () => {})
    expect(calls).toHaveLength(1)
  })
})

describe('partitions that move, and a member that leaves', () => {
  it('store what waits of them at once, and let readers ask the new owner', async () => {
    const read: string[] = []
    take('a', 1, { partition: 1 })
    take('b', 1, { partition: 2 })
    take('c', 1, { partition: 1 })
    await pass(50)
    behind.whenStored(definition.namespace, 'sc', () => read.push('c'))
    behind.lose(partition => partition === 1)
    expect(calls.map(({ key }) => key)).toEqual(['c', 'a'])
    expect(read).toEqual(['c'])
  })

  it('empties before it ends, also of what comes late and of what fails once', async () => {
    let empty = false
    take('a', 1)
    behind.beginLeaving()
    void behind.emptied(5_000).then(() => {
      empty = true
    })
    take('b', 1)
    await pass(0)
    await calls[0]?.end(failure)
    await calls[1]?.end()
    expect(empty).toBe(false)
    await pass(100)
    await calls[2]?.end()
    expect(empty).toBe(true)
    behind.stop()
    expect([stats.storesLostTotal, clock.armed]).toEqual([0, 0])
  })

  it('that cannot empty in time says how many values are lost, and lets go of the calls', async () => {
    declare({ concurrency: 1 })
    take('a', 1)
    take('b', 1)
    behind.beginLeaving()
    const emptied = behind.emptied(1_000)
    await pass(1_000)
    await emptied
    behind.stop()
    expect(said).toEqual([
      'the latest values of 2 keys were not stored before this member left: the origin does not have them'
    ])
    expect([stats.storesLostTotal, behind.size, clock.armed]).toEqual([2, 0, 0])
    // Nothing is taken that would be stored by nobody.
    expect(behind.hasRoom(definition.namespace, 'sc', 1)).toBe(false)
    expect([take('c', 1), stats.storesLostTotal, behind.size, said.length]).toEqual([true, 3, 0, 2])
    // The call that was aborted ends after all: nothing more is begun.
    await calls[0]?.end()
    expect(calls).toHaveLength(1)
  })
})
