/**
 * How often the records of each partition were used of late, to say which to fetch first: one count a read, halved
 * every ten seconds. Not promised: a rate; a number to be compared with others of the same moment.
 */
import { PARTITIONS_MAX } from './rows.ts'

const HALVED_EVERY_MS = 10_000

export class Heat {
  readonly #uses = new Uint32Array(PARTITIONS_MAX)
  #cooledAtMs = Number.NEGATIVE_INFINITY

  used(partition: number): void {
    ;(this.#uses[partition] as number)++
  }

  of(partition: number): number {
    return this.#uses[partition] as number
  }

  cool(nowMs: number): void {
    if (this.#cooledAtMs === Number.NEGATIVE_INFINITY) this.#cooledAtMs = nowMs
    const times = Math.floor((nowMs - this.#cooledAtMs) / HALVED_EVERY_MS)
    if (times <= 0) return
    this.#cooledAtMs += times * HALVED_EVERY_MS
    const bits = Math.min(times, 31)
    for (let i = 0; i < PARTITIONS_MAX; i++) this.#uses[i] = (this.#uses[i] as number) >>> bits
  }
}
