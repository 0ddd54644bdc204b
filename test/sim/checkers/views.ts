import { type Checker, type SettledState, Violation } from './checker.ts'

/** After the faults end, every live member sees exactly the live members. */
export function viewsConverge(): Checker {
  return {
    settled: ({ views, live }: SettledState) => {
      const expected = [...live].sort().join(' ')
      for (const [member, seen] of views) {
        const actual = [...seen].sort().join(' ')
        if (actual !== expected)
          throw new Violation('views converge', `${member} sees [${actual}], alive are [${expected}]`)
      }
    }
  }
}
