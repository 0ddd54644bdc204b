/**
 * What a member decides about the others: a pure step, `now` is an argument, and nothing here does any I/O. An event
 * goes in, effects come out, and the driver (`membership.ts`) performs them. The simulator runs that very driver; the
 * benchmark has one of its own, without promises.
 *
 *            ┌─▶ dials       how to reach them
 *   event ───┼─▶ detection   who still lives            ──▶ roster: view, contacts ──▶ effects
 *            └─▶ agreement   whether our views are equal
 *
 * Every member keeps a link to every other, and only a member itself has the last word about itself: whoever is called
 * suspect or dead and is not, hears of it, raises its incarnation and is back.
 */
import type { Stats } from '../observe/stats.ts'
import type { Random } from '../ports/random.ts'
import type { Address, PeerId } from '../ports/transport.ts'
import { type MemberFields, type MemberTalk, NEWS_MAX } from '../rpc/messages.ts'
import { Agreement } from './agreement.ts'
import type { Contact } from './contact.ts'
import { Detection } from './detection.ts'
import { Dials } from './dials.ts'
import { type Effect, Roster } from './roster.ts'
import type { MemberRecord, View } from './view.ts'

export const TICK_EVERY_MS = 200
/** A tick this late means that we stood still. */
const STALL_MS = 1_000
/** After standing still for this long others may have buried us: less than the quickest burial takes. */
const STALE_MS = 2_000
/** While somebody waits for all to agree, or for all to know that we leave: who has not answered is pinged this often. */
const ASK_AGAIN_MS = 400
const ASKED_PER_TICK_MAX = 64
/** A member that knows no other owner by then is alone. */
const BEGINNING_MS = 5_000

export type MembershipEvent =
  | { type: 'listening'; addresses: readonly Address[] }
  | { type: 'linkUp'; peer: PeerId; record: MemberFields }
  | { type: 'linkRefused'; peer: PeerId }
  | { type: 'linkDown'; peer: PeerId }
  | { type: 'heard'; peer: PeerId; viewHash: number }
  /** A call of the application to it was not answered in time. */
  | { type: 'unanswered'; peer: PeerId }
  | { type: 'message'; peer: PeerId; message: MemberTalk }
  | { type: 'gossip'; teller: PeerId; records: readonly MemberFields[] }
  | { type: 'dialFailed'; peer: PeerId; foundOther: boolean }
  /** Somebody waits for our view and that peer's to be equal. */
  | { type: 'agree'; peer: PeerId }
  /** `awaited`: somebody waits for all to agree. */
  | { type: 'tick'; awaited: boolean }
  | { type: 'leave' }

export class Protocol {
  readonly #roster: Roster
  readonly #dials: Dials
  readonly #detection: Detection
  readonly #agreement: Agreement
  readonly #beganMs: number
  #isBeginning = true
  #tickedAtMs: number

  constructor(deps: { self: MemberRecord; random: Random; stats: Stats; nowMs: number }) {
    this.#roster = new Roster(deps.self, deps.random, deps.stats)
    this.#dials = new Dials(this.#roster)
    this.#detection = new Detection(this.#roster)
    this.#agreement = new Agreement(this.#roster)
    this.#beganMs = this.#tickedAtMs = deps.nowMs
  }

  get view(): View {
    return this.#roster.view
  }

  get self(): MemberRecord {
    return this.#roster.self
  }

  /** 0 when our own event loop runs in time; each point is more patience with others. */
  get healthScore(): number {
    return this.#detection.healthScore
  }

  /** False while others may have gone on without us: what we own by our own view may be somebody else's by now. */
  isCertain(nowMs: number): boolean {
    if (this.view.present().length < 2) return true
    return this.#agreement.isCertain && nowMs - this.#tickedAtMs < STALE_MS
  }

  isLinked(peer: PeerId): boolean {
    return this.#roster.contacts.get(peer)?.linked === true
  }

  /** We took it for dead and are linked to it: in a moment it will have contradicted. */
  isUnburied(peer: PeerId): boolean {
    return this.view.get(peer)?.status === 'dead' && this.isLinked(peer)
  }

