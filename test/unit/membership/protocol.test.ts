import { describe, expect, it } from 'vitest'
import { record } from '../../member-record.ts'
import { only, receivers, sent, Table } from './table.ts'

describe('a link', () => {
  it('that comes up makes a member, told to all, and leads to an exchange of views at once', () => {
    const t = new Table()
    const effects = t.linkUp('a')
    expect(t.status('a')).toBe('alive')
    expect(t.protocol.isLinked('a')).toBe(true)
    expect(receivers(effects, 'view')).toEqual(['a'])
    expect(only(effects, 'gossip')[0]?.records).toMatchObject([{ id: 'a', status: 'alive', firstHand: true }])
    expect(only(effects, 'viewChanged')).toHaveLength(1)
  })

  it('to a member that we knew as it is tells nobody anything', () => {
    const t = new Table()
    t.gossip('b', record('a'))
    const effects = t.linkUp('a')
    expect(only(effects, 'gossip')).toEqual([])
    expect(only(effects, 'viewChanged')).toEqual([])
    expect(receivers(effects, 'view')).toEqual(['a'])
  })

  it('makes the only change of the view that a step is asked to report', () => {
    const t = new Table()
    const before = t.protocol.view
    expect(only(t.up('a'), 'viewChanged')).toEqual([{ type: 'viewChanged', before, after: t.protocol.view }])
    expect(only(t.heard('a'), 'viewChanged')).toEqual([])
  })

  it('that never was one is no link, and its events change nothing', () => {
    const t = new Table()
    const view = { type: 'view', round: 1, stateHash: 5 } as const
    const effects = [...t.heard('x', 5), ...t.message('x', view), ...t.linkDown('x'), ...t.dialFailed('x')]
    expect(effects).toEqual([])
    expect(t.protocol.isLinked('x')).toBe(false)
  })

  it('that comes up with our own addresses new to us tells them to all, one incarnation later', () => {
    const t = new Table({ addresses: [] })
    const effects = t.step({ type: 'listening', addresses: ['m:7'] })
    expect(t.protocol.self).toMatchObject({ addresses: ['m:7'], incarnation: 2 })
    expect(only(effects, 'gossip')[0]?.records).toMatchObject([{ id: 'm', addresses: ['m:7'], firstHand: true }])
  })
})

