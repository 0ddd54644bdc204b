/**
 * What a member decides about the others: a pure step, `now` is an argument, and nothing here does any I/O. An event
 * goes in, effects come out, and the driver (`membership.ts`) performs them.
 *
 * The intuition. Every member keeps a link to every other. A frame on a link is a sign of life and carries the view
 * hash; a hash that differs leads to an exchange of views over that link, which is the guarantee, and gossip only makes
 * it quicker. A link that dies is dialled again at once; if that fails too, and none of a few others hears the member
 * either, it is declared dead. Whoever is declared dead and is not, hears of it, raises its incarnation and is back. Members that are gone are dialled on, more
 * and more seldom, so that every split heals by itself.
 *
 * A member that falls silent on an open link is asked about in the same way, and has a while to speak up.
 *
 * Not promised here yet: suspicion that is shared, and a judgement of one's own health. The records know the state.
 */
import type { Stats } from '../observe/stats.ts'
import type { Random } from '../ports/random.ts'
import type { Address, PeerId } from '../ports/transport.ts'
import type { MemberFields } from '../rpc/messages.ts'
import { Contact } from './contact.ts'
import { isPresent, type MemberRecord, supersedes, View } from './view.ts'

/** How often a link must show a sign of life, and how long it may show none. */
const BEAT_EVERY_MS = 1_000
const SILENCE_MS_MAX = 4_000
/** After two missed beats others are asked; if they hear nothing either, this long for it to speak up. */
const DOUBT_MS = 2_500
const SUSPICION_MS = 1_200
const INQUIRY_EVERY_MS = 1_000
export const TICK_EVERY_MS = 200
/** A tick this late means that we stood still: others may have spoken and we have not listened yet. */
const STALL_MS = 1_000
const EXCHANGE_GAP_MS = 200
/** With one peer, chosen by chance from those whose hash is ours. */
const EXCHANGE_EVERY_MS = 5_000
/** An exchange that changed nothing on either side is not repeated for this long, doubling. */
const FUTILE_EXCHANGE_MS = 5_000
const FUTILE_EXCHANGE_MS_MAX = 60_000
/** The member with the higher id leaves the first dial to the other, so that two do not dial each other at once. */
const POLITE_DIAL_MS = 700
/** A link that has held this long has proved itself. */
const STEADY_MS = 1_000
const REDIAL_MS = 100
const REDIAL_MS_MAX = 2_000
/** After this long a gone member is dialled seldom. */
const RECENTLY_MS = 60_000
const REDIAL_SELDOM_MS = 30_000
/** A member never linked, only heard of, is declared dead when no dial has reached it for this long. */
const UNREACHABLE_MS_MAX = 10_000
/** A member without addresses can only come to us; it gets this long to come back. */
const RETURN_MS_MAX = 3_000
const CONTACTS_MAX = 4096
const DIALS_AT_ONCE = 64

/** How many others are asked before a member is declared dead. */
const INQUIRED_MAX = 3
const HEARD_LATELY_MS = 2_500

export type MembershipEvent =
  | { type: 'listening'; addresses: readonly Address[] }
  | { type: 'linkUp'; peer: PeerId; record: MemberFields }
  | { type: 'linkRefused'; peer: PeerId }
  | { type: 'linkDown'; peer: PeerId }
  | { type: 'heard'; peer: PeerId; viewHash: number }
  | { type: 'records'; records: readonly MemberFields[] }
  | { type: 'exchanged'; peer: PeerId }
  | { type: 'dialFailed'; peer: PeerId; foundOther: boolean }
  | { type: 'inquired'; peer: PeerId; heard: boolean }
  | { type: 'tick' }
  | { type: 'leave' }

export type Effect =
  | { type: 'dial'; peer: PeerId; addresses: readonly Address[] }
  | { type: 'exchange'; peer: PeerId }
  | { type: 'inquire'; peer: PeerId; of: readonly PeerId[] }
  | { type: 'beat'; peer: PeerId }
  | { type: 'close'; peer: PeerId; reason: string }
  | { type: 'gossip'; records: readonly MemberFields[] }
  | { type: 'viewChanged'; before: View; after: View }

