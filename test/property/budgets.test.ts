/**
 * Random histories of several members that share one budget: messages take their time, views change at each member at
 * another moment, members join, leave and die, links break. The origin counts.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { cacheDefinition } from '../../lib/cache-options.ts'
import { Guard } from '../../lib/fill/guard.ts'
import { Stats } from '../../lib/observe/stats.ts'
import type { Random } from '../../lib/ports/random.ts'
import type { BudgetTalk } from '../../lib/rpc/messages.ts'
import { Budgets } from '../../lib/serving/budgets.ts'
import { seededRandom } from '../../lib/sim/random.ts'
import { Process, World } from '../../lib/sim/world.ts'

const DELAY_MS = 20
const VIEW_MS = 60
const HISTORY_MS = 14_000
const EVENT_EVERY_MS = 2_000
/** After a broken link: fallback, until calls of then have ended. */
const UNREST_MS = 5_000

class Member {
  readonly id: string
  readonly process: Process
  readonly guard: Guard
  readonly budgets: Budgets
  readonly stats = new Stats()
  view = new Set<string>()
  readonly links = new Set<string>()
  isLeaving = false

  constructor(id: string, history: History) {
    this.id = id
    this.process = new Process(id, 0)
    const clock = history.world.clockOf(this.process)
    this.guard = new Guard({
      clock,
      stats: this.stats,
      members: () => this.view.size,
      onChange: gate => this.budgets.gateChanged(gate)
    })
    this.budgets = new Budgets({
      self: id,
      clock,
      stats: this.stats,
      guard: this.guard,
      ownerOf: () => [...this.view].sort((a, b) => history.rank(a) - history.rank(b))[0],
      members: () => [...this.view],
      linked: () => [...this.links],
      post: (peer, message) => history.post(this, peer, message)
    })
  }

  see(change: (view: Set<string>) => void): void {
    if (!this.process.alive) return
    change(this.view)
    this.budgets.viewChanged()
  }
}

class History {
  readonly world = new World(async () => {})
  readonly members: Member[] = []
  readonly #random: Random
  readonly #ranks = new Map<string, number>()
  readonly #arrivals = new Map<string, number>()
  readonly #broken = new Set<string>()
  readonly #definition
  readonly cap: number
  running = 0
  max = 0
  worst = 0
  started = 0
  refused = 0
  entered = 0
  unrestUntilMs = 0
  #names = 0

  constructor(random: Random) {
    this.#random = random
    this.cap = 1 + random.integer(12)
    this.#definition = cacheDefinition('c', { ttl: '1h', loadConcurrency: this.cap })
    const size = 2 + random.integer(4)
    for (let i = 0; i < size; i++) this.#add()
    for (const member of this.members) for (const { id } of this.members) member.view.add(id)
  }

  rank(id: string): number {
    return this.#ranks.get(id) as number
  }

  get live(): Member[] {
    return this.members.filter(({ process }) => process.alive)
  }

  get staying(): Member[] {
    return this.live.filter(({ isLeaving }) => !isLeaving)
  }

  post(from: Member, to: string, message: BudgetTalk): boolean {
    if (!from.links.has(to)) return false
    const way = `${from.id}>${to}`
    // In order, each after its own time.
    const atMs = Math.max(this.world.nowMs + this.#random.float() * DELAY_MS, this.#arrivals.get(way) ?? 0)
    this.#arrivals.set(way, atMs + 0.001)
    const link = this.#linkOf(from.id, to)
    this.world.after(atMs - this.world.nowMs, undefined, () => {
      const peer = this.live.find(({ id }) => id === to)
      if (peer === undefined || link !== this.#linkOf(from.id, to) || !peer.links.has(from.id)) return
      peer.budgets.hear(from.id, message)
    })
    return true
  }

  enter(member: Member): void {
    this.entered++
    let isOver = false
    const ticket = member.guard.enter(this.#definition, this.#random.float() < 0.8 ? 'user' : 'refresh', {
      start: () => {
        if (isOver) throw new Error('started after it was over')
        isOver = true
        this.started++
        this.running++
        this.max = Math.max(this.max, this.running)
        if (this.world.nowMs > this.unrestUntilMs) this.worst = Math.max(this.worst, this.running)
        this.world.after(1 + this.#random.float() * 100, member.process, () => {
          this.running--
          ticket.done('ok')
        })
      },
      refuse: () => {
        if (isOver) throw new Error('refused after it was over')
        isOver = true
        this.refused++
      }
    })
    if (this.#random.float() < 0.05)
      this.world.after(this.#random.float() * 50, member.process, () => {
        if (isOver) return
        isOver = true
        this.refused++
        ticket.withdraw()
      })
  }

  join(): void {
    const member = this.#add()
    member.view = new Set([...this.staying.map(({ id }) => id)])
    for (const other of this.live) if (other !== member) this.#soon(() => other.see(view => view.add(member.id)))
  }

