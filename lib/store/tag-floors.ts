/**
 * Tags that were invalidated: what has one of them and a version below its floor is dead. Unlike a part of a cache, what
 * has a tag is not looked for when its floor is laid: that would be a walk through all records for each tag. It is found
 * dead when somebody reads it, and swept behind (`floor-sweep.ts`); so a floor costs a line in a table, and a read of what
 * has no tags one comparison.
 *
 * As many tags may be invalidated as there are rows of a database, so there is room for many floors; beyond it the
 * oldest becomes a floor for all that has any tag in its cache, with its stamp. That is counted: more is dead then than
 * was asked for, but only what is older than it.
 *
 * A floor of no cache is one of all caches.
 */
import { decodeTags } from '../codec/tags.ts'
import type { Stats } from '../observe/stats.ts'
import { ALL_CACHES, type Floor } from './floor.ts'

export const TAG_FLOORS_MAX = 32_768

/** Those of one cache, or of all. */
class Cache {
  readonly byTag = new Map<string, Floor>()
  /** Below it all is dead that has a tag. */
  tagged: Floor | undefined

  killer(tags: readonly string[], stamp: number): Floor | undefined {
    let highest = this.tagged
    for (const tag of tags) {
      const floor = this.byTag.get(tag)
      if (floor !== undefined && floor.stamp > (highest?.stamp ?? 0)) highest = floor
    }
    return highest !== undefined && stamp < highest.stamp ? highest : undefined
  }
}

export class TagFloors {
  readonly #stats: Stats
  readonly #caches = new Map<string, Cache>()
  /** All of single tags, the one laid longest ago first. */
  readonly #inOrder = new Set<Floor>()
  #top = 0

  constructor(stats: Stats) {
    this.#stats = stats
  }

  get size(): number {
    let tagged = 0
    for (const cache of this.#caches.values()) if (cache.tagged !== undefined) tagged++
    return this.#inOrder.size + tagged
  }

  /** What is as new as this lies below none. */
  get top(): number {
    return this.#top
  }

  /** The highest floor that a record with these tags lies below. */
  killer(namespace: string, tags: Uint8Array, stamp: number): Floor | undefined {
    if (stamp >= this.#top || tags.length === 0) return undefined
    const texts = decodeTags(tags)
    const ours = this.#caches.get(namespace)?.killer(texts, stamp)
    const all = this.#caches.get(ALL_CACHES)?.killer(texts, stamp)
    return (ours?.stamp ?? 0) >= (all?.stamp ?? 0) ? ours : all
  }

  list(): Floor[] {
    const tagged = [...this.#caches.values()].flatMap(cache => cache.tagged ?? [])
    return [...this.#inOrder, ...tagged]
  }

  /** As `Floors.add`. */
  add(floor: Floor): Floor[] {
    const raised = this.#lay(floor)
    while (this.#inOrder.size > TAG_FLOORS_MAX) raised.push(...this.#fold())
    return raised
  }

  takeUp(isGone: (floor: Floor) => boolean): void {
    // In the order in which they were laid: what another member has told late goes a little later.
    for (const floor of this.#inOrder) {
      if (!isGone(floor)) break
      this.#forget(floor)
    }
    for (const { tagged } of this.#caches.values()) if (tagged !== undefined && isGone(tagged)) this.#forget(tagged)
    if (this.#caches.size === 0) this.#top = 0
  }

  #lay(floor: Floor): Floor[] {
    const { kind, namespace, text, stamp } = floor
    const cache = this.#caches.get(namespace) ?? new Cache()
    this.#caches.set(namespace, cache)
    const known = kind === 'tag' ? cache.byTag.get(text) : cache.tagged
    const isKnown = known !== undefined && known.stamp >= stamp && known.atMs >= floor.atMs
    if (isKnown || (cache.tagged !== undefined && cache.tagged.stamp >= stamp && cache.tagged.atMs >= floor.atMs))
      return []
    const laid = { ...floor, stamp: Math.max(stamp, known?.stamp ?? 0), atMs: Math.max(floor.atMs, known?.atMs ?? 0) }
    if (known !== undefined) this.#forget(known)
    this.#caches.set(namespace, cache)
    if (kind === 'tag') {
      cache.byTag.set(text, laid)
      this.#inOrder.add(laid)
    } else cache.tagged = laid
    this.#top = Math.max(this.#top, laid.stamp)
    // It may only be remembered for longer.
    return stamp > Math.max(known?.stamp ?? 0, cache.tagged === laid ? 0 : (cache.tagged?.stamp ?? 0)) ? [laid] : []
  }

  #fold(): Floor[] {
    const oldest = this.#inOrder.values().next().value as Floor
    this.#stats.floorsFoldedTotal++
    this.#forget(oldest)
    return this.#lay({ ...oldest, kind: 'tagged', text: '' })
  }

  #forget(floor: Floor): void {
    const { kind, namespace, text } = floor
    const cache = this.#caches.get(namespace)
    if (kind === 'tag') {
      this.#inOrder.delete(floor)
      cache?.byTag.delete(text)
    } else if (cache !== undefined) cache.tagged = undefined
    if (cache?.byTag.size === 0 && cache.tagged === undefined) this.#caches.delete(namespace)
  }
}
