/**
 * What applications publish and hear: messages by gossip, each at most once.
 *
 *   publish ─▶ waits until the end of the turn ─▶ all of one topic together ─┬▶ gossip ─▶ known publisher? not heard yet?
 *                 │                                                          │              ─▶ listeners there
 *                 └─ too many wait: dropped, counted                         └▶ listeners here
 *
 * A publisher hears itself, by the same way through bytes and in a later turn, so that an application which runs as one
 * process does what it does as five; `from.self` is there for whoever wants it otherwise.
 *
 * The publisher is whoever the gossip says: all who have the secret may say so. It must be in our view as the very
 * process that has published, leaving perhaps but not dead, for a listener is told who it was and not only a name.
 *
 * Not promised: that anything arrives, or in which order. A member hears what is published while it listens, and of
 * publishers that it knows; who has just joined may not be known yet.
 */
import { MeshError } from '../base/errors.ts'
import { defaultCodec } from '../codec/values.ts'
import type { MemberRecord } from '../membership/view.ts'
import { Events } from '../observe/events.ts'
import type { Cancel, Clock } from '../ports/clock.ts'
import type { Detach } from '../ports/context.ts'
import type { Logger } from '../ports/log.ts'
import type { PeerId } from '../ports/transport.ts'
import { Gossip, type GossipDeps } from '../rpc/gossip.ts'
import { type Published, readPublished, writePublished } from '../rpc/topic-talk.ts'
import { Once } from './once.ts'
import { Outgoing } from './outgoing.ts'

/** After what was told, so long a rest, and so long that no more than this goes to each listener: a stream has bounds. */
const REST_MS = 3
const BYTES_PER_MS = 8 * 1024
/** Every member remembers what every other listens to, and takes no more than so much of that from one. */
export const LISTENED_MAX = 128

export interface TopicsDeps extends GossipDeps {
  readonly self: PeerId
  readonly boot: number
  readonly clock: Clock
  readonly detach: Detach
  readonly log: Logger
  readonly recordOf: (peer: PeerId) => MemberRecord | undefined
}

type OnMessage = (message: unknown, from: MemberRecord) => unknown

/** A topic that somebody here listens to. */
interface Listened {
  readonly events: Events<Record<string, { readonly bytes: Uint8Array; readonly from: MemberRecord }>>
  readonly stop: Cancel
  listeners: number
}

export class Topics {
  readonly #deps: TopicsDeps
  readonly #outgoing = new Outgoing()
  readonly #listened = new Map<string, Listened>()
  readonly #once: Once
  #number = 0
  /** Something waits to be told, or was told a moment ago. */
  #isTelling = false
  #isStopped = false
  #stopResting: Cancel = () => {}

  constructor(deps: TopicsDeps) {
    this.#deps = deps
    this.#once = new Once(peer => deps.recordOf(peer) !== undefined)
  }

  publish(topic: string, message: Uint8Array): void {
    const { stats, clock } = this.#deps
    stats.topicMessagesPublishedTotal++
    if (this.#isStopped || !this.#outgoing.add(topic, message)) {
      stats.topicMessagesDroppedTotal++
      return
    }
    if (this.#isTelling) return
    this.#isTelling = true
    clock.defer(() => this.#tellNext())
  }

  /** Each listener gets a copy of its own. What is returned ends it, once. */
  listen(topic: string, onMessage: OnMessage): Cancel {
    const listened = this.#listened.get(topic) ?? this.#beginListening(topic)
    listened.listeners++
    const stop = listened.events.on(topicEvent(topic), ({ bytes, from }) => {
      const read = this.#read(topic, bytes)
      return read === undefined ? undefined : onMessage(read.message, from)
    })
    let isOn = true
    return () => {
      if (!isOn) return
      isOn = false
      stop()
      if (--listened.listeners > 0) return
      listened.stop()
      this.#listened.delete(topic)
    }
  }

  /** What waits is told now, and nothing is heard any more. */
  stop(): void {
    this.#isStopped = true
    this.#stopResting()
    for (let batch = this.#outgoing.next(); batch !== undefined; batch = this.#outgoing.next())
      this.#tell(batch.topic, batch.messages)
    for (const { stop } of this.#listened.values()) stop()
  }

  #beginListening(topic: string): Listened {
    if (this.#listened.size >= LISTENED_MAX) {
      throw new MeshError(
        'ERR_MESH_OPTION',
        `This member listens to ${LISTENED_MAX} topics already, which is the most, so it cannot listen to '${topic}'. Publish to fewer topics, and tell messages apart by what is in them.`
      )
    }
    const listened: Listened = {
      events: new Events(this.#deps.log),
      stop: this.#gossipOf(topic).listen(told => this.#hear(topic, told)),
      listeners: 0
    }
    this.#listened.set(topic, listened)
    return listened
  }

  #tellNext(): void {
    const batch = this.#outgoing.next()
    if (batch === undefined) {
      this.#isTelling = false
      return
    }
    // First, so that a listener that publishes, or ends all this, finds it so.
    const restMs = Math.max(REST_MS, batch.bytes / BYTES_PER_MS)
    this.#stopResting = this.#deps.clock.after(restMs, () => this.#tellNext())
    this.#tell(batch.topic, batch.messages)
  }

  #tell(topic: string, messages: readonly Uint8Array[]): void {
    const { self, boot, recordOf } = this.#deps
    this.#gossipOf(topic).tell({ publisher: self, boot, number: ++this.#number, messages })
    const record = recordOf(self)
    if (record !== undefined) this.#deliver(topic, messages, record)
  }

  #hear(topic: string, { publisher, boot, number, messages }: Published): void {
    const { recordOf, stats } = this.#deps
    const record = recordOf(publisher)
    if (record === undefined || record.boot !== boot || record.status === 'dead') stats.topicGossipStrayTotal++
    else if (!this.#once.isFirst(publisher, boot, number)) stats.topicGossipRepeatedTotal++
    else this.#deliver(topic, messages, record)
  }

  /** In nobody's context: a message of our own comes in the turn of whichever caller was first. */
  #deliver(topic: string, messages: readonly Uint8Array[], from: MemberRecord): void {
    const { detach, stats } = this.#deps
    const listened = this.#listened.get(topic)
    if (listened === undefined) return
    detach(() => {
      for (const bytes of messages) {
        stats.topicMessagesHeardTotal++
        listened.events.emit(topicEvent(topic), { bytes, from })
      }
    })
  }

  #read(topic: string, bytes: Uint8Array): { readonly message: unknown } | undefined {
    const { stats, complaints } = this.#deps
    try {
      return { message: defaultCodec.decode(bytes, { topic }) }
    } catch (error) {
      stats.linksRefusedTotal++
      const complaint = { err: error, type: 'message of a topic', code: 'CACHEMESH_GOSSIP_REFUSED' }
      complaints.warn(complaint, `refused a message of topic '${topic}' that cannot be decoded`)
      return undefined
    }
  }

  #gossipOf(topic: string): Gossip<Published> {
    return new Gossip({ name: `topic/${topic}`, write: writePublished, read: readPublished }, this.#deps)
  }
}

function topicEvent(topic: string): string {
  return `topic ${topic}`
}
