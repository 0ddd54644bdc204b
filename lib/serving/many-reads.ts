/**
 * Many keys at once: what is stored of them, by one request to each owner, all at the same time.
 *
 * Only what is simple is done together. A key that is absent and has a loader, that moved meanwhile, whose owner cannot
 * be reached or whose value is too large to come along, is left to a read of its own, which knows what to do; so every
 * promise of a single read holds for many as well, and a load is shared with whoever asks for the key alone. A member
 * that is overloaded or broken is not asked again: a thousand reads in place of one would not help it. Where there are
 * copies, the keys of one that is slow are asked of them meanwhile (`many-hedges.ts`), and those of one that has not
 * answered in time take the way of a single read.
 */
import { whenAborted } from '../base/abort.ts'
import type { MeshError } from '../base/errors.ts'
import type { CacheDefinition } from '../fill/definition.ts'
import type { Stats } from '../observe/stats.ts'
import type { Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import { CallFailed, type Client, type OpenCall, type Slowness } from '../rpc/client.ts'
import { KEYS_MAX, type MessageOf, type Reply } from '../rpc/messages.ts'
import type { CopyReads } from './copy-reads.ts'
import { callError, unexpected } from './failures.ts'
import type { HedgeBudget } from './hedge-budget.ts'
import { ManyHedge } from './many-hedges.ts'
import type { Owner } from './owner.ts'
import type { ReadAsk, Stored } from './question.ts'
import { type Patience, type Reads, tooLate } from './reads.ts'
import type { Routes } from './routes.ts'

/** Reads of single keys under way at once, far below what one member may be asked, so that other callers find room. */
const ALONE_AT_ONCE_MAX = 4_096

export interface ManyReadsDeps {
  readonly routes: Routes
  readonly clock: Clock
  readonly client: Client
  readonly owner: Owner
  readonly reads: Reads
  readonly copies: CopyReads
  readonly budget: HedgeBudget
  readonly stats: Stats
  /** How long a member may take to answer. */
  readonly timeoutMs: number
}

/** What became of one key of many. */
export type Found = Stored | undefined | { readonly error: unknown }

/** `absent`: its owner has nothing. `ask`: ask for it alone. */
type Finding = Found | 'absent' | 'ask'

export interface ManyAsk {
  readonly definition: CacheDefinition
  readonly encodedKeys: readonly string[]
  /** Whether a key that is absent is loaded. */
  readonly loads: boolean
  /** Whether a loader of many is there for them. */
  readonly isBatched: boolean
  /** Each is asked for alone, of all that hold it. */
  readonly isQuorum: boolean
  /** The read of one of them, by its place. */
  readonly alone: (place: number) => ReadAsk
}

export class ManyReads {
  readonly #deps: ManyReadsDeps

  constructor(deps: ManyReadsDeps) {
    this.#deps = deps
  }

  /** In the order of the keys; rejects with the signal's reason and with nothing else. */
  async read(ask: ManyAsk, { signal, timeoutMs }: Patience): Promise<Found[]> {
    const { clock, reads } = this.#deps
    const untilMs = timeoutMs === undefined ? undefined : clock.monotonic() + timeoutMs
    const found = await this.#find(ask, Math.min(timeoutMs ?? Infinity, this.#deps.timeoutMs), signal)
    const readAlone = async (place: number): Promise<void> => {
      const leftMs = untilMs === undefined ? undefined : untilMs - clock.monotonic()
      const one = ask.alone(place)
      if (leftMs !== undefined && leftMs <= 0) {
        found[place] = { error: tooLate(one, timeoutMs as number) }
        return
      }
      found[place] = await reads.read(one, { signal, timeoutMs: leftMs }).catch((error: unknown) => ({ error }))
    }
    const rest = placesOf(found, ask.loads)
    let next = 0
    const reader = async (): Promise<void> => {
      while (next < rest.length) await readAlone(rest[next++] as number)
    }
    await Promise.all(Array.from({ length: Math.min(rest.length, this.#atOnce(ask)) }, reader))
    signal?.throwIfAborted()
    return found.map(finding => this.#settled(finding))
  }

  /**
   * What loads one by one waits in a line at the origin, and one call must not fill it; what is loaded together is a few
   * calls, and would be more if it came in parts.
   */
  #atOnce({ definition, loads, isBatched }: ManyAsk): number {
    return loads && !isBatched ? Math.min(ALONE_AT_ONCE_MAX, definition.loadConcurrency * 2) : ALONE_AT_ONCE_MAX
  }

  /** What the owners have, asked all at the same time. */
  #find(ask: ManyAsk, timeoutMs: number, signal: AbortSignal | undefined): Promise<Finding[]> {
    if (ask.isQuorum) return Promise.resolve(ask.encodedKeys.map(() => 'ask'))
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason)
      let forget = (): void => {}
      const batch = new Batch(this.#deps, ask, timeoutMs, found => {
        forget()
        resolve(found)
      })
      const giveUp = (): void => {
        batch.cancel()
        reject(signal?.reason)
      }
      if (signal !== undefined) forget = whenAborted(signal, giveUp)
      batch.begin()
    })
  }

  #settled(finding: Finding): Found {
    if (finding !== 'absent' && finding !== 'ask') return finding
    this.#deps.stats.readsMissTotal++
    return undefined
  }
}

function placesOf(found: readonly Finding[], loads: boolean): number[] {
  const places: number[] = []
  for (const [place, finding] of found.entries())
    if (finding === 'ask' || (loads && finding === 'absent')) places.push(place)
  return places
}

