/**
 * Real processes for a test: starts them, asks them with a deadline, and ends all it has started. Each set has a
 * temporary directory of its own, which is also where the default `local()` looks, so that no test meets the members of
 * another or of a mesh that runs on this machine.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { AskedProcess } from './asked.ts'
import type { Asking, Commands, Load, OriginAnswer, Plan, Tally, ToChild } from './member.ts'

/** What a call of the origin takes. */
const ORIGIN_MS = 50
const POLL_MS = 20

/** Where the compiled programs are that tests start. */
export const PROGRAMS = resolve(import.meta.dirname, '../../dist/test/e2e')

/**
 * The environment of a process that is no test: a test runner's variables, which children inherit, make a mesh stay
 * alone.
 */
export function plainEnv(dir: string, more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const { PATH, HOME, USER } = process.env
  return { PATH, HOME, USER, TMPDIR: dir, ...more }
}

export class MemberProcess extends AskedProcess<Commands> {
  constructor(child: ChildProcess, origin: (load: Load) => Promise<OriginAnswer>) {
    super(child, message => {
      if ('load' in message) void this.#load(message as Asking, origin)
    })
  }

  async #load({ load, of }: Asking, origin: (load: Load) => Promise<OriginAnswer>): Promise<void> {
    this.tell({ load, answer: await origin(of) } satisfies ToChild)
  }
}

export class Processes {
  readonly dir = mkdtempSync(join(tmpdir(), 'cachemesh-e2e-'))
  /** Every call of the origin, in order. */
  readonly loads: Load[] = []
  readonly #started: MemberProcess[] = []
  #answer: (load: Load) => OriginAnswer | Promise<OriginAnswer> = load => ({ value: `loaded ${String(load.key)}` })

  /** What the origin answers from now on. */
  answering(answer: (load: Load) => OriginAnswer | Promise<OriginAnswer>): void {
    this.#answer = answer
  }

  /** A process without a mesh yet. */
  start(more: NodeJS.ProcessEnv = {}): MemberProcess {
    const child = fork(join(PROGRAMS, 'member.js'), {
      env: plainEnv(this.dir, more),
      execArgv: [],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc']
    })
    const member = new MemberProcess(child, load => this.#origin(load))
    this.#started.push(member)
    return member
  }

  /** A process and its member; resolves when `createMesh` has. */
  async member(plan: Plan): Promise<MemberProcess> {
    const process = this.start()
    await process.ask('create', plan)
    return process
  }

  /** `count` processes at once, each a member; resolves when they are one mesh. */
  async mesh(count: number, plan: Plan): Promise<MemberProcess[]> {
    const members = Array.from({ length: count }, () => this.start())
    await Promise.all(members.map(member => member.ask('create', plan)))
    await allReady(members, count)
    return members
  }

  async end(): Promise<void> {
    await Promise.all(this.#started.splice(0).map(process => process.kill()))
    rmSync(this.dir, { recursive: true, force: true })
  }

  async #origin(load: Load): Promise<OriginAnswer> {
    this.loads.push(load)
    await sleep(ORIGIN_MS)
    return this.#answer(load)
  }
}

export async function allReady(members: readonly MemberProcess[], count: number, timeoutMs = 15_000): Promise<void> {
  await Promise.all(members.map(member => member.ask('ready', count, timeoutMs)))
}

/** The ids each of them sees, itself included, in one order. */
export function viewsOf(members: readonly MemberProcess[]): Promise<string[][]> {
  return Promise.all(members.map(async member => (await member.ask('members')).map(each => each.id).sort()))
}

export async function addressOf(member: MemberProcess): Promise<string> {
  const self = (await member.ask('members')).find(each => each.self)
  const address = self?.addresses[0]
  if (address === undefined) throw new Error(`process ${member.pid} does not listen`)
  return address
}

export function total(tallies: readonly Tally[]): Tally {
  const sum: Tally = {}
  for (const tally of tallies) for (const [text, count] of Object.entries(tally)) sum[text] = (sum[text] ?? 0) + count
  return sum
}

/** Looks until it holds, and tells how long that took; fails when it does not in time. */
export async function until(what: string, msMax: number, holds: () => boolean | Promise<boolean>): Promise<number> {
  const beganMs = performance.now()
  while (performance.now() - beganMs < msMax) {
    if (await holds()) return performance.now() - beganMs
    await sleep(POLL_MS)
  }
  throw new Error(`did not happen within ${msMax} ms: ${what}`)
}

/** The first of `count` ports in a row that are free now, away from those a system hands out by itself. */
export async function freePorts(count: number): Promise<number> {
  for (let tries = 0; tries < 50; tries++) {
    const from = 12_000 + Math.floor(Math.random() * 15_000)
    const free = await Promise.all(Array.from({ length: count }, (_, i) => isFree(from + i)))
    if (free.every(Boolean)) return from
  }
  throw new Error(`no ${count} free ports in a row`)
}

function isFree(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
