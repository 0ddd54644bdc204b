/**
 * Who is storing which key in the origin at this moment, known at the key's owner.
 *
 * A writer that stores first and caches then has no lock on either, and two of them may pass each other in between:
 *
 *   1. A stores 1 ─ B stores 2 ─ B caches 2 ─ A caches 1: the cache has 1 and the origin 2, until the TTL is over.
 *   2. A stores 1 and dies: the cache has the value of before.
 *   3. A stores 1 at the same time as B stores 2: nobody but the origin knows which of them came last.
 *
 * So a writer takes a ticket before it stores and hands it back with the value. Tickets that were open at the same
 * time are contested: what is handed back with one is not kept, the key is left without a value, and the next read asks
 * the origin. A ticket that does not come back in its time leaves the key without a value too. One that is not known
 * here (the key has moved, its time was over) counts as contested and makes the others so. That no value is kept is
 * always allowed; that an old one is kept never is.
 *
 * A comparison stores alone: two that compare with the same version must not both reach the origin. Others are told to
 * come again; they do, until their time is over. This is as good as the owner: two sides of a split have one each.
 *
 *   none ─▶ open, alone ─▶ handed back: kept
 *             └─ another opens ─▶ contested ─▶ handed back: not kept
 *   open, exclusive ─▶ handed back: kept · whoever else comes meanwhile is told: busy
 *
 * Not promised: order in an origin that is still at work on a `store` which has timed out, or whose writer has died.
 */
import { recordName } from '../base/record-name.ts'
import type { Cancel, Clock } from '../ports/clock.ts'
import type { Random } from '../ports/random.ts'
import type { Kept } from '../store/keeping.ts'

/** Stores under way for the keys of one member. */
const TICKETS_MAX = 65_536
/** Nobody stores for longer. */
const LIFE_MS_MAX = 60 * 60_000

export interface Ticket {
  readonly number: number
  /** How the value that a comparison replaces is kept, for one that keeps that. */
  readonly kept: Kept | undefined
}

interface OpenTicket extends Ticket {
  readonly exclusive: boolean
  isContested: boolean
  readonly disarm: Cancel
}

interface Storing {
  readonly partition: number
  readonly open: Map<number, OpenTicket>
}

export interface TicketTerms {
  readonly partition: number
  readonly exclusive: boolean
  readonly kept: Kept | undefined
  readonly lifeMs: number
}

export interface TicketsDeps {
  readonly clock: Clock
  readonly random: Random
  /** A ticket has not come back in its time: the origin may have what we do not know of. */
  readonly onOverdue: (namespace: string, key: string) => void
}

export class Tickets {
  readonly #deps: TicketsDeps
  readonly #byKey = new Map<string, Storing>()
  #size = 0

  constructor(deps: TicketsDeps) {
    this.#deps = deps
  }

  get isFull(): boolean {
    return this.#size >= TICKETS_MAX
  }

  /** Whether somebody has to end first. */
  isBusy(namespace: string, key: string, exclusive: boolean): boolean {
    const storing = this.#byKey.get(recordName(namespace, key))
    if (storing === undefined) return false
    return exclusive || [...storing.open.values()].some(ticket => ticket.exclusive)
  }

  open(namespace: string, key: string, { partition, exclusive, kept, lifeMs }: TicketTerms): Ticket {
    const name = recordName(namespace, key)
    const storing = this.#byKey.get(name) ?? { partition, open: new Map<number, OpenTicket>() }
    this.#byKey.set(name, storing)
    const number = 1 + this.#deps.random.integer(Number.MAX_SAFE_INTEGER - 1)
    const disarm = this.#deps.clock.after(Math.max(1, Math.min(lifeMs, LIFE_MS_MAX)), () => {
      this.#take(name, number)
      this.#deps.onOverdue(namespace, key)
    })
    contest(storing)
    const ticket = { number, exclusive, kept, disarm, isContested: storing.open.size > 0 }
    storing.open.set(number, ticket)
    this.#size++
    return ticket
  }

  /** Undefined when it is not known whether the origin has what it is handed back with. */
  close(namespace: string, key: string, number: number): Ticket | undefined {
    const name = recordName(namespace, key)
    const ticket = this.#take(name, number)
    if (ticket !== undefined) return ticket.isContested ? undefined : ticket
    const storing = this.#byKey.get(name)
    if (storing !== undefined) contest(storing)
    return undefined
  }

  /** The key has changed beside them: what is handed back with those that are open may be older, and is not kept. */
  contest(namespace: string, key: string): void {
    const storing = this.#byKey.get(recordName(namespace, key))
    if (storing !== undefined) contest(storing)
  }

  /** Another member has the say now, and does not know them: they will be contested there. */
  lose(lost: (partition: number) => boolean): void {
    for (const [name, { partition, open }] of this.#byKey) {
      if (!lost(partition)) continue
      for (const number of [...open.keys()]) this.#take(name, number)
    }
  }

  #take(name: string, number: number): OpenTicket | undefined {
    const storing = this.#byKey.get(name)
    const ticket = storing?.open.get(number)
    if (storing === undefined || ticket === undefined) return undefined
    ticket.disarm()
    this.#size--
    storing.open.delete(number)
    if (storing.open.size === 0) this.#byKey.delete(name)
    return ticket
  }
}

function contest({ open }: Storing): void {
  for (const ticket of open.values()) ticket.isContested = true
}
