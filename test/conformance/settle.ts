/** Lets time pass, real or simulated, until the condition holds; fails and says `what` when it does not in time. */
export type Settle = (condition: () => boolean, what: string) => Promise<void>

const REAL_MS_MAX = 10_000
const POLL_MS = 2

/** For adapters that live in real time: looks often, and gives up late. */
export const settleInRealTime: Settle = async (condition, what) => {
  for (const endMs = performance.now() + REAL_MS_MAX; performance.now() < endMs; ) {
    if (condition()) return
    await new Promise(resolve => setTimeout(resolve, POLL_MS))
  }
  throw new Error(`did not happen within ${REAL_MS_MAX} ms: ${what}`)
}

/** Awaits a promise that needs time to pass, which simulated time does only while somebody lets it. */
export async function during<T>(settle: Settle, promise: Promise<T>, what: string): Promise<T> {
  let settled = false
  const mark = () => {
    settled = true
  }
  promise.then(mark, mark)
  await settle(() => settled, what)
  return promise
}
