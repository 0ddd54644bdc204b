/**
 * What this member has still to store in the origin: for each key the latest value, and nothing of those before.
 *
 *   taken ─▶ waiting (delay) ─▶ due ─▶ storing ─▶ stored ─▶ gone from here
 *              ▲                         ├─ a newer value came meanwhile ─▶ waiting
 *              └─ after a pause ◀────────┴─ failed ─▶ for longer than retryFor: given up, counted, warned of
 *
 * The owner of a key does this, because it orders the writes of the key. The bytes are the queue's own: the record may
 * be evicted, expire or move meanwhile. One call of `store` per key at a time, so what is stored later is newer.
 *
 * A load would bring back what the origin had before, so whoever wants to load a key waits until it has been stored
 * (`whenStored`); asking for it makes it due. When the partition moves, what waits is stored at once, ahead of what the
 * new owner will have waiting; and when it has been stored the new owner is told, who may have loaded in between.
 *
 * Bounded in keys and bytes: over that, writes of keys that do not wait already are refused, and nothing of them is
 * done. Not promised: anything about a process that is killed; what waited in it is lost. Nor the order in an origin
 * that ignores the version, where a key has moved and the old owner's call takes longer than the new owner's delay.
 */
import type { Stats } from '../observe/stats.ts'
import type { Cancel, Clock } from '../ports/clock.ts'
import type { Detach } from '../ports/context.ts'
import type { Logger } from '../ports/log.ts'
import type { Random } from '../ports/random.ts'
import { isNewer, type Version } from '../store/version.ts'
import type { BehindTerms, CacheDefinition } from './definition.ts'
import { type StoreCall, startStore } from './store-call.ts'

const RETRY_MS_MIN = 100
const RETRY_MS_MAX = 30_000
/** While this member leaves there is no time to wait for an origin to recover. */
const RETRY_LEAVING_MS_MAX = 500
/** What is given up together is said together. */
const SAY_EVERY_MS = 1_000

export interface BehindDeps {
  readonly clock: Clock
  readonly random: Random
  readonly stats: Stats
  readonly log: Logger
  readonly detach: Detach
  readonly definition: (namespace: string) => CacheDefinition | undefined
  /** The origin has it. Undefined when nobody else has to be told; never rejects. */
  readonly tell: (write: PendingWrite) => Promise<void> | undefined
}

export interface PendingWrite {
  readonly namespace: string
  readonly key: string
  readonly partition: number
  /** Undefined: deleted. */
  readonly bytes: Uint8Array | undefined
  readonly version: Version
}

class Pending {
  write: PendingWrite
  state: 'waiting' | 'due' | 'storing' = 'waiting'
  /** When the value was taken that waits now. */
  takenMs: number
  failures = 0
  /** What the call under way stores; `write` may be newer. */
  storing: PendingWrite | undefined
  disarm: Cancel = () => {}
  call: StoreCall | undefined
  /** Reads that want to load it. */
  readonly readers = new Set<() => void>()

  constructor(write: PendingWrite, takenMs: number) {
    this.write = write
    this.takenMs = takenMs
  }
}

/** What waits of one cache. */
interface Line {
  readonly byKey: Map<string, Pending>
  /** In the order they are to be stored. */
  readonly due: Set<Pending>
  bytes: number
  storing: number
  isFailing: boolean
}

export class WriteBehind {
  readonly #deps: BehindDeps
  readonly #lines = new Map<string, Line>()
  readonly #emptied = new Set<() => void>()
  #size = 0
  #isLeaving = false
  #isStopped = false
  #unsaid = 0

  constructor(deps: BehindDeps) {
    this.#deps = deps
  }

  /** Keys that wait. */
  get size(): number {
    return this.#size
  }

