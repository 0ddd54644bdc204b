/**
 * Waits until what was changed here until now is held by so many backups: every stream has come past the place where it
 * stands now, and every partition with something to copy has so many backups that are level. What was ours a moment ago
 * counts until its owner of now has said that it has it: were we to die first, nobody else would.
 */
import type { Table } from '../placement/table.ts'
import type { Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import { ACKS_ALL } from '../rpc/words.ts'
import type { Store } from '../store/store.ts'
import type { MeshClock } from '../store/version.ts'
import type { Backups } from './backups.ts'
import type { Offers } from './offers.ts'

/** Whoever asks for longer asks again. */
const FLUSH_MS_MAX = 60_000
const LOOK_AGAIN_MS = 10

export interface Reached {
  readonly acked: number
  readonly wanted: number
}

export interface FlushDeps {
  readonly self: PeerId
  readonly clock: Clock
  readonly meshClock: MeshClock
  readonly store: Store
  readonly table: () => Table
  readonly backups: Backups
  readonly offers: Offers
}

export async function flushed(deps: FlushDeps, acks: number, untilMs: number): Promise<Reached> {
  const { backups, clock, meshClock } = deps
  const endMs = Math.min(untilMs, meshClock.now() + FLUSH_MS_MAX)
  const places = backups.streams.map(stream => ({ stream, position: stream.position }))
  const isSent = (): boolean => places.every(({ stream, position }) => stream.ended >= position || stream.isIdle)
  for (;;) {
    const reached = isSent() ? reachedIn(deps, acks) : { acked: 0, wanted: acks === ACKS_ALL ? 1 : acks }
    if (reached.acked >= reached.wanted || meshClock.now() >= endMs) return reached
    backups.compareOpen()
    await new Promise<void>(resolve => clock.after(LOOK_AGAIN_MS, resolve))
  }
}

/** How many backups all partitions have that are to have some; as many as there can be count as all. */
function reachedIn({ store, table, self, backups, offers }: FlushDeps, acks: number): Reached {
  const all = acks === ACKS_ALL ? 0 : acks
  let reached = { acked: all, wanted: all }
  for (const partition of store.heldPartitions()) {
    if (store.countOf(partition, 1) > 0 && offers.isUnproved(partition)) return { acked: 0, wanted: all || 1 }
    if (table().at(partition, 0) !== self || store.countOf(partition, 1) === 0) continue
    const wanted = acks === ACKS_ALL ? backups.copiesWanted(partition) : acks
    const acked = Math.min(wanted, backups.copiesOf(partition))
    if (wanted - acked > reached.wanted - reached.acked) reached = { acked, wanted }
  }
  return reached
}
