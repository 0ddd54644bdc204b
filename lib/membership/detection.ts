/**
 * Who still lives. SWIM with Lifeguard's care, on links instead of datagrams:
 *
 *   ping ──(no word)──▶ ping again, and ask three others whether they hear it
 *     any of them hears it  ─▶ only our path is broken: it keeps its place, our link is made anew
 *     none                  ─▶ suspect; told to all, and to itself
 *     it answers anybody    ─▶ it raises its incarnation and is alive again
 *     nobody hears of it    ─▶ dead; the sooner, the more others have suspected it on their own
 *
 * A member pings one other at a time, the one whose link has been silent longest. So the cost does not grow with the
 * mesh, and a mesh of a few is watched closely. Among many it is the longest silent of a few drawn by chance: members
 * that were started together would otherwise all ping the same one, and come back to it minutes later. With chance,
 * somebody always pings the one that died. A link whose socket has closed needs no ping: a redial that fails, and
 * others that hear nothing either, are enough.
 *
 * A member that ran late gives everybody more time, and one that stood still forgets what it thought of others.
 */
import type { PeerId } from '../ports/transport.ts'
import type { MemberFields } from '../rpc/messages.ts'
import type { Contact } from './contact.ts'
import { Health } from './health.ts'
import type { Roster } from './roster.ts'
import { isPresent, type MemberRecord } from './view.ts'

const PING_EVERY_MS = 400
const PING_MS = 500
const INQUIRY_MS = 600
const INQUIRED_MAX = 3
/** Who is asked tries for this long, so that its answer is back in time, also a bad one. */
const ASKED_MS = 300
/** A member that is silent for us alone is asked about again after this long. */
const INQUIRY_EVERY_MS = 1_000
/** Without a link, each redial that fails is a reason to ask, but not more often than this. */
const REDIALLED_EVERY_MS = 200
/** A link on which nothing has been heard for this long is made anew. */
const SILENCE_MS_MAX = 4_000
/** How long a suspect may speak up: less as others confirm, more in large meshes, where word travels longer. */
const SUSPICION_MS_MIN = 1_500
const SUSPICION_MS_MAX = 3_000
const CONFIRMATIONS_WANTED = 3
const REMINDER_EVERY_MS = 1_000
const ASKERS_MAX = 64
/** Up to this many members all links are compared, and everybody may ask at once when one dies. */
const FEW = 16
/** Links compared among more than a few. */
const DRAWN = 8

interface Suspicion {
  readonly incarnation: number
  sinceMs: number
  /** Who has met its silence itself; no more of them than make a difference, for gossip may name any number. */
  readonly by: Set<PeerId>
}

export class Detection {
  readonly #roster: Roster
  readonly #health = new Health()
  readonly #suspicions = new Map<PeerId, Suspicion>()
  /** Contacts that owe us a word, or about which others are being asked. */
  readonly #watched = new Set<Contact>()
  #nextPingAtMs = 0

  constructor(roster: Roster) {
    this.#roster = roster
  }

  get healthScore(): number {
    return this.#health.score
  }

