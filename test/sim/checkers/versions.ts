import type { Entry } from '../../../lib/store/entry.ts'
import { type Calm, type Checker, Violation } from './checker.ts'

/**
 * Versions never go back. What a member stores of a key is always newer than what it stored before, unless it is the
 * same value with another expiry, or it has given the key away meanwhile: then it may be handed what is older, as long
 * as the two sides of a split are not reconciled; and in a stable view a write that begins after another was acknowledged gets the higher version, whoever made it.
 */
export function versionsRise(calm: Calm): Checker & {
  stored(member: object, entry: Entry): void
  gaveAway(member: object): void
} {
  const lastStored = new WeakMap<object, Map<string, Pick<Entry, 'bytes'> & { stamp: number }>>()
  const lastAcked = new Map<string, { version: string; beganMs: number; endedMs: number }>()
  return {
    gaveAway: member => {
      lastStored.delete(member)
    },
    stored: (member, entry) => {
      const versions = lastStored.get(member) ?? new Map()
      lastStored.set(member, versions)
      const name = `${entry.namespace}/${entry.key}`
      const { stamp } = entry.version
      const before = versions.get(name)
      const isTouch = stamp === before?.stamp && Buffer.from(entry.bytes).equals(before.bytes)
      if (before !== undefined && stamp <= before.stamp && !isTouch)
        throw new Violation('versions rise', `${name} stored at ${stamp} after ${before.stamp}`)
      versions.set(name, { stamp, bytes: entry.bytes.slice() })
    },
    called: call => {
      if (call.version === undefined) return
      const name = `${call.cache}/${call.key}`
      const before = lastAcked.get(name)
      if (
        before !== undefined &&
        before.endedMs < call.beganMs &&
        calm.sinceMs() < before.beganMs &&
        call.version <= before.version
      ) {
        throw new Violation('versions rise', `${name} acknowledged ${call.version} after ${before.version}`)
      }
      if (before === undefined || call.endedMs >= before.endedMs)
        lastAcked.set(name, { ...call, version: call.version })
    }
  }
}
