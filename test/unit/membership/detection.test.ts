import { describe, expect, it } from 'vitest'
import type { Effect } from '../../../lib/membership/roster.ts'
import { record } from '../../member-record.ts'
import { only, receivers, sent, Table } from './table.ts'

const closed = (effects: readonly Effect[]): string[] => only(effects, 'close').map(({ peer }) => peer)

/** A mesh whose other members answer, but for `a`, which has just fallen silent. */
function withSilent(...others: string[]): Table {
  const t = new Table()
  t.meet('a', ...others)
  t.pass(2_000)
  t.silence('a')
  return t
}

describe('a ping', () => {
  it('goes to the link that has been silent longest, to one every 400 ms', () => {
    const t = new Table()
    t.meet('a', 'b', 'c')
    t.nowMs += 100
    t.heard('c')
    t.nowMs += 50
    t.heard('b')
    t.nowMs += 50
    t.tick()
    expect(receivers(t.pass(2_400), 'ping')).toEqual(['a', 'c', 'b', 'a', 'c', 'b'])
  })

  it('is not spent on a link on which something has been heard lately', () => {
    const t = new Table()
    t.up('a')
    expect(receivers([...t.pass(60_000, () => t.heard('a'))], 'ping')).toEqual([])
  })

  it('goes at once to a member that left a call unanswered, unless it owes one anyway', () => {
    const t = new Table()
    t.up('a')
    const pings = (effects: readonly Effect[]) => sent(effects, 'ping')
    expect(pings(t.step({ type: 'unanswered', peer: 'a' }))).toHaveLength(1)
    expect(pings(t.step({ type: 'unanswered', peer: 'a' }))).toHaveLength(0)
    expect(pings(t.step({ type: 'unanswered', peer: 'nobody' }))).toHaveLength(0)
  })

  it('costs the same in a large mesh as in a small one', () => {
    const t = new Table()
    t.meet(...Array.from({ length: 200 }, (_, i) => `p${i}`))
    const pinged = receivers(t.pass(20_000), 'ping')
    expect(pinged).toHaveLength(49)
    expect(new Set(pinged).size).toBe(49)
  })

  it('goes to the quietest of a few among many, and not to all in one order as others would do too', () => {
    const peers = Array.from({ length: 40 }, (_, i) => `p${i}`)
    const t = new Table()
    t.meet(...peers)
    const pinged = receivers(t.pass(60_000), 'ping')
    expect(pinged.slice(0, 40)).not.toEqual(peers)
    expect(new Set(pinged)).toEqual(new Set(peers))
  })

  it('that is answered in time has no consequence', () => {
    const t = new Table()
    t.meet('a', 'b', 'c')
    const effects = t.pass(120_000)
    expect(receivers(effects, 'probe')).toEqual([])
    expect(closed(effects)).toEqual([])
    expect(only(effects, 'viewChanged')).toEqual([])
    expect(t.stats.linksSilentTotal).toBe(0)
  })

  it('carries the hash of all we know, and is answered with ours', () => {
    const t = new Table()
    t.up('a')
    const { stateHash } = t.protocol.view
    expect(sent(t.pass(600), 'ping', 'a')[0]?.stateHash).toBe(stateHash)
    expect(sent(t.message('a', { type: 'ping', stateHash, news: [] }), 'pong', 'a')).toMatchObject([{ stateHash }])
  })

  it('goes on to the other links while one owes us an answer', () => {
    const t = withSilent('b', 'c')
    const pinged = receivers(t.pass(1_600), 'ping')
    expect(pinged).toContain('b')
    expect(pinged).toContain('c')
  })
})

