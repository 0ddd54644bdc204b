/**
 * A member comes in the middle of a storm: 200 cold keys that everybody asks for, at an origin that takes up to half a
 * second. A key that moves to it while it is loaded may cost a second call, and no key costs a third.
 */
import { describe, expect, it } from 'vitest'
import { KEYS, type Kind, MOVING, originMs, STAYING, STORM_MS, Storm, stormsOf } from './storm.ts'

async function join(seed: number, kind: Kind): Promise<Storm> {
  const storm = new Storm(seed, { size: MOVING + 1, kind, originMs, absent: 1 })
  const { t } = storm
  await t.run('2s')
  storm.begin(STAYING, KEYS, STORM_MS)
  await t.run(storm.dice.float() * STORM_MS)
  t.restart(MOVING)
  // The new one asks for them as well, as soon as it is there.
  void t.sleep('150ms').then(() => storm.begin([MOVING], KEYS, STORM_MS))
  await t.run('25s')
  return storm
}

describe.each(['load', 'getOrSet'] as const)('200 cold keys by %s', kind => {
  it('cost at most two calls each when a member joins in the middle', async () => {
    const storms = await stormsOf(`${kind}, join`, seed => join(seed, kind))
    expect(storms.flatMap(storm => storm.unserved([...STAYING, MOVING]))).toEqual([])
    expect(Math.max(...storms.map(storm => storm.callsMax))).toBeLessThanOrEqual(2)
  })
})
