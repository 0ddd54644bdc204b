/**
 * One simulated run from one seed: a cluster, clients that read and write, faults, then quiet, then judgement.
 *
 * Which kinds of faults and operations a seed has is itself chosen by the seed, each with probability one half: a run
 * with only crashes and deletes finds what a run with a little of everything never would.
 */
import type { Member } from '../../lib/member.ts'
import { Roster } from '../../lib/membership/roster.ts'
import type { Mesh } from '../../lib/mesh.ts'
import type { Random } from '../../lib/ports/random.ts'
import type { Store } from '../../lib/store/store.ts'
import { type Cluster, cluster } from '../../lib/testing.ts'
import { bulkKeys, declareAll, KEYS, meshOptions, READ_CACHES } from './caches.ts'
import { ackedWritesSurvive } from './checkers/acked-writes.ts'
import { antiEntropyEnds } from './checkers/anti-entropy.ts'
import type { Calm, Checker, Insides, SettledState, Views } from './checkers/checker.ts'
import { oneWins } from './checkers/compares.ts'
import { countsAreExact } from './checkers/counts.ts'
import { deletesStay } from './checkers/deletes.ts'
import { drainLosesNothing } from './checkers/drains.ts'
import { type FillPromise, fillCheckers } from './checkers/fills.ts'
import { freshness } from './checkers/freshness.ts'
import { keysAreComplete } from './checkers/key-lists.ts'
import { liveness } from './checkers/liveness.ts'
import { membersStand } from './checkers/membership.ts'
import { memoryIsBounded } from './checkers/memory.ts'
import { movedKeysAreNotLoaded } from './checkers/moved-keys.ts'
import { nearCopiesKeepUp } from './checkers/near-lag.ts'
import { replicaCountRestored } from './checkers/replica-count.ts'
import { replicasConverge } from './checkers/replicas-converge.ts'
import { sessionsGoForward } from './checkers/sessions.ts'
import { singleFill } from './checkers/single-fill.ts'
import { type GivenUp, versionsRise } from './checkers/versions.ts'
import { viewsConverge } from './checkers/views.ts'
import { Clients } from './clients.ts'
import { holdingsOf, insidesOf } from './insides.ts'
import { chooseKnobs, isPeaceful, type Knobs } from './knobs.ts'
import { Losses } from './losses.ts'
import { Origin } from './origin.ts'
import { Trouble } from './trouble.ts'
import { watchStores } from './watch.ts'

const FORM_MS = 4_000
const CHAOS_MS = 20_000
const SETTLE_MS = 12_000
/** How long the mesh is left alone at the end, and how many times in a run that lingers. */
const REST_MS = 2_000
const LONG_REST = 10
const COUNTERS = 10
const NEVER = { steps: -1, sinceMs: Number.POSITIVE_INFINITY }

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

class Simulation {
  readonly #seed: number
  readonly #knobs: Knobs
  readonly #chance: Random
  readonly #cluster: Cluster
  readonly #losses = new Losses()
  readonly #checkers: Checker[]
  readonly #versions: ReturnType<typeof versionsRise>
  readonly #origin: Origin
  readonly #clients: Clients
  readonly #trouble: Trouble
  /** What each member may hold. */
  readonly #memoryBytes: number
  #disturbedMs = 0
  #calmAt: { readonly steps: number; readonly sinceMs: number } = NEVER
  #isChaos = false
  #firstObjection: Error | undefined

