/**
 * What a member says in its log about messages of others that it cannot serve: of one peer, one kind of message and one
 * kind of error, a line a minute. A peer that sends nonsense all day costs the operator no disk, and nobody else's line
 * is lost in it. What is held back is counted.
 *
 * A peer may change its id, so there is a bound on the lines of a minute for all together as well. Gossip does not say
 * whom it came from: all of it is one peer here.
 */
import type { Clock } from '../ports/clock.ts'
import type { Logger } from '../ports/log.ts'
import type { PeerId } from '../ports/transport.ts'
import type { Stats } from './stats.ts'

export const QUIET_MS = 60_000
export const LINES_MAX = 256

export interface Complaint {
  readonly err: unknown
  readonly peer?: PeerId
  /** The kind of the message. */
  readonly type: string
  readonly code?: string
}

export class Complaints {
  readonly #clock: Clock
  readonly #log: Logger
  readonly #stats: Stats
  /** Until when each is not said again; all for the same time, so the first in are the first to go. */
  readonly #quietUntilMs = new Map<string, number>()

  constructor(deps: { clock: Clock; log: Logger; stats: Stats }) {
    this.#clock = deps.clock
    this.#log = deps.log
    this.#stats = deps.stats
  }

  warn(complaint: Complaint, message: string): void {
    if (this.#isDue(complaint)) this.#log.warn(complaint, message)
  }

  error(complaint: Complaint, message: string): void {
    if (this.#isDue(complaint)) this.#log.error(complaint, message)
  }

  #isDue({ err, peer, type }: Complaint): boolean {
    const nowMs = this.#clock.monotonic()
    for (const [about, untilMs] of this.#quietUntilMs) {
      if (untilMs > nowMs) break
      this.#quietUntilMs.delete(about)
    }
    // A bug must not hide behind a mistake of the same peer.
    const about = JSON.stringify([type, kindOf(err), peer])
    if (this.#quietUntilMs.has(about) || this.#quietUntilMs.size >= LINES_MAX) {
      this.#stats.logLinesWithheldTotal++
      return false
    }
    this.#quietUntilMs.set(about, nowMs + QUIET_MS)
    return true
  }
}

function kindOf(err: unknown): string {
  if (typeof err !== 'object' || err === null) return typeof err
  return 'code' in err ? String(err.code) : String((err as { name?: unknown }).name)
}
