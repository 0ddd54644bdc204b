/**
 * Up to which version of its row a key has been invalidated here, so that one change of a row drops one value, however
 * often and in whatever order it is told of.
 *
 *   1. row changes to 5 ─ told: the value goes ─ a read loads row 5 ─ told once more, by another listener: nothing to do.
 *   2. row changes to 5, then to 6 ─ told of 6: the value goes ─ a read loads row 6 ─ told of 5: nothing to do.
 *
 * Whoever tells of a change does so after its commit, and a load that began before the first telling is not stored; so
 * what is here after it was loaded at that version or a higher one.
 *
 * Known to the owner alone and not to its copies: who forgets, drops a value once more, which costs a load and nothing
 * else. So it forgets whenever it may be wrong: when the key goes to another owner, when another member brings a record
 * of it, for that may have been loaded before, and with a clear. And when there are too many, the oldest first; and after
 * the time for which deletes are remembered.
 */
import { recordName } from '../base/record-name.ts'
import { isHigherRow } from '../codec/row-version.ts'
import type { Stats } from '../observe/stats.ts'
import type { ChangeOf, MessageOf } from '../rpc/messages.ts'
import type { MeshClock, Version } from '../store/version.ts'

export const ROWS_MAX = 16_384

export interface RowVersionsDeps {
  readonly meshClock: MeshClock
  readonly stats: Stats
  readonly tombstoneTtlMs: number
  readonly partitionOf: (namespace: string, key: string) => number
}

type Removed = MessageOf<'removed'>

interface Known {
  readonly namespace: string
  readonly key: string
  readonly row: string
  /** What the change that it made here has as version: backups may have to be waited for once more. */
  readonly made: Version
  readonly partition: number
  readonly untilMs: number
}

export class RowVersions {
  readonly #deps: RowVersionsDeps
  /** In the order in which they were made, and so of their ends. */
  readonly #known = new Map<string, Known>()

  constructor(deps: RowVersionsDeps) {
    this.#deps = deps
  }

  get size(): number {
    return this.#known.size
  }

  /** What `remove` answers, or that there was nothing to do. Without a version it is a delete like another. */
  once(ask: ChangeOf<'remove'>, remove: () => Removed): Removed {
    const { namespace, key, row } = ask
    if (row === '') return remove()
    const { meshClock, stats } = this.#deps
    const name = recordName(namespace, key)
    this.#dropOver(meshClock.now())
    const known = this.#known.get(name)
    if (known === undefined || isHigherRow(row, known.row)) return this.#noted(ask, name, remove())
    stats.invalidationsRepeatedTotal++
    const { stamp, writer } = known.made
    return { type: 'removed', existed: false, stamp, writer, taken: false }
  }

  /** Another member has brought a record of it. */
  forget(namespace: string, key: string): void {
    this.#known.delete(recordName(namespace, key))
  }

  /** A clear is also what is done when the origin has lost what it counted by, so what comes after it counts anew. */
  forgetMatching(namespace: string, matches: (key: string) => boolean): void {
    for (const [name, known] of this.#known)
      if (known.namespace === namespace && matches(known.key)) this.#known.delete(name)
  }

  lose(lost: (partition: number) => boolean): void {
    for (const [name, { partition }] of this.#known) if (lost(partition)) this.#known.delete(name)
  }

  #noted({ namespace, key, row }: ChangeOf<'remove'>, name: string, removed: Removed): Removed {
    const { meshClock, partitionOf, tombstoneTtlMs } = this.#deps
    const partition = partitionOf(namespace, key)
    this.#known.delete(name)
    const untilMs = meshClock.now() + tombstoneTtlMs
    this.#known.set(name, { namespace, key, row, made: removed, partition, untilMs })
    const [oldest] = this.#known.keys()
    if (this.#known.size > ROWS_MAX && oldest !== undefined) this.#known.delete(oldest)
    return removed
  }

  #dropOver(nowMs: number): void {
    for (const [name, { untilMs }] of this.#known) {
      if (untilMs > nowMs) return
      this.#known.delete(name)
    }
  }
}
