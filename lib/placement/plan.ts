/**
 * From one table to the next: which partitions change their primary.
 *
 * Primaries only, because only who decides for a key moves with them; a backup that comes or goes is a copy more or
 * less. Both tables are pure functions of their members, so everybody who has seen both views has the same plan and
 * nobody has to be told.
 *
 * Not promised: that `from` is still there, nor that `to` has the data.
 */
import type { Table } from './table.ts'

export interface Move {
  readonly partition: number
  /** Undefined where nobody owned anything, or nobody does now. */
  readonly from: string | undefined
  readonly to: string | undefined
}

/** The moves in the order of partitions. */
export function plan(before: Table, after: Table): Move[] {
  const moves: Move[] = []
  if (before === after) return moves
  after.eachMoved(before, (partition, from, to) => moves.push({ partition, from, to }))
  return moves
}