describe('a member that does not answer', () => {
  it('is pinged once more after half a second, and three others are asked whether they hear it', () => {
    const t = withSilent('b', 'c', 'd', 'e', 'f')
    t.until(effects => receivers(effects, 'ping').includes('a'))
    expect(receivers(t.pass(400), 'probe')).toEqual([])
    const effects = t.pass(200)
    expect(sent(effects, 'probe')).toEqual(Array(3).fill({ type: 'probe', peer: 'a' }))
    const asked = receivers(effects, 'probe')
    expect(new Set(asked).size).toBe(3)
    expect(asked).not.toContain('a')
    expect(receivers(effects, 'ping')).toContain('a')
    expect(receivers(t.pass(800), 'probe')).toEqual([])
  })

  it('is asked of as many as there are when there are fewer', () => {
    const t = withSilent('b')
    t.until(effects => receivers(effects, 'ping').includes('a'))
    expect(receivers(t.pass(600), 'probe')).toEqual(['b'])
  })

  it('is suspected when nobody answers for it in time, and dead when it stays silent; its link is closed', () => {
    const t = new Table()
    t.up('a')
    t.pass(1_600)
    expect(t.status('a')).toBe('alive')
    const doubted = t.pass(200)
    expect(t.status('a')).toBe('suspect')
    expect(only(doubted, 'gossip')[0]?.records).toMatchObject([{ id: 'a', status: 'suspect', firstHand: true }])
    expect(closed(t.pass(1_400))).toEqual([])
    const ended = t.pass(200)
    expect(t.status('a')).toBe('dead')
    expect(only(ended, 'gossip')[0]?.records).toMatchObject([{ id: 'a', status: 'dead' }])
    expect(closed(ended)).toEqual(['a'])
    expect(t.stats.linksSilentTotal).toBe(1)
  })

  it('is not suspected before the others had time to answer, even when all say that they hear nothing', () => {
    const t = withSilent('b', 'c', 'd')
    t.until(effects => receivers(effects, 'probe').length > 0)
    for (const peer of ['b', 'c', 'd']) t.message(peer, { type: 'probed', peer: 'a', heard: false })
    t.pass(400)
    expect(t.status('a')).toBe('alive')
    t.pass(200)
    expect(t.status('a')).toBe('suspect')
  })

  it('keeps its place when another hears it, and the broken link is made anew after 4 s', () => {
    const t = withSilent('b', 'c')
    t.until(effects => receivers(effects, 'ping').includes('a'))
    const effects: Effect[] = []
    const second = (): void => {
      const now = t.pass(200)
      for (const by of receivers(now, 'probe')) t.message(by, { type: 'probed', peer: 'a', heard: true })
      effects.push(...now)
    }
    for (let i = 0; i < 20; i++) second()
    expect(closed(effects)).toEqual([])
    // Asked about once a second, both others each time.
    expect(receivers(effects, 'probe')).toHaveLength(8)
    second()
    expect(closed(effects)).toEqual(['a'])
    expect(t.status('a')).toBe('alive')
    expect(only(effects, 'gossip')).toEqual([])
    expect(only(effects, 'dial').map(({ peer }) => peer)).toEqual(['a'])
    expect(t.stats.linksSilentTotal).toBe(1)
  })

  it('keeps its place by the word of one, whatever the others say', () => {
    const t = withSilent('b', 'c', 'd')
    const asked: string[] = []
    t.until(effects => asked.push(...receivers(effects, 'probe')) > 0)
    for (const [i, by] of asked.entries()) t.message(by, { type: 'probed', peer: 'a', heard: i === 1 })
    t.pass(800)
    expect(t.status('a')).toBe('alive')
  })

  it('keeps its place only by the word of those that were asked', () => {
    const t = withSilent('b', 'c', 'd', 'e')
    const asked: string[] = []
    t.until(effects => asked.push(...receivers(effects, 'probe')) > 0)
    const [other] = ['b', 'c', 'd', 'e'].filter(peer => !asked.includes(peer))
    t.message(other as string, { type: 'probed', peer: 'a', heard: true })
    t.pass(600)
    expect(t.status('a')).toBe('suspect')
  })

  it('is forgiven as soon as anything is heard from it', () => {
    const t = withSilent('b', 'c')
    t.until(effects => receivers(effects, 'probe').length > 0)
    t.heard('a')
    const effects = t.pass(1_000, () => t.heard('a'))
    expect(t.status('a')).toBe('alive')
    expect(receivers(effects, 'probe')).toEqual([])
  })

  it('is nobody to ask about once it is gone, and its silent link still ends', () => {
    const t = withSilent('b')
    t.gossip('b', record('a', { status: 'left', incarnation: 2 }))
    const effects = t.pass(6_000)
    expect(receivers(effects, 'probe')).toEqual([])
    expect(closed(effects)).toContain('a')
    expect(t.status('a')).toBe('left')
  })
})

