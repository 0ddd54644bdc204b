/**
 * One page of the keys a member holds: partition by partition, and within a partition in the order of the text. So
 * where to go on is a partition and a key, which means the same at whichever member owns that partition next, and a
 * key that is there the whole time is passed neither over nor twice.
 */
import { isInRange, rangeOf } from '../codec/keys.ts'
import { PARTITIONS } from '../placement/partitions.ts'
import { type MessageOf, PAGE_KEYS_MAX } from '../rpc/messages.ts'
import type { Store } from '../store/store.ts'

/** A page is a small frame, and made in one turn. */
const PAGE_CHARACTERS_MAX = 16 * 1024
const PARTITIONS_PER_PAGE_MAX = 4_096

export interface PageSource {
  readonly store: Store
  readonly owns: (partition: number) => boolean
  readonly nowMs: () => number
}

export function pageOf({ store, owns, nowMs }: PageSource, ask: MessageOf<'keys'>): MessageOf<'page'> {
  const { namespace, prefix, partition: from, after } = ask
  const range = rangeOf(prefix)
  // Both halves of the range begin like this.
  const beginning = range.exact === undefined ? range.under : range.exact.slice(0, -1)
  const keys: string[] = []
  const atMs = nowMs()
  let characters = 0
  let looked = 0
  for (let partition = from; partition < PARTITIONS; partition++) {
    if (!owns(partition)) continue
    if (++looked > PARTITIONS_PER_PAGE_MAX) return { type: 'page', keys, partition, after: '' }
    const passed = partition === from ? after : ''
    const here: string[] = []
    for (const key of store.keysIn(namespace, partition, beginning, atMs))
      if (key > passed && isInRange(key, range)) here.push(key)
    for (const key of here.sort()) {
      const isFull = keys.length >= PAGE_KEYS_MAX || characters + key.length > PAGE_CHARACTERS_MAX
      // A page has room for a key of any size, so it is never empty and full.
      if (isFull) return { type: 'page', keys, ...placeBefore(keys, partition, here, passed) }
      keys.push(key)
      characters += key.length
    }
  }
  return { type: 'page', keys, partition: PARTITIONS, after: '' }
}

/** Go on in this partition, after the last of its keys that found room. */
function placeBefore(
  keys: readonly string[],
  partition: number,
  here: readonly string[],
  passed: string
): { partition: number; after: string } {
  const last = keys.at(-1)
  return { partition, after: last !== undefined && here.includes(last) ? last : passed }
}
