/**
 * Members that were kept apart for longer than deletes are remembered, and what they may not bring back (PROTOCOL T3).
 *
 * A delete leaves a tombstone, and those are kept for `tombstoneTtl`. A member that comes back later than that may hold
 * what was deleted long ago, and nobody would know. So of two sides that meet again after such a time, the smaller one
 * gives up all that is older than the separation. Each side counts by what both have known: those it had before and
 * still has, against those it has lost since; who is unsure, because some of the lost have simply died, gives up.
 *
 *   sides C and D, of those who knew each other: C stays if it has lost fewer than it has kept. What C has lost includes
 *   all of D, and what D has lost all of C, so both cannot stay; that both give up costs misses and nothing else.
 *
 * Who came to the smaller side meanwhile knows nobody of the other, and is made equal by whoever it has its records from.
 *
 * Not promised: that a delete made on the smaller side of so long a split outlives it, and that what such a newcomer
 * brings as a primary was not deleted on the larger side.
 */
import type { PeerId } from '../ports/transport.ts'

/** Of members that went and never came back; the oldest go first. */
const REMEMBERED_MAX = 1_024
const REMEMBERED_MS = 24 * 3_600_000
/** By then what two sides held has been compared. */
const RECONCILED_MS = 5 * 60_000

interface Known {
  readonly boot: number
  /** When it was first seen, and when it went; by the mesh clock. */
  readonly sinceMs: number
  goneMs: number | undefined
  /** The last time it was away: since when, and when it came back. */
  apartMs?: number | undefined
  backMs?: number | undefined
}

export interface Who {
  readonly id: PeerId
  readonly boot: number
}

export class Absences {
  readonly #self: PeerId
  readonly #horizonMs: number
  readonly #known = new Map<PeerId, Known>()

  constructor(self: PeerId, horizonMs: number) {
    this.#self = self
    this.#horizonMs = horizonMs
  }

  went({ id, boot }: Who, nowMs: number): void {
    const known = this.#known.get(id)
    // Last in the map: the oldest absences are the first of it.
    this.#known.delete(id)
    this.#known.set(id, { boot, sinceMs: known?.boot === boot ? known.sinceMs : 0, goneMs: nowMs })
    for (const [other, { goneMs }] of this.#known) {
      const isOld = goneMs !== undefined && nowMs - goneMs > REMEMBERED_MS
      if (goneMs !== undefined && (isOld || this.#known.size > REMEMBERED_MAX)) this.#known.delete(other)
      else if (goneMs !== undefined) break
    }
  }

  /** Took its leave: nothing of it comes back. */
  left(id: PeerId): void {
    this.#known.delete(id)
  }

  /**
   * It is here, again or for the first time. Answers with the time, by the mesh clock, before which what we hold is to be
   * given up; undefined where nothing is.
   */
  came({ id, boot }: Who, nowMs: number): number | undefined {
    const known = this.#known.get(id)
    const sameProcess = known?.boot === boot
    this.#known.delete(id)
    const goneMs = sameProcess ? known.goneMs : undefined
    const yieldsMs = goneMs !== undefined && nowMs - goneMs > this.#horizonMs && this.#isSmaller(id, goneMs)
    const apart = goneMs === undefined ? {} : { apartMs: goneMs, backMs: nowMs }
    this.#known.set(id, { boot, sinceMs: sameProcess ? known.sinceMs : nowMs, goneMs: undefined, ...apart })
    return yieldsMs === true ? goneMs : undefined
  }

  /** Since when it was away, if it has come back of late: what both have written since is newer than what they shared. */
  apartSince(id: PeerId, nowMs: number): number | undefined {
    const { apartMs, backMs = 0 } = this.#known.get(id) ?? {}
    return nowMs - backMs > RECONCILED_MS ? undefined : apartMs
  }

  /** Of those who were here before, have we lost as many as we have kept, or more? */
  #isSmaller(returning: PeerId, separatedMs: number): boolean {
    let kept = 1
    let lost = 1
    let lowest = this.#self
    let lowestLost = returning
    for (const [id, { sinceMs, goneMs }] of this.#known) {
      if (sinceMs >= separatedMs) continue
      if (goneMs === undefined) {
        kept++
        if (id < lowest) lowest = id
      } else {
        lost++
        if (id < lowestLost) lowestLost = id
      }
    }
    return lost === kept ? lowestLost < lowest : lost > kept
  }
}
