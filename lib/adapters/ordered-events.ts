import { setImmediate } from 'node:timers'
import type { Logger } from '../ports/log.ts'

/**
 * Tells a listener what happened, in order, and never from inside a call that the listener has made.
 *
 * Outside such a call an event is told at once, which spares a frame a turn of the event loop; inside one, or while
 * earlier ones wait, it queues. The queue is emptied in the next turn, so it holds no more than one turn brings.
 *
 * A listener that throws is reported and the next event is told all the same: an error must not unwind into libp2p,
 * which would take it for its own and reset a stream.
 */
const nextTurn = setImmediate

export class OrderedEvents<Events> {
  readonly #log: Logger
  #events: Events | undefined
  #waiting: ((events: Events) => void)[] = []
  #calls = 0
  #scheduled = false

  constructor(log: Logger) {
    this.#log = log
  }

  /** From the next turn on `events` is told what came and comes. */
  open(events: Events): void {
    this.#events = events
    this.#schedule()
  }

  /** Nothing is told any more. */
  close(): void {
    this.#events = undefined
    this.#waiting = []
    this.#calls = Number.POSITIVE_INFINITY
  }

  /** Runs a call of the listener's, during which nothing is told. */
  during<T>(call: () => T): T {
    this.#calls++
    try {
      return call()
    } finally {
      this.#calls--
    }
  }

  deliver(tell: (events: Events) => void): void {
    if (this.#calls === 0 && this.#waiting.length === 0 && !this.#scheduled && this.#events !== undefined) {
      this.#tell(tell, this.#events)
      return
    }
    if (this.#calls === Number.POSITIVE_INFINITY) return
    this.#waiting.push(tell)
    if (this.#events !== undefined) this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    nextTurn(() => {
      this.#scheduled = false
      const waiting = this.#waiting
      this.#waiting = []
      for (const tell of waiting) if (this.#events !== undefined) this.#tell(tell, this.#events)
    })
  }

  #tell(tell: (events: Events) => void, events: Events): void {
    try {
      tell(events)
    } catch (err) {
      this.#log.error({ err }, 'a listener of the transport threw')
    }
  }
}
