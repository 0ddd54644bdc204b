import type { Entry } from '../../../lib/store/entry.ts'
import type { Knobs } from '../knobs.ts'
import { type Checker, type Holdings, Violation } from './checker.ts'

/**
 * Invariant 4: in a mesh that has settled all members of a key's replica set hold the same record, marks of deleted
 * keys too, and nobody else holds any. The set are the first ranks of a table made anew from the live members.
 *
 * Who holds none is the business of another checker (`replica-count.ts`).
 */
export function replicasConverge({ pressure }: Pick<Knobs, 'pressure'>): Checker {
  return {
    rested: ({ holdings }) => {
      for (const holding of holdings) judge(holding, pressure)
    }
  }
}

function judge({ cache, key, ranked, held }: Holdings, isShortOfRoom: boolean): void {
  const name = `${cache}/${key}`
  const [first, ...others] = held
  if (first === undefined) return
  for (const [id, entry] of others)
    if (!isSame(entry, first[1]))
      throw new Violation(
        'replicas converge',
        `${name} is ${told(first[1])} at ${first[0]} and ${told(entry)} at ${id}`
      )
  for (const [id, entry] of held) {
    const rank = ranked.indexOf(id)
    if (rank === -1 || rank > entry.backups)
      throw new Violation('only replicas hold', `${id} holds ${told(entry)} of ${name}, whose ranks are ${ranked}`)
  }
  // A primary that has given a record up tells its backups; a backup short of room says nothing of single records.
  if (!held.has(ranked[0] as string) && !isShortOfRoom)
    throw new Violation('replicas converge', `${name} is ${told(first[1])} at ${first[0]} and nothing at ${ranked[0]}`)
}

/** A mark under the version of a value says that this was given up, and stands for it. */
function isSame(a: Entry, b: Entry): boolean {
  const isVersion = a.version.stamp === b.version.stamp && a.version.writer === b.version.writer
  return isVersion && (a.kind !== b.kind || Buffer.from(a.bytes).equals(b.bytes))
}

function told({ kind, version, backups }: Entry): string {
  return `${kind} ${version.stamp} by ${version.writer} (${backups} backups)`
}
