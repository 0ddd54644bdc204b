import { describe, expect, it } from 'vitest'
import type { Effect } from '../../../lib/membership/roster.ts'
import type { MemberFields, MemberTalk } from '../../../lib/rpc/messages.ts'
import { record } from '../../member-record.ts'
import { only, receivers, sent, Table } from './table.ts'

const exchanged = (effects: readonly Effect[]): string[] => only(effects, 'exchanged').map(({ peer }) => peer)

describe('a member that stood still for 2 s', () => {
  /** Linked to these, and asleep for so long. */
  const asleep = (ms: number, ...peers: string[]): { t: Table; effects: Effect[] } => {
    const t = new Table()
    for (const peer of peers) t.up(peer)
    t.pass(400, () => peers.flatMap(peer => t.heard(peer)))
    t.nowMs += ms
    return { t, effects: t.tick() }
  }
  const digest = (effects: readonly Effect[], peer: string, certain: boolean) =>
    ({
      type: 'digest',
      round: sent(effects, 'view', peer)[0]?.round ?? -1,
      same: true,
      certain,
      prints: []
    }) as const

  it('is not certain of its view even before it notices', () => {
    const t = new Table()
    t.up('a')
    t.nowMs += 1_999
    expect(t.isCertain).toBe(true)
    t.nowMs += 1
    expect(t.isCertain).toBe(false)
  })

  it('asks three others before it trusts its view again, and the word of one that is certain is enough', () => {
    const { t, effects } = asleep(2_000, 'a', 'b', 'c', 'd')
    expect(t.isCertain).toBe(false)
    expect(receivers(effects, 'view')).toEqual(['a', 'b', 'c'])
    expect(only(effects, 'certain')).toEqual([])
    const heard = t.message('b', digest(effects, 'b', true))
    expect(only(heard, 'certain')).toEqual([{ type: 'certain' }])
    expect(t.isCertain).toBe(true)
    expect(only(t.message('a', digest(effects, 'a', true)), 'certain')).toEqual([])
  })

  it('is in no doubt after standing still for less', () => {
    const { t, effects } = asleep(1_800, 'a', 'b')
    expect(t.isCertain).toBe(true)
    expect(receivers(effects, 'view')).toEqual([])
  })

  it('is certain as soon as it notices when it is alone', () => {
    const { t, effects } = asleep(20_000)
    expect(t.isCertain).toBe(true)
    expect(effects).toEqual([{ type: 'certain' }])
  })

  it('says that it is not certain', () => {
    const { t } = asleep(5_000, 'a', 'b')
    expect(sent(t.message('b', { type: 'view', round: 1, stateHash: 1 }), 'digest', 'b')[0]?.certain).toBe(false)
  })

  it('needs the word of all when none of them is certain, as when a whole machine slept', () => {
    const { t, effects } = asleep(5_000, 'a', 'b', 'c', 'd', 'e')
    const asked = [...receivers(effects, 'view')]
    const told = ['a', 'b', 'c'].flatMap(peer => t.message(peer, digest(effects, peer, false)))
    for (let ticks = 0; ticks < 5; ticks++) {
      const later = t.pass(200)
      for (const peer of receivers(later, 'view')) {
        expect(only(told, 'certain')).toEqual([])
        asked.push(peer)
        told.push(...t.message(peer, digest(later, peer, false)))
      }
    }
    expect(only(told, 'certain')).toHaveLength(1)
    expect(asked).toEqual(['a', 'b', 'c', 'd', 'e'])
  })

  it('needs no more than the word of one that is certain, whoever said before that it is not', () => {
    const { t, effects } = asleep(5_000, 'a', 'b', 'c', 'd')
    t.message('a', digest(effects, 'a', false))
    expect(t.isCertain).toBe(false)
    t.message('b', digest(effects, 'b', true))
    expect(t.isCertain).toBe(true)
  })

  it('has to wait for the end of the exchange when views differ', () => {
    const { t, effects } = asleep(5_000, 'a')
    const differs = { ...digest(effects, 'a', true), same: false, prints: [9] }
    expect(only(t.message('a', differs), 'certain')).toEqual([])
    expect(t.isCertain).toBe(false)
    const records = [record('m', { status: 'dead' })]
    const told = t.message('a', { type: 'swapped', round: differs.round, records })
    expect(t.protocol.self.incarnation).toBe(2)
    expect(only(told, 'certain')).toHaveLength(1)
    expect(t.isCertain).toBe(true)
  })

  it('changes its view before it is certain: requests that were held back are served in the new one', () => {
    const { t, effects } = asleep(5_000, 'a', 'b')
    const differs = { ...digest(effects, 'a', true), same: false, prints: [9] }
    t.message('a', differs)
    const records = [record('b', { status: 'left' })]
    const told = t.message('a', { type: 'swapped', round: differs.round, records })
    expect(told.map(({ type }) => type)).toEqual(['viewChanged', 'exchanged', 'certain'])
  })

  it('is not helped by a link that ends in the middle', () => {
    const { t, effects } = asleep(5_000, 'a', 'b')
    t.message('a', { ...digest(effects, 'a', true), same: false, prints: [9] })
    expect(only(t.linkDown('a'), 'certain')).toEqual([])
    expect(t.isCertain).toBe(false)
  })

  it('takes no answer for one to what it asked before it stood still', () => {
    const t = new Table()
    const before = t.linkUp('a')
    t.nowMs += 2_000
    const effects = t.tick()
    expect(exchanged(effects)).toEqual(['a'])
    expect(sent(effects, 'view', 'a')[0]?.round).toBe(1)
    t.message('a', digest(before, 'a', true))
    expect(t.isCertain).toBe(false)
    t.message('a', digest(effects, 'a', true))
    expect(t.isCertain).toBe(true)
  })

  it('trusts its view again after 3 s when nobody answers', () => {
    const { t } = asleep(5_000, 'a', 'b')
    expect(only(t.pass(3_000), 'certain')).toEqual([])
    expect(t.isCertain).toBe(false)
    expect(only(t.pass(200), 'certain')).toHaveLength(1)
    expect(t.isCertain).toBe(true)
  })

  it('is in doubt anew when it stands still anew', () => {
    const { t, effects } = asleep(5_000, 'a')
    t.message('a', digest(effects, 'a', true))
    t.nowMs += 3_000
    const again = t.heard('a')
    expect(t.isCertain).toBe(false)
    t.agrees('a', again, true)
    expect(t.isCertain).toBe(true)
  })
})

