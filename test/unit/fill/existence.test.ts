import { beforeEach, describe, expect, it } from 'vitest'
import { Existence } from '../../../lib/fill/existence.ts'
import { geometryFor } from '../../../lib/fill/key-filter.ts'
import type { FilterState } from '../../../lib/rpc/messages.ts'

const own = geometryFor(1_000, 0.01)
let existence: Existence

const told = (stamp: number, more: Partial<FilterState> = {}) => ({ stamp, writer: 'b', ...own, ...more })

function filled(keys: readonly string[], stamp = 10): void {
  const filling = existence.beginFilling({ stamp, writer: 'a' }, true)
  for (const key of keys) filling?.filter.add(key)
  if (filling !== undefined) existence.publish(filling)
}

beforeEach(() => {
  existence = new Existence(own)
})

describe('what a member knows of what exists', () => {
  it('denies nothing before it has a filter, and what is not in it after', () => {
    expect(existence.mayExist('x')).toBe(true)
    filled(['k'])
    expect([existence.mayExist('k'), existence.mayExist('x')]).toEqual([true, false])
  })

  it('denies nothing from the moment it hears of a newer one, until that is complete and level', () => {
    filled(['k'])
    expect(existence.hear(told(9))).toBe(false)
    expect(existence.mayExist('x')).toBe(false)
    expect(existence.hear(told(11))).toBe(true)
    expect(existence.mayExist('x')).toBe(true)
    existence.completed()
    expect(existence.mayExist('x')).toBe(true)
    existence.leveled()
    expect(existence.mayExist('x')).toBe(false)
    expect(existence.state).toMatchObject({ stamp: 11, writer: 'b', holds: true, complete: true, level: true })
  })

  it('goes by the writer where two began at one moment', () => {
    filled(['k'], 10)
    expect(existence.hear(told(10, { writer: '' }))).toBe(false)
    expect(existence.hear(told(10))).toBe(true)
  })

  it('in doubt denies nothing until it is level again', () => {
    filled(['k'])
    existence.doubt()
    expect(existence.mayExist('x')).toBe(true)
    expect(existence.state).toMatchObject({ level: false, doubts: 1 })
    existence.leveled()
    expect(existence.mayExist('x')).toBe(false)
  })

  it('is not level with what it filled while it was in doubt', () => {
    const filling = existence.beginFilling({ stamp: 5, writer: 'a' }, true)
    existence.doubt()
    if (filling !== undefined) existence.publish(filling)
    expect(existence.mayExist('x')).toBe(true)
  })

  it('is not level with what it began to fill while its view was not settled', () => {
    const filling = existence.beginFilling({ stamp: 5, writer: 'a' }, false)
    if (filling !== undefined) existence.publish(filling)
    expect([existence.isComplete, existence.mayExist('x')]).toEqual([true, true])
  })

  it('adds to what is being filled, and not only to what is there', () => {
    filled(['k'])
    const filling = existence.beginFilling({ stamp: 20, writer: 'a' }, true)
    existence.learn(['late'], 21)
    expect(existence.mayExist('late')).toBe(true)
    if (filling !== undefined) existence.publish(filling)
    expect([existence.mayExist('late'), existence.mayExist('k')]).toEqual([true, false])
  })

  it('adds to what is being filled more than it remembers', () => {
    const large = geometryFor(40_000, 0.001)
    existence = new Existence(large)
    const filling = existence.beginFilling({ stamp: 20, writer: 'a' }, true)
    for (let i = 0; i < 30_000; i++) existence.learn([`k${i}`], 21)
    if (filling !== undefined) existence.publish(filling)
    expect([existence.mayExist('k0'), existence.mayExist('x')]).toEqual([true, false])
  })

  it('adds what it has heard of late to a newer one that began before that', () => {
    const minute = 60_000 * 4_096
    filled(['k'])
    existence.learn(['old'], minute)
    existence.learn(['late'], 3 * minute)
    existence.hear(told(2 * minute + 1))
    existence.completed()
    existence.leveled()
    // A minute of the clocks' difference is allowed for.
    expect([existence.mayExist('late'), existence.mayExist('old')]).toEqual([true, false])
  })

  it('remembers so many keys and not more', () => {
    const large = geometryFor(40_000, 0.001)
    existence = new Existence(large)
    for (let i = 0; i < 30_000; i++) existence.learn([`k${i}`], 100)
    existence.hear(told(50, large))
    existence.completed()
    existence.leveled()
    expect([existence.mayExist('k29999'), existence.mayExist('k0')]).toEqual([true, false])
  })

  it('holds no more than twice its own, and nothing that is hashed otherwise', () => {
    const { bits } = own
    for (const [stamp, geometry] of [
      { bits: bits * 2 + 32 },
      { bits: 2 ** 32 - 32 },
      { bits: bits + 1 },
      { hashes: 0 },
      { hashes: 33 },
      { hashing: own.hashing ^ 1 }
    ].entries()) {
      expect(existence.hear(told(100 + stamp, geometry))).toBe(true)
      expect([existence.bytes, existence.state.holds, existence.mayExist('x')]).toEqual([0, false, true])
    }
    expect(existence.hear(told(200, { bits: bits * 2 }))).toBe(true)
    expect(existence.bytes).toBeGreaterThan((bits * 2) / 8)
  })

  it('of no bits is none any more, and complete', () => {
    filled(['k'])
    existence.hear(told(11, { bits: 0, hashes: 0, hashing: 0 }))
    expect([existence.mayExist('x'), existence.bytes]).toEqual([true, 0])
    expect(existence.state).toMatchObject({ holds: true, complete: true, bits: 0 })
  })

  it('is filled four times at once, and not more', () => {
    const fillings = [1, 2, 3, 4].map(stamp => existence.beginFilling({ stamp, writer: 'a' }, true))
    expect(existence.beginFilling({ stamp: 5, writer: 'a' }, true)).toBeUndefined()
    if (fillings[0] !== undefined) existence.endFilling(fillings[0])
    expect(existence.beginFilling({ stamp: 6, writer: 'a' }, true)).toBeDefined()
  })

  it('hears of values that are news, and of no others', () => {
    expect(existence.isNews('k')).toBe(false)
    filled(['k'])
    expect([existence.isNews('k'), existence.isNews('x')]).toEqual([false, true])
    existence.beginFilling({ stamp: 20, writer: 'a' }, true)
    expect(existence.isNews('k')).toBe(true)
  })
})
