/**
 * "Is what I wrote copied by now?" Asked of every member that has taken a change of ours since it last said yes.
 *
 *   change answered by A ─▶ A is remembered ─▶ flush ─▶ A: held by k backups   ─▶ forgotten
 *                                                   ├▶ A: by fewer, in time     ─▶ too few, A is remembered on
 *                                                   └▶ A has gone, or is another process by now ─▶ not known, said once
 *
 * A member is asked for all that was changed there until then, by whomever: one place in the order in which it copies is
 * simpler to wait for than our changes among others, and stands behind all of them. Whoever has lost a partition since
 * still answers for what it took.
 *
 * Not promised: anything about changes that have not been answered, or whose outcome was unknown; their callers were
 * told so. A member that has gone may have copied all in time: that is not known here, so it is not claimed.
 */
import { BackupsError } from '../base/errors.ts'
import type { CacheDefinition } from '../fill/definition.ts'
import type { PeerId } from '../ports/transport.ts'
import { CallFailed, type Client } from '../rpc/client.ts'
import { MEMBERS_MAX } from '../rpc/messages.ts'
import { ACKS_ALL } from '../rpc/words.ts'
import type { MeshClock } from '../store/version.ts'
import { unexpected } from './failures.ts'
import type { Routes } from './routes.ts'

/** Members that have gone, by name in one error. */
const NAMED_MAX = 16
/** For the way back: who is asked is to answer before we stop waiting. */
const RETURN_MS_MAX = 200

export interface FlushesDeps {
  readonly routes: Routes
  readonly client: Client
  readonly meshClock: MeshClock
  /** Of the process that is a member under this name now. */
  readonly bootOf: (peer: PeerId) => number | undefined
  /** What was changed at this member until now: answered when so many backups hold it, or time is up. */
  readonly flushHere: (backupAcks: number, untilMs: number) => Promise<Held>
}

export interface Held {
  readonly acked: number
  readonly wanted: number
}

type About = Pick<CacheDefinition, 'name' | 'namespace' | 'backups'>

/** A process that has taken changes; another object each time, so that it shows whether it took one since. */
interface Taker {
  readonly id: PeerId
  readonly boot: number
}

interface Takers {
  readonly here: Map<PeerId, Taker>
  readonly gone: Set<PeerId>
}

export class Flushes {
  readonly #deps: FlushesDeps
  readonly #takers = new Map<string, Takers>()

  constructor(deps: FlushesDeps) {
    this.#deps = deps
  }

  /** A change of ours was made there. */
  took(namespace: string, id: PeerId): void {
    let takers = this.#takers.get(namespace)
    if (takers === undefined) {
      takers = { here: new Map(), gone: new Set() }
      this.#takers.set(namespace, takers)
    }
    const boot = this.#deps.bootOf(id)
    const known = takers.here.get(id)
    if (boot === undefined || (known !== undefined && known.boot !== boot)) bury(takers, id)
    if (boot !== undefined) takers.here.set(id, { id, boot })
    if (takers.here.size > MEMBERS_MAX) this.#buryGone(takers)
  }

