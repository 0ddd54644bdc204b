import type { Address } from '../ports/transport.ts'

/** What we know of the way to one member, as opposed to what the mesh says of it. */
export class Contact {
  linked = false
  everLinked = false
  inquiring = false
  /** Silent here, and nobody we asked hears it: since when. */
  suspectedAtMs: number | undefined
  nextInquiryAtMs = 0
  heardAtMs = 0
  linkedAtMs = 0
  beatAtMs = 0
  theirHash: number | undefined
  exchanging = false
  exchangedAtMs = Number.NEGATIVE_INFINITY
  lastPair = ''
  futileMs = 0
  quietUntilMs = 0
  dialFailures = 0
  nextDialAtMs: number
  unlinkedSinceMs: number
  addresses: readonly Address[]

  constructor(addresses: readonly Address[], nowMs: number, firstDialMs: number) {
    this.addresses = addresses
    this.unlinkedSinceMs = nowMs
    this.nextDialAtMs = nowMs + firstDialMs
  }
}
