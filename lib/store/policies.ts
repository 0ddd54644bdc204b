/**
 * The eviction policies.
 *
 *   lru     the least recently used: an exact list
 *   lfu     the least used of late, with a gate against what is asked for once: `lfu.ts`
 *   ttl     what expires soonest: a timing wheel of the cache's own, as exact as its slots are fine
 *   random  any, each as likely: an array of all, the hole filled by the last
 */
import type { Random } from '../ports/random.ts'
import type { Eviction, EvictionDeps, EvictionName } from './eviction.ts'
import { Lfu } from './lfu.ts'
import { Rings } from './rings.ts'
import { EVICTION_LINKS, NOBODY, type Rows } from './rows.ts'
import type { TimingWheel } from './timing-wheel.ts'

export function evictionOf(name: EvictionName, deps: EvictionDeps): Eviction {
  switch (name) {
    case 'lru':
      return new Lru(deps.rows)
    case 'lfu':
      return new Lfu(deps)
    case 'ttl':
      return new SoonestFirst(deps.wheel)
    case 'random':
      return new AnyFirst(deps)
  }
}

const PLACES_MIN = 64

class Lru implements Eviction {
  readonly #rings: Rings

  constructor(rows: Rows) {
    this.#rings = new Rings(rows, EVICTION_LINKS, 1)
  }

  added(id: number): void {
    this.#rings.linkFirst(0, id)
  }

  used(id: number): void {
    if (this.#rings.first(0) === id) return
    this.#rings.unlink(id)
    this.#rings.linkFirst(0, id)
  }

  removed(id: number): void {
    this.#rings.unlink(id)
  }

  returned(id: number): void {
    this.added(id)
  }

  moved(from: number, to: number): void {
    this.#rings.moved(from, to)
  }

  victim(): number {
    return this.#rings.last(0)
  }

  ids(): number[] {
    return this.#rings.ids(0).reverse()
  }
}

/** The store keeps the wheel; here it is only asked. */
class SoonestFirst implements Eviction {
  readonly #wheel: TimingWheel

  constructor(wheel: TimingWheel) {
    this.#wheel = wheel
  }

  added(): void {}
  used(): void {}
  removed(): void {}
  returned(): void {}
  moved(): void {}

  victim(): number {
    return this.#wheel.soonest()
  }

  ids(): number[] {
    return this.#wheel.ids()
  }
}

/** The first link of a record is its place in the array. */
class AnyFirst implements Eviction {
  readonly #rows: Rows
  readonly #random: Random
  #ids = new Int32Array(PLACES_MIN)
  #count = 0

  constructor({ rows, random }: EvictionDeps) {
    this.#rows = rows
    this.#random = random
  }

  added(id: number): void {
    if (this.#count === this.#ids.length) this.#resize(this.#count * 2)
    this.#put(id, this.#count++)
  }

  used(): void {}

  removed(id: number): void {
    const last = this.#ids[--this.#count] as number
    if (last !== id) this.#put(last, this.#rows.get(id, EVICTION_LINKS))
    if (this.#count < this.#ids.length / 4 && this.#count >= PLACES_MIN) this.#resize(this.#ids.length / 2)
  }

  returned(id: number): void {
    this.added(id)
  }

  moved(_from: number, to: number): void {
    this.#put(to, this.#rows.get(to, EVICTION_LINKS))
  }

  victim(): number {
    return this.#count === 0 ? NOBODY : (this.#ids[this.#random.integer(this.#count)] as number)
  }

  ids(): number[] {
    return [...this.#ids.subarray(0, this.#count)]
  }

  #put(id: number, place: number): void {
    this.#ids[place] = id
    this.#rows.set(id, EVICTION_LINKS, place)
  }

  #resize(places: number): void {
    const ids = new Int32Array(places)
    ids.set(this.#ids.subarray(0, this.#count))
    this.#ids = ids
  }
}
