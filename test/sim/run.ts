/**
 * One simulated run from one seed: a cluster, clients that read and write, faults, then quiet, then judgement.
 *
 * Which kinds of faults and operations a seed has is itself chosen by the seed, each with probability one half: a run
 * with only crashes and deletes finds what a run with a little of everything never would.
 */
import { isMeshError, PartialError } from '../../lib/base/errors.ts'
import type { Cache, LoadingCache } from '../../lib/cache.ts'
import type { Member } from '../../lib/member.ts'
import { Roster } from '../../lib/membership/roster.ts'
import type { Mesh } from '../../lib/mesh.ts'
import type { Random } from '../../lib/ports/random.ts'
import type { Entry } from '../../lib/store/entry.ts'
import { Store } from '../../lib/store/store.ts'
import { type Cluster, cluster } from '../../lib/testing.ts'
import type { Calm, Checker, ClientCall, SettledState } from './checkers/checker.ts'
import { oneWins } from './checkers/compares.ts'
import { countsAreExact } from './checkers/counts.ts'
import { type FillPromise, fillCheckers } from './checkers/fills.ts'
import { freshness } from './checkers/freshness.ts'
import { keysAreComplete } from './checkers/key-lists.ts'
import { liveness } from './checkers/liveness.ts'
import { membersStand } from './checkers/membership.ts'
import { singleFill } from './checkers/single-fill.ts'
import { versionsRise } from './checkers/versions.ts'
import { viewsConverge } from './checkers/views.ts'
import { chooseKnobs, type Knobs } from './knobs.ts'
import { failedCallIn, Origin } from './origin.ts'

const FORM_MS = 4_000
const CHAOS_MS = 20_000
const SETTLE_MS = 12_000
/** A counter lives this long and is followed by another: what a fault has spoilt is not judged, what comes after is. */
const COUNTER_MS = 5_000
const KEYS = ['k0', 'k1', 'k2', 'k3', 'k4', 'k5']

export interface Run {
  readonly seed: number
  readonly traceHash: string
  readonly steps: number
  readonly calls: number
  readonly originCalls: number
  readonly knobs: string
  readonly violation: Error | undefined
  readonly lastEvents: readonly string[]
}

export interface RunOptions {
  /** What the seed does not choose. */
  readonly knobs?: Partial<Knobs>
  /** What is judged beside all else. */
  readonly fills?: readonly FillPromise[]
}

export async function runSeed(seed: number, options: RunOptions = {}): Promise<Run> {
  const run = new Simulation(seed, options)
  let violation: Error | undefined
  const restore = run.watch()
  try {
    await run.play()
  } catch (error) {
    violation = error as Error
  } finally {
    restore()
  }
  return run.report(violation)
}

/** Why a caller's signal aborts. */
const GAVE_UP = 'gave up'

class Simulation {
  readonly #seed: number
  readonly #knobs: Knobs
  readonly #chance: Random
  /** Whether callers give up, apart from what they call: the workload of a seed stays what it was. */
  readonly #moods: Random
  readonly #cluster: Cluster
  readonly #checkers: Checker[]
  readonly #versions: ReturnType<typeof versionsRise>
  readonly #origin: Origin
  readonly #pending = new Set<Promise<void>>()
  #calls = 0
  #lastWritten = 0
  #disturbedMs = 0
  #faults = 0
  #lastApartMs = 0
  #firstObjection: Error | undefined

