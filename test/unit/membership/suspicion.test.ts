import { describe, expect, it, vi } from 'vitest'
import type { Effect } from '../../../lib/membership/roster.ts'
import { record } from '../../member-record.ts'
import { only, receivers, sent, Table } from './table.ts'

const suspect = (id: string, over = {}) => record(id, { status: 'suspect', ...over })

/** A mesh of seven, or of more: `q` is a member that the others told us of, and that nobody has linked to us. */
function withHearsay(...others: string[]): Table {
  const t = new Table()
  t.meet('a', 'b', 'c', 'd', 'e', ...others)
  t.gossip('a', record('q'))
  return t
}

describe('a suspicion by hearsay', () => {
  const deadAfter = (say: (t: Table) => void, others: string[] = []): number => {
    const t = withHearsay(...others)
    say(t)
    expect(t.status('q')).toBe('suspect')
    return t.until(() => t.status('q') === 'dead')
  }

  it('lasts 3 s when only one has met the silence, and less for each that has met it too, down to 1.5 s', () => {
    const tellers = ['a', 'b', 'c', 'd', 'e']
    const lasts = [1, 2, 3, 4, 5].map(many =>
      deadAfter(t => {
        for (const teller of tellers.slice(0, many)) t.gossip(teller, suspect('q'))
      })
    )
    // 3000, 2250, 1811 and 1500 ms, at the next tick.
    expect(lasts).toEqual([3_000, 2_400, 2_000, 1_600, 1_600])
  })

  it('is not confirmed by one that says it again, nor by those that only heard of it', () => {
    expect(deadAfter(t => ['a', 'a', 'a', 'a'].map(teller => t.gossip(teller, suspect('q'))))).toBe(3_000)
    const rumour = suspect('q', { firstHand: false })
    expect(deadAfter(t => ['a', 'b', 'c', 'd'].map(teller => t.gossip(teller, rumour)))).toBe(3_000)
  })

  it('is shortened by confirmations that come while it lasts, counted from its beginning', () => {
    const t = withHearsay()
    t.gossip('a', suspect('q'))
    t.pass(2_000)
    expect(t.status('q')).toBe('suspect')
    for (const teller of ['b', 'c', 'd']) t.gossip(teller, suspect('q'))
    t.pass(200)
    expect(t.status('q')).toBe('dead')
  })

  it('is confirmed by messages over links as well as by gossip', () => {
    const confirm = (t: Table): void => {
      t.gossip('a', suspect('q'))
      t.message('b', { type: 'news', records: [suspect('q')] })
      t.message('c', { type: 'ping', stateHash: 1, news: [suspect('q')] })
      t.message('d', { type: 'pong', stateHash: 1, news: [suspect('q')] })
    }
    expect(deadAfter(confirm)).toBe(1_600)
  })

  it('lasts longer in a large mesh, where word travels longer', () => {
    const others = Array.from({ length: 93 }, (_, i) => `p${i}`)
    expect(deadAfter(t => t.gossip('a', suspect('q')), others)).toBe(6_000)
  })

  it('keeps the names of no more tellers than make a difference, however many gossip claims', () => {
    const t = withHearsay()
    const add = vi.spyOn(Set.prototype, 'add')
    for (let i = 0; i < 1_000; i++) t.gossip(`teller-${i}`, suspect('q'))
    const kept = add.mock.calls.map(([value]) => String(value)).filter(value => value.startsWith('teller-'))
    add.mockRestore()
    expect(kept).toEqual(['teller-0', 'teller-1', 'teller-2', 'teller-3'])
  })

  it('counts only for the incarnation and the boot it was said of', () => {
    const t = withHearsay()
    t.gossip('a', suspect('q'))
    t.gossip('b', record('q', { incarnation: 2 }))
    expect(t.status('q')).toBe('alive')
    for (const teller of ['a', 'b', 'c', 'd']) t.gossip(teller, suspect('q'))
    expect(t.status('q')).toBe('alive')
    t.pass(5_000)
    expect(t.status('q')).toBe('alive')
    t.gossip('a', suspect('q', { incarnation: 2 }))
    expect(t.until(() => t.status('q') === 'dead')).toBe(3_000)
  })

  it('begins anew when the member is suspected again right after its word', () => {
    const t = withHearsay()
    for (const teller of ['a', 'b', 'c', 'd']) t.gossip(teller, suspect('q'))
    t.gossip('a', record('q', { incarnation: 2 }))
    t.gossip('a', suspect('q', { incarnation: 2 }))
    expect(t.until(() => t.status('q') === 'dead')).toBe(3_000)
  })

  it('of a linked member makes us try it once ourselves, and tells it on the way', () => {
    const t = new Table()
    t.up('a')
    const effects = t.gossip('b', suspect('a'))
    expect(sent(effects, 'ping', 'a')[0]?.news).toContainEqual({ ...suspect('a'), firstHand: false })
    t.nowMs += 100
    expect(receivers(t.gossip('c', suspect('a')), 'ping')).toEqual([])
  })

  it('of a member that we hear ourselves never comes to its death, and reminds it once a second', () => {
    const t = new Table()
    t.up('a')
    t.gossip('b', suspect('a'))
    t.gossip('c', suspect('a'))
    const effects = t.pass(20_000, () => t.heard('a'))
    expect(t.status('a')).toBe('suspect')
    const reminders = sent(effects, 'ping', 'a')
    expect(reminders.length).toBeGreaterThanOrEqual(15)
    expect(reminders.length).toBeLessThanOrEqual(20)
    for (const { news } of reminders) expect(news).toContainEqual({ ...suspect('a'), firstHand: false })
  })

  it('is told on as hearsay', () => {
    const t = withHearsay()
    t.gossip('a', suspect('q'))
    const told = sent(t.pass(3_000), 'ping').flatMap(({ news }) => news.filter(({ id }) => id === 'q'))
    expect(told.length).toBeGreaterThan(0)
    expect(told.filter(({ firstHand }) => firstHand)).toEqual([])
  })
})

