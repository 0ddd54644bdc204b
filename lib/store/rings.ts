/**
 * Doubly linked lists of records, with their links in the rows: so many bytes for each record and no objects.
 *
 * Each list is a ring that runs through one pseudo record, its end; ends have numbers below zero and live in an
 * array of their own. So linking and unlinking know no special case, unlinking need not know which list it is,
 * and a whole list moves to another in a few steps. A ring that was never used is all zeros and reads as empty.
 */
import { NOBODY, type Rows } from './rows.ts'

export class Rings {
  readonly #rows: Rows
  readonly #before: number
  readonly #after: number
  readonly #ends: Int32Array

  constructor(rows: Rows, links: number, count: number) {
    this.#rows = rows
    this.#before = links
    this.#after = links + 1
    this.#ends = new Int32Array(count * 2)
  }

  first(ring: number): number {
    return asRecord(this.#next(endOf(ring)))
  }

  last(ring: number): number {
    return asRecord(this.#previous(endOf(ring)))
  }

  /** The one after; NOBODY after the last. */
  after(id: number): number {
    return asRecord(this.#next(id))
  }

  ids(ring: number): number[] {
    const ids: number[] = []
    for (let id = this.first(ring); id !== NOBODY; id = this.after(id)) ids.push(id)
    return ids
  }

  /** The lists that have something, in one glance at their ends. */
  filled(): number[] {
    const filled: number[] = []
    for (let ring = 0; ring * 2 < this.#ends.length; ring++) if ((this.#ends[ring * 2] as number) > 0) filled.push(ring)
    return filled
  }

  linkFirst(ring: number, id: number): void {
    const end = endOf(ring)
    this.#between(end, id, this.#next(end))
  }

  linkLast(ring: number, id: number): void {
    const end = endOf(ring)
    this.#between(this.#previous(end), id, end)
  }

  unlink(id: number): void {
    const words = this.#rows.wordsOf(id)
    const start = this.#rows.startOf(id)
    const previous = words[start + this.#before] as number
    const next = words[start + this.#after] as number
    this.#setNext(previous, next)
    this.#setPrevious(next, previous)
  }

  /** The row of `from` has been copied to `to`: its neighbours learn of it. */
  moved(from: number, to: number): void {
    const previous = this.#rows.get(to, this.#before)
    const next = this.#rows.get(to, this.#after)
    if (previous !== from) this.#setNext(previous, to)
    if (next !== from) this.#setPrevious(next, to)
  }

  /** All of one ring goes to the end of another. */
  append(from: number, to: number): void {
    const first = this.first(from)
    if (first === NOBODY) return
    const last = this.last(from)
    const end = endOf(to)
    const before = this.#previous(end)
    this.#setNext(before, first)
    this.#rows.set(first, this.#before, before)
    this.#rows.set(last, this.#after, end)
    this.#setPrevious(end, last)
    this.#ends[from * 2] = 0
    this.#ends[from * 2 + 1] = 0
  }

  #between(previous: number, id: number, next: number): void {
    const words = this.#rows.wordsOf(id)
    const start = this.#rows.startOf(id)
    words[start + this.#before] = previous
    words[start + this.#after] = next
    this.#setNext(previous, id)
    this.#setPrevious(next, id)
  }

  #next(id: number): number {
    if (id >= 0) return this.#rows.get(id, this.#after)
    return (this.#ends[~id * 2] as number) || id
  }

  #previous(id: number): number {
    if (id >= 0) return this.#rows.get(id, this.#before)
    return (this.#ends[~id * 2 + 1] as number) || id
  }

  #setNext(id: number, next: number): void {
    if (id >= 0) this.#rows.set(id, this.#after, next)
    else this.#ends[~id * 2] = next
  }

  #setPrevious(id: number, previous: number): void {
    if (id >= 0) this.#rows.set(id, this.#before, previous)
    else this.#ends[~id * 2 + 1] = previous
  }
}

function endOf(ring: number): number {
  return ~ring
}

function asRecord(id: number): number {
  return id > 0 ? id : NOBODY
}
