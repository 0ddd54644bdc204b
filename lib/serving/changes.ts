/**
 * A change at the member that decides for its key: made once, or the caller is told that this is not known.
 *
 *   change ─▶ owner known and linked ─▶ send ─▶ answer                                                    ─▶ done
 *     ▲                                  ├──▶ not owner: make the two views equal, at most twice ─▶ again
 *     │                                  ├──▶ link lost or no answer: it may have been made      ─▶ again, same id
 *     └─ wait for a link or a view ◀─────┘
 *   deadline ─▶ every sending was refused: unavailable, nothing was done · else: the outcome is unknown
 *
 * A change goes to the first rank of our own view and to nobody else (PROTOCOL Q3). Sent again to the same owner it
 * carries the same id and is not made twice, for the owner remembers (`done.ts`). What it answered travels with the
 * record to its backups and to whoever owns it next, so that one sent to another owner is known there too, as far as the
 * record is:
 *
 *   1. A makes it and dies before anybody has a copy: the record died with A. What B makes now is made once in all that
 *      is left.
 *   2. A makes it, its backup B has it, A dies: B, owner now, gives the answer of then.
 *   3. A makes it and loses the partition to a joiner B, or leaves: until B has the partition in full, it asks those who
 *      held the key for the record and for this very change before it makes it.
 *   4. A makes it behind a split; B makes it on our side: two records, each with the change once. When the views are
 *      one again, the later is kept, or what `merge` makes of both.
 *   5. A makes it, is taken for dead and comes back as owner while we ask B: we ask A again, which remembers the id and
 *      gives the answer of then.
 *   6. compareAndSet at B after A, as in 1: B has no record of that version, so it says no, and that is so: the value of
 *      before is gone, and so is the one that A may have set. With `null`, "only if absent", B sets it; A's is gone.
 *
 * What comes back then is not always what A said. A caller that needs to know reads after it.
 *
 * A change that waits for backups and has too few of them in time was made all the same: its caller is told both.
 */
import type { MeshError } from '../base/errors.ts'
import type { CacheDefinition } from '../fill/definition.ts'
import type { Stats } from '../observe/stats.ts'
import type { PeerId } from '../ports/transport.ts'
import { CallFailed, type Client } from '../rpc/client.ts'
import type { Change, ChangeOf, MessageOf, Once, Reply, SignedChange } from '../rpc/messages.ts'
import type { MeshClock } from '../store/version.ts'
import { outcomeUnknown, overloaded, tooFewBackups, tooLarge, unavailable, unexpected } from './failures.ts'
import type { Routes } from './routes.ts'
import type { Sessions } from './sessions.ts'

/** Owners that sent us away because views or clocks disagreed. */
const REFUSALS_MAX = 3

export interface ChangesDeps {
  readonly boot: number
  readonly routes: Routes
  readonly client: Client
  /** Where this member decides itself. Answered when so many backups have it as the change waits for, or time is up. */
  readonly makeHere: (change: SignedChange) => Promise<Reply>
  /** A change that holds a record was made there. */
  readonly onMade: (namespace: string, peer: PeerId) => void
  readonly meshClock: MeshClock
  readonly stats: Stats
  readonly sessions: Sessions
  /** How long one member may take to answer; then the change is sent again. */
  readonly attemptMs: number
}

type About = Pick<CacheDefinition, 'name'>

interface Wish {
  readonly about: About
  readonly change: Change
  /** Who decides at the time; `gone`: the change has become pointless. */
  readonly target: () => PeerId | undefined | 'gone'
  readonly timeoutMs: number
  readonly onWritten?: OnWritten | undefined
}

/** Nothing is lost by one that nobody hears of again. */
const HARMLESS: ReadonlySet<Change['type']> = new Set(['ticket'])

/** Adding twice or comparing twice is not the same as once. */
const REPEATABLE: ReadonlySet<Change['type']> = new Set(['write', 'remove', 'touch', 'clear', 'originHas'])

/** Told of a write as soon as it is known that it was made, also where too few backups have it. */
export type OnWritten = (reply: MessageOf<'written' | 'removed' | 'compared' | 'unacked'>) => void

export class Changes {
  readonly #deps: ChangesDeps
  readonly #numbers = new Numbers()

  constructor(deps: ChangesDeps) {
    this.#deps = deps
  }

  write(
    about: About,
    change: ChangeOf<'write'>,
    timeoutMs: number,
    onWritten?: OnWritten
  ): Promise<MessageOf<'written'>> {
    return this.#atOwner(about, change, timeoutMs, 'written', onWritten)
  }

