/**
 * Names that many records share, as small numbers: a name lives as long as something holds it, so the ids of members
 * that come and go leave nothing behind. Each has a hash that is the same at every member.
 */
import { hashOf } from './key-text.ts'

const NAMES_MAX = 0x10000
export const FULL = -1
/** Of no secret: all members come to the same. */
const SEED = { low: 0x6d657368, high: 0x6e616d65 }

export class Names {
  readonly #ids = new Map<string, number>()
  readonly #names: string[] = []
  readonly #hashes: number[] = []
  readonly #holders: number[] = []
  readonly #unused: number[] = []

  get size(): number {
    return this.#ids.size
  }

  /** FULL when there are as many names as numbers. */
  hold(name: string): number {
    const known = this.#ids.get(name)
    const id = known ?? this.#unused.pop() ?? this.#names.length
    if (id === NAMES_MAX) return FULL
    if (known === undefined) {
      this.#ids.set(name, id)
      this.#names[id] = name
      this.#hashes[id] = hashOf(name, SEED)
      this.#holders[id] = 0
    }
    this.#holders[id] = (this.#holders[id] as number) + 1
    return id
  }

  release(id: number): void {
    const holders = (this.#holders[id] as number) - 1
    this.#holders[id] = holders
    if (holders > 0) return
    this.#ids.delete(this.name(id))
    this.#names[id] = ''
    this.#unused.push(id)
  }

  id(name: string): number | undefined {
    return this.#ids.get(name)
  }

  hash(id: number): number {
    return this.#hashes[id] as number
  }

  name(id: number): string {
    return this.#names[id] as string
  }
}
