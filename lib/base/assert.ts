/** A check of our own reasoning, on in production: a broken invariant must stop the call, not spread. */
export function assert(condition: unknown, invariant: string): asserts condition {
  if (!condition)
    throw new Error(`cachemesh invariant broken: ${invariant}. This is a bug in cachemesh, please report it.`)
}
