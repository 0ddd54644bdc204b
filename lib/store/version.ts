/**
 * Versions and the clock that makes them: a hybrid logical clock.
 *
 * A stamp is one double, milliseconds since 2020 × 4096 plus a counter, so it sorts like a time and two stamps of one
 * member are never equal. The writer's id breaks ties between members. The mesh clock is the member's monotonic clock
 * plus an offset; every frame carries the sender's clock and a higher one raises ours, so the clock is at or above
 * every version this member has made or heard of, and no wall clocks of different machines are ever compared.
 *
 * Not promised: real time. It follows the fastest clock in the mesh. A member whose clock is further ahead than
 * `CLOCK_DRIFT_MS_MAX` is refused at the link, because adopting it could not be undone.
 */
import { assert } from '../base/assert.ts'
import type { Clock } from '../ports/clock.ts'

/** 2020-01-01, in wall milliseconds. */
const EPOCH_MS = 1_577_836_800_000
const COUNTS_PER_MS = 4096

/** Beyond it stamps would lose their exactness; some 60 years from the epoch. */
const CLOCK_MS_MAX = Number.MAX_SAFE_INTEGER / COUNTS_PER_MS - 365 * 86_400_000

export const CLOCK_DRIFT_MS_MAX = 60_000
/** How far apart the stamps of two members of one moment may be. */
export const DRIFT_STAMPS = CLOCK_DRIFT_MS_MAX * COUNTS_PER_MS
/** A member id of more characters than this is none of ours. */
const WRITER_UNITS_MAX = 80

/** The latest stamp that a member whose clock shows `meshMs` can have heard of. */
export function stampMax(meshMs: number): number {
  return (meshMs + CLOCK_DRIFT_MS_MAX) * COUNTS_PER_MS
}

export interface Version {
  readonly stamp: number
  readonly writer: string
}

export function isNewer(a: Version, b: Version): boolean {
  return a.stamp !== b.stamp ? a.stamp > b.stamp : a.writer > b.writer
}

/** Whether a comparison has found what it expects; a stamp of 0 is that there is no value. */
export function isExpected(
  found: Version | undefined,
  { expectedStamp, expectedWriter }: { readonly expectedStamp: number; readonly expectedWriter: string }
): boolean {
  return (found?.stamp ?? 0) === expectedStamp && (found?.writer ?? '') === expectedWriter
}

/** When it was stamped, by the mesh clock. */
export function stampMs(stamp: number): number {
  return stamp / COUNTS_PER_MS
}

/** What a stamp of that moment is at least. */
export function stampOf(meshMs: number): number {
  return meshMs * COUNTS_PER_MS
}

/** As text that sorts like the version: what the application gets, and may use as an ETag. */
export function versionText(version: Version): string {
  return `${version.stamp.toString(36).padStart(11, '0')}-${version.writer}`
}

/** The inverse of `versionText`; undefined for a text that it would not have written. */
export function parseVersion(text: unknown): Version | undefined {
  const match = typeof text === 'string' ? /^([0-9a-z]{11})-(.+)$/s.exec(text) : null
  if (match === null) return undefined
  const version = { stamp: Number.parseInt(match[1] as string, 36), writer: match[2] as string }
  const isOurs = version.stamp > 0 && Number.isSafeInteger(version.stamp) && version.writer.length <= WRITER_UNITS_MAX
  return isOurs && versionText(version) === text ? version : undefined
}

export class MeshClock {
  readonly #clock: Clock
  #offsetMs: number
  #lastStamp = 0
  #adopted = false

  constructor(clock: Clock) {
    this.#clock = clock
    this.#offsetMs = clock.wall() - EPOCH_MS - clock.monotonic()
  }

  /** Milliseconds since 2020 by the mesh's reckoning; never below a version made or heard. */
  now(): number {
    return Math.max(this.#clock.monotonic() + this.#offsetMs, this.#lastStamp / COUNTS_PER_MS)
  }

  /** The same, or that of an earlier moment of this turn (`Clock.turnMs`). */
  turnMs(): number {
    return Math.max(this.#clock.turnMs() + this.#offsetMs, this.#lastStamp / COUNTS_PER_MS)
  }

  /**
   * A time of the mesh clock as this machine's wall would show it, to be compared with `Date.now()`: what counts of an
   * expiry is how far away it is, and that is kept.
   */
  wallOf(meshMs: number): number {
    return this.#clock.wall() + (meshMs - this.now())
  }

  /** A version above every one this member has made or heard of. */
  stamp(): number {
    const stamp = Math.max(this.#lastStamp + 1, Math.ceil(this.now() * COUNTS_PER_MS))
    assert(stamp > this.#lastStamp && Number.isSafeInteger(stamp), 'stamps rise and stay exact')
    this.#lastStamp = stamp
    return stamp
  }

  /**
   * Takes a peer's clock into account. A member that has stamped nothing adopts the first clock it hears, even a lower
   * one, so that a host whose wall is fast does not drag a running mesh into its future. False means that the clock is
   * too far ahead of both ours and our wall to follow: nothing was changed, and the link should be closed.
   */
  hear(heardMs: number): boolean {
    if (!(heardMs >= 0 && heardMs <= CLOCK_MS_MAX)) return false
    const first = !this.#adopted && this.#lastStamp === 0
    if (!first && heardMs <= this.now()) return true
    const aheadMs = heardMs - Math.max(this.now(), this.#clock.wall() - EPOCH_MS)
    if (!first && aheadMs > CLOCK_DRIFT_MS_MAX) return false
    this.#adopted = true
    this.#offsetMs = heardMs - this.#clock.monotonic()
    return true
  }
}
