/**
 * When tags were invalidated at this member: of a load that is dead when it lands it must be known since when, for who
 * began to wait before that may have it, and who began later may not. The floor does not tell: a tag that is invalidated
 * again has only the last of its floors, and a value with two tags the higher of both.
 *
 *   1. lease ─ A waits ─ 'menu' ─ B waits ─ 'menu' again ─ the load lands: it is A's and not B's.
 *
 * So many moments are kept, and a load that began before the oldest counts as dead since it began.
 */
import { decodeTags } from '../codec/tags.ts'
import { ALL_CACHES } from '../store/floor.ts'

const MOMENTS_MAX = 4_096

interface Moment {
  /** Or `ALL_CACHES`. */
  readonly namespace: string
  readonly tag: string
  readonly atMs: number
}

export class TagMoments {
  #moments: Moment[] = []
  /** Up to then moments may have been forgotten. */
  #forgottenMs = Number.NEGATIVE_INFINITY

  add(namespace: string, tags: readonly string[], atMs: number): void {
    for (const tag of tags) this.#moments.push({ namespace, tag, atMs })
    if (this.#moments.length <= 2 * MOMENTS_MAX) return
    const forgotten = this.#moments.splice(0, this.#moments.length - MOMENTS_MAX)
    this.#forgottenMs = forgotten.at(-1)?.atMs as number
  }

  /** The first time since then that one of these tags was invalidated; undefined where none was. */
  firstSince(namespace: string, tags: Uint8Array, sinceMs: number): number | undefined {
    if (sinceMs <= this.#forgottenMs) return sinceMs
    const own = new Set(decodeTags(tags))
    const isMeant = (one: Moment): boolean =>
      one.atMs >= sinceMs && own.has(one.tag) && (one.namespace === namespace || one.namespace === ALL_CACHES)
    return this.#moments.find(isMeant)?.atMs
  }
}
