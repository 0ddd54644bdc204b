/**
 * What of a partition that warms may be answered with although not all of it is here: what cannot be older than what
 * another member has.
 *
 *   1. A is primary and has v2 of k, C has v1 of it, left over ─ we join and become primary ─ we pull from C before we
 *      pull from A ─ a read of k that took what is here would bring v1 back.
 *
 * So what was ours to keep before counts, as primary or as one of its backups; what is pulled counts when the partition
 * is warm; and a key that everybody was asked for counts from then on. For all else its holders are asked, whether or
 * not something is here.
 */
import { recordName } from '../base/record-name.ts'
import { PARTITIONS } from '../placement/partitions.ts'
import type { Entry } from '../store/entry.ts'

/** Above all numbers of backups: nothing counts. */
const NOTHING = 127
/** Keys that were asked for; of more, some are asked for again. */
const ASKED_MAX = 10_000

export class Assured {
  /** By partition: records with so many backups or more were ours to keep. */
  readonly #from = new Int8Array(PARTITIONS)
  readonly #asked = new Set<string>()

  /** It has become ours, and until then our rank was this; -1 for none. */
  won(partition: number, rankBefore: number): void {
    this.#from[partition] = rankBefore < 0 ? NOTHING : rankBefore
    // It may have been somebody else's since.
    this.#asked.clear()
  }

  /** Something of it was pulled, from a member that may have been behind. */
  pulled(partition: number): void {
    this.#from[partition] = NOTHING
  }

  asked(namespace: string, key: string): void {
    if (this.#asked.size < ASKED_MAX) this.#asked.add(recordName(namespace, key))
  }

  /** Nothing warms any more. */
  forgetAsked(): void {
    this.#asked.clear()
  }

  covers({ namespace, key, partition, backups }: Pick<Entry, 'namespace' | 'key' | 'partition' | 'backups'>): boolean {
    return backups >= (this.#from[partition] as number) || this.#asked.has(recordName(namespace, key))
  }
}
