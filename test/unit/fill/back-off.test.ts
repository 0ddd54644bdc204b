import { beforeEach, describe, expect, it } from 'vitest'
import { BackOffs } from '../../../lib/fill/back-off.ts'
import type { Outcome } from '../../../lib/rpc/messages.ts'
import { ManualClock } from '../rpc/manual-clock.ts'

const DOWN: Outcome = { code: 'ERR_MESH_LOAD', bytes: new Uint8Array(0), failure: '{}' }
let clock: ManualClock
let backOffs: BackOffs

beforeEach(() => {
  clock = new ManualClock()
  backOffs = new BackOffs(clock)
})

const fail = (key = 'k', baseMs = 100): void => backOffs.failed('n', key, DOWN, baseMs)

describe('keys whose load has failed', () => {
  it('are left alone until their time is over', () => {
    fail()
    clock.pass(99)
    expect(backOffs.of('n', 'k')).toMatchObject({ failures: 1, leftMs: 1, last: DOWN })
    expect([backOffs.of('n', 'other'), backOffs.of('m', 'k')]).toEqual([undefined, undefined])
    clock.pass(1)
    expect(backOffs.of('n', 'k')).toBeUndefined()
  })

  it('are left alone twice as long with each failure in a row, up to 5 s, or what was asked for', () => {
    const waits = []
    for (let i = 0; i < 8; i++) {
      fail()
      waits.push(backOffs.of('n', 'k')?.leftMs)
      clock.pass(5_000)
    }
    expect(waits).toEqual([100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000])
    fail('slow', 20_000)
    expect(backOffs.of('n', 'slow')?.leftMs).toBe(20_000)
  })

  it('begin anew after a success, and after a minute', () => {
    fail()
    backOffs.forget('n', 'k')
    fail()
    expect(backOffs.of('n', 'k')?.failures).toBe(1)
    clock.pass(60_200)
    fail()
    expect(backOffs.of('n', 'k')?.failures).toBe(1)
  })

  it('are not left alone where that was not wanted', () => {
    fail('k', 0)
    expect([backOffs.of('n', 'k'), backOffs.size]).toEqual([undefined, 0])
  })

  it('are 10,000 at most: the one that failed longest ago gives way', () => {
    for (let i = 0; i < 10_000; i++) fail(`k${i}`)
    fail('k0')
    fail('last')
    expect(backOffs.size).toBe(10_000)
    expect([backOffs.of('n', 'k0') === undefined, backOffs.of('n', 'k1') === undefined]).toEqual([false, true])
  })

  it('are fewer where their failures say much: what they say is bounded too', () => {
    const long = { ...DOWN, failure: 'x'.repeat(8_192) }
    for (let i = 0; i < 600; i++) backOffs.failed('n', `k${i}`, long, 100)
    expect(backOffs.size).toBe(512)
    expect([backOffs.of('n', 'k87') === undefined, backOffs.of('n', 'k88') === undefined]).toEqual([true, false])
    for (let i = 0; i < 600; i++) backOffs.forget('n', `k${i}`)
    for (let i = 0; i < 600; i++) fail(`k${i}`)
    expect(backOffs.size).toBe(600)
  })

  it('are forgotten by cache and prefix', () => {
    for (const key of ['sa', 'sb']) fail(key)
    backOffs.forgetMatching('n', key => key === 'sa')
    backOffs.forgetMatching('m', () => true)
    expect([backOffs.of('n', 'sa') === undefined, backOffs.of('n', 'sb') === undefined]).toEqual([true, false])
  })
})
