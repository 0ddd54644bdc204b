/**
 * The store against a model of a few lines: a Map of what was put. What the store has may be less than the model has
 * where something had to go for room; what it answers is never anything else.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Stats } from '../../lib/observe/stats.ts'
import { seededRandom } from '../../lib/sim/random.ts'
import { type Entry, entryBytes, isLive } from '../../lib/store/entry.ts'
import { EVICTION_NAMES, type EvictionName } from '../../lib/store/eviction.ts'
import { Store } from '../../lib/store/store.ts'

const NAMESPACES = ['n', 'm', 'ö']
const KEYS = ['sa', 'sab', 'sb', 's', 'a["x"]', 's店', 'sé', `s${'long'.repeat(60)}`]
const HOUR_MS = 3_600_000

interface PutStep {
  readonly type: 'put'
  readonly entry: Entry
}
type Step =
  | PutStep
  | { type: 'value' | 'entry' | 'drop'; of: readonly [string, string] }
  | { type: 'pass'; ms: number }
  | { type: 'expire' }
  | { type: 'dropPartition'; partition: number }
  | { type: 'keysIn'; namespace: string; partition: number; prefix: string }
  | { type: 'limit'; namespace: string; bytesMax: number; eviction: EvictionName }

const of = fc.tuple(fc.constantFrom(...NAMESPACES), fc.constantFrom(...KEYS))
const entry = fc
  .record({
    of,
    // One key has one partition, nearly always: a view may have been another one.
    partition: fc.integer({ min: 0, max: 3 }),
    version: fc.record({ stamp: fc.nat(2 ** 31).map(n => n * 2 ** 21), writer: fc.constantFrom('w', 'v', 'ü') }),
    kind: fc.constantFrom<Entry['kind']>('value', 'value', 'value', 'tombstone'),
    bytes: fc
      .tuple(fc.oneof({ weight: 6, arbitrary: fc.nat(300) }, fc.nat(20_000)), fc.nat(255))
      .map(([length, fill]) => new Uint8Array(length).fill(fill)),
    ttlMs: fc.oneof(fc.nat(2_000), fc.nat(HOUR_MS), fc.constant(Number.POSITIVE_INFINITY)),
    negative: fc.boolean(),
    backups: fc.integer({ min: 0, max: 3 })
  })
  .map(({ of: [namespace, key], ...rest }) => ({ namespace, key, ...rest }))
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 10, arbitrary: entry.map(entry => ({ type: 'put' as const, entry: entry as never })) },
  {
    weight: 6,
    arbitrary: fc.record({ type: fc.constantFrom('value' as const, 'entry' as const, 'drop' as const), of })
  },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constant('pass' as const), ms: fc.oneof(fc.nat(500), fc.nat(2 * HOUR_MS)) })
  },
  { weight: 1, arbitrary: fc.constant({ type: 'expire' as const }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('dropPartition' as const), partition: fc.integer({ min: 0, max: 3 }) })
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('keysIn' as const),
      namespace: fc.constantFrom(...NAMESPACES),
      partition: fc.integer({ min: 0, max: 3 }),
      prefix: fc.constantFrom('', 's', 'sa', 's店', 'zz')
    })
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('limit' as const),
      namespace: fc.constantFrom(...NAMESPACES),
      bytesMax: fc.constantFrom(500, 2_000, 30_000, Number.POSITIVE_INFINITY),
      eviction: fc.constantFrom(...EVICTION_NAMES)
    })
  }
)

class Model {
  readonly known = new Map<string, Entry>()
  readonly limits = new Map<string, number>()
  nowMs: number

  constructor(nowMs: number) {
    this.nowMs = nowMs
  }

  get(namespace: string, key: string): Entry | undefined {
    return this.known.get(JSON.stringify([namespace, key]))
  }

  set(entry: Entry): void {
    this.known.set(JSON.stringify([entry.namespace, entry.key]), entry)
  }

  dropWhere(isGone: (entry: Entry) => boolean): number {
    const gone = [...this.known].filter(([, entry]) => isGone(entry))
    for (const [name] of gone) this.known.delete(name)
    return gone.length
  }
}

/** Plays the steps on both and compares at each; what the store had to give up is taken from the model. */
function play(steps: readonly Step[], bytesMax: number, startMs: number): { store: Store; stats: Stats } {
  const stats = new Stats()
  const store = new Store({ bytesMax, stats, random: seededRandom(1) })
  const model = new Model(startMs)
  for (const one of steps) {
    const evictedBefore = stats.evictionsTotal + stats.tombstonesEvictedTotal
    perform(one, store, model, bytesMax)
    const isLost = ({ namespace, key }: Entry): boolean => store.entry(namespace, key) === undefined
    const lostLive = model.dropWhere(entry => entry.expiresAtMs > model.nowMs && isLost(entry))
    const lost = lostLive + model.dropWhere(isLost)
    const evicted = stats.evictionsTotal + stats.tombstonesEvictedTotal - evictedBefore
    // What goes before its time is counted, and only a put or a limit makes it go.
    expect(lostLive).toBeLessThanOrEqual(evicted)
    expect(evicted).toBeLessThanOrEqual(one.type === 'put' || one.type === 'limit' ? lost : 0)
    expect(store.size).toBe(model.known.size)
    const costs = [...model.known.values()].map(entry => ({ ...entry, cost: entryBytes(entry) }))
    for (const { cost: _, ...entry } of costs) expect(store.entry(entry.namespace, entry.key)).toEqual(entry)
    const sum = (list: typeof costs): number => list.reduce((total, { cost }) => total + cost, 0)
    expect(store.bytes).toBe(sum(costs))
    expect(store.bytes).toBeLessThanOrEqual(bytesMax)
    for (const name of NAMESPACES) {
      expect(store.bytesOf(name)).toBe(sum(costs.filter(({ namespace }) => namespace === name)))
      expect(store.bytesOf(name)).toBeLessThanOrEqual(model.limits.get(name) ?? bytesMax)
    }
  }
  return { store, stats }
}

