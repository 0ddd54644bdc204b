import { describe, expect, it } from 'vitest'
import type { Effect } from '../../../lib/membership/roster.ts'
import { record } from '../../member-record.ts'
import { only, receivers, Table } from './table.ts'

const dialled = (effects: readonly Effect[]): string[] => only(effects, 'dial').map(({ peer }) => peer)

describe('a dial', () => {
  it('is made at once when a link falls that held, and its failure is a death, told to all', () => {
    const t = new Table()
    t.up('a')
    t.pass(2_000, () => t.heard('a'))
    expect(only(t.linkDown('a'), 'dial')).toEqual([{ type: 'dial', peer: 'a', addresses: ['a:1'] }])
    expect(t.status('a')).toBe('alive')
    const effects = t.dialFailed('a')
    expect(t.status('a')).toBe('dead')
    expect(only(effects, 'gossip')[0]?.records).toMatchObject([{ id: 'a', status: 'dead', firstHand: false }])
  })

  it('is not made without a pause to a peer whose link falls as soon as it stands', () => {
    const t = new Table()
    let dials = 0
    for (let i = 0; i < 50; i++) {
      t.up('a')
      dials += dialled(t.linkDown('a')).length
      dials += dialled(t.pass(200)).length
    }
    expect(dials).toBeGreaterThan(0)
    expect(dials).toBeLessThan(20)
  })

  it('that led to a link refused before its hello is made again, later and later, for ever', () => {
    const t = new Table()
    t.gossip('b', record('z'))
    const gaps: number[] = []
    let lastMs = t.nowMs
    t.step({ type: 'linkRefused', peer: 'z' })
    for (let i = 0; i < 12; i++) {
      while (dialled(t.pass(200)).length === 0) if (t.nowMs - lastMs > 60_000) throw new Error('never again')
      gaps.push(t.nowMs - lastMs)
      lastMs = t.nowMs
      t.step({ type: 'linkRefused', peer: 'z' })
    }
    expect(gaps[0]).toBeLessThan(500)
    expect(gaps.at(-1)).toBeGreaterThan(1_000)
  })

  it('is left to the member with the smaller name for a moment, so that two do not dial each other at once', () => {
    const t = new Table()
    t.gossip('b', record('z'), record('a'))
    expect(dialled(t.pass(600))).toEqual(['z'])
    expect(dialled(t.pass(200))).toEqual(['a'])
  })

  it('by a member that nobody can dial is not left to the other', () => {
    const t = new Table({ addresses: [] })
    t.gossip('b', record('a'))
    expect(dialled(t.pass(200))).toEqual(['a'])
  })

  it('is made once, and not again while it is under way', () => {
    const t = new Table()
    t.gossip('b', record('z'))
    expect(dialled(t.pass(9_000))).toEqual(['z'])
    t.dialFailed('z')
    expect(dialled(t.pass(1_000))).toEqual(['z'])
  })

  it('is not made to a member that has come to us meanwhile', () => {
    const t = new Table()
    t.gossip('b', record('a'))
    t.linkUp('a')
    expect(dialled(t.pass(3_000, () => t.heard('a')))).toEqual([])
  })

  it('that fails while the member has come to us is no reason to doubt it', () => {
    const t = new Table()
    t.gossip('b', record('z'))
    t.pass(200)
    t.up('z')
    expect(t.dialFailed('z', true)).toEqual([])
    expect(t.status('z')).toBe('alive')
  })

  it('goes to the addresses that were told last', () => {
    const t = new Table()
    t.gossip('b', record('z'))
    t.pass(200)
    t.gossip('b', record('z', { incarnation: 2, addresses: ['y:5', 'y:6'] }))
    t.dialFailed('z')
    expect(only(t.pass(1_000), 'dial')).toEqual([{ type: 'dial', peer: 'z', addresses: ['y:5', 'y:6'] }])
  })

  it('goes on while a member is gone, seldom after a minute, and finds it when it is back', () => {
    const t = new Table()
    t.up('z')
    t.pass(2_000, () => t.heard('z'))
    t.linkDown('z')
    t.dialFailed('z')
    const dialsIn = (ms: number): number => {
      let dials = 0
      for (const untilMs = t.nowMs + ms; t.nowMs < untilMs; ) {
        for (const peer of dialled(t.pass(200))) {
          dials++
          t.dialFailed(peer)
        }
      }
      return dials
    }
    expect(t.status('z')).toBe('dead')
    expect(dialsIn(60_000)).toBeGreaterThan(20)
    dialsIn(60_000)
    const seldom = dialsIn(600_000)
    expect(seldom).toBeGreaterThan(10)
    expect(seldom).toBeLessThan(40)
    t.up('z', { incarnation: 2 })
    expect(t.status('z')).toBe('alive')
  })

  it('is made at once to a gone member that is back, as somebody says', () => {
    const t = new Table()
    t.meet('b')
    t.gossip('b', record('z'))
    t.gossip('b', record('z', { status: 'dead' }))
    for (let i = 0; i < 1_000; i++) for (const peer of dialled(t.pass(200))) t.dialFailed(peer)
    const waiting = t.until(effects => dialled(effects).includes('z'))
    t.dialFailed('z')
    expect(waiting).toBeGreaterThan(1_000)
    t.gossip('b', record('z', { incarnation: 2 }))
    expect(dialled(t.pass(200))).toEqual(['z'])
  })

  it('that hangs is not waited for once somebody says that the member is back', () => {
    const t = new Table()
    t.meet('b')
    t.gossip('b', record('z'))
    expect(dialled(t.pass(3_000))).toEqual(['z'])
    t.gossip('b', record('z', { status: 'dead' }))
    expect(dialled(t.pass(3_000))).toEqual([])
    t.gossip('b', record('z', { incarnation: 2 }))
    expect(dialled(t.pass(3_000))).toEqual(['z'])
    // Word that it is still there is no reason for a third.
    t.gossip('b', record('z', { incarnation: 3 }))
    expect(dialled(t.pass(3_000))).toEqual([])
  })

  it('that finds somebody else at the address makes the old one dead, and soon is not made again', () => {
    const t = new Table()
    t.up('z')
    t.pass(1_200, () => t.heard('z'))
    t.linkDown('z')
    t.dialFailed('z', true)
    expect(t.status('z')).toBe('dead')
    const more = (ms: number): number => {
      let dials = 0
      for (let i = 0; i < ms; i += 200)
        for (const _ of dialled(t.pass(200))) dials += dialled(t.dialFailed('z', true)).length + 1
      return dials
    }
    expect(more(2_000)).toBeLessThanOrEqual(1)
    expect(more(120_000)).toBe(0)
  })

  it('that finds somebody else leaves the member its place as long as another hears it', () => {
    const t = new Table()
    t.meet('b')
    t.up('z')
    t.pass(1_200, () => t.heard('z'))
    t.linkDown('z')
    expect(receivers(t.dialFailed('z', true), 'probe')).toEqual(['b'])
    const heard = (): Effect[] => t.message('b', { type: 'probed', peer: 'z', heard: true })
    expect(dialled(t.pass(20_000, heard))).toEqual([])
    expect(t.status('z')).toBe('alive')
    t.gossip('b', record('z', { incarnation: 2, addresses: ['z:2'] }))
    expect(only(t.pass(400, heard), 'dial')).toEqual([{ type: 'dial', peer: 'z', addresses: ['z:2'] }])
  })

  it('to a member only heard of may fail for 10 s before the member is called dead', () => {
    const t = new Table()
    t.gossip('b', record('z'))
    const fail = (): Effect[] => t.dialFailed('z')
    t.pass(10_000, fail)
    expect(t.status('z')).toBe('alive')
    t.pass(1_000, fail)
    expect(t.status('z')).toBe('dead')
  })

  it('is one of 64 at most: a flood of rumours is no flood of dials', () => {
    const t = new Table()
    t.gossip('b', ...Array.from({ length: 3_000 }, (_, i) => record(`z${i}`, { firstHand: false })))
    const dials = dialled(t.pass(1_000))
    expect(dials).toHaveLength(64)
    for (const peer of dials.slice(0, 10)) t.dialFailed(peer)
    expect(dialled(t.pass(200))).toHaveLength(10)
  })
})

describe('a member that only dials', () => {
  it('gets 3 s to come back before it is called dead', () => {
    const t = new Table()
    t.up('z', { addresses: [], weight: 0 })
    t.linkDown('z')
    t.pass(2_800)
    expect(t.status('z')).toBe('alive')
    t.pass(600)
    expect(t.status('z')).toBe('dead')
  })

  it('keeps its place while another hears it, though it never comes back to us', () => {
    const t = new Table()
    t.meet('b')
    t.up('z', { addresses: [] })
    t.linkDown('z')
    let asked = 0
    for (let i = 0; i < 100; i++) {
      for (const by of receivers(t.pass(200), 'probe')) {
        asked++
        t.message(by, { type: 'probed', peer: 'z', heard: true })
      }
    }
    expect(asked).toBeGreaterThan(10)
    expect(t.status('z')).toBe('alive')
  })

  it('is forgotten as one to link to when it is gone', () => {
    const t = new Table()
    t.up('z', { addresses: [] })
    t.gossip('b', record('z', { status: 'dead', addresses: [] }))
    const effects = [...t.linkDown('z'), ...t.pass(60_000)]
    expect(dialled(effects)).toEqual([])
    expect(receivers(effects, 'probe')).toEqual([])
  })
})