export class Protocol {
  readonly #random: Random
  readonly #stats: Stats
  readonly #contacts = new Map<PeerId, Contact>()
  /** Dials under way. */
  readonly #dialing = new Set<PeerId>()
  #self: MemberRecord
  #view: View
  #tickedAtMs: number
  #nextExchangeAtMs: number
  #effects: Effect[] = []

  constructor(deps: { self: MemberRecord; random: Random; stats: Stats; nowMs: number }) {
    this.#self = deps.self
    this.#random = deps.random
    this.#stats = deps.stats
    this.#view = new View(new Map([[deps.self.id, deps.self]]))
    this.#tickedAtMs = deps.nowMs
    this.#nextExchangeAtMs = deps.nowMs + EXCHANGE_EVERY_MS
  }

  get view(): View {
    return this.#view
  }

  get self(): MemberRecord {
    return this.#self
  }

  /** Our records as we tell them: with each, whether we can reach that member ourselves. */
  records(): MemberFields[] {
    return [...this.#view.records.values()].map(record => this.#told(record))
  }

  /** We have a link to it, and it has spoken lately. */
  hears(peer: PeerId, nowMs: number): boolean {
    const contact = this.#contacts.get(peer)
    return contact?.linked === true && nowMs - contact.heardAtMs < HEARD_LATELY_MS
  }

  isLinked(peer: PeerId): boolean {
    return this.#contacts.get(peer)?.linked === true
  }

  /** All members are linked and hold the view we hold. */
  isSettled(): boolean {
    return this.#view.present().every(member => {
      if (member.id === this.#self.id || !canMeet(member, this.#self)) return true
      const contact = this.#contacts.get(member.id)
      return contact?.linked === true && !contact.exchanging && this.#agrees(contact)
    })
  }

  step(event: MembershipEvent, nowMs: number): Effect[] {
    const before = this.#view
    this.#effects = []
    this.#apply(event, nowMs)
    if (this.#view !== before) this.#effects.push({ type: 'viewChanged', before, after: this.#view })
    return this.#effects
  }

  #apply(event: MembershipEvent, nowMs: number): void {
    switch (event.type) {
      case 'listening':
        return this.#tellOfSelf({ ...this.#self, addresses: event.addresses, incarnation: this.#self.incarnation + 1 })
      case 'linkUp':
        return this.#linkUp(event.peer, event.record, nowMs)
      case 'linkRefused':
        return this.#linkRefused(event.peer, nowMs)
      case 'linkDown':
        return this.#linkDown(event.peer, nowMs)
      case 'heard':
        return this.#heard(event.peer, event.viewHash, nowMs)
      case 'records':
        return this.#hear(event.records, nowMs)
      case 'exchanged':
        return this.#exchanged(event.peer)
      case 'dialFailed':
        return this.#dialFailed(event.peer, event.foundOther, nowMs)
      case 'inquired':
        return this.#inquired(event.peer, event.heard, nowMs)
      case 'tick':
        return this.#tick(nowMs)
      case 'leave':
        return this.#leave()
      default:
        event satisfies never
    }
  }

  #linkUp(peer: PeerId, record: MemberFields, nowMs: number): void {
    const contact = this.#contact(peer, record.addresses, nowMs)
    contact.linked = true
    contact.everLinked = true
    contact.heardAtMs = nowMs
    contact.linkedAtMs = nowMs
    this.#dialing.delete(peer)
    contact.theirHash = undefined
    const before = this.#view
    this.#merge(record, nowMs)
    // A client changes no table and so no hash: nobody would ask for it.
    if (this.#view !== before) this.#effects.push({ type: 'gossip', records: [this.#told(record)] })
    this.#exchange(peer, contact, nowMs)
  }

