import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isPresent, type MemberRecord, NOBODY, printOf, supersedes, type View } from '../../lib/membership/view.ts'

const IDS = ['a', 'b', 'c', 'd']
const record: fc.Arbitrary<MemberRecord> = fc.record(
  {
    id: fc.constantFrom(...IDS),
    boot: fc.integer({ min: 1, max: 3 }),
    incarnation: fc.integer({ min: 0, max: 4 }),
    status: fc.constantFrom('alive', 'suspect', 'dead', 'left'),
    weight: fc.constantFrom(0, 1, 2),
    zone: fc.constantFrom('', 'z'),
    host: fc.constantFrom('h', 'i'),
    addresses: fc.array(fc.constantFrom('x:1', 'y:2'), { maxLength: 2 })
  },
  { noNullPrototype: true }
)
const records = fc.array(record, { maxLength: 12 })

const heard = (from: View, news: readonly MemberRecord[]): View => news.reduce((view, one) => view.with(one), from)
const here = (view: View): unknown => [...view.present()].sort((a, b) => (a.id < b.id ? -1 : 1))
const plain = (view: View): unknown => [...view.records].sort(([a], [b]) => (a < b ? -1 : 1))

describe('a view', () => {
  it('is the same in whatever order, and however often, its records were heard', () => {
    fc.assert(
      fc.property(records, fc.infiniteStream(fc.nat()), (news, dice) => {
        const shuffled = news
          .flatMap(one => [one, one])
          .map(one => ({ one, at: dice.next().value as number }))
          .sort((a, b) => a.at - b.at)
          .map(({ one }) => one)
        expect(plain(heard(NOBODY, shuffled))).toStrictEqual(plain(heard(NOBODY, news)))
      }),
      { numRuns: 1_000 }
    )
  })

  it('is the same however its parts were put together before', () => {
    fc.assert(
      fc.property(records, records, records, (a, b, c) => {
        const told = (view: View): MemberRecord[] => [...view.records.values()]
        const left = heard(heard(heard(NOBODY, a), told(heard(NOBODY, b))), c)
        const right = heard(NOBODY, [...a, ...told(heard(heard(NOBODY, b), c))])
        expect(plain(left)).toStrictEqual(plain(right))
        expect(left.hash).toBe(right.hash)
      }),
      { numRuns: 1_000 }
    )
  })

  it('hears nothing new in what it holds, and says so by staying itself', () => {
    fc.assert(
      fc.property(records, news => {
        const view = heard(NOBODY, news)
        expect(heard(view, [...view.records.values()])).toBe(view)
        expect(heard(view, news)).toBe(view)
      })
    )
  })

  it('gives a member the last word about itself: one incarnation more beats all that was said', () => {
    fc.assert(
      fc.property(records, record, (news, own) => {
        const before = heard(NOBODY, news)
        const said = before.get(own.id)?.incarnation ?? 0
        const word: MemberRecord = { ...own, status: 'alive', incarnation: said + 1 }
        expect(heard(before.with(word), news).get(own.id)).toEqual(word)
      })
    )
  })

  it('hashes what placement reads: who owns, and nothing of suspicion or incarnation', () => {
    fc.assert(
      fc.property(records, record, (news, other) => {
        const view = heard(NOBODY, news)
        for (const one of view.owners()) {
          const next = view.with({ ...one, incarnation: one.incarnation + 1, status: 'suspect', addresses: ['new:1'] })
          expect(next.hash).toBe(view.hash)
          expect(view.with({ ...one, incarnation: one.incarnation + 1, status: 'dead' }).hash).not.toBe(view.hash)
          expect(view.with({ ...one, incarnation: one.incarnation + 1, boot: one.boot + 9 }).hash).not.toBe(view.hash)
          expect(view.with({ ...one, incarnation: one.incarnation + 1, weight: one.weight + 1 }).hash).not.toBe(
            view.hash
          )
        }
        const client = view.with({ ...other, id: 'client', weight: 0 })
        expect(client.hash).toBe(view.hash)
      })
    )
  })

  it('has one stateHash for those who are here, whatever it remembers of the gone, and another for others', () => {
    fc.assert(
      fc.property(records, records, (a, b) => {
        const [left, right] = [heard(NOBODY, a), heard(NOBODY, b)]
        const same = JSON.stringify(here(left)) === JSON.stringify(here(right))
        expect(left.stateHash === right.stateHash).toBe(same)
      }),
      { numRuns: 2_000 }
    )
    fc.assert(
      fc.property(records, record, (news, other) => {
        const view = heard(NOBODY, news)
        const gone = view.with({ ...other, id: 'gone', status: 'dead' })
        expect(gone.stateHash).toBe(view.stateHash)
        expect(gone.hash).toBe(view.hash)
        expect(view.with({ ...other, id: 'here', status: 'suspect' }).stateHash).not.toBe(view.stateHash)
      })
    )
  })

  it('has the hashes that its records give, by whatever way it came to them', () => {
    fc.assert(
      fc.property(records, records, (a, b) => {
        const long = heard(heard(NOBODY, a), b)
        const direct = heard(NOBODY, [...long.records.values()])
        expect([direct.hash, direct.stateHash]).toEqual([long.hash, long.stateHash])
        const empty = heard(
          long,
          long.present().map(one => ({ ...one, status: 'dead' as const }))
        )
        expect([empty.hash, empty.stateHash]).toEqual([0, 0])
      }),
      { numRuns: 1_000 }
    )
  })

  it('takes in many at once as it takes them one by one', () => {
    fc.assert(
      fc.property(records, records, (before, news) => {
        const view = heard(NOBODY, before)
        const [atOnce, oneByOne] = [view.with(...news), heard(view, news)]
        expect([...atOnce.records]).toStrictEqual([...oneByOne.records])
        expect([atOnce.hash, atOnce.stateHash]).toEqual([oneByOne.hash, oneByOne.stateHash])
        expect(atOnce === view).toBe(oneByOne === view)
      }),
      { numRuns: 2_000 }
    )
  })

  it('forgets those who are gone and no others, and its hashes stay', () => {
    fc.assert(
      fc.property(records, fc.subarray(IDS), (news, old) => {
        const view = heard(NOBODY, news)
        const left = view.without(new Set(old))
        const kept = [...view.records].filter(([id, one]) => isPresent(one) || !old.includes(id))
        expect([...left.records]).toStrictEqual(kept)
        expect([left.hash, left.stateHash]).toEqual([view.hash, view.stateHash])
      })
    )
  })

  it('gives two records one print exactly when they say the same', () => {
    fc.assert(
      fc.property(record, record, (a, b) => {
        expect(printOf(a) === printOf(b)).toBe(JSON.stringify(a) === JSON.stringify(b))
        expect(printOf({ ...a })).toBe(printOf(a))
        expect(Number.isInteger(printOf(a)) && printOf(a) >= 0 && printOf(a) < 2 ** 52).toBe(true)
      }),
      { numRuns: 2_000 }
    )
  })

  it('has owners that are here and weigh something, and no others', () => {
    fc.assert(
      fc.property(records, news => {
        const view = heard(NOBODY, news)
        expect(view.owners()).toEqual([...view.records.values()].filter(one => isPresent(one) && one.weight > 0))
      })
    )
  })

  it('orders records strictly: two that differ have one that wins, and like ones have none', () => {
    fc.assert(
      fc.property(record, record, (a, b) => {
        const same = JSON.stringify({ ...a, id: '' }) === JSON.stringify({ ...b, id: '' })
        expect(Number(supersedes(a, b)) + Number(supersedes(b, a))).toBe(same ? 0 : 1)
      }),
      { numRuns: 2_000 }
    )
  })

  it('remembers the gone up to a bound, and loses none that is here for it', () => {
    let view = NOBODY
    const base = { boot: 1, incarnation: 1, weight: 1, zone: '', host: 'h', addresses: [] }
    for (let i = 0; i < 20; i++) view = view.with({ ...base, id: `here-${i}`, status: 'alive' })
    for (let i = 0; i < 1_500; i++) view = view.with({ ...base, id: `gone-${i}`, status: 'dead' })
    expect(view.present()).toHaveLength(20)
    expect(view.records.size).toBe(20 + 1024)
    expect(view.get('gone-0')).toBeUndefined()
    expect(view.get('gone-1499')).toBeDefined()
  })
})
