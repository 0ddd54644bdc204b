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
}

/** `isHeard`: everybody who was asked has answered. */
type OnOver = (answer: Answered, isHeard: boolean) => void

/** What a round has brought. */
interface Seen {
  isFound: boolean
  answer: Answered
  isHeard: boolean
  readonly silent: PeerId[]
}

export class Peeks {
  readonly #deps: PeeksDeps
  /** Reads of one key look once. */
  readonly #looking = new Map<string, OnOver[]>()

  constructor(deps: PeeksDeps) {
    this.#deps = deps
  }

  /** False where there is nobody to look at; then nothing is called back. */
  look(namespace: string, key: string, partition: number, change: PeekedChange, onOver: OnOver): boolean {
    const holders = this.#deps.holdersOf(partition).slice(0, HOLDERS_MAX)
    if (holders.length === 0) return false
    const name = recordName(namespace, key)
    const others = change === undefined ? this.#looking.get(name) : undefined
    if (others !== undefined) {
      others.push(onOver)
      return true
    }
    const waiting = [onOver]
    if (change === undefined) this.#looking.set(name, waiting)
    const peek = { type: 'peek', namespace, key, change } as const
    this.#askTwice(holders, peek, partition, (answer, isHeard) => {
      if (change === undefined) this.#looking.delete(name)
      for (const over of waiting) over(answer, isHeard)
    })
    return true
  }

  #askTwice(holders: readonly PeerId[], peek: MessageOf<'peek'>, partition: number, onOver: OnOver): void {
    this.#ask(holders, peek, partition, PEEK_MS_MAX, ({ isFound, answer, isHeard, silent }) => {
      if (isFound || answer !== undefined || silent.length === 0) return onOver(answer, isHeard && silent.length === 0)
      this.#ask(silent, peek, partition, PEEK_AGAIN_MS_MAX, again =>
        onOver(again.answer, isHeard && again.isHeard && again.silent.length === 0)
      )
    })
  }

  #ask(
    holders: readonly PeerId[],
    peek: MessageOf<'peek'>,
    partition: number,
    timeoutMs: number,
    onOver: (seen: Seen) => void
  ): void {
    const { client, stats, takeIn, isBefore } = this.#deps
    const seen: Seen = { isFound: false, answer: undefined, isHeard: true, silent: [] }
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