  /** Whether a write of this key can be taken; true also for one that is not stored here at all. */
  hasRoom(namespace: string, key: string, bytes: number): boolean {
    const terms = this.#termsOf(namespace)
    const line = this.#lines.get(namespace)
    if (terms === undefined) return true
    if (this.#isStopped) return false
    if (line === undefined) return true
    const known = line.byKey.get(key)
    const after = line.bytes + bytes - (known?.write.bytes?.length ?? 0)
    // One alone is taken whatever it weighs, or it could never be.
    const fits = after <= terms.pendingBytesMax || line.byKey.size === (known === undefined ? 0 : 1)
    const hasRoom = fits && (known !== undefined || line.byKey.size < terms.pendingMax)
    if (!hasRoom) this.#deps.stats.storesRefusedTotal++
    return hasRoom
  }

  /** False when this member does not store the cache behind. */
  take(write: PendingWrite): boolean {
    const terms = this.#termsOf(write.namespace)
    if (terms === undefined) return false
    if (this.#isStopped) {
      this.#deps.stats.storesLostTotal++
      this.#say(1, 'came when this member had left')
      return true
    }
    const line = this.#lineOf(write.namespace)
    // A view of a frame would keep the whole of it.
    const own = { ...write, bytes: write.bytes?.slice() }
    const known = line.byKey.get(write.key)
    if (known === undefined) {
      const pending = new Pending(own, this.#deps.clock.monotonic())
      line.byKey.set(write.key, pending)
      this.#size++
      this.#wait(line, pending, this.#isLeaving ? 0 : terms.delayMs)
    } else {
      if (known.write !== known.storing) this.#deps.stats.storesCoalescedTotal++
      if (!isNewer(own.version, known.write.version)) return true
      line.bytes -= known.write.bytes?.length ?? 0
      known.write = own
      known.takenMs = this.#deps.clock.monotonic()
    }
    line.bytes += own.bytes?.length ?? 0
    return true
  }

  isPending(namespace: string, key: string): boolean {
    return this.#lines.get(namespace)?.byKey.has(key) === true
  }

  /** Undefined when nothing waits. Otherwise it is stored now; the answer takes the wish back. */
  whenStored(namespace: string, key: string, onStored: () => void): (() => void) | undefined {
    const line = this.#lines.get(namespace)
    const pending = line?.byKey.get(key)
    if (line === undefined || pending === undefined) return undefined
    const reader = (): void => onStored()
    pending.readers.add(reader)
    this.#hasten(line, pending)
    return () => pending.readers.delete(reader)
  }

  /** Others have the say now: what waits is stored before theirs, and readers ask them. */
  lose(lost: (partition: number) => boolean): void {
    for (const line of this.#lines.values()) {
      for (const pending of [...line.byKey.values()]) {
        if (!lost(pending.write.partition)) continue
        this.#hasten(line, pending)
        release(pending)
      }
    }
  }

  /** Stores all that waits, and from now on what comes without a delay. */
  beginLeaving(): void {
    this.#isLeaving = true
    for (const line of this.#lines.values()) {
      for (const pending of [...line.byKey.values()]) {
        if (pending.state !== 'waiting') continue
        this.#due(line, pending)
      }
    }
  }

  /** Resolves when nothing waits any more, or after so long. */
  emptied(ms: number): Promise<void> {
    if (this.#size === 0 || ms <= 0) return Promise.resolve()
    return new Promise(resolve => {
      const end = (): void => {
        this.#emptied.delete(end)
        disarm()
        resolve()
      }
      const disarm = this.#deps.clock.after(ms, end)
      this.#emptied.add(end)
    })
  }

  /** This member has left: what it could not store is lost with it, and that is said. */
  stop(): void {
    const left = this.#size
    this.#isStopped = true
    for (const line of this.#lines.values()) {
      for (const pending of line.byKey.values()) {
        pending.disarm()
        pending.call?.abort()
        release(pending)
      }
      line.due.clear()
    }
    this.#lines.clear()
    this.#size = 0
    this.#deps.stats.storesLostTotal += left
    this.#sayGivenUp()
    this.#say(left, 'were not stored before this member left')
  }

  #termsOf(namespace: string): BehindTerms | undefined {
    const definition = this.#deps.definition(namespace)
    return definition?.store === undefined ? undefined : definition.writeBehind
  }

  #lineOf(namespace: string): Line {
    const known = this.#lines.get(namespace)
    if (known !== undefined) return known
    const line: Line = { byKey: new Map(), due: new Set(), bytes: 0, storing: 0, isFailing: false }
    this.#lines.set(namespace, line)
    return line
  }

  #wait(line: Line, pending: Pending, ms: number): void {
    pending.state = 'waiting'
    pending.disarm = this.#deps.clock.after(ms, () => this.#due(line, pending))
  }

