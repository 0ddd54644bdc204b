/**
 * What the application tells about which keys exist, told to every member that may deny one.
 *
 *   roll call: everybody in the view, whoever turns up meanwhile, and who was lost of late ─▶ each has answered, with
 *              our view and not cut off, or is gone for good ─▶ done · deadline ─▶ ERR_MESH_PARTIAL names the others
 *
 *   add    roll call "these exist" ─▶ all are of one generation? ─▶ done
 *            ▲                         └─ no: somebody may have taken up the newer one between its answer and another's
 *            └─────────────────────────── ◀┘  until all are, or say the same twice
 *   fill   roll call ─▶ new filter beside the old one ─▶ published here ─▶ roll calls until all have it complete
 *   clear  a generation of no bits ─▶ roll call
 *
 * Why once is not enough for an add where generations differ:
 *
 *   1. A adds k ─ M says yes, still of the old one ─ M takes up the new one, pulls a part from X ─ k reaches X: X has
 *      k, M's part does not. Asked again, M adds k to what it has by then.
 *   2. Asked while all are of one: each had k in that filter when it answered, and what it pulls later is merged.
 *   3. Asked twice, and all said the same: whoever has not taken up the newer one by its second answer can pull it only
 *      from those who had it by their first, and they had k in it.
 *
 * A filling that began before an add takes it in because its member is among those asked; one that begins later has
 * the key among its own, if the application read them from where the row already was.
 */
