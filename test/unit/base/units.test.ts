import { describe, expect, it } from 'vitest'
import { isMeshError } from '../../../lib/base/errors.ts'
import { byteCount, durationMs, ttlMs } from '../../../lib/base/units.ts'

describe('durations', () => {
  it.each([
    [1, 1],
    [0.5, 0.5],
    ['500ms', 500],
    ['1.5s', 1_500],
    ['5m', 300_000],
    ['1h', 3_600_000],
    ['7d', 604_800_000]
  ])('%s is %i ms', (text, ms) => {
    expect(durationMs(text, 'ttl')).toBe(ms)
  })

  it.each([
    0,
    '0s',
    -1,
    '-1s',
    Number.NaN,
    Number.POSITIVE_INFINITY,
    '',
    '5',
    's',
    '5 m',
    '5M',
    '1h30m',
    '1e3s',
    null,
    undefined,
    true,
    {},
    [],
    5n,
    'forever'
  ])('%s is refused, with what to write instead', value => {
    try {
      durationMs(value, 'ttl of cache')
      expect.unreachable()
    } catch (error) {
      expect(isMeshError(error, 'ERR_MESH_OPTION')).toBe(true)
      expect((error as Error).message).toMatch(
        /^Expected ttl of cache to be a duration above 0, got .+ Write milliseconds or a text like '500ms'/
      )
    }
  })

  it('may be 0 where 0 means something', () => {
    expect(durationMs(0, 'negativeTtl', 'zero')).toBe(0)
    expect(durationMs('0ms', 'negativeTtl', 'zero')).toBe(0)
    expect(() => durationMs(-1, 'negativeTtl', 'zero')).toThrow('of 0 or more')
  })

  it("a ttl may be 'forever'", () => {
    expect(ttlMs('forever', 'ttl')).toBe(Number.POSITIVE_INFINITY)
    expect(() => ttlMs('always', 'ttl')).toThrow("ttl (or 'forever')")
  })
})

describe('sizes', () => {
  it.each([
    [1, 1],
    ['1b', 1],
    ['64kb', 65_536],
    ['1.5kb', 1_536],
    ['2mb', 2_097_152],
    ['1gb', 1_073_741_824]
  ])('%s is %i bytes', (text, bytes) => {
    expect(byteCount(text, 'memory')).toBe(bytes)
  })

  it.each([0, '0kb', 0.5, -1, '1tb', '1KB', Number.NaN, null, {}])('%s is refused', value => {
    expect(() => byteCount(value, 'memory')).toThrow(
      /^Expected memory to be a size above 0, got .+ Write bytes or a text like/
    )
  })
})
