import { beforeEach, describe, expect, it } from 'vitest'
import { Happenings, UNTOLD_MAX } from '../../../lib/observe/happenings.ts'
import { Stats } from '../../../lib/observe/stats.ts'
import { ManualClock } from '../rpc/manual-clock.ts'

let clock: ManualClock
let stats: Stats
let detached: number
let happenings: Happenings
let told: unknown[]

beforeEach(() => {
  clock = new ManualClock()
  stats = new Stats()
  detached = 0
  const detach = <T>(fn: () => T): T => {
    detached++
    return fn()
  }
  happenings = new Happenings({ clock, stats, detach })
  told = []
})

const evict = (key: string): void => happenings.tell('evict', 'n', { key, reason: 'size' })

describe('what happens to keys', () => {
  it('is told after the turn, in order and in nobody’s context, to all who listen for it', () => {
    happenings.listen('evict', (namespace, { key }) => told.push(`${namespace} ${key}`))
    happenings.listen('evict', (_, { reason }) => told.push(reason))
    happenings.listen('fill', () => told.push('not this'))
    evict('a')
    evict('b')
    expect([told, detached]).toEqual([[], 0])
    clock.endTurn()
    expect([told, detached]).toEqual([['n a', 'size', 'n b', 'size'], 1])
    evict('c')
    clock.endTurn()
    expect(told.slice(4)).toEqual(['n c', 'size'])
  })

  it('is asked for only while somebody listens', () => {
    expect(happenings.isHeard).toEqual({ fill: false, invalidate: false, evict: false, hot: false })
    evict('before')
    const [one, other] = [
      happenings.listen('evict', () => told.push(1)),
      happenings.listen('evict', () => told.push(2))
    ]
    expect(happenings.isHeard).toEqual({ fill: false, invalidate: false, evict: true, hot: false })
    one()
    one()
    expect(happenings.isHeard.evict).toBe(true)
    clock.endTurn()
    expect(told).toEqual([])
    evict('a')
    other()
    expect(happenings.isHeard.evict).toBe(false)
    clock.endTurn()
    expect(told).toEqual([])
  })

  it('of one turn is bounded, and what is beyond is counted', () => {
    happenings.listen('evict', (_, { key }) => told.push(key))
    for (let i = 0; i < UNTOLD_MAX + 7; i++) evict(`${i}`)
    clock.endTurn()
    expect([told.length, stats.cacheEventsDroppedTotal]).toEqual([UNTOLD_MAX, 7])
    evict('later')
    clock.endTurn()
    expect(told.at(-1)).toBe('later')
  })

  it('while it is told is told in the next turn', () => {
    happenings.listen('evict', (_, { key }) => {
      told.push(key)
      if (key === 'a') evict('b')
    })
    evict('a')
    clock.endTurn()
    expect(told).toEqual(['a'])
    clock.endTurn()
    expect(told).toEqual(['a', 'b'])
  })
})
