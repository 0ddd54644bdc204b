import type { Address, PeerId } from './transport.ts'

/**
 * Where addresses of other members come from. A discovery answers with addresses to try and nothing more: who really
 * listens there is proved by the handshake. It may be asked again at any time, may throw (that is reported and asked
 * again), may be asked before `announce`, and may name this member itself.
 */
export interface DiscoverySource {
  readonly name: string
  find(o: { signal: AbortSignal }): readonly Address[] | Promise<readonly Address[]>
  /**
   * For those that also tell others of this member: called once it listens, with no addresses for one that only dials.
   * The answer is called when it leaves.
   */
  announce?(self: { mesh: string; id: PeerId; addresses: readonly Address[] }): Promise<() => Promise<void>>
}

/** What an application may give: a source, or just a function that answers with addresses. */
export type Discovery = DiscoverySource | (() => readonly Address[] | Promise<readonly Address[]>)
