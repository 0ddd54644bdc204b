/**
 * What is asked of many members: to clear a cache, a part of it or what has a tag, and which keys there are.
 *
 *   clear ─▶ the clock of every member that owns anything ─▶ a stamp above all of them: what lies below it is dead
 *         ─▶ told to every one, each until it has confirmed or is gone ─▶ somebody else by now? those too ─▶ done
 *   keys  ─▶ the owner of the first partition not yet seen ─▶ a page ─▶ … until all partitions are seen
 *
 * Two rounds, because what was written before must lie below the stamp, whatever clock it was written by; and a stamp,
 * because each key has copies, and what one member has dropped another would bring back. So each member keeps the stamp
 * as a floor for as long as deletes are remembered, and tells it to whoever comes.
 *
 * Clear asks all who may own keys, and not whoever owns these by our view: views may differ on that. Members of weight 0
 * hold nothing, and two that only dial could never ask each other. For each that is asked its records are dead and its
 * running loads closed from one turn on, or of tags known for what they are, so none that began before is stored after. It confirms with its view: had
 * somebody joined whom we do not know, it may have loaded before and would be asked too.
 *
 * Not promised of clear: that it reaches members which are not in our view before the split that keeps them apart has
 * healed; and a member whose view is older than a join of a moment ago may be asked
 * after the joiner has answered somebody.
 *
 * Keys are weakly consistent: each partition is as it was when its page was made. A key that is there the whole time is
 * told exactly once while no partition loses its records; one that comes or goes meanwhile may be told or not.
 */
import { MeshError, PartialError } from '../base/errors.ts'
import type { CacheDefinition } from '../fill/definition.ts'
import { PARTITIONS } from '../placement/partitions.ts'
import type { PeerId } from '../ports/transport.ts'
import { CallFailed, type Client } from '../rpc/client.ts'
import type { MessageOf, Reply } from '../rpc/messages.ts'
import type { MeshClock } from '../store/version.ts'
import type { Changes } from './changes.ts'
import { callError, unavailable, unexpected } from './failures.ts'
import type { Routes } from './routes.ts'

/** Pages asked for in vain because views differ. */
const MISROUTES_MAX = 8

export interface SurveysDeps {
  readonly routes: Routes
  readonly client: Client
  readonly changes: Changes
  readonly meshClock: MeshClock
  /** At this member, which may own nothing and still hold copies. */
  readonly clearHere: (about: Pick<CacheDefinition, 'namespace'>, what: Cleared, stamp: number) => void
  /** The page of this member itself. */
  readonly ownPage: (ask: MessageOf<'keys'>) => MessageOf<'page'>
}

type Definition = Pick<CacheDefinition, 'name' | 'namespace'>
/** What is to be cleared: keys that begin so, or what has one of these tags. `soft`: stale from now on, and no floor. */
export type Cleared = Pick<MessageOf<'clear'>, 'kind' | 'texts' | 'soft'>
type Owning = ReturnType<Routes['deps']['owners']>[number]

export class Surveys {
  readonly #deps: SurveysDeps

  constructor(deps: SurveysDeps) {
    this.#deps = deps
  }

