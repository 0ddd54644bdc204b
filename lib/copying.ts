/**
 * Copies, tied to the rest of a member: what they read of membership and table, and what they tell its owner.
 */
import { decodeTags, NO_TAGS } from './codec/tags.ts'
import type { CacheDefinition, Entry as Told, Version } from './fill/definition.ts'
import type { Moves } from './fill/moves.ts'
import type { Membership } from './membership/membership.ts'
import type { NearCopies } from './near/near-copies.ts'
import type { Moved } from './observe/movement.ts'
import type { Stats } from './observe/stats.ts'
import type { MeshSettings } from './options.ts'
import type { Clock } from './ports/clock.ts'
import type { PeerId } from './ports/transport.ts'
import { Replication } from './replication/replication.ts'
import type { Client } from './rpc/client.ts'
import type { Links } from './rpc/links.ts'
import type { Done } from './serving/done.ts'
import type { Filters } from './serving/filters.ts'
import type { Owner } from './serving/owner.ts'
import type { Ownership } from './serving/ownership.ts'
import type { Entry } from './store/entry.ts'
import { freshUntil } from './store/keeping.ts'
import type { Store } from './store/store.ts'
import { type MeshClock, versionText } from './store/version.ts'

export interface CopyingDeps {
  readonly self: PeerId
  readonly clock: Clock
  readonly meshClock: MeshClock
  readonly client: Client
  readonly store: Store
  readonly stats: Stats
  readonly moves: Moves
  readonly owner: Owner
  readonly done: Done
  readonly settings: MeshSettings
  readonly membership: Membership
  readonly ownership: Ownership
  readonly links: Links
  readonly filters: () => Filters
  readonly definition: (namespace: string) => CacheDefinition | undefined
  readonly isLeaving: () => boolean
  readonly onMoved: (moved: Moved) => void
  readonly near: () => NearCopies
}

export function copying(deps: CopyingDeps): Replication {
  const { self, clock, meshClock, client, store, stats, moves, owner, done, settings } = deps
  const { membership, ownership, links, filters, definition, isLeaving, onMoved, near } = deps
  return new Replication({
    ...{ self, clock, meshClock, client, store, stats, isLeaving, onMoved },
    timeoutMs: settings.timeoutMs,
    bytesPerSecond: settings.transferBytesPerSecond,
    tombstoneTtlMs: settings.tombstoneTtlMs,
    viewHash: () => membership.view.hash,
    table: () => ownership.table,
    partitionOf: (namespace, key) => ownership.partitionOf(namespace, key),
    owners: () => membership.view.owners(),
    bootOf: peer => membership.view.get(peer)?.boot ?? 0,
    isSuspected: peer => membership.view.get(peer)?.status === 'suspect',
    isUnheard: peer => membership.isUnheard(peer),
    hasLink: peer => links.has(peer),
    leavers: () => links.peers().filter(peer => membership.view.get(peer)?.status === 'left'),
    agreeWith: peer => membership.agreeWith(peer),
    ownerBefore: partition => moves.ownerBefore(partition),
    onChanged: entry => near().changed(entry),
    onForgotten: () => near().forgotten(),
    onTakenIn: ({ namespace, key, partition, kind, negative }) => {
      owner.fills.changed(namespace, key, partition)
      owner.rows.forget(namespace, key)
      if (kind === 'value' && !negative) filters().hasValue(namespace, key)
    },
    reconciled: (ours, theirs) => reconciled(deps, definition(ours.namespace), ours, theirs),
    answers: {
      remember: answer => done.rememberOther(answer, meshClock.now()),
      answerOf: (...which) => done.answered(...which),
      answersIn: (...which) => done.answeredIn(...which, () => stats.answersUntoldTotal++)
    }
  })
}

/** What the cache makes of two values that were written apart; undefined where the later one is to stay. */
function reconciled(
  { meshClock, stats }: CopyingDeps,
  definition: CacheDefinition | undefined,
  ours: Entry,
  theirs: Entry
): Uint8Array | undefined {
  const { merge, codec, name } = definition ?? {}
  if (merge === undefined || codec === undefined || name === undefined) return undefined
  const about = { cache: name, key: ours.key }
  const told = ({ bytes, version, keeping, ...rest }: Entry): Told<unknown> => ({
    value: codec.decode(bytes, about),
    version: versionText(version) as Version,
    expiresAt: Math.round(meshClock.wallOf(freshUntil({ ...rest, keeping }))),
    stale: freshUntil({ ...rest, keeping }) <= meshClock.now(),
    tags: decodeTags(keeping?.tags ?? NO_TAGS),
    from: 'local'
  })
  stats.mergesTotal++
  try {
    return codec.encode(merge(told(ours), told(theirs)), about)
  } catch {
    // A merge of the application that throws, or makes what cannot be kept, has no say: the later one stays.
    stats.mergesFailedTotal++
    return undefined
  }
}
