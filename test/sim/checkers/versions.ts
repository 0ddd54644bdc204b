import type { Entry } from '../../../lib/store/entry.ts'
import { type Calm, type Checker, Violation } from './checker.ts'

/**
 * Versions never go back. What a member stores of a key is always newer than what it stored before, and in a stable
 * view a write that begins after another was acknowledged gets the higher version, whoever made it.
 */
export function versionsRise(calm: Calm): Checker & { stored(member: object, entry: Entry): void } {
  const lastStored = new WeakMap<object, Map<string, number>>()
  const lastAcked = new Map<string, { version: string; beganMs: number; endedMs: number }>()
  return {
    stored: (member, entry) => {
      const versions = lastStored.get(member) ?? new Map<string, number>()
      lastStored.set(member, versions)
      const name = `${entry.namespace}/${entry.key}`
      const before = versions.get(name) ?? 0
      if (entry.version.stamp <= before)
        throw new Violation('versions rise', `${name} stored at ${entry.version.stamp} after ${before}`)
      versions.set(name, entry.version.stamp)
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
