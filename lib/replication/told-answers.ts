/**
 * Whom we have answered of late, for those who keep copies only now. It does not lie in the records, and one of them may
 * be the next owner before a change that was made is sent again:
 *
 *   A makes it, and dies with its answer ─ B, its copy, remembers it, and is the owner ─ B dies ─ it is sent to C.
 *
 * Not promised: that C knows of it where B dies before it has seen that A did, or where the link from B to C is down at
 * that moment or lost with it. Beyond so many answers the rest are not told, and counted.
 */
import type { Table } from '../placement/table.ts'
import type { PeerId } from '../ports/transport.ts'
import type { Answered } from '../rpc/replica-talk.ts'

/** Told at once: with a page of a pull, with an offer, or to one who keeps copies only now. */
export const ANSWERS_MAX = 4_096

export type KnownAnswer = Answered & {}
export type AnswersIn = (partitions: ReadonlySet<number>, most: number) => readonly KnownAnswer[]

export interface Telling {
  readonly self: PeerId
  readonly answersIn: AnswersIn
  /** Members under whose names there is another process now. */
  readonly renewed: ReadonlySet<PeerId>
}

export function answersToTell(before: Table, after: Table, telling: Telling): ReadonlyMap<PeerId, KnownAnswer[]> {
  const { self, answersIn, renewed } = telling
  const byPeer = new Map<PeerId, KnownAnswer[]>()
  for (const answer of answersIn(new Set(after.ownedBy(self)), ANSWERS_MAX)) {
    const { partition } = answer
    const isWon = before.at(partition, 0) !== self
    for (let rank = 1; rank < after.ranks; rank++) {
      const peer = after.at(partition, rank) as PeerId
      if (!isWon && !renewed.has(peer) && before.rankOf(peer, partition) >= 0) continue
      const answers = byPeer.get(peer) ?? []
      byPeer.set(peer, answers)
      answers.push(answer)
    }
  }
  return byPeer
}
