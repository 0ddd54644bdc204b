import { describe, expect, it } from 'vitest'
import { Breaker } from '../../../lib/fill/breaker.ts'

const TERMS = { failures: 10, openForMs: 1_000 }

function opened(nowMs = 50_000): Breaker {
  const breaker = new Breaker(TERMS)
  expect(breaker.report(0, 10, nowMs)).toBe(true)
  return breaker
}

describe('a closed breaker', () => {
  it('opens when so many calls failed and they are at least half', () => {
    const breaker = new Breaker(TERMS)
    expect(breaker.report(10, 9, 50_000)).toBe(false)
    expect(breaker.state(50_000)).toBe('closed')
    expect(breaker.report(0, 1, 50_100)).toBe(true)
    expect([breaker.state(50_100), breaker.retryAfterMs(50_100)]).toEqual(['open', 1_000])
  })

  it('stays closed while fewer than half fail, however many, and while few fail, even all', () => {
    const busy = new Breaker(TERMS)
    for (let i = 0; i < 100; i++) expect(busy.report(11, 10, 50_000 + i * 100)).toBe(false)
    const quiet = new Breaker(TERMS)
    for (let i = 0; i < 9; i++) expect(quiet.report(0, 1, 50_000 + i * 1_000)).toBe(false)
  })

  it('forgets what is over ten seconds old, second by second', () => {
    const breaker = new Breaker(TERMS)
    breaker.report(0, 9, 50_000)
    expect(breaker.report(0, 1, 60_000)).toBe(false)
    expect(breaker.report(0, 8, 69_900)).toBe(false)
    expect(breaker.report(0, 2, 69_950)).toBe(true)
  })

  it('forgets all after a long silence, also where buckets come round', () => {
    const breaker = new Breaker(TERMS)
    breaker.report(0, 9, 50_000)
    expect(breaker.report(0, 1, 5_003_000)).toBe(false)
  })

  it('is not opened by a success, nor where there is none', () => {
    const breaker = new Breaker(TERMS)
    breaker.report(9, 9, 50_000)
    expect(breaker.report(1, 0, 50_000)).toBe(false)
    const off = new Breaker({ failures: 0, openForMs: 0 })
    expect(off.report(0, 1_000, 50_000)).toBe(false)
    off.adopt(1_000, 50_000)
    expect(off.state(50_000)).toBe('closed')
  })
})

describe('an open breaker', () => {
  it('is half-open when its time is over, and hears of no calls but the probe', () => {
    const breaker = opened()
    expect(breaker.state(50_999)).toBe('open')
    expect(breaker.report(1_000, 0, 50_999)).toBe(false)
    expect(breaker.state(51_000)).toBe('half-open')
    expect(breaker.report(0, 100, 51_000)).toBe(false)
    expect([breaker.state(51_000), breaker.retryAfterMs(51_000)]).toEqual(['half-open', 1_000])
  })

  it('is open twice as long after each probe that failed, up to ten times', () => {
    const breaker = opened()
    let nowMs = 50_000
    const times: number[] = []
    for (let i = 0; i < 6; i++) {
      times.push(breaker.retryAfterMs(nowMs))
      nowMs += breaker.retryAfterMs(nowMs)
      expect(breaker.state(nowMs)).toBe('half-open')
      expect(breaker.probed('failed', nowMs)).toBe(true)
    }
    expect(times).toEqual([1_000, 2_000, 4_000, 8_000, 10_000, 10_000])
  })

  it('is closed by a probe that succeeds, with nothing held against the origin', () => {
    const breaker = opened()
    expect(breaker.probed('ok', 51_000)).toBe(false)
    expect([breaker.state(51_000), breaker.retryAfterMs(51_000)]).toEqual(['closed', 0])
    expect(breaker.report(0, 9, 51_000)).toBe(false)
    expect(breaker.report(0, 1, 51_000)).toBe(true)
    expect(breaker.retryAfterMs(51_000)).toBe(1_000)
  })

  it('takes no notice of a probe that nobody sent', () => {
    const breaker = new Breaker(TERMS)
    expect(breaker.probed('failed', 50_000)).toBe(false)
    expect([breaker.state(50_000), breaker.changes]).toEqual(['closed', 0])
  })

  it('counts its changes, so that others can be told of each', () => {
    const breaker = opened()
    expect(breaker.changes).toBe(1)
    breaker.probed('failed', 51_000)
    breaker.probed('ok', 53_000)
    expect(breaker.changes).toBe(3)
  })

  it('may be taken over from whoever kept it before, for the longest time told', () => {
    const breaker = new Breaker(TERMS)
    breaker.adopt(700, 50_000)
    breaker.adopt(400, 50_000)
    expect([breaker.state(50_699), breaker.state(50_700)]).toEqual(['open', 'half-open'])
    breaker.adopt(Number.POSITIVE_INFINITY, 50_000)
    expect(breaker.retryAfterMs(50_000)).toBe(10_000)
  })
})
