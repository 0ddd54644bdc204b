/**
 * A write and the origin: cached only, stored first, or stored later.
 *
 *   through: ticket at the owner ─▶ store, in this process ─▶ cached with the ticket ─▶ answer
 *              ├─ busy: somebody compares ─▶ again      ├─ failed ─▶ the key is left empty ─▶ ERR_MESH_STORE
 *              └─ the version differs ─▶ false, nothing was stored
 *   behind:  cached at the owner ─▶ answer; the owner stores it, or this member does where the owner does not
 *
 * A cache that has not declared `store` in this process is written to as if there were none: what runs is what this
 * process has been given, and a handle by name alone has been given nothing.
 *
 * Why a failed `store` leaves the key empty and not as it was: what a database throws may come after its commit, and
 * then the value of before would be served until its TTL is over. Empty costs a load.
 *
 * Who has stored and then cannot reach the owner does not say "nothing was done": the outcome is unknown, and the
 * ticket runs out at the owner and empties the key.
 */
import { isMeshError, MeshError } from '../base/errors.ts'
import { decodeKey } from '../codec/keys.ts'
import type { CacheDefinition } from '../fill/definition.ts'
import { startStore } from '../fill/store-call.ts'
import type { PendingWrite, WriteBehind } from '../fill/write-behind.ts'
import type { Stats } from '../observe/stats.ts'
import type { Clock } from '../ports/clock.ts'
import type { Logger } from '../ports/log.ts'
import type { Random } from '../ports/random.ts'
import { CACHE_ONLY, type ChangeOf, type MessageOf, OUTRIGHT, type WriteOf } from '../rpc/messages.ts'
import type { Version } from '../store/version.ts'
import type { Changes, OnWritten } from './changes.ts'
import { overloaded } from './failures.ts'
import type { Routes } from './routes.ts'

/** Between two tries to be the only one who stores a key. */
const BUSY_PAUSE_MS_MIN = 5
const BUSY_PAUSE_MS_MAX = 100

export interface WritesDeps {
  readonly changes: Changes
  readonly routes: Routes
  readonly behind: WriteBehind
  readonly clock: Clock
  readonly random: Random
  readonly stats: Stats
  readonly log: Logger
  /** How long the owner may take to hear what was stored behind. */
  readonly timeoutMs: number
}

type Write = WriteOf<'write'> | WriteOf<'remove'> | WriteOf<'compareAndSet'>
type Ticketed = MessageOf<'ticketed'>
type Ticket = { readonly origin: 'through'; readonly ticket: number }

export class Writes {
  readonly #deps: WritesDeps

  constructor(deps: WritesDeps) {
    this.#deps = deps
  }