  remove(
    about: About,
    change: ChangeOf<'remove'>,
    timeoutMs: number,
    onWritten?: OnWritten
  ): Promise<MessageOf<'removed'>> {
    return this.#atOwner(about, change, timeoutMs, 'removed', onWritten)
  }

  compareAndSet(
    about: About,
    change: ChangeOf<'compareAndSet'>,
    timeoutMs: number,
    onWritten?: OnWritten
  ): Promise<MessageOf<'compared'>> {
    return this.#atOwner(about, change, timeoutMs, 'compared', onWritten)
  }

  touch(about: About, change: ChangeOf<'touch'>, timeoutMs: number): Promise<MessageOf<'touched'>> {
    return this.#atOwner(about, change, timeoutMs, 'touched')
  }

  add(about: About, change: ChangeOf<'add'>, timeoutMs: number): Promise<MessageOf<'added'>> {
    return this.#atOwner(about, change, timeoutMs, 'added')
  }

  ticket(about: About, change: ChangeOf<'ticket'>, timeoutMs: number): Promise<MessageOf<'ticketed'>> {
    return this.#atOwner(about, change, timeoutMs, 'ticketed')
  }

  originHas(about: About, change: ChangeOf<'originHas'>, timeoutMs: number): Promise<MessageOf<'heeded'>> {
    return this.#atOwner(about, change, timeoutMs, 'heeded')
  }

  /** At one member, as long as it is here; undefined when it is not, or is another process by now. */
  async clearAt(
    about: About,
    change: ChangeOf<'clear'>,
    member: { readonly id: PeerId; readonly boot: number },
    timeoutMs: number
  ): Promise<MessageOf<'cleared'> | undefined> {
    const isHere = (): boolean =>
      this.#deps.routes.deps.owners().some(({ id, boot }) => id === member.id && boot === member.boot)
    const target = (): PeerId | 'gone' => (isHere() ? member.id : 'gone')
    const reply = await this.#run({ about, change, target, timeoutMs })
    if (reply === undefined || reply.type === 'cleared') return reply
    throw unexpected(about, reply)
  }

  async #atOwner<K extends Reply['type']>(
    about: About,
    change: Exclude<Change, { type: 'clear' }>,
    timeoutMs: number,
    answer: K,
    onWritten?: OnWritten
  ): Promise<Extract<Reply, { type: K }>> {
    const target = (): PeerId | undefined => this.#deps.routes.deps.ownerOf(change.namespace, change.key)
    const reply = (await this.#run({ about, change, target, timeoutMs, onWritten })) as Reply
    if (reply.type === answer) return reply as Extract<Reply, { type: K }>
    throw unexpected(about, reply)
  }

  #run(wish: Wish): Promise<Reply | undefined> {
    return new Errand(this.#deps, this.#numbers, wish).run()
  }
}

/** The numbers of this member's changes; what is open may still be sent. */
class Numbers {
  #last = 0
  readonly #open = new Set<number>()

  /** Numbers only rise, so the first one in is the lowest. */
  get openFrom(): number {
    return this.#open.values().next().value ?? this.#last + 1
  }

  take(): number {
    this.#open.add(++this.#last)
    return this.#last
  }

  settle(number: number): void {
    this.#open.delete(number)
  }
}

class Errand {
  readonly #deps: ChangesDeps
  readonly #numbers: Numbers
  readonly #wish: Wish
  readonly #endMs: number
  #number: number
  #untilMs: number
  /** Members that may have made it: they were asked and have not said no. */
  readonly #doubts = new Set<PeerId>()
  #sendings = 0
  #refusals = 0

  constructor(deps: ChangesDeps, numbers: Numbers, wish: Wish) {
    this.#deps = deps
    this.#numbers = numbers
    this.#wish = wish
    this.#endMs = deps.routes.deps.clock.monotonic() + wish.timeoutMs
    this.#number = numbers.take()
    this.#untilMs = deps.meshClock.now() + wish.timeoutMs
  }

  async run(): Promise<Reply | undefined> {
    try {
      return await this.#untilDone()
    } finally {
      this.#numbers.settle(this.#number)
    }
  }

