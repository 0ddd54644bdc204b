/**
 * A look at whoever may have a key that its new primary does not have yet: all at once, each answers from its store and
 * waits for nothing, and silence is an answer after a quarter of a second. So a read of a partition that is on its way
 * costs one more exchange of messages and not a call of the origin; and no two members can wait for each other.
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
const HOLDERS_MAX = 4

export type PeekedChange = MessageOf<'peek'>['change']

export interface PeeksDeps {
  readonly client: Client
  readonly stats: Stats
  /** Who may have something of this partition; nobody once it is warm. */
  readonly holdersOf: (partition: number) => readonly PeerId[]
  readonly takeIn: (entry: Entry, from: PeerId) => void
}

type OnOver = (answer: Answered) => void

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
    this.#ask(holders, { type: 'peek', namespace, key, change }, partition, answer => {
      if (change === undefined) this.#looking.delete(name)
      for (const over of waiting) over(answer)
    })
    return true
  }

  #ask(holders: readonly PeerId[], peek: MessageOf<'peek'>, partition: number, onOver: OnOver): void {
    const { client, stats, takeIn } = this.#deps
    let open = holders.length
    let answer: Answered
    for (const peer of holders) {
      stats.peeksTotal++
      client.begin(peer, peek, { timeoutMs: PEEK_MS_MAX }, reply => {
        if (!(reply instanceof CallFailed) && reply.type === 'peeked') {
          if (reply.record !== undefined) {
            stats.peeksFoundTotal++
            takeIn(entryOf(reply.record, partition), peer)
          }
          answer ??= reply.answer
        }
        if (--open === 0) onOver(answer)
      })
    }
  }
}
