/**
 * Checkers read the history of a simulated run and object. They know nothing of how the mesh works: what a client saw,
 * when the origin was called, when the mesh was whole. So they stay true when the mesh is rebuilt.
 */
import type { Entry } from '../../../lib/store/entry.ts'
import type { Losses } from '../losses.ts'

export interface Span {
  readonly beganMs: number
  readonly endedMs: number
}

/** `safe`: its changes wait for backups; `copied`: they do not. `bulk` is there for its weight, and no reads are judged. */
export type CacheName = 'loaded' | 'plain' | 'guarded' | 'hits' | 'safe' | 'copied' | 'near' | 'bulk'

/** A call of a client that has come back. `value` is what the mesh returned; a failed call has none. */
export interface ClientCall extends Span {
  /** One key of many: it ends when all of them do. */
  readonly isPart?: boolean
  readonly kind: 'get' | 'getOrSet' | 'set' | 'delete' | 'compareAndSet' | 'add' | 'count' | 'keys' | 'flush'
  readonly cache: CacheName
  readonly key: string
  readonly member: number
  readonly value?: number | undefined
  /** What `set` wrote, or up to which row a `delete` that follows an update of the origin invalidates. */
  readonly wrote?: number
  readonly version?: string
  /** What `compareAndSet` compared with. */
  readonly expected?: string | null
  /** What `keys` told. */
  readonly listed?: readonly string[]
  readonly failed?: string
  /** The call of the origin whose failure this call was told of. */
  readonly toldOf?: number | undefined
  /** A change that failed and may have been made. */
  readonly isUnknown?: boolean
  /** For how many backups a change waited: `all` there were in the view of the member that made it. */
  readonly acks?: number | 'all'
  /** How many backups the cache has. */
  readonly backups?: number
  /** Answered by a backup, since the owner was slow: it may lag behind. */
  readonly isCopy?: boolean
  /** Answered from a copy in the member's own process: it may lag behind. */
  readonly isNear?: boolean
  /** A delete that is one of all keys of the cache. */
  readonly isClear?: boolean
}

export type BegunCall = Pick<ClientCall, 'kind' | 'cache' | 'key' | 'member' | 'beganMs' | 'isPart'>

export interface OriginCall {
  readonly number: number
  readonly key: string
  readonly member: number
  /** What it answers with: known when it ends. */
  row?: number
  /** When it was asked for: a caller that loads under a lease asked before the lease came back to it. */
  readonly askedMs: number
  readonly beganMs: number
  endedMs: number
  ok: boolean
  /** Nobody waited any more: the mesh keeps nothing of it, and may ask again. */
  aborted: boolean
}

/** How the checkers learn whether the promises of a stable view apply. */
export interface Calm {
  nowMs(): number
  /** Since when all live members have held one view with all links up; Infinity when they do not now. */
  sinceMs(): number
  /** When members were last kept apart or stopped; Infinity while they are. Crashes and joins do not count. */
  lastApartMs(): number
  /** What the faults may have cost. */
  readonly losses: Losses
  /** How many members are alive. */
  liveCount(): number
  /** When a view last changed anywhere or a fault began or ended; Infinity while views differ. Links may come and go. */
  lastUnrestMs(): number
}

export class Violation extends Error {
  constructor(checker: string, what: string) {
    super(`${checker}: ${what}`)
    this.name = 'Violation'
  }
}

export interface Checker {
  /** A client's call has ended. */
  called?(call: ClientCall): void
  /** A client's call has begun: what it may overlap with is known only at its end. */
  began?(call: BegunCall): void
  /** The very error that a call has ended with. */
  told?(error: unknown, call: ClientCall): void
  originBegan?(call: OriginCall): void
  originEnded?(call: OriginCall): void
  /** Its signal has aborted. */
  originAborted?(call: OriginCall): void
  /** A process is gone, and its callers with it. */
  died?(member: number): void
  /** A member's view has changed. `isHere`: it has not begun to leave. */
  saw?(state: { readonly member: string; readonly isHere: boolean; readonly view: readonly string[] }): void
  /** A member takes its leave, and comes again. */
  leaves?(member: string, atMs: number): void
  joins?(member: string): void
  suspected?(member: string, by: string, atMs: number): void
  /** After a step of the simulator a member holds more than it may. */
  overfull?(member: number, bytes: number, bytesMax: number): void
  /** Faults are over and the mesh has had time: who sees whom. Judged before all that rests on it. */
  united?(views: Views): void
  /** Faults are over and the mesh has had time, and nobody has asked it anything since: what lies in its members. */
  rested?(state: RestedState): void
  /** The mesh has been left alone between these two. */
  leftAlone?(before: readonly Insides[], after: readonly Insides[], ms: number): void
  /** Faults are over, the mesh has had time: now everything must be right. */
  settled?(state: SettledState): void
}

/** Whom each live member sees, and who is there. */
export interface Views {
  readonly views: ReadonlyMap<string, readonly string[]>
  readonly live: readonly string[]
}

/** What a checker sees of a member from within. */
export interface Insides {
  readonly member: number
  readonly id: string
  /** Records and versions that members have sent each other beside the changes themselves. */
  readonly moved: number
}

/** Who holds what of a key, among the live members. */
export interface Holdings {
  readonly cache: CacheName
  readonly key: string
  /** By rank; of all live members. */
  readonly ranked: readonly string[]
  /** What is over is left out. */
  readonly held: ReadonlyMap<string, Entry>
}

export interface RestedState {
  readonly holdings: readonly Holdings[]
}

export interface SettledState extends Views {
  /** For each live member, whom it suspects. */
  readonly suspects: ReadonlyMap<string, readonly string[]>
  /** Client calls that have not come back. */
  readonly pending: number
  /** What each live member read of each key at the end, or how that failed. */
  readonly finalReads: readonly {
    member: number
    cache: string
    key: string
    value?: number | undefined
    version?: string | undefined
    failed?: string
  }[]
}
