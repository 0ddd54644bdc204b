import { type Calm, type Checker, type ClientCall, Violation } from './checker.ts'

/**
 * An iteration tells every key that was there the whole time, and none twice: in a stable view, those whose last set
 * was acknowledged before it began, unless something was deleted since.
 */
export function keysAreComplete(calm: Calm): Checker {
  const sets = new Map<string, ClientCall>()
  let lastDeleteMs = 0
  let deleting = 0
  const isDelete = ({ kind, cache }: Pick<ClientCall, 'kind' | 'cache'>): boolean =>
    kind === 'delete' && cache === 'plain'
  return {
    began: call => {
      if (isDelete(call)) deleting++
    },
    called: call => {
      if (isDelete(call)) {
        // One that failed may still be on its way: nothing is judged any more.
        if (call.failed === undefined) deleting--
        lastDeleteMs = call.endedMs
      }
      if (call.kind === 'set' && call.cache === 'plain' && call.failed === undefined) sets.set(call.key, call)
      if (call.kind !== 'keys' || call.listed === undefined) return
      const listed = new Set(call.listed)
      if (listed.size !== call.listed.length) throw new Violation('keys once', `told ${call.listed.join(' ')}`)
      for (const [key, set] of sets) {
        const isThere = set.endedMs < call.beganMs && set.beganMs > Math.max(calm.sinceMs(), lastDeleteMs)
        if (isThere && deleting === 0 && !listed.has(key))
          throw new Violation('no key missed', `${key}, set at ${set.endedMs}, is not in ${call.listed.join(' ')}`)
      }
    }
  }
}