describe('a suspicion of our own', () => {
  /** Nobody hears `a`, neither we nor the others. */
  const withSuspect = (...others: string[]): Table => {
    const t = new Table()
    t.meet('a', ...others)
    t.silence('a')
    t.until(() => t.status('a') === 'suspect')
    return t
  }

  it('is told to all as first hand, and to the suspect with every ping', () => {
    const t = new Table()
    t.meet('a', 'b')
    t.silence('a')
    const effects: Effect[] = []
    t.until(now => effects.push(...now) > 0 && t.status('a') === 'suspect')
    expect(only(effects, 'gossip').at(-1)?.records).toMatchObject([{ id: 'a', status: 'suspect', firstHand: true }])
    const later = t.pass(1_200)
    expect(sent(later, 'ping', 'a').length).toBeGreaterThan(0)
    for (const to of ['a', 'b'])
      expect(sent(later, 'ping', to)[0]?.news).toContainEqual({ ...suspect('a'), firstHand: true })
  })

  it('is confirmed by others that have met the silence too', () => {
    const alone = withSuspect('b', 'c', 'd', 'e')
    expect(alone.until(() => alone.status('a') === 'dead')).toBe(3_000)
    const confirmed = withSuspect('b', 'c', 'd', 'e')
    for (const teller of ['b', 'c', 'd']) confirmed.gossip(teller, suspect('a'))
    expect(confirmed.until(() => confirmed.status('a') === 'dead')).toBe(1_600)
  })

  it('confirms theirs', () => {
    const t = new Table()
    t.meet('a', 'b', 'c', 'd', 'e')
    t.silence('a')
    t.until(effects => receivers(effects, 'probe').length > 0)
    t.pass(400)
    for (const teller of ['b', 'c']) t.gossip(teller, suspect('a'))
    // With our own, 200 ms later, there are three: 1811 ms.
    expect(t.until(() => t.status('a') === 'dead')).toBe(2_000)
  })

  it('is told once, however often others are asked about it', () => {
    const t = withSuspect('b', 'c', 'd', 'e')
    expect(only(t.pass(2_600), 'gossip')).toEqual([])
    expect(t.status('a')).toBe('suspect')
  })

  it('is told while it confirms theirs, and not once four others have confirmed each other', () => {
    const toldAfter = (...tellers: string[]): number => {
      const t = new Table()
      t.meet('a', 'b', 'c', 'd', 'e')
      t.silence('a')
      t.until(effects => receivers(effects, 'probe').length > 0)
      for (const teller of tellers) t.gossip(teller, suspect('a'))
      const gossip = only(t.pass(600), 'gossip')
      expect(t.status('a')).toBe('suspect')
      return gossip.length
    }
    expect([toldAfter('b', 'c', 'd'), toldAfter('b', 'c', 'd', 'e')]).toEqual([1, 0])
  })

  it('ends with the word of the suspect, one incarnation later', () => {
    const t = withSuspect('b', 'c')
    t.heard('a')
    t.message('a', { type: 'pong', stateHash: 1, news: [record('a', { incarnation: 2 })] })
    expect(t.status('a')).toBe('alive')
    t.pass(5_000, () => t.heard('a'))
    expect(t.status('a')).toBe('alive')
  })

  it('is no longer our own after the word of the suspect, when only others suspect it again', () => {
    const t = withSuspect('b', 'c')
    t.pass(200)
    t.gossip('b', record('a', { incarnation: 2 }))
    t.nowMs += 50
    const told = sent(t.gossip('b', suspect('a', { incarnation: 2 })), 'ping', 'a').flatMap(({ news }) => news)
    expect(told.filter(({ id }) => id === 'a')).toMatchObject([{ status: 'suspect', incarnation: 2, firstHand: false }])
  })

  it('ends with the word of the suspect by way of another', () => {
    const t = withSuspect('b', 'c')
    t.gossip('b', record('a', { incarnation: 2 }))
    expect(t.status('a')).toBe('alive')
  })

  it('does not end with the word of others that it lives, as long as it says nothing itself', () => {
    const t = withSuspect('b', 'c')
    t.gossip('b', record('a', { incarnation: 1 }))
    expect(t.status('a')).toBe('suspect')
  })

  it('does not come to its death once anything was heard from the suspect', () => {
    const t = withSuspect('b', 'c')
    t.pass(200)
    t.heard('a')
    t.pass(10_000, () => t.heard('a'))
    expect(t.status('a')).toBe('suspect')
  })

  it('is no longer told as our own once we have heard the suspect', () => {
    const t = withSuspect('b', 'c')
    t.pass(200)
    t.heard('a')
    const told = sent(
      t.pass(2_000, () => t.heard('a')),
      'ping'
    ).flatMap(({ news }) => news)
    const ofSuspect = told.filter(({ id }) => id === 'a')
    expect(ofSuspect.length).toBeGreaterThan(0)
    expect(ofSuspect.filter(({ firstHand }) => firstHand)).toEqual([])
  })
})

describe('a member that is suspected itself', () => {
  it('has the last word with one incarnation more, and tells all', () => {
    const t = new Table()
    t.meet('a')
    const effects = t.message('a', { type: 'ping', stateHash: 1, news: [suspect('m')] })
    expect(t.protocol.self).toMatchObject({ status: 'alive', incarnation: 2 })
    expect(only(effects, 'gossip')[0]?.records).toEqual([record('m', { incarnation: 2 })])
    expect(sent(effects, 'pong', 'a')[0]?.news).toContainEqual(record('m', { incarnation: 2 }))
    expect(t.stats.suspicionsRefutedTotal).toBe(1)
  })

  it('contradicts a suspicion once, and not its echoes', () => {
    const t = new Table()
    t.meet('a')
    t.gossip('a', suspect('m'))
    for (const teller of ['a', 'b', 'c']) t.gossip(teller, suspect('m'))
    expect(t.protocol.self.incarnation).toBe(2)
    expect(t.stats.suspicionsRefutedTotal).toBe(1)
  })
})
