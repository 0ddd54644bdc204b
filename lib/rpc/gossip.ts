/**
 * Gossip of one kind: what is told, as bytes, and what is heard, read with the same distrust as a frame. Whoever holds
 * the secret may send it, and nobody can tell who that was.
 *
 * Only the reading is guarded: what fails in who hears is a mistake of ours, and not to be laid to the message.
 */
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import type { Complaints } from '../observe/complaints.ts'
import type { Stats } from '../observe/stats.ts'
import type { Cancel } from '../ports/clock.ts'
import type { PubSub } from '../ports/pubsub.ts'

export interface GossipDeps {
  readonly mesh: string
  readonly pubsub: PubSub
  readonly stats: Stats
  readonly complaints: Complaints
}

/** Its name among the topics of a mesh, and how it is written and read. */
export interface GossipKind<T> {
  readonly name: string
  readonly write: (to: ByteWriter, told: T) => void
  readonly read: (from: ByteReader) => T
}

export class Gossip<T> {
  readonly #deps: GossipDeps
  readonly #kind: GossipKind<T>
  readonly #topic: string

  constructor(kind: GossipKind<T>, deps: GossipDeps) {
    this.#deps = deps
    this.#kind = kind
    this.#topic = `cachemesh/${deps.mesh}/${kind.name}`
  }

  tell(told: T): void {
    const to = new ByteWriter()
    this.#kind.write(to, told)
    this.#deps.pubsub.publish(this.#topic, to.finish())
  }

  listen(onTold: (told: T) => void): Cancel {
    return this.#deps.pubsub.subscribe(this.#topic, message => {
      const told = this.#read(message)
      if (told !== undefined) onTold(told)
    })
  }

  #read(message: Uint8Array): T | undefined {
    try {
      return this.#kind.read(new ByteReader(message))
    } catch (error) {
      this.#deps.stats.linksRefusedTotal++
      const complaint = { err: error, type: `gossip of ${this.#kind.name}`, code: 'CACHEMESH_GOSSIP_REFUSED' }
      this.#deps.complaints.warn(complaint, `refused a malformed gossip message about ${this.#kind.name}`)
      return undefined
    }
  }
}
