import { describe, expect, it } from 'vitest'
import { type Effect, type MembershipEvent, Protocol } from '../../../lib/membership/protocol.ts'
import type { MemberRecord } from '../../../lib/membership/view.ts'
import { Stats } from '../../../lib/observe/stats.ts'
import type { MemberFields } from '../../../lib/rpc/messages.ts'
import { seededRandom } from '../../../lib/sim/random.ts'

const record = (id: string, over: Partial<MemberFields> = {}): MemberFields => ({
  id,
  boot: 1,
  incarnation: 1,
  status: 'alive',
  weight: 1,
  zone: '',
  host: 'h',
  addresses: [`${id}:1`],
  reached: true,
  ...over
})

/** A protocol whose time the test holds; by name it lies between its peers `a` and `z`. */
class Table {
  nowMs = 1_000
  readonly stats = new Stats()
  readonly protocol: Protocol

  constructor(over: Partial<MemberRecord> = {}) {
    const { reached: _, ...self } = record('m')
    this.protocol = new Protocol({
      self: { ...self, ...over },
      random: seededRandom(1),
      stats: this.stats,
      nowMs: this.nowMs
    })
  }

  step(event: MembershipEvent): Effect[] {
    return this.protocol.step(event, this.nowMs)
  }

  up(peer: string, over: Partial<MemberFields> = {}): Effect[] {
    const effects = this.step({ type: 'linkUp', peer, record: record(peer, over) })
    this.step({ type: 'exchanged', peer })
    return effects
  }

  /** Time in ticks of 200 ms, as the driver makes them; the answer is all that was decided. */
  pass(ms: number, also: (atMs: number) => MembershipEvent[] = () => []): Effect[] {
    const effects: Effect[] = []
    for (const untilMs = this.nowMs + ms; this.nowMs < untilMs; ) {
      this.nowMs += 200
      for (const event of also(this.nowMs)) effects.push(...this.step(event))
      effects.push(...this.step({ type: 'tick' }))
    }
    return effects
  }

  status(id: string): string | undefined {
    return this.protocol.view.get(id)?.status
  }
}

const only = <T extends Effect['type']>(effects: readonly Effect[], type: T): Extract<Effect, { type: T }>[] =>
  effects.filter((effect): effect is Extract<Effect, { type: T }> => effect.type === type)
const heard = (peer: string, viewHash: number): MembershipEvent => ({ type: 'heard', peer, viewHash })

