/**
 * Floors: whatever of a cache lies below one is dead, wherever it may still turn up. A clear leaves one behind, for a
 * member that was cut off may come back with what was cleared; and so does a tag that was invalidated
 * (`tag-floors.ts`). Of one cache and prefix only the highest counts, so tables of two members merge in any order to the
 * same.
 *
 * They are few and bounded: beyond `PREFIXES_MAX` the oldest part of the cache that has most of them becomes a floor for
 * all of that cache, with its stamp: then more is dead than was asked for, but only what is older than it. Where all
 * are whole caches already, the oldest is forgotten. Both are counted. After `keepMs` each goes by itself.
 *
 * Not promised: that a member which was away for longer brings nothing back; that is what the horizon is for.
 */
import { isInRange, type KeyRange, rangeOf } from '../codec/keys.ts'
import type { Stats } from '../observe/stats.ts'
import type { Floor, Floored } from './floor.ts'
import { TagFloors } from './tag-floors.ts'

const PREFIXES_MAX = 1_024
/** So many that were laid last are known in order; who lacks more is told all. */
const LATEST_MAX = 1_024

const WHOLE = ''

interface Laid extends Floor {
  readonly range: KeyRange
}

export class Floors {
  readonly #keepMs: number
  readonly #stats: Stats
  readonly #onLaid: (floor: Floor) => void
  readonly #byNamespace = new Map<string, Ground>()
  readonly tags: TagFloors
  #size = 0
  #latest: Floor[] = []
  #laid = 0
  /** The highest of whole caches that there ever was. */
  #wholeTop = 0

  /** `onLaid`: something below is dead from now on. */
  constructor(keepMs: number, stats: Stats, onLaid: (floor: Floor) => void = () => {}) {
    this.#keepMs = keepMs
    this.#stats = stats
    this.#onLaid = onLaid
    this.tags = new TagFloors(stats)
  }

