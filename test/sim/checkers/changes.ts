/** What several checkers say of a client's call. */
import type { BegunCall, Calm, ClientCall } from './checker.ts'

export function nameOf({ cache, key }: Pick<ClientCall, 'cache' | 'key'>): string {
  return `${cache}/${key}`
}

export function isDelete({ kind }: Pick<ClientCall, 'kind'>): boolean {
  return kind === 'delete'
}

export function isWrite({ kind }: Pick<ClientCall, 'kind'>): boolean {
  return kind === 'set' || kind === 'compareAndSet'
}

/** How many backups surely had a change when it was acknowledged. Deletes wait for all of them. */
export function backupsThatHave(change: ClientCall, calm: Calm): number {
  const { acks = 0, backups = 0, beganMs } = change
  const wanted = isDelete(change) ? 'all' : acks
  if (typeof wanted === 'number') return wanted
  return calm.sinceMs() < beganMs ? Math.min(backups, calm.liveCount() - 1) : 0
}

/** After a split each side serves what it has until the two are reconciled. */
export function isUnitedSinceLevel({ losses, lastApartMs }: Calm, ms: number): boolean {
  return lastApartMs() < ms && (lastApartMs() === 0 || losses.wasLevel(lastApartMs(), ms))
}

/** Which keys somebody deletes, and whether that may have come after a given write in the eyes of the mesh. */
export class Deletes {
  readonly #calm: Calm
  /** Under way, or failed and perhaps still on their way. */
  readonly #open = new Map<string, number>()
  readonly #done = new Map<string, ClientCall[]>()

  constructor(calm: Calm) {
    this.#calm = calm
  }

  began(call: BegunCall): void {
    if (isDelete(call)) this.#open.set(nameOf(call), (this.#open.get(nameOf(call)) ?? 0) + 1)
  }

  ended(call: ClientCall): void {
    if (!isDelete(call) || call.failed !== undefined) return
    const name = nameOf(call)
    this.#open.set(name, (this.#open.get(name) ?? 0) - 1)
    this.#done.set(name, [...(this.#done.get(name) ?? []), call])
  }

  maySucceed(name: string, write: { readonly beganMs: number; readonly calmSinceMs: number }): boolean {
    if ((this.#open.get(name) ?? 0) > 0) return true
    const isBefore = ({ beganMs, endedMs }: ClientCall): boolean => {
      if (endedMs >= write.beganMs) return false
      return beganMs > write.calmSinceMs || this.#calm.losses.isOrdered(endedMs, write.beganMs)
    }
    return (this.#done.get(name) ?? []).some(each => !isBefore(each))
  }
}
