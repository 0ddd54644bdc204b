/**
 * What the applications do: they call the members, and note what came back for the checkers to judge.
 */
import { isMeshError, PartialError } from '../../lib/base/errors.ts'
import type { Cache, LoadingCache } from '../../lib/cache.ts'
import type { Mesh } from '../../lib/mesh.ts'
import type { Random } from '../../lib/ports/random.ts'
import type { Cluster } from '../../lib/testing.ts'
import { type BulkDice, bulkKey, bulkValue, counterOf, KEYS, TAG_OF_ALL, tagOf } from './caches.ts'
import type { CacheName, Checker, ClientCall } from './checkers/checker.ts'
import type { Knobs } from './knobs.ts'
import { failedCallIn, type Origin } from './origin.ts'

/** A counter lives this long and is followed by another: what a fault has spoilt is not judged, what comes after is. */
const COUNTER_MS = 5_000
const BULK_AT_ONCE = 4
/** Why a caller's signal aborts. */
const GAVE_UP = 'gave up'

export interface ClientHooks {
  judge(ask: (checker: Checker) => void): void
  object(error: Error): void
  /** A call begins, or is over. */
  passes(call: Pick<ClientCall, 'kind' | 'cache' | 'key' | 'member'>, isOver: boolean): void
}

type Beginning = Pick<ClientCall, 'kind' | 'cache' | 'key' | 'member' | 'isPart'> & Partial<ClientCall>

export class Clients {
  readonly #knobs: Knobs
  readonly #cluster: Cluster
  readonly #origin: Origin
  readonly #chance: Random
  /** Whether callers give up, apart from what they call: the workload of a seed stays what it was. */
  readonly #moods: Random
  readonly #more: Random
  readonly #nearness: Random
  readonly #tagDice: Random
  readonly #hooks: ClientHooks
  /** With the mesh that was asked: the process of a crashed member answers nobody, and is not waited for. */
  readonly #pending = new Map<Promise<void>, Mesh>()
  #lastWritten = 0
  calls = 0

  constructor(
    knobs: Knobs,
    cluster: Cluster,
    origin: Origin,
    dice: { readonly chance: Random; readonly moods: Random },
    hooks: ClientHooks
  ) {
    this.#knobs = knobs
    this.#cluster = cluster
    this.#origin = origin
    this.#chance = dice.chance
    this.#moods = dice.moods
    this.#more = dice.moods.fork('copies')
    this.#nearness = dice.moods.fork('near')
    this.#tagDice = dice.moods.fork('tags')
    this.#hooks = hooks
  }