import { MeshError, PartialError } from '../base/errors.ts'
import type { CacheDefinition } from '../fill/definition.ts'
import type { Filling } from '../fill/existence.ts'
import type { Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import { CallFailed, type Client } from '../rpc/client.ts'
import type { FilterRequest, FilterState, MessageOf, Reply } from '../rpc/messages.ts'
import { FILTER_KEYS_MAX } from '../rpc/origin-talk.ts'
import { isNewer, type MeshClock, type Version } from '../store/version.ts'
import { callError, outcomeUnknown, overloaded, unavailable, unexpected } from './failures.ts'
import type { Filters } from './filters.ts'
import type { Routes } from './routes.ts'

/** Between two questions whether a filter is complete by now. */
const AGAIN_MS = 50
/** Keys of one message are cut here too; a longer one goes alone. */
const KEYS_UNITS_MAX = 16 * 1024

export interface FilterChangesDeps {
  readonly routes: Routes
  readonly client: Client
  readonly clock: Clock
  readonly meshClock: MeshClock
  readonly filters: Filters
  /** How long one member may take to answer; then it is asked again. */
  readonly attemptMs: number
}

interface Failure {
  readonly id: PeerId
  readonly error: Error
}

type About = Pick<CacheDefinition, 'name' | 'namespace'>
type Owning = ReturnType<Routes['deps']['owners']>[number]
type Told = MessageOf<'filterTold'>
/** By process. */
type Said = Map<string, Told>

export class FilterChanges {
  readonly #deps: FilterChangesDeps

  constructor(deps: FilterChangesDeps) {
    this.#deps = deps
  }

  async add(about: About, keys: readonly string[], timeoutMs: number): Promise<void> {
    const endMs = this.#nowMs + timeoutMs
    for (const batch of batchesOf(keys)) await this.#addBatch(about, batch, endMs)
  }

  /** Resolves with what is to be filled, when all who might deny a key are here. */
  async beginFill(about: About, timeoutMs: number): Promise<Filling> {
    const existence = this.#deps.filters.of(about.namespace)
    if (existence === undefined) throw unavailable(about)
    const { meshClock, routes, filters } = this.#deps
    // Begun when it is called: its keys may have been read already.
    const begun = { stamp: meshClock.stamp(), writer: routes.deps.self }
    const filling = existence.beginFilling(begun, filters.isSettled)
    if (filling === undefined) throw overloaded(about)
    try {
      await this.#rollCall(about, () => this.#compare(about), this.#nowMs + timeoutMs)
      return filling
    } catch (error) {
      existence.endFilling(filling)
      throw error
    }
  }

  /** It is complete here at once; resolves when it is, or a newer one, with all. */
  async publish(about: About, filling: Filling, timeoutMs: number): Promise<void> {
    const { filters, clock } = this.#deps
    const endMs = this.#nowMs + timeoutMs
    filters.of(about.namespace)?.publish(filling)
    for (;;) {
      const said = await this.#rollCall(about, () => this.#compare(about), endMs)
      const missing = [...said].filter(([, { state }]) => state.holds && !has(state, filling.begun))
      if (missing.length === 0) return
      if (endMs - this.#nowMs <= AGAIN_MS)
        throw this.#unfinished(
          about,
          said,
          missing.map(([name]) => idOf(name))
        )
      await new Promise<void>(resolve => clock.after(AGAIN_MS, resolve))
    }
  }

  abandon(about: About, filling: Filling): void {
    this.#deps.filters.of(about.namespace)?.endFilling(filling)
  }

  async clear(about: About, timeoutMs: number): Promise<void> {
    const { meshClock, routes, filters } = this.#deps
    const none = { bits: 0, hashes: 0, hashing: 0, holds: true, complete: true, level: true, doubts: 0, print: 0 }
    const state = { stamp: meshClock.stamp(), writer: routes.deps.self, ...none }
    filters.of(about.namespace)?.hear(state)
    const request = { type: 'filterCompare', namespace: about.namespace, cutOff: false, state } as const
    await this.#rollCall(about, () => request, this.#nowMs + timeoutMs)
  }

  async #addBatch(about: About, keys: readonly string[], endMs: number): Promise<void> {
    const request = { type: 'filterAdd', namespace: about.namespace, keys } as const
    for (let before = ''; ; ) {
      const said = await this.#rollCall(about, () => request, endMs)
      const generations = [...said].map(([name, { state }]) => ({
        name,
        of: `${state.holds} ${state.stamp} ${state.writer}`
      }))
      if (new Set(generations.map(({ of }) => of)).size <= 1) return
      const now = JSON.stringify(generations.sort((a, b) => (a.name < b.name ? -1 : 1)))
      if (now === before) return
      before = now
    }
  }

  #compare({ namespace }: About): FilterRequest {
    const { filters } = this.#deps
    return { type: 'filterCompare', namespace, ...filters.shown(filters.of(namespace)) }
  }

  async #rollCall(about: About, request: () => FilterRequest, endMs: number): Promise<Said> {
    const { routes } = this.#deps
    const { owners } = routes.deps
    const said: Said = new Map()
    for (;;) {
      const asked = owners().filter(member => !said.has(nameOf(member)))
      const results = await Promise.allSettled(asked.map(member => this.#untilTold(member, about, request, endMs)))
      const failures = asked.flatMap((member, i) => {
        const result = results[i] as PromiseSettledResult<Told | undefined>
        if (result.status === 'rejected') return [{ id: member.id, error: result.reason as Error }]
        if (result.value !== undefined) said.set(nameOf(member), result.value)
        return []
      })
      if (failures.length > 0) throw unconfirmed(about, said, failures)
      if (owners().some(member => !said.has(nameOf(member)))) continue
      const [lost, cutOff] = [this.#lost(said), [...said].filter(([, told]) => told.cutOff).map(([name]) => name)]
      if (lost.length + cutOff.length === 0) return said
      const leftMs = endMs - this.#nowMs
      for (const name of cutOff) said.delete(name)
      if (leftMs <= 0) throw unconfirmed(about, said, missing(about, lost, cutOff.map(idOf)))
      await routes.change(Math.min(leftMs, AGAIN_MS))
    }
  }

  /** Who went a moment ago without a word, but for those who had answered by then. */
  #lost(said: Said): readonly PeerId[] {
    const told = new Set([...said.keys()].map(idOf))
    return this.#deps.filters.roll.lost(this.#nowMs).filter(id => !told.has(id))
  }

  /** Undefined when it is not here any more, or is another process by now. */
  async #untilTold(
    member: Owning,
    about: About,
    request: () => FilterRequest,
    endMs: number
  ): Promise<Told | undefined> {
    const { routes, filters } = this.#deps
    const { self, isReachable, owners, viewHash, agreeWith } = routes.deps
    let wasAsked = false
    while (owners().some(({ id, boot }) => id === member.id && boot === member.boot)) {
      const leftMs = endMs - this.#nowMs
      if (leftMs <= 0)
        throw wasAsked ? outcomeUnknown(about, member.id, 'did not answer in time', true) : unavailable(about)
      if (!isReachable(member.id)) {
        await routes.change(leftMs)
        continue
      }
      if (member.id === self) return toldBy(filters.handle(self, request()), about)
      const reply = await this.#ask(member.id, request(), about, leftMs)
      wasAsked = true
      if (reply === undefined) continue
      const told = toldBy(reply, about)
      filters.hear(about.namespace, member.id, told)
      if (told.viewHash === viewHash()) return told
      // It knows of somebody whom we do not know, and might not even believe in: one that is suspected there.
      await agreeWith(member.id)
      if (told.viewHash !== viewHash()) await routes.change(Math.min(AGAIN_MS, Math.max(1, endMs - this.#nowMs)))
    }
    return undefined
  }

  async #ask(peer: PeerId, request: FilterRequest, about: About, leftMs: number): Promise<Reply | undefined> {
    try {
      return await this.#deps.client.call(peer, request, { timeoutMs: Math.min(this.#deps.attemptMs, leftMs) }).reply
    } catch (error) {
      if (!(error instanceof CallFailed)) throw error
      if (error.end === 'overloaded') throw callError(error, about, peer)
      return undefined
    }
  }

  #unfinished(about: About, said: Said, missing: readonly PeerId[]): PartialError {
    const failures = missing.map(id => ({
      id,
      error: outcomeUnknown(about, id, 'has not fetched the filter yet', true)
    }))
    return unconfirmed(about, new Map([...said].filter(([name]) => !missing.includes(idOf(name)))), failures)
  }

  get #nowMs(): number {
    return this.#deps.clock.monotonic()
  }
}

