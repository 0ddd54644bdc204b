/**
 * How two members come to hold the same view, over their link: the guarantee, where gossip is a hint.
 *
 *   ours ≠ theirs ─▶ view ──▶ digest, all equal                                        ─▶ done
 *                        └──▶ digest, prints of their records
 *                               └▶ swap: what they lack, what we want ──▶ swapped       ─▶ done
 *
 * A hash that differs is seen on any frame and on every ping, so nobody has to ask now and then. When both sides end an
 * exchange with the hashes they began with, they know something that cannot be told; then they are quiet for longer and
 * longer. And a member begins only so many exchanges a second, whatever storm goes on around it (PROTOCOL M3).
 *
 * A member that stood still for long asks before it trusts its view again: others may have buried it meanwhile.
 */
import type { PeerId } from '../ports/transport.ts'
import type { MessageOf } from '../rpc/messages.ts'
import type { Contact } from './contact.ts'
import type { Roster } from './roster.ts'
import { printOf } from './view.ts'

const GAP_MS = 200
const PER_SECOND_MAX = 10
const EXCHANGE_MS_MAX = 2_000
/** An exchange that changed nothing on either side is not repeated for this long, doubling. */
const FUTILE_MS = 5_000
const FUTILE_MS_MAX = 60_000
/** How many are asked by a member in doubt, and how long it waits for one that knows. */
const ASKED_IN_DOUBT = 3
const DOUBT_MS_MAX = 3_000

export class Agreement {
  readonly #roster: Roster
  readonly #startsMs: number[] = []
  #rounds = 0
  /** Who has not told its view since our doubt began. */
  #unheard = new Set<PeerId>()

  constructor(roster: Roster) {
    this.#roster = roster
  }

  get isCertain(): boolean {
    return this.#roster.doubtSinceMs === undefined
  }