describe('what others say', () => {
  it('of an unknown member is believed when the teller has reached it, and only looked into when not', () => {
    const t = new Table()
    t.gossip('b', record('z', { firstHand: false }))
    expect(t.status('z')).toBeUndefined()
    expect(only(t.pass(200), 'dial').map(({ peer }) => peer)).toEqual(['z'])
    t.dialFailed('z')
    expect(only(t.pass(60_000), 'dial')).toEqual([])
    t.gossip('b', record('z'))
    expect(t.status('z')).toBe('alive')
  })

  it('of an unknown member that is suspected is only looked into, whoever has met its silence', () => {
    const t = new Table()
    t.gossip('b', record('z', { status: 'suspect' }))
    expect(t.status('z')).toBeUndefined()
    expect(only(t.pass(200), 'dial').map(({ peer }) => peer)).toEqual(['z'])
  })

  it.each(['dead', 'left'] as const)('of an unknown member that is %s is nothing to us', status => {
    const t = new Table()
    const effects = [...t.gossip('b', record('z', { status })), ...t.pass(10_000)]
    expect(t.status('z')).toBeUndefined()
    expect(effects).toEqual([])
  })

  it('of a death is believed of anybody once the member was known, and an old word does not bring it back', () => {
    const t = new Table()
    t.gossip('b', record('z', { incarnation: 4 }))
    t.gossip('c', record('z', { status: 'dead', firstHand: false, incarnation: 5 }))
    expect(t.status('z')).toBe('dead')
    t.gossip('b', record('z', { incarnation: 4 }), record('z', { incarnation: 5 }))
    expect(t.status('z')).toBe('dead')
    t.gossip('b', record('z', { incarnation: 6 }))
    expect(t.status('z')).toBe('alive')
  })

  it('of ourselves is contradicted by one incarnation more, told to all and counted', () => {
    const t = new Table()
    const effects = t.gossip('b', record('m', { status: 'dead', incarnation: 7 }))
    expect(t.protocol.self).toMatchObject({ status: 'alive', incarnation: 8 })
    expect(t.protocol.view.get('m')).toBe(t.protocol.self)
    expect(only(effects, 'gossip')[0]?.records).toMatchObject([{ id: 'm', incarnation: 8, firstHand: true }])
    t.gossip('b', record('m', { status: 'suspect', incarnation: 8 }))
    expect(t.protocol.self.incarnation).toBe(9)
    expect([t.stats.deathsRefutedTotal, t.stats.suspicionsRefutedTotal]).toEqual([1, 1])
  })

  it('of an older boot of ours is contradicted too, and what agrees or is older is not', () => {
    const t = new Table()
    t.gossip('b', record('m', { boot: 9, incarnation: 3 }))
    expect(t.protocol.self).toMatchObject({ boot: 1, incarnation: 4 })
    const own = t.protocol.self
    for (const said of [{ ...own, firstHand: true }, record('m', { boot: 9, status: 'dead', incarnation: 2 })])
      expect(t.gossip('b', said)).toEqual([])
    expect([t.stats.deathsRefutedTotal, t.stats.suspicionsRefutedTotal]).toEqual([0, 0])
  })

  it('of the death of a member that is linked to us is passed on to it, and not believed while it can contradict', () => {
    const t = new Table()
    t.up('a')
    const effects = t.gossip('b', record('a', { status: 'dead' }))
    expect(sent(effects, 'news', 'a')[0]?.records).toMatchObject([{ id: 'a', status: 'dead' }])
    expect(only(effects, 'viewChanged')).toEqual([])
    expect(only(t.gossip('c', record('a', { status: 'dead' })), 'send')).toEqual([])
    expect(t.status('a')).toBe('alive')
    t.message('a', { type: 'news', records: [record('a', { incarnation: 2 })] })
    t.pass(600, () => t.heard('a'))
    expect([t.status('a'), t.protocol.view.get('a')?.incarnation]).toEqual(['alive', 2])
  })

  it('of such a death is believed when it has not contradicted in time, or its link goes', () => {
    const [t, u] = [new Table(), new Table()]
    for (const table of [t, u]) {
      table.up('a')
      table.gossip('b', record('a', { status: 'dead' }))
    }
    t.pass(600, () => t.heard('a'))
    u.linkDown('a')
    expect([t.status('a'), u.status('a')]).toEqual(['dead', 'dead'])
  })

  it('of the death of a suspect is believed at once, and it hears of that', () => {
    const t = new Table()
    t.up('a')
    t.gossip('b', record('a', { status: 'suspect' }))
    t.heard('a')
    const effects = t.gossip('b', record('a', { status: 'dead' }))
    expect(t.status('a')).toBe('dead')
    expect(sent(effects, 'ping', 'a')[0]?.news).toMatchObject([{ id: 'a', status: 'dead' }])
    t.heard('a')
    t.message('a', { type: 'pong', stateHash: 1, news: [record('a', { incarnation: 2 })] })
    expect(t.status('a')).toBe('alive')
  })

  it('in a message, and is older than what we know, is answered with what we know', () => {
    const t = new Table()
    t.meet('a')
    t.gossip('a', record('z', { incarnation: 3 }))
    for (const message of [
      { type: 'news', records: [record('z', { incarnation: 2 })] },
      { type: 'pong', stateHash: 1, news: [record('z', { incarnation: 2 })] },
      { type: 'swapped', round: 0, records: [record('z', { incarnation: 2 })] }
    ] as const)
      expect(sent(t.message('a', message), 'news', 'a')).toMatchObject([{ records: [{ id: 'z', incarnation: 3 }] }])
    const same = { type: 'news', records: [record('z', { incarnation: 3 })] } as const
    expect(sent(t.message('a', same), 'news')).toEqual([])
  })

  it('in a ping, and is older than what we know, is answered in its pong', () => {
    const t = new Table()
    t.meet('a')
    t.gossip('a', record('z', { incarnation: 3 }))
    t.pass(9_800)
    const pong = (incarnation: number) =>
      sent(t.message('a', { type: 'ping', stateHash: 1, news: [record('z', { incarnation })] }), 'pong', 'a')[0]
    expect(pong(3)?.news).toEqual([])
    expect(pong(2)?.news).toEqual([record('z', { incarnation: 3, firstHand: false })])
  })

  it('of us in a ping is contradicted in its pong', () => {
    const t = new Table()
    t.up('a')
    const suspicion = record('m', { status: 'suspect' })
    const [pong] = sent(t.message('a', { type: 'ping', stateHash: 1, news: [suspicion] }), 'pong', 'a')
    expect(pong?.news).toContainEqual(record('m', { incarnation: 2 }))
    expect(pong?.stateHash).toBe(t.protocol.view.stateHash)
  })

  it('is told on with whether we have reached them ourselves', () => {
    const t = new Table()
    t.up('a')
    t.gossip('a', record('z'))
    const wanted = { type: 'digest', round: 1, same: false, certain: true, prints: [] } as const
    t.nowMs += 400
    t.heard('a', 99)
    const [swap] = sent(t.message('a', wanted), 'swap', 'a')
    const told = Object.fromEntries(swap?.records.map(({ id, firstHand }) => [id, firstHand]) ?? [])
    expect(told).toEqual({ m: true, a: true, z: false })
  })
})

