/**
 * What a member knows of itself and of others, in one place: the view, the way to each member, and what is to be done
 * next. The three that decide (`dials`, `detection`, `agreement`) read here and change the view through here alone.
 */
import type { Stats } from '../observe/stats.ts'
import type { Random } from '../ports/random.ts'
import type { Address, PeerId } from '../ports/transport.ts'
import type { MemberFields, MemberTalk } from '../rpc/messages.ts'
import { Contact } from './contact.ts'
import { News } from './news.ts'
import { isPresent, type MemberRecord, NOBODY, printOf, supersedes, type View } from './view.ts'

/** Beyond it nobody is sought for whom there is only a rumour. */
const CONTACTS_MAX = 4096
/** The member with the higher id leaves the first dial to the other, so that two do not dial each other at once. */
const POLITE_DIAL_MS = 700
const GONE_KEPT_MS = 24 * 3_600_000
/** A death of ours heard this soon after standing still was declared meanwhile. */
const AWAKE_AGAIN_MS = 10_000
const PRUNE_EVERY_MS = 60_000
/** Who is called dead and is linked to us contradicts within one message; by then it is believed. */
const CONTRADICT_MS_MAX = 500

export type Effect =
  | { type: 'dial'; peer: PeerId; addresses: readonly Address[] }
  | { type: 'send'; peer: PeerId; message: MemberTalk }
  | { type: 'close'; peer: PeerId; reason: string }
  | { type: 'gossip'; records: readonly MemberFields[] }
  /** An exchange of views has ended, well or not. */
  | { type: 'exchanged'; peer: PeerId }
  | { type: 'viewChanged'; before: View; after: View }
  /** Others took over what we own, for however short a time. Asleep, we have missed what came for our copies too. */
  | { type: 'buried'; wasAsleep: boolean }
  /** After a doubt about our own view: it is as good as anybody's again. */
  | { type: 'certain' }

export class Roster {
  readonly contacts = new Map<PeerId, Contact>()
  readonly stats: Stats
  readonly random: Random
  readonly #news = new News()
  /** Since when a member has been gone, so that its record can be forgotten one day. */
  readonly #goneSinceMs = new Map<PeerId, number>()
  /** Suspects whose silence we have met ourselves. */
  readonly ownSuspects = new Set<PeerId>()
  /** When we last came to after standing still for so long that others may have buried us. */
  stoodStillAtMs = Number.NEGATIVE_INFINITY
  /** Since then we do not trust our own view. */
  doubtSinceMs: number | undefined
  /** The last of our incarnations that we know to have been buried, and to have been dug out again. */
  #buriedAs = 0
  #backAs = 0
  #self: MemberRecord
  #view: View
  #effects: Effect[] = []
  #nextPruneAtMs = 0

  constructor(self: MemberRecord, random: Random, stats: Stats) {
    this.#self = self
    this.#view = NOBODY.with(self)
    this.random = random
    this.stats = stats
  }

  get self(): MemberRecord {
    return this.#self
  }

  get view(): View {
    return this.#view
  }

  get hasLeft(): boolean {
    return this.#self.status === 'left'
  }

  do(effect: Effect): void {
    this.#effects.push(effect)
  }

  send(peer: PeerId, message: MemberTalk): void {
    this.do({ type: 'send', peer, message })
  }

  /** What was decided since the last call. */
  takeEffects(): Effect[] {
    const effects = this.#effects
    this.#effects = []
    return effects
  }

  linked(): Contact[] {
    return [...this.contacts.values()].filter(contact => contact.linked)
  }