  write(definition: CacheDefinition, write: WriteOf<'write'>, timeoutMs: number): Promise<Version> {
    const { changes } = this.#deps
    switch (originOf(definition)) {
      case 'none':
        return changes.write(definition, { ...write, ...CACHE_ONLY }, timeoutMs)
      case 'behind':
        return this.#behind(definition, write, (w, on) => changes.write(definition, w, timeoutMs, on))
      case 'through':
        return this.#through(definition, write, timeoutMs, async (ticket, leftMs) =>
          changes.write(definition, { ...write, ...ticket }, leftMs)
        )
    }
  }

  async remove(definition: CacheDefinition, remove: WriteOf<'remove'>, timeoutMs: number): Promise<boolean> {
    const { changes } = this.#deps
    switch (originOf(definition)) {
      case 'none':
        return (await changes.remove(definition, { ...remove, ...CACHE_ONLY }, timeoutMs)).existed
      case 'behind':
        return (await this.#behind(definition, remove, (r, on) => changes.remove(definition, r, timeoutMs, on))).existed
      case 'through':
        return this.#through(definition, remove, timeoutMs, async (ticket, leftMs) => {
          return (await changes.remove(definition, { ...remove, ...ticket }, leftMs)).existed
        })
    }
  }

  /** Undefined when another version was there. */
  async compareAndSet(
    definition: CacheDefinition,
    compare: WriteOf<'compareAndSet'>,
    timeoutMs: number
  ): Promise<Version | undefined> {
    const { changes } = this.#deps
    const doneOf = (reply: MessageOf<'compared'>): Version | undefined => (reply.done ? reply : undefined)
    switch (originOf(definition)) {
      case 'none':
        return doneOf(await changes.compareAndSet(definition, { ...compare, ...CACHE_ONLY }, timeoutMs))
      case 'behind':
        return doneOf(
          await this.#behind(definition, compare, (c, on) => changes.compareAndSet(definition, c, timeoutMs, on))
        )
      case 'through':
        return this.#through(definition, compare, timeoutMs, async (ticket, leftMs) =>
          doneOf(await changes.compareAndSet(definition, { ...compare, ...ticket }, leftMs))
        )
    }
  }

  /**
   * What this member has stored behind belongs to another owner by now, who may have loaded the key before the origin
   * had this. Undefined when it is still ours.
   */
  tellStored({ namespace, key, partition, version }: PendingWrite): Promise<void> | undefined {
    const { changes, routes, timeoutMs, log } = this.#deps
    if (routes.deps.primaryOf(partition) === routes.deps.self) return undefined
    const has = { type: 'originHas', namespace, key, ...version } as const
    return changes.originHas({ name: namespace }, has, timeoutMs).then(
      () => {},
      (err: unknown) => {
        const message = 'a value was stored late and its owner could not be told: it may hold the one before'
        log.warn({ err, code: 'CACHEMESH_STORED_UNTOLD' }, message)
      }
    )
  }

  async #behind<W extends Write, R>(
    definition: CacheDefinition,
    write: W,
    send: (write: W & { origin: 'behind'; ticket: 0 }, onWritten: OnWritten) => Promise<R>
  ): Promise<R> {
    const { behind, routes } = this.#deps
    const { namespace, key } = write
    const bytes = bytesOf(write)
    // Looked at before it is cached: the owner may leave it to us.
    if (!behind.hasRoom(namespace, key, bytes?.length ?? 0)) throw overloaded(definition)
    // Also where too few backups have it: the origin is to get what the owner has.
    const onWritten: OnWritten = ({ taken, stamp, writer }) => {
      if (taken) return
      const partition = routes.deps.partitionOf(namespace, key)
      behind.take({ namespace, key, partition, bytes, version: { stamp, writer } })
    }
    return send({ ...write, origin: 'behind', ticket: 0 }, onWritten)
  }

  async #through<R>(
    definition: CacheDefinition,
    write: Write,
    timeoutMs: number,
    cache: (ticket: Ticket, leftMs: number) => Promise<R>
  ): Promise<R> {
    const endMs = this.#deps.clock.monotonic() + timeoutMs
    const leftMs = (): number => Math.max(1, endMs - this.#deps.clock.monotonic())
    const given = await this.#ticket(definition, write, leftMs)
    // What else there is to answer is that a comparison has failed.
    if (given === undefined) return undefined as R
    const ticket = { origin: 'through', ticket: given.ticket } as const
    const wish = { key: write.key, bytes: bytesOf(write), version: given }
    const storeMs = Math.min(definition.storeTimeoutMs, leftMs())
    const failed = await startStore(this.#deps, definition, wish, storeMs).failed
    if (failed !== undefined) {
      await this.#leaveEmpty(definition, write, ticket, leftMs())
      throw failed
    }
    try {
      return await cache(ticket, leftMs())
    } catch (error) {
      throw stored(definition, error, write.type !== 'compareAndSet')
    }
  }

  /** Undefined when the version differs. */
  async #ticket(definition: CacheDefinition, write: Write, leftMs: () => number): Promise<Ticketed | undefined> {
    const { changes, random, clock } = this.#deps
    for (let tries = 0; leftMs() > 1; tries++) {
      const given = await changes.ticket(definition, asking(write, leftMs()), leftMs())
      if (given.state === 'open') return given
      if (given.state === 'differs') return undefined
      if (given.state === 'full') throw overloaded(definition)
      const pauseMs = Math.min(BUSY_PAUSE_MS_MIN * 2 ** tries, BUSY_PAUSE_MS_MAX) * (0.5 + random.float() / 2)
      await new Promise<void>(resolve => clock.after(Math.min(pauseMs, leftMs()), resolve))
    }
    throw busy(definition, write.key)
  }

  /** If even this does not get through, the ticket runs out and does the same. */
  async #leaveEmpty(definition: CacheDefinition, write: Write, ticket: Ticket, leftMs: number): Promise<void> {
    const { namespace, key, backups, backupAcks } = write
    const remove = { type: 'remove', namespace, key, backups, backupAcks, ...OUTRIGHT } as const
    try {
      await this.#deps.changes.remove(definition, { ...remove, ...ticket }, leftMs)
    } catch (error) {
      if (!isMeshError(error)) throw error
    }
  }
}

function originOf({ store, writeBehind }: CacheDefinition): ChangeOf<'write'>['origin'] {
  if (store === undefined) return 'none'
  return writeBehind === undefined ? 'through' : 'behind'
}

function bytesOf(write: Write): Uint8Array | undefined {
  return write.type === 'remove' ? undefined : write.bytes
}

function asking(write: Write, lifeMs: number): ChangeOf<'ticket'> {
  const { namespace, key } = write
  const about = { type: 'ticket', namespace, key, lifeMs } as const
  if (write.type !== 'compareAndSet') return { ...about, exclusive: false, expectedStamp: 0, expectedWriter: '' }
  const { expectedStamp, expectedWriter } = write
  return { ...about, exclusive: true, expectedStamp, expectedWriter }
}

function busy({ name }: CacheDefinition, key: string): MeshError {
  return new MeshError(
    'ERR_MESH_CONFLICT',
    `Others were storing the key all the time that this write of cache '${name}' had. Nothing was changed. Try again, or raise timeout.`,
    { cache: name, key: String(decodeKey(key)) }
  )
}

/** The origin has it: whatever became of the cache, "nothing was done" would be wrong. */
function stored({ name }: CacheDefinition, cause: unknown, isRepeatable: boolean): unknown {
  // With too few backups it has said that it did.
  if (!isMeshError(cause) || cause.code === 'ERR_MESH_BACKUPS') return cause
  return new MeshError(
    'ERR_MESH_TIMEOUT',
    `The store of cache '${name}' has taken the write, and the cache has not said that it did: ${cause.message}`,
    { cache: name, member: cause.member, cause, outcome: 'unknown', retryable: isRepeatable }
  )
}