describe('settled', () => {
  it('is a mesh whose members are all linked and hold our view', () => {
    const t = new Table()
    expect(t.protocol.isSettled()).toBe(true)
    t.up('a')
    expect(t.protocol.isSettled()).toBe(false)
    t.heard('a')
    expect(t.protocol.isSettled()).toBe(true)
    t.heard('a', 99)
    expect(t.protocol.isSettled()).toBe(false)
    t.heard('a')
    t.gossip('a', record('z'))
    expect(t.protocol.isSettled()).toBe(false)
  })

  it('is no mesh in which somebody is suspected', () => {
    const t = new Table()
    t.up('a')
    t.heard('a')
    t.gossip('b', record('a', { status: 'suspect' }))
    t.heard('a')
    expect(t.protocol.isSettled()).toBe(false)
    t.message('a', { type: 'news', records: [record('a', { incarnation: 2 })] })
    expect(t.protocol.isSettled()).toBe(true)
  })

  it('does not wait for two that only dial to meet', () => {
    const t = new Table({ addresses: [] })
    t.gossip('b', record('z', { addresses: [] }))
    expect(t.protocol.isSettled()).toBe(true)
  })

  it('is asked for again every 400 ms while somebody waits for it, and not otherwise', () => {
    const t = new Table()
    for (const peer of ['a', 'b', 'c']) t.up(peer)
    const hearing = (): [] => {
      for (const peer of ['a', 'b', 'c']) t.heard(peer)
      return []
    }
    const disagreeing = (): [] => {
      for (const peer of ['a', 'b', 'c']) t.heard(peer, 99)
      return []
    }
    t.pass(1_000, disagreeing)
    expect(receivers(t.pass(2_000, disagreeing), 'ping')).toEqual([])
    t.awaited = true
    expect(receivers(t.pass(400, disagreeing), 'ping')).toEqual(['a', 'b', 'c'])
    expect(receivers(t.pass(2_000, disagreeing), 'ping')).toHaveLength(15)
    expect(receivers(t.pass(2_000, hearing), 'ping')).toEqual([])
  })

  it('is asked of at most 64 members in one tick', () => {
    const t = new Table()
    for (let i = 0; i < 100; i++) t.up(`p${i}`)
    t.awaited = true
    expect(receivers(t.pass(200), 'ping')).toHaveLength(64)
    expect(new Set(receivers(t.pass(200), 'ping')).size).toBe(36)
  })
})

