/**
 * What this member says of copies it holds for others: the value, where the copy has come as far as the asker has seen;
 * the record as it lies there, for who compares; and, where the primary cannot be reached, what a load brings.
 *
 * A copy is answered and no more. Nothing is refreshed behind it, no lease is given and nothing loaded is stored: all
 * that is for the primary to decide. Who asks for the same key at the same time shares one load, and the next in time
 * begins another; so a key that is missing is asked of the origin more often until it has a primary again. If that is we,
 * what we load or have just loaded for others is what we begin with (`fills.ts`, `landings.ts`).
 */
import { decodeKey } from '../codec/keys.ts'
import type { CacheDefinition, LoadContext, May } from '../fill/definition.ts'
import { keptReply } from '../fill/landings.ts'
import type { Cancel } from '../ports/clock.ts'
import type { Detach } from '../ports/context.ts'
import type { PeerId } from '../ports/transport.ts'
import { recordOf } from '../replication/record.ts'
import type { MessageOf, Reply } from '../rpc/messages.ts'
import type { Store } from '../store/store.ts'
import type { MeshClock } from '../store/version.ts'
import type { Owner } from './owner.ts'

export interface CopiesDeps {
  readonly store: Store
  readonly owner: Owner
  readonly meshClock: MeshClock
  readonly detach: Detach
  readonly definition: (namespace: string) => CacheDefinition | undefined
  readonly partitionOf: (namespace: string, key: string) => number
  /** The highest stamp that has come here of a partition, in the order of its primary's changes. */
  readonly copiedUpTo: (partition: number) => number
  /** We were away, and its primary has not compared what we hold since. */
  readonly isDoubtful: (partition: number) => boolean
  /** What is here of it is left over, and its primary has not compared it yet. */
  readonly isBehind: (partition: number) => boolean
  /** False for a key that cannot exist. */
  readonly mayExist: (namespace: string, key: string) => boolean
}

type CopyAsk = MessageOf<'readCopy'>

export class Copies {
  readonly #deps: CopiesDeps

  constructor(deps: CopiesDeps) {
    this.#deps = deps
  }

  /** A value that may be answered with, stale or not; undefined where this copy has none, or none that is recent enough. */
  find({ namespace, key, mode, wish, floorStamp, mayFill }: CopyAsk): MessageOf<'hit' | 'kept'> | undefined {
    const found = wish === 'refresh' ? undefined : this.#deps.owner.stored(namespace, key)
    if (found === undefined || this.#deps.isDoubtful(found.partition)) return undefined
    // While its owner lives, and is only slow. When it does not, this is better than what the origin must be asked for.
    if (!mayFill && this.#deps.isBehind(found.partition)) return undefined
    if (!this.#isRecent(found.version.stamp, namespace, key, floorStamp)) return undefined
    const { version, expiresAtMs, negative, bytes, keeping } = found
    if (keeping === undefined) return { type: 'hit', ...version, expiresAtMs, negative, bytes }
    const nowMs = this.#deps.meshClock.now()
    const isStale = keeping.freshUntilMs <= nowMs
    if (isStale && (wish !== 'usual' || (mode !== 'stored' && keeping.revalidateUntilMs <= nowMs))) return undefined
    return keptReply(found, isStale)
  }

  /** Whatever lies here of a key, a tombstone too. */
  peek({ namespace, key }: Pick<MessageOf<'peek'>, 'namespace' | 'key'>): MessageOf<'peeked'> {
    const entry = this.#deps.store.entry(namespace, key)
    return { type: 'peeked', record: entry && recordOf(entry), answer: undefined, final: false, viewHash: 0 }
  }

  read(peer: PeerId, ask: CopyAsk, respond: (reply: Reply) => void): Cancel | undefined {
    const found = this.find(ask)
    const load = found === undefined && ask.mayFill ? this.#loaderFor(ask) : undefined
    if (load === undefined) {
      respond(found ?? { type: 'absent' })
      return undefined
    }
    respond({ type: 'waiting' })
    return this.#deps.owner.fills.alone(peer, load, respond)
  }

  #loaderFor({ namespace, key, mode, wish, floorStamp }: CopyAsk): Parameters<Owner['fills']['alone']>[1] | undefined {
    const { definition: definitionOf, detach, mayExist } = this.#deps
    const definition = mode === 'load' ? definitionOf(namespace) : undefined
    const load = definition?.load
    if (definition === undefined || load === undefined || !mayExist(namespace, key)) return undefined
    const decoded = decodeKey(key)
    const call = (context: LoadContext): May<unknown> => detach(() => load(decoded, context))
    return { definition, encodedKey: key, load: call, ttlMs: definition.ttlMs, tags: undefined, wish, floorStamp }
  }

  /** A record that is older than the asker has seen of another key may still be the latest of its own. */
  #isRecent(stamp: number, namespace: string, key: string, floorStamp: number): boolean {
    return stamp >= floorStamp || this.#deps.copiedUpTo(this.#deps.partitionOf(namespace, key)) >= floorStamp
  }
}