  /** The latest word of a peer about its view. */
  saw(contact: Contact, viewHash: number, nowMs: number): void {
    contact.theirHash = viewHash
    if (viewHash !== this.#roster.view.hash) this.#ifDue(contact, nowMs)
  }

  sawState(contact: Contact, stateHash: number, nowMs: number): void {
    contact.theirStateHash = stateHash
    if (stateHash !== this.#roster.view.stateHash) this.#ifDue(contact, nowMs)
    else if (this.agrees(contact)) this.#satisfied(contact)
  }

  agrees(contact: Contact): boolean {
    return contact.theirHash === this.#roster.view.hash
  }

  /** As soon as possible, whatever was futile before. */
  want(contact: Contact, nowMs: number): void {
    contact.exchangeWanted = true
    this.tend(contact, nowMs)
  }

  tend(contact: Contact, nowMs: number): void {
    const { exchange } = contact
    if (exchange !== undefined && nowMs - exchange.sinceMs > EXCHANGE_MS_MAX) this.end(contact, true)
    if (contact.linked && contact.exchangeWanted) this.#begin(contact, nowMs)
  }

  /** We stood still for so long that the others may have gone on without us. */
  doubt(nowMs: number): void {
    this.#roster.doubtSinceMs = nowMs
    if (this.#roster.view.present().length < 2) return this.#becomeCertain()
    const linked = this.#roster.linked()
    // What was asked before we stood still was answered then.
    for (const contact of linked) this.end(contact, true)
    this.#unheard = new Set(this.#roster.view.present().map(member => member.id))
    this.#unheard.delete(this.#roster.self.id)
    for (const contact of linked.slice(0, ASKED_IN_DOUBT)) this.want(contact, nowMs)
  }

  tick(nowMs: number): void {
    if (this.#roster.doubtSinceMs === undefined) return
    if (nowMs - this.#roster.doubtSinceMs > DOUBT_MS_MAX || this.#roster.view.present().length < 2)
      this.#becomeCertain()
  }

  #becomeCertain(): void {
    if (this.#roster.doubtSinceMs === undefined) return
    this.#roster.doubtSinceMs = undefined
    this.#roster.do({ type: 'certain' })
  }

  #ifDue(contact: Contact, nowMs: number): void {
    if (contact.exchange !== undefined || nowMs - contact.exchangedAtMs < GAP_MS) return
    const { hash, stateHash } = this.#roster.view
    const pair = `${hash}/${stateHash}/${contact.theirHash}/${contact.theirStateHash}`
    if (pair !== contact.lastPair) contact.futileMs = contact.quietUntilMs = 0
    else if (contact.quietUntilMs <= contact.exchangedAtMs) this.#pause(contact, nowMs)
    if (nowMs < contact.quietUntilMs) return
    if (this.#begin(contact, nowMs)) contact.lastPair = pair
  }

  /** The last exchange left both as they were: asking again at once would only ask the same. */
  #pause(contact: Contact, nowMs: number): void {
    this.#roster.stats.viewExchangesFutileTotal++
    contact.futileMs = Math.min(FUTILE_MS_MAX, Math.max(FUTILE_MS, contact.futileMs * 2))
    contact.quietUntilMs = nowMs + contact.futileMs
  }

  #begin(contact: Contact, nowMs: number): boolean {
    if (contact.exchange !== undefined || !this.#mayStart(nowMs)) return false
    const round = this.#rounds++ % 2 ** 32
    contact.exchange = { round, sinceMs: nowMs, isPeerCertain: false }
    contact.exchangedAtMs = nowMs
    contact.exchangeWanted = false
    this.#roster.stats.viewExchangesTotal++
    this.#roster.send(contact.peer, { type: 'view', round, stateHash: this.#roster.view.stateHash })
    return true
  }

  #mayStart(nowMs: number): boolean {
    if (this.#startsMs.length >= PER_SECOND_MAX && nowMs - (this.#startsMs[0] as number) < 1_000) return false
    if (this.#startsMs.push(nowMs) > PER_SECOND_MAX) this.#startsMs.shift()
    return true
  }

  /** A peer begins an exchange. */
  asked(contact: Contact, { round, stateHash }: MessageOf<'view'>): void {
    const { view } = this.#roster
    const same = stateHash === view.stateHash
    if (same) this.#satisfied(contact)
    const prints = same ? [] : view.present().map(printOf)
    this.#roster.send(contact.peer, { type: 'digest', round, same, certain: this.isCertain, prints })
  }

  /** The peer's answer to our beginning; one to an earlier beginning may be older than what we want to know. */
  compared(contact: Contact, { round, same, certain, prints }: MessageOf<'digest'>): void {
    if (contact.exchange?.round !== round) return
    contact.exchange.isPeerCertain = certain
    if (same) return this.end(contact)
    const theirs = new Set(prints)
    const ours = new Set(this.#roster.view.present().map(printOf))
    const records = this.#roster.tellUnknown(theirs)
    const wanted = prints.filter(print => !ours.has(print))
    if (records.length === 0 && wanted.length === 0) return this.end(contact)
    this.#roster.send(contact.peer, { type: 'swap', round, records, wanted })
  }

  swapped(contact: Contact, { round }: MessageOf<'swapped'>): void {
    if (contact.exchange?.round === round) this.end(contact)
  }

  #isUnasked({ peer, exchange, exchangeWanted }: Contact): boolean {
    return exchange === undefined && !exchangeWanted && this.#unheard.has(peer)
  }

  linkDown(contact: Contact): void {
    this.end(contact, true)
    this.#satisfied(contact)
    contact.theirHash = contact.theirStateHash = undefined
  }

  /** There is nothing left to ask it. */
  #satisfied(contact: Contact): void {
    if (!contact.exchangeWanted) return
    contact.exchangeWanted = false
    this.#roster.do({ type: 'exchanged', peer: contact.peer })
  }

  /** It is over, or has come to nothing. */
  end(contact: Contact, failed = false): void {
    const { exchange } = contact
    if (exchange === undefined) return
    contact.exchange = undefined
    this.#roster.do({ type: 'exchanged', peer: contact.peer })
    if (!failed) this.#knows(contact, exchange.isPeerCertain)
  }

  /** One that is certain is enough. If all stood still, as on a machine that slept, all together know what there is. */
  #knows(contact: Contact, isCertain: boolean): void {
    this.#unheard.delete(contact.peer)
    if (isCertain || this.#unheard.size === 0) this.#becomeCertain()
    if (this.#roster.doubtSinceMs === undefined) return
    const next = this.#roster.linked().find(other => this.#isUnasked(other))
    if (next !== undefined) next.exchangeWanted = true
  }
}
