/**
 * What this member changes of the keys it owns, numbered, for those who keep near copies: told by gossip at once, and
 * remembered for who asks for what it has missed.
 *
 *   change ─▶ number, before anybody is told that it is made ─┬▶ gossip, all of some milliseconds in one message: a hint
 *                                                            └▶ log ─▶ `confirm`: all since a number, or: too long ago
 *
 * The numbers are one line per process. Gossip may be lost, doubled or late; who follows sees a gap in the numbers, or is
 * told by `confirm` how far we are, and asks for the rest. So nothing depends on gossip but how soon it is known.
 *
 * While nobody has asked for a while nobody keeps near copies of ours: then we count, and neither tell nor remember.
 *
 * Not promised: that a change is told once, or alone. Whoever drops a copy too many reads it again.
 */
import type { Stats } from '../observe/stats.ts'
import type { Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import type { MessageOf } from '../rpc/messages.ts'
import { type Announcement, CHANGES_MAX, type Changed } from '../rpc/near-talk.ts'

/** A small mesh carries some hundreds of gossip messages a second, so one carries all the changes of this long. */
const GATHER_MS = 3
/** Of one message, which must stay far below what gossip carries. */
const TOLD_TEXT_MAX = 32 * 1024
/** Remembered, in characters of caches and keys. */
const LOG_TEXT_MAX = 512 * 1024
/** So long after the last question we are followed no more. */
const FOLLOWED_MS = 5_000

export interface StreamDeps {
  readonly self: PeerId
  readonly boot: number
  readonly clock: Clock
  readonly stats: Stats
  readonly publish: (announcement: Announcement) => void
}

export class Stream {
  readonly #deps: StreamDeps
  /** Of the latest change. */
  #number = 0
  /** The latest changes without a gap, oldest first, from `#oldest` on in this array. */
  #log: Changed[] = []
  #oldest = 0
  #logText = 0
  /** The number up to which gossip has been told. */
  #told = 0
  #followedUntilMs = Number.NEGATIVE_INFINITY
  #disarm: (() => void) | undefined

  constructor(deps: StreamDeps) {
    this.#deps = deps
  }

  stop(): void {
    this.#disarm?.()
  }

  /** Before the change is acknowledged, and in the turn in which it is made. */
  changed(change: Changed): void {
    this.#number++
    if (this.#deps.clock.monotonic() >= this.#followedUntilMs) return this.#forget()
    this.#log.push(change)
    this.#logText += textOf(change)
    while (this.#logText > LOG_TEXT_MAX || this.#log.length - this.#oldest > CHANGES_MAX) this.#forgetOldest()
    this.#disarm ??= this.#deps.clock.after(GATHER_MS, () => this.#tell())
  }

  /** More has changed than can be named: whoever follows begins anew. */
  startOver(): void {
    this.#number++
    this.#forget()
  }

  confirm({ boot, number }: MessageOf<'confirm'>): MessageOf<'confirmed'> {
    this.#followedUntilMs = this.#deps.clock.monotonic() + FOLLOWED_MS
    const missed = this.#number - number
    const isWhole = boot === this.#deps.boot && missed >= 0 && missed <= this.#log.length - this.#oldest
    const changes = isWhole ? this.#log.slice(this.#log.length - missed) : []
    return { type: 'confirmed', boot: this.#deps.boot, number: this.#number, isWhole, changes }
  }

  #tell(): void {
    this.#disarm = undefined
    const { self, boot, publish, stats } = this.#deps
    let from = Math.max(this.#told, this.#number - (this.#log.length - this.#oldest)) + 1
    this.#told = this.#number
    while (from <= this.#number) {
      const changes: Changed[] = []
      let text = 0
      for (let number = from; number <= this.#number && text < TOLD_TEXT_MAX; number++) {
        const change = this.#log[this.#log.length - 1 - (this.#number - number)] as Changed
        changes.push(change)
        text += textOf(change)
      }
      publish({ origin: self, boot, from, changes })
      stats.invalidationsSentTotal += changes.length
      from += changes.length
    }
  }

  #forget(): void {
    // Of nearly every change: nobody follows, and there is nothing to forget.
    if (this.#log.length > 0) {
      this.#log = []
      this.#oldest = 0
      this.#logText = 0
    }
    this.#told = this.#number
  }

  #forgetOldest(): void {
    this.#logText -= textOf(this.#log[this.#oldest] as Changed)
    this.#oldest++
    if (this.#oldest < CHANGES_MAX) return
    this.#log = this.#log.slice(this.#oldest)
    this.#oldest = 0
  }
}

function textOf({ namespace, key }: Changed): number {
  return namespace.length + key.length
}
