/**
 * Why a key is as it is: who owns it, what is stored and till when, whether it is being loaded and who waits, whether it
 * is left alone because its load has failed, how the guard of its origin stands, and what has happened to it of late.
 * The owner knows; it is asked for people, not for programs: the words may change.
 */

import { NO_TAGS } from '../codec/tags.ts'
import type { BackOffs } from '../fill/back-off.ts'
import type { CacheDefinition } from '../fill/definition.ts'
import type { Flights } from '../fill/flight.ts'
import type { Guard } from '../fill/guard.ts'
import { backOffText } from '../fill/landings.ts'
import type { WriteBehind } from '../fill/write-behind.ts'
import type { Journal } from '../observe/journal.ts'
import type { Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import { CallFailed, type Client } from '../rpc/client.ts'
import type { MessageOf, Reply } from '../rpc/messages.ts'
import { freshUntil } from '../store/keeping.ts'
import type { Store } from '../store/store.ts'
import type { MeshClock } from '../store/version.ts'
import { callError, unavailable, unexpected } from './failures.ts'
import type { Routes } from './routes.ts'

export type Explained = MessageOf<'explained'>

/** Owners asked in turn because views disagreed. */
const TRIES_MAX = 3
const LINES_MAX = 24
/** Even at three bytes each they fit into their field. */
const WHY_UNITS_MAX = 600

export interface ExplanationsDeps {
  readonly routes: Routes
  readonly client: Client
  readonly clock: Clock
  readonly meshClock: MeshClock
  readonly store: Store
  readonly flights: Flights
  readonly backOffs: BackOffs
  readonly journal: Journal
  readonly guard: Guard
  readonly behind: WriteBehind
  /** False for a key that cannot exist. */
  readonly mayExist: (namespace: string, key: string) => boolean
}

/** What the owner knows; and who holds the key, by rank. */
export interface Told {
  readonly replicas: readonly PeerId[]
  readonly told: Explained
}

export class Explanations {
  readonly #deps: ExplanationsDeps

  constructor(deps: ExplanationsDeps) {
    this.#deps = deps
  }

  async ask(definition: CacheDefinition, key: string, timeoutMs: number): Promise<Told> {
    const { routes } = this.#deps
    const { self, ownerOf, partitionOf, isReachable, agreeWith } = routes.deps
    const replicas = (): readonly PeerId[] =>
      routes.replicasOf(partitionOf(definition.namespace, key), definition.backups)
    const ask = { type: 'explain', namespace: definition.namespace, key } as const
    let last: Reply | undefined
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const owner = ownerOf(definition.namespace, key)
      if (owner === undefined || !isReachable(owner)) throw unavailable(definition)
      if (owner === self) return { replicas: replicas(), told: this.explain(ask) }
      last = await this.#call(definition, owner, ask, timeoutMs)
      if (last.type === 'explained') return { replicas: replicas(), told: last }
      if (last.type === 'notOwner') await agreeWith(owner)
    }
    throw unexpected(definition, last as Reply)
  }

  /** What this member, as its owner, knows of a key. */
  explain({ namespace, key }: MessageOf<'explain'>): Explained {
    return {
      type: 'explained',
      entry: this.#entry(namespace, key),
      fill: this.#fill(namespace, key),
      backOff: this.#backOff(namespace, key),
      origin: this.#deps.guard.state(namespace),
      mayExist: this.#deps.mayExist(namespace, key),
      storePending: this.#deps.behind.isPending(namespace, key),
      lines: this.#deps.journal
        .of(namespace, key, LINES_MAX)
        .map(({ atMs, what }) => ({ agoMs: this.#deps.clock.monotonic() - atMs, what }))
    }
  }

  async #call(
    definition: CacheDefinition,
    owner: PeerId,
    ask: MessageOf<'explain'>,
    timeoutMs: number
  ): Promise<Reply> {
    try {
      return await this.#deps.client.call(owner, ask, { timeoutMs }).reply
    } catch (error) {
      throw error instanceof CallFailed ? callError(error, definition, owner) : error
    }
  }

  #entry(namespace: string, key: string): Explained['entry'] {
    const { store, meshClock } = this.#deps
    const found = store.entry(namespace, key)
    if (found === undefined || found.expiresAtMs <= meshClock.now()) return undefined
    const { kind, version, expiresAtMs: overAtMs, negative, bytes, keeping } = found
    const expiresAtMs = freshUntil(found)
    const stale = expiresAtMs <= meshClock.now()
    const tags = keeping?.tags ?? NO_TAGS
    return { kind, ...version, expiresAtMs, overAtMs, stale, negative, bytes: bytes.length, tags }
  }

  #fill(namespace: string, key: string): Explained['fill'] {
    const { flights, clock, routes } = this.#deps
    const flight = flights.find(namespace, key)
    if (flight === undefined) return undefined
    const { holder, holderWaits, waiters, beganMs, reason } = flight
    const member = holder ?? routes.deps.self
    return { member, waiters: waiters.size + (holderWaits ? 1 : 0), ms: clock.monotonic() - beganMs, reason }
  }

  #backOff(namespace: string, key: string): Explained['backOff'] {
    const backOff = this.#deps.backOffs.of(namespace, key)
    if (backOff === undefined) return undefined
    const { failures, leftMs } = backOff
    // What its loader threw travels behind the words, for callers; here they are enough.
    const [why = ''] = backOffText(backOff).split('\n', 1)
    return { failures, leftMs, why: why.slice(0, WHY_UNITS_MAX) }
  }
}
