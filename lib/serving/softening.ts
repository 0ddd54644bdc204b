/**
 * A soft clear at one member: all that it owns of a cache under a prefix, or under a tag, is stale from now on, and not
 * gone.
 *
 *   loads that run are fenced ─▶ key by key, in slices, each as a soft delete ─▶ answered when the last is done
 *
 * A clear drops by a stamp, and what is below it may be dropped at any time. What is made stale needs a new version and
 * the time of this moment, so it is done record by record, which takes a while where there are many: in slices, between
 * which others are served. What is written or loaded meanwhile may be made stale too.
 *
 * Not promised: keys that change their owner while it runs, for the new owner may have been here before they came; and
 * that backups know when it is answered. They hear of it a moment later.
 */
import { isInRange, type KeyRange, rangeOf } from '../codec/keys.ts'
import { decodeTags, NO_TAGS } from '../codec/tags.ts'
import type { Clock } from '../ports/clock.ts'
import { CACHE_ONLY, type ChangeOf, type Reply } from '../rpc/messages.ts'
import type { Entry } from '../store/entry.ts'
import { ALL_CACHES } from '../store/floor.ts'
import type { Store } from '../store/store.ts'
import type { MeshClock } from '../store/version.ts'
import type { Owner } from './owner.ts'

/** So many are asked for at a time; more would be a mistake, and each holds a list of partitions. */
const WALKS_MAX = 16
const RECORDS_PER_SLICE = 256
const SLICE_PAUSE_MS = 1
const BEGINNING = { namespace: '', key: '' } as const

export interface SofteningDeps {
  readonly owner: Pick<Owner, 'perform' | 'fills'>
  readonly store: Pick<Store, 'heldPartitions' | 'versionsIn' | 'entry'>
  readonly clock: Clock
  readonly meshClock: MeshClock
  readonly owns: (partition: number) => boolean
}

type Clear = Pick<ChangeOf<'clear'>, 'kind' | 'namespace' | 'texts'>

/** Which records: of a cache or of all, whose keys begin so, and what else is true of them. */
interface Meant {
  readonly namespace: string
  readonly range: KeyRange
  readonly isMeant: (entry: Entry) => boolean
}

export class Softening {
  readonly #deps: SofteningDeps
  #walks = 0

  constructor(deps: SofteningDeps) {
    this.#deps = deps
  }

  clear(clear: Clear, respond: (reply: Reply) => void): void {
    if (this.#walks >= WALKS_MAX) return respond({ type: 'overloaded' })
    this.#walks++
    respond({ type: 'waiting' })
    this.#walk(this.#begin(clear), this.#deps.store.heldPartitions(), () => {
      this.#walks--
      respond(this.#deps.owner.perform({ type: 'clear', ...clear, stamp: 0, soft: true }))
    })
  }

  /** What loads that run bring is not kept, of a tag if it has it; what is here is to be looked at. */
  #begin({ kind, namespace, texts }: Clear): Meant {
    const { fills } = this.#deps.owner
    if (kind === 'tag') {
      fills.tagsInvalidated(namespace, texts)
      const isMeant = ({ keeping }: Entry): boolean => {
        const tags = decodeTags(keeping?.tags ?? NO_TAGS)
        return texts.some(text => tags.includes(text))
      }
      return { namespace, range: rangeOf(''), isMeant }
    }
    const range = rangeOf(texts[0] ?? '')
    fills.changedMatching(namespace, key => isInRange(key, range))
    return { namespace, range, isMeant: () => true }
  }

  #walk(what: Meant, partitions: number[], onDone: () => void): void {
    let looked = 0
    while (looked < RECORDS_PER_SLICE) {
      const partition = partitions.pop()
      if (partition === undefined) return onDone()
      looked += this.#softenIn(partition, what)
    }
    this.#deps.clock.after(SLICE_PAUSE_MS, () => this.#walk(what, partitions, onDone))
  }

  /** Says how many records it has looked at: some sixty where a member holds a million. */
  #softenIn(partition: number, { namespace, range, isMeant }: Meant): number {
    const { owner, store, owns, meshClock } = this.#deps
    if (!owns(partition)) return 1
    const listed = store.versionsIn(partition, 0, BEGINNING, Number.POSITIVE_INFINITY)
    for (const { namespace: of, key } of listed) {
      if ((of !== namespace && namespace !== ALL_CACHES) || !isInRange(key, range)) continue
      const entry = store.entry(of, key)
      if (entry?.kind !== 'value' || entry.expiresAtMs <= meshClock.now() || !isMeant(entry)) continue
      const copying = { backups: entry.backups, backupAcks: 0 }
      owner.perform({ type: 'remove', namespace: of, key, soft: true, row: '', ...copying, ...CACHE_ONLY })
    }
    return 1 + listed.length
  }
}