  /** Tags of no cache are those of all. */
  async clear(definition: Definition, what: Cleared, timeoutMs: number): Promise<void> {
    const { owners, clock } = this.#deps.routes.deps
    const endMs = clock.monotonic() + timeoutMs
    const confirmed = new Map<string, PeerId>()
    for (;;) {
      const asked = owners().filter(member => !confirmed.has(nameOf(member)))
      if (asked.length === 0) return
      const leftMs = (): number => endMs - clock.monotonic()
      // Whoever does not answer here does not in the second round either, and is told of then.
      await Promise.allSettled(asked.map(one => this.#clearAt(one, definition, what, 0, leftMs() / 2)))
      const stamp = this.#deps.meshClock.stamp()
      if (!what.soft) this.#deps.clearHere(definition, what, stamp)
      const results = await Promise.allSettled(asked.map(one => this.#clearAt(one, definition, what, stamp, leftMs())))
      const failures = asked.flatMap((member, i) => {
        const result = results[i] as PromiseSettledResult<void>
        if (result.status === 'fulfilled') confirmed.set(nameOf(member), member.id)
        return result.status === 'rejected' ? [{ id: member.id, error: result.reason as Error }] : []
      })
      if (failures.length > 0) throw uncleared(definition, what, [...confirmed.values()], failures)
    }
  }

  async #clearAt(
    member: Owning,
    definition: Definition,
    what: Cleared,
    stamp: number,
    timeoutMs: number
  ): Promise<void> {
    const { viewHash, agreeWith, self } = this.#deps.routes.deps
    const clear = { type: 'clear', namespace: definition.namespace, ...what, stamp } as const
    const reply = await this.#deps.changes.clearAt(definition, clear, member, timeoutMs)
    if (reply !== undefined && member.id !== self && reply.viewHash !== viewHash()) await agreeWith(member.id)
  }

  /** Encoded keys, a page each; `call` bounds and guards the asking for one page. */
  async *pages(
    definition: Definition,
    prefix: string,
    call: (work: (timeoutMs: number) => Promise<readonly string[]>) => Promise<readonly string[]>
  ): AsyncGenerator<readonly string[], void, void> {
    const tour = new Tour()
    while (!tour.isOver) yield await call(timeoutMs => this.#page(tour, definition, prefix, timeoutMs))
  }

  async #page(tour: Tour, definition: Definition, prefix: string, timeoutMs: number): Promise<readonly string[]> {
    const { routes } = this.#deps
    const { primaryOf, partitionOf, isReachable, agreeWith, viewHash, self, clock } = routes.deps
    const endMs = clock.monotonic() + timeoutMs
    for (let misroutes = 0; misroutes <= MISROUTES_MAX; ) {
      const leftMs = endMs - clock.monotonic()
      if (leftMs <= 0) break
      const owner = primaryOf(tour.next)
      if (owner === undefined || !isReachable(owner)) {
        await routes.change(leftMs)
        continue
      }
      const asked = { namespace: definition.namespace, prefix, viewHash: viewHash() }
      const ask: MessageOf<'keys'> = { type: 'keys', ...asked, partition: tour.next, after: tour.after }
      // What the page will be of: between equal views both sides mean the same.
      const theirs = new Set(tour.unseen.filter(partition => primaryOf(partition) === owner))
      const reply = owner === self ? this.#deps.ownPage(ask) : await this.#ask(owner, definition, ask, leftMs)
      if (reply === 'lost') continue
      if (reply.type === 'notOwner') {
        misroutes++
        await agreeWith(owner)
      } else if (reply.type === 'page') {
        const fresh = reply.keys.filter(key => tour.isNew(key, partitionOf(definition.namespace, key)))
        tour.seen(theirs, reply)
        return fresh
      } else throw unexpected(definition, reply)
    }
    throw unavailable(definition)
  }

  async #ask(
    owner: PeerId,
    definition: Definition,
    ask: MessageOf<'keys'>,
    timeoutMs: number
  ): Promise<Reply | 'lost'> {
    try {
      return await this.#deps.client.call(owner, ask, { timeoutMs }).reply
    } catch (error) {
      if (!(error instanceof CallFailed)) throw error
      if (error.end === 'lost') return 'lost'
      throw callError(error, definition, owner)
    }
  }
}

/** Which partitions are still to be seen, and how far into one of them. */
class Tour {
  unseen: readonly number[] = Array.from({ length: PARTITIONS }, (_, partition) => partition)
  readonly #isSeen = new Uint8Array(PARTITIONS)
  /** Where pages ended in the middle of a partition. */
  readonly #begun = new Map<number, string>()

  get isOver(): boolean {
    return this.unseen.length === 0
  }

  get next(): number {
    return this.unseen[0] as number
  }

  get after(): string {
    return this.#begun.get(this.next) ?? ''
  }

  /** A page begins at the first partition not yet seen; what comes behind it may have been told by an owner of before. */
  isNew(key: string, partition: number): boolean {
    return this.#isSeen[partition] === 0 && key > (this.#begun.get(partition) ?? '')
  }

  seen(theirs: ReadonlySet<number>, { partition: end, after }: MessageOf<'page'>): void {
    for (const partition of theirs) if (partition < end) this.#isSeen[partition] = 1
    this.unseen = this.unseen.filter(partition => this.#isSeen[partition] === 0)
    if (after !== '') this.#begun.set(end, after)
  }
}

/** A process: one that was started again is another. */
function nameOf({ id, boot }: Owning): string {
  return `${id} ${boot}`
}

function uncleared(
  { name }: Definition,
  what: Cleared,
  confirmed: readonly PeerId[],
  failures: readonly { readonly id: PeerId; readonly error: Error }[]
): PartialError {
  const ids = failures.map(({ id }) => id).join(', ')
  const total = confirmed.length + failures.length
  const errors = failures.map(({ id, error }, i): [number, Error] => [i, named(error, name, id)])
  return new PartialError(
    `${failures.length} of ${total} members have not confirmed that ${nameIn(what, name)}: ${ids}. What they hold may still be served. Do it again.`,
    confirmed,
    new Map(errors),
    { ...(name !== '' && { cache: name }), retryable: true }
  )
}

function nameIn({ kind, texts }: Cleared, cache: string): string {
  if (kind === 'prefix') return `cache '${cache}' is cleared`
  const tags = `tag${texts.length > 1 ? 's' : ''} '${texts.join("', '")}'`
  return `${tags} ${cache === '' ? 'of all caches' : `of cache '${cache}'`} ${texts.length > 1 ? 'are' : 'is'} invalidated`
}

function named(error: Error, cache: string, member: PeerId): MeshError {
  const text = `Member ${member} has not confirmed: ${error.message}`
  const { code, outcome } = error as Partial<MeshError>
  return new MeshError(code ?? 'ERR_MESH_UNAVAILABLE', text, {
    ...(cache !== '' && { cache }),
    member,
    cause: error,
    outcome
  })
}
