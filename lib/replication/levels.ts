/**
 * Which partitions are level: for each that we are primary of, which of its backups are known to have all that we have.
 *
 * A bit for each rank. A bit is set when a digest was found equal at its place in the stream, and taken away when
 * another member has the rank, when it is another process, when the stream to it was lost, or when a digest differed.
 * In between the stream keeps them level.
 */
import { PARTITIONS } from '../placement/partitions.ts'

const ALL = 0xff

/** Of all bits of a partition: nobody was known to have it differently. */
export function isSure(bits: number): boolean {
  return bits === ALL
}

export class Levels {
  readonly #bits = new Uint8Array(PARTITIONS).fill(ALL)

  isLevel(partition: number, rank: number): boolean {
    return ((this.#bits[partition] as number) & (1 << rank)) !== 0
  }

  /** All are level from now on; answers with what was. */
  setAll(): Uint8Array {
    const before = this.#bits.slice()
    this.#bits.fill(ALL)
    return before
  }

  set(partition: number, rank: number, level: boolean): void {
    const bit = 1 << rank
    this.#bits[partition] = level ? (this.#bits[partition] as number) | bit : (this.#bits[partition] as number) & ~bit
  }

  /** Those that somebody may have differently, empty ones too. */
  open(): number[] {
    const open: number[] = []
    for (let partition = 0; partition < PARTITIONS; partition++) if (this.#bits[partition] !== ALL) open.push(partition)
    return open
  }

  /** Nobody is known to have all of it. */
  clear(partition: number): void {
    this.#bits[partition] = 0
  }
}
