/**
 * The processes of one mesh whose cache keeps copies, and the origin's side of it: which keys it was called for. Whoever
 * is killed or leaves is replaced by the scenario that did it.
 */
import { fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { AskedProcess } from '../asked.ts'
import type { Calls } from './load.ts'
import type { CopyCommands, CopyPlan, CopyState, Found, OriginCalls } from './member.ts'

const POLL_MS = 100
const LEVEL_MS_MAX = 25_000
/** The compiled program, also for tests, which run from the sources. */
const PROGRAM = join(
  import.meta.filename.endsWith('.ts')
    ? resolve(import.meta.dirname, '../../../dist/test/e2e/copies')
    : import.meta.dirname,
  'member.js'
)

export type CopyMember = AskedProcess<CopyCommands>

export interface OriginCall {
  readonly key: string
  readonly pid: number
}

export class Crew {
  readonly dir = mkdtempSync(join(tmpdir(), 'cachemesh-copies-'))
  readonly plan: CopyPlan
  /** Those that own keys, oldest first. */
  members: CopyMember[] = []
  /** For which keys which processes called the origin, in order. */
  readonly originCalls: OriginCall[] = []
  readonly #started = new Set<CopyMember>()

  private constructor(plan: Omit<CopyPlan, 'dir'>) {
    this.plan = { ...plan, dir: this.dir }
    // However the run ends, nobody is left behind; a process that stands still would not notice by itself.
    process.once('exit', this.#clear)
  }

  /** As many processes, one mesh, nothing in it. */
  static async open(count: number, plan: Omit<CopyPlan, 'dir'>): Promise<Crew> {
    const crew = new Crew(plan)
    try {
      crew.members = Array.from({ length: count }, () => crew.start())
      await Promise.all(crew.members.map(member => member.ask('create', crew.plan)))
      await Promise.all(crew.members.map(member => member.ask('ready', count)))
      await crew.level()
      return crew
    } catch (error) {
      await crew.end()
      throw error
    }
  }

  /** A process without a mesh yet. */
  start(): CopyMember {
    const { PATH, HOME, USER } = process.env
    const child = fork(PROGRAM, {
      env: { PATH, HOME, USER, TMPDIR: this.dir },
      execArgv: [],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc']
    })
    const member: CopyMember = new AskedProcess(child, message => {
      if (!('originCalls' in message)) return
      for (const key of (message as OriginCalls).originCalls) this.originCalls.push({ key, pid: member.pid })
    })
    this.#started.add(member)
    return member
  }

  /** One more of them, which has joined the mesh and may have nothing yet. */
  async add(): Promise<CopyMember> {
    const member = this.start()
    await member.ask('create', this.plan)
    this.members.push(member)
    return member
  }

  /** The process has gone, or goes now; the crew is without it. */
  async remove(member: CopyMember): Promise<void> {
    this.members = this.members.filter(each => each !== member)
    await member.kill()
    this.#started.delete(member)
  }

  states(): Promise<CopyState[]> {
    return Promise.all(this.members.map(member => member.ask('state')))
  }

  /**
   * Resolves with how long it took until all see the same `count` members and each says that it has what it should, and
   * its backups too.
   */
  async level(count = this.members.length): Promise<number> {
    return this.#until(
      'level',
      states => isOneView(states, count) && states.every(each => each.warming === 0 && each.withoutBackup === 0)
    )
  }

  async seen(count: number): Promise<number> {
    return this.#until(`${count} members in every view`, states => isOneView(states, count))
  }

  /** Half of them are loaded and half written, each by one of the members. */
  async fill(keys: readonly string[]): Promise<void> {
    const shares = this.#shares(keys)
    await Promise.all(
      this.members.map((member, i) => member.ask('fill', shares[i] as string[], i % 2 === 0 ? 'load' : 'set'))
    )
    await this.level()
    this.originCalls.length = 0
  }

  /** Reads each key once, each member a share of them. */
  async find(keys: readonly string[]): Promise<Found> {
    const shares = this.#shares(keys)
    const found = await Promise.all(this.members.map((member, i) => member.ask('find', shares[i] as string[])))
    return {
      read: keys.length,
      wrong: found.flatMap(each => each.wrong),
      failed: found.flatMap(each => each.failed)
    }
  }

  async startReading(keys: readonly string[], perSecond: number, members = this.members): Promise<void> {
    await Promise.all(members.map(member => member.ask('startReading', keys, perSecond)))
  }

  stopReading(members = this.members): Promise<Calls[]> {
    return Promise.all(members.map(member => member.ask('stopReading')))
  }

  /** What the members have warned of since `sinceMs`, and what is in their stats, for whoever wonders why. */
  async report(): Promise<string> {
    const told = this.members.map(async (member, i) => {
      const [state, warnings] = await Promise.all([member.ask('state'), member.ask('warnings')])
      return `member ${i} (${member.pid}): ${JSON.stringify(state)}\n  ${warnings.slice(-10).join('\n  ')}`
    })
    return (await Promise.all(told)).join('\n')
  }

  async end(): Promise<void> {
    await Promise.all([...this.#started].map(member => member.kill()))
    process.off('exit', this.#clear)
    this.#clear()
  }

  readonly #clear = (): void => {
    for (const member of this.#started) void member.kill()
    this.#started.clear()
    rmSync(this.dir, { recursive: true, force: true })
  }

  #shares(keys: readonly string[]): string[][] {
    const count = this.members.length
    return this.members.map((_, i) => keys.filter((_key, k) => k % count === i))
  }

  async #until(what: string, holds: (states: readonly CopyState[]) => boolean): Promise<number> {
    const beganMs = performance.now()
    while (performance.now() - beganMs < LEVEL_MS_MAX) {
      if (holds(await this.states())) return performance.now() - beganMs
      await sleep(POLL_MS)
    }
    throw new Error(`not within ${LEVEL_MS_MAX} ms: ${what}\n${await this.report()}`)
  }
}

function isOneView(states: readonly CopyState[], count: number): boolean {
  const [first] = states
  return first?.members.length === count && states.every(each => isDeepStrictEqual(each.members, first.members))
}

export function keysOf(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `thing ${i}`)
}