  /** It is suspected, and nothing has come from it to us either: not worth a question. */
  isUnheard(peer: PeerId): boolean {
    return this.view.get(peer)?.status === 'suspect' && (!this.isLinked(peer) || this.#roster.ownSuspects.has(peer))
  }

  /**
   * What this peer asks of us it asks by a view that we do not know of yet: of its side of a split, which we take for dead
   * while it sees us again; or we have just begun, know no other owner, and by its latest word it sees others than we do.
   * Later, to know no other owner is to be alone.
   */
  isApart(peer: PeerId, nowMs: number): boolean {
    if (this.isUnburied(peer)) return true
    if (!this.#isBeginning) return false
    this.#isBeginning = this.view.owners().length < 2 && nowMs < this.#beganMs + BEGINNING_MS
    const contact = this.#roster.contacts.get(peer)
    return this.#isBeginning && contact !== undefined && !this.#agreement.agrees(contact)
  }

  /** All members are linked and hold the view we hold, and nobody is suspected. */
  isSettled(): boolean {
    return this.view.present().every(member => {
      if (member.id === this.self.id || !canMeet(member, this.self)) return true
      const contact = this.#roster.contacts.get(member.id)
      return member.status === 'alive' && contact?.linked === true && this.#agreement.agrees(contact)
    })
  }

  /** Everybody has answered since they were told that we leave. */
  isFarewellHeard(): boolean {
    return this.#roster.linked().every(contact => contact.knowsOfLeave)
  }

  /** What is to be done, in this order: first the change of the view, since what follows is done in the new one. */
  step(event: MembershipEvent, nowMs: number): Effect[] {
    const before = this.view
    if (nowMs - this.#tickedAtMs > TICK_EVERY_MS + STALL_MS) this.#stoodStill(nowMs)
    this.#apply(event, nowMs)
    const effects = this.#roster.takeEffects()
    return this.view === before ? effects : [{ type: 'viewChanged', before, after: this.view }, ...effects]
  }

  #apply(event: MembershipEvent, nowMs: number): void {
    switch (event.type) {
      case 'listening':
        return this.#tellOfSelf({ addresses: event.addresses })
      case 'linkUp':
        return this.#linkUp(event.peer, event.record, nowMs)
      case 'linkRefused':
        return this.#with(event.peer, contact => this.#dials.failed(contact, nowMs))
      case 'linkDown':
        return this.#with(event.peer, contact => this.#linkDown(contact, nowMs))
      case 'heard':
        return this.#with(event.peer, contact => this.#heard(contact, event.viewHash, nowMs))
      case 'unanswered':
        return this.#with(event.peer, contact => this.#detection.missed(contact, nowMs))
      case 'message':
        return this.#with(event.peer, contact => this.#hear(contact, event.message, nowMs))
      case 'gossip':
        this.#learn(event.teller, event.records, nowMs, true)
        return
      case 'dialFailed':
        return this.#with(event.peer, contact => this.#dialFailed(contact, event.foundOther, nowMs))
      case 'agree':
        return this.#agree(event.peer, nowMs)
      case 'tick':
        return this.#tick(event.awaited, nowMs)
      case 'leave':
        return this.#leave(nowMs)
      default:
        event satisfies never
    }
  }

  #with(peer: PeerId, act: (contact: Contact) => void): void {
    const contact = this.#roster.contacts.get(peer)
    if (contact !== undefined) act(contact)
  }

  #tellOfSelf(change: Partial<MemberRecord>): void {
    const { self } = this.#roster
    this.#roster.tellOfSelf({ ...self, ...change, incarnation: self.incarnation + 1 })
  }

