import type { Random } from '../../lib/ports/random.ts'

/** What a run may do wrong, and what its clients do. */
export interface Knobs {
  readonly members: number
  readonly crash: boolean
  readonly leave: boolean
  readonly split: boolean
  readonly oneWay: boolean
  readonly pause: boolean
  readonly loss: boolean
  readonly gossipLoss: boolean
  readonly slowOrigin: boolean
  readonly failingOrigin: boolean
  readonly deletes: boolean
  readonly sets: boolean
  readonly callerLoads: boolean
  readonly many: boolean
  readonly compares: boolean
  readonly counts: boolean
  readonly clears: boolean
  readonly lostLinks: boolean
  /** Callers that give up before they are answered. */
  readonly aborts: boolean
  /** The origin fails every call for seconds on end, and at once. */
  readonly downOrigin: boolean
}

export function chooseKnobs(dice: Random): Knobs {
  const half = (): boolean => dice.float() < 0.5
  return {
    members: 3 + dice.integer(4),
    crash: half(),
    split: half(),
    oneWay: half(),
    pause: half(),
    loss: half(),
    gossipLoss: half(),
    slowOrigin: half(),
    failingOrigin: half(),
    deletes: half(),
    sets: half(),
    callerLoads: half(),
    // Last, so that the other choices of a seed stay what they were.
    leave: half(),
    many: half(),
    compares: half(),
    counts: half(),
    clears: half(),
    lostLinks: half(),
    aborts: half(),
    downOrigin: half()
  }
}