function perform(one: Step, store: Store, model: Model, bytesMax: number): void {
  switch (one.type) {
    case 'put':
      return put(entryAt(one.entry, model.nowMs), store, model, bytesMax)
    case 'value': {
      const known = model.get(...one.of)
      const live = known !== undefined && isLive(known, model.nowMs) ? known : undefined
      expect(store.value(...one.of, model.nowMs)).toEqual(live)
      expect(store.glance(...one.of, model.nowMs)).toEqual(live)
      return
    }
    case 'entry':
      expect(store.entry(...one.of)).toEqual(model.get(...one.of))
      return
    case 'drop':
      expect(store.drop(...one.of)).toBe(
        model.dropWhere(({ namespace, key }) => namespace === one.of[0] && key === one.of[1]) === 1
      )
      return
    case 'pass':
      model.nowMs += one.ms
      return
    case 'expire': {
      const dropped = store.expire(model.nowMs)
      const isOver = ({ namespace, key, expiresAtMs }: Entry): boolean =>
        store.entry(namespace, key) === undefined && expiresAtMs <= model.nowMs
      expect(dropped).toBe(model.dropWhere(isOver))
      return
    }
    case 'dropPartition':
      expect(store.dropPartition(one.partition)).toBe(model.dropWhere(({ partition }) => partition === one.partition))
      return
    case 'keysIn': {
      const fits = (entry: Entry): boolean =>
        entry.namespace === one.namespace &&
        entry.partition === one.partition &&
        entry.key.startsWith(one.prefix) &&
        isLive(entry, model.nowMs) &&
        !entry.negative
      expect([...store.keysIn(one.namespace, one.partition, one.prefix, model.nowMs)].toSorted()).toEqual(
        [...model.known.values()]
          .filter(fits)
          .map(({ key }) => key)
          .toSorted()
      )
      return
    }
    case 'limit':
      model.limits.set(one.namespace, Math.min(one.bytesMax, bytesMax))
      store.limit(one.namespace, one)
  }
}

function entryAt({ ttlMs, ...entry }: Entry & { ttlMs?: number }, nowMs: number): Entry {
  return { ...entry, expiresAtMs: nowMs + (ttlMs as number) }
}

function put(entry: Entry, store: Store, model: Model, bytesMax: number): void {
  const fits = entryBytes(entry) <= Math.min(bytesMax, model.limits.get(entry.namespace) ?? bytesMax)
  const given = new Uint8Array(entry.bytes)
  expect(store.put({ ...entry, bytes: given })).toBe(fits)
  given.fill(99)
  if (fits) model.set(entry)
  else model.dropWhere(({ namespace, key }) => namespace === entry.namespace && key === entry.key)
  // What was just put is there, whatever had to go for it.
  if (fits) expect(store.entry(entry.namespace, entry.key)).toEqual(entry)
}

describe('a store', () => {
  it.each([0, 215_000_000_000, 2 ** 42])('is its model, less what had no room, from time %d on', startMs => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 80 }),
        fc.oneof(fc.integer({ min: 1, max: 3_000 }), fc.integer({ min: 1, max: 100_000 })),
        (steps, bytesMax) => void play(steps, bytesMax, startMs)
      ),
      { numRuns: 160 }
    )
  })

  it('loses nothing where there is room', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), steps => {
        const { stats } = play(
          steps.filter(({ type }) => type !== 'limit'),
          1e9,
          215_000_000_000
        )
        expect(stats.evictionsTotal + stats.tombstonesEvictedTotal).toBe(0)
      }),
      { numRuns: 160 }
    )
  })

  it('hands out bytes that nothing changes any more', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), steps => {
        const store = new Store({ bytesMax: 30_000, stats: new Stats(), random: seededRandom(1) })
        const model = new Model(0)
        const held: { bytes: Uint8Array; was: string }[] = []
        for (const one of steps) {
          if (one.type === 'put') store.put(entryAt(one.entry, model.nowMs))
          if (one.type === 'put' || one.type === 'value') {
            const name = one.type === 'put' ? ([one.entry.namespace, one.entry.key] as const) : one.of
            const found = store.value(...name, 0)
            if (found !== undefined) held.push({ bytes: found.bytes, was: `${found.bytes}` })
          }
          for (const { bytes, was } of held) expect(`${bytes}`).toBe(was)
        }
      }),
      { numRuns: 100 }
    )
  })
})