  #linkDown(peer: PeerId, nowMs: number): void {
    const contact = this.#contacts.get(peer)
    if (contact === undefined) return
    contact.linked = false
    contact.exchanging = false
    contact.theirHash = undefined
    contact.unlinkedSinceMs = nowMs
    // A link that held is worth a redial at once; one that fell at once is not, or two that cannot bear each other
    // would dial without a pause.
    const held = nowMs - contact.linkedAtMs >= STEADY_MS
    contact.dialFailures = held ? 0 : contact.dialFailures + 1
    contact.nextDialAtMs = held ? nowMs : nowMs + this.#redialMs(contact, nowMs)
    this.#dialIfDue(peer, contact, nowMs)
  }

  #linkRefused(peer: PeerId, nowMs: number): void {
    this.#dialing.delete(peer)
    const contact = this.#contacts.get(peer)
    if (contact === undefined || contact.linked) return
    contact.dialFailures++
    contact.nextDialAtMs = nowMs + this.#redialMs(contact, nowMs)
  }

  #heard(peer: PeerId, viewHash: number, nowMs: number): void {
    const contact = this.#contacts.get(peer)
    if (contact === undefined) return
    contact.heardAtMs = nowMs
    contact.suspectedAtMs = undefined
    contact.theirHash = viewHash
    this.#exchangeIfDue(peer, contact, nowMs)
  }

  #hear(records: readonly MemberFields[], nowMs: number): void {
    for (const record of records) {
      if (record.id === this.#self.id) this.#hearOfSelf(record)
      else if (record.reached || this.#view.get(record.id) !== undefined || !isPresent(record))
        this.#merge(record, nowMs)
      // Only rumoured: believed once we have reached it ourselves, or somebody who has tells us (PROTOCOL M2).
      else this.#contact(record.id, record.addresses, nowMs)
    }
  }

  /** Somebody thinks otherwise of us: an old boot of ours, or a death that was none. We have the last word. */
  #hearOfSelf(record: MemberFields): void {
    if (this.#self.status === 'left' || sameRecord(record, this.#self) || supersedes(this.#self, record)) return
    this.#tellOfSelf({ ...this.#self, incarnation: record.incarnation + 1 })
  }

  #tellOfSelf(self: MemberRecord): void {
    this.#self = self
    this.#view = this.#view.with(self)
    this.#effects.push({ type: 'gossip', records: [this.#told(self)] })
  }

  #merge(record: MemberFields, nowMs: number): void {
    const { reached: _, ...told } = record
    const before = this.#view.get(record.id)
    this.#view = this.#view.with(told)
    if (this.#view.get(record.id) === before) return
    const contact = this.#contact(record.id, record.addresses, nowMs)
    contact.addresses = record.addresses
    // It is said to be gone and is linked to us: it must hear of that, so that it can contradict.
    if (!isPresent(told) && told.status !== 'left' && contact.linked) this.#exchange(record.id, contact, nowMs)
    if (!isPresent(told) && before !== undefined && isPresent(before)) contact.unlinkedSinceMs = nowMs
  }

  #exchanged(peer: PeerId): void {
    const contact = this.#contacts.get(peer)
    if (contact !== undefined) contact.exchanging = false
  }

  #dialFailed(peer: PeerId, foundOther: boolean, nowMs: number): void {
    this.#dialing.delete(peer)
    const contact = this.#contacts.get(peer)
    if (contact === undefined || contact.linked) return
    contact.dialFailures++
    contact.nextDialAtMs = nowMs + this.#redialMs(contact, nowMs)
    const known = this.#view.get(peer)
    if (known === undefined) this.#contacts.delete(peer)
    else if (isPresent(known) && (contact.everLinked || foundOther || this.#isOverdue(contact, nowMs))) {
      this.#inquire(known, contact, nowMs)
    }
    // Its address is somebody else's now: there is nothing left to dial.
    if (foundOther) this.#contacts.delete(peer)
  }

  #isOverdue(contact: Contact, nowMs: number): boolean {
    const patienceMs = contact.addresses.length === 0 ? RETURN_MS_MAX : UNREACHABLE_MS_MAX
    return nowMs - contact.unlinkedSinceMs > patienceMs
  }

  /**
   * We cannot reach it; perhaps that is our own path. A few others are asked whether they hear it, and one that does is
   * enough for it to stay: a broken cable between two must not cost either its place.
   */
  #inquire(known: MemberRecord, contact: Contact, nowMs: number): void {
    if (contact.inquiring) return
    const linked = [...this.#contacts]
      .filter(([peer, other]) => other.linked && peer !== known.id)
      .map(([peer]) => peer)
    const of: PeerId[] = []
    while (of.length < INQUIRED_MAX && linked.length > 0)
      of.push(...linked.splice(this.#random.integer(linked.length), 1))
    contact.inquiring = true
    if (of.length === 0) return this.#inquired(known.id, false, nowMs)
    this.#effects.push({ type: 'inquire', peer: known.id, of })
  }

  #inquired(peer: PeerId, heard: boolean, nowMs: number): void {
    const contact = this.#contacts.get(peer)
    const known = this.#view.get(peer)
    if (contact === undefined) return
    contact.inquiring = false
    if (heard || known === undefined || !isPresent(known)) contact.suspectedAtMs = undefined
    else if (!contact.linked) this.#declareDead(known, contact)
    // Still linked and silent: it may only stand still, and gets a while to speak up.
    else if (nowMs - contact.heardAtMs > DOUBT_MS) contact.suspectedAtMs ??= nowMs
  }

  #declareDead(known: MemberRecord, contact: Contact): void {
    contact.everLinked = false
    contact.suspectedAtMs = undefined
    this.#view = this.#view.with({ ...known, status: 'dead' })
    this.#effects.push({ type: 'gossip', records: [this.#told({ ...known, status: 'dead' })] })
  }

  #tick(nowMs: number): void {
    const stalled = nowMs - this.#tickedAtMs > TICK_EVERY_MS + STALL_MS
    this.#tickedAtMs = nowMs
    for (const [peer, contact] of this.#contacts) {
      if (contact.linked) this.#tendLink(peer, contact, stalled, nowMs)
      else this.#seek(peer, contact, nowMs)
    }
    this.#exchangeNowAndThen(nowMs)
  }

  /** The hash covers owners alone; whatever else two members tell apart is made equal by this. */
  #exchangeNowAndThen(nowMs: number): void {
    if (nowMs < this.#nextExchangeAtMs) return
    this.#nextExchangeAtMs = nowMs + EXCHANGE_EVERY_MS * (0.75 + this.#random.float() / 2)
    const linked = [...this.#contacts].filter(([, contact]) => contact.linked && this.#agrees(contact))
    const chosen = linked[this.#random.integer(Math.max(1, linked.length))]
    if (chosen !== undefined) this.#exchange(...chosen, nowMs)
  }

  #tendLink(peer: PeerId, contact: Contact, stalled: boolean, nowMs: number): void {
    if (stalled) contact.heardAtMs = nowMs
    const silentMs = nowMs - contact.heardAtMs
    if (silentMs > DOUBT_MS) this.#doubt(peer, contact, nowMs)
    if (silentMs > SILENCE_MS_MAX || this.#isGivenUp(contact, nowMs)) return this.#closeSilent(peer, contact)
    if (nowMs - contact.beatAtMs >= BEAT_EVERY_MS) {
      contact.beatAtMs = nowMs
      this.#effects.push({ type: 'beat', peer })
    }
    this.#exchangeIfDue(peer, contact, nowMs)
  }

  /** It has missed its beats. Asked about while the link is still open, so that no time is lost if it is dead. */
  #doubt(peer: PeerId, contact: Contact, nowMs: number): void {
    const known = this.#view.get(peer)
    if (known === undefined || !isPresent(known) || nowMs < contact.nextInquiryAtMs) return
    contact.nextInquiryAtMs = nowMs + INQUIRY_EVERY_MS
    this.#inquire(known, contact, nowMs)
  }

  #isGivenUp({ suspectedAtMs }: Contact, nowMs: number): boolean {
    return suspectedAtMs !== undefined && nowMs - suspectedAtMs > SUSPICION_MS
  }

  /** Dead, if nobody else heard it for as long as a suspicion lasts; else it is only our path that is broken. */
  #closeSilent(peer: PeerId, contact: Contact): void {
    const known = this.#view.get(peer)
    if (contact.suspectedAtMs !== undefined && known !== undefined && isPresent(known))
      this.#declareDead(known, contact)
    this.#stats.linksSilentTotal++
    this.#effects.push({ type: 'close', peer, reason: 'silent for too long' })
  }

  #seek(peer: PeerId, contact: Contact, nowMs: number): void {
    const known = this.#view.get(peer)
    if (known?.status === 'left') this.#contacts.delete(peer)
    else if (contact.addresses.length > 0) this.#dialIfDue(peer, contact, nowMs)
    else if (known === undefined || !isPresent(known)) this.#contacts.delete(peer)
    else if (contact.everLinked && this.#isOverdue(contact, nowMs)) this.#inquire(known, contact, nowMs)
  }

  #dialIfDue(peer: PeerId, contact: Contact, nowMs: number): void {
    if (this.#dialing.has(peer) || contact.linked || nowMs < contact.nextDialAtMs || contact.addresses.length === 0)
      return
    if (this.#self.status === 'left' || this.#view.get(peer)?.status === 'left') return
    if (this.#dialing.size >= DIALS_AT_ONCE) return
    this.#dialing.add(peer)
    this.#effects.push({ type: 'dial', peer, addresses: contact.addresses })
  }

  #redialMs(contact: Contact, nowMs: number): number {
    const recent = nowMs - contact.unlinkedSinceMs < RECENTLY_MS
    const capMs = recent ? REDIAL_MS_MAX : REDIAL_SELDOM_MS
    const backoffMs = Math.min(capMs, REDIAL_MS * 2 ** Math.min(contact.dialFailures, 16))
    return backoffMs * (0.75 + this.#random.float() / 2)
  }

  #exchangeIfDue(peer: PeerId, contact: Contact, nowMs: number): void {
    if (contact.theirHash === undefined || this.#agrees(contact) || contact.exchanging) return
    if (nowMs - contact.exchangedAtMs < EXCHANGE_GAP_MS) return
    const pair = `${this.#view.hash}/${contact.theirHash}`
    if (pair !== contact.lastPair) contact.futileMs = contact.quietUntilMs = 0
    else if (contact.quietUntilMs <= contact.exchangedAtMs) this.#pause(contact, nowMs)
    if (nowMs < contact.quietUntilMs) return
    contact.lastPair = pair
    this.#exchange(peer, contact, nowMs)
  }

  /** The last exchange left both hashes as they were: asking again at once would only ask the same. */
  #pause(contact: Contact, nowMs: number): void {
    contact.futileMs = Math.min(FUTILE_EXCHANGE_MS_MAX, Math.max(FUTILE_EXCHANGE_MS, contact.futileMs * 2))
    contact.quietUntilMs = nowMs + contact.futileMs
  }

  #exchange(peer: PeerId, contact: Contact, nowMs: number): void {
    if (contact.exchanging) return
    contact.exchanging = true
    contact.exchangedAtMs = nowMs
    this.#stats.viewExchangesTotal++
    this.#effects.push({ type: 'exchange', peer })
  }

  #agrees(contact: Contact): boolean {
    return contact.theirHash === this.#view.hash
  }

  #leave(): void {
    this.#tellOfSelf({ ...this.#self, status: 'left', incarnation: this.#self.incarnation + 1 })
    // An exchange that is under way may carry the old record: this one is begun all the same.
    for (const [peer, contact] of this.#contacts) if (contact.linked) this.#effects.push({ type: 'exchange', peer })
  }

  #contact(peer: PeerId, addresses: readonly Address[], nowMs: number): Contact {
    const known = this.#contacts.get(peer)
    if (known !== undefined) return known
    const firstDialMs = this.#self.id < peer || this.#self.addresses.length === 0 ? 0 : POLITE_DIAL_MS
    const contact = new Contact(addresses, nowMs, firstDialMs)
    // Beyond the cap it is spoken to while it is linked, and not sought.
    if (this.#contacts.size >= CONTACTS_MAX) return contact
    this.#contacts.set(peer, contact)
    this.#dialIfDue(peer, contact, nowMs)
    return contact
  }

  #told(record: MemberRecord): MemberFields {
    const reached = record.id === this.#self.id || this.#contacts.get(record.id)?.linked === true
    return { ...record, reached }
  }
}

/** Two that only dial can never link to each other; the members between them see to both. */
function canMeet(a: MemberRecord, b: MemberRecord): boolean {
  return a.addresses.length > 0 || b.addresses.length > 0
}

function sameRecord(a: MemberRecord, b: MemberRecord): boolean {
  return !supersedes(a, b) && !supersedes(b, a)
}
