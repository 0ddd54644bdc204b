/**
 * W-TinyLFU (Einziger, Eisman and Manes, 2017): what is used often stays, and a scan passes by.
 *
 *   new ─▶ window, 1 % ─▶ the gate: more often used than the oldest of the probation? ─ no ─▶ out
 *                              └ yes ─▶ probation ─ used again ─▶ protected, 80 % ─ too many ─▶ probation
 *
 * The window holds what is new long enough to be used again. Who leaves it while the cache is full meets the gate: it
 * stays only if the sketch has seen it more often than the one that would have to go for it. A million keys read once
 * lose that comparison a million times, and the cache is as it was.
 *
 * While there is room nobody is compared. In one case of 128 a newcomer of some standing wins although it should not:
 * else whoever knows which keys collide in the sketch could keep others out for good.
 */
import type { Random } from '../ports/random.ts'
import type { Eviction, EvictionDeps } from './eviction.ts'
import { FrequencySketch } from './frequency-sketch.ts'
import { Rings } from './rings.ts'
import { EVICTION_LINKS, HASH, NOBODY, type Rows, SEGMENT_MASK, SEGMENT_SHIFT, TRAITS } from './rows.ts'

const WINDOW = 0
const PROBATION = 1
const PROTECTED = 2
const WINDOW_SHARE = 0.01
const PROTECTED_SHARE = 0.8
const STANDING = 5
const GRACE = 128

export class Lfu implements Eviction {
  readonly #rows: Rows
  readonly #random: Random
  readonly #bytesOf: (id: number) => number
  readonly #rings: Rings
  readonly #sketch = new FrequencySketch()
  /** By segment. */
  readonly #bytes = [0, 0, 0]
  #count = 0

  constructor({ rows, random, bytesOf }: EvictionDeps) {
    this.#rows = rows
    this.#random = random
    this.#bytesOf = bytesOf
    this.#rings = new Rings(rows, EVICTION_LINKS, 3)
  }

  added(id: number): void {
    this.#sketch.fit(++this.#count)
    this.#sketch.used(this.#rows.get(id, HASH))
    // Whoever has to leave the window now has passed the gate, or there was room.
    const bytes = this.#bytesOf(id)
    while (this.#bytes[WINDOW] !== 0 && !this.#windowTakes(bytes)) this.#move(this.#rings.last(WINDOW), PROBATION)
    this.#link(id, WINDOW)
  }

  used(id: number): void {
    this.#sketch.used(this.#rows.get(id, HASH))
    this.#move(id, this.#segmentOf(id) === WINDOW ? WINDOW : PROTECTED)
    this.#boundProtected()
  }

  removed(id: number): void {
    this.#unlink(id)
    this.#count--
  }

  /** Where it was, and used. */
  returned(id: number): void {
    this.#count++
    this.#link(id, this.#segmentOf(id))
    this.used(id)
  }

  moved(from: number, to: number): void {
    this.#rings.moved(from, to)
  }

  victim(): number {
    const oldest = this.#rings.last(PROBATION) || this.#rings.last(PROTECTED)
    const newcomer = this.#rings.last(WINDOW)
    if (oldest === NOBODY || newcomer === NOBODY) return oldest || newcomer
    // Asked for room because something new comes, which will push the newcomer out of the window.
    const isLeaving = !this.#windowTakes(this.#bytesOf(newcomer))
    return isLeaving && !this.#admits(newcomer, oldest) ? newcomer : oldest
  }

  ids(): number[] {
    return [PROBATION, PROTECTED, WINDOW].flatMap(segment => this.#rings.ids(segment).reverse())
  }

  #admits(newcomer: number, oldest: number): boolean {
    const frequency = this.#sketch.frequency(this.#rows.get(newcomer, HASH))
    if (frequency > this.#sketch.frequency(this.#rows.get(oldest, HASH))) return true
    return frequency > STANDING && this.#random.integer(GRACE) === 0
  }

  #windowTakes(bytes: number): boolean {
    const [window, probation, guarded] = this.#bytes as [number, number, number]
    return window + bytes <= (window + probation + guarded + bytes) * WINDOW_SHARE
  }

  #boundProtected(): void {
    const [, probation, guarded] = this.#bytes as [number, number, number]
    let over = guarded - (probation + guarded) * PROTECTED_SHARE
    while (over > 0) {
      const id = this.#rings.last(PROTECTED)
      over -= this.#bytesOf(id)
      this.#move(id, PROBATION)
    }
  }

  #move(id: number, segment: number): void {
    this.#unlink(id)
    this.#link(id, segment)
  }

  #link(id: number, segment: number): void {
    this.#rows.set(id, TRAITS, (this.#rows.get(id, TRAITS) & ~SEGMENT_MASK) | (segment << SEGMENT_SHIFT))
    this.#rings.linkFirst(segment, id)
    this.#bytes[segment] = (this.#bytes[segment] as number) + this.#bytesOf(id)
  }

  #unlink(id: number): void {
    const segment = this.#segmentOf(id)
    this.#rings.unlink(id)
    this.#bytes[segment] = (this.#bytes[segment] as number) - this.#bytesOf(id)
  }

  #segmentOf(id: number): number {
    return (this.#rows.get(id, TRAITS) & SEGMENT_MASK) >>> SEGMENT_SHIFT
  }
}
