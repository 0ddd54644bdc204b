/**
 * What an application is told of partitions that change hands: when a round of it has ended, and when a member leaves.
 */

/** What a round has brought to this member. */
export interface Moved {
  readonly partitions: number
  readonly records: number
  readonly bytes: number
}

/** What a member that left has handed over, and what nobody had taken when its time was up. */
export interface Left extends Moved {
  readonly left: { readonly partitions: number; readonly records: number }
}