  constructor(seed: number, { knobs = {}, fills = ['aborts', 'errors', 'backoff'] }: RunOptions) {
    this.#seed = seed
    const dice = cluster(1, { seed }).random.fork('knobs')
    this.#knobs = { ...chooseKnobs(dice), ...knobs }
    this.#moods = dice.fork('moods')
    this.#chance = dice.fork('workload')
    const calm: Calm = {
      nowMs: () => this.#cluster.now,
      sinceMs: () => this.#calmSinceMs(),
      lastApartMs: () => this.#lastApartMs,
      lastUnrestMs: () => (this.#faults > 0 || !this.#isOneView() ? Number.POSITIVE_INFINITY : this.#disturbedMs)
    }
    this.#versions = versionsRise(calm)
    this.#checkers = [
      viewsConverge(),
      membersStand(calm),
      singleFill(calm),
      freshness(calm),
      this.#versions,
      oneWins(calm),
      countsAreExact(calm),
      keysAreComplete(calm),
      liveness(),
      ...fillCheckers(fills, calm, this.#knobs)
    ]
    this.#origin = new Origin(this.#knobs, dice.fork('origin'), {
      now: () => this.#cluster.now,
      sleep: ms => this.#cluster.sleep(ms),
      began: call => {
        this.#cluster.world.note(`origin begins ${call.key} at member ${call.member}, asked ${call.askedMs}`)
        this.#judge(checker => checker.originBegan?.(call))
      },
      ended: call => this.#judge(checker => checker.originEnded?.(call)),
      aborted: call => this.#judge(checker => checker.originAborted?.(call))
    })
    this.#cluster = cluster(this.#knobs.members, {
      seed,
      start: (mesh, index) => this.#declare(mesh, index),
      faults: {
        loss: this.#knobs.loss ? 0.02 : 0,
        gossipLoss: this.#knobs.gossipLoss ? 0.5 : 0,
        gossipDuplication: 0.1
      }
    })
  }

  async play(): Promise<void> {
    await this.#advance(FORM_MS)
    const untilMs = this.#cluster.now + CHAOS_MS
    while (this.#cluster.now < untilMs) {
      if (this.#chance.float() < 0.04) this.#makeTrouble()
      else this.#callSomething()
      await this.#advance(this.#chance.float() * 120)
    }
    this.#endFaults()
    await this.#advance(SETTLE_MS)
    const state = await this.#settledState()
    this.#judge(checker => checker.settled?.(state))
    this.#throwObjection()
  }

  /** Sees every record that any member stores, and every end of a doubt; the answer undoes it. */
  watch(): () => void {
    const { put, dropPartitions } = Store.prototype
    const { do: perform } = Roster.prototype
    const disturbed = (): void => this.#disturb()
    Roster.prototype.do = function (this: Roster, effect) {
      // Until now a member did not trust its view: what it did meanwhile is not judged.
      if (effect.type === 'certain') disturbed()
      perform.call(this, effect)
    }
    const stored = (store: Store, entry: Entry): void => this.#objecting(() => this.#versions.stored(store, entry))
    Store.prototype.put = function (this: Store, entry) {
      stored(this, entry)
      return put.call(this, entry)
    }
    const gaveAway = (store: Store): void => this.#versions.gaveAway(store)
    Store.prototype.dropPartitions = function (this: Store, lost) {
      gaveAway(this)
      return dropPartitions.call(this, lost)
    }
    return () => {
      Store.prototype.put = put
      Store.prototype.dropPartitions = dropPartitions
      Roster.prototype.do = perform
    }
  }

  report(violation: Error | undefined): Run {
    return {
      seed: this.#seed,
      traceHash: this.#cluster.traceHash,
      steps: this.#cluster.world.steps,
      calls: this.#calls,
      originCalls: this.#origin.calls,
      knobs: JSON.stringify(this.#knobs),
      violation,
      lastEvents: this.#cluster.world.lastEvents
    }
  }

  #declare(mesh: Mesh, index: number): void {
    mesh.cache('loaded', {
      ttl: '1h',
      loadTimeout: '10s',
      load: (key: string, { signal }) => this.#origin.load(key, index, signal, this.#cluster.now)
    })
    mesh.cache<number>('plain', { ttl: '1h' })
    mesh.cache<number>('guarded', { ttl: '1h' })
    mesh.counter('hits', { ttl: '1h' })
    mesh.on('join', () => this.#disturb())
    mesh.on('leave', () => this.#disturb())
    const { id } = mesh
    mesh.on('suspect', member => {
      this.#disturb()
      this.#judge(checker => checker.suspected?.(member.id, id, this.#cluster.now))
    })
    mesh.on('view', members => {
      const state = { member: id, isHere: mesh.state === 'ready', view: members.map(member => member.id) }
      this.#judge(checker => checker.saw?.(state))
    })
    this.#judge(checker => checker.joins?.(id))
  }

  #disturb(): void {
    this.#disturbedMs = this.#cluster.now
  }

  async #advance(ms: number): Promise<void> {
    await this.#cluster.run(ms)
    this.#throwObjection()
  }

  #judge(ask: (checker: Checker) => void): void {
    for (const checker of this.#checkers) this.#objecting(() => ask(checker))
  }

  /** A checker objects in the middle of the mesh's own work, where nobody would hear a throw: keep the first. */
  #objecting(ask: () => void): void {
    try {
      ask()
    } catch (objection) {
      this.#firstObjection ??= objection as Error
    }
  }

  #throwObjection(): void {
    if (this.#firstObjection !== undefined) throw this.#firstObjection
  }

  #callSomething(): void {
    const key = KEYS[this.#chance.integer(KEYS.length)] as string
    const member = this.#chance.integer(this.#knobs.members)
    const dice = this.#chance.float()
    const times = this.#chance.float() < 0.2 ? 5 : 1
    if (!this.#cluster.isAlive(member)) return
    if (this.#knobs.lostLinks && this.#chance.float() < 0.06) this.#loseLink(member)
    if (this.#callAnother(member, key)) return
    if (this.#knobs.deletes && dice < 0.12) return this.#invalidate(member, key)
    if (this.#knobs.sets && dice < 0.3) return this.#set(member, key)
    if (this.#knobs.many && times > 1) return this.#getMany(member, dice < 0.5 ? 'plain' : 'loaded')
    for (let i = 0; i < times; i++) {
      if (dice < 0.5) this.#get(member, 'plain', key)
      else if (this.#knobs.callerLoads && dice < 0.75) this.#getOrSet(member, key)
      else this.#get(member, 'loaded', key)
    }
  }

  /** What half of the seeds do beside reading and writing. */
  #callAnother(member: number, key: string): boolean {
    const { compares, counts, clears } = this.#knobs
    const dice = this.#chance.float()
    if (compares && dice < 0.15) this.#compareAndSet(member, key)
    else if (compares && dice < 0.18) this.#touch(member, key)
    else if (counts && dice > 0.75) this.#count(member)
    else if (clears && dice > 0.72) this.#clear(member, key)
    else if (clears && dice > 0.7) this.#keys(member)
    else return false
    return true
  }

  /** A request that has arrived may have been served when its answer finds no link any more. */
  #loseLink(one: number): void {
    const other = this.#chance.integer(this.#knobs.members)
    if (other !== one && this.#cluster.isAlive(other)) this.#cluster.disconnect(other, one)
  }

  #compareAndSet(member: number, key: string): void {
    const cache = this.#cacheOf(member, 'guarded')
    const next = ++this.#lastWritten
    const hand = async (): Promise<void> => {
      const expected = (await cache.getEntry(key))?.version ?? null
      this.#call({ kind: 'compareAndSet', cache: 'guarded', key, member, expected }, async () => {
        const version = await cache.compareAndSet(key, expected, next)
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
    const counter = (this.#cluster.meshes[member] as Mesh).counter('hits', { ttl: '1h' })
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
    const rows = KEYS.map(one => this.#origin.row(one))
    let cleared: Promise<void> | undefined
    KEYS.forEach((one, i) => {
      const wrote = cache === 'loaded' ? { wrote: rows[i] as number } : {}
      this.#call({ kind: 'delete', cache, key: one, member, ...wrote }, async () => {
        cleared ??= this.#cacheOf(member, cache).clear(prefix)
        await cleared
        return {}
      })
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

  #set(member: number, key: string): void {
    const wrote = ++this.#lastWritten
    this.#call({ kind: 'set', cache: 'plain', key, member, wrote }, async () => ({
      version: await this.#cacheOf(member, 'plain').set(key, wrote)
    }))
  }

  /** The origin changes, and then the mesh is told: what applications do. */
  #invalidate(member: number, key: string): void {
    const wrote = this.#origin.update(key)
    this.#call({ kind: 'delete', cache: 'loaded', key, member, wrote }, async () => {
      await this.#cacheOf(member, 'loaded').delete(key)
      return {}
    })
  }

  /** Faults may fail it, and no checker asks how it ended; what is not an error of the mesh is a bug of it. */
  #unjudged(work: Promise<unknown>): void {
    work.catch(error => this.#objectUnlessOurs(error))
  }

  #objectUnlessOurs(error: unknown): void {
    if (!isMeshError(error) && (error as Error).message !== GAVE_UP) this.#firstObjection ??= error as Error
  }

  #call(
    what: Pick<ClientCall, 'kind' | 'cache' | 'key' | 'member' | 'isPart'> & {
      wrote?: number
      expected?: string | null
    },
    work: () => Promise<Partial<ClientCall>>
  ): void {
    this.#calls++
    const beganMs = this.#cluster.now
    this.#judge(checker => checker.began?.({ ...what, beganMs }))
    const finish = (result: Partial<ClientCall>): ClientCall => {
      const call: ClientCall = { ...what, ...result, beganMs, endedMs: this.#cluster.now }
      this.#cluster.world.note(`client ${JSON.stringify(call)}`)
      this.#judge(checker => checker.called?.(call))
      return call
    }
    const fail = (error: Error & { code?: string; outcome?: string }): void => {
      this.#objectUnlessOurs(error)
      const toldOf = error.code === 'ERR_MESH_LOAD' ? { toldOf: failedCallIn(error.message) } : {}
      const call = finish({
        failed: `${error.code ?? error}`,
        ...toldOf,
        ...(error.outcome === 'unknown' && { isUnknown: true })
      })
      this.#judge(checker => checker.told?.(error, call))
    }
    // The process of a crashed member answers nobody: its calls are not waited for.
    const mesh = this.#cluster.meshes[what.member]
    const pending = work()
      .then(finish, fail)
      .then(() => {})
      .finally(() => this.#pending.delete(pending))
    this.#pending.add(pending)
    this.#owners.set(pending, mesh as Mesh)
  }

  readonly #owners = new WeakMap<Promise<void>, Mesh>()

  #cacheOf(member: number, cache: 'loaded' | 'plain' | 'guarded'): Cache<number> {
    return (this.#cluster.meshes[member] as Mesh).cache(cache) as Cache<number> & LoadingCache<number>
  }

  #makeTrouble(): void {
    const one = this.#chance.integer(this.#knobs.members)
    const dice = this.#chance.float()
    // Leaving is no fault: a mesh that is well must bear it.
    if (this.#knobs.leave && dice < 0.2 && this.#cluster.isAlive(one)) return this.#leave(one)
    this.#disturb()
    const others = range(this.#knobs.members).filter(index => index !== one)
    if (this.#faults > 0 && dice < 0.6) return this.#endFaults()
    this.#faults++
    if (this.#knobs.crash && dice < 0.7) {
      if (this.#cluster.isAlive(one)) this.#crash(one)
      else this.#cluster.restart(one)
    } else this.#keepApart(dice, one, others)
  }

  /** It takes its leave, and its process ends when all is said. */
  #leave(one: number): void {
    const mesh = this.#cluster.meshes[one] as Mesh
    this.#judge(checker => checker.leaves?.(mesh.id, this.#cluster.now))
    this.#disturb()
    void mesh.leave().then(() => {
      if (this.#cluster.meshes[one] === mesh) this.#crash(one)
    })
  }

  #crash(one: number): void {
    this.#cluster.crash(one)
    this.#judge(checker => checker.died?.(one))
  }

  #keepApart(dice: number, one: number, others: readonly number[]): void {
    const { split, oneWay, pause } = this.#knobs
    if (split && dice < 0.8) this.#cluster.cut([one], others)
    else if (oneWay && dice < 0.9) this.#cluster.cutOneWay([one], others.slice(0, 1))
    else if (pause) this.#cluster.pause(one)
    else return
    this.#lastApartMs = Number.POSITIVE_INFINITY
  }

  #endFaults(): void {
    this.#disturb()
    if (this.#lastApartMs > this.#cluster.now) this.#lastApartMs = this.#cluster.now
    this.#faults = 0
    this.#cluster.heal()
    for (const index of range(this.#knobs.members)) {
      this.#cluster.resume(index)
      // Some stay dead: the mesh must be right without them too.
      if (!this.#cluster.isAlive(index) && this.#chance.float() < 0.7) this.#cluster.restart(index)
    }
  }

  #calmSinceMs(): number {
    if (this.#faults > 0 || !this.#isWhole()) return Number.POSITIVE_INFINITY
    return Math.max(this.#disturbedMs, this.#cluster.network.lastLinkChangeMs)
  }

  #isWhole(): boolean {
    return this.#cluster.isLinked && this.#isOneView()
  }

  #isOneView(): boolean {
    const live = this.#live()
    const isWhole = (mesh: Mesh): boolean =>
      mesh.state === 'ready' && mesh.members.length === live.length && mesh.members.every(isUnsuspected)
    return live.every(mesh => isWhole(mesh) && mesh.stats().viewInDoubt === 0)
  }

  #live(): Mesh[] {
    return range(this.#knobs.members)
      .filter(index => this.#cluster.isAlive(index))
      .map(index => this.#cluster.meshes[index] as Mesh)
  }

  async #settledState(): Promise<SettledState> {
    const live = this.#live()
    const views = new Map(live.map(mesh => [mesh.id, mesh.members.map(member => member.id)]))
    const suspects = new Map(
      live.map(mesh => [mesh.id, mesh.members.filter(one => !isUnsuspected(one)).map(({ id }) => id)])
    )
    const pending = [...this.#pending].filter(call => live.includes(this.#owners.get(call) as Mesh)).length
    const finalReads = await this.#cluster.until(Promise.all(this.#finalReads()), '30s')
    return { views, suspects, live: live.map(mesh => mesh.id), pending, finalReads }
  }

  #finalReads(): Promise<SettledState['finalReads'][number]>[] {
    const alive = range(this.#knobs.members).filter(index => this.#cluster.isAlive(index))
    return alive.flatMap(member =>
      (['loaded', 'plain'] as const).flatMap(cache =>
        KEYS.map(async key => {
          try {
            return { member, cache, key, value: await this.#finalRead(member, cache, key) }
          } catch (error) {
            return { member, cache, key, failed: String(error) }
          }
        })
      )
    )
  }

  /** The origin may still fail now and then: that is its right, and the next try must succeed. */
  async #finalRead(member: number, cache: 'loaded' | 'plain', key: string): Promise<number | undefined> {
    this.#origin.isWell = true
    const read = this.#cacheOf(member, cache).get(key)
    this.#call({ kind: 'get', cache, key, member }, async () => ({ value: await read }))
    return read
  }
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

function isUnsuspected({ status }: Member): boolean {
  return status === 'alive'
}

function range(length: number): number[] {
  return Array.from({ length }, (_, i) => i)
}
