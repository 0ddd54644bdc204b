/**
 * What one member knows of which keys of a cache exist, and whether it may say so.
 *
 *   nothing known ─▶ hears of a generation ─▶ pulls its parts ─▶ complete ─▶ level ─▶ may deny
 *        ▲                    ▲                                              │
 *        │                    └── hears of a newer one ◀─────────────────────┤ in doubt: no longer level
 *        └── generation of no bits: there is no filter any more ◀────────────┘
 *
 * A generation is named by when its filling began. Within one, filters only grow and merge by OR. A newer one takes
 * the place of the older at once, before its parts are here: until then everything is let through.
 *
 * What was added while the newer one was being filled may not have been among the keys it was filled with. Two things
 * hold it: who fills adds to what it is filling, too; and whoever takes up a newer generation adds what it has heard of
 * since that began. The second is for members that did not know each other then; it has a cap, beyond which their
 * oldest is forgotten.
 *
 * Level means: nothing that others were told has passed this member by. That is in doubt when it was taken for dead,
 * or was in a minority (`roll.ts`), and is so again when it has merged with a member that is level, or with all.
 */
import type { FilterState } from '../rpc/messages.ts'
import { DRIFT_STAMPS, isNewer, type Version } from '../store/version.ts'
import { BITS_MAX, type Geometry, HASHES_MAX, KeyFilter } from './key-filter.ts'

/** Filters being filled at a time; each takes as much memory as the one there is. */
const FILLING_MAX = 4
/** Keys remembered for generations that began before they were added, and their characters. */
const RECENT_MAX = 20_000
const RECENT_UNITS_MAX = 2 * 1024 ** 2

const NO_GENERATION = { stamp: 0, writer: '', bits: 0, hashes: 0, hashing: 0 }

type Generation = Version & Geometry

/** A filter that is being filled, beside the one there is. */
export interface Filling {
  readonly begun: Version
  readonly filter: KeyFilter
  readonly doubts: number
}

export class Existence {
  /** What this member has declared; it bounds what others can make it hold. */
  readonly own: Geometry
  #generation: Generation = NO_GENERATION
  #filter: KeyFilter | undefined
  #complete = false
  #level = false
  #doubts = 0
  readonly #fillings = new Set<Filling>()
  #recent: { readonly key: string; readonly stamp: number }[] = []
  #recentUnits = 0

  constructor(own: Geometry) {
    this.own = own
  }

  get version(): Version {
    return this.#generation
  }

  /** Undefined where there is none to hold, or it cannot be held here. */
  get filter(): KeyFilter | undefined {
    return this.#filter
  }

  get isComplete(): boolean {
    return this.#complete
  }

  get isLevel(): boolean {
    return this.#level
  }

  get bytes(): number {
    let bytes = this.#filter?.bytes ?? 0
    for (const { filter } of this.#fillings) bytes += filter.bytes
    return bytes
  }

  get state(): FilterState {
    const { stamp, writer, bits, hashes, hashing } = this.#generation
    const holds = bits === 0 || this.#filter !== undefined
    const of = { stamp, writer, bits, hashes, hashing, holds, complete: this.#complete, level: this.#level }
    return { ...of, doubts: this.#doubts, print: this.#filter?.print ?? 0 }
  }

  /** By what this member has. Whether its view lets it say so is another matter. */
  mayExist(key: string): boolean {
    return this.#filter === undefined || !this.#complete || !this.#level || this.#filter.has(key)
  }

  /** These exist. `stamp`: when this was heard. */
  learn(keys: readonly string[], stamp: number): void {
    for (const key of keys) {
      this.#filter?.add(key)
      for (const { filter } of this.#fillings) filter.add(key)
      this.#recent.push({ key, stamp })
      this.#recentUnits += key.length
      if (this.#recent.length > RECENT_MAX || this.#recentUnits > RECENT_UNITS_MAX) this.#forgetOldest()
    }
  }

  /** A value of this key is here. True when that is news, which others should hear too. */
  isNews(key: string): boolean {
    if (this.#fillings.size > 0) return true
    return this.#filter !== undefined && !this.#filter.has(key)
  }

  /** Takes up a generation that is newer; false when it is not. What was here is given up at once. */
  hear(told: Generation): boolean {
    if (!isNewer(told, this.#generation)) return false
    const { stamp, writer, bits, hashes, hashing } = told
    this.#generation = { stamp, writer, bits, hashes, hashing }
    this.#filter = bits > 0 && this.#canHold(told) ? new KeyFilter(this.#generation) : undefined
    this.#complete = bits === 0
    this.#level = bits === 0
    this.#addRecent(this.#filter, stamp)
    return true
  }

  /** Undefined when too many are being filled already. `isSettled`: adds do not pass this member by as it begins. */
  beginFilling(begun: Version, isSettled: boolean): Filling | undefined {
    if (this.#fillings.size >= FILLING_MAX) return undefined
    const filling = { begun, filter: new KeyFilter(this.own), doubts: isSettled ? this.#doubts : Number.NaN }
    this.#fillings.add(filling)
    return filling
  }

  endFilling(filling: Filling): void {
    this.#fillings.delete(filling)
  }

  /** All keys are in it: it takes the place of what is here, unless that was begun later. */
  publish(filling: Filling): void {
    this.endFilling(filling)
    const { begun, filter, doubts } = filling
    if (!isNewer(begun, this.#generation)) return
    this.#generation = { ...begun, ...filter.geometry }
    this.#filter = filter
    this.#complete = true
    // What passed this member by while it was filling is missing here too.
    this.#level = doubts === this.#doubts
    this.#addRecent(filter, begun.stamp)
  }

  completed(): void {
    this.#complete = true
  }

  leveled(): void {
    this.#level = true
  }

  doubt(): void {
    this.#doubts++
    if (this.#filter !== undefined) this.#level = false
  }

  #canHold({ bits, hashes, hashing }: Geometry): boolean {
    const { own } = this
    if (bits > Math.min(BITS_MAX, own.bits * 2) || bits % 32 !== 0) return false
    return hashes > 0 && hashes <= HASHES_MAX && hashing === own.hashing
  }

  #addRecent(filter: KeyFilter | undefined, since: number): void {
    if (filter === undefined) return
    // Its clock may be ahead of ours. What comes in needlessly is a key that existed a minute before.
    for (const { key, stamp } of this.#recent) if (stamp >= since - DRIFT_STAMPS) filter.add(key)
  }

  #forgetOldest(): void {
    this.#recent = this.#recent.slice(this.#recent.length >>> 1)
    this.#recentUnits = this.#recent.reduce((units, { key }) => units + key.length, 0)
  }
}
