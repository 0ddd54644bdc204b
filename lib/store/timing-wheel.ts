/**
 * When records expire: a hierarchical timing wheel (Varghese and Lauck, 1987). Nothing is scanned and there is no timer
 * for a record; putting one in and taking it out are a few writes.
 *
 * Five levels of 64 slots; a slot of the lowest is an eighth of a second, one of the next as long as the level below.
 * When time enters a coarser slot, all of it is hung as one list onto what is due and sorted from there, a bounded
 * number at a time: into a finer slot, or out. A jump of the clock, however far, is at most 64 slots for each level and
 * moves no record. Further than four years waits in the last slot and is sorted again there; `Infinity` has its own list.
 *
 * Not promised: that a record is gone when its time is over, only that it comes out soon after. Whoever reads compares
 * the time itself.
 */
import { Rings } from './rings.ts'
import { EXPIRES, NOBODY, type Rows, WHEEL_LINKS } from './rows.ts'

const TICK_MS = 128
const SLOTS = 64
const LEVELS = 5
const SPANS = Array.from({ length: LEVELS + 1 }, (_, level) => SLOTS ** level)
const HORIZON = SPANS[LEVELS] as number
const DUE = LEVELS * SLOTS
const NEVER = DUE + 1
/** Of a slot that is not sorted yet, so many are compared to find the soonest. */
const SAMPLED = 16

export class TimingWheel {
  readonly #rows: Rows
  readonly #rings: Rings
  /** Slots before this one are due. */
  #tick = 0
  #nextTickMs = Number.NEGATIVE_INFINITY

  constructor(rows: Rows) {
    this.#rows = rows
    this.#rings = new Rings(rows, WHEEL_LINKS, NEVER + 1)
  }

  /** From this time on `advance` has something to do. */
  get nextTickMs(): number {
    return this.#nextTickMs
  }

  add(id: number): void {
    this.#rings.linkLast(this.#slotOf(id), id)
  }

  remove(id: number): void {
    this.#rings.unlink(id)
  }

  moved(from: number, to: number): void {
    this.#rings.moved(from, to)
  }

  /** Time goes on: what lies in the slots that it passes is due, to be taken out with `due`. */
  advance(nowMs: number): void {
    if (!(nowMs >= this.#nextTickMs)) return
    const tick = Math.max(this.#tick, Math.floor(nowMs / TICK_MS))
    for (let level = 0; level < LEVELS; level++) {
      const to = firstAhead(tick, level)
      const from = Math.max(firstAhead(this.#tick, level), to - SLOTS)
      if (from >= to) break
      for (let slot = from; slot < to; slot++) this.#rings.append(level * SLOTS + (slot % SLOTS), DUE)
    }
    this.#tick = tick
    this.#nextTickMs = (tick + 1) * TICK_MS
  }

  /** Looks at the first that is due: its number if its time is over, NOBODY if it has some left and was sorted anew. */
  due(): number {
    const id = this.#rings.first(DUE)
    const slot = id === NOBODY ? DUE : this.#slotOf(id)
    if (slot === DUE) return id
    this.#rings.unlink(id)
    this.#rings.linkLast(slot, id)
    return NOBODY
  }

  ids(): number[] {
    return Array.from({ length: NEVER + 1 }, (_, ring) => this.#rings.ids(ring)).flat()
  }

  get hasDue(): boolean {
    return this.#rings.first(DUE) !== NOBODY
  }

  /** The record that expires first, as exactly as the slots are fine; with none that expires, the oldest that never does. */
  soonest(): number {
    const due = this.#soonestOf(DUE)
    if (due !== NOBODY) return due
    for (let level = 0; level < LEVELS; level++) {
      const from = firstAhead(this.#tick, level)
      for (let slot = from; slot < from + SLOTS; slot++) {
        const id = this.#soonestOf(level * SLOTS + (slot % SLOTS))
        if (id !== NOBODY) return id
      }
    }
    return this.#rings.first(NEVER)
  }

  #soonestOf(ring: number): number {
    let soonest = this.#rings.first(ring)
    let id = soonest
    for (let seen = 1; seen < SAMPLED && id !== NOBODY; seen++) {
      if (this.#expires(id) < this.#expires(soonest)) soonest = id
      id = this.#rings.after(id)
    }
    return soonest
  }

  #slotOf(id: number): number {
    const expiresMs = this.#expires(id)
    if (expiresMs === Number.POSITIVE_INFINITY) return NEVER
    const tick = Math.floor(expiresMs / TICK_MS)
    const ahead = tick - this.#tick
    if (!(ahead >= 0)) return DUE
    const reached = ahead < HORIZON ? tick : this.#tick + HORIZON - 1
    let level = 0
    while (reached - this.#tick >= (SPANS[level + 1] as number)) level++
    return level * SLOTS + (Math.floor(reached / (SPANS[level] as number)) % SLOTS)
  }

  #expires(id: number): number {
    return this.#rows.getDouble(id, EXPIRES)
  }
}

/** The lowest slots are over when time has left them; the coarser are sorted when time enters them. */
function firstAhead(tick: number, level: number): number {
  return level === 0 ? tick : Math.floor(tick / (SPANS[level] as number)) + 1
}
