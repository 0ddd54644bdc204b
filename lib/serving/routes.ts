/**
 * The way to whoever is to be asked: who that is by our view, whether it can be reached now, and how to wait until
 * something about that changes.
 */
import type { Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'

export interface RoutesDeps {
  readonly self: PeerId
  readonly clock: Clock
  readonly ownerOf: (namespace: string, key: string) => PeerId | undefined
  readonly partitionOf: (namespace: string, key: string) => number
  readonly primaryOf: (partition: number) => PeerId | undefined
  /** All that hold a partition or may, by rank; the primary is the first. */
  readonly ownersOf: (partition: number) => readonly PeerId[]
  /** Who is here in our view and may hold something, each with the boot of its process. */
  readonly owners: () => readonly { readonly id: PeerId; readonly boot: number }[]
  readonly viewHash: () => number
  /** Of others: there is a link. Of ourselves: our view is not in doubt. */
  readonly isReachable: (peer: PeerId) => boolean
  /** It can be reached, nobody suspects it, and it is heard when it is asked: it will answer a read. */
  readonly isWell: (peer: PeerId) => boolean
  /** There is no link, or those who asked whether it lives have had no answer: not merely slow. */
  readonly isCutOff: (peer: PeerId) => boolean
  /** Makes our view and the peer's equal; it never rejects. */
  readonly agreeWith: (peer: PeerId) => Promise<void>
}

export class Routes {
  readonly deps: RoutesDeps
  readonly #waiters = new Set<() => void>()

  constructor(deps: RoutesDeps) {
    this.deps = deps
  }

  /** Those that hold a record which has so many backups, by rank. */
  replicasOf(partition: number, backups: number): readonly PeerId[] {
    return this.deps.ownersOf(partition).slice(0, backups + 1)
  }

  /** A link has come up or the table has changed: whoever waited for an owner may try again. */
  changed(): void {
    for (const wake of [...this.#waiters]) wake()
  }

  /** True when a link came up or the table changed within `ms`. */
  change(ms: number): Promise<boolean> {
    return new Promise(resolve => {
      const settle = (changed: boolean): void => {
        this.#waiters.delete(wake)
        disarm()
        resolve(changed)
      }
      const wake = (): void => settle(true)
      const disarm = this.deps.clock.after(ms, () => settle(false))
      this.#waiters.add(wake)
    })
  }
}
