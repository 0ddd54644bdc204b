/**
 * What goes wrong in a run: members crash, leave, stop, are kept apart, and are well again. Every trouble is told to
 * the account of losses, from which checkers learn what they may still expect.
 */
import type { Mesh } from '../../lib/mesh.ts'
import type { Random } from '../../lib/ports/random.ts'
import type { Cluster } from '../../lib/testing.ts'
import type { ClientCall } from './checkers/checker.ts'
import { ownerOf } from './insides.ts'
import type { Knobs } from './knobs.ts'
import type { Losses } from './losses.ts'

const CLOCK_JUMP_MS_MAX = 3_600_000
/** Marks of deleted keys last this long where a split is to outlast them. */
export const SHORT_TOMBSTONE_MS = 10_000
/** A member that is replaced is back within this. */
const REPLACED_MS_MAX = 2_000
const BACK_AT_ONCE_MS_MAX = 200
const STRIKE_AGAIN_MS = 4_000
/** A question and its answer take up to twice 2 ms. */
const ON_ITS_WAY_MS = 5

export interface TroubleHooks {
  /** A view may change from now on. */
  disturb(): void
  leaves(id: string): void
  died(index: number): void
}

export class Trouble {
  readonly #knobs: Knobs
  readonly #cluster: Cluster
  readonly #chance: Random
  /** Apart from the rest, so that old troubles come as they came before there were these. */
  readonly #more: Random
  readonly #losses: Losses
  readonly #hooks: TroubleHooks
  #faults = 0
  #isRolling = false
  #struckMs = 0
  /** Who has begun to leave and whose process has not ended. */
  readonly #leaving = new Set<number>()
  #healNotBeforeMs = 0
  /** When members were last kept apart or stopped; Infinity while they are. */
  lastApartMs = 0

  constructor(knobs: Knobs, cluster: Cluster, chance: Random, losses: Losses, hooks: TroubleHooks) {
    this.#knobs = knobs
    this.#cluster = cluster
    this.#chance = chance
    this.#more = chance.fork('more')
    this.#losses = losses
    this.#hooks = hooks
  }

  /** Something is wrong that does not pass by itself: members are apart or stopped. */
  get isLasting(): boolean {
    return this.#losses.isApart
  }

