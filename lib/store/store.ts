/**
 * The records a member holds, bounded by bytes. The least recently used go first.
 *
 * lru-cache does the list and the sums; expiry is ours, because `now` must be an argument: the library would read a
 * clock of its own, and the simulator could not replay it. An expired record is dropped when it is next looked at;
 * until then it occupies its bytes and the bound holds all the same.
 */
import { LRUCache } from 'lru-cache'
import type { Stats } from '../observe/stats.ts'
import { type Entry, entryBytes, isLive } from './entry.ts'

export class Store {
  readonly #entries: LRUCache<string, Entry>
  /** The names of each partition's entries. */
  readonly #namesIn = new Map<number, Set<string>>()

  constructor(o: { bytesMax: number; stats: Stats }) {
    this.#entries = new LRUCache({
      maxSize: o.bytesMax,
      sizeCalculation: entryBytes,
      dispose: (entry, name, reason) => {
        if (reason === 'evict') o.stats.evictionsTotal++
        if (reason !== 'set') this.#namesIn.get(entry.partition)?.delete(name)
      }
    })
  }

  get bytes(): number {
    return this.#entries.calculatedSize
  }

  get size(): number {
    return this.#entries.size
  }

  /** The live value of a key; finding it makes it recently used. */
  value(namespace: string, key: string, nowMs: number): Entry | undefined {
    const name = nameOf(namespace, key)
    const entry = this.#entries.get(name)
    if (entry === undefined || isLive(entry, nowMs)) return entry
    if (entry.kind === 'value') this.#entries.delete(name)
    return undefined
  }

  /** Whatever is known of a key, a tombstone or an expired value too. */
  entry(namespace: string, key: string): Entry | undefined {
    return this.#entries.peek(nameOf(namespace, key))
  }

  /** False when the entry is larger than the whole budget: it is not kept, and nothing else is lost for it. */
  put(given: Entry): boolean {
    const entry = withOwnBytes(given)
    const name = nameOf(entry.namespace, entry.key)
    if (entryBytes(entry) > this.#entries.maxSize) {
      this.#entries.delete(name)
      return false
    }
    const names = this.#namesIn.get(entry.partition) ?? new Set()
    this.#namesIn.set(entry.partition, names.add(name))
    this.#entries.set(name, entry)
    return true
  }

  drop(namespace: string, key: string): void {
    this.#entries.delete(nameOf(namespace, key))
  }

  /** Forgets every record of a namespace whose key begins so, and says how many those were. */
  dropMatching(namespace: string, keyPrefix: string): number {
    const beginning = nameOf(namespace, keyPrefix)
    const gone = [...this.#entries.keys()].filter(name => name.startsWith(beginning))
    for (const name of gone) this.#entries.delete(name)
    return gone.length
  }

  /** The keys of a partition that have a value and begin so, in no order; nothing becomes recently used by it. */
  *keysIn(namespace: string, partition: number, keyPrefix: string, nowMs: number): Generator<string> {
    for (const name of this.#namesIn.get(partition) ?? []) {
      const entry = this.#entries.peek(name)
      if (entry === undefined || entry.namespace !== namespace || !entry.key.startsWith(keyPrefix)) continue
      if (isLive(entry, nowMs) && !entry.negative) yield entry.key
    }
  }

  /** Forgets every record of the partitions that `lost` names, and says how many those were. */
  dropPartitions(lost: (partition: number) => boolean): number {
    const gone: string[] = []
    for (const [name, entry] of this.#entries.entries()) if (lost(entry.partition)) gone.push(name)
    for (const name of gone) this.#entries.delete(name)
    return gone.length
  }
}

/** What came in a frame is a view of it, and kept would keep the frame. */
function withOwnBytes(entry: Entry): Entry {
  const { bytes } = entry
  return bytes.byteLength === bytes.buffer.byteLength ? entry : { ...entry, bytes: Uint8Array.from(bytes) }
}

function nameOf(namespace: string, key: string): string {
  return `${namespace}\n${key}`
}
