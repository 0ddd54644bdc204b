import { describe, expect, it } from 'vitest'
import { Pulse } from '../../../lib/rpc/pulse.ts'
import { seededRandom } from '../../../lib/sim/random.ts'
import { ManualClock } from './manual-clock.ts'

function setup() {
  const clock = new ManualClock()
  let silences = 0
  const pulse = new Pulse(clock, () => silences++)
  return { clock, pulse, ask: () => pulse.asked(clock.nowMs), silences: () => silences }
}

describe('how fast a peer is', () => {
  it.each([
    [0.5, 6],
    [3, 40],
    [12, 30]
  ])('is learned: of times from %d to %d ms about one in twenty is longer', (leastMs, mostMs) => {
    const { pulse } = setup()
    const random = seededRandom(1)
    const times = Array.from({ length: 6_000 }, () => leastMs + (mostMs - leastMs) * random.float() ** 2)
    for (const ms of times.slice(0, 1_000)) pulse.answered(ms)
    let longer = 0
    for (const ms of times.slice(1_000)) {
      if (ms > pulse.p95Ms) longer++
      pulse.answered(ms)
    }
    expect(longer / 5_000).toBeGreaterThan(0.04)
    expect(longer / 5_000).toBeLessThan(0.06)
  })

  it('is asked of one call in sixteen', () => {
    const { ask } = setup()
    expect(Array.from({ length: 160 }, ask).filter(Boolean)).toHaveLength(10)
  })

  it('tells how long to wait for it alone, in few lengths, at least 4 ms, at most 100 and a quarter of the time', () => {
    const { pulse } = setup()
    expect(pulse.patienceMs(2_000)).toBe(16)
    for (let i = 0; i < 1_000; i++) pulse.answered(0.3)
    expect(pulse.patienceMs(2_000)).toBe(4)
    expect(pulse.patienceMs(4)).toBe(1)
    for (let i = 0; i < 100; i++) pulse.answered(80)
    expect(pulse.patienceMs(2_000)).toBe(100)
    expect(pulse.patienceMs(200)).toBe(32)
    for (let i = 0; i < 100; i++) pulse.answered(5_000)
    expect(pulse.patienceMs(2_000)).toBe(100)
  })
})

describe('a peer', () => {
  it('is silent when nothing is heard for 50 ms after it was asked, and not any more once something is', () => {
    const { clock, pulse, ask, silences } = setup()
    ask()
    clock.pass(49)
    expect(pulse.isSilent).toBe(false)
    clock.pass(1)
    expect([pulse.isSilent, silences()]).toEqual([true, 1])
    ask()
    clock.pass(1_000)
    expect([pulse.isSilent, silences()]).toEqual([true, 1])
    pulse.heard()
    expect(pulse.isSilent).toBe(false)
    ask()
    clock.pass(50)
    expect([pulse.isSilent, silences()]).toEqual([true, 2])
  })

  it('is not silent when it was heard after it was asked, nor when nothing is asked of it', () => {
    const { clock, pulse, ask } = setup()
    clock.pass(1_000)
    ask()
    clock.pass(40)
    pulse.heard()
    clock.pass(1_000)
    expect([pulse.isSilent, clock.armed]).toEqual([false, 0])
  })

  it('has the whole time for each question after a word of it', () => {
    const { clock, pulse, ask } = setup()
    ask()
    clock.pass(30)
    pulse.heard()
    ask()
    clock.pass(49)
    expect(pulse.isSilent).toBe(false)
    clock.pass(1)
    expect(pulse.isSilent).toBe(true)
  })

  it('has four times as long as nearly all its answers take', () => {
    const { clock, pulse, ask } = setup()
    for (let i = 0; i < 200; i++) pulse.answered(40)
    ask()
    clock.pass(140)
    expect(pulse.isSilent).toBe(false)
    clock.pass(80)
    expect(pulse.isSilent).toBe(true)
  })

  it('is given the time again when this process stood still itself', () => {
    const { clock, pulse, ask } = setup()
    ask()
    clock.standStill(500)
    expect(pulse.isSilent).toBe(false)
    clock.pass(50)
    expect(pulse.isSilent).toBe(true)
  })

  it('leaves no timer behind when its link ends', () => {
    const { clock, pulse, ask } = setup()
    ask()
    pulse.stop()
    expect(clock.armed).toBe(0)
  })
})