  async #untilDone(): Promise<Reply | undefined> {
    const { routes, makeHere } = this.#deps
    const { self, isReachable } = routes.deps
    while (this.#leftMs > 0 && this.#refusals <= REFUSALS_MAX) {
      const peer = this.#wish.target()
      if (peer === 'gone') return undefined
      if (peer === undefined || !isReachable(peer)) await routes.change(this.#leftMs)
      else {
        const reply = await (peer === self ? makeHere(this.#signed()) : this.#send(peer))
        if (reply !== undefined && !(await this.#isRefused(peer, reply))) return this.#decided(peer, reply)
      }
    }
    throw this.#doubtful() ?? unavailable(this.#wish.about)
  }

  async #send(peer: PeerId): Promise<Reply | undefined> {
    const { client, attemptMs, stats } = this.#deps
    if (this.#sendings++ > 0) stats.changesResentTotal++
    try {
      const timeoutMs = Math.max(1, Math.min(attemptMs, this.#leftMs))
      // Who says that it waits for backups has all the time there is: it has heard us.
      const terms = { timeoutMs, loadMs: Math.max(0, this.#leftMs - timeoutMs) }
      return await client.call(peer, this.#signed(), terms).reply
    } catch (error) {
      if (!(error instanceof CallFailed)) throw error
      if (error.end === 'overloaded') throw this.#doubtful() ?? overloaded(this.#wish.about)
      // One that waits in a queue beyond its time may still leave, unless the link is gone and the queue with it.
      if ((error.sent || error.end === 'timeout') && !HARMLESS.has(this.#wish.change.type)) this.#doubts.add(peer)
      return undefined
    }
  }

  /** True when it was not made there and may be asked for again. */
  async #isRefused(peer: PeerId, reply: Reply): Promise<boolean> {
    switch (reply.type) {
      case 'notOwner':
        // It looked into its memory first: it has not made it before either.
        this.#doubts.delete(peer)
        this.#refusals++
        if (peer !== this.#deps.routes.deps.self) await this.#deps.routes.deps.agreeWith(peer)
        return true
      case 'forgotten': {
        const doubtful = this.#doubtful()
        if (doubtful !== undefined) throw doubtful
        // Its clock is ahead of what ours was, and has come with the answer; nobody has made it: it may begin anew.
        this.#refusals++
        this.#beginAnew()
        return true
      }
      case 'broken':
        if (HARMLESS.has(this.#wish.change.type)) throw unexpected(this.#wish.about, reply)
        throw this.#unknown(peer, `could not serve the request (${reply.reason})`)
      case 'overloaded':
        throw this.#doubtful() ?? overloaded(this.#wish.about)
      default:
        return false
    }
  }

  #decided(peer: PeerId, reply: Reply): Reply {
    const { about, change } = this.#wish
    this.#noteMade(reply)
    if (reply.type === 'tooLarge') {
      // What the owner has no room for is not made there; somebody asked before may have had the room.
      this.#doubts.delete(peer)
      throw this.#doubtful() ?? tooLarge(about, reply)
    }
    this.#tell(peer, reply)
    if (reply.type !== 'unacked') return reply
    throw tooFewBackups(about, peer, change.type, reply, REPEATABLE.has(change.type))
  }

  #tell(peer: PeerId, reply: Reply): void {
    const { change, onWritten } = this.#wish
    switch (reply.type) {
      case 'written':
      case 'removed':
      case 'unacked':
        onWritten?.(reply)
        break
      case 'compared':
        if (!reply.done) return
        onWritten?.(reply)
        break
      case 'touched':
      case 'added':
        break
      default:
        return
    }
    this.#deps.onMade(change.namespace, peer)
  }

  /** Whoever reads here from now on reads this or what came after it. */
  #noteMade(reply: Reply): void {
    const { change } = this.#wish
    if (!('backups' in change) || change.backups === 0 || !('stamp' in reply)) return
    const { routes, sessions } = this.#deps
    sessions.saw(routes.deps.partitionOf(change.namespace, change.key), reply.stamp)
  }

  #beginAnew(): void {
    this.#numbers.settle(this.#number)
    this.#number = this.#numbers.take()
    this.#untilMs = this.#deps.meshClock.now() + this.#leftMs
  }

  #signed(): SignedChange {
    const once: Once = {
      boot: this.#deps.boot,
      number: this.#number,
      openFrom: this.#numbers.openFrom,
      untilMs: this.#untilMs
    }
    return { ...this.#wish.change, ...once } as SignedChange
  }

  get #leftMs(): number {
    return this.#endMs - this.#deps.routes.deps.clock.monotonic()
  }

  /** What to say when nothing more can be done; undefined when surely nobody has made it. */
  #doubtful(): MeshError | undefined {
    const [member] = this.#doubts
    return member === undefined ? undefined : this.#unknown(member, 'did not answer in time')
  }

  #unknown(member: PeerId, why: string): MeshError {
    return outcomeUnknown(this.#wish.about, member, why, REPEATABLE.has(this.#wish.change.type))
  }
}
