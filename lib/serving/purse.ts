/**
 * What this member and the one that hands out the permits of a cache have told each other: what it has last heard of us,
 * what we have last heard of it, and whether there is something to say now. What may wait is said with the rest.
 */
import type { Gate } from '../fill/guard.ts'
import type { PeerId } from '../ports/transport.ts'
import type { MessageOf } from '../rpc/messages.ts'

/** Without a word for so long a member shares out by itself. */
const PATIENCE_MS = 2_000

export class Purse {
  readonly gate: Gate
  /** Who hands out the permits by our view; undefined where nobody owns anything. */
  coordinator: PeerId | undefined
  session = 0
  serial = 0
  /** We go by the static share, because nobody answers. */
  isFallenBack = false
  /** It has to know that we have heard it. */
  mustAnswer = false
  #heldTold = 0
  #wantedTold = 0
  #waitingSinceMs: number | undefined

  constructor(gate: Gate) {
    this.gate = gate
  }

  follow(coordinator: PeerId | undefined): void {
    this.coordinator = coordinator
    this.begin(0)
  }

  /** What was said before does not count any more. */
  begin(session: number): void {
    this.session = session
    this.serial = 0
    this.#heldTold = 0
    this.#wantedTold = 0
    this.#waitingSinceMs = undefined
    this.mustAnswer = session !== 0
  }

  /**
   * It has spoken, and counts so many permits as ours: also those that we gave back by words that crossed its own, which
   * it could not take for an answer. It must be told again, or others would wait for them for ever.
   */
  heard(serial: number, counted: number): void {
    this.serial = serial
    this.#heldTold = counted
    this.isFallenBack = false
    this.#waitingSinceMs = undefined
  }

  /** Others wait for it, or our callers do. */
  get isUrgent(): boolean {
    const { held, queued, report } = this.gate
    if (this.mustAnswer || held < this.#heldTold || report.failures > 0) return true
    if (report.probe !== 'none' && report.probe !== 'running') return true
    return queued > 0 && this.#wanted > this.#wantedTold
  }

  /** Nobody waits for it. */
  get hasNews(): boolean {
    return this.isUrgent || this.gate.report.oks > 0 || this.#wanted !== this.#wantedTold
  }

  get isActive(): boolean {
    const { held, queued, report } = this.gate
    return held > 0 || queued > 0 || report.oks > 0 || report.failures > 0 || report.probe !== 'none'
  }

  get isWaiting(): boolean {
    return this.#waitingSinceMs !== undefined
  }

  hasLostPatience(nowMs: number): boolean {
    return this.#waitingSinceMs !== undefined && nowMs - this.#waitingSinceMs >= PATIENCE_MS
  }

  demand(): MessageOf<'demand'> {
    const { definition, held, report, retryAfterMs } = this.gate
    return {
      type: 'demand',
      namespace: definition.namespace,
      session: this.session,
      serial: this.serial,
      held,
      wanted: this.#wanted,
      ...report,
      retryAfterMs,
      loadConcurrency: definition.loadConcurrency,
      breakerFailures: definition.breakerFailures,
      breakerOpenMs: definition.breakerOpenMs
    }
  }

  /** What `demand` said has left. */
  told(): void {
    this.#heldTold = this.gate.held
    this.#wantedTold = this.#wanted
    this.mustAnswer = false
    this.gate.reported()
  }

  /** We have asked for more, or tried to; from now on an answer is due. */
  asked(nowMs: number): void {
    if (this.#wanted > this.gate.held) this.#waitingSinceMs ??= nowMs
  }

  /** More than the cap is of no use. */
  get #wanted(): number {
    return Math.min(this.gate.wanted, this.gate.definition.loadConcurrency)
  }
}
