/**
 * Whose filters count. A filter may say "that id does not exist" only where nobody can have added the id without its
 * hearing of it, and an add is done only when all who might say so have heard. In between stand the members that were
 * lost: nobody can tell one that crashed from one that goes on behind a split.
 *
 *   here ──left──▶ gone
 *     └───lost───▶ lost for GRACE_MS, then gone: it has noticed too, and is in the minority ──▶ it lets all through
 *
 * So for `GRACE_MS` after a loss, and while somebody is suspected, nothing is denied and an add names the lost. After
 * that the majority of those who were here goes on without them, and the minority denies nothing and confirms no add
 * until it is whole again. Of two equal halves the one with the lowest id counts as the majority; else one of two
 * members that crashes would take the filter with it, instead of in one case of two.
 *
 * Somebody who comes may come with a mesh of its own, whose members were told of ids that we were not. They are heard
 * at once; for `JOIN_MS` nothing is denied meanwhile.
 *
 * Not promised: that it holds when a member needs longer than `GRACE_MS` to notice that it has lost the others, or
 * through two splits so close together that members count different ones as lost.
 */
import type { MemberRecord } from '../membership/view.ts'
import type { PeerId } from '../ports/transport.ts'

/** Membership is quicker: whoever cannot be heard is out of every view within five seconds. */
export const GRACE_MS = 5_000
const JOIN_MS = 1_000

/** A member that owns keys, as a view has it. */
export type Listed = Pick<MemberRecord, 'id' | 'status'>

export class Roll {
  #here: ReadonlyMap<PeerId, Listed> = new Map()
  readonly #lostAtMs = new Map<PeerId, number>()
  #calmFromMs = Number.NEGATIVE_INFINITY
  #hasSuspects = false

  /** `owners`: who is here now. `statusOf`: what is known of one that was. */
  update(owners: readonly Listed[], statusOf: (id: PeerId) => Listed['status'] | undefined, nowMs: number): void {
    const before = this.#here
    this.#here = new Map(owners.map(owner => [owner.id, owner]))
    for (const id of before.keys()) {
      // One that has weight 0 now is here, and has given its keys up in its own words.
      if (this.#here.has(id) || statusOf(id) !== 'dead') continue
      this.#lostAtMs.set(id, nowMs)
      this.#calmIn(GRACE_MS, nowMs)
    }
    // A process that was started again under its name is here too: the one of before is surely gone.
    for (const id of this.#here.keys()) {
      this.#lostAtMs.delete(id)
      if (!before.has(id)) this.#calmIn(JOIN_MS, nowMs)
    }
    this.#hasSuspects = owners.some(({ status }) => status === 'suspect')
  }

  /** Those who were lost and may still hold a filter that they trust. */
  lost(nowMs: number): readonly PeerId[] {
    this.#forget(nowMs)
    return [...this.#lostAtMs.keys()]
  }

  /** Nobody's fate is open. */
  isCalm(nowMs: number): boolean {
    return !this.#hasSuspects && nowMs >= this.#calmFromMs
  }

  isMajority(nowMs: number): boolean {
    this.#forget(nowMs)
    return this.#isMajority()
  }

  #calmIn(ms: number, nowMs: number): void {
    this.#calmFromMs = Math.max(this.#calmFromMs, nowMs + ms)
  }

  #forget(nowMs: number): void {
    if (this.#lostAtMs.size === 0 || !this.#isMajority()) return
    const gone = [...this.#lostAtMs].filter(([, atMs]) => nowMs - atMs >= GRACE_MS)
    // Counted before any goes: each that is forgotten would make the rest a larger share.
    for (const [id] of gone) this.#lostAtMs.delete(id)
  }

  #isMajority(): boolean {
    const [here, lost] = [this.#here.size, this.#lostAtMs.size]
    if (here !== lost) return here > lost
    return lowest(this.#here.keys()) < lowest(this.#lostAtMs.keys())
  }
}

function lowest(ids: Iterable<PeerId>): PeerId {
  let low: PeerId | undefined
  for (const id of ids) if (low === undefined || id < low) low = id
  return low ?? ''
}