  leave(): void {
    const member = this.#pick()
    member.isLeaving = true
    member.see(view => view.delete(member.id))
    for (const other of this.live) this.#soon(() => other.see(view => view.delete(member.id)))
    void member.guard.idle(5_000).then(() => this.#stop(member))
  }

  crash(): void {
    const member = this.#pick()
    this.running -= member.guard.state(this.#definition.namespace).running
    this.#stop(member)
    for (const other of this.live) this.#soon(() => other.see(view => view.delete(member.id)))
  }

  /** Each end hears of it in its own time, and both of the new link at one moment. */
  breakLink(): void {
    const [a, b] = this.live
    if (a === undefined || b === undefined) return
    const ms = this.#random.float() * 3_000
    this.unrestUntilMs = this.world.nowMs + ms + UNREST_MS
    for (const [one, other] of [
      [a, b],
      [b, a]
    ] as const)
      this.world.after(this.#random.float() * 10, one.process, () => {
        one.links.delete(other.id)
        one.budgets.linkDown(other.id)
      })
    this.#broken.add(`${this.world.nowMs} ${[a.id, b.id].sort()}`)
    this.world.after(20 + ms, undefined, () => {
      if (a.process.alive && b.process.alive) this.#link(a, b)
    })
  }

  #add(): Member {
    const id = `m${this.#names++}`
    this.#ranks.set(id, this.#random.float())
    const member = new Member(id, this)
    for (const other of this.live) this.#link(member, other)
    this.members.push(member)
    return member
  }

  #link(a: Member, b: Member): void {
    a.links.add(b.id)
    b.links.add(a.id)
    a.budgets.linkUp(b.id)
    b.budgets.linkUp(a.id)
  }

  #stop(member: Member): void {
    if (!member.process.alive) return
    member.process.alive = false
    member.budgets.stop()
    for (const other of this.live) {
      other.links.delete(member.id)
      other.budgets.linkDown(member.id)
    }
  }

  /** Which of the links between two it is: what was sent over one does not arrive over the next. */
  #linkOf(a: string, b: string): number {
    const name = [a, b].sort().join()
    return [...this.#broken].filter(one => one.endsWith(` ${name}`)).length
  }

  #soon(run: () => void): void {
    this.world.after(this.#random.float() * VIEW_MS, undefined, run)
  }

  #pick(): Member {
    return this.staying[this.#random.integer(this.staying.length)] as Member
  }
}

async function play(seed: number, events: readonly ('join' | 'leave' | 'crash' | 'breakLink')[]): Promise<History> {
  const random = seededRandom(seed)
  const history = new History(random)
  const fromMs = history.world.nowMs
  let nextMs = fromMs + 500 + random.float() * 500
  // How much is asked for, and by how many: from next to nothing to far too much.
  let rate = 0
  while (history.world.nowMs < fromMs + HISTORY_MS) {
    if (random.float() < 0.01) rate = random.float() * history.cap * 0.6
    const askers = history.staying.filter((_, i) => i === 0 || random.float() < 0.7)
    for (let asked = random.float() * rate; asked > 1; asked--)
      history.enter(askers[random.integer(askers.length)] as Member)
    if (history.world.nowMs > nextMs && events.length > 0) {
      nextMs = history.world.nowMs + EVENT_EVERY_MS
      const event = events[random.integer(events.length)] as (typeof events)[number]
      if (event === 'join' ? history.staying.length < 6 : history.staying.length > 2) history[event]()
    }
    await history.world.run(random.float() * 20)
  }
  return history
}

const seed = fc.integer({ min: 0, max: 2 ** 31 - 1 })
const RUNS = { numRuns: 60 }

describe('a shared budget', () => {
  it('is never exceeded while nobody comes or goes, and is used whole by those who want it', async () => {
    await fc.assert(
      fc.asyncProperty(seed, async one => {
        const history = await play(one, [])
        expect(history.max).toBeLessThanOrEqual(history.cap)
        const [asker] = history.live
        for (let i = 0; i < history.cap * 3; i++) history.enter(asker as Member)
        await history.world.run(80)
        for (let i = 0; i < 5; i++) {
          for (let j = 0; j < history.cap; j++) history.enter(asker as Member)
          await history.world.run(20)
        }
        expect(history.max).toBe(history.cap)
        await history.world.run(12_000)
        expect([history.running, history.started + history.refused]).toEqual([0, history.entered])
        expect(history.members.map(({ stats }) => stats.loadBudgetFallbacksTotal)).toEqual(history.members.map(() => 0))
      }),
      RUNS
    )
  })

  it('is never exceeded while members join, leave and die, the one that hands out among them', async () => {
    await fc.assert(
      fc.asyncProperty(seed, async one => {
        const history = await play(one, ['join', 'leave', 'crash'])
        expect(history.max).toBeLessThanOrEqual(history.cap)
        await history.world.run(12_000)
        expect(history.running).toBe(0)
        expect(history.live.map(({ guard }) => guard.queued)).toEqual(history.live.map(() => 0))
      }),
      RUNS
    )
  })

  it('is not exceeded any more some seconds after links broke', async () => {
    await fc.assert(
      fc.asyncProperty(seed, async one => {
        const history = await play(one, ['breakLink'])
        expect(history.worst).toBeLessThanOrEqual(history.cap)
        await history.world.run(12_000)
        expect(history.running).toBe(0)
      }),
      RUNS
    )
  })
})