  make(): void {
    if (this.#makeNewer()) return
    const one = this.#chance.integer(this.#knobs.members)
    const dice = this.#chance.float()
    // Leaving is no fault: a mesh that is well must bear it.
    if (this.#knobs.leave && dice < 0.2 && this.#cluster.isAlive(one)) return void this.#leave(one)
    const others = this.#all().filter(index => index !== one)
    if (this.#faults > 0 && dice < 0.6) return this.end()
    this.#faults++
    if (this.#knobs.crash && dice < 0.7) this.#crashOrRestart(one)
    else this.#keepApart(dice, one, others)
  }

  /** All faults end; some members stay dead: the mesh must be right without them too. */
  end(): void {
    if (this.#cluster.now < this.#healNotBeforeMs) return
    this.#endNow()
  }

  endForGood(): void {
    this.#healNotBeforeMs = 0
    this.#endNow()
  }

  /**
   * Crashes the owner of a key in the very moment that counts: just when a change has been acknowledged, or while an add
   * is on its way. By chance this would hardly ever happen.
   */
  strike(call: Pick<ClientCall, 'kind' | 'cache' | 'key' | 'member'>, isOver: boolean): void {
    const isTold = isOver && call.cache === 'safe' && call.kind !== 'get' && call.key !== ''
    const isUnderWay = !isOver && call.kind === 'add'
    if (!this.#knobs.crash || !(isTold || isUnderWay) || this.#more.float() > 0.25) return
    if (this.#cluster.now < this.#struckMs + STRIKE_AGAIN_MS) return
    this.#struckMs = this.#cluster.now
    const owner = ownerOf(this.#cluster, call)
    if (owner === undefined || owner === call.member) return
    const afterMs = isOver ? 0 : this.#more.float() * ON_ITS_WAY_MS
    void this.#cluster.sleep(afterMs).then(() => this.crash(owner))
  }

  /** A process ends, and what it held is lost unless it has been handed over. */
  crash(one: number): void {
    if (!this.#cluster.isAlive(one)) return
    this.#hooks.disturb()
    this.#losses.memberLost(this.#cluster.now)
    this.#kill(one)
  }

  #endNow(): void {
    if (this.lastApartMs > this.#cluster.now) this.lastApartMs = this.#cluster.now
    this.#losses.broughtTogether(this.#cluster.now)
    this.#faults = 0
    this.#cluster.heal()
    this.#hooks.disturb()
    for (const index of this.#all()) {
      this.#cluster.resume(index)
      if (!this.#cluster.isAlive(index) && this.#chance.float() < 0.7) this.#start(index)
    }
  }

  #makeNewer(): boolean {
    const { clockJumps, rolling } = this.#knobs
    const dice = this.#more.float()
    const one = this.#more.integer(this.#knobs.members)
    if (clockJumps && dice < 0.15)
      this.#cluster.jumpClock(one, Math.round((this.#more.float() * 2 - 1) * CLOCK_JUMP_MS_MAX))
    else if (rolling && dice > 0.7 && this.#cluster.isAlive(one)) void this.#replace(one)
    else return false
    return true
  }

  #crashOrRestart(one: number): void {
    if (!this.#cluster.isAlive(one)) return this.#start(one)
    this.crash(one)
    if (!this.#knobs.restartAtOnce || this.#more.float() < 0.3) return
    void this.#cluster.sleep(this.#more.float() * BACK_AT_ONCE_MS_MAX).then(() => {
      if (!this.#cluster.isAlive(one)) this.#start(one)
    })
  }

  #start(one: number): void {
    this.#losses.memberStarted(this.#cluster.now)
    this.#leaving.delete(one)
    this.#cluster.restart(one)
    this.#hooks.disturb()
  }

  /** What a rolling deploy does, one member at a time. */
  async #replace(one: number): Promise<void> {
    if (this.#isRolling) return
    this.#isRolling = true
    const mesh = this.#cluster.meshes[one]
    await this.#leave(one)
    await this.#cluster.sleep(this.#more.float() * REPLACED_MS_MAX)
    this.#isRolling = false
    if (!this.#cluster.isAlive(one) && this.#cluster.meshes[one] === mesh) this.#start(one)
  }

  /** It takes its leave, and its process ends when all is said. Its last word counts only where all could hear it. */
  async #leave(one: number): Promise<void> {
    // With nobody to hand over to, leaving is dying; and one that has begun goes on.
    if (this.#leaving.has(one) || this.#staying().every(index => index === one)) return
    const beganMs = this.#cluster.now
    const mesh = this.#cluster.meshes[one] as Mesh
    // It may not have found the others again after a split.
    const isAlone = mesh.members.length < 2
    this.#leaving.add(one)
    this.#hooks.leaves(mesh.id)
    this.#hooks.disturb()
    await mesh.leave()
    if (this.#cluster.meshes[one] !== mesh || !this.#cluster.isAlive(one)) return
    const { now } = this.#cluster
    const wasHeard = !isAlone && !this.#losses.wasApart(beganMs, now) && !this.#losses.wasAnyLost(beganMs, now)
    this.#hooks.disturb()
    if (!wasHeard) this.#losses.memberLost(now)
    this.#kill(one)
    this.#losses.memberLeft(now, this.#staying().length)
  }

  #kill(one: number): void {
    this.#leaving.delete(one)
    this.#cluster.crash(one)
    this.#hooks.died(one)
  }

  #staying(): number[] {
    return this.#all().filter(index => this.#cluster.isAlive(index) && !this.#leaving.has(index))
  }

  #keepApart(dice: number, one: number, others: readonly number[]): void {
    const { split, oneWay, pause } = this.#knobs
    let larger: ReadonlySet<number> | undefined
    if (split && dice < 0.8) larger = this.#split(one, others)
    else if (oneWay && dice < 0.9) this.#cluster.cutOneWay([one], others.slice(0, 1))
    else if (pause) this.#cluster.pause(one)
    else return
    this.#losses.keptApart(this.#cluster.now, larger)
    this.lastApartMs = Number.POSITIVE_INFINITY
    this.#hooks.disturb()
  }

  /** Answers with the larger side, where there is one. */
  #split(one: number, others: readonly number[]): ReadonlySet<number> | undefined {
    const { twoSplits, longSplits } = this.#knobs
    const joins = twoSplits ? others.filter(() => this.#more.float() < 0.4) : []
    const sides = [[one, ...joins], others.filter(index => !joins.includes(index))] as const
    this.#cluster.cut(...sides)
    if (longSplits && this.#more.float() < 0.7)
      this.#healNotBeforeMs = this.#cluster.now + SHORT_TOMBSTONE_MS * (0.8 + this.#more.float() * 0.6)
    const [a, b] = sides.map(side => side.filter(index => this.#cluster.isAlive(index)).length) as [number, number]
    return a === b ? undefined : new Set(a > b ? sides[0] : sides[1])
  }

  #all(): number[] {
    return Array.from({ length: this.#knobs.members }, (_, i) => i)
  }
}
