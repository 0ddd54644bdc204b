/**
 * A partition as others are told of it: its digest at a time, the versions in it, its records; page by page, in the
 * order of `recordName`, which is the same at every member. What is over by then is left out, or told as the mark that
 * stays of it, whether or not it has been swept yet: so two members that sweep at different times tell the same.
 *
 * Not promised: a page as of the first. What comes or goes between two pages may be in one or in none. And each page
 * looks at the names of the whole partition, some sixty for a million records.
 */
import { recordName } from '../base/record-name.ts'
import { type Digest, DigestSum } from './digests.ts'
import { type Entry, entryBytes, isAhead, stubOf } from './entry.ts'
import type { Holdings } from './holdings.ts'
import { EXPIRES, TRAIT } from './rows.ts'
import type { Version } from './version.ts'

export interface Name {
  readonly namespace: string
  readonly key: string
}

export interface Listed extends Name {
  readonly version: Version
  readonly expiresAtMs: number
}

/** Which records, and after which name; two empty texts are before all. */
export interface PageTerms {
  readonly partition: number
  /** Only those with so many backups or more. */
  readonly rank: number
  readonly after: Name
  readonly nowMs: number
}

interface Named extends Name {
  readonly id: number
  readonly name: string
}

/** When something ends that has ended, and leaves no mark. */
const OVER = Number.NEGATIVE_INFINITY

export function digestAt(holdings: Holdings, partition: number, rank: number, nowMs: number): Digest {
  const { records } = holdings
  const sum = new DigestSum()
  for (const id of ranked(holdings, partition, rank)) {
    const untilMs = standsUntil(holdings, id, nowMs)
    if (untilMs !== OVER) sum.record(records.versionOf(id).stamp, records.writerHashOf(id), untilMs)
  }
  return sum.digest
}

export function versionsIn(holdings: Holdings, terms: PageTerms, most: number): Listed[] {
  return following(holdings, terms)
    .slice(0, most)
    .map(({ id, namespace, key }) => {
      const version = holdings.records.versionOf(id)
      return { namespace, key, version, expiresAtMs: standsUntil(holdings, id, terms.nowMs) }
    })
}

/** As many as cost so many bytes by the store's own count and their cache's name, which is above what they take on the wire. */
export function recordsIn(holdings: Holdings, terms: PageTerms, bytesMax: number): RecordsPage {
  const records: Entry[] = []
  let bytes = 0
  for (const { id, namespace, key } of following(holdings, terms)) {
    const entry = holdings.records.entry(id, namespace, key)
    const standing = entry.expiresAtMs > terms.nowMs ? entry : (stubOf(entry, terms.nowMs) as Entry)
    bytes += entryBytes(standing) + namespace.length
    if (bytes > bytesMax && records.length > 0) return { records, isComplete: false }
    records.push(standing)
  }
  return { records, isComplete: true }
}

export interface RecordsPage {
  readonly records: Entry[]
  readonly isComplete: boolean
}

/** That have a value and begin so, in no order. */
export function keysIn(
  holdings: Holdings,
  { namespace, partition, nowMs }: { namespace: string; partition: number; nowMs: number },
  keyPrefix: string
): string[] {
  const { records, shares } = holdings
  const cache = shares.get(namespace)?.id
  const isValue = (id: number): boolean =>
    !records.rows.has(id, TRAIT.tombstone) && !records.rows.has(id, TRAIT.negative) && !holdings.isDead(id)
  const ids = holdings.ids(partition).filter(id => records.cacheOf(id) === cache && isValue(id))
  const live = ids.filter(id => records.rows.getDouble(id, EXPIRES) > nowMs)
  return live.map(id => records.key(id)).filter(key => key.startsWith(keyPrefix))
}

function following(holdings: Holdings, { partition, rank, after, nowMs }: PageTerms): Named[] {
  const last = after.namespace === '' && after.key === '' ? '' : recordName(after.namespace, after.key)
  const found: Named[] = []
  for (const id of ranked(holdings, partition, rank)) {
    if (standsUntil(holdings, id, nowMs) === OVER) continue
    const [namespace, key] = [holdings.shareOf(id).name, holdings.records.key(id)]
    const name = recordName(namespace, key)
    if (name > last) found.push({ id, namespace, key, name })
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : 1))
}

function ranked(holdings: Holdings, partition: number, rank: number): number[] {
  return holdings.ids(partition).filter(id => holdings.records.backupsOf(id) >= rank && !holdings.isDead(id))
}

function standsUntil({ records }: Holdings, id: number, nowMs: number): number {
  const expiresAtMs = records.rows.getDouble(id, EXPIRES)
  if (expiresAtMs > nowMs) return expiresAtMs
  const shadowUntilMs = records.shadowUntilMs(id)
  return isAhead(shadowUntilMs, nowMs) ? shadowUntilMs : OVER
}
