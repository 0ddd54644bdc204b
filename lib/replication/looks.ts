/**
 * For what a partition that warms does not have yet: a look at its holders (`peeks.ts`), and another where the first says
 * nothing. Three things make a look say nothing:
 *
 * - what we hold may be old, for we stood still and others went on: then silence is no answer, however long it lasts;
 * - a link was lost or an answer did not come, so somebody may have it who was not heard;
 * - who was asked sees other members than we do:
 *
 *   1. we have just come and know one member ─ our table has two owners ─ a key is ours, and the one we know has nothing
 *      of it ─ three others, whom we shall know in a millisecond, have it: the views are compared, and we look again.
 *
 * Nor does it say anything that nobody could be asked, while an owner that we have just heard of has no link to us yet.
 *
 * To a change even a record says nothing while an owner of the partition cannot be asked, or one who was asked sees other
 * members, for there may be a newer one, and what is made now would be made of the one before (PROTOCOL C2):
 *
 *   2. B is primary of k = 2 ─ we join and are primary now ─ our link to B is lost ─ a comparison with k = 1 comes, and C
 *      has k = 1 left over: it would say yes a second time. The link is back in a moment, and B is asked.
 *
 * A read does not wait for that: it takes what there is.
 *
 * Not promised: that a key is found whose holders cannot be reached. After two seconds of that it counts as missing, and
 * where all who could be asked have nothing, a link is waited for no longer than half a second.
 */
import type { Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import type { Answered } from '../rpc/replica-talk.ts'
import type { Assured } from './assured.ts'
import type { PeekedChange, Peeks } from './peeks.ts'

const LOOK_AGAIN_MS = 10
const BLIND_MS_MAX = 2_000
const UNLINKED_MS_MAX = 500

export interface LooksDeps {
  readonly clock: Clock
  readonly peeks: Peeks
  readonly assured: Assured
  readonly partitionOf: (namespace: string, key: string) => number
  readonly isWarming: (partition: number) => boolean
  readonly isDoubtful: (partition: number) => boolean
  /** One of its owners, who has not told what it has, cannot be asked yet. */
  readonly isCutOff: (partition: number) => boolean
  readonly agreeWith: (peer: PeerId) => Promise<void>
}

export class Looks {
  readonly #deps: LooksDeps
  #isStopped = false

  constructor(deps: LooksDeps) {
    this.#deps = deps
  }

  stop(): void {
    this.#isStopped = true
  }

  /** False where nobody can have it; then nothing is called back. */
  look(
    namespace: string,
    key: string,
    change: PeekedChange,
    onOver: (answer: Answered) => void,
    sinceMs = this.#deps.clock.monotonic()
  ): boolean {
    const { clock, peeks, assured, partitionOf, isWarming, isDoubtful, isCutOff, agreeWith } = this.#deps
    const partition = partitionOf(namespace, key)
    if (!isWarming(partition)) return false
    const again = (): void => {
      clock.after(LOOK_AGAIN_MS, () => {
        if (!this.#isStopped && !this.look(namespace, key, change, onOver, sinceMs)) onOver(undefined)
      })
    }
    // Asked of now: who is linked while others are asked was not asked.
    const mayBeUnlinked = isCutOff(partition) && clock.monotonic() - sinceMs < UNLINKED_MS_MAX
    if (isDoubtful(partition) && isCutOff(partition)) {
      again()
      return true
    }
    const isAsked = peeks.look(namespace, key, partition, change, ({ answer, isFound, isHeard, apart }) => {
      if (answer === undefined && !isHeard && isDoubtful(partition)) return again()
      const isBlind = answer === undefined && clock.monotonic() - sinceMs < BLIND_MS_MAX
      const isUnknown = isBlind && !isFound
      if (isBlind && apart !== undefined && (!isFound || change !== undefined)) return void agreeWith(apart).then(again)
      if (isUnknown && (!isHeard || mayBeUnlinked)) return again()
      if (change !== undefined && answer === undefined && mayBeUnlinked) return again()
      assured.asked(namespace, key)
      onOver(answer)
    })
    if (isAsked || !mayBeUnlinked) return isAsked
    again()
    return true
  }
}
