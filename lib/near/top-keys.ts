/**
 * Which keys are asked for most, of more keys than could be counted: 64 counters, found by the partition of the key.
 *
 *   read ─▶ partition: asked for often in this window? ─ no ─▶ that was all, one addition
 *             └─ yes ─▶ a counter of the key ─ none ─▶ one is taken from the least; at nothing it is the key's
 *
 * A key cannot be in demand in a partition that is not, and nearly every partition is not; so nearly every read costs
 * one addition, and no text is hashed. What a counter shows is never more than there was, so no key is hot by mistake.
 *
 * A key is hot from `HOT_PER_SECOND` on, where that is also `HOT_TIMES` what is asked of the mean key. Fewer than
 * `KEYS_MIN` keys count as so many: who is asked for nothing but three keys has three that are hot. How many keys there
 * are is how many partitions were asked for, which is too low in a large cache, and errs towards fewer hot keys. It stays
 * hot down to half of that, so that it does not go in and out.
 *
 * Time comes as an argument: counts are of windows, rates are halved by `HALF_LIFE_MS` without a read.
 *
 * Not promised: that the 64 are the first 64. Those far above the rest are among them.
 */
import { PARTITIONS } from '../placement/partitions.ts'

/** How long a window is meant to be; what is passed to `turn` decides. */
export const WINDOW_MS = 500
export const COUNTERS_MAX = 64
export const HOT_PER_SECOND = 100
const HOT_TIMES = 8
const KEYS_MIN = 128
const HALF_LIFE_MS = 1_000
/** From this share of what makes a key hot on, the keys of a partition are told apart. */
const WARM_SHARE = 1 / 4
const NONE = -1

/** A key, and what is asked of it. */
export interface Counted {
  readonly namespace: string
  readonly key: string
  readonly partition: number
  readonly perSecond: number
  readonly bytesPerSecond: number
  readonly isHot: boolean
}

class Counter {
  namespace = ''
  key = ''
  partition = NONE
  isHot = false
  /** Of this window. */
  reads = 0
  /** Another counter of this partition. */
  after = NONE
  // Numbers that are no whole ones sooner or later lie in an array of their own: in an object each change of one would
  // be a new number on the heap, and the engine would go on changing its mind about what the object looks like.
  readonly #rates = new Float64Array(4)

  get perSecond(): number {
    return this.#rates[0] as number
  }

  set perSecond(rate: number) {
    this.#rates[0] = rate
  }

  get bytesPerSecond(): number {
    return this.#rates[1] as number
  }

  set bytesPerSecond(rate: number) {
    this.#rates[1] = rate
  }

  /** What the reads of this window brought. */
  get bytes(): number {
    return this.#rates[2] as number
  }

  set bytes(bytes: number) {
    this.#rates[2] = bytes
  }

  /** What keeps its place: its reads, fading, less what keys without a counter took. Nothing: it is free. */
  get weight(): number {
    return this.#rates[3] as number
  }

  set weight(weight: number) {
    this.#rates[3] = weight
  }

  free(): void {
    this.namespace = ''
    this.key = ''
    this.partition = NONE
    this.isHot = false
    this.reads = 0
    this.after = NONE
    this.#rates.fill(0)
  }
}

export class TopKeys {
  readonly #onHot: (key: Counted) => void
  readonly #counters: readonly Counter[] = Array.from({ length: COUNTERS_MAX }, () => new Counter())
  /** The first counter of each partition. */
  readonly #first = new Int8Array(PARTITIONS).fill(NONE)
  /** Reads of each partition in this window. */
  readonly #warmth = new Uint32Array(PARTITIONS)
  #partitions = 0
  #reads = 0
  #perSecond = 0
  #hotPerSecond = HOT_PER_SECOND
  #hotReads = (HOT_PER_SECOND * WINDOW_MS) / 1_000
  #warmFrom = this.#hotReads * WARM_SHARE
  /** Whose place is taken next: as of the last look, for the others only grow. */
  #least = 0

  constructor(onHot: (key: Counted) => void = () => {}) {
    this.#onHot = onHot
  }

  /** Nothing is in demand, and nothing was asked for in this window. */
  get isCold(): boolean {
    return this.#reads === 0 && this.#counters.every(({ weight }) => weight === 0)
  }

