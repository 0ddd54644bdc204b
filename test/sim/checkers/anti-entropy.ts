import { type Checker, Violation } from './checker.ts'

/**
 * Invariant 24: repair comes to an end. In a mesh that has settled and is left alone no record is pulled, pushed or
 * repaired any more, whatever was evicted and whatever has expired: two members that each mend what the other has given
 * up for good would do so for ever.
 */
export function antiEntropyEnds(): Checker {
  return {
    leftAlone: (before, after, ms) => {
      for (const { member, id, moved } of after) {
        const begun = before.find(one => one.member === member && one.id === id)
        if (begun !== undefined && moved > begun.moved)
          throw new Violation(
            'anti-entropy ends',
            `member ${member} moved ${moved - begun.moved} records in ${ms} ms although nothing had changed`
          )
      }
    }
  }
}
