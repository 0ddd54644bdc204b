/**
 * A read on its way: what is wanted, and what it came to. Whoever answers it, the router, a copy or a majority, speaks
 * of it in these words.
 */
import type { Key } from '../codec/keys.ts'
import type { CacheDefinition, LoadContext, LoadMany, May } from '../fill/definition.ts'
import type { PeerId } from '../ports/transport.ts'
import type { MessageOf, Outcome } from '../rpc/messages.ts'
import type { Departure } from '../rpc/outbox.ts'
import type { Version } from '../store/version.ts'

export interface ReadAsk {
  readonly definition: CacheDefinition
  readonly key: Key
  readonly encodedKey: string
  readonly mode: 'stored' | 'load' | 'lease'
  readonly wish: MessageOf<'read'>['wish']
  /** Runs in this process under the owner's lease, or alone when there is no owner to ask. */
  readonly load: ((context: LoadContext) => May<unknown>) | undefined
  readonly loadTtlMs: number
  readonly loadTags: readonly string[] | undefined
  /** Loads it together with others that this caller wants. */
  readonly loadMany: LoadMany | undefined
  /** The latest that a majority of all who hold it knows of. */
  readonly isQuorum: boolean
  /** No copy that may lag answers while the owner lives, however slow it is. */
  readonly isExact?: true
  readonly timeoutMs: number
}

/** What a read wants, whatever the key. */
export type ReadTerms = Pick<ReadAsk, 'mode' | 'wish' | 'load' | 'loadTtlMs' | 'loadTags' | 'loadMany' | 'isQuorum'>

/** Answers with what is stored and loads nothing. */
export const STORED: ReadTerms = {
  mode: 'stored',
  wish: 'usual',
  load: undefined,
  loadTtlMs: 0,
  loadTags: undefined,
  loadMany: undefined,
  isQuorum: false
}

/** What a caller that wants the value and nothing else is given. */
export interface Stored {
  readonly bytes: Uint8Array
  readonly negative: boolean
}

export interface Answer extends Version, Stored {
  /** Till when it is fresh, by the mesh clock. What is not kept has expired already. */
  readonly expiresAtMs: number
  readonly stale: boolean
  /** As they travel (`codec/tags.ts`). */
  readonly tags: Uint8Array
  readonly from: 'local' | 'owner' | 'backup' | 'load'
  /** Who owned the key and answered; undefined where somebody else did, or it was only just loaded. */
  readonly owner: PeerId | undefined
}

/** A load that failed, not yet an error: each caller gets one of its own, so that nobody shares a stack or a field. */
export interface FailedLoad {
  readonly failed: Outcome
}

/** One read on its way, for all callers of this process that share it. */
export abstract class Question {
  readonly ask: ReadAsk
  readonly partition: number
  /** The frame it is asked in; once that has left, whoever asks anew may be asking about a later truth. */
  departure: Departure | undefined
  isAbandoned = false
  #withdraw: (() => void) | undefined

  constructor(ask: ReadAsk, partition: number) {
    this.ask = ask
    this.partition = partition
  }

  abstract answered(answer: Answer | FailedLoad | undefined): void
  abstract failed(error: unknown): void

  get hasLeft(): boolean {
    return this.departure?.sent === true
  }

  /** How to take it back from where it is asked now. */
  askedAt(departure: Departure, withdraw: (() => void) | undefined): void {
    this.departure = departure
    this.#withdraw = withdraw
    if (this.isAbandoned) withdraw?.()
  }

  /** Nobody waits any more. */
  abandon(): void {
    this.isAbandoned = true
    this.#withdraw?.()
  }
}

export function requestOf({ definition, encodedKey: key, mode, wish }: ReadAsk): MessageOf<'read'> {
  return { type: 'read', namespace: definition.namespace, key, mode, wish }
}

export function answerOf(
  outcome: Outcome,
  kept: Omit<Answer, 'bytes' | 'from' | 'owner' | 'stale'>
): Answer | FailedLoad {
  if (outcome.code !== 'value') return { failed: outcome }
  const { stamp, writer, negative, expiresAtMs, tags } = kept
  return {
    bytes: outcome.bytes,
    negative,
    stamp,
    writer,
    expiresAtMs,
    tags,
    stale: false,
    from: 'load',
    owner: undefined
  }
}
