/**
 * The way to members without a link. Nobody is given up: who is gone is dialled on, more and more seldom, so that every
 * split heals by itself.
 */
import type { PeerId } from '../ports/transport.ts'
import type { Contact } from './contact.ts'
import type { Roster } from './roster.ts'
import { isPresent } from './view.ts'

/** A link that has held this long has proved itself. */
const STEADY_MS = 1_000
const REDIAL_MS = 100
const REDIAL_MS_MAX = 2_000
/** After this long a gone member is dialled seldom. */
const RECENTLY_MS = 60_000
const REDIAL_SELDOM_MS = 30_000
/** A member never linked, only heard of, is doubted when no dial has reached it for this long. */
const UNREACHABLE_MS_MAX = 10_000
/** A member without addresses can only come to us; it gets this long to come back. */
const RETURN_MS_MAX = 3_000
const DIALS_AT_ONCE = 64

export class Dials {
  readonly #roster: Roster
  /** The latest dial to each, and when it was begun. */
  readonly #underWay = new Map<PeerId, number>()

  constructor(roster: Roster) {
    this.#roster = roster
  }

  linkUp(contact: Contact, nowMs: number): void {
    contact.linked = true
    contact.everLinked = true
    contact.linkedAtMs = nowMs
    this.#underWay.delete(contact.peer)
  }

  /**
   * A link that held is worth a redial at once; one that fell at once is not, or two that cannot bear each other would
   * dial without a pause.
   */
  linkDown(contact: Contact, nowMs: number): void {
    contact.linked = false
    contact.unlinkedSinceMs = nowMs
    const held = nowMs - contact.linkedAtMs >= STEADY_MS
    contact.dialFailures = held ? 0 : contact.dialFailures + 1
    contact.nextDialAtMs = held ? nowMs : nowMs + this.#redialMs(contact, nowMs)
    this.dialIfDue(contact, nowMs)
  }

  /** A dial came to nothing, or to a link that was refused. */
  failed(contact: Contact, nowMs: number): void {
    this.#underWay.delete(contact.peer)
    if (contact.linked) return
    contact.dialFailures++
    contact.nextDialAtMs = nowMs + this.#redialMs(contact, nowMs)
  }

  forget(peer: PeerId): void {
    this.#underWay.delete(peer)
    this.#roster.contacts.delete(peer)
  }

  /** Whether a member of the view has been out of reach for so long that others should be asked about it. */
  isDoubtful(contact: Contact, nowMs: number): boolean {
    if (contact.linked) return false
    if (contact.addresses.length > 0 && contact.everLinked) return contact.dialFailures > 0
    const patienceMs = contact.addresses.length === 0 ? RETURN_MS_MAX : UNREACHABLE_MS_MAX
    return nowMs - contact.unlinkedSinceMs > patienceMs
  }

  seek(contact: Contact, nowMs: number): void {
    const known = this.#roster.view.get(contact.peer)
    const isGone = known === undefined || !isPresent(known)
    if (known?.status === 'left' || (isGone && contact.addresses.length === 0)) return this.forget(contact.peer)
    // Somebody else has met it again while we still dialled it as one that is gone.
    if (!isGone && contact.nextDialAtMs - nowMs > REDIAL_MS_MAX * 2) contact.nextDialAtMs = nowMs + REDIAL_MS
    this.dialIfDue(contact, nowMs)
  }

  dialIfDue(contact: Contact, nowMs: number): void {
    const { peer, linked, addresses, nextDialAtMs } = contact
    if (linked || nowMs < nextDialAtMs || addresses.length === 0) return
    if (this.#roster.hasLeft || this.#roster.view.get(peer)?.status === 'left') return
    const sinceMs = this.#underWay.get(peer)
    // One that was begun before somebody met it again may hang in a cut that has long healed.
    if (sinceMs === undefined ? this.#underWay.size >= DIALS_AT_ONCE : contact.backAtMs <= sinceMs) return
    this.#underWay.set(peer, nowMs)
    this.#roster.do({ type: 'dial', peer, addresses })
  }

  #redialMs(contact: Contact, nowMs: number): number {
    const known = this.#roster.view.get(contact.peer)
    const isHere = known !== undefined && isPresent(known)
    const recent = isHere || nowMs - contact.unlinkedSinceMs < RECENTLY_MS
    const capMs = recent ? REDIAL_MS_MAX : REDIAL_SELDOM_MS
    const backoffMs = Math.min(capMs, REDIAL_MS * 2 ** Math.min(contact.dialFailures, 16))
    return backoffMs * (0.75 + this.#roster.random.float() / 2)
  }
}
