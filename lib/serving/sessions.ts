/**
 * What this member has seen of each partition: the highest stamp among the values it has read and the changes it has
 * made. A copy is asked for with it, and one that has not come as far says nothing; so nobody here reads what is older
 * than its own write, or than what it has read already, because a backup answered.
 *
 * A stamp for a partition and not for a key: 128 KiB and one comparison, however many keys there are. A backup takes in
 * what its primary sends in the order in which it was made, so one that has come as far in the partition has that of
 * every key in it.
 *
 * Not covered, each until the primary answers again: values read by getMany, which come without a stamp; sums of
 * counters, the same; a load whose lease is older than what was seen of another key, and which its backup has not been
 * sent yet. And a primary that answers with something older, as the other side of a split may after it has healed, is
 * believed: it decides.
 */
import { PARTITIONS } from '../placement/partitions.ts'

export class Sessions {
  #stamps: Float64Array | undefined

  saw(partition: number, stamp: number): void {
    this.#stamps ??= new Float64Array(PARTITIONS)
    if (stamp > (this.#stamps[partition] as number)) this.#stamps[partition] = stamp
  }

  floorOf(partition: number): number {
    return this.#stamps?.[partition] ?? 0
  }
}
