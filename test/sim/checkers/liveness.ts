import { type Checker, type SettledState, Violation } from './checker.ts'

/** After the faults end nothing hangs, every read succeeds, and all members answer the same of a key. */
export function liveness(): Checker {
  return {
    settled: ({ pending, finalReads }: SettledState) => {
      if (pending > 0) throw new Violation('everything settles', `${pending} calls have not come back`)
      const answers = new Map<string, number | undefined>()
      for (const { member, cache, key, value, failed } of finalReads) {
        const name = `${cache}/${key}`
        if (failed !== undefined) throw new Violation('reads succeed', `member ${member} reading ${name}: ${failed}`)
        if (answers.has(name) && answers.get(name) !== value) {
          throw new Violation('members agree', `${name} is ${answers.get(name)} and, at member ${member}, ${value}`)
        }
        answers.set(name, value)
      }
    }
  }
}
