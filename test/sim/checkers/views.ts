import { type Checker, type Views, Violation } from './checker.ts'

/** After the faults end, every live member sees exactly the live members. Where they do not, all else is wrong too. */
export function viewsConverge(): Checker {
  return {
    united: ({ views, live }: Views) => {
      const expected = [...live].sort().join(' ')
      for (const [member, seen] of views) {
        const actual = [...seen].sort().join(' ')
        if (actual !== expected)
          throw new Violation('views converge', `${member} sees [${actual}], alive are [${expected}]`)
      }
    }
  }
}
