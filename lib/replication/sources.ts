/**
 * What another member has of a partition, asked for piece by piece: versions, single records, whole partitions. Each
 * question has a deadline, and an answer of undefined or false is that there was none: the source is gone, or sees
 * another view, and whoever wanted it has to look elsewhere or begin again.
 */
import { recordName } from '../base/record-name.ts'
import type { Stats } from '../observe/stats.ts'
import type { PeerId } from '../ports/transport.ts'
import { CallFailed, type Client } from '../rpc/client.ts'
import type { MessageOf, ReplicaRequest, Reply } from '../rpc/messages.ts'
import type { RecordFields } from '../rpc/replica-talk.ts'
import type { Store } from '../store/store.ts'
import type { MeshClock, Version } from '../store/version.ts'
import type { Pace } from './pace.ts'

const NAMES_MAX = 512
/** Pages of one partition; a source that never ends is no source. */
const PAGES_MAX = 100_000

export interface RecordName {
  readonly namespace: string
  readonly key: string
}

/** By name. */
export type Listing = ReadonlyMap<string, RecordName & { readonly version: Version; readonly expiresAtMs: number }>

interface Here {
  readonly store: Store
  readonly meshClock: MeshClock
  /** What they have is to be looked at, beside what we have. */
  readonly isWanted: (ours: Version, theirs: Version, holder: PeerId) => boolean
}

/** What that one has, and we have not, or not as new. */
export function lackingHere(theirs: Listing, peer: PeerId, { store, meshClock, isWanted }: Here): RecordName[] {
  const nowMs = meshClock.now()
  const names: RecordName[] = []
  for (const { namespace, key, version, expiresAtMs } of theirs.values()) {
    const ours = store.versionOf(namespace, key)
    const isLacking = ours === undefined || isWanted(ours.version, version, peer)
    if (expiresAtMs > nowMs && isLacking) names.push({ namespace, key })
  }
  return names
}

export interface SourcesDeps {
  readonly client: Client
  readonly stats: Stats
  readonly timeoutMs: number
  readonly pace: Pace
  readonly viewHash: () => number
}

type Fetched = MessageOf<'pulled'>

export class Sources {
  readonly #deps: SourcesDeps

  constructor(deps: SourcesDeps) {
    this.#deps = deps
  }

  async versions(peer: PeerId, partition: number): Promise<Listing | undefined> {
    const listing = new Map<string, RecordName & { version: Version; expiresAtMs: number }>()
    let after: RecordName = { namespace: '', key: '' }
    for (let page = 0; page < PAGES_MAX; page++) {
      const reply = await this.#ask(peer, { type: 'list', viewHash: this.#deps.viewHash(), partition, after })
      if (reply?.type !== 'listed') return undefined
      for (const { namespace, key, stamp, writer, expiresAtMs } of reply.versions)
        listing.set(recordName(namespace, key), { namespace, key, version: { stamp, writer }, expiresAtMs })
      const last = reply.versions.at(-1)
      if (reply.last || last === undefined) return listing
      after = { namespace: last.namespace, key: last.key }
    }
    return undefined
  }

  /** The records of these names, in these partitions; false where the source has failed before all were there. */
  async records(
    peer: PeerId,
    partitions: readonly number[],
    names: readonly RecordName[],
    take: (record: RecordFields) => void
  ): Promise<boolean> {
    for (let from = 0; from < names.length; ) {
      const wanted = names.slice(from, from + NAMES_MAX)
      const fetched = await this.#pull(peer, partitions, { namespace: '', key: '' }, wanted)
      if (fetched === undefined) return false
      for (const record of fetched.records) take(record)
      // A page ends early where its values are large; what it did not come to is asked for again.
      if (fetched.covered === 0) return false
      from += fetched.covered
    }
    return true
  }

  /** One page of whole partitions, of the first from `after` on. */
  page(peer: PeerId, partitions: readonly number[], after: RecordName): Promise<Fetched | undefined> {
    return this.#pull(peer, partitions, after, [])
  }

  async #pull(
    peer: PeerId,
    partitions: readonly number[],
    after: RecordName,
    names: readonly RecordName[]
  ): Promise<Fetched | undefined> {
    const { pace, viewHash, stats } = this.#deps
    const bytesMax = pace.goBytes
    await pace.take(bytesMax)
    const reply = await this.#ask(peer, { type: 'pull', viewHash: viewHash(), partitions, after, names, bytesMax })
    const fetched = reply?.type === 'pulled' ? reply : undefined
    const bytes = fetched?.records.reduce((sum, { bytes: value, key }) => sum + value.length + key.length, 0) ?? 0
    pace.settle(bytesMax, bytes)
    stats.transferBytesTotal += bytes
    stats.recordsPulledTotal += fetched?.records.length ?? 0
    return fetched
  }

  #ask(peer: PeerId, request: ReplicaRequest): Promise<Reply | undefined> {
    const { client, timeoutMs } = this.#deps
    return new Promise(resolve =>
      client.begin(peer, request, { timeoutMs }, reply => resolve(reply instanceof CallFailed ? undefined : reply))
    )
  }
}
