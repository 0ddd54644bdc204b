/**
 * Changes of this member's callers: from a wish to the owner, to the origin and to the backups, put together.
 */
import type { WriteBehind } from './fill/write-behind.ts'
import type { Stats } from './observe/stats.ts'
import type { Clock } from './ports/clock.ts'
import type { Logger } from './ports/log.ts'
import type { Random } from './ports/random.ts'
import type { Client } from './rpc/client.ts'
import { Changes } from './serving/changes.ts'
import type { Changing } from './serving/changing.ts'
import { Flushes, type FlushesDeps } from './serving/flushes.ts'
import type { Routes } from './serving/routes.ts'
import type { Sessions } from './serving/sessions.ts'
import { Writes } from './serving/writes.ts'
import type { MeshClock } from './store/version.ts'

export interface WritingDeps extends Pick<FlushesDeps, 'bootOf' | 'flushHere'> {
  readonly boot: number
  readonly routes: Routes
  readonly client: Client
  readonly clock: Clock
  readonly meshClock: MeshClock
  readonly random: Random
  readonly stats: Stats
  readonly log: Logger
  readonly sessions: Sessions
  readonly behind: WriteBehind
  readonly changing: Changing
  readonly timeoutMs: number
}

export interface Writing {
  readonly changes: Changes
  readonly flushes: Flushes
  readonly writes: Writes
}

export function writing(deps: WritingDeps): Writing {
  const { boot, routes, client, clock, meshClock, random, stats, log, sessions, behind, changing, timeoutMs } = deps
  const { bootOf, flushHere } = deps
  const flushes = new Flushes({ routes, client, meshClock, bootOf, flushHere })
  const changes = new Changes({
    ...{ boot, routes, client, meshClock, stats, sessions },
    attemptMs: timeoutMs,
    makeHere: change =>
      new Promise(resolve =>
        changing.make(routes.deps.self, change, reply => {
          if (reply.type !== 'waiting') resolve(reply)
        })
      ),
    onMade: (namespace, peer) => flushes.took(namespace, peer)
  })
  const writes = new Writes({ changes, routes, behind, clock, random, stats, log, timeoutMs })
  return { changes, flushes, writes }
}