  heard(contact: Contact, nowMs: number): void {
    contact.heardAtMs = nowMs
    this.#roster.ownSuspects.delete(contact.peer)
    if (!this.#watched.has(contact)) return
    if (contact.unansweredSinceMs !== undefined) this.#health.improve()
    this.#unwatch(contact)
    this.#answerAskers(contact, true)
  }

  linkDown(contact: Contact): void {
    this.#unwatch(contact)
    this.#answerAskers(contact, false)
  }

  /** Our own loop ran late by so much. */
  ranLate(lateMs: number): void {
    this.#health.ranLate(lateMs)
  }

  /** We stood still: others may have spoken, and we have not listened yet. */
  stoodStill(nowMs: number): void {
    for (const contact of this.#watched) {
      contact.askers.clear()
      this.#unwatch(contact)
    }
    for (const suspicion of this.#suspicions.values()) suspicion.sinceMs = nowMs
  }

  tick(nowMs: number): void {
    for (const contact of this.#watched) this.#follow(contact, nowMs)
    for (const [id, suspicion] of this.#suspicions) this.#judge(id, suspicion, nowMs)
    if (nowMs < this.#nextPingAtMs) return
    this.#nextPingAtMs = nowMs + PING_EVERY_MS * this.#health.patience
    const quietest = this.#quietest(nowMs)
    if (quietest !== undefined) this.ping(quietest, nowMs)
  }

  #quietest(nowMs: number): Contact | undefined {
    const { random } = this.#roster
    const owing = this.#roster.linked().filter(contact => contact.unansweredSinceMs === undefined)
    const drawn =
      owing.length <= FEW ? owing : Array.from({ length: DRAWN }, () => owing[random.integer(owing.length)] as Contact)
    let quietest: Contact | undefined
    for (const contact of drawn)
      if (quietest === undefined || contact.heardAtMs < quietest.heardAtMs) quietest = contact
    return quietest !== undefined && nowMs - quietest.heardAtMs >= PING_EVERY_MS ? quietest : undefined
  }

  ping(contact: Contact, nowMs: number): void {
    contact.unansweredSinceMs ??= nowMs
    contact.pingedAtMs = nowMs
    this.#watched.add(contact)
    const { view } = this.#roster
    this.#roster.send(contact.peer, {
      type: 'ping',
      stateHash: view.stateHash,
      news: this.#roster.newsFor(contact.peer)
    })
  }

  /** It owes an answer to somebody else in this process: is it there at all? */
  missed(contact: Contact, nowMs: number): void {
    if (contact.linked && contact.unansweredSinceMs === undefined) this.ping(contact, nowMs)
  }

  /** Another member asks us to try one that it does not hear. */
  probed(by: PeerId, peer: PeerId, nowMs: number): void {
    const contact = this.#roster.contacts.get(peer)
    if (contact?.linked !== true || contact.askers.size >= ASKERS_MAX) {
      this.#roster.send(by, { type: 'probed', peer, heard: false })
      return
    }
    contact.askers.set(by, nowMs + ASKED_MS)
    this.ping(contact, nowMs)
  }

  #answerAskers(contact: Contact, heard: boolean): void {
    for (const by of contact.askers.keys()) this.#roster.send(by, { type: 'probed', peer: contact.peer, heard })
    contact.askers.clear()
  }

  /** The answer of one that we asked. */
  answered(by: PeerId, peer: PeerId, heard: boolean, nowMs: number): void {
    const contact = this.#roster.contacts.get(peer)
    const inquiry = contact?.inquiry
    if (contact === undefined || inquiry === undefined || !inquiry.waitingFor.delete(by)) return
    if (heard) this.#heardByOthers(contact)
    // On an open link it still has its time to answer us.
    else if (inquiry.waitingFor.size === 0 && !contact.linked) this.#heardByNobody(contact, nowMs)
  }

  /** A member without a link cannot be reached: are we the only one? */
  missing(contact: Contact, nowMs: number): void {
    if (contact.inquiry !== undefined || nowMs < contact.nextInquiryAtMs) return
    if (this.#roster.view.present().length <= FEW) this.#inquire(contact, nowMs)
    else this.#watched.add(contact)
  }

  #follow(contact: Contact, nowMs: number): void {
    for (const [by, untilMs] of contact.askers) {
      if (nowMs < untilMs) continue
      contact.askers.delete(by)
      this.#roster.send(by, { type: 'probed', peer: contact.peer, heard: false })
    }
    const { inquiry, linked, unansweredSinceMs } = contact
    const silentMs = unansweredSinceMs === undefined ? 0 : nowMs - unansweredSinceMs
    if (inquiry !== undefined && nowMs >= inquiry.untilMs) this.#timeIsUp(contact, inquiry.waitingFor.size, nowMs)
    else if (inquiry !== undefined) return
    else if (linked && silentMs > SILENCE_MS_MAX) this.#closeSilent(contact)
    else if (nowMs >= contact.nextInquiryAtMs)
      if (!linked || silentMs >= PING_MS * this.#health.patience) this.#inquire(contact, nowMs)
  }

  /** A few others try it; one that hears it is enough: a broken path between two must not cost either its place. */
  #inquire(contact: Contact, nowMs: number): void {
    const known = this.#roster.view.get(contact.peer)
    if (known === undefined || !isPresent(known)) return this.#forgetSilence(contact, nowMs)
    const others = this.#roster.linked().filter(other => other !== contact)
    const waitingFor = new Set<PeerId>()
    while (waitingFor.size < INQUIRED_MAX && others.length > 0) {
      const [other] = others.splice(this.#roster.random.integer(others.length), 1) as [Contact]
      waitingFor.add(other.peer)
      this.#roster.send(other.peer, { type: 'probe', peer: contact.peer })
    }
    contact.inquiry = { untilMs: nowMs + INQUIRY_MS * this.#health.patience, waitingFor }
    contact.nextInquiryAtMs = nowMs + (contact.linked ? INQUIRY_EVERY_MS : REDIALLED_EVERY_MS)
    this.#watched.add(contact)
    if (contact.linked) this.ping(contact, nowMs)
    else if (waitingFor.size === 0) this.#heardByNobody(contact, nowMs)
  }

  /** One that is not in the view is nobody to be asked about; its silent link ends all the same. */
  #forgetSilence(contact: Contact, nowMs: number): void {
    if (!contact.linked) this.#unwatch(contact)
    else if (nowMs - contact.pingedAtMs > REMINDER_EVERY_MS) this.ping(contact, nowMs)
  }

  #timeIsUp(contact: Contact, unanswered: number, nowMs: number): void {
    // Those we asked owe us an answer either way: without one, the fault may be ours.
    this.#health.worsen(unanswered)
    this.#heardByNobody(contact, nowMs)
  }

  #heardByOthers(contact: Contact): void {
    contact.inquiry = undefined
    if (!contact.linked) this.#unwatch(contact)
  }

