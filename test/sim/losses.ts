/**
 * What a run has done to the copies of records, and what may therefore be gone: the account by which checkers know what
 * they may still expect. It knows the faults and not the mesh.
 *
 * Level: the mesh has been calm for `LEVEL_MS`, so what moved has moved, every copy there is to be is there again, and
 * all clocks have heard of each other. Between two such moments a record with k acknowledged backups may lose its
 * primary and all copies only by more than k losses of members, whichever these are; while members are kept apart a
 * side may hold all there is, so there any loss counts as too many. Both say more than is needed: a checker that asks
 * here is too lenient, never too strict.
 */
export const LEVEL_MS = 3_000
/** In a level mesh a change is with all its backups, and every clock has heard of it, within this. */
const SPREAD_MS = 1_000

interface Stretch {
  readonly fromMs: number
  toMs: number
}

interface Level extends Stretch {
  /** How many members there were, and so how many copies at most. */
  readonly live: number
}

interface Apart extends Stretch {
  /** Who was with more than half of the others, where that is clear: one split, and nobody lost or come in it. */
  larger: ReadonlySet<number> | undefined
}

export class Losses {
  readonly #lostAtMs: number[] = []
  readonly #left: { readonly atMs: number; readonly staying: number }[] = []
  readonly #apart: Apart[] = []
  readonly #level: Level[] = []
  /** Members that began anew, and so with a wall clock of their own. */
  readonly #startedAtMs: number[] = []

  /** To be told again and again how long it has been calm; Infinity while it is not. */
  sample(nowMs: number, calmSinceMs: number, live: number): void {
    if (nowMs - calmSinceMs < LEVEL_MS) return
    const last = this.#level.at(-1)
    // What was level and has been disturbed since is level anew.
    if (last !== undefined && last.toMs >= calmSinceMs) last.toMs = nowMs
    else this.#level.push({ fromMs: Math.max(calmSinceMs + LEVEL_MS, last?.toMs ?? 0), toMs: nowMs, live })
  }

  /** A member has lost what it held: it crashed, or left without time to hand over. */
  memberLost(nowMs: number): void {
    this.#lostAtMs.push(nowMs)
    this.#muddle()
  }

  /** One has left in peace and has handed over all; of those that stay there may be fewer than there were copies. */
  memberLeft(nowMs: number, staying: number): void {
    this.#left.push({ atMs: nowMs, staying })
  }

  memberStarted(nowMs: number): void {
    this.#startedAtMs.push(nowMs)
    this.#muddle()
  }

  /** Members are kept apart or stopped from now on. */
  keptApart(nowMs: number, larger?: ReadonlySet<number>): void {
    if (this.isApart) this.#muddle()
    else this.#apart.push({ fromMs: nowMs, toMs: Number.POSITIVE_INFINITY, larger })
  }

  broughtTogether(nowMs: number): void {
    const last = this.#apart.at(-1)
    if (last !== undefined && this.isApart) last.toMs = nowMs
  }

  /** Those between these two moments that took longer than `longMs`. */
  longApart(fromMs: number, toMs: number, longMs: number): readonly Apart[] {
    const overlapping = this.#apart.filter(stretch => stretch.toMs >= fromMs && stretch.fromMs <= toMs)
    return overlapping.filter(stretch => Math.min(stretch.toMs, toMs) - stretch.fromMs > longMs)
  }

  get isApart(): boolean {
    return this.#apart.at(-1)?.toMs === Number.POSITIVE_INFINITY
  }

  /** Whether there was a moment between these two at which all was level. */
  wasLevel(fromMs: number, toMs: number): boolean {
    return this.#level.some(stretch => stretch.toMs >= fromMs && stretch.fromMs <= toMs)
  }

  wasApart(fromMs: number, toMs: number): boolean {
    return this.#apart.some(stretch => stretch.toMs >= fromMs && stretch.fromMs <= toMs)
  }

  wasAnyLost(fromMs: number, toMs: number): boolean {
    return this.#lostAtMs.some(atMs => atMs >= fromMs && atMs <= toMs)
  }

  /**
   * Whether what was made at `sinceMs`, and was then held by a primary and `acked` backups of `backups`, may be held by
   * nobody at `untilMs`. The begin of its call is meant: its answer may be on its way for long, and come when all of
   * them are gone.
   */
  mayHaveLost({ sinceMs, untilMs, acked, backups }: Made): boolean {
    let [windowMs, allowed, lost] = [sinceMs, acked, 0]
    for (const atMs of this.#lostAtMs) {
      if (atMs < sinceMs || atMs > untilMs) continue
      const [levelMs, live] = this.#levelBefore(atMs)
      if (levelMs > windowMs + SPREAD_MS) [windowMs, allowed, lost] = [levelMs, Math.min(backups, live - 1), 0]
      const staying = this.#left.filter(left => left.atMs > windowMs && left.atMs < atMs).map(left => left.staying)
      if (++lost > Math.min(allowed, ...staying.map(live => live - 1)) || this.wasApart(windowMs, atMs)) return true
    }
    return false
  }

  /**
   * Whether of two changes the later one surely has the higher version, wherever they were made: the first was made
   * when all was well, word of it has spread since, and no member has begun with a clock of its own while apart.
   */
  isOrdered(firstEndedMs: number, secondBeganMs: number): boolean {
    const [levelMs] = this.#levelBefore(secondBeganMs)
    if (levelMs < firstEndedMs + SPREAD_MS) return false
    const started = this.#startedAtMs.filter(atMs => atMs > levelMs && atMs < secondBeganMs)
    return started.length === 0 || !this.wasApart(levelMs, secondBeganMs)
  }

  #muddle(): void {
    const last = this.#apart.at(-1)
    if (last !== undefined && this.isApart) last.larger = undefined
  }

  /** When all was level last, and among how many. */
  #levelBefore(ms: number): readonly [number, number] {
    const stretch = this.#level.findLast(({ fromMs }) => fromMs <= ms)
    return stretch === undefined ? [Number.NEGATIVE_INFINITY, 0] : [Math.min(stretch.toMs, ms), stretch.live]
  }
}

export interface Made {
  readonly sinceMs: number
  readonly untilMs: number
  /** How many backups had it when it was acknowledged. */
  readonly acked: number
  readonly backups: number
}
