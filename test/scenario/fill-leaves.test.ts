/**
 * A member leaves in peace in the middle of a storm: 200 cold keys that everybody asks for, at an origin that takes up
 * to half a second. That costs no key a second call: what it was loading for others, and what others were loading under
 * its leases, is finished and handed to all who wait.
 */
import { describe, expect, it } from 'vitest'
import { KEYS, type Kind, MOVING, originMs, STAYING, STORM_MS, Storm, stormsOf } from './storm.ts'

/** All ask before the leave; with `isGoingOn` those who stay ask again during it and after it. */
async function leave(seed: number, kind: Kind, isGoingOn: boolean): Promise<Storm> {
  const storm = new Storm(seed, { size: MOVING + 1, kind, originMs })
  const { t } = storm
  await t.run('2s')
  const beforeMs = 40 + storm.dice.float() * 400
  storm.begin([...STAYING, MOVING], KEYS, beforeMs)
  if (isGoingOn) void t.sleep(beforeMs).then(() => storm.begin(STAYING, KEYS, STORM_MS))
  await t.run(beforeMs)
  const leaver = t.meshes[MOVING]
  void leaver?.leave().then(() => t.crash(MOVING))
  await t.run('25s')
  expect(leaver?.state).toBe('left')
  return storm
}

describe.each(['load', 'getOrSet'] as const)('200 cold keys by %s', kind => {
  it('cost one call each when a member leaves while all wait', async () => {
    const storms = await stormsOf(`${kind}, leave`, seed => leave(seed, kind, false))
    expect(storms.flatMap(storm => storm.unserved(STAYING))).toEqual([])
    expect(Math.max(...storms.map(storm => storm.callsMax))).toBe(1)
  })

  it('cost one call each when a member leaves and the storm goes on', async () => {
    const storms = await stormsOf(`${kind}, leave while the storm goes on`, seed => leave(seed, kind, true))
    expect(storms.flatMap(storm => storm.unserved(STAYING))).toEqual([])
    expect(Math.max(...storms.map(storm => storm.callsMax))).toBe(1)
  })
})