  #heardByNobody(contact: Contact, nowMs: number): void {
    contact.inquiry = undefined
    if (!contact.linked) this.#unwatch(contact)
    const known = this.#roster.view.get(contact.peer)
    if (known === undefined || !isPresent(known)) return
    if (contact.linked) this.#suspect(known, nowMs)
    else this.#bury(known, nowMs)
  }

  #suspect(known: MemberRecord, nowMs: number): void {
    if (this.#roster.ownSuspects.has(known.id)) return
    this.#roster.ownSuspects.add(known.id)
    const suspicion = this.#suspicionOf(known, nowMs)
    // Heard since others suspected it, and silent again: its time begins anew.
    if ((this.#roster.contacts.get(known.id)?.heardAtMs ?? 0) > suspicion.sinceMs) suspicion.sinceMs = nowMs
    // Once enough have confirmed, one more would only be noise: a thousand would say it at once.
    if (!isWanted(suspicion)) return
    suspicion.by.add(this.#roster.self.id)
    this.#roster.declare(known, 'suspect', nowMs)
  }

  /** Others suspect a member: we try it ourselves, and tell it on the way. */
  hearsay(teller: PeerId, told: MemberFields, nowMs: number): void {
    const known = this.#roster.view.get(told.id)
    if (known?.status !== 'suspect' || known.incarnation !== told.incarnation || known.boot !== told.boot) return
    const suspicion = this.#suspicionOf(known, nowMs)
    if (told.firstHand && isWanted(suspicion)) suspicion.by.add(teller)
    const contact = this.#roster.contacts.get(told.id)
    if (contact?.linked === true && contact.pingedAtMs < suspicion.sinceMs) this.ping(contact, nowMs)
  }

  #suspicionOf(known: MemberRecord, nowMs: number): Suspicion {
    const before = this.#suspicions.get(known.id)
    if (before?.incarnation === known.incarnation) return before
    const suspicion = { incarnation: known.incarnation, sinceMs: nowMs, by: new Set<PeerId>() }
    this.#suspicions.set(known.id, suspicion)
    return suspicion
  }

  #judge(id: PeerId, suspicion: Suspicion, nowMs: number): void {
    const known = this.#roster.view.get(id)
    const contact = this.#roster.contacts.get(id)
    if (known?.status !== 'suspect' || known.incarnation !== suspicion.incarnation) this.#suspicions.delete(id)
    else if (contact?.linked === true && contact.heardAtMs > suspicion.sinceMs) this.#remind(contact, nowMs)
    else if (nowMs - suspicion.sinceMs >= this.#patienceMs(suspicion)) this.#bury(known, nowMs)
  }

  /** It lives, for us: it only has to hear that others doubt it. */
  #remind(contact: Contact, nowMs: number): void {
    if (nowMs - contact.pingedAtMs >= REMINDER_EVERY_MS) this.ping(contact, nowMs)
  }

  #patienceMs({ by }: Suspicion): number {
    const members = this.#roster.view.present().length
    const scale = Math.max(1, Math.log10(members))
    const wanted = Math.min(CONFIRMATIONS_WANTED, members - 2)
    const confirmed = wanted <= 0 ? 1 : Math.log(Math.max(by.size, 1)) / Math.log(wanted + 1)
    return scale * Math.max(SUSPICION_MS_MIN, SUSPICION_MS_MAX - (SUSPICION_MS_MAX - SUSPICION_MS_MIN) * confirmed)
  }

  #bury(known: MemberRecord, nowMs: number): void {
    this.#suspicions.delete(known.id)
    const contact = this.#roster.contacts.get(known.id)
    if (contact !== undefined) contact.everLinked = false
    this.#roster.declare(known, 'dead', nowMs)
    if (contact?.linked === true && contact.unansweredSinceMs !== undefined) this.#closeSilent(contact)
  }

  #closeSilent(contact: Contact): void {
    this.#unwatch(contact)
    this.#roster.stats.linksSilentTotal++
    this.#roster.do({ type: 'close', peer: contact.peer, reason: 'silent for too long' })
  }

  #unwatch(contact: Contact): void {
    contact.unansweredSinceMs = undefined
    contact.inquiry = undefined
    this.#watched.delete(contact)
  }
}

/** One confirmation more would still shorten it. */
function isWanted({ by }: Suspicion): boolean {
  return by.size <= CONFIRMATIONS_WANTED
}
