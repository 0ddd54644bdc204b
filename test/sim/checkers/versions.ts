import type { Entry } from '../../../lib/store/entry.ts'
import type { Store } from '../../../lib/store/store.ts'
import { isNewer } from '../../../lib/store/version.ts'
import type { StoreWatcher } from '../watch.ts'
import { isWrite } from './changes.ts'
import { type Calm, type Checker, Violation } from './checker.ts'

/**
 * Invariant 1: versions never go back. What a member holds of a key only becomes newer; the same version is the same
 * value, perhaps with another expiry, or the mark that it was given up. It may hold an older one only after it has given the key away or up: on somebody's
 * word, for want of room, or because its time was over. And in a stable view a write that begins after another was
 * acknowledged gets the higher version, whoever made it.
 */
export function versionsRise(calm: Calm, givenUpOf: (store: Store) => GivenUp): Checker & StoreWatcher {
  const held = new WeakMap<Store, Map<string, Held>>()
  const lastAcked = new Map<string, { version: string; beganMs: number; endedMs: number }>()
  return {
    dropped: store => {
      held.delete(store)
    },
    written: (store, before, after) => {
      if (after === undefined) return
      const known = held.get(store) ?? new Map<string, Held>()
      const givenUp = givenUpOf(store)
      held.set(store, known)
      const name = `${after.namespace}/${after.key}`
      const last = before ?? remembered(known.get(name), givenUp)
      if (last !== undefined && isBack(after, last))
        throw new Violation('versions rise', `${name} is ${told(after)} after ${told(last)}`)
      known.set(name, { entry: { ...after, bytes: after.bytes.slice() }, records: givenUp.records })
    },
    called: call => {
      if (call.version === undefined || !isWrite(call)) return
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

/** What a member has given up by itself. */
export interface GivenUp {
  /** How many records so far. */
  readonly records: number
  /** What its clock shows, by which records are over. */
  readonly nowMs: number
}

interface Held {
  readonly entry: Entry
  /** How many had been given up by then. */
  readonly records: number
}

/** What it held last, although it does not any more, unless it may have made room for others, or its time is over. */
function remembered(last: Held | undefined, { records, nowMs }: GivenUp): Entry | undefined {
  return last !== undefined && last.records === records && last.entry.expiresAtMs > nowMs ? last.entry : undefined
}

function isBack(now: Entry, before: Entry): boolean {
  if (isNewer(before.version, now.version)) return true
  const isSame = !isNewer(now.version, before.version)
  return isSame && now.kind === before.kind && !Buffer.from(now.bytes).equals(before.bytes)
}

function told({ kind, version }: Entry): string {
  return `${kind} ${version.stamp} by ${version.writer}`
}
