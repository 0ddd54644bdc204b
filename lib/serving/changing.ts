/**
 * A change at the member that decides for its key, from the question to the answer.
 *
 *   known by its id ─▶ the answer of then ──────────────────────────────┐
 *   not ours ─▶ not owner                                               ├─▶ held by as many backups as were asked for ─▶ answer
 *   we have not got the key yet ─▶ look at those who had it ─▶ made there already ─┤                └─▶ in time it was not: unacked
 *   made here, remembered with its answer ──────────────────────────────┘
 *
 * An answer that was given once does not say that backups have it: a change that comes again waits for them again.
 */
import type { Stats } from '../observe/stats.ts'
import type { PeerId } from '../ports/transport.ts'
import type { Confirmed } from '../replication/confirmations.ts'
import type { PeekedChange } from '../replication/peeks.ts'
import type { Once, Reply, SignedChange } from '../rpc/messages.ts'
import type { Answered } from '../rpc/replica-talk.ts'
import type { Version } from '../store/version.ts'
import { answeredBy, replyOf } from './answers.ts'
import type { Done } from './done.ts'
import type { Owner } from './owner.ts'
import { Softening, type SofteningDeps } from './softening.ts'

/** Before the deadline of a change: its answer has to travel. */
const ANSWER_MS = 20

export interface ChangingDeps extends SofteningDeps {
  readonly owner: Owner
  readonly done: Done
  readonly stats: Stats
  readonly partitionOf: (namespace: string, key: string) => number
  readonly look: (namespace: string, key: string, change: PeekedChange, onOver: (answer: Answered) => void) => boolean
  readonly confirm: (
    namespace: string,
    key: string,
    acks: number,
    ms: number,
    onOver: (confirmed: Confirmed) => void
  ) => void
}

type Respond = (reply: Reply) => void

export class Changing {
  readonly #deps: ChangingDeps
  readonly #softening: Softening

  constructor(deps: ChangingDeps) {
    this.#deps = deps
    this.#softening = new Softening(deps)
  }

  make(peer: PeerId, change: SignedChange, respond: Respond): void {
    this.#make(peer, change, respond, false)
  }

  #make(peer: PeerId, change: SignedChange, respond: Respond, hasLooked: boolean): void {
    const { done, meshClock, stats, owner, partitionOf, owns, look } = this.#deps
    const nowMs = meshClock.now()
    const known = done.answer(peer, change, nowMs)
    if (known !== undefined) {
      if (known.type === 'forgotten') return respond(known)
      stats.changesRepeatedTotal++
      return this.#confirm(change, known, respond)
    }
    if (change.type === 'clear' && change.soft && change.stamp > 0) return this.#soften(peer, change, respond)
    if (change.type === 'clear') {
      const reply = owner.perform(change)
      done.remember(peer, change, reply, nowMs, 0)
      return respond(reply)
    }
    const partition = partitionOf(change.namespace, change.key)
    if (!owns(partition)) {
      stats.requestsMisroutedTotal++
      return respond({ type: 'notOwner' })
    }
    const { namespace, key, boot, number } = change
    const isLooking =
      !hasLooked &&
      look(namespace, key, { peer, boot, number }, answer => {
        if (answer !== undefined) done.remember(peer, change, replyOf(answer), meshClock.now(), partition)
        this.#make(peer, change, respond, true)
      })
    if (isLooking) return
    const reply = owner.perform(change, made => answeredBy(peer, change, partition, made))
    done.remember(peer, change, reply, nowMs, partition)
    this.#confirm(change, reply, respond)
  }

  /** Asked again meanwhile, it is done twice: what is stale already is not answered for longer. */
  #soften(peer: PeerId, clear: SignedChange & { type: 'clear' }, respond: Respond): void {
    const { done, meshClock } = this.#deps
    this.#softening.clear(clear, reply => {
      if (reply.type === 'cleared') done.remember(peer, clear, reply, meshClock.now(), 0)
      respond(reply)
    })
  }

  #confirm(change: SignedChange, reply: Reply, respond: Respond): void {
    const acks = 'backupAcks' in change ? change.backupAcks : 0
    const isMade = acks > 0 && answeredBy('', NO_ONE, 0, reply) !== undefined
    if (!isMade || change.type === 'clear') return respond(reply)
    const { confirm, meshClock } = this.#deps
    // The owner is there; what is waited for now are others.
    respond({ type: 'waiting' })
    const ms = Math.max(1, change.untilMs - ANSWER_MS - meshClock.now())
    confirm(change.namespace, change.key, acks, ms, ({ isDone, acked, wanted, missing }) => {
      if (isDone) return respond(reply)
      const { stamp, writer } = versionIn(reply)
      const taken = 'taken' in reply && reply.taken
      respond({ type: 'unacked', stamp, writer, taken, acked, wanted, missing: missing.slice(0, MISSING_MAX) })
    })
  }
}

function versionIn(reply: Reply): Version {
  const isTold = reply.type === 'written' || reply.type === 'removed' || reply.type === 'compared'
  return isTold ? reply : { stamp: 0, writer: '' }
}

const NO_ONE: Once = { boot: 0, number: 0, openFrom: 0, untilMs: 0 }
const MISSING_MAX = 16