describe('a link', () => {
  it('that comes up makes a member, and leads to an exchange of views at once', () => {
    const t = new Table()
    const effects = t.up('a')
    expect(t.status('a')).toBe('alive')
    expect(only(effects, 'exchange')).toEqual([{ type: 'exchange', peer: 'a' }])
    expect(only(effects, 'viewChanged')).toHaveLength(1)
  })

  it('gets a beat a second; after two missed ones the member is doubted, and given up when it stays silent', () => {
    const t = new Table()
    t.up('a')
    const effects = t.pass(3_400)
    expect(only(effects, 'beat').length).toBeGreaterThanOrEqual(3)
    expect(only(effects, 'close')).toEqual([])
    expect(t.protocol.view.get('a')?.status).toBe('alive')
    expect(only(t.pass(1_000), 'close').map(({ peer }) => peer)).toContain('a')
    expect(t.protocol.view.get('a')?.status).toBe('dead')
    expect(t.stats.linksSilentTotal).toBeGreaterThan(0)
  })

  it('is closed and its member stays, when it is silent here and another hears it', () => {
    const t = new Table()
    t.up('a')
    t.up('b')
    const own = (): number => t.protocol.view.hash
    const effects = t.pass(4_600, () => [heard('b', own()), { type: 'inquired', peer: 'a', heard: true }])
    expect(only(effects, 'inquire').map(({ peer, of }) => [peer, of])).toContainEqual(['a', ['b']])
    expect(only(effects, 'close').map(({ peer }) => peer)).toContain('a')
    expect(t.protocol.view.get('a')?.status).toBe('alive')
  })

  it('on which anything is heard is never silent', () => {
    const t = new Table()
    t.up('a')
    const own = t.protocol.view.hash
    expect(
      only(
        t.pass(60_000, at => (at % 3_000 === 0 ? [heard('a', own)] : [])),
        'close'
      )
    ).toEqual([])
  })

  it('is not called silent by a member that stood still itself', () => {
    const t = new Table()
    t.up('a')
    t.pass(1_000)
    t.nowMs += 20_000
    expect(only(t.step({ type: 'tick' }), 'close')).toEqual([])
    expect(only(t.pass(3_800), 'close')).toEqual([])
    expect(only(t.pass(600), 'close')).not.toEqual([])
  })

  it('that dies after it held is dialled at once, and a failed dial is a death, told to all', () => {
    const t = new Table()
    t.up('a')
    t.pass(2_000, () => [heard('a', t.protocol.view.hash)])
    expect(only(t.step({ type: 'linkDown', peer: 'a' }), 'dial')).toEqual([
      { type: 'dial', peer: 'a', addresses: ['a:1'] }
    ])
    expect(t.status('a')).toBe('alive')
    const effects = t.step({ type: 'dialFailed', peer: 'a', foundOther: false })
    expect(t.status('a')).toBe('dead')
    expect(only(effects, 'gossip')[0]?.records).toMatchObject([{ id: 'a', status: 'dead', reached: false }])
  })

  it('that falls as soon as it stands is not dialled without a pause', () => {
    const t = new Table()
    let dials = 0
    for (let i = 0; i < 50; i++) {
      t.up('a')
      dials += only(t.step({ type: 'linkDown', peer: 'a' }), 'dial').length
      dials += only(t.pass(200), 'dial').length
    }
    expect(dials).toBeLessThan(20)
  })

  it('refused before its hello is dialled again, later and later, for ever', () => {
    const t = new Table()
    t.step({ type: 'records', records: [record('z')] })
    const gaps: number[] = []
    let lastMs = t.nowMs
    t.step({ type: 'linkRefused', peer: 'z' })
    for (let i = 0; i < 12; i++) {
      while (only(t.pass(200), 'dial').length === 0) if (t.nowMs - lastMs > 60_000) throw new Error('never again')
      gaps.push(t.nowMs - lastMs)
      lastMs = t.nowMs
      t.step({ type: 'linkRefused', peer: 'z' })
    }
    expect(gaps[0]).toBeLessThan(500)
    expect(gaps.at(-1)).toBeGreaterThan(1_000)
  })
})

describe('dials', () => {
  it('are left to the member with the smaller name for a moment, so that two do not dial each other at once', () => {
    const t = new Table()
    expect(only(t.step({ type: 'records', records: [record('z')] }), 'dial')).toHaveLength(1)
    expect(only(t.step({ type: 'records', records: [record('a')] }), 'dial')).toEqual([])
    expect(only(t.pass(600), 'dial')).toEqual([])
    expect(only(t.pass(200), 'dial').map(({ peer }) => peer)).toEqual(['a'])
  })

  it('by a member that nobody can dial are made at once', () => {
    const t = new Table({ addresses: [] })
    expect(only(t.step({ type: 'records', records: [record('a')] }), 'dial')).toHaveLength(1)
  })

  it('go on while a member is gone, seldom after a minute, and find it when it is back', () => {
    const t = new Table()
    t.up('z')
    t.pass(2_000, () => [heard('z', t.protocol.view.hash)])
    t.step({ type: 'linkDown', peer: 'z' })
    t.step({ type: 'dialFailed', peer: 'z', foundOther: false })
    const dialsIn = (ms: number): number => {
      let dials = 0
      for (const untilMs = t.nowMs + ms; t.nowMs < untilMs; ) {
        for (const _ of only(t.pass(200), 'dial')) {
          dials++
          t.step({ type: 'dialFailed', peer: 'z', foundOther: false })
        }
      }
      return dials
    }
    expect(dialsIn(60_000)).toBeGreaterThan(20)
    dialsIn(60_000)
    const seldom = dialsIn(600_000)
    expect(seldom).toBeGreaterThan(10)
    expect(seldom).toBeLessThan(40)
    t.up('z', { incarnation: 2 })
    expect(t.status('z')).toBe('alive')
  })

  it('that find somebody else at the address make the old one dead and forget the address', () => {
    const t = new Table()
    t.up('z')
    t.pass(1_200, () => [heard('z', t.protocol.view.hash)])
    t.step({ type: 'linkDown', peer: 'z' })
    t.step({ type: 'dialFailed', peer: 'z', foundOther: true })
    expect(t.status('z')).toBe('dead')
    expect(only(t.pass(120_000), 'dial')).toEqual([])
  })

  it('of a member only heard of go on for 10 s before it is called dead', () => {
    const t = new Table()
    t.step({ type: 'records', records: [record('z')] })
    const fail = (): MembershipEvent[] => [{ type: 'dialFailed', peer: 'z', foundOther: false }]
    t.pass(9_800, fail)
    expect(t.status('z')).toBe('alive')
    t.pass(1_000, fail)
    expect(t.status('z')).toBe('dead')
  })

  it('are bounded: a flood of rumours is no flood of dials', () => {
    const t = new Table()
    const rumours = Array.from({ length: 3_000 }, (_, i) => record(`z${i}`, { reached: false }))
    const effects = [...t.step({ type: 'records', records: rumours }), ...t.pass(1_000)]
    expect(only(effects, 'dial').length).toBeLessThanOrEqual(64)
  })
})

