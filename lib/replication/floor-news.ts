/**
 * What each other member has been told of the floors here: a cache may have thousands, and they were told with every
 * comparison. Each is told once over each link, and what was laid since with the next word that carries any.
 *
 * Told is what was answered: what went with a call that came to nothing is told again. A link that ends takes with it
 * what is known of its peer, who may be another process when it is back.
 */
import type { PeerId } from '../ports/transport.ts'
import type { Floor } from '../store/floor.ts'
import type { Store } from '../store/store.ts'

export interface FloorsToTell {
  readonly floors: readonly Floor[]
  /** How many there had been, for `heard`. */
  readonly laid: number
}

export class FloorNews {
  readonly #store: Pick<Store, 'floorsSince'>
  /** How many of ours it has heard of. */
  readonly #heard = new Map<PeerId, number>()

  constructor(store: Pick<Store, 'floorsSince'>) {
    this.#store = store
  }

  for(peer: PeerId): FloorsToTell {
    return this.#store.floorsSince(this.#heard.get(peer) ?? 0)
  }

  heard(peer: PeerId, { laid }: Pick<FloorsToTell, 'laid'>): void {
    this.#heard.set(peer, Math.max(laid, this.#heard.get(peer) ?? 0))
  }

  forget(peer: PeerId): void {
    this.#heard.delete(peer)
  }
}
