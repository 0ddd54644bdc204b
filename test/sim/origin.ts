import type { Random } from '../../lib/ports/random.ts'
import type { OriginCall } from './checkers/checker.ts'
import type { Knobs } from './knobs.ts'

interface OriginHooks {
  now(): number
  sleep(ms: number): Promise<void>
  began(call: OriginCall): void
  ended(call: OriginCall): void
  aborted(call: OriginCall): void
}

/** An origin that goes down is down for every third of these. */
const MOOD_MS = 3_000

/** What an origin that is unwell says, with the number of the call: who is told of which call can be followed. */
const FAILURE = 'the origin is unwell, call '

/** The number of the call whose failure an error tells of. */
export function failedCallIn(message: string): number | undefined {
  const at = message.indexOf(FAILURE)
  return at === -1 ? undefined : Number.parseInt(message.slice(at + FAILURE.length), 10)
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
    const call: OriginCall = {
      number: ++this.calls,
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
      this.#hooks.aborted(call)
    })
    this.#hooks.began(call)
    // Read first, then slow: what arrives may be old by then, as with a real database.
    const row = this.#rows.get(key) ?? 1
    const isUnwell = this.#knobs.failingOrigin && !this.isWell && this.#chance.float() < 0.2
    const fails = isUnwell || this.#isDown
    const takesMs = this.#knobs.slowOrigin ? this.#chance.float() * 3_000 : 5 + this.#chance.float() * 50
    await this.#hooks.sleep(this.#isDown ? 1 : takesMs)
    call.endedMs = this.#hooks.now()
    call.row = row
    call.ok = !fails
    this.#hooks.ended(call)
    if (fails) throw new Error(`${FAILURE}${call.number}`)
    return row
  }

  get #isDown(): boolean {
    return this.#knobs.downOrigin && !this.isWell && Math.floor(this.#hooks.now() / MOOD_MS) % 3 === 2
  }
}
