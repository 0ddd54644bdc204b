/**
 * How far we know what others have changed: of each owner whose values we keep near, its line of numbered changes up to
 * one of them, without a gap, and until when that was all there was.
 *
 *   1. we ask A how far it is ─ A is at 41, and changes k: 42 ─ the answer comes: 41. What we asked for at the time of
 *      asking is what we know; so a line is confirmed as of when the question left, and not as of when its answer came.
 *   2. we read k at A and begin to follow A at the same time ─ k changes in between, and nobody tells us: so only what is
 *      asked for once the line is there is kept.
 *
 * Where the missing changes are not remembered, or the process is another, the line is over and so is all that was kept
 * by it; a new one begins. That needs no walk through what is kept: it names its line.
 *
 * Not promised: that we hear of a change at once. After `LAG_MS_MAX` without a confirmation nothing is served (PROTOCOL
 * N2), and while copies are used we ask twice a second.
 */
import type { Stats } from '../observe/stats.ts'
import type { Cancel, Clock } from '../ports/clock.ts'
import type { PeerId } from '../ports/transport.ts'
import { CallFailed, type Client } from '../rpc/client.ts'
import type { MessageOf } from '../rpc/messages.ts'
import { type Announcement, type Changed, USED_MAX } from '../rpc/near-talk.ts'
import type { MeshClock } from '../store/version.ts'

/** A near copy may lag behind its owner by this much, and no more. */
export const LAG_MS_MAX = 2_000
const ASK_EVERY_MS = 500
const ASK_MS_MAX = 1_000
/** An owner of which nothing was wanted for so many rounds is followed no more. */
const IDLE_ROUNDS_MAX = 20

/** The changes of one process, as far as they are known. Times are the mesh clock's. */
export interface Line {
  readonly origin: PeerId
  readonly boot: number
  /** What was asked for after this is covered. */
  readonly sinceMs: number
  /** All changes up to this one are known. */
  number: number
  /** As of then there were no others. */
  confirmedAtMs: number
  /** Something was missed for good: what was kept by it is worth nothing. */
  isOver: boolean
}

/** A key that was read near; asked how often since it was last told. */
export interface Use {
  readonly namespace: string
  readonly key: string
  readonly reads: () => number
}

interface Followed {
  line: Line | undefined
  isWanted: boolean
  idleRounds: number
  isAsking: boolean
  used: Use[]
}

export interface OriginsDeps {
  readonly clock: Clock
  readonly meshClock: MeshClock
  readonly client: Client
  readonly stats: Stats
  readonly apply: (change: Changed) => void
}

export class Origins {
  readonly #deps: OriginsDeps
  readonly #followed = new Map<PeerId, Followed>()
  #disarm: Cancel | undefined

  constructor(deps: OriginsDeps) {
    this.#deps = deps
  }

  stop(): void {
    this.#disarm?.()
    this.#disarm = undefined
    for (const peer of [...this.#followed.keys()]) this.forget(peer)
  }

  /** The line by which a value of that owner may be kept, if there is one already; it is followed from now on. */
  lineOf(origin: PeerId): Line | undefined {
    const followed = this.#follow(origin)
    followed.isWanted = true
    return followed.line
  }

  /** What it keeps was confirmed long ago and somebody wants it: it is asked for now. */
  wanted({ origin }: Line): void {
    const followed = this.#follow(origin)
    followed.isWanted = true
    this.#ask(origin, followed)
  }

  /** A copy was used, for the first time since its owner was told. */
  used({ origin }: Line, use: Use): void {
    const followed = this.#follow(origin)
    followed.isWanted = true
    if (followed.used.length < USED_MAX) followed.used.push(use)
  }

  forget(origin: PeerId): void {
    const followed = this.#followed.get(origin)
    if (followed?.line !== undefined) followed.line.isOver = true
    this.#followed.delete(origin)
  }

  hear({ origin, boot, from, changes }: Announcement): void {
    const followed = this.#followed.get(origin)
    const line = followed?.line
    if (followed === undefined || line === undefined || line.boot !== boot) return
    const last = from + changes.length - 1
    if (last <= line.number) return
    this.#apply(from > line.number ? changes : changes.slice(line.number + 1 - from))
    if (from <= line.number + 1) line.number = last
    else {
      this.#deps.stats.invalidationGapsTotal++
      this.#ask(origin, followed)
    }
  }

  #follow(origin: PeerId): Followed {
    const known = this.#followed.get(origin)
    if (known !== undefined) return known
    const followed = { line: undefined, isWanted: true, idleRounds: 0, isAsking: false, used: [] }
    this.#followed.set(origin, followed)
    this.#ask(origin, followed)
    this.#disarm ??= this.#deps.clock.after(ASK_EVERY_MS, () => this.#round())
    return followed
  }

  #round(): void {
    this.#disarm = undefined
    for (const [origin, followed] of [...this.#followed]) {
      followed.idleRounds = followed.isWanted ? 0 : followed.idleRounds + 1
      if (followed.isWanted) this.#ask(origin, followed)
      else if (followed.idleRounds > IDLE_ROUNDS_MAX) this.forget(origin)
      followed.isWanted = false
    }
    if (this.#followed.size > 0) this.#disarm = this.#deps.clock.after(ASK_EVERY_MS, () => this.#round())
  }

  #ask(origin: PeerId, followed: Followed): void {
    if (followed.isAsking) return
    const { client, meshClock, stats } = this.#deps
    const { line } = followed
    const used = followed.used.map(({ namespace, key, reads }) => ({ namespace, key, reads: reads() }))
    const askedAtMs = meshClock.now()
    followed.isAsking = true
    followed.used = []
    stats.confirmationsTotal++
    const ask = { type: 'confirm', boot: line?.boot ?? 0, number: line?.number ?? 0, used } as const
    client.begin(origin, ask, { timeoutMs: ASK_MS_MAX }, reply => {
      followed.isAsking = false
      if (reply instanceof CallFailed || reply.type !== 'confirmed') return
      // It was forgotten meanwhile, and perhaps followed anew.
      if (this.#followed.get(origin) === followed) this.#confirmed(origin, followed, askedAtMs, reply)
    })
  }

  #confirmed(
    origin: PeerId,
    followed: Followed,
    askedAtMs: number,
    { boot, number, isWhole, changes }: MessageOf<'confirmed'>
  ): void {
    const { line } = followed
    if (line !== undefined && line.boot === boot && isWhole) {
      this.#apply(changes)
      line.number = Math.max(line.number, number)
      line.confirmedAtMs = askedAtMs
      return
    }
    if (line !== undefined) {
      line.isOver = true
      this.#deps.stats.invalidationsLostTotal++
    }
    const sinceMs = this.#deps.meshClock.now()
    followed.line = { origin, boot, sinceMs, number, confirmedAtMs: askedAtMs, isOver: false }
  }

  #apply(changes: readonly Changed[]): void {
    this.#deps.stats.invalidationsHeardTotal += changes.length
    for (const change of changes) this.#deps.apply(change)
  }
}
