/**
 * A look at whoever may have a key that its new primary does not have yet: all at once, each answers from its store and
 * waits for nothing, and silence is an answer after a quarter of a second, or after a second more where nobody has
 * anything else to say. So a read of a partition that is on its way costs one more exchange of messages and not a call of
 * the origin; and no two members can wait for each other.
 *
 *   1. we have just joined, and a turn of ours takes 300 ms ─ the answer lies unread in a socket, for timers come first ─
 *      every holder seems silent: asked once more, they are not.
 *
 * What is found is taken in, the newest of it. With a change goes its id: the member that was primary may have made it
 * already, and then its answer is the answer.
 */
import { recordName } from '../base/record-name.ts'
import type { Stats } from '../observe/stats.ts'
import type { PeerId } from '../ports/transport.ts'
import { CallFailed, type Client } from '../rpc/client.ts'
import type { MessageOf } from '../rpc/messages.ts'
import type { Answered } from '../rpc/replica-talk.ts'
import type { Entry } from '../store/entry.ts'
import { entryOf } from './record.ts'

const PEEK_MS_MAX = 250
const PEEK_AGAIN_MS_MAX = 1_000
const HOLDERS_MAX = 4

export type PeekedChange = MessageOf<'peek'>['change']

export interface PeeksDeps {
  readonly client: Client
  readonly stats: Stats
  /** Who may have something of this partition, most likely first; nobody once it is warm. */
  readonly holdersOf: (partition: number) => readonly PeerId[]
  /** It had the say before us: where it had all, nobody else need be waited for. */
  readonly isBefore: (peer: PeerId, partition: number) => boolean
  readonly takeIn: (entry: Entry, from: PeerId) => void
  readonly viewHash: () => number
}

/** What a look has come to. */
export interface Look {
  readonly answer: Answered
  /** A record of the key has come. */
  readonly isFound: boolean
  /** Everybody who was asked has answered. */
  readonly isHeard: boolean
  /** One who sees other members than we did: there may be more to ask than we knew. */
  readonly apart: PeerId | undefined
}

type OnOver = (look: Look) => void

interface Asking {
  readonly peek: MessageOf<'peek'>
  readonly partition: number
  readonly viewHash: number
}

/** What a round has brought. */
interface Seen extends Mutable<Look> {
  readonly silent: PeerId[]
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

export class Peeks {
  readonly #deps: PeeksDeps
  /** Reads of one key look once, while it is the same members that are to be asked. */
  readonly #looking = new Map<string, { readonly holders: readonly PeerId[]; readonly waiting: OnOver[] }>()

  constructor(deps: PeeksDeps) {
    this.#deps = deps
  }

  /** False where there is nobody to look at; then nothing is called back. */
  look(namespace: string, key: string, partition: number, change: PeekedChange, onOver: OnOver): boolean {
    const holders = this.#deps.holdersOf(partition).slice(0, HOLDERS_MAX)
    if (holders.length === 0) return false
    const name = recordName(namespace, key)
    const others = change === undefined ? this.#looking.get(name) : undefined
    // One that could be linked only a moment ago may be who has it.
    if (others !== undefined && holders.every(peer => others.holders.includes(peer))) {
      others.waiting.push(onOver)
      return true
    }
    const waiting = [onOver]
    const looking = { holders, waiting }
    if (change === undefined) this.#looking.set(name, looking)
    const peek = { type: 'peek', namespace, key, change } as const
    // Whom we ask is by our view of now: by the time of the answers there may be more.
    const asking = { peek, partition, viewHash: this.#deps.viewHash() }
    this.#askTwice(holders, asking, found => {
      if (this.#looking.get(name) === looking) this.#looking.delete(name)
      for (const over of waiting) over(found)
    })
    return true
  }

  #askTwice(holders: readonly PeerId[], asking: Asking, onOver: OnOver): void {
    this.#ask(holders, asking, PEEK_MS_MAX, seen => {
      const { isFound, answer, isHeard, apart, silent } = seen
      if (isFound || answer !== undefined || silent.length === 0)
        return onOver({ ...seen, isHeard: isHeard && silent.length === 0 })
      this.#ask(silent, asking, PEEK_AGAIN_MS_MAX, again =>
        onOver({
          ...again,
          isHeard: isHeard && again.isHeard && again.silent.length === 0,
          apart: again.apart ?? apart
        })
      )
    })
  }

  #ask(holders: readonly PeerId[], asking: Asking, timeoutMs: number, onOver: (seen: Seen) => void): void {
    const { peek, partition, viewHash: askedIn } = asking
    const { client, stats, takeIn, isBefore, viewHash } = this.#deps
    const seen: Seen = { isFound: false, answer: undefined, isHeard: true, apart: undefined, silent: [] }
    let open = holders.length
    let isOver = false
    const found: { entry: Entry; peer: PeerId }[] = []
    for (const peer of holders) {
      stats.peeksTotal++
      client.begin(peer, peek, { timeoutMs }, reply => {
        let isFinal = false
        if (reply instanceof CallFailed) {
          if (reply.end === 'timeout') seen.silent.push(peer)
          else seen.isHeard = false
        } else if (reply.type === 'peeked') {
          if (reply.record !== undefined) {
            stats.peeksFoundTotal++
            seen.isFound = true
            const entry = entryOf(reply.record, partition)
            // Not before all have been heard: who reads meanwhile would take the older of two for the answer.
            if (isOver) takeIn(entry, peer)
            else found.push({ entry, peer })
          }
          // That it was settled says less than how.
          if (seen.answer === undefined || seen.answer.reply === 'forgotten') seen.answer = reply.answer ?? seen.answer
          if (reply.viewHash !== askedIn || viewHash() !== askedIn) seen.apart = peer
          isFinal = reply.final && peek.change === undefined && isBefore(peer, partition)
        } else seen.isHeard = false
        open--
        if (isOver || (open > 0 && !isFinal)) return
        isOver = true
        for (const { entry, peer: from } of found) takeIn(entry, from)
        onOver(seen)
      })
    }
  }
}
