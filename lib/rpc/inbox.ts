/**
 * What has come in and waits for its turn: a turn of the event loop works on so many messages and no more.
 *
 * Frames leave at the end of a turn. A turn that answered 256 requests would keep the first answer back until the last
 * was written, and the other side, which has asked for all of them at once, would stand idle until then. In slices both
 * sides work at the same time: 256 reads under way are a fifth faster, and a peer that asks for much holds up nobody
 * for longer than a slice.
 *
 * Messages keep their order. Whoever must know that nothing is left over, because a link has ended, finishes first.
 * Beyond a bound nothing waits: then reading slows down with the work, and that is what holds a flood back.
 */
import type { Complaints } from '../observe/complaints.ts'
import type { Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import type { Addressed } from './frame.ts'
import type { Message } from './messages.ts'

const SLICE_MESSAGES = 64
const WAITING_MAX = 1_024

export interface InboxDeps {
  readonly clock: Clock
  readonly complaints: Complaints
  readonly onMessage: (peer: PeerId, call: number, message: Message) => void
}

interface Waiting {
  readonly peer: PeerId
  readonly messages: readonly Addressed[]
}

export class Inbox {
  readonly #deps: InboxDeps
  #frames: Waiting[] = []
  /** How far the first of them has been worked on. */
  #done = 0
  #waiting = 0
  /** Worked on in this turn. */
  #taken = 0
  #scheduled = false

  constructor(deps: InboxDeps) {
    this.#deps = deps
  }

  add(peer: PeerId, messages: readonly Addressed[]): void {
    if (messages.length === 0) return
    this.#frames.push({ peer, messages })
    this.#waiting += messages.length
    if (this.#waiting > WAITING_MAX) this.finish()
    else this.#work(SLICE_MESSAGES - this.#taken)
  }

  /** Nothing waits any more when this returns. */
  finish(): void {
    this.#work(Number.POSITIVE_INFINITY)
  }

  #work(most: number): void {
    for (let left = most; left > 0 && this.#waiting > 0; left--) this.#one()
    this.#nextTurn()
  }

  #one(): void {
    const { peer, messages } = this.#frames[0] as Waiting
    const { call, message } = messages[this.#done++] as Addressed
    // Before the work: it may bring more in, or end a link, which finishes what is left.
    this.#waiting--
    this.#taken++
    if (this.#done === messages.length) {
      this.#frames.shift()
      this.#done = 0
    }
    this.#tell(peer, call, message)
  }

  #tell(peer: PeerId, call: number, message: Message): void {
    try {
      this.#deps.onMessage(peer, call, message)
    } catch (err) {
      // A message is nobody's caller: what it breaks must not end the process, nor keep the next from being heard.
      const complaint = { err, peer, type: message.type }
      this.#deps.complaints.error(complaint, 'a message of another member failed inside cachemesh')
    }
  }

  #nextTurn(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#deps.clock.defer(() => {
      this.#scheduled = false
      this.#taken = 0
      if (this.#waiting > 0) this.#work(SLICE_MESSAGES)
    })
  }
}