describe('a member in doubt', () => {
  const inDoubt = (): { t: Table; effects: Effect[] } => {
    const t = new Table()
    t.up('a')
    t.nowMs += 5_000
    return { t, effects: t.tick() }
  }

  it('does not contradict a suspicion, which would hide from it that it was buried', () => {
    const { t, effects } = inDoubt()
    t.message('a', { type: 'ping', stateHash: 1, news: [record('m', { status: 'suspect' })] })
    expect(t.protocol.self.incarnation).toBe(1)
    expect(t.stats.suspicionsRefutedTotal).toBe(0)
    t.agrees('a', effects)
    t.message('a', { type: 'ping', stateHash: 1, news: [record('m', { status: 'suspect' })] })
    expect(t.protocol.self.incarnation).toBe(2)
    expect(t.stats.suspicionsRefutedTotal).toBe(1)
  })

  it('contradicts its death, and stays in doubt for all that', () => {
    const { t } = inDoubt()
    const effects = t.gossip('b', record('m', { status: 'dead' }))
    expect(only(effects, 'buried')).toHaveLength(1)
    expect(t.protocol.self).toMatchObject({ status: 'alive', incarnation: 2 })
    expect(t.isCertain).toBe(false)
  })

  it('is in none any more when everybody else has left', () => {
    const { t } = inDoubt()
    t.gossip('a', record('a', { status: 'left', incarnation: 2 }))
    expect(t.isCertain).toBe(true)
    expect(only(t.pass(200), 'certain')).toHaveLength(1)
  })
})