  constructor(seed: number, { knobs = {}, fills = ['aborts', 'errors', 'backoff'] }: RunOptions) {
    this.#seed = seed
    const dice = cluster(1, { seed }).random.fork('knobs')
    this.#knobs = { ...chooseKnobs(dice), ...knobs }
    const moods = dice.fork('moods')
    this.#chance = dice.fork('workload')
    this.#versions = versionsRise(this.#calm, store => this.#givenUpOf(store))
    this.#checkers = this.#checkersFor(fills)
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
      options: meshOptions(this.#knobs, dice.fork('options')),
      faults: {
        loss: this.#knobs.loss ? 0.02 : 0,
        gossipLoss: this.#knobs.gossipLoss ? 0.5 : 0,
        gossipDuplication: 0.1
      }
    })
    this.#memoryBytes = (this.#cluster.meshes[0] as Mesh).stats().memoryLimitBytes
    this.#clients = new Clients(
      this.#knobs,
      this.#cluster,
      this.#origin,
      { chance: this.#chance, moods },
      {
        judge: ask => this.#judge(ask),
        object: error => {
          this.#firstObjection ??= error
        },
        passes: (call, isOver) => {
          if (this.#isChaos) this.#trouble.strike(call, isOver)
        }
      }
    )
    this.#trouble = new Trouble(this.#knobs, this.#cluster, this.#chance, this.#losses, {
      disturb: () => this.#disturb(),
      leaves: id => this.#judge(checker => checker.leaves?.(id, this.#cluster.now)),
      died: index => {
        this.#calmAt = NEVER
        this.#judge(checker => checker.died?.(index))
      }
    })
  }

  async play(): Promise<void> {
    this.#cluster.world.onStep = () => this.#stepped()
    await this.#advance(FORM_MS)
    const untilMs = this.#cluster.now + CHAOS_MS
    this.#isChaos = true
    while (this.#cluster.now < untilMs) {
      if (this.#chance.float() < 0.04) this.#trouble.make()
      else this.#clients.callSomething()
      await this.#advance(this.#chance.float() * 120)
    }
    this.#isChaos = false
    this.#trouble.endForGood()
    await this.#advance(SETTLE_MS)
    this.#judge(checker => checker.united?.(this.#views()))
    await this.#judgeRest()
    const state = await this.#settledState()
    this.#judge(checker => checker.settled?.(state))
    this.#throwObjection()
  }

  /** Sees every record that any member stores, and every end of a doubt; the answer undoes it. */
  watch(): () => void {
    const { do: perform } = Roster.prototype
    const disturbed = (): void => this.#disturb()
    Roster.prototype.do = function (this: Roster, effect) {
      // Until now a member did not trust its view: what it did meanwhile is not judged.
      if (effect.type === 'certain') disturbed()
      perform.call(this, effect)
    }
    const unwatch = watchStores(this.#versions, ask => this.#objecting(ask))
    return () => {
      unwatch()
      Roster.prototype.do = perform
    }
  }

  report(violation: Error | undefined): Run {
    return {
      seed: this.#seed,
      traceHash: this.#cluster.traceHash,
      steps: this.#cluster.world.steps,
      calls: this.#clients.calls,
      originCalls: this.#origin.calls,
      knobs: JSON.stringify(this.#knobs),
      violation,
      lastEvents: this.#cluster.world.lastEvents
    }
  }

  readonly #calm: Calm = {
    nowMs: () => this.#cluster.now,
    sinceMs: () => this.#calmSinceMs(),
    lastApartMs: () => this.#trouble.lastApartMs,
    lastUnrestMs: () => (this.#trouble.isLasting || !this.#isOneView() ? Number.POSITIVE_INFINITY : this.#disturbedMs),
    liveCount: () => this.#live().length,
    losses: this.#losses
  }

  #checkersFor(fills: readonly FillPromise[]): Checker[] {
    const [calm, knobs] = [this.#calm, this.#knobs]
    return [
      viewsConverge(),
      membersStand(calm),
      singleFill(calm),
      freshness(calm, knobs),
      nearCopiesKeepUp(calm, knobs),
      this.#versions,
      oneWins(calm, knobs),
      countsAreExact(calm, this.#knobs),
      keysAreComplete(calm),
      liveness(),
      memoryIsBounded(),
      ...fillCheckers(fills, calm, knobs),
      ackedWritesSurvive(calm, knobs),
      deletesStay(calm, knobs),
      replicasConverge(knobs),
      replicaCountRestored(knobs),
      antiEntropyEnds(knobs),
      sessionsGoForward(calm, knobs),
      ...(isPeaceful(knobs) ? [drainLosesNothing(calm, knobs), movedKeysAreNotLoaded(calm, knobs)] : [])
    ]
  }

  #declare(mesh: Mesh, index: number): void {
    declareAll(mesh, this.#knobs, (key, signal) => {
      // A process that has died calls nobody any more, though what it waited for comes.
      const isDead = this.#cluster.meshes[index] !== mesh || !this.#cluster.isAlive(index)
      return isDead ? new Promise(() => {}) : this.#origin.load(key, index, signal, this.#cluster.now)
    })
    mesh.on('join', () => this.#disturb())
    mesh.on('leave', () => this.#disturb())
    const { id } = mesh
    mesh.on('suspect', member => {
      this.#disturb()
      this.#judge(checker => checker.suspected?.(member.id, id, this.#cluster.now))
    })
    let suspects = 0
    mesh.on('view', members => {
      const suspectsBefore = suspects
      suspects = members.filter(one => !isUnsuspected(one)).length
      // A view in which anybody is suspected is not stable, and was not until this very moment: links bring what a cut
      // held back later than the cut ends, and till then reads go past an owner that is well, to one that loads for it.
      if (suspects < suspectsBefore) this.#disturb()
      const state = { member: id, isHere: mesh.state === 'ready', view: members.map(member => member.id) }
      this.#judge(checker => checker.saw?.(state))
    })
    this.#judge(checker => checker.joins?.(id))
  }

  #disturb(): void {
    this.#disturbedMs = this.#cluster.now
    this.#calmAt = NEVER
  }

  async #advance(ms: number): Promise<void> {
    await this.#cluster.run(ms)
    this.#losses.sample(this.#cluster.now, this.#calmSinceMs(), this.#liveIndices().length)
    this.#throwObjection()
  }

  #stepped(): void {
    for (let member = 0; member < this.#knobs.members; member++) {
      const { bytes } = this.#cluster.partsOf(member).store
      if (bytes > this.#memoryBytes) this.#judge(checker => checker.overfull?.(member, bytes, this.#memoryBytes))
    }
  }

  #givenUpOf(store: Store): GivenUp {
    const index = range(this.#knobs.members).find(each => this.#cluster.partsOf(each).store === store)
    // What a dead process still has on its hands comes to nothing.
    if (index === undefined) return { records: Number.NaN, nowMs: 0 }
    const { stats, meshClock } = this.#cluster.partsOf(index)
    return { records: stats.evictionsTotal + stats.tombstonesEvictedTotal, nowMs: meshClock.now() }
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

  /** Asked by many after each call, and the same until something happens. */
  #calmSinceMs(): number {
    const { steps } = this.#cluster.world
    if (this.#calmAt.steps !== steps) this.#calmAt = { steps, sinceMs: this.#findCalm() }
    return this.#calmAt.sinceMs
  }

  #findCalm(): number {
    if (this.#trouble.isLasting || !this.#cluster.isLinked || !this.#isOneView()) return Number.POSITIVE_INFINITY
    return Math.max(this.#disturbedMs, this.#cluster.network.lastLinkChangeMs)
  }

  #isOneView(): boolean {
    const live = this.#liveIndices()
    return live.every(index => {
      const { membership } = this.#cluster.partsOf(index)
      const present = membership.view.present()
      const isWhole = present.length === live.length && present.every(({ status }) => status === 'alive')
      return isWhole && membership.isCertain() && this.#cluster.meshes[index]?.state === 'ready'
    })
  }

  #live(): Mesh[] {
    return this.#liveIndices().map(index => this.#cluster.meshes[index] as Mesh)
  }

  #liveIndices(): number[] {
    return range(this.#knobs.members).filter(index => this.#cluster.isAlive(index))
  }

  #insides(): Insides[] {
    return this.#liveIndices().map(index => insidesOf(this.#cluster, index))
  }

  /** First, before anybody asks anything again: what lies there, and whether it lies still. */
  async #judgeRest(): Promise<void> {
    const counters = range(COUNTERS).map(i => `c${i}`)
    const keys = {
      loaded: KEYS,
      plain: KEYS,
      guarded: KEYS,
      safe: KEYS,
      copied: KEYS,
      near: KEYS,
      bulk: bulkKeys,
      hits: counters
    }
    const holdings = holdingsOf(this.#cluster, this.#liveIndices(), keys)
    this.#judge(checker => checker.rested?.({ holdings }))
    for (let stretch = 0; stretch < (this.#knobs.linger ? LONG_REST : 1); stretch++) {
      const before = this.#insides()
      await this.#advance(REST_MS)
      const after = this.#insides()
      this.#judge(checker => checker.leftAlone?.(before, after, REST_MS))
    }
  }

  async #settledState(): Promise<SettledState> {
    const live = this.#live()
    const suspects = new Map(
      live.map(mesh => [mesh.id, mesh.members.filter(one => !isUnsuspected(one)).map(({ id }) => id)])
    )
    const pending = this.#clients.pendingAt(live)
    const finalReads = await this.#cluster.until(Promise.all(this.#finalReads()), '30s')
    return { ...this.#views(), suspects, pending, finalReads }
  }

  #views(): Views {
    const live = this.#live()
    const views = new Map(live.map(mesh => [mesh.id, mesh.members.map(member => member.id)]))
    return { views, live: live.map(mesh => mesh.id) }
  }

  #finalReads(): Promise<SettledState['finalReads'][number]>[] {
    return this.#liveIndices().flatMap(member =>
      READ_CACHES.flatMap(cache =>
        KEYS.map(async key => {
          try {
            return { member, cache, key, ...(await this.#clients.finalRead(member, cache, key)) }
          } catch (error) {
            return { member, cache, key, failed: String(error) }
          }
        })
      )
    )
  }
}

function isUnsuspected({ status }: Member): boolean {
  return status === 'alive'
}

function range(length: number): number[] {
  return Array.from({ length }, (_, i) => i)
}
