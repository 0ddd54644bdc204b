/** Chance from a seed, with the throws that a fuzzer needs; edges come up far more often than they would by chance. */
import type { Random } from '../../lib/ports/random.ts'
import { seededRandom } from '../../lib/sim/random.ts'

const LENGTHS = [
  0,
  1,
  2,
  7,
  8,
  127,
  128,
  255,
  256,
  1_024,
  1_025,
  65_535,
  65_536,
  2 ** 24,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1
]
const NUMBERS = [
  0,
  -0,
  1,
  -1,
  0.5,
  1_000,
  2 ** 31,
  2 ** 53,
  -(2 ** 53),
  1e308,
  5e-324,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  Number.NaN
]

export class Dice {
  readonly #random: Random

  constructor(seed: string) {
    this.#random = seededRandom(seed)
  }

  below(count: number): number {
    return this.#random.integer(count)
  }

  chance(share: number): boolean {
    return this.#random.float() < share
  }

  float(): number {
    return this.#random.float()
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T
  }

  /** Mostly short. */
  size(most: number): number {
    return this.chance(0.9) ? this.below(Math.min(most, 4) + 1) : this.below(most + 1)
  }

  length(): number {
    return this.chance(0.8) ? this.pick(LENGTHS) : this.below(2 ** 32)
  }

  number(): number {
    return this.chance(0.8) ? this.pick(NUMBERS) : (this.float() - 0.5) * 2 ** this.below(80)
  }

  bytes(count: number): Uint8Array {
    const bytes = new Uint8Array(count)
    for (let i = 0; i < count; i++) bytes[i] = this.below(256)
    return bytes
  }

  text(unitsMax: number): string {
    if (this.chance(0.5)) return this.pick(['a', 'k0', 'member-1', 'products', '']).slice(0, unitsMax)
    let text = this.chance(0.1) ? '\ufeff' : ''
    for (let i = this.size(Math.min(unitsMax, 60)); i > 0; i--)
      text += this.chance(0.7) ? String.fromCharCode(32 + this.below(95)) : this.pick(['\0', 'é', '€', '😀', '"', '\\'])
    // Half a pair is no text: it would not come back the same.
    return text.slice(0, unitsMax).replace(/[\ud800-\udbff]$/, '')
  }
}
