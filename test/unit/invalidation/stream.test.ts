import { beforeEach, describe, expect, it } from 'vitest'
import { Stream } from '../../../lib/invalidation/stream.ts'
import { Stats } from '../../../lib/observe/stats.ts'
import { type Announcement, CHANGES_MAX, type Changed } from '../../../lib/rpc/near-talk.ts'
import { ManualClock } from '../rpc/manual-clock.ts'

const BOOT = 7

let clock: ManualClock
let told: Announcement[]
let stream: Stream

beforeEach(() => {
  clock = new ManualClock()
  told = []
  stream = new Stream({ self: 'a', boot: BOOT, clock, stats: new Stats(), publish: one => told.push(one) })
})

const change = (key: string): Changed => ({ kind: 'key', namespace: 'n', key, stamp: 1, expiresAtMs: 2 })
const ask = (number: number, boot = BOOT) => stream.confirm({ type: 'confirm', boot, number, used: [] })
const keysOf = ({ changes }: { changes: readonly Changed[] }): string[] => changes.map(({ key }) => key)
/** As a reader that asks twice a second. */
function follow(): number {
  return ask(0, 0).number
}

describe('changes of an owner', () => {
  it('are told together after some milliseconds, each with its number', () => {
    follow()
    for (const key of ['k1', 'k2']) stream.changed(change(key))
    expect(told).toEqual([])
    clock.pass(3)
    stream.changed(change('k3'))
    clock.pass(3)
    expect(told.map(({ origin, boot, from, changes }) => [origin, boot, from, keysOf({ changes })])).toEqual([
      ['a', BOOT, 1, ['k1', 'k2']],
      ['a', BOOT, 3, ['k3']]
    ])
  })

  it('are given whole to who has missed some, and to nobody else', () => {
    follow()
    for (const key of ['k1', 'k2', 'k3']) stream.changed(change(key))
    expect(ask(1)).toMatchObject({ number: 3, isWhole: true, boot: BOOT })
    expect(keysOf(ask(1))).toEqual(['k2', 'k3'])
    expect(keysOf(ask(3))).toEqual([])
    expect(ask(3).isWhole).toBe(true)
    expect(ask(1, BOOT + 1)).toMatchObject({ number: 3, isWhole: false, changes: [] })
    expect(ask(4).isWhole, 'of a number that was never given').toBe(false)
  })

  it('are counted and not remembered while nobody follows', () => {
    stream.changed(change('k1'))
    const number = follow()
    expect(number).toBe(1)
    expect(ask(0).isWhole).toBe(false)
    clock.pass(5_000)
    stream.changed(change('k2'))
    clock.pass(100)
    expect(told).toEqual([])
    expect(ask(number), 'it has slept, and something was changed meanwhile').toMatchObject({
      number: 2,
      isWhole: false
    })
    stream.changed(change('k3'))
    expect(keysOf(ask(2))).toEqual(['k3'])
  })

  it('are remembered within bounds, the latest of them', () => {
    follow()
    for (let i = 1; i <= CHANGES_MAX + 10; i++) stream.changed(change(`k${i}`))
    expect(ask(9)).toMatchObject({ number: CHANGES_MAX + 10, isWhole: false })
    const rest = ask(10)
    expect([rest.isWhole, rest.changes.length, keysOf(rest)[0]]).toEqual([true, CHANGES_MAX, 'k11'])
    for (let i = 0; i < 200; i++) stream.changed(change('x'.repeat(8_000)))
    const { number } = ask(0)
    expect(ask(number - 60).isWhole).toBe(true)
    expect(ask(number - 70).isWhole, 'half a million characters').toBe(false)
  })

  it('of many long keys are told in several messages, without a gap', () => {
    follow()
    const keys = Array.from({ length: 40 }, (_, i) => `${i}`.padEnd(4_000, 'x'))
    for (const key of keys) stream.changed(change(key))
    clock.pass(3)
    expect(told.length).toBeGreaterThan(3)
    expect(told.flatMap(keysOf)).toEqual(keys)
    let next = 1
    for (const { from, changes } of told) {
      expect(from).toBe(next)
      next += changes.length
    }
  })

  it('that cannot be named make everybody begin anew', () => {
    follow()
    stream.changed(change('k1'))
    stream.startOver()
    expect(ask(1)).toMatchObject({ number: 2, isWhole: false })
    stream.changed(change('k2'))
    expect(keysOf(ask(2))).toEqual(['k2'])
  })
})
