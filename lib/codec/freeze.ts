/**
 * Values that callers share. What can be frozen is frozen, all the way down; what cannot be is not shared.
 *
 * Freezing does not stop a Map, a Set or a Date from changing, and throws on bytes. A value with one of those in it is
 * decoded anew for each caller, as if it were not frozen at all.
 */

/** Frozen where it holds objects and arrays only; true when the whole of it is. */
export function freeze(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true
  // Frozen by whoever made it, and nobody knows how deep; or seen before, in a circle.
  if (Object.isFrozen(value) || !isSound(value)) return false
  Object.freeze(value)
  let isWhole = true
  for (const part of Object.values(value)) isWhole = freeze(part) && isWhole
  return isWhole
}

function isSound(value: object): boolean {
  return !(
    value instanceof Map ||
    value instanceof Set ||
    value instanceof Date ||
    value instanceof ArrayBuffer ||
    ArrayBuffer.isView(value)
  )
}
