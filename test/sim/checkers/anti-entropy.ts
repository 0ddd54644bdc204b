import type { Knobs } from '../knobs.ts'
import { type Checker, Violation } from './checker.ts'

/**
 * Invariant 24: repair comes to an end. In a mesh that has settled and is left alone no record is pulled, pushed or
 * repaired any more, whatever was evicted and whatever has expired: two members that each mend what the other has given
 * up for good would do so for ever.
 *
 * Members that are short of room may take once what they had to refuse before, as soon as something has expired; not
 * again and again.
 */
export function antiEntropyEnds({ pressure }: Pick<Knobs, 'pressure'>): Checker {
  /** One for each member that has moved anything in one stretch of time. */
  let spells = 0
  return {
    leftAlone: (before, after, ms) => {
      for (const { member, id, moved } of after) {
        const begun = before.find(one => one.member === member && one.id === id)
        if (begun === undefined || moved <= begun.moved) continue
        if (!pressure || ++spells > after.length)
          throw new Violation(
            'anti-entropy ends',
            `member ${member} moved ${moved - begun.moved} records in ${ms} ms although nothing had changed`
          )
      }
    }
  }
}
