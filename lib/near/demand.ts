/**
 * What other members ask of the keys that this one owns, and which of them are hot: a reply about a hot key lets its
 * reader keep the value near for a moment (`near: 'hot'`).
 *
 * Counted are reads answered to others, and those that their near copies have answered since, which they tell: so a key
 * does not cool down because it is kept near. What this process reads of its own keys costs nobody anything, and is not
 * counted.
 *
 * Windows are turned by a timer that runs while something is asked for: a read looks at no clock.
 */
import { decodeKey, type Key } from '../codec/keys.ts'
import { cacheNameOf } from '../fill/definition.ts'
import type { Happenings } from '../observe/happenings.ts'
import type { Cancel, Clock } from '../ports/clock.ts'
import { type Counted, TopKeys, WINDOW_MS } from './top-keys.ts'

/** A larger value is not worth the room that it takes in every reader. */
const GRANT_BYTES_MAX = 256 * 1024

/** A key in demand, for people. */
export interface HotKey {
  readonly cache: string
  readonly key: Key
  readonly perSecond: number
  readonly bytesPerSecond: number
}

export interface DemandDeps {
  readonly clock: Clock
  readonly owns: (partition: number) => boolean
  readonly happenings: Pick<Happenings, 'tell'>
}

export class Demand {
  readonly #deps: DemandDeps
  readonly #top: TopKeys
  #disarm: Cancel | undefined
  #turnedAtMs = 0

  constructor(deps: DemandDeps) {
    this.#deps = deps
    this.#top = new TopKeys(({ namespace, key, perSecond }) =>
      deps.happenings.tell('hot', namespace, { key, perSecond })
    )
  }

  stop(): void {
    this.#disarm?.()
  }

  /** Another member has asked for it. True where it may keep what it gets for a moment. */
  asked(partition: number, namespace: string, key: string, bytes: number): boolean {
    if (this.#disarm === undefined) this.#arm()
    return this.#top.count(partition, namespace, key, bytes, 1) && bytes <= GRANT_BYTES_MAX
  }

  /** Another member has read it near, so often since it last said so. */
  readNear(partition: number, namespace: string, key: string, bytes: number, reads: number): void {
    if (this.#disarm === undefined) this.#arm()
    this.#top.count(partition, namespace, key, bytes, reads)
  }

  get hotKeys(): number {
    return this.#top.hot
  }

  /** Those in most demand first. */
  list(): HotKey[] {
    return this.#top
      .top()
      .filter(({ partition, perSecond }) => perSecond > 0 && this.#deps.owns(partition))
      .map(hotKeyOf)
      .filter(hot => hot !== undefined)
  }

  #arm(): void {
    const { clock } = this.#deps
    this.#turnedAtMs = clock.monotonic()
    this.#disarm = clock.after(WINDOW_MS, () => {
      this.#top.turn(clock.monotonic() - this.#turnedAtMs)
      this.#disarm = undefined
      if (!this.#top.isCold) this.#arm()
    })
  }
}

/** Undefined for a key that no member of this release writes: it is counted like any other, and has no name. */
function hotKeyOf({ namespace, key, perSecond, bytesPerSecond }: Counted): HotKey | undefined {
  try {
    return { cache: cacheNameOf(namespace), key: decodeKey(key), perSecond, bytesPerSecond }
  } catch {
    return undefined
  }
}
