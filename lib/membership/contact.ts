import type { Address, PeerId } from '../ports/transport.ts'
import type { MemberRecord } from './view.ts'

/** Others are being asked whether they hear a member. */
export interface Inquiry {
  readonly untilMs: number
  /** Who has not answered yet. */
  readonly waitingFor: Set<PeerId>
}

/** An exchange of views that we began. */
export interface Exchange {
  readonly round: number
  readonly sinceMs: number
  /** The peer trusts its own view. */
  isPeerCertain: boolean
}

/** What we know of the way to one member, as opposed to what the mesh says of it. */
export class Contact {
  readonly peer: PeerId
  addresses: readonly Address[]

  linked = false
  everLinked = false
  linkedAtMs = 0
  unlinkedSinceMs: number
  dialFailures = 0
  nextDialAtMs: number
  /** When we last heard from others that it is back. */
  backAtMs = Number.NEGATIVE_INFINITY

  heardAtMs = 0
  /** The first ping it has not answered. */
  unansweredSinceMs: number | undefined
  pingedAtMs = Number.NEGATIVE_INFINITY
  inquiry: Inquiry | undefined
  nextInquiryAtMs = 0
  /** Members that have asked us whether we hear it, and until when they wait. */
  readonly askers = new Map<PeerId, number>()

  /** The last time that we took it for dead and it came back: as whom, and with what word. */
  burial: { readonly as: MemberRecord; readonly back: MemberRecord } | undefined

  /** It is dead, somebody says, and we hear it: it has until then to contradict. */
  claim: { readonly record: MemberRecord; readonly untilMs: number } | undefined

  /** It has answered since it was told that we leave. */
  knowsOfLeave = false

  theirHash: number | undefined
  theirStateHash: number | undefined
  exchange: Exchange | undefined
  exchangeWanted = false
  exchangedAtMs = Number.NEGATIVE_INFINITY
  lastPair = ''
  futileMs = 0
  quietUntilMs = 0

  constructor(peer: PeerId, addresses: readonly Address[], nowMs: number, firstDialMs: number) {
    this.peer = peer
    this.addresses = addresses
    this.unlinkedSinceMs = nowMs
    this.nextDialAtMs = nowMs + firstDialMs
  }
}
