import type { Random } from '../../lib/ports/random.ts'
import type { OriginCall } from './checkers/checker.ts'
import type { Knobs } from './knobs.ts'

interface OriginHooks {
  now(): number
  sleep(ms: number): Promise<void>
  began(call: OriginCall): void
  ended(call: OriginCall): void
}

/** What the mesh protects: rows that only ever rise, and a record of every call. */
export class Origin {
  readonly #knobs: Knobs
  readonly #chance: Random
  readonly #hooks: OriginHooks
  readonly #rows = new Map<string, number>()
  calls = 0
  isWell = false

  constructor(knobs: Knobs, chance: Random, hooks: OriginHooks) {
    this.#knobs = knobs
    this.#chance = chance
    this.#hooks = hooks
  }

  row(key: string): number {
    return this.#rows.get(key) ?? 1
  }

  update(key: string): number {
    const row = (this.#rows.get(key) ?? 1) + 1
    this.#rows.set(key, row)
    return row
  }

  async load(key: string, member: number, signal: AbortSignal, askedMs: number): Promise<number> {
    this.calls++
    const call: OriginCall = {
      key,
      member,
      askedMs,
      beganMs: this.#hooks.now(),
      endedMs: Number.POSITIVE_INFINITY,
      ok: false,
      aborted: false
    }
    signal.addEventListener('abort', () => {
      call.aborted = true
    })
    this.#hooks.began(call)
    // Read first, then slow: what arrives may be old by then, as with a real database.
    const row = this.#rows.get(key) ?? 1
    const fails = this.#knobs.failingOrigin && !this.isWell && this.#chance.float() < 0.2
    await this.#hooks.sleep(this.#knobs.slowOrigin ? this.#chance.float() * 3_000 : 5 + this.#chance.float() * 50)
    call.endedMs = this.#hooks.now()
    call.ok = !fails
    this.#hooks.ended(call)
    if (fails) throw new Error('the origin is unwell')
    return row
  }
}
