/**
 * Who is here: an immutable map of member records whose merge is a join. Whatever order records are heard in, and
 * however often, members that have heard the same records hold the same view (commutative, associative, idempotent).
 *
 * Order of two records of one member: the higher incarnation, then alive < suspect < dead < left, then their bytes.
 * Only the member itself raises its incarnation, so it always has the last word about itself.
 */
import { hash52 } from '../placement/hash.ts'
import type { PeerId } from '../ports/transport.ts'
import { MEMBERS_MAX, type MemberFields } from '../rpc/messages.ts'

export type MemberRecord = Omit<MemberFields, 'reached'>

const STATUS_RANK = { alive: 0, suspect: 1, dead: 2, left: 3 } as const

/** Records of members that are gone are kept so that an old "alive" does not bring them back; the oldest go first. */
const GONE_RECORDS_MAX = 1024
/** A view must fit into one exchange. */
const RECORDS_MAX = MEMBERS_MAX - GONE_RECORDS_MAX

export class View {
  readonly records: ReadonlyMap<PeerId, MemberRecord>
  #hash: number | undefined

  constructor(records: ReadonlyMap<PeerId, MemberRecord>) {
    this.records = records
  }

  get(id: PeerId): MemberRecord | undefined {
    return this.records.get(id)
  }

  /** Alive and suspect: suspicion is not yet a reason to move anything. */
  present(): MemberRecord[] {
    return [...this.records.values()].filter(isPresent)
  }

  owners(): MemberRecord[] {
    return this.present().filter(member => member.weight > 0)
  }

  /** Covers what placement reads and nothing else: equal hashes mean equal tables. */
  get hash(): number {
    this.#hash ??= hashOf(this.owners())
    return this.#hash
  }

  /** The join with one more record; this very view when the record says nothing new. */
  with(record: MemberRecord): View {
    const known = this.records.get(record.id)
    if (known !== undefined && !supersedes(record, known)) return this
    if (known === undefined && this.records.size >= RECORDS_MAX) return this
    const records = new Map(this.records)
    // Deleted first, so that the map stays in the order of the last news and the oldest gone can be dropped.
    records.delete(record.id)
    records.set(record.id, record)
    return new View(isPresent(record) ? records : withoutOldestGone(records))
  }
}

export function isPresent(record: MemberRecord): boolean {
  return record.status === 'alive' || record.status === 'suspect'
}

export function supersedes(a: MemberRecord, b: MemberRecord): boolean {
  if (a.incarnation !== b.incarnation) return a.incarnation > b.incarnation
  if (a.status !== b.status) return STATUS_RANK[a.status] > STATUS_RANK[b.status]
  return bodyText(a) > bodyText(b)
}

function bodyText(record: MemberRecord): string {
  return JSON.stringify([record.boot, record.weight, record.zone, record.host, record.addresses])
}

function hashOf(owners: MemberRecord[]): number {
  const lines = owners.map(({ id, boot, weight, zone, host }) => JSON.stringify([id, boot, weight, zone, host]))
  return hash52(lines.sort().join('\n'))
}

function withoutOldestGone(records: Map<PeerId, MemberRecord>): Map<PeerId, MemberRecord> {
  const gone = [...records.values()].filter(record => !isPresent(record))
  for (const record of gone.slice(0, Math.max(0, gone.length - GONE_RECORDS_MAX))) records.delete(record.id)
  return records
}