describe('a member that others buried', () => {
  const awakeAfter = (stoodMs: number, thenMs: number): Table => {
    const t = new Table()
    t.up('a')
    t.nowMs += stoodMs
    t.tick()
    t.pass(thenMs, () => t.heard('a'))
    return t
  }
  const died = (over: Partial<MemberFields> = {}): MemberTalk => ({
    type: 'news',
    records: [record('m', { status: 'dead', ...over })]
  })

  it('contradicts, and knows whether it was asleep meanwhile or only not heard', () => {
    const asleep = [awakeAfter(2_000, 0), awakeAfter(20_000, 9_800)]
    const awake = [awakeAfter(200, 0), awakeAfter(1_800, 0), awakeAfter(20_000, 10_000)]
    for (const t of [...asleep, ...awake]) {
      const effects = t.message('a', died())
      expect(only(effects, 'buried')).toEqual([{ type: 'buried', wasAsleep: asleep.includes(t) }])
      expect(only(effects, 'gossip')[0]?.records).toEqual([record('m', { incarnation: 2 })])
    }
  })

  it('knows it where it has contradicted a suspicion before it heard more', () => {
    const t = awakeAfter(200, 0)
    t.message('a', { type: 'news', records: [record('m', { status: 'suspect' })] })
    expect(t.protocol.self.incarnation).toBe(2)
    const effects = t.message('a', died())
    expect(only(effects, 'buried')).toHaveLength(1)
    expect(t.protocol.self.incarnation).toBe(2)
    expect(t.stats.deathsRefutedTotal).toBe(0)
  })

  it('is buried once, however often and by whomever it is told, until it is buried again', () => {
    const t = awakeAfter(200, 0)
    const told = [died(), died(), died({ incarnation: 2 }), died(), died({ incarnation: 2 })]
    expect(told.map(message => only(t.message('a', message), 'buried').length)).toEqual([1, 0, 1, 0, 0])
  })

  it('is not when it was the process before it', () => {
    const t = awakeAfter(200, 0)
    expect(only(t.message('a', died({ boot: 9, incarnation: 3 })), 'buried')).toEqual([])
    expect(t.protocol.self.incarnation).toBe(4)
  })

  it('is back once, and until then others have gone on without it', () => {
    const t = awakeAfter(200, 0)
    expect(only(t.message('a', died()), 'buried')).toHaveLength(1)
    const back = (incarnation: number): MemberTalk => ({
      type: 'news',
      records: [record('m', { status: 'dead' }), record('m', { incarnation })]
    })
    const told = [back(2), died(), back(2), back(2), back(3)]
    expect(told.map(message => only(t.message('a', message), 'buried').length)).toEqual([1, 0, 0, 0, 1])
  })

  it('hears of it from those who did when it is back', () => {
    const t = new Table()
    t.up('a')
    bury(t, 'a')
    const back = t.message('a', { type: 'news', records: [record('a', { incarnation: 2 })] })
    const told = [record('a', { status: 'dead' }), record('a', { incarnation: 2 })]
    expect(sent(back, 'news', 'a').map(({ records }) => records)).toEqual([told])
    const suspected = t.gossip('b', record('a', { status: 'suspect', incarnation: 2 }))
    const refuted = t.message('a', { type: 'news', records: [record('a', { incarnation: 3 })] })
    expect(sent([...suspected, ...refuted], 'news', 'a')).toEqual([])
  })

  it('hears of it when it is linked, where others have told sooner that it is back', () => {
    const t = new Table()
    t.up('a')
    t.linkDown('a')
    t.gossip('b', record('a', { status: 'dead' }))
    expect(sent(t.gossip('b', record('a', { incarnation: 2 })), 'news')).toEqual([])
    const linked = t.linkUp('a', { incarnation: 2 })
    expect(sent(linked, 'news', 'a')[0]?.records.map(({ status }) => status)).toEqual(['dead', 'alive'])
  })

  it('but not the process that comes after it under its name', () => {
    const t = new Table()
    t.up('a')
    bury(t, 'a')
    const back = t.message('a', { type: 'news', records: [record('a', { boot: 2, incarnation: 2 })] })
    t.linkDown('a')
    expect(sent([...back, ...t.linkUp('a', { boot: 2, incarnation: 2 })], 'news', 'a')).toEqual([])
  })
})

describe('a member that we take for dead', () => {
  it('goes by another view while it is linked to us, until it has contradicted', () => {
    const t = new Table()
    t.meet('a', 'b')
    expect(t.protocol.isApart('a', t.nowMs)).toBe(false)
    bury(t, 'a')
    expect(t.protocol.isApart('a', t.nowMs)).toBe(true)
    t.gossip('b', record('a', { incarnation: 2 }))
    expect(t.protocol.isApart('a', t.nowMs)).toBe(false)
    bury(t, 'a', 2)
    expect(t.protocol.isApart('a', t.nowMs)).toBe(true)
    t.linkDown('a')
    expect(t.protocol.isApart('a', t.nowMs)).toBe(false)
  })
})

describe('a member that is suspected', () => {
  it('is unheard where we have no word of it either', () => {
    const t = new Table()
    t.meet('a', 'b')
    expect(t.protocol.isUnheard('a')).toBe(false)
    t.gossip('b', record('a', { status: 'suspect' }))
    expect(t.protocol.isUnheard('a')).toBe(false)
    t.linkDown('a')
    expect(t.protocol.isUnheard('a')).toBe(true)
  })

  it('is unheard no more once it says anything, though it has not contradicted yet', () => {
    const t = new Table()
    t.meet('a', 'b')
    t.silence('a')
    t.until(() => t.status('a') === 'suspect')
    expect(t.protocol.isUnheard('a')).toBe(true)
    t.heard('a')
    expect(t.status('a')).toBe('suspect')
    expect(t.protocol.isUnheard('a')).toBe(false)
  })
})

function bury(t: Table, peer: string, incarnation = 1): void {
  for (const status of ['suspect', 'dead'] as const) t.gossip('b', record(peer, { status, incarnation }))
}