describe('what others say', () => {
  it('of an unknown member is believed when the teller has reached it, and only looked into when not', () => {
    const t = new Table()
    const effects = t.step({ type: 'records', records: [record('z', { reached: false })] })
    expect(t.status('z')).toBeUndefined()
    expect(only(effects, 'dial')).toHaveLength(1)
    t.step({ type: 'dialFailed', peer: 'z', foundOther: false })
    expect(only(t.pass(60_000), 'dial')).toEqual([])
    t.step({ type: 'records', records: [record('z')] })
    expect(t.status('z')).toBe('alive')
  })

  it('of a death is believed of anybody, so that an old record does not bring it back', () => {
    const t = new Table()
    t.step({ type: 'records', records: [record('z', { status: 'dead', reached: false, incarnation: 5 })] })
    t.step({ type: 'records', records: [record('z', { incarnation: 4 })] })
    expect(t.status('z')).toBe('dead')
  })

  it('of ourselves is contradicted by one incarnation more, and told to all', () => {
    const t = new Table()
    const effects = t.step({ type: 'records', records: [record('m', { status: 'dead', incarnation: 7 })] })
    expect(t.protocol.self).toMatchObject({ status: 'alive', incarnation: 8 })
    expect(only(effects, 'gossip')[0]?.records).toMatchObject([{ id: 'm', incarnation: 8, reached: true }])
  })

  it('of an older boot of ours is contradicted too, and what agrees or is older is not', () => {
    const t = new Table()
    t.step({ type: 'records', records: [record('m', { boot: 9, incarnation: 3 })] })
    expect(t.protocol.self).toMatchObject({ boot: 1, incarnation: 4 })
    const own = t.protocol.self
    for (const said of [{ ...own, reached: true }, record('m', { status: 'dead', incarnation: 2 })])
      expect(t.step({ type: 'records', records: [said] })).toEqual([])
  })

  it('of the death of a member that is linked to us is passed on to it, so that it can contradict', () => {
    const t = new Table()
    t.up('a')
    t.nowMs += 1_000
    const effects = t.step({ type: 'records', records: [record('a', { status: 'dead' })] })
    expect(only(effects, 'exchange')).toEqual([{ type: 'exchange', peer: 'a' }])
  })

  it('is told on with whether we have reached them', () => {
    const t = new Table()
    t.up('a')
    t.step({ type: 'records', records: [record('z')] })
    const told = new Map(t.protocol.records().map(({ id, reached }) => [id, reached]))
    expect(Object.fromEntries(told)).toEqual({ m: true, a: true, z: false })
  })
})

