import { describe, expect, it } from 'vitest'
import type { Effect } from '../../../lib/membership/roster.ts'
import { printOf } from '../../../lib/membership/view.ts'
import { record } from '../../member-record.ts'
import { only, receivers, sent, Table } from './table.ts'

const exchanged = (effects: readonly Effect[]): string[] => only(effects, 'exchanged').map(({ peer }) => peer)

/** Carries what two members send each other until they have nothing left to say; the types of what was said. */
function converse(between: Record<string, Table>, effects: readonly Effect[], from: string): string[] {
  const said: string[] = []
  for (const { peer: to, message } of only(effects, 'send')) {
    const hearer = between[to]
    if (hearer === undefined) continue
    said.push(message.type)
    said.push(...converse(between, hearer.message(from, message), to))
  }
  return said
}

describe('an exchange of views', () => {
  it('begins with our hash, is answered by a digest, and ends with what each of the two lacks', () => {
    const [m, a] = [new Table(), new Table({ id: 'a', addresses: ['a:1'] })]
    m.meet('p', 'r')
    m.up('q', { incarnation: 2 })
    a.meet('q', 'r')
    a.up('s', { weight: 0 })
    a.up('m')
    const said = converse({ m, a }, m.linkUp('a'), 'm')
    expect(said).toEqual(['view', 'digest', 'swap', 'swapped'])
    expect(a.protocol.view.stateHash).toBe(m.protocol.view.stateHash)
    expect(a.protocol.view.hash).toBe(m.protocol.view.hash)
    expect(
      m.protocol.view
        .present()
        .map(({ id }) => id)
        .sort()
    ).toEqual(['a', 'm', 'p', 'q', 'r', 's'])
    expect(a.protocol.view.get('q')?.incarnation).toBe(2)
  })

  it('ends after the digest when there is nothing to tell', () => {
    const [m, a] = [new Table(), new Table({ id: 'a', addresses: ['a:1'] })]
    a.up('m')
    expect(converse({ m, a }, m.linkUp('a'), 'm')).toEqual(['view', 'digest'])
  })

  it('leaves out members that the teller does not reach itself: they are only looked into', () => {
    const [m, a] = [new Table(), new Table({ id: 'a', addresses: ['a:1'] })]
    m.gossip('x', record('p'))
    a.up('m')
    converse({ m, a }, m.linkUp('a'), 'm')
    expect(a.status('p')).toBeUndefined()
    expect(only(a.pass(200), 'dial').map(({ peer }) => peer)).toEqual(['p'])
  })

  it('tells a member that it is thought dead, and ends with its contradiction', () => {
    const [m, a] = [new Table(), new Table({ id: 'a', addresses: ['a:1'] })]
    m.gossip('x', record('a'))
    m.gossip('x', record('a', { status: 'dead' }))
    a.up('m')
    const effects = m.linkUp('a')
    expect(m.status('a')).toBe('dead')
    const told = converse({ m, a }, effects, 'm')
    // The last two: told once more when it is back, for all that m knows it may not have heard.
    expect(told).toEqual(['view', 'digest', 'swap', 'swapped', 'news', 'news', 'news', 'news'])
    expect(m.status('a')).toBe('alive')
    expect(a.protocol.self.incarnation).toBe(2)
    expect(a.stats.deathsRefutedTotal).toBe(1)
  })

  it('asks for the prints of records alone, and for all when the other knows none', () => {
    const t = new Table()
    const [view] = sent(t.linkUp('a'), 'view', 'a')
    expect(view).toEqual({ type: 'view', round: 0, stateHash: t.protocol.view.stateHash })
    const known = t.protocol.view.get('a')
    const prints = [printOf(known as never), 17]
    const effects = t.message('a', { type: 'digest', round: 0, same: false, certain: true, prints })
    expect(sent(effects, 'swap', 'a')).toEqual([{ type: 'swap', round: 0, records: [record('m')], wanted: [17] }])
    expect(exchanged(effects)).toEqual([])
    const swapped = { type: 'swapped', round: 0, records: [record('z')] } as const
    expect(exchanged(t.message('a', swapped))).toEqual(['a'])
    expect(t.status('z')).toBe('alive')
  })

  it('ends at once when the digest differs in nothing that could be told', () => {
    const t = new Table()
    t.linkUp('a')
    const prints = t.protocol.view.present().map(printOf)
    const effects = t.message('a', { type: 'digest', round: 0, same: false, certain: true, prints })
    expect(sent(effects, 'swap')).toEqual([])
    expect(exchanged(effects)).toEqual(['a'])
  })

  it('is answered with a digest: the same, or the prints of those who are here', () => {
    const t = new Table()
    t.up('a')
    t.gossip('a', record('y'), record('z'))
    t.gossip('a', record('z', { status: 'dead' }))
    const { view } = t.protocol
    const same = sent(t.message('a', { type: 'view', round: 7, stateHash: view.stateHash }), 'digest', 'a')
    expect(same).toEqual([{ type: 'digest', round: 7, same: true, certain: true, prints: [] }])
    const [other] = sent(t.message('a', { type: 'view', round: 8, stateHash: 5 }), 'digest', 'a')
    expect(other).toMatchObject({ round: 8, same: false, certain: true })
    expect(other?.prints).toEqual(view.present().map(printOf))
    expect(other?.prints).toHaveLength(3)
  })

  it('is answered with what was wanted and what overrules what was told', () => {
    const t = new Table()
    t.up('a')
    t.gossip('a', record('y'), record('z', { incarnation: 5 }))
    const wanted = [printOf(t.protocol.view.get('y') as never), 99]
    const swap = { type: 'swap', round: 3, records: [record('z', { incarnation: 4 })], wanted } as const
    const [swapped] = sent(t.message('a', swap), 'swapped', 'a')
    expect(swapped?.round).toBe(3)
    expect(swapped?.records).toEqual([
      record('y', { firstHand: false }),
      record('z', { incarnation: 5, firstHand: false })
    ])
  })

  it('ignores the digest and the end of an earlier one', () => {
    const t = new Table()
    t.linkUp('a')
    t.pass(2_400, () => t.heard('a'))
    t.linkDown('a')
    const [view] = sent(t.linkUp('a'), 'view', 'a')
    expect(view?.round).toBe(1)
    for (const same of [true, false])
      expect(t.message('a', { type: 'digest', round: 0, same, certain: true, prints: [9] })).toEqual([])
    expect(exchanged(t.message('a', { type: 'swapped', round: 0, records: [] }))).toEqual([])
    expect(exchanged(t.agrees('a', [{ type: 'send', peer: 'a', message: view as never }]))).toEqual(['a'])
    expect(t.message('a', { type: 'digest', round: 1, same: false, certain: true, prints: [9] })).toEqual([])
  })

  it('that is not answered within 2 s is over, and so is one whose link ends', () => {
    const t = new Table()
    t.linkUp('a')
    expect(exchanged(t.pass(2_000, () => t.heard('a')))).toEqual([])
    expect(exchanged(t.pass(200, () => t.heard('a')))).toEqual(['a'])
    t.nowMs += 200
    expect(receivers(t.heard('a', 99), 'view')).toEqual(['a'])
    expect(exchanged(t.linkDown('a'))).toEqual(['a'])
  })
})

