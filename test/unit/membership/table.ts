import { type MembershipEvent, Protocol } from '../../../lib/membership/protocol.ts'
import type { Effect } from '../../../lib/membership/roster.ts'
import type { MemberRecord } from '../../../lib/membership/view.ts'
import { Stats } from '../../../lib/observe/stats.ts'
import type { MemberFields, MemberTalk } from '../../../lib/rpc/messages.ts'
import { seededRandom } from '../../../lib/sim/random.ts'
import { record } from '../../member-record.ts'

/** A protocol whose time the test holds; by name it lies between its peers `a` and `z`. */
export class Table {
  nowMs = 1_000
  awaited = false
  readonly stats = new Stats()
  readonly protocol: Protocol
  /** Peers that answer what they are asked at once, and always agree. */
  readonly #answering = new Set<string>()

  constructor(over: Partial<MemberRecord> = {}) {
    const { firstHand: _, ...self } = record('m')
    this.protocol = new Protocol({
      self: { ...self, ...over },
      random: seededRandom(1),
      stats: this.stats,
      nowMs: this.nowMs
    })
  }

  step(event: MembershipEvent): Effect[] {
    const effects = this.protocol.step(event, this.nowMs)
    for (const { peer, message } of only(effects, 'send'))
      if (this.#answering.has(peer)) effects.push(...this.#answer(peer, message))
    // A link that we close is down.
    for (const { peer } of only(effects, 'close'))
      effects.push(...this.protocol.step({ type: 'linkDown', peer }, this.nowMs))
    return effects
  }

  #answer(peer: string, message: MemberTalk): Effect[] {
    const { hash, stateHash } = this.protocol.view
    if (message.type === 'ping')
      return [...this.heard(peer, hash), ...this.message(peer, { type: 'pong', stateHash, news: [] })]
    if (message.type === 'view')
      return this.message(peer, { type: 'digest', round: message.round, same: true, certain: true, prints: [] })
    return []
  }

  /** A link comes up; the exchange of views that begins with it is left open. */
  linkUp(peer: string, over: Partial<MemberFields> = {}): Effect[] {
    return this.step({ type: 'linkUp', peer, record: record(peer, over) })
  }

  /** A link comes up to a peer that agrees and then falls silent; the answer is what the link led to. */
  up(peer: string, over: Partial<MemberFields> = {}): Effect[] {
    const effects = this.linkUp(peer, over)
    this.agrees(peer, effects)
    return effects
  }

  /** Links to peers that answer whatever they are asked, until `silence`. */
  meet(...peers: string[]): void {
    for (const peer of peers) {
      this.#answering.add(peer)
      this.linkUp(peer)
    }
  }

  silence(...peers: string[]): void {
    for (const peer of peers) this.#answering.delete(peer)
  }

  /** The peer answers an exchange that these effects began: nothing to tell. */
  agrees(peer: string, effects: readonly Effect[], certain = true): Effect[] {
    return sent(effects, 'view', peer).flatMap(({ round }) =>
      this.message(peer, { type: 'digest', round, same: true, certain, prints: [] })
    )
  }

  heard(peer: string, viewHash = this.protocol.view.hash): Effect[] {
    return this.step({ type: 'heard', peer, viewHash })
  }

  message(peer: string, message: MemberTalk): Effect[] {
    return this.step({ type: 'message', peer, message })
  }

  gossip(teller: string, ...records: MemberFields[]): Effect[] {
    return this.step({ type: 'gossip', teller, records })
  }

  linkDown(peer: string): Effect[] {
    return this.step({ type: 'linkDown', peer })
  }

  dialFailed(peer: string, foundOther = false): Effect[] {
    return this.step({ type: 'dialFailed', peer, foundOther })
  }

  tick(): Effect[] {
    return this.step({ type: 'tick', awaited: this.awaited })
  }

  /** Time in ticks of 200 ms, as the driver makes them; the answer is all that was decided. */
  pass(ms: number, also: () => Effect[] = () => []): Effect[] {
    const effects: Effect[] = []
    for (const untilMs = this.nowMs + ms; this.nowMs < untilMs; ) {
      this.nowMs += 200
      effects.push(...also(), ...this.tick())
    }
    return effects
  }

  /** Ticks until this holds; the answer is how long that took. */
  until(holds: (effects: readonly Effect[]) => boolean, atMostMs = 60_000): number {
    const sinceMs = this.nowMs
    while (!holds(this.pass(200))) if (this.nowMs - sinceMs >= atMostMs) throw new Error(`not within ${atMostMs} ms`)
    return this.nowMs - sinceMs
  }

  status(id: string): string | undefined {
    return this.protocol.view.get(id)?.status
  }

  get isCertain(): boolean {
    return this.protocol.isCertain(this.nowMs)
  }
}

export function only<T extends Effect['type']>(effects: readonly Effect[], type: T): Extract<Effect, { type: T }>[] {
  return effects.filter((effect): effect is Extract<Effect, { type: T }> => effect.type === type)
}

/** The messages of one type among the effects, to one peer or to all. */
export function sent<T extends MemberTalk['type']>(
  effects: readonly Effect[],
  type: T,
  to?: string
): Extract<MemberTalk, { type: T }>[] {
  return only(effects, 'send')
    .filter(({ peer }) => to === undefined || peer === to)
    .map(({ message }) => message)
    .filter((message): message is Extract<MemberTalk, { type: T }> => message.type === type)
}

/** Who got a message of this type, in order. */
export function receivers(effects: readonly Effect[], type: MemberTalk['type']): string[] {
  return only(effects, 'send')
    .filter(({ message }) => message.type === type)
    .map(({ peer }) => peer)
}