describe('exchanges', () => {
  it('happen when view hashes differ, one at a time and 200 ms apart', () => {
    const t = new Table()
    t.step({ type: 'linkUp', peer: 'a', record: record('a') })
    expect(only(t.step(heard('a', 99)), 'exchange')).toEqual([])
    t.step({ type: 'exchanged', peer: 'a' })
    t.nowMs += 100
    expect(only(t.step(heard('a', 99)), 'exchange')).toEqual([])
    t.nowMs += 100
    expect(only(t.step(heard('a', 99)), 'exchange')).toHaveLength(1)
    expect(only(t.step(heard('a', 99)), 'exchange')).toEqual([])
  })

  it('happen only now and then when they agree, for what the hash does not cover', () => {
    const t = new Table()
    t.up('a')
    const heardAt = (): MembershipEvent[] => [heard('a', t.protocol.view.hash)]
    expect(only(t.pass(3_000, heardAt), 'exchange')).toEqual([])
    expect(only(t.pass(4_000, heardAt), 'exchange').length).toBe(1)
  })

  it('that change nothing on either side are repeated after 5 s, then 10, doubling to 60', () => {
    const t = new Table()
    t.up('a')
    const at: number[] = []
    t.pass(400_000, nowMs => {
      const events: MembershipEvent[] = [heard('a', 99)]
      if (t.protocol.isLinked('a')) {
        const began = only(t.step(heard('a', 99)), 'exchange').length
        if (began > 0) {
          at.push(nowMs)
          events.push({ type: 'exchanged', peer: 'a' })
        }
      }
      return events
    })
    const gaps = at.slice(1).map((time, i) => Math.round((time - (at[i] as number)) / 1_000))
    expect(gaps.slice(0, 6)).toEqual([5, 10, 20, 40, 60, 60])
  })

  it('begin anew at once when either hash changes', () => {
    const t = new Table()
    t.up('a')
    t.nowMs += 200
    const began = (hash: number): number => {
      const count = only(t.step(heard('a', hash)), 'exchange').length
      t.step({ type: 'exchanged', peer: 'a' })
      t.nowMs += 400
      return count
    }
    expect([began(99), began(99), began(99), began(98)]).toEqual([1, 0, 0, 1])
  })
})

describe('settled', () => {
  it('is a mesh whose members are all linked and hold our view', () => {
    const t = new Table()
    expect(t.protocol.isSettled()).toBe(true)
    t.up('a')
    expect(t.protocol.isSettled()).toBe(false)
    t.step(heard('a', t.protocol.view.hash))
    expect(t.protocol.isSettled()).toBe(true)
    t.step({ type: 'records', records: [record('z')] })
    expect(t.protocol.isSettled()).toBe(false)
  })

  it('does not wait for two that only dial to meet', () => {
    const t = new Table({ addresses: [] })
    t.step({ type: 'records', records: [record('z', { addresses: [] })] })
    expect(t.protocol.isSettled()).toBe(true)
  })
})

describe('leaving', () => {
  it('is told to all, over every link, and never contradicted by ourselves', () => {
    const t = new Table()
    t.up('a')
    t.up('z')
    const effects = t.step({ type: 'leave' })
    expect(only(effects, 'exchange').map(({ peer }) => peer)).toEqual(['a', 'z'])
    expect(only(effects, 'gossip')[0]?.records).toMatchObject([{ id: 'm', status: 'left' }])
    expect(t.protocol.view.present().map(({ id }) => id)).toEqual(['a', 'z'])
    t.step({ type: 'records', records: [record('m', { incarnation: 50 })] })
    expect(t.protocol.self.status).toBe('left')
  })

  it('of another is the end of it: it is neither dialled nor brought back', () => {
    const t = new Table()
    t.up('a')
    t.step({ type: 'records', records: [record('a', { status: 'left', incarnation: 2 })] })
    t.step({ type: 'linkDown', peer: 'a' })
    t.step({ type: 'records', records: [record('a', { incarnation: 1 })] })
    expect(only(t.pass(60_000), 'dial')).toEqual([])
    expect(t.status('a')).toBe('left')
  })

  it('makes us dial nobody any more', () => {
    const t = new Table()
    t.up('a')
    t.step({ type: 'leave' })
    expect(only([...t.step({ type: 'linkDown', peer: 'a' }), ...t.pass(60_000)], 'dial')).toEqual([])
  })
})

describe('a member that only dials', () => {
  it('gets 3 s to come back before it is called dead', () => {
    const t = new Table()
    t.up('z', { addresses: [], weight: 0 })
    t.step({ type: 'linkDown', peer: 'z' })
    t.pass(2_800)
    expect(t.status('z')).toBe('alive')
    t.pass(600)
    expect(t.status('z')).toBe('dead')
  })
})
