/**
 * A cache, a part of it or what has some tags is cleared at this member: all that is older than a stamp is dead, and what
 * loads that run bring of it is not kept.
 *
 * Which loads those are is known of a part of a cache, and they are closed at once. What has a tag shows when it lands:
 * were all loads of the cache closed for each tag, none of a busy one would ever be kept.
 */
import { isInRange, rangeOf } from '../codec/keys.ts'
import type { Fills } from '../fill/fills.ts'
import type { MessageOf } from '../rpc/messages.ts'
import type { Store } from '../store/store.ts'
import type { RowVersions } from './row-versions.ts'

export interface ClearingDeps {
  readonly fills: Pick<Fills, 'changedMatching' | 'tagsInvalidated'>
  readonly store: Pick<Store, 'addFloor'>
  readonly rows: Pick<RowVersions, 'forgetMatching'>
  readonly atMs: number
}

type Clear = Pick<MessageOf<'clear'>, 'kind' | 'namespace' | 'texts' | 'stamp'>

export function clear({ fills, store, rows, atMs }: ClearingDeps, { kind, namespace, texts, stamp }: Clear): void {
  // Only asks for our clock.
  if (stamp === 0) return
  if (kind === 'tag') fills.tagsInvalidated(namespace, texts)
  for (const text of texts) {
    const range = rangeOf(text)
    if (kind === 'prefix') {
      fills.changedMatching(namespace, key => isInRange(key, range))
      rows.forgetMatching(namespace, key => isInRange(key, range))
    }
    store.addFloor({ kind, namespace, text, stamp, atMs })
  }
}
