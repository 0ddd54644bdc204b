/**
 * A topic: what one process publishes, every process that listens hears. For news that may be lost: that a flag has
 * changed and is to be read again, that a user has signed out. What must not be lost belongs into a cache.
 */
import { MeshError } from './base/errors.ts'
import { defaultCodec } from './codec/values.ts'
import { checkText, refuse } from './door.ts'
import { type Member, memberOf } from './member.ts'
import { TOPIC_MESSAGE_BYTES_MAX } from './rpc/topic-talk.ts'
import type { Topics } from './topics/topics.ts'

export interface Topic<T> {
  readonly name: string
  /**
   * Tells it to everybody who listens, this member too: at most once each, and perhaps not at all. Returns at once; when
   * too much is published it is dropped, and counted as `topicMessagesDroppedTotal`.
   */
  publish(message: T): void
  /**
   * Hears what is published from now on, each message in a copy of its own, with who published it. Of a publisher that
   * this member does not know, or not any more, nothing is heard. Answers with what ends it.
   */
  on(listener: (message: T, from: Member) => void): () => void
}

export interface TopicDeps {
  readonly self: string
  readonly topics: Topics
  /** Throws when this member has left. */
  readonly checkOpen: () => void
}

/** A handle, and nothing more: of what nobody listens to nothing is kept. */
export class MeshTopic implements Topic<unknown> {
  readonly name: string
  readonly #deps: TopicDeps

  constructor(name: unknown, deps: TopicDeps) {
    this.name = checkText(name, 'the name of a topic', "it is what its publishers and listeners share, like 'prices'")
    this.#deps = deps
  }

  publish(message: unknown): void {
    this.#deps.checkOpen()
    const bytes = defaultCodec.encode(message, { topic: this.name, allowUndefined: true })
    if (bytes.length > TOPIC_MESSAGE_BYTES_MAX) throw this.#tooLarge(bytes.length)
    this.#deps.topics.publish(this.name, bytes)
  }

  on(listener: (message: unknown, from: Member) => void): () => void {
    const { topics, self, checkOpen } = this.#deps
    checkOpen()
    if (typeof listener !== 'function')
      refuse(`the listener of topic '${this.name}'`, 'a function', listener, 'Write topic.on((message, from) => …).')
    return topics.listen(this.name, (message, from) => listener(message, memberOf(from, self)))
  }

  #tooLarge(bytes: number): MeshError {
    return new MeshError(
      'ERR_MESH_VALUE_TOO_LARGE',
      `A message of topic '${this.name}' has ${bytes} bytes, and ${TOPIC_MESSAGE_BYTES_MAX} is the most. Put the value into a cache, and publish its key.`
    )
  }
}
