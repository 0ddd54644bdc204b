import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CLOCK_DRIFT_MS_MAX, isNewer, MeshClock, parseVersion, versionText } from '../../../lib/store/version.ts'
import { ManualClock } from '../rpc/manual-clock.ts'

function clocks() {
  const clock = new ManualClock()
  return { clock, mesh: new MeshClock(clock) }
}

describe('versions', () => {
  it('sort as text as they sort as versions', () => {
    const version = fc.record({
      stamp: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
      writer: fc.stringMatching(/^[a-z0-9]{1,6}$/)
    })
    fc.assert(
      fc.property(version, version, (a, b) => {
        expect(versionText(a) > versionText(b)).toBe(isNewer(a, b))
      }),
      { numRuns: 2_000 }
    )
  })
})

describe('a mesh clock', () => {
  it('stamps rise, many in a millisecond and after a jump of the wall', () => {
    const { clock, mesh } = clocks()
    let last = 0
    for (let i = 0; i < 10_000; i++) {
      if (i % 1_000 === 0) clock.nowMs += 1
      if (i === 5_000) clock.wallMs -= 86_400_000
      const stamp = mesh.stamp()
      expect(stamp).toBeGreaterThan(last)
      expect(mesh.now() * 4096).toBeGreaterThanOrEqual(stamp)
      last = stamp
    }
  })

  it('is never below a clock it has heard, nor does it go back for a lower one', () => {
    const { mesh } = clocks()
    mesh.stamp()
    const before = mesh.now()
    expect(mesh.hear(before + 30_000)).toBe(true)
    expect(mesh.now()).toBeGreaterThanOrEqual(before + 30_000)
    expect(mesh.hear(before - 86_400_000)).toBe(true)
    expect(mesh.now()).toBeGreaterThanOrEqual(before + 30_000)
    expect(mesh.stamp()).toBeGreaterThan((before + 30_000) * 4096 - 1)
  })

  it('that has stamped nothing adopts the first it hears, once, even a lower one', () => {
    const { mesh } = clocks()
    const before = mesh.now()
    expect(mesh.hear(before - 3_600_000)).toBe(true)
    expect(mesh.now()).toBeCloseTo(before - 3_600_000, 3)
    expect(mesh.hear(before - 7_200_000)).toBe(true)
    expect(mesh.now()).toBeCloseTo(before - 3_600_000, 3)
  })

  it('refuses one too far ahead of its own and of its wall, and is unchanged by it', () => {
    const { mesh } = clocks()
    mesh.stamp()
    const before = mesh.now()
    expect(mesh.hear(before + CLOCK_DRIFT_MS_MAX + 1_000)).toBe(false)
    expect(mesh.now()).toBe(before)
    expect(mesh.hear(before + CLOCK_DRIFT_MS_MAX - 1_000)).toBe(true)
  })

  it.each([1e300, -1, Number.NaN, 2 ** 41])(
    'refuses %f even as the first it hears: stamps must stay exact',
    heardMs => {
      const { mesh } = clocks()
      if (heardMs < 2 ** 41 || heardMs > 2 ** 41) expect(mesh.hear(heardMs)).toBe(false)
      else mesh.hear(heardMs)
      expect(() => mesh.stamp()).not.toThrow()
    }
  )

  it('goes with time', () => {
    const { clock, mesh } = clocks()
    const before = mesh.now()
    clock.pass(1_234)
    expect(mesh.now() - before).toBeCloseTo(1_234, 3)
  })
})

describe('a version as text', () => {
  it('is read back, and nothing else is', () => {
    for (const version of [
      { stamp: 1, writer: 'a' },
      { stamp: Number.MAX_SAFE_INTEGER, writer: '12D3KooW-x-y' },
      { stamp: 7_340_032_000_001, writer: 'with\nline' }
    ])
      expect(parseVersion(versionText(version))).toEqual(version)
    const text = versionText({ stamp: 5, writer: 'a' })
    for (const wrong of [
      undefined,
      null,
      5,
      '',
      'a',
      text.slice(1),
      ` ${text}`,
      '08YK7AEAOOH-a',
      text.slice(0, -1),
      '00000000000-a',
      'zzzzzzzzzzz-a',
      `${text}${'a'.repeat(100)}`
    ])
      expect(parseVersion(wrong), String(wrong)).toBeUndefined()
  })
})

describe('a time of the mesh clock', () => {
  it('is as far away by the wall as it is by the mesh clock, however far the two are apart', () => {
    const clock = new ManualClock()
    const mesh = new MeshClock(clock)
    mesh.hear(mesh.now() + 30_000)
    expect(mesh.wallOf(mesh.now() + 5_000)).toBeCloseTo(clock.wall() + 5_000)
    expect(mesh.wallOf(Number.POSITIVE_INFINITY)).toBe(Number.POSITIVE_INFINITY)
  })
})
