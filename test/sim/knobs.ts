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
  /** Of all caches but `safe`, which has at least one. */
  readonly backups: number
  /** For how many backups a change of `safe` waits. */
  readonly acks: 1 | 'all'
  /** Whether clients use `safe` and `copied`. */
  readonly copies: boolean
  /** Wall clocks are set up to an hour forward or back. */
  readonly clockJumps: boolean
  /** Members have so little memory, and some values are so large, that room must be made. */
  readonly pressure: boolean
  /** Splits that outlast the marks of what was deleted. */
  readonly longSplits: boolean
  /** Sides of several members, and not only one against the rest. */
  readonly twoSplits: boolean
  /** Members leave and come again, one after the other. */
  readonly rolling: boolean
  /** A member that crashes is back before anybody has noticed. */
  readonly restartAtOnce: boolean
  /** A cache of many values, some of them short-lived: so that there is something to expire, and to move. */
  readonly bulk: boolean
  /** At the end the mesh is watched for long. */
  readonly linger: boolean
  /** Whether clients use `near`, a cache with near copies. */
  readonly near: boolean
  /** Values of `loaded` and `near` have tags, and some deletes and clears name those. */
  readonly tags: boolean
}

export function chooseKnobs(dice: Random): Knobs {
  const half = (): boolean => dice.float() < 0.5
  const quarter = (): boolean => dice.float() < 0.25
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
    downOrigin: half(),
    backups: [0, 1, 1, 1, 2][dice.integer(5)] as number,
    acks: half() ? 1 : 'all',
    copies: half() || half(),
    clockJumps: half(),
    pressure: quarter(),
    longSplits: quarter(),
    twoSplits: half(),
    rolling: half(),
    restartAtOnce: half(),
    bulk: half(),
    linger: quarter(),
    near: half(),
    tags: half()
  }
}

/** Nothing goes wrong, but members come and go: what they hold must not be lost, by anybody. */
export function isPeaceful({ crash, split, oneWay, pause, loss, lostLinks }: Knobs): boolean {
  return !(crash || split || oneWay || pause || loss || lostLinks)
}