  /** How many backups hold all of it, at least; rejects where they are fewer than wanted. */
  async flush(about: About, backupAcks: number, timeoutMs: number): Promise<number> {
    const wanted = backupAcks === ACKS_ALL ? about.backups : backupAcks
    const takers = this.#takers.get(about.namespace)
    if (wanted === 0 || about.backups === 0) return 0
    if (takers === undefined) return wanted
    const endMs = this.#deps.routes.deps.clock.monotonic() + timeoutMs
    const asked = [...takers.here.values()]
    const answers = await Promise.all(asked.map(taker => this.#ask(about, taker, backupAcks, endMs)))
    asked.forEach((taker, i) => {
      const answer = answers[i] as Held | 'gone'
      if (answer === 'gone') bury(takers, taker.id)
      const isOver = answer === 'gone' || answer.acked >= answer.wanted
      if (isOver && takers.here.get(taker.id) === taker) takers.here.delete(taker.id)
    })
    return this.#conclude(about, takers, asked, answers, wanted)
  }

  #conclude(
    about: About,
    takers: Takers,
    asked: readonly Taker[],
    answers: readonly (Held | 'gone')[],
    wanted: number
  ): number {
    const held = answers.filter(answer => answer !== 'gone')
    const acked = Math.min(wanted, ...held.map(answer => answer.acked))
    if (takers.gone.size > 0) {
      const missing = [...takers.gone]
      // Said once: another flush asks about what is written from now on.
      takers.gone.clear()
      throw lost(about, { acked, wanted, missing })
    }
    const short = asked.filter((_, i) => {
      const answer = answers[i] as Held
      return answer.acked < answer.wanted
    })
    if (short.length === 0) return acked
    throw tooFew(about, { acked, wanted, missing: short.map(({ id }) => id) })
  }

  /** Lost links are waited for: as long as the process is here, what it took is there. */
  async #ask(about: About, { id, boot }: Taker, backupAcks: number, endMs: number): Promise<Held | 'gone'> {
    const { routes, bootOf } = this.#deps
    const { self, isReachable, clock } = routes.deps
    const nobody = { acked: 0, wanted: backupAcks === ACKS_ALL ? about.backups : backupAcks }
    for (;;) {
      if (bootOf(id) !== boot) return 'gone'
      const leftMs = endMs - clock.monotonic()
      if (leftMs <= 0) return nobody
      if (!isReachable(id)) {
        await routes.change(leftMs)
        continue
      }
      const untilMs = this.#deps.meshClock.now() + leftMs - Math.min(RETURN_MS_MAX, leftMs / 4)
      if (id === self) return this.#deps.flushHere(backupAcks, untilMs)
      const answer = await this.#send(about, id, backupAcks, untilMs, leftMs)
      if (answer === 'unanswered') return bootOf(id) === boot ? nobody : 'gone'
      if (answer !== 'lost') return answer
    }
  }

  async #send(
    about: About,
    id: PeerId,
    backupAcks: number,
    untilMs: number,
    timeoutMs: number
  ): Promise<Held | 'lost' | 'unanswered'> {
    try {
      const reply = await this.#deps.client.call(id, { type: 'flush', backupAcks, untilMs }, { timeoutMs }).reply
      if (reply.type === 'flushed') return reply
      throw unexpected(about, reply)
    } catch (error) {
      if (!(error instanceof CallFailed)) throw error
      return error.end === 'lost' ? 'lost' : 'unanswered'
    }
  }

  #buryGone(takers: Takers): void {
    for (const { id, boot } of takers.here.values()) {
      if (this.#deps.bootOf(id) === boot) continue
      takers.here.delete(id)
      bury(takers, id)
    }
  }
}

function bury({ gone }: Takers, id: PeerId): void {
  if (gone.size < NAMED_MAX) gone.add(id)
}

type Short = Held & { readonly missing: readonly PeerId[] }

function tooFew({ name }: About, { acked, wanted, missing }: Short): BackupsError {
  return new BackupsError(
    `What this member has written to '${name}' is not yet held by ${wanted} backups everywhere, but by ${acked} at least; short of it at ${missing.join(', ')}. It stays and is copied as soon as that is possible: flush again, raise timeout, or ask for fewer by backupAcks.`,
    { written: true, acked, wanted, missing },
    { cache: name }
  )
}

function lost({ name }: About, { acked, wanted, missing }: Short): BackupsError {
  return new BackupsError(
    `Members have gone that took changes of this member to '${name}' since its last flush: ${missing.join(', ')}. Whether a backup has all of them is not known. Read what must be there, or write it again; another flush asks about the changes from now on.`,
    { written: false, acked, wanted, missing },
    { cache: name, outcome: 'unknown', retryable: false }
  )
}
