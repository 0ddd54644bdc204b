/**
 * What lies below a floor, and how it goes. A part of a cache at once, by a walk through that cache. What has a tag, or
 * is of a cache that was cleared as a whole, lies where it is until somebody comes by: a read, which finds that it is
 * dead, or the sweep, which looks at all rows once after a floor was laid, some at a time.
 *
 * The sweep goes from the last row to the first, for records that move while it runs move to lower rows. A floor that is
 * laid meanwhile is enforced by the next one, which follows at once and is for all that were laid.
 *
 * Not promised: a mark of what was dead by a tag. A member that was cut off may bring back what it had before that was
 * written, if that has other tags.
 */
import { isInRange, rangeOf } from '../codec/keys.ts'
import type { Floor } from './floor.ts'
import type { Floors } from './floors.ts'
import type { Holdings } from './holdings.ts'
import { NOBODY, STAMP, TRAIT } from './rows.ts'

export class FloorSweep {
  readonly #holdings: Holdings
  readonly #floors: Floors
  /** The next row to be looked at is below this one. */
  #at = 0
  #isAnotherDue = false

  constructor(holdings: Holdings, floors: Floors) {
    this.#holdings = holdings
    this.#floors = floors
  }

  /** It was laid now. */
  enforce(floor: Floor): void {
    if (floor.kind === 'prefix' && floor.text !== '') this.#dropBelow(floor)
    else this.#isAnotherDue = true
  }

  #dropBelow({ namespace, text, stamp }: Floor): void {
    const { records, shares } = this.#holdings
    const share = shares.get(namespace)
    if (share === undefined) return
    const range = rangeOf(text)
    for (const id of this.#holdings.idsOf(share))
      if (records.versionOf(id).stamp < stamp && isInRange(records.key(id), range)) this.#holdings.remove(share, id)
  }

  get isBehind(): boolean {
    return this.#at > 0 || this.#isAnotherDue
  }

  isDead(id: number): boolean {
    if (id === NOBODY || this.#floors.behindTop === 0) return false
    const { records } = this.#holdings
    const stamp = records.rows.getDouble(id, STAMP)
    if (stamp >= this.#floors.behindTop) return false
    const { name } = this.#holdings.shareOf(id)
    return (
      stamp < this.#floors.wholeBelow(name) || this.#floors.tags.killer(name, records.tagsOf(id), stamp) !== undefined
    )
  }

  /** The same record, or none if it is dead: then it goes. */
  alive(id: number): number {
    if (!this.isDead(id)) return id
    this.#holdings.remove(this.#holdings.shareOf(id), id)
    return NOBODY
  }

  /** Looks at so many rows. */
  go(most: number): void {
    const { rows } = this.#holdings.records
    if (this.#at === 0 && this.#isAnotherDue) {
      this.#isAnotherDue = false
      this.#at = rows.end
    }
    for (const last = Math.max(0, this.#at - most); this.#at > last; ) {
      const id = --this.#at
      // Empty rows at the end are given back as records go.
      if (id < rows.end && id !== NOBODY && rows.has(id, TRAIT.live)) this.alive(id)
    }
  }
}
