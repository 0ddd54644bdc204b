/**
 * Asks the owner before us for a load that it may still have under way for a key that is ours now. When it cannot be
 * asked, or is silent, we load ourselves.
 */
import type { CacheDefinition } from '../fill/definition.ts'
import type { FillsDeps } from '../fill/fills.ts'
import type { PeerId } from '../ports/transport.ts'
import { CallFailed, type Client } from '../rpc/client.ts'

/** How long a load of a cache that is not declared here is waited for. */
const UNKNOWN_LOAD_MS_MAX = 30_000

export interface FollowingDeps {
  readonly client: Client
  readonly timeoutMs: number
  readonly hasLink: (peer: PeerId) => boolean
  readonly definition: (namespace: string) => CacheDefinition | undefined
}

export function following({ client, timeoutMs, hasLink, definition }: FollowingDeps): FillsDeps['follow'] {
  return (peer, ask, onReply) => {
    if (!hasLink(peer)) return undefined
    const loadMs = (definition(ask.namespace)?.loadTimeoutMs ?? UNKNOWN_LOAD_MS_MAX) * 2
    const call = client.begin(peer, ask, { timeoutMs, loadMs }, reply =>
      onReply(reply instanceof CallFailed ? undefined : reply)
    )
    return () => client.cancel(call)
  }
}
