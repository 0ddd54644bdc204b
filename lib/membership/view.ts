/**
 * Who is here: an immutable map of member records whose merge is a join. Whatever order records are heard in, and
 * however often, members that have heard the same records hold the same view (commutative, associative, idempotent).
 *
 * Order of two records of one member: the higher incarnation, then alive < suspect < dead < left, then their bytes.
 * Only the member itself raises its incarnation, so it always has the last word about itself.
 *
 * Two hashes, both the XOR of one print per record, so that a change costs one print and not a walk over all:
 *
 *   hash       what placement reads of the owners: equal hashes mean equal tables
 *   stateHash  all that is known of those who are here: equal hashes mean that there is nothing to tell
 */
import { hash52 } from '../placement/hash.ts'
import type { PeerId } from '../ports/transport.ts'
import { MEMBERS_MAX, type MemberFields } from '../rpc/messages.ts'

export type MemberRecord = Omit<MemberFields, 'firstHand'>

const STATUS_RANK = { alive: 0, suspect: 1, dead: 2, left: 3 } as const

/** Records of members that are gone are kept so that an old "alive" does not bring them back; the oldest go first. */
const GONE_RECORDS_MAX = 1024
/** A view must fit into one exchange. */
const RECORDS_MAX = MEMBERS_MAX - GONE_RECORDS_MAX

export class View {
  readonly records: ReadonlyMap<PeerId, MemberRecord>
  readonly hash: number
  readonly stateHash: number
  #present: readonly MemberRecord[] | undefined

  constructor(records: ReadonlyMap<PeerId, MemberRecord>, hash: number, stateHash: number) {
    this.records = records
    this.hash = hash
    this.stateHash = stateHash
  }

  get(id: PeerId): MemberRecord | undefined {
    return this.records.get(id)
  }

  /** Alive and suspect: suspicion is not yet a reason to move anything. */
  present(): readonly MemberRecord[] {
    this.#present ??= [...this.records.values()].filter(isPresent)
    return this.#present
  }

  owners(): MemberRecord[] {
    return this.present().filter(isOwner)
  }

  /** The join with more records; this very view when they say nothing new. */
  with(...news: readonly MemberRecord[]): View {
    let records: Map<PeerId, MemberRecord> | undefined
    let { hash, stateHash } = this
    for (const record of news) {
      const known = (records ?? this.records).get(record.id)
      if (known === undefined ? (records ?? this.records).size >= RECORDS_MAX : !supersedes(record, known)) continue
      records ??= new Map(this.records)
      // Deleted first, so that the map stays in the order of the last news and the oldest gone can be dropped.
      records.delete(record.id)
      records.set(record.id, record)
      hash = xor(hash, xor(placePrint(known), placePrint(record)))
      stateHash = xor(stateHash, xor(presentPrint(known), presentPrint(record)))
    }
    return records === undefined ? this : new View(withoutOldestGone(records), hash, stateHash)
  }

  /** Without records of members that are gone: what placement and exchanges see stays as it is. */
  without(gone: ReadonlySet<PeerId>): View {
    const records = new Map([...this.records].filter(([id, record]) => isPresent(record) || !gone.has(id)))
    return new View(records, this.hash, this.stateHash)
  }
}

export const NOBODY = new View(new Map(), 0, 0)

export function isPresent(record: MemberRecord): boolean {
  return record.status === 'alive' || record.status === 'suspect'
}

export function supersedes(a: MemberRecord, b: MemberRecord): boolean {
  if (a === b) return false
  if (a.incarnation !== b.incarnation) return a.incarnation > b.incarnation
  if (a.status !== b.status) return STATUS_RANK[a.status] > STATUS_RANK[b.status]
  return bodyText(a) > bodyText(b)
}

/** A number for all that a record says: two records with one print say the same. */
export function printOf(record: MemberRecord): number {
  let print = prints.get(record)
  if (print === undefined) {
    print = hash52(JSON.stringify([record.id, record.incarnation, record.status, bodyText(record)]))
    prints.set(record, print)
  }
  return print
}

const prints = new WeakMap<MemberRecord, number>()
const placePrints = new WeakMap<MemberRecord, number>()

function presentPrint(record: MemberRecord | undefined): number {
  return record !== undefined && isPresent(record) ? printOf(record) : 0
}

function placePrint(record: MemberRecord | undefined): number {
  if (record === undefined || !isPresent(record) || !isOwner(record)) return 0
  let print = placePrints.get(record)
  if (print === undefined) {
    const { id, boot, weight, zone, host } = record
    print = hash52(JSON.stringify([id, boot, weight, zone, host]))
    placePrints.set(record, print)
  }
  return print
}

function isOwner(record: MemberRecord): boolean {
  return record.weight > 0
}

function bodyText(record: MemberRecord): string {
  return JSON.stringify([record.boot, record.weight, record.zone, record.host, record.addresses])
}

/** Of two numbers of 52 bits, which the language's own operator cuts to 32. */
function xor(a: number, b: number): number {
  const high = Math.floor(a / 2 ** 32) ^ Math.floor(b / 2 ** 32)
  return high * 2 ** 32 + ((a ^ b) >>> 0)
}

function withoutOldestGone(records: Map<PeerId, MemberRecord>): Map<PeerId, MemberRecord> {
  if (records.size <= GONE_RECORDS_MAX) return records
  const gone = [...records.values()].filter(record => !isPresent(record))
  for (const record of gone.slice(0, Math.max(0, gone.length - GONE_RECORDS_MAX))) records.delete(record.id)
  return records
}
