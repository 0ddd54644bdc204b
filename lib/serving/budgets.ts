/**
 * Who may call the origin of a cache how often, agreed between members. For each cache one member hands out the
 * permits: the owner of a key of the cache that no application can write, so everybody knows who it is and nothing is
 * elected. The gates of this member (`fill/guard.ts`) have a purse each; where this member hands out, there is a budget.
 *
 *   gate ─ wants, has, gives back ─▶ purse ─ demand ─▶ budget at the coordinator ─ permits ─▶ purse ─ rule ─▶ gate
 *                                      ▲── census ───── (anew: in a new view, with a new link)
 *
 * A member answers a census only when its own view names the asker. So when all have answered, all follow one member,
 * and what they hold is all there is:
 *
 *   1. B joins and is to take over from A. C knows already: it tells B what it holds and hears A no more. D does not
 *      know yet: it keeps B's question until its view has B, and until then B grants nothing, for a second at most.
 *   2. A learns of B: it forgets its budget, and answers B's question with what it runs itself.
 *
 * Notices only. One that is lost with its link is made good by the census that follows a new link.
 */
import type { Gate, Guard, Ruling } from '../fill/guard.ts'
import type { Stats } from '../observe/stats.ts'
import type { Cancel, Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import type { BudgetTalk, MessageOf } from '../rpc/messages.ts'
import { Budget } from './budget.ts'
import { Purse } from './purse.ts'

/** A key as none is encoded: it begins like no key. */
export const COORDINATOR_KEY = 'guard'
const TICK_MS = 250
/** What has lain idle for so many ticks goes back. */
const IDLE_TICKS = 4
/** A budget nobody has used for so many ticks is forgotten. */
const FORGET_TICKS = 120
/** Caches that other members may name to us; who finds no room falls back on the static share. */
const NAMESPACES_MAX = 4_096

export interface BudgetsDeps {
  readonly self: PeerId
  readonly clock: Clock
  readonly stats: Stats
  readonly guard: Guard
  readonly ownerOf: (namespace: string, key: string) => PeerId | undefined
  /** Who is in our view, this member too. */
  readonly members: () => readonly PeerId[]
  readonly linked: () => readonly PeerId[]
  /** False when it was not taken. */
  readonly post: (peer: PeerId, message: BudgetTalk) => boolean
}

export class Budgets {
  readonly #deps: BudgetsDeps
  readonly #purses = new Map<string, Purse>()
  readonly #budgets = new Map<string, { readonly budget: Budget; idleTicks: number }>()
  /** Questions of members that do not hand out anything by our view, yet. */
  readonly #unanswered = new Map<string, { readonly peer: PeerId; readonly session: number }>()
  readonly #unsettled = new Set<string>()
  readonly #untold = new Set<Purse>()
  #sessions = 0
  #ticks = 0
  #viewIsNew = false
  #isTurnOpen = false
  #disarm: Cancel | undefined

  constructor(deps: BudgetsDeps) {
    this.#deps = deps
  }

  /** A gate has other needs than before. */
  gateChanged(gate: Gate): void {
    this.#followView()
    const purse = this.#purseOf(gate)
    this.#tickLater()
    if (purse.coordinator === this.#deps.self) this.#ask(purse)
    else if (purse.coordinator === undefined || purse.isFallenBack) this.#shareAlone(purse)
    else if (purse.isUrgent) this.#tellLater(purse)
  }

  hear(peer: PeerId, message: BudgetTalk): void {
    this.#followView()
    switch (message.type) {
      case 'demand':
        return this.#demanded(peer, message)
      case 'census':
        return this.#counted(peer, message)
      case 'permits':
        return this.#permitted(peer, message)
      default:
        message satisfies never
    }
  }

  /** Members have come or gone: perhaps others hand out now. */
  viewChanged(): void {
    this.#viewIsNew = true
    if (this.#purses.size + this.#budgets.size + this.#unanswered.size > 0) this.#atTurnEnd()
  }

  linkUp(peer: PeerId): void {
    for (const { budget } of this.#budgets.values()) budget.renew(peer)
    this.#takeCensus()
    for (const purse of this.#purses.values()) if (purse.coordinator === peer) this.#beginAnew(purse)
  }

  linkDown(peer: PeerId): void {
    const nowMs = this.#deps.clock.monotonic()
    for (const [namespace, { budget }] of this.#budgets) {
      budget.lost(peer, nowMs)
      budget.setMembers(this.#counting(), nowMs)
      this.#settleLater(namespace)
    }
    for (const [namespace, question] of this.#unanswered) if (question.peer === peer) this.#unanswered.delete(namespace)
    for (const purse of this.#purses.values()) if (purse.coordinator === peer) this.#beginAnew(purse)
  }

  stop(): void {
    this.#disarm?.()
    // Taken for armed from now on: nothing arms it again.
    this.#disarm = () => {}
  }

  /** Our own needs, at our own budget: what there is can be had within this call. */
  #ask(purse: Purse): void {
    const { namespace } = purse.gate.definition
    const budget = this.#budgetOf(namespace, purse.demand())
    if (budget === undefined) return this.#shareAlone(purse)
    budget.hear(this.#deps.self, purse.demand(), this.#deps.clock.monotonic())
    purse.told()
    if (purse.gate.queued > 0) this.#settle(namespace, budget)
    else this.#settleLater(namespace)
  }

  #demanded(peer: PeerId, demand: MessageOf<'demand'>): void {
    const { namespace } = demand
    // By our view it is not us: one of the two views is about to change, and then it tells us again or somebody else.
    if (this.#deps.ownerOf(namespace, COORDINATOR_KEY) !== this.#deps.self) return
    const budget = this.#budgetOf(namespace, demand)
    if (budget === undefined) return
    // Declared differently, as during a deploy: as it is here, or as it was told last.
    if (!this.#purses.has(namespace)) budget.setTerms(termsOf(demand))
    if (budget.hear(peer, demand, this.#deps.clock.monotonic())) this.#settleLater(namespace)
    else this.#takeCensus()
  }

  #counted(peer: PeerId, { namespace, session }: MessageOf<'census'>): void {
    if (this.#deps.ownerOf(namespace, COORDINATOR_KEY) === peer) return this.#answer(peer, namespace, session)
    if (this.#unanswered.size < NAMESPACES_MAX) this.#unanswered.set(namespace, { peer, session })
  }

  #answer(peer: PeerId, namespace: string, session: number): void {
    this.#unanswered.delete(namespace)
    const purse = this.#purses.get(namespace)
    // A cache that never loaded anything here.
    if (purse === undefined) this.#deps.post(peer, { ...HOLDS_NOTHING, namespace, session })
    else {
      purse.begin(session)
      this.#tell(purse)
    }
  }

  #permitted(peer: PeerId, { namespace, session, serial, counted, ...ruling }: MessageOf<'permits'>): void {
    const purse = this.#purses.get(namespace)
    if (purse === undefined || purse.coordinator !== peer || purse.session !== session) return
    purse.heard(serial, counted)
    purse.mustAnswer = ruling.once > 0 || ruling.breaker !== 'closed' || ruling.limit < purse.gate.limit
    purse.gate.rule(ruling)
  }

  #settleLater(namespace: string): void {
    this.#unsettled.add(namespace)
    this.#atTurnEnd()
  }

  #settle(namespace: string, budget: Budget): void {
    this.#deps.stats.breakersOpenedTotal += budget.takeOpened()
    for (const { peer, permits } of budget.settle(this.#deps.clock.monotonic())) {
      if (peer !== this.#deps.self) {
        if (!this.#deps.post(peer, { type: 'permits', namespace, ...permits })) budget.renew(peer)
        continue
      }
      const { session: _, serial, counted, ...ruling } = permits
      const purse = this.#purses.get(namespace)
      purse?.heard(serial, counted)
      purse?.gate.rule(ruling)
    }
  }

  #tellLater(purse: Purse): void {
    this.#untold.add(purse)
    this.#atTurnEnd()
  }

  #tell(purse: Purse): void {
    const { coordinator } = purse
    if (coordinator === undefined || coordinator === this.#deps.self) return
    purse.asked(this.#deps.clock.monotonic())
    if (this.#deps.post(coordinator, purse.demand())) purse.told()
  }

  /** What one turn brings about is told in one message to each. */
  #atTurnEnd(): void {
    if (this.#isTurnOpen) return
    this.#isTurnOpen = true
    this.#deps.clock.defer(() => {
      this.#isTurnOpen = false
      this.#followView()
      for (const namespace of take(this.#unsettled)) {
        const budget = this.#budgets.get(namespace)?.budget
        if (budget !== undefined) this.#settle(namespace, budget)
      }
      for (const purse of take(this.#untold)) if (purse.isUrgent) this.#tell(purse)
    })
  }

  /** Before anything is decided: who hands out, by the view of now. */
  #followView(): void {
    if (!this.#viewIsNew) return
    this.#viewIsNew = false
    const { self, ownerOf } = this.#deps
    const nowMs = this.#deps.clock.monotonic()
    for (const [namespace, { budget }] of this.#budgets) {
      if (ownerOf(namespace, COORDINATOR_KEY) !== self) this.#budgets.delete(namespace)
      else {
        budget.setMembers(this.#counting(), nowMs)
        this.#settleLater(namespace)
      }
    }
    this.#takeCensus()
    for (const purse of this.#purses.values()) this.#follow(purse)
    for (const [namespace, { peer, session }] of this.#unanswered)
      if (ownerOf(namespace, COORDINATOR_KEY) === peer) this.#answer(peer, namespace, session)
  }

  #follow(purse: Purse): void {
    const coordinator = this.#deps.ownerOf(purse.gate.definition.namespace, COORDINATOR_KEY)
    if (coordinator === purse.coordinator) return
    purse.follow(coordinator)
    this.#beginAnew(purse)
  }

  /** Unasked, where callers wait or something is held; else when it is asked. */
  #beginAnew(purse: Purse): void {
    purse.begin(0)
    if (!purse.isActive) return
    if (purse.coordinator === this.#deps.self) this.#ask(purse)
    else this.#tell(purse)
    this.#tickLater()
  }

  /** Everybody who may hold permits: who is in the view, and who is linked and leaves or is about to join. */
  #counting(): ReadonlySet<PeerId> {
    return new Set([...this.#deps.members(), ...this.#deps.linked()])
  }

  #takeCensus(): void {
    const linked = new Set(this.#deps.linked())
    for (const [namespace, { budget }] of this.#budgets)
      for (const { peer, session } of budget.unasked)
        if (linked.has(peer)) this.#deps.post(peer, { type: 'census', namespace, session })
  }

  #budgetOf(namespace: string, demand: MessageOf<'demand'>): Budget | undefined {
    const known = this.#budgets.get(namespace)
    if (known !== undefined) {
      known.idleTicks = 0
      return known.budget
    }
    if (this.#budgets.size >= NAMESPACES_MAX) return undefined
    const nowMs = this.#deps.clock.monotonic()
    const terms = termsOf(this.#purses.get(namespace)?.demand() ?? demand)
    const budget = new Budget(this.#deps.self, terms, nowMs, () => ++this.#sessions)
    this.#budgets.set(namespace, { budget, idleTicks: 0 })
    budget.setMembers(this.#counting(), nowMs)
    const own = this.#purses.get(namespace)
    if (own !== undefined) {
      own.begin(0)
      budget.hear(this.#deps.self, own.demand(), nowMs)
      own.told()
    }
    this.#takeCensus()
    this.#tickLater()
    return budget
  }

  #purseOf(gate: Gate): Purse {
    const { namespace } = gate.definition
    const known = this.#purses.get(namespace)
    if (known !== undefined) return known
    const purse = new Purse(gate)
    purse.follow(this.#deps.ownerOf(namespace, COORDINATOR_KEY))
    this.#purses.set(namespace, purse)
    return purse
  }

  /** Nobody hands out permits to us: our static share of them. */
  #shareAlone({ gate }: Purse): void {
    const members = this.#deps.members().length
    const { loadConcurrency } = gate.definition
    const limit = Math.max(1, Math.floor(loadConcurrency / Math.max(1, members)))
    if (gate.queued > 0 && gate.limit < limit) gate.rule({ ...SHUT_OFF, limit })
  }

  #tickLater(): void {
    this.#disarm ??= this.#deps.clock.after(TICK_MS, () => {
      this.#disarm = undefined
      this.#tick()
    })
  }

  #tick(): void {
    this.#ticks++
    this.#followView()
    this.#takeCensus()
    for (const [namespace, known] of this.#budgets) this.#tend(namespace, known)
    let isActive = this.#budgets.size > 0
    for (const purse of this.#purses.values()) {
      this.#remind(purse)
      isActive ||= purse.isActive
    }
    if (isActive) this.#tickLater()
  }

  #tend(namespace: string, known: { budget: Budget; idleTicks: number }): void {
    if (!known.budget.isIdle(this.#deps.clock.monotonic())) known.idleTicks = 0
    else if (++known.idleTicks > FORGET_TICKS) this.#budgets.delete(namespace)
    this.#settle(namespace, known.budget)
  }

  #remind(purse: Purse): void {
    const { gate, coordinator } = purse
    if (this.#ticks % IDLE_TICKS === 0) gate.giveBack()
    if (coordinator === this.#deps.self) {
      if (purse.hasNews) this.#ask(purse)
      return
    }
    const isLate = coordinator !== undefined && purse.hasLostPatience(this.#deps.clock.monotonic())
    if (isLate && !purse.isFallenBack) {
      purse.isFallenBack = true
      this.#deps.stats.loadBudgetFallbacksTotal++
      this.#shareAlone(purse)
    }
    if (purse.isWaiting || purse.hasNews) this.#tell(purse)
  }
}

const SHUT_OFF: Ruling = { limit: 0, once: 0, scarce: false, breaker: 'closed', retryAfterMs: 0 }

const HOLDS_NOTHING = {
  type: 'demand',
  serial: 0,
  held: 0,
  wanted: 0,
  oks: 0,
  failures: 0,
  probe: 'none',
  retryAfterMs: 0,
  loadConcurrency: 0,
  breakerFailures: 0,
  breakerOpenMs: 0
} as const

function termsOf({ loadConcurrency: cap, breakerFailures: failures, breakerOpenMs: openForMs }: MessageOf<'demand'>) {
  return { cap, failures, openForMs }
}

function take<T>(set: Set<T>): T[] {
  const all = [...set]
  set.clear()
  return all
}