describe('a member that another asks us about', () => {
  const probe = { type: 'probe', peer: 'a' } as const

  it('is pinged, and heard when it answers', () => {
    const t = new Table()
    t.up('a')
    t.up('b')
    const effects = t.message('b', probe)
    expect(receivers(effects, 'ping')).toEqual(['a'])
    expect(sent(effects, 'probed')).toEqual([])
    expect(sent(t.heard('a'), 'probed', 'b')).toEqual([{ type: 'probed', peer: 'a', heard: true }])
    expect(sent(t.heard('a'), 'probed', 'b')).toEqual([])
  })

  it('is not heard when it has said nothing before the one that asks stops waiting', () => {
    const t = new Table()
    t.up('a')
    t.up('b')
    t.message('b', probe)
    expect(sent(t.pass(200), 'probed')).toEqual([])
    expect(sent(t.pass(200), 'probed', 'b')).toEqual([{ type: 'probed', peer: 'a', heard: false }])
    expect(sent(t.heard('a'), 'probed')).toEqual([])
  })

  it('is not heard when its link ends, nor when there is none', () => {
    const t = new Table()
    t.up('a')
    t.up('b')
    t.message('b', probe)
    const unheard = [{ type: 'probed', peer: 'a', heard: false }]
    expect(sent(t.linkDown('a'), 'probed', 'b')).toEqual(unheard)
    expect(sent(t.message('b', probe), 'probed', 'b')).toEqual(unheard)
    expect(sent(t.message('b', { type: 'probe', peer: 'nobody' }), 'probed', 'b')).toMatchObject([{ heard: false }])
  })

  it('is heard by all who asked, up to 64 of them', () => {
    const t = new Table()
    t.up('a')
    const askers = Array.from({ length: 70 }, (_, i) => `b${i}`)
    for (const by of askers) t.up(by)
    const refused = askers.flatMap(by => sent(t.message(by, probe), 'probed', by))
    expect(refused).toEqual(Array(6).fill({ type: 'probed', peer: 'a', heard: false }))
    expect(sent(t.heard('a'), 'probed')).toEqual(Array(64).fill({ type: 'probed', peer: 'a', heard: true }))
  })
})

describe('a member whose link has closed', () => {
  const lost = (...others: string[]): Table => {
    const t = new Table()
    t.meet('a', ...others)
    t.pass(2_000)
    t.linkDown('a')
    return t
  }

  it('is asked about when the redial fails, and dead as soon as all that were asked hear nothing', () => {
    const t = lost('b', 'c', 'd', 'e')
    const asked = receivers(t.dialFailed('a'), 'probe')
    expect(asked).toHaveLength(3)
    expect(t.status('a')).toBe('alive')
    for (const by of asked.slice(1)) t.message(by, { type: 'probed', peer: 'a', heard: false })
    expect(t.status('a')).toBe('alive')
    const effects = t.message(asked[0] as string, { type: 'probed', peer: 'a', heard: false })
    expect(t.status('a')).toBe('dead')
    expect(only(effects, 'gossip')[0]?.records).toMatchObject([{ id: 'a', status: 'dead', firstHand: false }])
  })

  it('is dead at once when there is nobody to ask', () => {
    const t = lost()
    t.dialFailed('a')
    expect(t.status('a')).toBe('dead')
  })

  it('keeps its place when another hears it, and is asked about again when the next dial fails', () => {
    const t = lost('b')
    expect(receivers(t.dialFailed('a'), 'probe')).toEqual(['b'])
    t.message('b', { type: 'probed', peer: 'a', heard: true })
    expect(receivers(t.pass(200), 'probe')).toEqual([])
    expect(receivers(t.dialFailed('a'), 'probe')).toEqual(['b'])
    expect(t.status('a')).toBe('alive')
  })

  it('is dead when those that were asked do not answer in time', () => {
    const t = lost('b', 'c')
    t.dialFailed('a')
    t.pass(400)
    expect(t.status('a')).toBe('alive')
    t.pass(200)
    expect(t.status('a')).toBe('dead')
  })

  it('is not asked about by everybody at once in a large mesh, but by each at its next tick', () => {
    const t = lost(...Array.from({ length: 20 }, (_, i) => `p${i}`))
    expect(receivers(t.dialFailed('a'), 'probe')).toEqual([])
    expect(receivers(t.pass(200), 'probe')).toHaveLength(3)
  })

  it('is no longer asked about once it is linked again', () => {
    const t = lost('b')
    t.dialFailed('a')
    t.linkUp('a')
    t.message('b', { type: 'probed', peer: 'a', heard: false })
    t.pass(1_000)
    expect(t.status('a')).toBe('alive')
  })
})