  /** Read so many times; `bytes` is what each of them brought. Answers whether the key is hot. */
  count(partition: number, namespace: string, key: string, bytes: number, reads: number): boolean {
    this.#reads += reads
    const warmth = this.#warmth[partition] as number
    if (warmth === 0) this.#partitions++
    this.#warmth[partition] = warmth + reads
    if (warmth + reads <= this.#warmFrom) return false
    const counter = this.#find(partition, namespace, key) ?? this.#take(partition, namespace, key, reads)
    if (counter === undefined) return false
    counter.weight += reads
    counter.reads += reads
    counter.bytes += reads * bytes
    if (!counter.isHot && counter.reads >= this.#hotReads && this.#standsOut(counter)) this.#becomeHot(counter)
    return counter.isHot
  }

  /** Among what is asked in this very window, too: the mean of the last may be that of a quiet hour. */
  #standsOut({ reads }: Counter): boolean {
    return reads * Math.max(this.#partitions, KEYS_MIN) >= this.#reads * HOT_TIMES
  }

  /** A window is over: so long it was. */
  turn(passedMs: number): void {
    const seconds = Math.max(passedMs, 1) / 1_000
    const kept = 0.5 ** ((seconds * 1_000) / HALF_LIFE_MS)
    this.#perSecond = faded(this.#perSecond, this.#reads / seconds, kept)
    this.#hotPerSecond = Math.max(HOT_PER_SECOND, (HOT_TIMES * this.#perSecond) / Math.max(this.#partitions, KEYS_MIN))
    this.#hotReads = (this.#hotPerSecond * WINDOW_MS) / 1_000
    this.#warmFrom = this.#hotReads * WARM_SHARE
    this.#reads = 0
    this.#partitions = 0
    this.#warmth.fill(0)
    for (const counter of this.#counters) if (counter.weight > 0) this.#turnOne(counter, seconds, kept)
    this.#least = this.#findLeast()
  }

  /** All that are counted, those in most demand first. */
  top(): Counted[] {
    const counted = this.#counters.filter(({ weight }) => weight > 0)
    return counted.sort((a, b) => b.perSecond - a.perSecond).map(counter => shownOf(counter))
  }

  get hot(): number {
    let hot = 0
    for (const { isHot } of this.#counters) if (isHot) hot++
    return hot
  }

  #turnOne(counter: Counter, seconds: number, kept: number): void {
    counter.perSecond = faded(counter.perSecond, counter.reads / seconds, kept)
    counter.bytesPerSecond = faded(counter.bytesPerSecond, counter.bytes / seconds, kept)
    counter.weight *= kept
    counter.reads = 0
    counter.bytes = 0
    if (counter.isHot) counter.isHot = counter.perSecond >= this.#hotPerSecond / 2
    else if (counter.perSecond >= this.#hotPerSecond) this.#becomeHot(counter)
    if (counter.weight < 1) return this.#free(counter)
    // All reads of what has a counter are counted, from the first of the window on.
    if (this.#warmth[counter.partition] === 0) this.#partitions++
    this.#warmth[counter.partition] = Math.ceil(this.#warmFrom)
  }

  #becomeHot(counter: Counter): void {
    counter.isHot = true
    // Of windows that are over it may have no reads yet.
    const perSecond = Math.max(counter.perSecond, (counter.reads * 1_000) / WINDOW_MS)
    this.#onHot({ ...shownOf(counter), perSecond })
  }

  #find(partition: number, namespace: string, key: string): Counter | undefined {
    for (let at = this.#first[partition] as number; at !== NONE; ) {
      const counter = this.#counters[at] as Counter
      if (counter.key === key && counter.namespace === namespace) return counter
      at = counter.after
    }
    return undefined
  }

  #take(partition: number, namespace: string, key: string, reads: number): Counter | undefined {
    const place = this.#least
    const least = this.#counters[place] as Counter
    least.weight -= reads
    if (least.weight > 0) {
      // It has been read since it was the least.
      if (least.reads > 0) this.#least = this.#findLeast()
      return undefined
    }
    if (this.#isPlaced(least)) this.#free(least)
    least.namespace = namespace
    least.key = key
    least.partition = partition
    least.after = this.#first[partition] as number
    this.#first[partition] = place
    // Its own are added at once; till then it must not seem free.
    least.weight = Number.MIN_VALUE
    this.#least = this.#findLeast()
    return least
  }

  #isPlaced({ partition }: Counter): boolean {
    return partition !== NONE
  }

  #free(counter: Counter): void {
    const place = this.#counters.indexOf(counter)
    const first = this.#first[counter.partition] as number
    if (first === place) this.#first[counter.partition] = counter.after
    else {
      let before = this.#counters[first] as Counter
      while (before.after !== place) before = this.#counters[before.after] as Counter
      before.after = counter.after
    }
    counter.free()
  }

  #findLeast(): number {
    let least = 0
    for (let place = 1; place < COUNTERS_MAX; place++)
      if ((this.#counters[place] as Counter).weight < (this.#counters[least] as Counter).weight) least = place
    return least
  }
}

function shownOf({ namespace, key, partition, perSecond, bytesPerSecond, isHot }: Counter): Counted {
  return { namespace, key, partition, perSecond, bytesPerSecond, isHot }
}

/** The first rate is what it is; from then on each is weighed with those before. */
function faded(before: number, now: number, kept: number): number {
  return before === 0 ? now : before * kept + now * (1 - kept)
}
