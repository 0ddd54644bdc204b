/**
 * What was done for whom, so that a change which is sent again is not done again (PROTOCOL Q1).
 *
 *   known id ─▶ the same answer · past its deadline, or out of memory ─▶ forgotten · else it is new: do it, remember it
 *
 * A writer sends a change again only until the deadline in it, and says with each change which is its oldest that may
 * still come; what lies below is dropped at once. So the memory holds about what is under way, and nothing has to be
 * kept for a fixed time: what outlives its deadline is refused by that. The deadline is absolute and this clock never
 * falls behind a time it has answered at, so that a change which was refused once is refused for ever.
 *
 *   1. add 7 is done here ─ the link is lost with the answer ─ add 7 comes again: the same answer, counted once.
 *   2. add 7 waits in a queue ─ its caller gives up ─ add 8 comes and says that 7 is settled ─ 7 arrives: not done.
 *   3. add 7 is on its way to B when the link fails ─ it is sent to A and done ─ its answer is dropped, for it is settled
 *      ─ the link is back, and add 7 comes to B, which asks A about it: A says that it is settled, so it is not done.
 *   4. add 7 is done ─ 16,384 others are ─ 7 comes again: it is below the mark; better to say that we do not know.
 *
 * Everything here happens within one turn: a change is done and remembered before anything else is heard.
 */

import type { PeerId } from '../ports/transport.ts'
import type { Once, Reply } from '../rpc/messages.ts'
import type { Answered } from '../rpc/replica-talk.ts'
import { answeredBy, replyOf, settledAnswer } from './answers.ts'

/** Remembered of one writer; as many calls as may be under way from it. */
const PER_WRITER_MAX = 16_384
/** Remembered in all. */
const TOTAL_MAX = 131_072
const SWEEP_EVERY_MS = 10_000

const FORGOTTEN = { type: 'forgotten' } as const

interface Known {
  readonly reply: Reply
  readonly once: Once
  readonly partition: number
}

interface Writer {
  readonly boot: number
  /** Below it nothing is known any more, and nothing is done. */
  mark: number
  /** The last deadline heard: after it nothing of this writer needs to be known. */
  lastUntilMs: number
  readonly replies: Map<number, Known>
}

export class Done {
  readonly #writers = new Map<PeerId, Writer>()
  #size = 0
  #sweptMs = 0

  get size(): number {
    return this.#size
  }

  /** The answer to give without doing anything; undefined when this change is to be made now. */
  answer(peer: PeerId, { boot, number, untilMs }: Once, nowMs: number): Reply | undefined {
    const writer = this.#writers.get(peer)
    // One link per peer at a time: nothing of its process before can come any more.
    const known = writer?.boot === boot ? writer : undefined
    const done = known?.replies.get(number)
    if (done !== undefined) return done.reply
    const isForgotten = nowMs > untilMs || (known !== undefined && number < known.mark)
    return isForgotten ? FORGOTTEN : undefined
  }

  remember(peer: PeerId, once: Once, reply: Reply, nowMs: number, partition = 0): void {
    const { boot, number, openFrom, untilMs } = once
    if (nowMs - this.#sweptMs >= SWEEP_EVERY_MS) this.#sweep(nowMs)
    const writer = this.#writerOf(peer, boot)
    this.#raise(writer, openFrom)
    if (writer.replies.size >= PER_WRITER_MAX) this.#dropOldest(writer)
    else if (this.#size >= TOTAL_MAX) this.#dropOldest(this.#fullest())
    if (!writer.replies.has(number)) this.#size++
    writer.replies.set(number, { reply, once, partition })
    writer.lastUntilMs = Math.max(writer.lastUntilMs, untilMs)
  }

  /** Made at another member, as it tells us; nothing where its writer is another process by now. */
  rememberOther(answer: Answered & {}, nowMs: number): void {
    const writer = this.#writers.get(answer.peer)
    const isOther = writer !== undefined && writer.boot !== answer.boot
    if (answer.untilMs < nowMs || (isOther && writer.lastUntilMs > answer.untilMs)) return
    if (writer?.boot === answer.boot && answer.number < writer.mark) return
    this.remember(answer.peer, answer, replyOf(answer), nowMs, answer.partition)
  }

  /** What was answered to this very change, for a member that is asked to make it. */
  answered(peer: PeerId, boot: number, number: number): Answered {
    const writer = this.#writers.get(peer)
    if (writer?.boot !== boot) return undefined
    const known = writer.replies.get(number)
    if (known !== undefined) return answeredBy(peer, known.once, known.partition, known.reply)
    return number < writer.mark ? settledAnswer(peer, boot, number) : undefined
  }

  /** What was answered of late about keys of these partitions, for their next primary; `onMore` for each that is left out. */
  answeredIn(partitions: ReadonlySet<number>, most: number, onMore: () => void): (Answered & {})[] {
    const found: (Answered & {})[] = []
    if (partitions.size === 0) return found
    for (const [peer, { replies }] of this.#writers) {
      for (const { once, partition, reply } of replies.values()) {
        const answer = partitions.has(partition) ? answeredBy(peer, once, partition, reply) : undefined
        if (answer === undefined) continue
        if (found.length < most) found.push(answer)
        else onMore()
      }
    }
    return found
  }

  #writerOf(peer: PeerId, boot: number): Writer {
    const known = this.#writers.get(peer)
    if (known?.boot === boot) return known
    this.#size -= known?.replies.size ?? 0
    const writer: Writer = { boot, mark: 0, lastUntilMs: 0, replies: new Map() }
    this.#writers.set(peer, writer)
    return writer
  }

  /** What lies below is settled. Numbers come nearly in order, and one that came out of order is dropped a little later. */
  #raise(writer: Writer, mark: number): void {
    writer.mark = Math.max(writer.mark, mark)
    for (const number of writer.replies.keys()) {
      if (number >= writer.mark) break
      this.#drop(writer, number)
    }
  }

  #dropOldest(writer: Writer): void {
    const oldest = writer.replies.keys().next().value
    if (oldest !== undefined) this.#raise(writer, oldest + 1)
  }

  #drop(writer: Writer, number: number): void {
    if (writer.replies.delete(number)) this.#size--
  }

  #fullest(): Writer {
    let fullest: Writer | undefined
    for (const writer of this.#writers.values())
      if (writer.replies.size >= (fullest?.replies.size ?? 0)) fullest = writer
    return fullest as Writer
  }

  /** Of those who have fallen silent nothing is raised any more; what is past its deadline is refused without memory. */
  #sweep(nowMs: number): void {
    this.#sweptMs = nowMs
    for (const [peer, writer] of this.#writers) {
      for (const [number, { once }] of writer.replies) if (once.untilMs < nowMs) this.#drop(writer, number)
      if (writer.lastUntilMs < nowMs) this.#writers.delete(peer)
    }
  }
}
