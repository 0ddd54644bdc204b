/**
 * What has changed lately, to ride on pings: gossip is quicker and may fall silent, a ping is sent anyway. Each change
 * is told a few times the logarithm of the members, as rumours need to reach all, the least told first.
 */
import type { PeerId } from '../ports/transport.ts'
import type { MemberRecord, View } from './view.ts'

const TELLINGS_PER_DOUBLING = 3
const RECORDS_PER_PING_MAX = 8
const KEPT_MAX = 256

export class News {
  readonly #tellingsLeft = new Map<PeerId, number>()

  add(id: PeerId, view: View): void {
    const tellings = TELLINGS_PER_DOUBLING * Math.ceil(Math.log2(view.present().length + 2))
    // What is dropped here is found by the next exchange of views.
    if (this.#tellingsLeft.size < KEPT_MAX || this.#tellingsLeft.has(id)) this.#tellingsLeft.set(id, tellings)
  }

  take(view: View): MemberRecord[] {
    if (this.#tellingsLeft.size === 0) return []
    const freshest = [...this.#tellingsLeft].sort(([, a], [, b]) => b - a).slice(0, RECORDS_PER_PING_MAX)
    for (const [id, left] of freshest) {
      if (left > 1) this.#tellingsLeft.set(id, left - 1)
      else this.#tellingsLeft.delete(id)
    }
    return freshest.flatMap(([id]) => view.get(id) ?? [])
  }
}
