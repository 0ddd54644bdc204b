/**
 * Reads of this member's callers: by whom they are answered, put together.
 */

import type { NearCopies } from './near/near-copies.ts'
import type { Stats } from './observe/stats.ts'
import type { Clock } from './ports/clock.ts'
import type { Client } from './rpc/client.ts'
import type { Copies } from './serving/copies.ts'
import { CopyReads } from './serving/copy-reads.ts'
import { HedgeBudget } from './serving/hedge-budget.ts'
import type { LeasedLoads } from './serving/leased-loads.ts'
import { ManyReads } from './serving/many-reads.ts'
import { NearReads } from './serving/near-reads.ts'
import type { Owner } from './serving/owner.ts'
import { QuorumReads, type QuorumReadsDeps } from './serving/quorum-reads.ts'
import { Reads } from './serving/reads.ts'
import { Router } from './serving/router.ts'
import type { Routes } from './serving/routes.ts'
import { Sessions } from './serving/sessions.ts'
import type { MeshClock } from './store/version.ts'

export interface ReadingDeps extends Pick<QuorumReadsDeps, 'takeIn'> {
  readonly routes: Routes
  readonly clock: Clock
  readonly meshClock: MeshClock
  readonly client: Client
  readonly owner: Owner
  readonly stats: Stats
  readonly copies: Copies
  readonly leased: LeasedLoads
  readonly near: NearCopies
  readonly timeoutMs: number
  readonly mayExist: (namespace: string, key: string) => boolean
}

export interface Reading {
  readonly router: Router
  readonly reads: Reads
  readonly many: ManyReads
  readonly near: NearReads
  readonly sessions: Sessions
}

export function reading(deps: ReadingDeps): Reading {
  const { routes, clock, meshClock, client, owner, stats, copies, leased, timeoutMs, mayExist, takeIn } = deps
  const sessions = new Sessions()
  const budget = new HedgeBudget()
  const copyReads = new CopyReads({ routes, client, copies, budget, sessions, stats })
  const quorum = new QuorumReads({
    ...{ routes, client, meshClock, sessions, stats, takeIn },
    peek: about => copies.peek(about)
  })
  const forRouter = { routes, clock, meshClock, client, owner, stats, leased, sessions, budget, mayExist }
  const granted = deps.near.granted.bind(deps.near)
  const router = new Router({ ...forRouter, granted, copies: copyReads, quorum })
  const reads = new Reads({ routes, router, clock, stats })
  const many = new ManyReads({ routes, clock, client, owner, reads, copies: copyReads, budget, stats, timeoutMs })
  return { router, reads, many, sessions, near: new NearReads(deps.near, reads) }
}
