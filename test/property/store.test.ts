import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Stats } from '../../lib/observe/stats.ts'
import { type Entry, entryBytes } from '../../lib/store/entry.ts'
import { Store } from '../../lib/store/store.ts'

const entry: fc.Arbitrary<Entry> = fc.record({
  namespace: fc.constantFrom('n', 'm'),
  key: fc.constantFrom('sa', 'sb', 'sc', 'sd', 'a["x"]'),
  partition: fc.integer({ min: 0, max: 3 }),
  version: fc.record({ stamp: fc.nat(), writer: fc.constant('w') }),
  kind: fc.constantFrom('value', 'value', 'tombstone'),
  bytes: fc.integer({ min: 0, max: 1_500 }).map(length => new Uint8Array(length)),
  expiresAtMs: fc.oneof(fc.integer({ min: 0, max: 100 }), fc.constant(Number.POSITIVE_INFINITY)),
  negative: fc.boolean()
})
type Step = { put: Entry } | { look: [string, string]; nowMs: number } | { drop: number }
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: entry.map(put => ({ put })) },
  {
    weight: 4,
    arbitrary: fc.record({
      look: fc.tuple(fc.constantFrom('n', 'm'), fc.constantFrom('sa', 'sb', 'sc')),
      nowMs: fc.integer({ min: 0, max: 100 })
    })
  },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 3 }).map(drop => ({ drop })) }
)

describe('a store', () => {
  it('never holds more than its bytes, whatever happens, and counts what it holds exactly', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 5_000 }), (steps, bytesMax) => {
        const store = new Store({ bytesMax, stats: new Stats() })
        const names = new Map<string, Entry>()
        for (const one of steps) {
          if ('put' in one) {
            const kept = store.put(one.put)
            expect(kept).toBe(entryBytes(one.put) <= bytesMax)
            names.set(`${one.put.namespace} ${one.put.key}`, one.put)
          } else if ('look' in one) store.value(...one.look, one.nowMs)
          else store.dropPartitions(partition => partition === one.drop)
          const held = [...names.values()].filter(({ namespace, key }) => store.entry(namespace, key) !== undefined)
          expect(store.bytes).toBe(held.reduce((sum, here) => sum + entryBytes(here), 0))
          expect(store.bytes).toBeLessThanOrEqual(bytesMax)
          expect(store.size).toBe(held.length)
        }
      }),
      { numRuns: 300 }
    )
  })

  it('answers with the last value put while it lives, and never with a tombstone or what has expired', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), steps => {
        const store = new Store({ bytesMax: 1e9, stats: new Stats() })
        const model = new Map<string, Entry>()
        for (const one of steps) {
          if ('put' in one) {
            store.put(one.put)
            model.set(`${one.put.namespace} ${one.put.key}`, one.put)
          } else if ('drop' in one) {
            const before = store.size
            const dropped = store.dropPartitions(partition => partition === one.drop)
            expect(store.size).toBe(before - dropped)
            for (const [name, { partition }] of model) if (partition === one.drop) model.delete(name)
          } else {
            const expected = model.get(one.look.join(' '))
            const isLive = expected?.kind === 'value' && expected.expiresAtMs > one.nowMs
            expect(store.value(...one.look, one.nowMs)).toBe(isLive ? expected : undefined)
            // Time does not go back: what was seen expired stays so.
            if (expected?.kind === 'value' && !isLive) model.delete(one.look.join(' '))
          }
        }
      }),
      { numRuns: 300 }
    )
  })
})