  /** What is as new as this is not dead behind anybody's back: of a tag, or with all of its cache. */
  get behindTop(): number {
    return Math.max(this.tags.top, this.#wholeTop)
  }

  /** All of this cache below it is dead. */
  wholeBelow(namespace: string): number {
    return this.#byNamespace.get(namespace)?.laid.get(WHOLE)?.stamp ?? 0
  }

  get size(): number {
    return this.#size + this.tags.size
  }

  /** A floor that it lies below, of its tags the highest. */
  killer({ namespace, key, keeping }: Floored, stamp: number): Floor | undefined {
    const part = this.#size > 0 ? this.#byNamespace.get(namespace)?.killer(key, stamp) : undefined
    return part ?? (keeping && this.tags.killer(namespace, keeping.tags, stamp))
  }

  list(): readonly Floor[] {
    return [...this.#parts(), ...this.tags.list()]
  }

  #parts(): Floor[] {
    return [...this.#byNamespace.values()].flatMap(ground => [...ground.laid.values()].map(told))
  }

  /** What is to be enforced now: nothing where it was known, and more than itself where others had to be folded. */
  add(floor: Floor, nowMs: number): readonly Floor[] {
    if (floor.atMs + this.#keepMs <= nowMs) return []
    const raised = floor.kind === 'prefix' ? this.#addPart(floor) : this.tags.add(floor)
    this.#laid += raised.length
    for (const { kind, text, stamp } of raised)
      if (kind === 'prefix' && text === WHOLE) this.#wholeTop = Math.max(this.#wholeTop, stamp)
    this.#latest.push(...raised)
    if (this.#latest.length > 2 * LATEST_MAX) this.#latest = this.#latest.slice(-LATEST_MAX)
    for (const one of raised) this.#onLaid(one)
    return raised
  }

  /** How many have been laid, ever. */
  get laid(): number {
    return this.#laid
  }

  /** Those laid since there had been so many, or more. */
  since(laid: number): readonly Floor[] {
    const missed = this.#laid - laid
    if (missed === 0) return []
    return missed > this.#latest.length ? this.list() : this.#latest.slice(-missed)
  }

  expire(nowMs: number): void {
    const isOver = (floor: Floor): boolean => floor.atMs + this.#keepMs <= nowMs
    if (this.#size > 0) this.#takeUp(isOver)
    this.tags.takeUp(isOver)
  }

  #addPart(floor: Floor): Floor[] {
    const raised = this.#lay(floor) ? [floor] : []
    while (this.#size > PREFIXES_MAX) {
      this.#stats.floorsFoldedTotal++
      raised.push(...this.#fold())
    }
    return raised
  }

  #lay(floor: Floor): boolean {
    const ground = this.#byNamespace.get(floor.namespace) ?? new Ground()
    this.#byNamespace.set(floor.namespace, ground)
    const before = ground.laid.size
    const isLaid = ground.lay(floor)
    this.#size += ground.laid.size - before
    return isLaid
  }

  #fold(): Floor[] {
    const most = [...this.#byNamespace.values()].reduce((a, b) => (b.parts > a.parts ? b : a))
    const oldest = most.parts > 0 ? most.oldestPart() : oldestOf(this.#parts())
    this.#takeUp(one => one.namespace === oldest.namespace && one.text === oldest.text)
    const whole = { ...oldest, text: WHOLE }
    return oldest.text !== WHOLE && this.#lay(whole) ? [whole] : []
  }

  #takeUp(isGone: (floor: Floor) => boolean): void {
    for (const [namespace, ground] of this.#byNamespace) {
      this.#size -= ground.takeUp(isGone)
      if (ground.laid.size === 0) this.#byNamespace.delete(namespace)
    }
  }
}

/** Those of one cache, by prefix. */
class Ground {
  readonly laid = new Map<string, Laid>()
  /** No record from here on is below any of them: what is new need not be compared with each. */
  #top = Number.NEGATIVE_INFINITY

  get parts(): number {
    return this.laid.size - (this.laid.has(WHOLE) ? 1 : 0)
  }

  killer(key: string, stamp: number): Floor | undefined {
    if (stamp >= this.#top) return undefined
    for (const floor of this.laid.values()) if (stamp < floor.stamp && isInRange(key, floor.range)) return told(floor)
    return undefined
  }

  oldestPart(): Floor {
    return oldestOf([...this.laid.values()].filter(({ text }) => text !== WHOLE))
  }

  /** False where it kills nothing that the others do not, though it may do so for longer. */
  lay(floor: Floor): boolean {
    const { text, stamp, atMs } = floor
    const known = this.laid.get(text)
    if (known !== undefined && covers(known, floor)) return false
    const whole = this.laid.get(WHOLE)
    if (whole !== undefined && covers(whole, floor)) return false
    const laid = {
      ...floor,
      stamp: Math.max(stamp, known?.stamp ?? stamp),
      atMs: Math.max(atMs, known?.atMs ?? atMs),
      range: rangeOf(text)
    }
    if (text === WHOLE) this.takeUp(one => covers(laid, one))
    this.laid.set(text, laid)
    this.#top = Math.max(this.#top, laid.stamp)
    return stamp > Math.max(known?.stamp ?? 0, whole?.stamp ?? 0)
  }

  takeUp(isGone: (floor: Floor) => boolean): number {
    const gone = [...this.laid.values()].filter(isGone)
    for (const { text } of gone) this.laid.delete(text)
    if (gone.length > 0) this.#top = Math.max(...[...this.laid.values()].map(({ stamp }) => stamp))
    return gone.length
  }
}

function told({ kind, namespace, text, stamp, atMs }: Laid): Floor {
  return { kind, namespace, text, stamp, atMs }
}

/** Kills as much, for as long, of the same keys or more. */
function covers(a: Floor, b: Floor): boolean {
  return a.stamp >= b.stamp && a.atMs >= b.atMs
}

function oldestOf(floors: readonly Floor[]): Floor {
  return floors.reduce((a, b) => (b.stamp < a.stamp ? b : a))
}