  #linkUp(peer: PeerId, record: MemberFields, nowMs: number): void {
    const contact = this.#roster.contactOf(peer, record.addresses, nowMs)
    this.#detection.linkDown(contact)
    this.#agreement.linkDown(contact)
    this.#dials.linkUp(contact, nowMs)
    contact.heardAtMs = nowMs
    // Others may have told us that it is back before we had a link to it.
    if (contact.burial?.back.boot === record.boot) this.#roster.tellBurial(contact)
    this.#roster.introduce(record, nowMs)
    this.#agreement.want(contact, nowMs)
  }

  #linkDown(contact: Contact, nowMs: number): void {
    this.#detection.linkDown(contact)
    this.#agreement.linkDown(contact)
    this.#roster.believe(contact, nowMs)
    this.#dials.linkDown(contact, nowMs)
  }

  #heard(contact: Contact, viewHash: number, nowMs: number): void {
    this.#detection.heard(contact, nowMs)
    this.#agreement.saw(contact, viewHash, nowMs)
  }

  #hear(contact: Contact, message: MemberTalk, nowMs: number): void {
    const { peer } = contact
    switch (message.type) {
      case 'ping': {
        const news = this.#learn(peer, message.news, nowMs, true)
        const records = [...this.#roster.newsFor(peer), ...news].slice(0, NEWS_MAX)
        this.#roster.send(peer, { type: 'pong', stateHash: this.view.stateHash, news: records })
        return this.#agreement.sawState(contact, message.stateHash, nowMs)
      }
      case 'pong':
        contact.knowsOfLeave = this.#roster.hasLeft
        this.#contradict(peer, this.#learn(peer, message.news, nowMs, true))
        return this.#agreement.sawState(contact, message.stateHash, nowMs)
      case 'probe':
        return this.#detection.probed(peer, message.peer, nowMs)
      case 'probed':
        return this.#detection.answered(peer, message.peer, message.heard, nowMs)
      case 'view':
        return this.#agreement.asked(contact, message)
      case 'digest':
        return this.#agreement.compared(contact, message)
      case 'swap': {
        const lacking = this.#learn(peer, message.records, nowMs, false)
        const records = [...this.#roster.tellByPrint(new Set(message.wanted)), ...lacking]
        this.#roster.send(peer, { type: 'swapped', round: message.round, records })
        return
      }
      case 'swapped':
        this.#contradict(peer, this.#learn(peer, message.records, nowMs, false))
        return this.#agreement.swapped(contact, message)
      case 'news':
        return this.#contradict(peer, this.#learn(peer, message.records, nowMs, true))
      default:
        message satisfies never
    }
  }

  /** Takes in what another tells; the answer is what it does not know yet. */
  #learn(teller: PeerId, records: readonly MemberFields[], nowMs: number, spread: boolean): MemberFields[] {
    if (records.length === 0) return []
    const unknown = this.#roster.hear(records, nowMs, spread)
    for (const record of records) if (record.status !== 'alive') this.#hearOfSilence(teller, record, nowMs)
    return unknown.map(record => this.#roster.told(record))
  }

  #hearOfSilence(teller: PeerId, record: MemberFields, nowMs: number): void {
    if (record.status === 'suspect') this.#detection.hearsay(teller, record, nowMs)
    // It is said to be gone and is linked to us: it must hear of that, so that it can contradict.
    const contact = this.#roster.contacts.get(record.id)
    const isBuried = this.view.get(record.id)?.status === 'dead'
    if (isBuried && contact?.linked === true && contact.unansweredSinceMs === undefined)
      this.#detection.ping(contact, nowMs)
  }

  #contradict(peer: PeerId, records: readonly MemberFields[]): void {
    if (records.length > 0) this.#roster.send(peer, { type: 'news', records })
  }

  #dialFailed(contact: Contact, foundOther: boolean, nowMs: number): void {
    this.#dials.failed(contact, nowMs)
    if (contact.linked) return
    if (this.view.get(contact.peer) === undefined) return this.#dials.forget(contact.peer)
    // Its address is somebody else's now: there is nothing left to dial.
    if (foundOther) contact.addresses = []
    if (foundOther || this.#dials.isDoubtful(contact, nowMs)) this.#detection.missing(contact, nowMs)
  }

  #agree(peer: PeerId, nowMs: number): void {
    const contact = this.#roster.contacts.get(peer)
    if (contact?.linked === true) this.#agreement.want(contact, nowMs)
    else this.#roster.do({ type: 'exchanged', peer })
  }

  #stoodStill(nowMs: number): void {
    const stoodMs = nowMs - this.#tickedAtMs
    this.#tickedAtMs = nowMs
    this.#detection.ranLate(stoodMs)
    this.#detection.stoodStill(nowMs)
    if (stoodMs < STALE_MS) return
    this.#roster.stoodStillAtMs = nowMs
    this.#agreement.doubt(nowMs)
  }

  #tick(awaited: boolean, nowMs: number): void {
    this.#detection.ranLate(Math.max(0, nowMs - this.#tickedAtMs - TICK_EVERY_MS))
    this.#tickedAtMs = nowMs
    if (this.#roster.hasLeft) return this.#repeatFarewell(nowMs)
    let asked = 0
    for (const contact of this.#roster.contacts.values()) {
      if (!contact.linked) this.#seek(contact, nowMs)
      else if (awaited && asked < ASKED_PER_TICK_MAX && this.#askAgain(contact, nowMs)) asked++
      if (contact.claim !== undefined && nowMs >= contact.claim.untilMs) this.#roster.believe(contact, nowMs)
      this.#agreement.tend(contact, nowMs)
    }
    this.#detection.tick(nowMs)
    this.#agreement.tick(nowMs)
    this.#roster.prune(nowMs)
  }

  #seek(contact: Contact, nowMs: number): void {
    this.#dials.seek(contact, nowMs)
    if (contact.addresses.length === 0 && this.#dials.isDoubtful(contact, nowMs))
      this.#detection.missing(contact, nowMs)
  }

  /** Its last word was of another view than ours, and somebody waits for all to agree. */
  #askAgain(contact: Contact, nowMs: number): boolean {
    if (this.#agreement.agrees(contact) || nowMs - contact.pingedAtMs < ASK_AGAIN_MS) return false
    this.#detection.ping(contact, nowMs)
    return true
  }

  #leave(nowMs: number): void {
    this.#tellOfSelf({ status: 'left' })
    this.#sayFarewell(this.#roster.linked(), nowMs)
  }

  #repeatFarewell(nowMs: number): void {
    const silent = this.#roster.linked().filter(({ knowsOfLeave }) => !knowsOfLeave)
    this.#sayFarewell(
      silent.filter(({ pingedAtMs }) => nowMs - pingedAtMs >= ASK_AGAIN_MS),
      nowMs
    )
  }

  #sayFarewell(contacts: readonly Contact[], nowMs: number): void {
    for (const contact of contacts) {
      this.#roster.send(contact.peer, { type: 'news', records: [this.#roster.told(this.self)] })
      this.#detection.ping(contact, nowMs)
    }
  }
}

/** Two that only dial can never link to each other; the members between them see to both. */
function canMeet(a: MemberRecord, b: MemberRecord): boolean {
  return a.addresses.length > 0 || b.addresses.length > 0
}