describe('exchanges of views', () => {
  it('begin when view hashes differ, one at a time and 200 ms apart', () => {
    const t = new Table()
    const first = t.linkUp('a')
    expect(receivers(t.heard('a', 99), 'view')).toEqual([])
    t.agrees('a', first)
    t.nowMs += 100
    expect(receivers(t.heard('a', 99), 'view')).toEqual([])
    t.nowMs += 100
    const second = t.heard('a', 99)
    expect(receivers(second, 'view')).toEqual(['a'])
    t.nowMs += 400
    expect(receivers(t.heard('a', 98), 'view')).toEqual([])
    t.agrees('a', second)
    expect(receivers(t.heard('a', 98), 'view')).toEqual(['a'])
    expect(t.stats.viewExchangesTotal).toBe(3)
  })

  it.each(['ping', 'pong'] as const)('begin when a %s shows that something else differs', type => {
    const t = new Table()
    t.up('a')
    t.nowMs += 200
    t.heard('a')
    const { stateHash } = t.protocol.view
    expect(receivers(t.message('a', { type, stateHash, news: [] }), 'view')).toEqual([])
    expect(receivers(t.message('a', { type, stateHash: 5, news: [] }), 'view')).toEqual(['a'])
  })

  it('do not begin while all agree, however long', () => {
    const t = new Table()
    t.meet('a', 'b', 'c')
    const before = t.stats.viewExchangesTotal
    t.pass(600_000)
    expect(t.stats.viewExchangesTotal).toBe(before)
  })

  it('are begun ten times a second at most, whatever goes on around, and the others follow', () => {
    const t = new Table()
    const peers = Array.from({ length: 25 }, (_, i) => `p${i}`)
    const begun = peers.flatMap(peer => receivers(t.up(peer), 'view'))
    expect(begun).toHaveLength(10)
    const alive = (): Effect[] => peers.flatMap(peer => t.heard(peer))
    expect(receivers(t.pass(800, alive), 'view')).toEqual([])
    begun.push(...receivers(t.pass(200, alive), 'view'))
    expect(begun).toHaveLength(20)
    begun.push(...receivers(t.pass(1_000, alive), 'view'))
    expect(begun.sort()).toEqual(peers.sort())
  })

  it('that change nothing on either side are counted, and repeated after 5 s, then 10, doubling to 60', () => {
    const t = new Table()
    t.up('a')
    const at: number[] = []
    t.pass(400_000, () => {
      const effects = t.heard('a', 99)
      if (receivers(effects, 'view').length > 0) at.push(t.nowMs)
      t.agrees('a', effects)
      return []
    })
    const gaps = at.slice(1).map((time, i) => Math.round((time - (at[i] as number)) / 1_000))
    expect(gaps.slice(0, 6)).toEqual([5, 10, 20, 40, 60, 60])
    expect(t.stats.viewExchangesFutileTotal).toBe(at.length)
  })

  it('begin anew at once when any of the hashes changes', () => {
    const t = new Table()
    t.up('a')
    t.nowMs += 200
    const began = (effects: Effect[]): number => {
      t.agrees('a', effects)
      t.nowMs += 400
      t.tick()
      return receivers(effects, 'view').length
    }
    expect([began(t.heard('a', 99)), began(t.heard('a', 99)), began(t.heard('a', 99))]).toEqual([1, 0, 0])
    expect(began(t.heard('a', 98))).toBe(1)
    expect(began(t.heard('a', 98))).toBe(0)
    expect(began(t.message('a', { type: 'ping', stateHash: 5, news: [] }))).toBe(1)
    expect(began(t.heard('a', 98))).toBe(0)
    t.gossip('b', record('z'))
    expect(began(t.heard('a', 98))).toBe(1)
  })

  it('that are wanted begin at once, though the last was futile', () => {
    const t = new Table()
    t.up('a')
    for (let i = 0; i < 3; i++) {
      t.nowMs += 200
      t.agrees('a', t.heard('a', 99))
    }
    const effects = t.step({ type: 'agree', peer: 'a' })
    expect(receivers(effects, 'view')).toEqual(['a'])
    expect(exchanged(effects)).toEqual([])
    expect(exchanged(t.agrees('a', effects))).toEqual(['a'])
  })

  it('that are wanted while one is under way begin when that has ended', () => {
    const t = new Table()
    const first = t.linkUp('a')
    expect(t.step({ type: 'agree', peer: 'a' })).toEqual([])
    expect(exchanged(t.agrees('a', first))).toEqual(['a'])
    const second = t.pass(200)
    expect(sent(second, 'view', 'a')).toMatchObject([{ round: 1 }])
    expect(exchanged(t.agrees('a', second))).toEqual(['a'])
    expect(receivers(t.pass(200), 'view')).toEqual([])
  })

  it('that are wanted of a peer without a link are over before they begin', () => {
    const t = new Table()
    expect(t.step({ type: 'agree', peer: 'x' })).toEqual([{ type: 'exchanged', peer: 'x' }])
    t.up('a')
    t.linkDown('a')
    expect(exchanged(t.step({ type: 'agree', peer: 'a' }))).toEqual(['a'])
  })

  it('that wait for their turn are over when the peer shows that it agrees', () => {
    const t = new Table()
    const peers = Array.from({ length: 11 }, (_, i) => `p${i}`)
    for (const peer of peers) t.up(peer)
    const { stateHash } = t.protocol.view
    expect(exchanged(t.message('p10', { type: 'view', round: 0, stateHash }))).toEqual(['p10'])
    expect(
      receivers(
        t.pass(2_000, () => peers.flatMap(peer => t.heard(peer))),
        'view'
      )
    ).toEqual([])
  })

  it('that wait for their turn are over when the link ends', () => {
    const t = new Table()
    for (let i = 0; i < 11; i++) t.up(`p${i}`)
    expect(exchanged(t.linkDown('p10'))).toEqual(['p10'])
  })
})