  /** One that has failed keeps its pause: whoever hurries an origin that is down makes it worse. */
  #hasten(line: Line, pending: Pending): void {
    if (pending.state === 'waiting' && pending.failures === 0) this.#due(line, pending)
  }

  #due(line: Line, pending: Pending): void {
    pending.disarm()
    pending.state = 'due'
    line.due.add(pending)
    this.#storeNext(line)
  }

  #storeNext(line: Line): void {
    for (const pending of line.due) {
      const definition = this.#deps.definition(pending.write.namespace)
      if (definition?.writeBehind === undefined || line.storing >= definition.writeBehind.atOnce) return
      line.due.delete(pending)
      line.storing++
      void this.#store(line, pending, definition)
    }
  }

  async #store(line: Line, pending: Pending, definition: CacheDefinition): Promise<void> {
    const { write } = pending
    pending.state = 'storing'
    pending.storing = write
    pending.call = this.#deps.detach(() => startStore(this.#deps, definition, write, definition.storeTimeoutMs))
    const failed = await pending.call.failed
    pending.call = undefined
    pending.storing = undefined
    line.storing--
    this.#storeNext(line)
    if (failed === undefined) await this.#deps.tell(write)
    // This member has left meanwhile, and has said what became of it.
    if (this.#lines.get(write.namespace) !== line) return
    if (failed === undefined) this.#stored(line, pending, write, definition)
    else this.#failed(line, pending, failed, definition)
  }

  #stored(line: Line, pending: Pending, write: PendingWrite, definition: CacheDefinition): void {
    line.isFailing = false
    pending.failures = 0
    if (pending.write === write) return this.#forget(line, pending)
    const isUrgent = this.#isLeaving || pending.readers.size > 0
    this.#wait(line, pending, isUrgent ? 0 : (definition.writeBehind as BehindTerms).delayMs)
  }

  #failed(line: Line, pending: Pending, error: Error, definition: CacheDefinition): void {
    const { log, clock } = this.#deps
    pending.failures++
    if (!line.isFailing) {
      line.isFailing = true
      const cache = definition.name
      log.debug({ cache, err: error }, 'a store behind a write failed')
      log.warn({ cache, code: 'CACHEMESH_STORE' }, `the store of cache '${cache}' fails and will be called again`)
    }
    const { retryForMs } = definition.writeBehind as BehindTerms
    if (clock.monotonic() - pending.takenMs < retryForMs)
      return this.#wait(line, pending, this.#pauseMs(pending.failures))
    this.#forget(line, pending)
    this.#givenUp()
  }

  /** Twice as long each time, less a share left to chance: what failed together does not come back together. */
  #pauseMs(failures: number): number {
    const max = this.#isLeaving ? RETRY_LEAVING_MS_MAX : RETRY_MS_MAX
    return Math.min(max, RETRY_MS_MIN * 2 ** Math.min(failures - 1, 20)) * (1 - this.#deps.random.float() / 2)
  }

  #forget(line: Line, pending: Pending): void {
    line.byKey.delete(pending.write.key)
    line.bytes -= pending.write.bytes?.length ?? 0
    this.#size--
    release(pending)
    if (this.#size === 0) for (const end of [...this.#emptied]) end()
  }

  #givenUp(): void {
    this.#deps.stats.storesLostTotal++
    if (this.#unsaid++ === 0) this.#deps.clock.after(SAY_EVERY_MS, () => this.#sayGivenUp())
  }

  #sayGivenUp(): void {
    const count = this.#unsaid
    this.#unsaid = 0
    this.#say(count, 'were given up after retryFor')
  }

  #say(count: number, why: string): void {
    if (count === 0) return
    const message = `the latest values of ${count} keys ${why}: the origin does not have them`
    this.#deps.log.warn({ count, code: 'CACHEMESH_STORES_LOST' }, message)
  }
}

function release(pending: Pending): void {
  const readers = [...pending.readers]
  pending.readers.clear()
  for (const reader of readers) reader()
}
