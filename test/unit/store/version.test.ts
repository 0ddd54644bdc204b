import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CLOCK_DRIFT_MS_MAX, isNewer, MeshClock, versionText } from '../../../lib/store/version.ts'
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
