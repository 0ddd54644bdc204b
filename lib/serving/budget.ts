/**
 * The permits of one cache, at the one member that hands them out. It knows for each member what it may at most be
 * running (`counted`) and what it could use (`wanted`), and decides; nothing here waits, sends or looks at a clock.
 *
 * The sum of what is counted never goes over the cap by a decision made here. A member is counted with the most that
 * any message under way to it allows, and with less only once it has said so and has heard all we sent (`serial`):
 *
 *   1. permits #5 (limit 4) under way ─ demand "held 0", serial 4, arrives: sent before #5 was heard; 4 stay counted.
 *   2. permits #6 (limit 2) to a member that runs 4: 4 stay counted until it says "held 3", "held 2".
 *
 * Before anything is granted there is a census: every member of the view, and whoever is linked besides (one that
 * leaves still ends its calls), says what it holds. From its answer on a member takes permits of this session only, so
 * none granted before, by us or by whoever had our part, adds to it. One that stays silent for a second is counted with
 * its static share, rounded down: what it allows itself when it cannot reach us, without stopping the others.
 */
import { Breaker, type BreakerState, type BreakerTerms } from '../fill/breaker.ts'
import type { PeerId } from '../ports/transport.ts'
import type { MessageOf } from '../rpc/messages.ts'
import { fairShares } from './fair-shares.ts'

export type Demand = Omit<MessageOf<'demand'>, 'type' | 'namespace'>
export type Permits = Omit<MessageOf<'permits'>, 'type' | 'namespace'>

const CENSUS_MS = 1_000
/** A member without a link has fallen back on its static share by now, and a second for its calls to end. */
const LOST_MS = 3_000

export interface BudgetTerms extends BreakerTerms {
  readonly cap: number
}

interface Holder {
  readonly peer: PeerId
  session: number
  serial: number
  /** Has answered a census of ours. */
  isHeard: boolean
  /** The census of this session is unanswered. */
  isAsked: boolean
  sinceMs: number
  lostAtMs: number | undefined
  counted: number
  /** The limit it was told last; never above what is counted. */
  limit: number
  once: number
  wanted: number
  /** It has asked for more and waits for a word. */
  isOwed: boolean
  /** When its turn was last, where permits go round. */
  turn: number
  toldLimit: number
  toldScarce: boolean
  toldBreaker: number
}

export class Budget {
  readonly #self: PeerId
  readonly #nextSession: () => number
  readonly #holders = new Map<PeerId, Holder>()
  readonly #breaker: Breaker
  #cap: number
  #turns = 0
  #scarce = false
  /** Who tries the origin while the breaker is half-open. */
  #prober: PeerId | undefined
  #opened = 0

  constructor(self: PeerId, terms: BudgetTerms, nowMs: number, nextSession: () => number) {
    this.#self = self
    this.#cap = terms.cap
    this.#breaker = new Breaker(terms)
    this.#nextSession = nextSession
    this.#add(self, nowMs)
  }

  /** Some member's options of the cache; those of a member that has not declared it are 0. */
  setTerms({ cap, ...breaker }: BudgetTerms): void {
    if (cap === 0) return
    this.#cap = cap
    this.#breaker.terms = breaker
  }

  /** Whom to ask what it holds. */
  get unasked(): { peer: PeerId; session: number }[] {
    return this.#all().filter(({ peer, isAsked }) => isAsked && peer !== this.#self)
  }

  /** Nobody holds or wants anything, and there is nothing to remember. */
  isIdle(nowMs: number): boolean {
    return this.#all().every(({ counted, wanted }) => counted === 0 && wanted === 0) && this.#state(nowMs) === 'closed'
  }

  /** Times that its breaker opened since this was asked last. */
  takeOpened(): number {
    const opened = this.#opened
    this.#opened = 0
    return opened
  }