class Batch {
  readonly #deps: ManyReadsDeps
  readonly #alone: ManyAsk['alone']
  readonly #definition: CacheDefinition
  readonly #keys: readonly string[]
  readonly #timeoutMs: number
  readonly #onOver: (found: Finding[]) => void
  readonly #found: Finding[]
  readonly #calls: OpenCall[] = []
  readonly #hedges: ManyHedge[] = []
  /** Requests under way, and one for the asking itself. */
  #pending = 1

  constructor(deps: ManyReadsDeps, ask: ManyAsk, timeoutMs: number, onOver: (found: Finding[]) => void) {
    this.#deps = deps
    this.#definition = ask.definition
    this.#alone = ask.alone
    this.#keys = ask.encodedKeys
    this.#timeoutMs = timeoutMs
    this.#onOver = onOver
    this.#found = new Array<Finding>(this.#keys.length).fill('ask')
  }

  begin(): void {
    if (this.#hasCopies) this.#deps.budget.earn(this.#keys.length)
    for (const [owner, places] of this.#placesByOwner())
      for (let from = 0; from < places.length; from += KEYS_MAX) this.#ask(owner, places.slice(from, from + KEYS_MAX))
    this.#oneOver()
  }

  cancel(): void {
    for (const hedge of this.#hedges) hedge.stop()
    for (const call of this.#calls) this.#deps.client.cancel(call)
  }

  get #hasCopies(): boolean {
    return this.#definition.backups > 0
  }

  #placesByOwner(): Map<PeerId, number[]> {
    const { self, ownerOf, isReachable, isWell } = this.#deps.routes.deps
    const mayAnswer = this.#hasCopies ? isWell : isReachable
    const byOwner = new Map<PeerId, number[]>()
    for (const [place, key] of this.#keys.entries()) {
      const owner = ownerOf(this.#definition.namespace, key)
      if (owner === undefined || !mayAnswer(owner)) continue
      if (owner === self) this.#found[place] = this.#findHere(key)
      else {
        const places = byOwner.get(owner)
        if (places === undefined) byOwner.set(owner, [place])
        else places.push(place)
      }
    }
    return byOwner
  }

  #findHere(key: string): Finding {
    const { namespace } = this.#definition
    const { owner, stats } = this.#deps
    const found = owner.glance(namespace, key)
    if (found === undefined) return owner.isAbsent(namespace, key) ? 'absent' : 'ask'
    stats.readsLocalTotal++
    return found
  }

  #ask(owner: PeerId, places: readonly number[]): void {
    let next = 0
    const take = ({ items }: MessageOf<'found'>): void => {
      for (const { state, bytes } of items) {
        const place = places[next++]
        if (place === undefined) return
        if (state === 'value' || state === 'negative') {
          this.#deps.stats.readsOwnerTotal++
          this.#found[place] = { bytes, negative: state === 'negative' }
        } else if (state === 'absent') this.#found[place] = 'absent'
      }
    }
    const keys = places.map(place => this.#keys[place] as string)
    const request = { type: 'readMany', namespace: this.#definition.namespace, keys } as const
    let hedge: ManyHedge | undefined
    const onSlow = (why: Slowness): void => {
      hedge?.stop()
      hedge = this.#hedge(why, places, () => {
        this.#deps.client.cancel(call)
        this.#oneOver()
      })
    }
    const terms = { timeoutMs: this.#timeoutMs, onPart: take, onSlow: this.#hasCopies ? onSlow : undefined }
    this.#pending++
    const call = this.#deps.client.begin(owner, request, terms, reply => {
      hedge?.stop()
      if (!(reply instanceof CallFailed) && reply.type === 'found') take(reply)
      else this.#fail(places.slice(next), this.#errorOf(reply, owner))
      this.#oneOver()
    })
    this.#calls.push(call)
  }

  /** `onAll`: a copy has answered the last key that was open, and there is nothing left to wait for. */
  #hedge(why: Slowness, places: readonly number[], onAll: () => void): ManyHedge {
    const isOpen = (place: number): boolean => this.#found[place] === 'ask'
    const { namespace } = this.#definition
    const hedge = new ManyHedge({
      copies: this.#deps.copies,
      why,
      places: places.filter(isOpen),
      isOpen,
      about: place => {
        const partition = this.#deps.routes.deps.partitionOf(namespace, this.#keys[place] as string)
        return { ask: this.#alone(place), partition }
      },
      onValue: (place, answer) => {
        // The owner may have said so itself meanwhile, and has the say.
        if (isOpen(place)) this.#found[place] = answer
        if (!places.some(isOpen)) onAll()
      }
    })
    this.#hedges.push(hedge)
    hedge.begin()
    return hedge
  }

  /** Undefined where each key may be asked for alone. Not of a member that is overloaded: that is a call for each. */
  #errorOf(end: Reply | CallFailed, owner: PeerId): MeshError | undefined {
    if (!(end instanceof CallFailed)) return unexpected(this.#definition, end)
    const mayBeElsewhere = end.end === 'lost' || (end.end === 'timeout' && this.#hasCopies)
    return mayBeElsewhere ? undefined : callError(end, this.#definition, owner)
  }

  #fail(places: readonly number[], error: MeshError | undefined): void {
    if (error === undefined) return
    // What a copy has said meanwhile stays.
    for (const place of places) if (this.#found[place] === 'ask') this.#found[place] = { error }
  }

  #oneOver(): void {
    if (--this.#pending === 0) this.#onOver(this.#found)
  }
}
