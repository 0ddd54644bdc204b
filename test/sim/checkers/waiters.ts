import type { BegunCall, ClientCall } from './checker.ts'

export interface Wait {
  readonly member: number
  readonly beganMs: number
  /** It may have its answer already and wait for other keys. */
  readonly isPart: boolean
  endedMs: number
}

/** Who waits for a key of the loaded cache, and when it was last changed: what several checkers of fills must know. */
export class Waiters {
  readonly #waits = new Map<string, Set<Wait>>()
  readonly #goneAtMs = new Map<string, number>()
  readonly #changing = new Map<string, number>()
  readonly #changedAtMs = new Map<string, number>()

  began(call: BegunCall): void {
    const { cache, key, member, beganMs } = call
    if (cache !== 'loaded') return
    if (isChange(call)) this.#changing.set(key, (this.#changing.get(key) ?? 0) + 1)
    if (isRead(call))
      this.of(key).add({ member, beganMs, isPart: call.isPart === true, endedMs: Number.POSITIVE_INFINITY })
  }

  ended(call: ClientCall): void {
    const { cache, key, member, beganMs, endedMs } = call
    if (cache !== 'loaded') return
    if (isChange(call)) {
      // One that failed may still be on its way: the key is never quiet again.
      if (call.failed === undefined) this.#changing.set(key, (this.#changing.get(key) ?? 0) - 1)
      this.#changedAtMs.set(key, endedMs)
    }
    if (!isRead(call)) return
    const wait = [...this.of(key)].find(each => each.member === member && each.beganMs === beganMs)
    if (wait === undefined) return
    wait.endedMs = endedMs
    this.of(key).delete(wait)
    this.#goneAtMs.set(key, endedMs)
  }

  died(member: number, atMs: number): void {
    for (const [key, waits] of this.#waits)
      for (const wait of waits) {
        if (wait.member !== member) continue
        waits.delete(wait)
        this.#goneAtMs.set(key, atMs)
      }
  }

  of(key: string): Set<Wait> {
    const waits = this.#waits.get(key) ?? new Set()
    this.#waits.set(key, waits)
    return waits
  }

  /** Since when nobody has waited for it; Infinity while somebody does. */
  noneSinceMs(key: string): number {
    return this.of(key).size > 0 ? Number.POSITIVE_INFINITY : (this.#goneAtMs.get(key) ?? 0)
  }

  /** Nothing has been done to the key since then. */
  isQuietSince(key: string, ms: number): boolean {
    return (this.#changing.get(key) ?? 0) === 0 && (this.#changedAtMs.get(key) ?? 0) < ms
  }
}

function isRead({ kind }: Pick<ClientCall, 'kind'>): boolean {
  return kind === 'get' || kind === 'getOrSet'
}

function isChange({ kind }: Pick<ClientCall, 'kind'>): boolean {
  return kind === 'set' || kind === 'delete'
}
