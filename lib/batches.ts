/**
 * Many calls of one turn: what goes to one member travels in one frame. A batch larger than what a member takes at once
 * goes in several turns, each after the one before is answered.
 */
import { PartialError } from './base/errors.ts'
import type { CacheDefinition } from './fill/definition.ts'

/** Far below what may be under way to one member, so that other callers find room too. */
const BATCH_MAX = 4_096
/** Keys of one setMany or deleteMany that are stored in the origin at the same time. */
const STORES_AT_ONCE = 32

export async function inBatches<T, R>(
  items: readonly T[],
  work: (item: T) => Promise<R>,
  atOnce = BATCH_MAX
): Promise<PromiseSettledResult<R>[]> {
  const settled: PromiseSettledResult<R>[] = []
  for (let from = 0; from < items.length; from += atOnce)
    for (const result of await Promise.allSettled(items.slice(from, from + atOnce).map(work))) settled.push(result)
  return settled
}

/** All results in order, or an error that holds what succeeded and what failed, each at its place. */
export function allOrPartial<R>(settled: readonly PromiseSettledResult<R>[], cache: string): R[] {
  const values = settled.map(result => (result.status === 'fulfilled' ? result.value : undefined))
  const errors = new Map<number, Error>()
  settled.forEach((result, i) => {
    if (result.status === 'rejected') errors.set(i, result.reason)
  })
  if (errors.size === 0) return values as R[]
  throw new PartialError(
    `${errors.size} of ${settled.length} keys of cache '${cache}' failed. See values and errors, by position.`,
    values,
    errors,
    { cache }
  )
}

/** Many keys at once are many calls of the application's `store` at once, and an origin has fewer connections than keys. */
export function storesAtOnce({ store, writeBehind }: CacheDefinition): number | undefined {
  return store === undefined || writeBehind !== undefined ? undefined : STORES_AT_ONCE
}
