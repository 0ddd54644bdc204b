/**
 * The caches that have something in the store, or a limit of their own, by name and by number. Others are forgotten:
 * each new version of a cache is a name more, and members may name caches that nobody here has declared.
 */
import { assert } from '../base/assert.ts'
import type { Share } from './share.ts'

const SHARES_MAX = 0x10000

export class Shares {
  readonly #make: (id: number, name: string) => Share
  readonly #byName = new Map<string, Share>()
  readonly #byId: (Share | undefined)[] = []
  readonly #unused: number[] = []
  /** Those that lost their last record in this call; until its end somebody may hold them. */
  #emptied: Share[] = []

  constructor(make: (id: number, name: string) => Share) {
    this.#make = make
  }

  get size(): number {
    return this.#byName.size
  }

  get(name: string): Share | undefined {
    return this.#byName.get(name)
  }

  at(id: number): Share {
    return this.#byId[id] as Share
  }

  /** Known from now on; undefined when there are more than can be counted. */
  of(name: string): Share | undefined {
    const known = this.#byName.get(name)
    if (known !== undefined) return known
    const id = this.#unused.pop() ?? this.#byId.length
    if (id === SHARES_MAX) return undefined
    const share = this.#make(id, name)
    this.#byName.set(name, share)
    this.#byId[id] = share
    // Should nothing be put into it after all.
    this.#emptied.push(share)
    return share
  }

  emptied(share: Share): void {
    this.#emptied.push(share)
  }

  /** At the end of a call: forgets those that are nobody's business any more. */
  settle(): void {
    if (this.#emptied.length === 0) return
    for (const share of this.#emptied) {
      if (share.records > 0 || share.isDeclared || this.#byId[share.id] !== share) continue
      this.#byName.delete(share.name)
      this.#byId[share.id] = undefined
      this.#unused.push(share.id)
    }
    this.#emptied = []
  }

  /** The one that has most of it. */
  most(amount: (share: Share) => number): Share {
    let most: Share | undefined
    for (const share of this.#byName.values()) if (most === undefined || amount(share) > amount(most)) most = share
    assert(most !== undefined, 'a store that is full knows a cache')
    return most
  }
}
