/**
 * All near copies of this member, and what both sides of them say to each other: as an owner, what has changed; as a
 * reader, which copies that ends.
 */
import type { CacheDefinition } from '../fill/definition.ts'
import { Origins } from '../invalidation/origins.ts'
import { Stream } from '../invalidation/stream.ts'
import type { Happenings } from '../observe/happenings.ts'
import type { Cancel, Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import type { Client } from '../rpc/client.ts'
import { Gossip, type GossipDeps } from '../rpc/gossip.ts'
import type { MessageOf } from '../rpc/messages.ts'
import { type Announcement, type Changed, DELETED, readAnnouncement, writeAnnouncement } from '../rpc/near-talk.ts'
import type { Entry } from '../store/entry.ts'
import type { Floor } from '../store/floor.ts'
import { freshUntil } from '../store/keeping.ts'
import type { Store } from '../store/store.ts'
import type { MeshClock } from '../store/version.ts'
import { Demand } from './demand.ts'
import { NearCache, readsToTell } from './near-cache.ts'

/** What the near copies of hot keys take, in all caches that were not told to keep any. */
const HOT_BYTES_MAX = 8 * 1024 ** 2

export interface NearCopiesDeps extends GossipDeps {
  readonly self: PeerId
  readonly boot: number
  readonly clock: Clock
  readonly meshClock: MeshClock
  readonly client: Client
  readonly store: Store
  readonly happenings: Happenings
  readonly viewHash: () => number
  readonly primaryOf: (partition: number) => PeerId | undefined
  readonly partitionOf: (namespace: string, key: string) => number
}

export class NearCopies {
  readonly #deps: NearCopiesDeps
  readonly #caches = new Map<string, NearCache>()
  readonly #stream: Stream
  readonly #origins: Origins
  readonly #gossip: Gossip<Announcement>
  readonly demand: Demand
  #unsubscribe: Cancel | undefined

  constructor(deps: NearCopiesDeps) {
    this.#deps = deps
    this.#gossip = new Gossip({ name: 'changes', write: writeAnnouncement, read: readAnnouncement }, deps)
    this.#stream = new Stream({ ...deps, publish: announcement => this.#gossip.tell(announcement) })
    this.#origins = new Origins({ ...deps, apply: change => this.#apply(change) })
    this.demand = new Demand({ ...deps, owns: partition => deps.primaryOf(partition) === deps.self })
  }

  /** A cache that keeps near copies from now on; of hot keys alone it keeps them once there is one. */
  declare({ namespace, near }: Pick<CacheDefinition, 'namespace' | 'near'>): void {
    if (near === undefined || this.#caches.has(namespace)) return
    const { self, meshClock, stats, viewHash, primaryOf, partitionOf, store } = this.#deps
    const cache = new NearCache(near, {
      ...{ self, meshClock, stats, viewHash, primaryOf },
      partitionOf: key => partitionOf(namespace, key),
      lineOf: origin => this.#origins.lineOf(origin),
      unconfirmed: line => this.#origins.wanted(line),
      used: (line, copy) => this.#origins.used(line, { namespace, key: copy.key, reads: () => readsToTell(copy) }),
      isDead: (key, { tags, stamp }) => store.killer({ namespace, key, keeping: { tags } }, stamp) !== undefined,
      hasRoom: bytes => this.#hasRoom(bytes)
    })
    if (!near.isForHot) this.#listen()
    this.#caches.set(namespace, cache)
  }

  /** The owner of a key says that it is hot: what the next read brings is kept, so its owner is followed from now on. */
  granted(namespace: string, key: string, owner: PeerId): void {
    const cache = this.#caches.get(namespace)
    if (cache === undefined) return
    cache.granted(key)
    this.#listen()
    this.#origins.lineOf(owner)
  }

  #listen(): void {
    this.#unsubscribe ??= this.#gossip.listen(told => this.#origins.hear(told))
  }

  #hasRoom(bytes: number): boolean {
    const forHot = [...this.#caches.values()].filter(({ isForHot }) => isForHot)
    const isRoom = (): boolean => forHot.reduce((sum, cache) => sum + cache.bytes, bytes) <= HOT_BYTES_MAX
    if (isRoom()) return true
    for (const cache of forHot) cache.dropOver()
    return isRoom()
  }

  of(namespace: string): NearCache | undefined {
    return this.#caches.get(namespace)
  }

  get size(): number {
    return [...this.#caches.values()].reduce((sum, cache) => sum + cache.size, 0)
  }

  get bytes(): number {
    return [...this.#caches.values()].reduce((sum, cache) => sum + cache.bytes, 0)
  }

  stop(): void {
    this.#unsubscribe?.()
    this.demand.stop()
    this.#stream.stop()
    this.#origins.stop()
  }

  /** A record of a key that we own is another, or has another end. */
  changed(entry: Entry): void {
    const { namespace, key, version } = entry
    const expiresAtMs = entry.kind === 'tombstone' ? DELETED : freshUntil(entry)
    this.#stream.changed({ kind: 'key', namespace, key, stamp: version.stamp, expiresAtMs })
  }

  /** All of that below its stamp is dead: also what is kept here of others' keys. */
  cleared({ kind, namespace, text, stamp }: Floor): void {
    this.#stream.changed({ kind, namespace, key: text, stamp, expiresAtMs: 0 })
    if (kind === 'prefix') this.#caches.get(namespace)?.cleared(text, stamp)
    const { happenings } = this.#deps
    if (happenings.isHeard.invalidate)
      happenings.tell('invalidate', namespace, kind === 'tag' ? { tag: text } : { clear: true })
  }

  /** Records of ours have gone that nobody names. */
  forgotten(): void {
    this.#stream.startOver()
  }

  /** A reader of ours asks how far we are, and tells what it reads near: those keys are used, though nobody asks us. */
  confirm(ask: MessageOf<'confirm'>): MessageOf<'confirmed'> {
    const { store, meshClock } = this.#deps
    for (const { namespace, key, reads } of ask.used) {
      const found = store.glance(namespace, key, meshClock.now())
      if (found !== undefined) this.demand.readNear(found.partition, namespace, key, found.bytes.length, reads)
    }
    return this.#stream.confirm(ask)
  }

  gone(peer: PeerId): void {
    this.#origins.forget(peer)
  }

  /** A copy of ours has gone by a change from here, of a key that may be deleted now. */
  removedHere(namespace: string, key: string): void {
    this.#deps.happenings.tell('invalidate', namespace, { key })
  }

  /** A floor is laid here too, if we do not have it yet: then it is told on, and ends what is kept here. */
  #apply(change: Changed): void {
    const { kind, namespace, key, stamp, expiresAtMs } = change
    if (kind !== 'key') {
      this.#deps.store.addFloor({ kind, namespace, text: key, stamp, atMs: this.#deps.meshClock.now() })
      return
    }
    const wasHere = this.#caches.get(namespace)?.changed(change) === true
    if (wasHere && expiresAtMs === DELETED) this.removedHere(namespace, key)
  }
}