describe('a member that stood still itself', () => {
  it('has forgotten that others owe it an answer, and begins to wait anew', () => {
    const t = withSilent('b')
    t.until(effects => receivers(effects, 'probe').length > 0)
    t.nowMs += 20_000
    const effects = [...t.tick(), ...t.pass(1_000)]
    expect(closed(effects)).toEqual([])
    expect(receivers(effects, 'probe')).toEqual([])
    expect(t.status('a')).toBe('alive')
    t.pass(30_000)
    expect(t.status('a')).toBe('dead')
  })

  it('gives a suspect all its time again', () => {
    const t = new Table()
    t.up('a')
    t.pass(1_800)
    expect(t.status('a')).toBe('suspect')
    t.pass(1_200)
    t.nowMs += 20_000
    t.tick()
    t.pass(1_400)
    expect(t.status('a')).toBe('suspect')
    t.pass(30_000)
    expect(t.status('a')).toBe('dead')
  })

  it('notices by whatever comes first, and not only by its tick', () => {
    const t = new Table()
    t.up('a')
    t.up('b')
    t.pass(3_000)
    expect(t.status('a')).toBe('suspect')
    t.nowMs += 20_000
    t.heard('b')
    expect(closed(t.tick())).toEqual([])
    expect(t.status('a')).toBe('suspect')
  })

  it('does not answer for others that it was asked about before', () => {
    const t = new Table()
    t.up('a')
    t.up('b')
    t.message('b', { type: 'probe', peer: 'a' })
    t.nowMs += 20_000
    expect(sent([...t.tick(), ...t.pass(1_000)], 'probed')).toEqual([])
  })
})

describe('the health of a member', () => {
  const late = (t: Table, ms: number): Effect[] => {
    t.nowMs += 200 + ms
    return t.tick()
  }

  it('is one point worse for every 200 ms that its tick is late, up to three', () => {
    const t = new Table()
    expect(t.protocol.healthScore).toBe(0)
    late(t, 199)
    expect(t.protocol.healthScore).toBe(0)
    late(t, 200)
    expect(t.protocol.healthScore).toBe(1)
    late(t, 900)
    expect(t.protocol.healthScore).toBe(3)
  })

  it('is bad after it stood still, and better by one with every answer it waited for', () => {
    const t = new Table()
    t.up('a')
    t.nowMs += 10_000
    t.tick()
    expect(t.protocol.healthScore).toBe(3)
    for (const score of [2, 1, 0]) {
      if (score < 2) t.until(effects => receivers(effects, 'ping').length > 0)
      t.heard('a')
      t.heard('a')
      expect(t.protocol.healthScore).toBe(score)
    }
  })

  it('makes it wait longer for an answer before it asks others, and for theirs', () => {
    const suspectedAfter = (score: number): number[] => {
      const t = new Table()
      t.up('a')
      t.up('b')
      const alive = (): Effect[] => t.heard('b')
      // The late tick pings `a` as well, and its answer takes one point off.
      if (score > 0) late(t, (score + 1) * 200)
      t.heard('a')
      alive()
      expect(t.protocol.healthScore).toBe(score)
      const pingedMs = untilWith(t, alive, effects => receivers(effects, 'ping').includes('a'))
      expect(pingedMs).toBeGreaterThan(0)
      const askedMs = untilWith(t, alive, effects => receivers(effects, 'probe').length > 0)
      return [askedMs, untilWith(t, alive, () => t.status('a') === 'suspect')]
    }
    expect(suspectedAfter(0)).toEqual([600, 600])
    expect(suspectedAfter(2)).toEqual([1_600, 1_800])
  })

  it('is worse by one for each that was asked and said nothing at all', () => {
    const t = new Table()
    for (const peer of ['a', 'b', 'c']) t.up(peer)
    const alive = (): Effect[] => [...t.heard('b'), ...t.heard('c')]
    untilWith(t, alive, effects => receivers(effects, 'probe').length > 0)
    t.message('b', { type: 'probed', peer: 'a', heard: false })
    t.pass(600, alive)
    expect(t.protocol.healthScore).toBe(1)
  })

  function untilWith(t: Table, also: () => Effect[], holds: (effects: readonly Effect[]) => boolean): number {
    const sinceMs = t.nowMs
    while (!holds(t.pass(200, also))) if (t.nowMs - sinceMs > 60_000) throw new Error('never')
    return t.nowMs - sinceMs
  }
})
