/**
 * Who waits to call the origin: users first, then refreshes, each in the order they came. A refresh is a call that nobody
 * waits for; when there is no room, the newest of them goes, for it has waited in vain the shortest.
 */
export type Urgency = 'user' | 'refresh'

export class WaitingLine<T> {
  readonly #users = new Set<T>()
  readonly #refreshes = new Set<T>()

  get size(): number {
    return this.#users.size + this.#refreshes.size
  }

  add(entry: T, urgency: Urgency): void {
    if (urgency === 'user') this.#users.add(entry)
    else this.#refreshes.add(entry)
  }

  /** Behind the users who wait already, for they have waited longer. */
  promote(entry: T): void {
    if (this.#refreshes.delete(entry)) this.#users.add(entry)
  }

  remove(entry: T): boolean {
    return this.#users.delete(entry) || this.#refreshes.delete(entry)
  }

  takeFirst(): T | undefined {
    for (const lane of [this.#users, this.#refreshes])
      for (const entry of lane) {
        lane.delete(entry)
        return entry
      }
    return undefined
  }

  takeNewestRefresh(): T | undefined {
    let newest: T | undefined
    for (const entry of this.#refreshes) newest = entry
    if (newest !== undefined) this.#refreshes.delete(newest)
    return newest
  }
}
