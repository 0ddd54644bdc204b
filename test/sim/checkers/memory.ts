import { type Checker, Violation } from './checker.ts'

/**
 * Invariant 20: what a member stores, copies and marks of deleted keys included, is within its limit after every step
 * of the simulator, and not only when the dust has settled.
 */
export function memoryIsBounded(): Checker {
  return {
    overfull: (member, bytes, bytesMax) => {
      throw new Violation('memory bound', `member ${member} holds ${bytes} bytes of ${bytesMax}`)
    }
  }
}