  /** Who counts from now on; true when somebody is new. */
  setMembers(peers: ReadonlySet<PeerId>, nowMs: number): boolean {
    for (const { peer } of this.#all()) if (peer !== this.#self && !peers.has(peer)) this.#remove(peer)
    const fresh = [...peers].filter(peer => !this.#holders.has(peer))
    for (const peer of fresh) this.#add(peer, nowMs)
    return fresh.length > 0
  }

  /** What is under way to it may be lost: it is asked anew, and counted with the most until it answers. */
  renew(peer: PeerId): void {
    const holder = this.#holders.get(peer)
    if (holder === undefined) return
    Object.assign(holder, { session: this.#nextSession(), serial: 0, isAsked: true, lostAtMs: undefined, wanted: 0 })
  }

  lost(peer: PeerId, nowMs: number): void {
    const holder = this.#holders.get(peer)
    if (holder === undefined) return
    this.renew(peer)
    holder.lostAtMs = nowMs
    if (this.#prober === peer) this.#prober = undefined
  }

  /** False when it answers to no census of ours and has to be asked. */
  hear(peer: PeerId, demand: Demand, nowMs: number): boolean {
    const holder = this.#holders.get(peer) ?? this.#add(peer, nowMs)
    if (demand.session !== holder.session) {
      if (!holder.isAsked) this.renew(peer)
      return false
    }
    if (!holder.isHeard && demand.retryAfterMs > 0) this.#breaker.adopt(demand.retryAfterMs, nowMs)
    const hasHeardAll = demand.serial === holder.serial
    // Below that it may yet hear of more.
    holder.counted = hasHeardAll ? demand.held : Math.max(holder.counted, demand.held)
    // The first answer tells which limit is in force, later ones that it has given some back.
    const limit = holder.isAsked ? demand.held : holder.limit
    holder.limit = hasHeardAll ? Math.min(limit, demand.held) : limit
    holder.toldLimit = hasHeardAll ? holder.limit : holder.toldLimit
    holder.isHeard = true
    holder.isAsked = false
    holder.wanted = Math.min(demand.wanted, this.#cap)
    holder.isOwed ||= peer !== this.#self && demand.wanted > demand.held
    this.#judge(peer, demand, hasHeardAll, nowMs)
    return true
  }

  /** What to tell whom, so that each may do what it now may; of ourselves last, for that takes effect at once. */
  settle(nowMs: number): { peer: PeerId; permits: Permits }[] {
    const state = this.#state(nowMs)
    if (state === 'closed' && !this.#isCounted(nowMs)) return []
    if (state === 'closed') this.#share()
    else this.#shut(state)
    const told = this.#reachable()
      .filter(holder => this.#hasNews(holder, state !== 'closed'))
      .sort((a, b) => Number(a.peer === this.#self) - Number(b.peer === this.#self))
    return told.map(holder => ({ peer: holder.peer, permits: this.#permitsFor(holder, nowMs) }))
  }

  #state(nowMs: number): BreakerState {
    return this.#breaker.state(nowMs)
  }

  #add(peer: PeerId, nowMs: number): Holder {
    const holder: Holder = {
      peer,
      session: peer === this.#self ? 0 : this.#nextSession(),
      serial: 0,
      isHeard: peer === this.#self,
      isAsked: true,
      sinceMs: nowMs,
      lostAtMs: undefined,
      counted: 0,
      limit: 0,
      once: 0,
      wanted: 0,
      isOwed: false,
      turn: 0,
      toldLimit: 0,
      toldScarce: false,
      toldBreaker: 0
    }
    this.#holders.set(peer, holder)
    return holder
  }

  #remove(peer: PeerId): void {
    this.#holders.delete(peer)
    if (this.#prober === peer) this.#prober = undefined
  }

  #all(): Holder[] {
    return [...this.#holders.values()]
  }

  #reachable(): Holder[] {
    return this.#all().filter(({ isHeard, isAsked, lostAtMs }) => isHeard && !isAsked && lostAtMs === undefined)
  }

  /** Everybody has answered, or has been waited for. */
  #isCounted(nowMs: number): boolean {
    const share = Math.floor(this.#cap / this.#holders.size)
    for (const holder of this.#holders.values()) {
      const { isHeard, sinceMs, lostAtMs } = holder
      if (!isHeard && nowMs - sinceMs < CENSUS_MS) return false
      if (!isHeard) holder.counted = share
      else if (lostAtMs !== undefined && nowMs - lostAtMs >= LOST_MS) holder.counted = Math.min(holder.counted, share)
    }
    return true
  }

  #judge(peer: PeerId, { oks, failures, probe }: Demand, hasHeardAll: boolean, nowMs: number): void {
    if (this.#breaker.report(oks, failures, nowMs)) this.#opened++
    if (this.#prober !== peer || probe === 'running') return
    if (probe === 'ok' || probe === 'failed') {
      if (this.#breaker.probed(probe, nowMs)) this.#opened++
      this.#prober = undefined
    } else if (hasHeardAll) this.#prober = undefined
  }

  #share(): void {
    const holders = this.#reachable()
    const able = new Set(holders)
    const reserved = sum(
      this.#all().filter(holder => !able.has(holder)),
      ({ counted }) => counted
    )
    const available = Math.max(0, this.#cap - reserved)
    const shares = fairShares(
      holders.map(({ wanted }) => wanted),
      available
    )
    this.#scarce = sum(holders, ({ wanted }) => wanted) > available
    if (this.#holders.size === 1) return this.#keepAll(holders)
    if (holders.some(({ wanted }, i) => wanted > 0 && shares[i] === 0)) return this.#goRound(holders)
    this.#takeBack(holders, shares)
    const grants = fairShares(
      holders.map(({ counted }, i) => (shares[i] as number) - counted),
      this.#free
    )
    for (const [i, holder] of holders.entries()) {
      const granted = grants[i] as number
      if (granted === 0) continue
      holder.counted += granted
      holder.limit = holder.counted
    }
  }

  /** Nobody else is here: one who may have all need not ask again. */
  #keepAll([holder]: readonly Holder[]): void {
    if (holder === undefined || holder.wanted === 0) return
    holder.counted = Math.max(holder.counted, this.#cap)
    holder.limit = this.#cap
  }

  /** From those who have more than their share, as much as the others lack beyond what is free or on its way back. */
  #takeBack(holders: readonly Holder[], shares: readonly number[]): void {
    for (const [i, holder] of holders.entries())
      holder.limit = Math.max(holder.limit, Math.min(shares[i] as number, holder.counted))
    const lacking = sum(holders, ({ counted }, i) => Math.max(0, (shares[i] as number) - counted))
    const coming = sum(holders, ({ counted, limit }) => counted - limit)
    const excess = holders.map(({ limit }, i) => limit - (shares[i] as number))
    const back = fairShares(excess, lacking - this.#free - coming)
    for (const [i, holder] of holders.entries()) holder.limit -= back[i] as number
  }

  /** Fewer permits than members that want one: each is for one call, and then for whoever has waited longest. */
  #goRound(holders: readonly Holder[]): void {
    for (const holder of holders) holder.limit = 0
    const waiting = holders.filter(({ counted, wanted }) => counted === 0 && wanted > 0)
    waiting.sort((a, b) => a.turn - b.turn)
    for (const holder of waiting.slice(0, Math.max(0, this.#free))) this.#grantOnce(holder)
  }

  #grantOnce(holder: Holder): void {
    holder.once = 1
    holder.counted++
    holder.turn = ++this.#turns
  }

  #shut(state: 'open' | 'half-open'): void {
    const holders = this.#reachable()
    for (const holder of holders) holder.limit = 0
    if (state === 'open' || this.#prober !== undefined) return
    const waiting = holders.filter(({ counted, wanted }) => wanted > counted).sort((a, b) => a.turn - b.turn)
    const [prober] = waiting
    if (prober === undefined) return
    this.#prober = prober.peer
    this.#grantOnce(prober)
  }

  get #free(): number {
    return this.#cap - sum(this.#all(), ({ counted }) => counted)
  }

  #hasNews(holder: Holder, isShut: boolean): boolean {
    const { limit, once, isOwed, toldLimit, toldScarce, toldBreaker } = holder
    if (limit !== toldLimit || once > 0 || isOwed || toldBreaker !== this.#breaker.changes) return true
    // Behind a door that is shut nobody waits: it is told, and turns its callers away.
    if (isShut) return holder.wanted > holder.counted
    return toldScarce !== this.#scarce && limit > 0
  }

  #permitsFor(holder: Holder, nowMs: number): Permits {
    const { session, limit, once } = holder
    const breaker = this.#state(nowMs)
    if (breaker !== 'closed') holder.wanted = Math.min(holder.wanted, holder.counted)
    holder.serial++
    holder.once = 0
    holder.isOwed = false
    holder.toldLimit = limit
    holder.toldScarce = this.#scarce
    holder.toldBreaker = this.#breaker.changes
    const retryAfterMs = this.#breaker.retryAfterMs(nowMs)
    return {
      session,
      serial: holder.serial,
      limit,
      counted: holder.counted,
      once,
      scarce: this.#scarce,
      breaker,
      retryAfterMs
    }
  }
}

function sum<T>(values: readonly T[], of: (value: T, i: number) => number): number {
  let all = 0
  for (const [i, value] of values.entries()) all += of(value, i)
  return all
}