function toldBy(reply: Reply, about: About): MessageOf<'filterTold'> {
  if (reply.type === 'filterTold') return reply
  throw unexpected(about, reply)
}

function has(state: FilterState, wanted: Version): boolean {
  if (isNewer(wanted, state)) return false
  return isNewer(state, wanted) || state.complete
}

function* batchesOf(keys: readonly string[]): Generator<readonly string[]> {
  let batch: string[] = []
  let units = 0
  for (const key of keys) {
    if (batch.length === FILTER_KEYS_MAX || (batch.length > 0 && units + key.length > KEYS_UNITS_MAX)) {
      yield batch
      batch = []
      units = 0
    }
    batch.push(key)
    units += key.length
  }
  if (batch.length > 0) yield batch
}

/** A process: one that was started again is another. */
function nameOf({ id, boot }: Owning): string {
  return `${boot} ${id}`
}

function idOf(name: string): PeerId {
  return name.slice(name.indexOf(' ') + 1)
}

function missing({ name }: About, lost: readonly PeerId[], cutOff: readonly PeerId[]): Failure[] {
  const failure = (id: PeerId, why: string): Failure => ({
    id,
    error: new MeshError('ERR_MESH_UNAVAILABLE', `${why} (cache '${name}').`)
  })
  return [
    ...lost.map(id => failure(id, 'it was lost, and may go on behind a split')),
    ...cutOff.map(id => failure(id, 'it has lost most of the members it knew'))
  ]
}

function unconfirmed({ name }: About, said: Said, failures: readonly Failure[]): PartialError {
  const ids = failures.map(({ id }) => id).join(', ')
  const total = said.size + failures.length
  const errors = failures.map(({ id, error }, i): [number, Error] => [i, named(error, name, id)])
  return new PartialError(
    `${failures.length} of ${total} members have not confirmed what exists in cache '${name}': ${ids}. They may still deny it, or go on with an older filter. Do it again.`,
    [...said.keys()].map(idOf),
    new Map(errors),
    { cache: name, retryable: true }
  )
}

function named(error: Error, cache: string, member: PeerId): MeshError {
  const { code, outcome, message } = error as MeshError
  const text = `Member ${member} has not confirmed: ${message}`
  return new MeshError(code ?? 'ERR_MESH_UNAVAILABLE', text, { cache, member, cause: error, outcome })
}