  /** Calls of these members that have not come back. */
  pendingAt(meshes: readonly Mesh[]): number {
    return [...this.#pending.values()].filter(mesh => meshes.includes(mesh)).length
  }

  callSomething(): void {
    const key = KEYS[this.#chance.integer(KEYS.length)] as string
    const member = this.#chance.integer(this.#knobs.members)
    const dice = this.#chance.float()
    const times = this.#chance.float() < 0.2 ? 5 : 1
    if (!this.#cluster.isAlive(member)) return
    if (this.#knobs.lostLinks && this.#chance.float() < 0.06) this.#loseLink(member)
    if (this.#knobs.near && this.#nearness.float() < 0.35) return this.#useNear(member, key)
    if (this.#knobs.copies && this.#more.float() < 0.5) return this.#useCopies(member, key)
    if (this.#knobs.bulk && this.#more.float() < 0.2) return this.#setBulk(member)
    if (this.#callAnother(member, key)) return
    if (this.#knobs.deletes && dice < 0.12) return this.#invalidate(member, key)
    if (this.#knobs.sets && dice < 0.3) return this.#set(member, 'plain', key)
    if (this.#knobs.many && times > 1) return this.#getMany(member, dice < 0.5 ? 'plain' : 'loaded')
    for (let i = 0; i < times; i++) {
      if (dice < 0.5) this.#get(member, 'plain', key)
      else if (this.#knobs.callerLoads && dice < 0.75) this.#getOrSet(member, key)
      else this.#get(member, 'loaded', key)
    }
  }

  /** The origin may still fail now and then: that is its right, and the next try must succeed. */
  async finalRead(member: number, cache: CacheName, key: string): Promise<Partial<ClientCall>> {
    this.#origin.isWell = true
    const read = async (): Promise<Partial<ClientCall>> => {
      if (cache === 'loaded') return { value: await this.#cacheOf(member, cache).get(key) }
      const { value, version } = (await this.#cacheOf(member, cache).getEntry(key)) ?? {}
      return version === undefined ? {} : { value: value as number, version }
    }
    const result = read()
    this.#call({ kind: 'get', cache, key, member }, () => result)
    return result
  }

  /** What half of the seeds do beside reading and writing. */
  #callAnother(member: number, key: string): boolean {
    const { compares, counts, clears } = this.#knobs
    const dice = this.#chance.float()
    if (compares && dice < 0.15) this.#compareAndSet(member, 'guarded', key)
    else if (compares && dice < 0.18) this.#touch(member, key)
    else if (counts && dice > 0.75) this.#count(member)
    else if (clears && dice > 0.72) this.#clear(member, key)
    else if (clears && dice > 0.7) this.#keys(member)
    else return false
    return true
  }

  #useCopies(member: number, key: string): void {
    const cache = this.#more.float() < 0.5 ? 'safe' : 'copied'
    const dice = this.#more.float()
    if (dice < 0.3) this.#set(member, cache, key)
    else if (dice < 0.37) this.#delete(member, cache, key)
    else if (dice < 0.48) this.#compareAndSet(member, cache, key)
    else if (dice < 0.52) this.#flush(member, cache)
    else this.#getEntry(member, cache, key)
  }

  /** A request that has arrived may have been served when its answer finds no link any more. */
  #loseLink(one: number): void {
    const other = this.#chance.integer(this.#knobs.members)
    if (other !== one && this.#cluster.isAlive(other)) this.#cluster.disconnect(other, one)
  }

  #compareAndSet(member: number, cache: 'guarded' | 'safe' | 'copied', key: string): void {
    const handle = this.#cacheOf(member, cache)
    const wrote = ++this.#lastWritten
    const hand = async (): Promise<void> => {
      const expected = (await handle.getEntry(key))?.version ?? null
      this.#call({ kind: 'compareAndSet', cache, key, member, expected, wrote, ...this.#copying(cache) }, async () => {
        const version = await handle.compareAndSet(key, expected, wrote)
        return version === false ? {} : { version }
      })
    }
    // Without a version there is nothing to compare.
    this.#unjudged(hand())
  }

  #touch(member: number, key: string): void {
    this.#unjudged(this.#cacheOf(member, 'plain').touch(key, '2h'))
  }

  #count(member: number): void {
    const key = `c${Math.floor(this.#cluster.now / COUNTER_MS)}`
    const counter = counterOf(this.#cluster.meshes[member] as Mesh, this.#knobs)
    const call = { cache: 'hits', key, member } as const
    const isRead = this.#chance.float() < 0.2
    if (isRead) this.#call({ ...call, kind: 'count' }, async () => ({ value: await counter.get(key) }))
    else this.#call({ ...call, kind: 'add' }, async () => ({ value: (await counter.add(key)).value }))
  }

  /** The origin changes one row, and the whole cache goes: each key must be at least as new as its row is now. */
  #clear(member: number, key: string): void {
    const cache = this.#chance.float() < 0.5 ? 'loaded' : 'plain'
    if (cache === 'loaded') this.#origin.update(key)
    // Its prefix is that of all keys of this workload.
    const prefix = this.#chance.float() < 0.5 ? { prefix: 'k' } : {}
    const byTag = cache === 'loaded' && this.#isByTag()
    const rows = KEYS.map(one => this.#origin.row(one))
    let cleared: Promise<void> | undefined
    KEYS.forEach((one, i) => {
      const wrote = cache === 'loaded' ? { wrote: rows[i] as number } : {}
      this.#call(
        { kind: 'delete', cache, key: one, member, isClear: true, ...wrote, ...this.#copying(cache) },
        async () => {
          const handle = this.#cacheOf(member, cache)
          cleared ??= byTag ? handle.invalidateTag(TAG_OF_ALL) : handle.clear(prefix)
          await cleared
          return {}
        }
      )
    })
  }

  #keys(member: number): void {
    this.#call({ kind: 'keys', cache: 'plain', key: '', member }, async () => {
      const listed: string[] = []
      for await (const key of this.#cacheOf(member, 'plain').keys()) listed.push(key)
      return { listed }
    })
  }

  #get(member: number, cache: 'loaded' | 'plain', key: string): void {
    this.#call({ kind: 'get', cache, key, member }, async () => ({
      value: await this.#cacheOf(member, cache).get(key, this.#patience())
    }))
  }

  /** Written seldom and read often, also by several at once. */
  #useNear(member: number, key: string): void {
    const dice = this.#nearness.float()
    if (dice < 0.12) return this.#set(member, 'near', key)
    if (dice < 0.15) return this.#delete(member, 'near', key)
    const times = 1 + this.#nearness.integer(4)
    for (let i = 0; i < times; i++) this.#getEntry(member, 'near', key)
  }

  #getEntry(member: number, cache: 'safe' | 'copied' | 'near', key: string): void {
    const { backups } = this.#copying(cache)
    this.#call({ kind: 'get', cache, key, member, backups }, async () => {
      const entry = await this.#cacheOf(member, cache).getEntry(key)
      if (entry === undefined) return {}
      return { value: entry.value, version: entry.version, ...howOf(entry.from) }
    })
  }

  /** Some callers give up: sometimes before the load has begun, sometimes just before it ends. */
  #patience(): { signal?: AbortSignal } {
    if (!this.#knobs.aborts || this.#moods.float() < 0.6) return {}
    const gone = new AbortController()
    const afterMs = this.#moods.float() < 0.3 ? this.#moods.float() * 4 : this.#moods.float() * 600
    void this.#cluster.sleep(afterMs).then(() => gone.abort(new Error(GAVE_UP)))
    return { signal: gone.signal }
  }

  /** All keys in one call; judged as one get each. */
  #getMany(member: number, cache: 'loaded' | 'plain'): void {
    const all = this.#cacheOf(member, cache).getMany(KEYS)
    for (const [place, key] of KEYS.entries())
      this.#call({ kind: 'get', cache, key, member, isPart: true }, async () => ({ value: await oneOf(all, place) }))
  }

  #getOrSet(member: number, key: string): void {
    const askedMs = this.#cluster.now
    this.#call({ kind: 'getOrSet', cache: 'loaded', key, member }, async () => ({
      value: await this.#cacheOf(member, 'loaded').getOrSet(
        key,
        ({ signal }) => this.#origin.load(key, member, signal, askedMs),
        this.#patience()
      )
    }))
  }

  #set(member: number, cache: 'plain' | 'safe' | 'copied' | 'near', key: string): void {
    const wrote = ++this.#lastWritten
    this.#call({ kind: 'set', cache, key, member, wrote, ...this.#copying(cache) }, async () => ({
      version: await this.#cacheOf(member, cache).set(key, wrote)
    }))
  }

  /** Values that weigh something, some of them soon over; nobody reads them. */
  #setBulk(member: number): void {
    const cache = this.#cacheOf<BulkDice>(member, 'bulk')
    for (let i = 0; i < BULK_AT_ONCE; i++) {
      const key = bulkKey(this.#more)
      const ttl = this.#more.float() < 0.3 ? ({ ttl: '5s' } as const) : {}
      if (this.#more.float() < 0.1) this.#unjudged(cache.delete(key))
      else this.#unjudged(cache.set(key, bulkValue(this.#more, this.#knobs), ttl))
    }
  }

  /** The origin changes, and then the mesh is told: what applications do. */
  #invalidate(member: number, key: string): void {
    const wrote = this.#origin.update(key)
    this.#delete(member, 'loaded', key, wrote)
  }

  #delete(member: number, cache: 'loaded' | 'safe' | 'copied' | 'near', key: string, wrote?: number): void {
    const made = wrote === undefined ? {} : { wrote }
    const byTag = (cache === 'loaded' || cache === 'near') && this.#isByTag()
    this.#call({ kind: 'delete', cache, key, member, ...made, ...this.#copying(cache) }, async () => {
      const handle = this.#cacheOf(member, cache)
      if (byTag) await handle.invalidateTag(tagOf(key))
      else await handle.delete(key)
      return {}
    })
  }

  #isByTag(): boolean {
    return this.#knobs.tags && this.#tagDice.float() < 0.5
  }

  /** What this member has written until now is with a backup when it returns. */
  #flush(member: number, cache: 'safe' | 'copied'): void {
    this.#call({ kind: 'flush', cache, key: '', member, acks: 1 }, async () => {
      await this.#cacheOf(member, cache).flush({ backupAcks: 1, timeout: '2s' })
      return {}
    })
  }

  #copying(cache: CacheName): { acks: 1 | 'all' | 0; backups: number } {
    const { backups, acks } = this.#knobs
    return cache === 'safe' ? { backups: Math.max(1, backups), acks } : { backups, acks: 0 }
  }

  /** Faults may fail it, and no checker asks how it ended; what is not an error of the mesh is a bug of it. */
  #unjudged(work: Promise<unknown>): void {
    work.catch(error => this.#objectUnlessOurs(error))
  }

  #objectUnlessOurs(error: unknown): void {
    if (!isMeshError(error) && (error as Error).message !== GAVE_UP) this.#hooks.object(error as Error)
  }

  #call(what: Beginning, work: () => Promise<Partial<ClientCall>>): void {
    this.calls++
    const { judge } = this.#hooks
    const beganMs = this.#cluster.now
    judge(checker => checker.began?.({ ...what, beganMs }))
    this.#hooks.passes(what, false)
    const finish = (result: Partial<ClientCall>): ClientCall => {
      const call: ClientCall = { ...what, ...result, beganMs, endedMs: this.#cluster.now }
      this.#cluster.world.note(`client ${JSON.stringify(call)}`)
      judge(checker => checker.called?.(call))
      if (call.failed === undefined) this.#hooks.passes(call, true)
      return call
    }
    const fail = (error: Error & { code?: string; outcome?: string }): void => {
      this.#objectUnlessOurs(error)
      const toldOf = error.code === 'ERR_MESH_LOAD' ? { toldOf: failedCallIn(error.message) } : {}
      const isUnknown = error.outcome === 'unknown' || error.code === 'ERR_MESH_BACKUPS'
      const call = finish({ failed: `${error.code ?? error}`, ...toldOf, ...(isUnknown && { isUnknown: true }) })
      judge(checker => checker.told?.(error, call))
    }
    const pending = work()
      .then(finish, fail)
      .then(() => {})
      .finally(() => this.#pending.delete(pending))
    this.#pending.set(pending, this.#cluster.meshes[what.member] as Mesh)
  }

  #cacheOf<V = number>(member: number, cache: CacheName): Cache<V> {
    return (this.#cluster.meshes[member] as Mesh).cache(cache) as Cache<V> & LoadingCache<V>
  }
}

function howOf(from: string): Partial<ClientCall> {
  return from === 'backup' ? { isCopy: true } : from === 'near' ? { isNear: true } : {}
}

async function oneOf(all: Promise<(number | undefined)[]>, place: number): Promise<number | undefined> {
  try {
    return (await all)[place]
  } catch (error) {
    if (!(error instanceof PartialError)) throw error
    if (error.errors.has(place)) throw error.errors.get(place)
    return error.values[place] as number | undefined
  }
}
