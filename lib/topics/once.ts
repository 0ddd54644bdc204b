/**
 * What a publisher has told is heard once. Gossip may double a message, or bring it late and out of order, so each
 * publisher numbers what it tells and the last thousand numbers are remembered, a bit each. What is so late that its
 * number is not remembered may have been heard, and is not heard again: at most once is the promise.
 *
 * Not promised: that a publisher is remembered for ever that is not in the view any more. Of those the oldest are
 * forgotten, beyond a thousand; should gossip of one of them still be on its way twice, it would be heard twice.
 */
import type { PeerId } from '../ports/transport.ts'

/** A multiple of 32. At the pace of `outgoing.ts` these are three seconds or more. */
export const REMEMBERED = 1_024
export const PUBLISHERS_MAX = 1_024

/** One process. */
interface Publisher {
  readonly boot: number
  latest: number
  /** By number, a ring of bits: of the latest and those `REMEMBERED` before. */
  readonly isHeard: Uint32Array
}

export class Once {
  readonly #publishers = new Map<PeerId, Publisher>()
  readonly #isHere: (peer: PeerId) => boolean

  constructor(isHere: (peer: PeerId) => boolean) {
    this.#isHere = isHere
  }

  /** True for a number that was not heard of this process before. */
  isFirst(peer: PeerId, boot: number, number: number): boolean {
    const publisher = this.#of(peer, boot)
    if (number > publisher.latest) advance(publisher, number)
    if (number <= publisher.latest - REMEMBERED) return false
    return note(publisher.isHeard, number)
  }

  #of(peer: PeerId, boot: number): Publisher {
    const known = this.#publishers.get(peer)
    if (known?.boot === boot) return known
    const publisher = { boot, latest: 0, isHeard: new Uint32Array(REMEMBERED / 32) }
    this.#publishers.delete(peer)
    this.#publishers.set(peer, publisher)
    if (this.#publishers.size > PUBLISHERS_MAX) this.#forgetOne()
    return publisher
  }

  /** Those who are here are bounded by the view. */
  #forgetOne(): void {
    for (const peer of this.#publishers.keys()) {
      if (this.#isHere(peer)) continue
      this.#publishers.delete(peer)
      return
    }
  }
}

/** The numbers in between have not been heard yet; they take the places of those that are too old now. */
function advance(publisher: Publisher, number: number): void {
  const from = Math.max(publisher.latest + 1, number - REMEMBERED + 1)
  for (let fresh = from; fresh <= number; fresh++) {
    const place = fresh % REMEMBERED
    publisher.isHeard[place >>> 5] = (publisher.isHeard[place >>> 5] as number) & ~(1 << (place & 31))
  }
  publisher.latest = number
}

/** False where it was noted before. */
function note(isHeard: Uint32Array, number: number): boolean {
  const place = number % REMEMBERED
  const [word, bit] = [isHeard[place >>> 5] as number, 1 << (place & 31)]
  isHeard[place >>> 5] = word | bit
  return (word & bit) === 0
}