describe('leaving', () => {
  it('is told to all, over every link, and never contradicted by ourselves', () => {
    const t = new Table()
    t.up('a')
    t.up('z')
    const effects = t.step({ type: 'leave' })
    expect(receivers(effects, 'news')).toEqual(['a', 'z'])
    expect(receivers(effects, 'ping')).toEqual(['a', 'z'])
    expect(sent(effects, 'news', 'a')).toMatchObject([{ records: [{ id: 'm', status: 'left', incarnation: 2 }] }])
    expect(only(effects, 'gossip')[0]?.records).toMatchObject([{ id: 'm', status: 'left' }])
    expect(t.protocol.view.present().map(({ id }) => id)).toEqual(['a', 'z'])
    expect(t.gossip('a', record('m', { incarnation: 50 }))).toEqual([])
    expect(t.protocol.self).toMatchObject({ status: 'left', incarnation: 2 })
  })

  it('is heard when every linked member has answered, and is said again to those that have not', () => {
    const t = new Table()
    t.up('a')
    t.up('z')
    t.step({ type: 'leave' })
    expect(t.protocol.isFarewellHeard()).toBe(false)
    // A word that was under way when we left proves nothing.
    t.heard('a')
    t.heard('z')
    expect(t.protocol.isFarewellHeard()).toBe(false)
    t.message('a', { type: 'pong', stateHash: t.protocol.view.stateHash, news: [] })
    expect(t.protocol.isFarewellHeard()).toBe(false)
    const effects = t.pass(1_000)
    expect(receivers(effects, 'news')).toEqual(['z', 'z'])
    expect(receivers(effects, 'ping')).toEqual(['z', 'z'])
    expect(sent(effects, 'news', 'z')[1]).toMatchObject({ records: [{ id: 'm', status: 'left' }] })
    t.message('z', { type: 'pong', stateHash: t.protocol.view.stateHash, news: [] })
    expect(t.protocol.isFarewellHeard()).toBe(true)
    expect(t.pass(2_000)).toEqual([])
  })

  it('does not wait for a member whose link is gone, nor for anybody when there is none', () => {
    const alone = new Table()
    alone.step({ type: 'leave' })
    expect(alone.protocol.isFarewellHeard()).toBe(true)
    const t = new Table()
    t.up('a')
    t.step({ type: 'leave' })
    t.linkDown('a')
    expect(t.protocol.isFarewellHeard()).toBe(true)
  })

  it('of another is the end of it: it is neither dialled nor brought back nor asked about', () => {
    const t = new Table()
    t.meet('b')
    t.up('a')
    t.pass(2_000, () => t.heard('a'))
    t.gossip('b', record('a', { status: 'left', incarnation: 2 }))
    const effects = t.linkDown('a')
    t.gossip('b', record('a', { incarnation: 1 }))
    effects.push(...t.pass(60_000))
    expect(only(effects, 'dial')).toEqual([])
    expect(receivers(effects, 'probe')).toEqual([])
    expect(t.status('a')).toBe('left')
  })

  it('makes us dial nobody, call nobody dead and look for nobody any more', () => {
    const t = new Table()
    t.up('a')
    t.up('b')
    t.pass(2_000, () => [...t.heard('a'), ...t.heard('b')])
    t.step({ type: 'leave' })
    const effects = [...t.linkDown('a'), ...t.pass(60_000)]
    expect(only(effects, 'dial')).toEqual([])
    expect(receivers(effects, 'probe')).toEqual([])
    expect([t.status('a'), t.status('b')]).toEqual(['alive', 'alive'])
  })
})

describe('a member that has just begun', () => {
  const client = { weight: 0 }

  it('is told more by a peer that sees others, until the two agree', () => {
    const t = new Table()
    t.linkUp('a', client)
    t.heard('a', 7)
    expect(t.protocol.isApart('a', t.nowMs)).toBe(true)
    t.heard('a', t.protocol.view.hash)
    expect(t.protocol.isApart('a', t.nowMs)).toBe(false)
    expect(t.protocol.isApart('nobody', t.nowMs)).toBe(false)
  })

  it('is not once it knows another owner, nor after 5 s', () => {
    const t = new Table()
    t.linkUp('a', client)
    t.linkUp('b')
    expect(t.protocol.isApart('a', t.nowMs)).toBe(false)
    const alone = new Table()
    alone.linkUp('a', client)
    expect(alone.protocol.isApart('a', alone.nowMs + 5_000)).toBe(false)
    expect(alone.protocol.isApart('a', alone.nowMs)).toBe(false)
  })
})
