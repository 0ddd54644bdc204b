import { describe, expect, it } from 'vitest'
import type { Effect } from '../../../lib/membership/roster.ts'
import { record } from '../../member-record.ts'
import { only, sent, Table } from './table.ts'

const DAY_MS = 24 * 3_600_000

/** How often this member was told of with the pings of these effects. */
const tellings = (effects: readonly Effect[], id: string): number =>
  sent(effects, 'ping').filter(({ news }) => news.some(told => told.id === id)).length

/** Linked to one that answers, and with nothing left to tell. */
function quiet(...peers: string[]): Table {
  const t = new Table()
  t.meet(...peers)
  t.pass(60_000)
  return t
}

describe('news', () => {
  it('rides on pings a few times the logarithm of the members, and then no more', () => {
    const t = quiet('a')
    expect(sent(t.pass(2_000), 'ping').flatMap(({ news }) => news)).toEqual([])
    t.gossip('a', record('z'))
    const dials = t.pass(20_000)
    // Three members, and so 3 × ⌈log2 5⌉ times.
    expect(tellings(dials, 'z')).toBe(9)
    expect(tellings(t.pass(20_000), 'z')).toBe(0)
  })

  it('is told more often in a larger mesh', () => {
    const t = quiet(...Array.from({ length: 30 }, (_, i) => `p${i}`))
    t.gossip('p0', record('p1', { incarnation: 2 }))
    expect(tellings(t.pass(60_000), 'p1')).toBe(18)
  })

  it('rides on pongs too, and counts there', () => {
    const t = quiet('a')
    t.gossip('a', record('z'))
    const pongs = Array.from({ length: 20 }, () => {
      const { stateHash } = t.protocol.view
      return sent(t.message('a', { type: 'ping', stateHash, news: [] }), 'pong', 'a')[0]
    })
    expect(pongs.filter(pong => pong?.news.some(({ id }) => id === 'z'))).toHaveLength(9)
    expect(tellings(t.pass(20_000), 'z')).toBe(0)
  })

  it('is told of eight members at a time, and of all in the end, the least told first', () => {
    const t = quiet('a')
    const many = Array.from({ length: 20 }, (_, i) => `z${i}`)
    t.gossip('a', ...many.map(id => record(id)))
    const pings = sent(t.pass(2_000), 'ping', 'a')
    for (const { news } of pings) expect(news).toHaveLength(8)
    const told = new Set(pings.slice(0, 3).flatMap(({ news }) => news.map(({ id }) => id)))
    expect([...told].sort()).toEqual(many.sort())
  })

  it('is the latest word about a member, with as many tellings again', () => {
    const t = quiet('a')
    t.gossip('a', record('z'))
    t.pass(1_600)
    t.gossip('a', record('z', { incarnation: 2 }))
    const pings = sent(t.pass(2_000), 'ping', 'a').flatMap(({ news }) => news)
    expect(new Set(pings.map(({ incarnation }) => incarnation))).toEqual(new Set([2]))
    t.gossip('a', record('z', { incarnation: 3 }))
    expect(tellings(t.pass(1_800), 'z') + tellings(t.pass(20_000), 'z')).toBeGreaterThanOrEqual(9)
  })

  it('is not what came with an exchange of views: then the others know it as well', () => {
    const t = quiet('a')
    t.message('a', { type: 'swap', round: 0, records: [record('y')], wanted: [] })
    t.message('a', { type: 'swapped', round: 0, records: [record('z')] })
    expect([t.status('y'), t.status('z')]).toEqual(['alive', 'alive'])
    const effects = t.pass(2_000)
    expect([tellings(effects, 'y'), tellings(effects, 'z')]).toEqual([0, 0])
  })

  it('is not what we knew already', () => {
    const t = quiet('a')
    t.gossip('a', record('z'))
    t.pass(1_800)
    const before = tellings(t.pass(20_000), 'z')
    t.gossip('a', record('z'))
    expect([before > 0, tellings(t.pass(20_000), 'z')]).toEqual([true, 0])
  })

  it('of a member itself rides on every ping to it while it is not called alive', () => {
    const t = quiet('a', 'b')
    t.gossip('b', record('a', { status: 'suspect' }))
    const told = (effects: readonly Effect[]): boolean[] =>
      sent(effects, 'ping', 'a').map(({ news }) => news.some(({ id }) => id === 'a'))
    const doubted = told(t.pass(60_000))
    expect(doubted.length).toBeGreaterThan(40)
    expect(doubted).not.toContain(false)
    t.message('a', { type: 'news', records: [record('a', { incarnation: 2 })] })
    t.pass(60_000)
    expect(told(t.pass(10_000))).not.toContain(true)
  })
})

describe('the record of a member that is gone', () => {
  /** A day of an idle member is one late tick. */
  const later = (t: Table, ms: number): Effect[] => {
    t.nowMs += ms
    return t.tick()
  }

  it.each(['dead', 'left'] as const)('(%s) is kept for a day, so that an old word does not bring it back', status => {
    const t = new Table()
    t.gossip('a', record('z'))
    t.gossip('a', record('z', { status }))
    const { hash, stateHash } = t.protocol.view
    later(t, DAY_MS - 120_000)
    t.gossip('a', record('z'))
    expect(t.status('z')).toBe(status)
    later(t, 240_000)
    expect(t.status('z')).toBeUndefined()
    expect([t.protocol.view.hash, t.protocol.view.stateHash]).toEqual([hash, stateHash])
    expect(only(t.pass(120_000), 'dial')).toEqual([])
    t.gossip('a', record('z', { boot: 2 }))
    expect(t.status('z')).toBe('alive')
  })

  it('is not forgotten while others are here, nor they with it', () => {
    const t = new Table()
    t.up('a')
    t.gossip('a', record('y'), record('z'))
    t.gossip('a', record('z', { status: 'dead' }))
    later(t, DAY_MS + 120_000)
    expect(t.status('z')).toBeUndefined()
    expect([t.status('a'), t.status('y'), t.status('m')]).toEqual(['alive', 'alive', 'alive'])
  })

  it('is forgotten though it is still linked, and its link stays', () => {
    const t = new Table()
    t.up('z')
    t.gossip('a', record('z', { status: 'dead' }))
    t.pass(600)
    expect(t.status('z')).toBe('dead')
    later(t, DAY_MS + 120_000)
    expect(t.status('z')).toBeUndefined()
    expect(t.protocol.isLinked('z')).toBe(true)
  })

  it('counts from its last death: one that was back meanwhile is kept', () => {
    const t = new Table()
    t.gossip('a', record('z'))
    t.gossip('a', record('z', { status: 'dead' }))
    later(t, DAY_MS / 2)
    t.gossip('a', record('z', { incarnation: 2 }))
    later(t, DAY_MS / 4)
    t.gossip('a', record('z', { incarnation: 2, status: 'dead' }))
    later(t, DAY_MS / 2)
    expect(t.status('z')).toBe('dead')
    later(t, DAY_MS / 2 + 120_000)
    expect(t.status('z')).toBeUndefined()
  })

  it('is not waited for by one that is back: it is sought like any other', () => {
    const t = new Table()
    t.gossip('a', record('z'))
    t.gossip('a', record('z', { status: 'dead' }))
    t.pass(200)
    t.dialFailed('z')
    t.gossip('a', record('z', { incarnation: 2 }))
    later(t, DAY_MS + 120_000)
    expect(t.status('z')).toBe('alive')
    t.dialFailed('z')
    expect(only(t.pass(60_000), 'dial').map(({ peer }) => peer)).toEqual(['z'])
  })
})
