/**
 * Messages that wait to be told, of all topics of a member: the topics take turns, and one turn takes as many of its
 * messages as travel well together. Gossip carries some hundreds of messages a second and goes to every listener once,
 * so what waits is bounded and the latest is refused: whoever publishes is never held up.
 */
import { TOPIC_MESSAGES_MAX } from '../rpc/topic-talk.ts'

export const WAITING_MAX = 4_096
export const WAITING_BYTES_MAX = 4 * 1024 ** 2
/** Told together. One message may be as large alone. */
export const TOGETHER_BYTES_MAX = 64 * 1024

export interface Batch {
  readonly topic: string
  readonly messages: readonly Uint8Array[]
  readonly bytes: number
}

export class Outgoing {
  /** The topic whose turn it is first. */
  readonly #waiting = new Map<string, Uint8Array[]>()
  #count = 0
  #bytes = 0

  /** False where too much waits already. */
  add(topic: string, message: Uint8Array): boolean {
    if (this.#count >= WAITING_MAX || this.#bytes + message.length > WAITING_BYTES_MAX) return false
    const waiting = this.#waiting.get(topic)
    if (waiting === undefined) this.#waiting.set(topic, [message])
    else waiting.push(message)
    this.#count++
    this.#bytes += message.length
    return true
  }

  /** The next to be told; undefined where nothing waits. */
  next(): Batch | undefined {
    const [first] = this.#waiting
    if (first === undefined) return undefined
    const [topic, waiting] = first
    const { count, bytes } = together(waiting)
    const messages = waiting.splice(0, count)
    this.#waiting.delete(topic)
    if (waiting.length > 0) this.#waiting.set(topic, waiting)
    this.#count -= count
    this.#bytes -= bytes
    return { topic, messages, bytes }
  }
}

/** At least one. */
function together(waiting: readonly Uint8Array[]): { count: number; bytes: number } {
  let [count, bytes] = [0, 0]
  for (const { length } of waiting) {
    if (count > 0 && (count === TOPIC_MESSAGES_MAX || bytes + length > TOGETHER_BYTES_MAX)) break
    count++
    bytes += length
  }
  return { count, bytes }
}