  /** A record as we tell it. */
  told(record: MemberRecord): MemberFields {
    return { ...record, firstHand: this.#knowsItself(record) }
  }

  #knowsItself({ id, status }: MemberRecord): boolean {
    if (id === this.#self.id) return true
    return status === 'suspect' ? this.ownSuspects.has(id) : this.contacts.get(id)?.linked === true
  }

  /** Records of members here whose prints are not among these, as we tell them. */
  tellUnknown(prints: ReadonlySet<number>): MemberFields[] {
    const unknown = this.#view.present().filter(record => !prints.has(printOf(record)))
    return unknown.map(record => this.told(record))
  }

  tellByPrint(prints: ReadonlySet<number>): MemberFields[] {
    const wanted = this.#view.present().filter(record => prints.has(printOf(record)))
    return wanted.map(record => this.told(record))
  }

  /** What rides on a ping to this peer: the latest news, and what it must hear about itself. */
  newsFor(peer: PeerId): MemberFields[] {
    const records = this.#news.take(this.#view)
    const own = this.#view.get(peer)
    if (own !== undefined && own.status !== 'alive' && !records.includes(own)) records.push(own)
    return records.map(record => this.told(record))
  }

  /**
   * Takes in what another member tells. The answer is what it seems not to know: our records that overrule its own.
   * `spread`: it is news to others too.
   */
  hear(records: readonly MemberFields[], nowMs: number, spread: boolean): MemberRecord[] {
    const believed: MemberRecord[] = []
    for (const record of records) {
      if (record.id === this.#self.id) this.#hearOfSelf(record, records, nowMs)
      else if (this.#isContestable(record)) this.#contest(record, nowMs)
      else if (this.#isCredible(record)) believed.push(withoutTeller(record))
      // Only rumoured: believed once we have reached it ourselves, or somebody who has tells us (PROTOCOL M2).
      else if (isPresent(record) && this.contacts.size < CONTACTS_MAX)
        this.contactOf(record.id, record.addresses, nowMs)
    }
    this.#merge(believed, nowMs, spread)
    return records.flatMap(record => {
      const known = this.#view.get(record.id)
      return known !== undefined && supersedes(known, record) ? [known] : []
    })
  }

  /** A member that is gone and that we never knew is nothing to us. */
  #isCredible(record: MemberFields): boolean {
    if (this.#view.get(record.id) !== undefined) return true
    return record.status === 'alive' && record.firstHand
  }

  /** Said to be dead, and here it is linked and alive: as after a split, whose other side has given it up. */
  #isContestable(record: MemberFields): boolean {
    const known = this.#view.get(record.id)
    if (record.status !== 'dead' || known?.status !== 'alive' || known.boot !== record.boot) return false
    return supersedes(record, known) && this.contacts.get(record.id)?.linked === true
  }

  /** It hears of that from us, and we go on with it until its answer is here. */
  #contest(record: MemberFields, nowMs: number): void {
    const contact = this.contacts.get(record.id) as Contact
    if (contact.claim !== undefined && !supersedes(record, contact.claim.record)) return
    contact.claim = { record: withoutTeller(record), untilMs: nowMs + CONTRADICT_MS_MAX }
    this.send(contact.peer, { type: 'news', records: [this.told(record)] })
  }

  /** It has not contradicted: it could not, or its link has gone. */
  believe(contact: Contact, nowMs: number): void {
    const { claim } = contact
    contact.claim = undefined
    if (claim !== undefined) this.#merge([claim.record], nowMs, true)
  }

  /** Somebody thinks otherwise of us: an old boot of ours, or a death that was none. We have the last word. */
  #hearOfSelf(record: MemberFields, told: readonly MemberFields[], nowMs: number): void {
    if (this.hasLeft) return
    if (record.status === 'dead') this.#hearOfBurial(record, told, nowMs)
    if (!supersedes(record, this.#self)) return
    // In doubt we wait for the whole truth, which is told sooner to one that has not contradicted.
    if (record.status === 'suspect' && this.doubtSinceMs !== undefined) return
    if (record.status === 'dead') this.stats.deathsRefutedTotal++
    else if (record.status === 'suspect') this.stats.suspicionsRefutedTotal++
    this.tellOfSelf({ ...this.#self, incarnation: record.incarnation + 1 })
  }

  /**
   * Once when we hear of it, also where we have contradicted a suspicion before: who buried us did not know yet. And once
   * when we are back, for until then others have gone on without us.
   */
  #hearOfBurial({ id, boot, incarnation }: MemberFields, told: readonly MemberFields[], nowMs: number): void {
    if (boot !== this.#self.boot) return
    const isBack = (each: MemberFields): boolean => each.id === id && each.boot === boot && each.status === 'alive'
    const back = told.find(each => isBack(each) && each.incarnation > incarnation)
    if (back === undefined ? incarnation <= this.#buriedAs : back.incarnation <= this.#backAs) return
    this.#buriedAs = Math.max(this.#buriedAs, incarnation)
    this.#backAs = Math.max(this.#backAs, back?.incarnation ?? 0)
    this.do({ type: 'buried', wasAsleep: nowMs - this.stoodStillAtMs < AWAKE_AGAIN_MS })
  }

  tellOfSelf(self: MemberRecord): void {
    this.#self = self
    this.#view = this.#view.with(self)
    this.#news.add(self.id, this.#view)
    this.#gossip(self)
  }

  /** Our own finding about another member; spread at once. */
  declare(known: MemberRecord, status: 'suspect' | 'dead', nowMs: number): void {
    this.#merge([{ ...known, status }], nowMs, true)
    this.#gossip({ ...known, status })
  }

  /** A newcomer that we have just met: we are among the first to know. */
  introduce(record: MemberFields, nowMs: number): void {
    const before = this.#view.stateHash
    this.#merge([withoutTeller(record)], nowMs, true)
    if (this.#view.stateHash !== before) this.#gossip(record)
  }

  #gossip(record: MemberRecord): void {
    this.do({ type: 'gossip', records: [this.told(record)] })
  }

  #merge(records: readonly MemberRecord[], nowMs: number, spread: boolean): void {
    const before = this.#view
    this.#view = before.with(...records)
    if (this.#view === before) return
    for (const record of records) {
      const [was, now] = [before.get(record.id), this.#view.get(record.id)]
      if (now !== record || was === record) continue
      if (spread) this.#news.add(record.id, this.#view)
      this.#follow(was, record, nowMs)
    }
  }

  #follow(was: MemberRecord | undefined, record: MemberRecord, nowMs: number): void {
    if (record.status !== 'suspect') this.ownSuspects.delete(record.id)
    const contact = this.contactOf(record.id, record.addresses, nowMs)
    contact.addresses = record.addresses
    if (isPresent(record)) {
      // It is back, somebody says: not a time to go on dialling seldom.
      if (this.#goneSinceMs.delete(record.id)) {
        contact.backAtMs = nowMs
        contact.nextDialAtMs = Math.min(contact.nextDialAtMs, nowMs)
      }
      if (was?.status === 'dead') contact.burial = was.boot === record.boot ? { as: was, back: record } : undefined
      if (was?.status === 'dead' && contact.linked) this.tellBurial(contact)
      return
    }
    this.#goneSinceMs.set(record.id, nowMs)
    if (was !== undefined && isPresent(was)) contact.unlinkedSinceMs = nowMs
  }

  /** It may have contradicted a mere suspicion, and not know that we went on without it until now. */
  tellBurial({ peer, burial }: Contact): void {
    if (burial !== undefined) this.send(peer, { type: 'news', records: [this.told(burial.as), this.told(burial.back)] })
  }

  contactOf(peer: PeerId, addresses: readonly Address[], nowMs: number): Contact {
    const known = this.contacts.get(peer)
    if (known !== undefined) return known
    const firstDialMs = this.#self.id < peer || this.#self.addresses.length === 0 ? 0 : POLITE_DIAL_MS
    const contact = new Contact(peer, addresses, nowMs, firstDialMs)
    this.contacts.set(peer, contact)
    return contact
  }

  /** Records of the gone are forgotten after a day: nobody still believes otherwise by then. */
  prune(nowMs: number): void {
    if (nowMs < this.#nextPruneAtMs) return
    this.#nextPruneAtMs = nowMs + PRUNE_EVERY_MS
    const old = [...this.#goneSinceMs].filter(([, sinceMs]) => nowMs - sinceMs > GONE_KEPT_MS).map(([id]) => id)
    if (old.length === 0) return
    for (const id of old) {
      this.#goneSinceMs.delete(id)
      if (this.contacts.get(id)?.linked !== true) this.contacts.delete(id)
    }
    this.#view = this.#view.without(new Set(old))
  }
}

function withoutTeller({ firstHand: _, ...record }: MemberFields): MemberRecord {
  return record
}
