/**
 * The processes of a benchmark: each has a deadline to start, and all of them, with their temporary directory, end with
 * the benchmark, however it ends.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const START_MS_MAX = 30_000
const POLL_MS = 20

export class Processes {
  readonly directory = mkdtempSync(join(tmpdir(), 'cachemesh-bench-'))
  readonly #running = new Set<ChildProcess>()

  constructor() {
    process.once('exit', () => {
      this.#killAll()
      rmSync(this.directory, { recursive: true, force: true })
    })
    for (const [signal, code] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
      ['SIGHUP', 129]
    ] as const)
      process.once(signal, () => process.exit(code))
  }

  /** One of our own programs. Its first message says that it has started. */
  async program<First>(
    name: string,
    plan: object,
    execArgv: readonly string[] = [],
    startMsMax = START_MS_MAX
  ): Promise<Program<First>> {
    const child = fork(join(import.meta.dirname, `${name}.js`), [JSON.stringify(plan)], {
      env: this.#env(),
      execArgv: [...execArgv],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc']
    })
    this.#watch(child)
    const program = new Program<First>(name, child, startMsMax)
    await program.started
    return program
  }

  /** Somebody else's server, on a free port; resolves with the port once it answers there. */
  async server(command: string, args: (port: number) => readonly string[]): Promise<number> {
    const port = await freePort()
    const child = spawn(command, args(port), { env: this.#env(), stdio: 'ignore', cwd: this.directory })
    this.#watch(child)
    const untilMs = performance.now() + START_MS_MAX
    while (!(await answers(port))) {
      if (child.exitCode !== null || performance.now() > untilMs) throw new Error(`${command} did not start`)
      await sleep(POLL_MS)
    }
    return port
  }

  async endAll(): Promise<void> {
    const ended = [...this.#running].map(child => once(child, 'exit'))
    this.#killAll()
    await Promise.all(ended)
  }

  #killAll(): void {
    for (const child of this.#running) child.kill('SIGKILL')
  }

  #watch(child: ChildProcess): void {
    this.#running.add(child)
    child.once('exit', () => this.#running.delete(child))
  }

  /** Without what a test runner sets, which makes a mesh stay alone; temporary files where we clean up. */
  #env(): NodeJS.ProcessEnv {
    const { PATH, HOME, USER } = process.env
    return { PATH, HOME, USER, TMPDIR: this.directory }
  }
}

/** Messages go there and come back one by one. */
export class Program<First> {
  readonly child: ChildProcess
  readonly started: Promise<First>
  readonly #name: string
  #ended: Promise<never>

  constructor(name: string, child: ChildProcess, startMsMax: number) {
    this.#name = name
    this.child = child
    this.#ended = once(child, 'exit').then(([code, signal]) => {
      throw new Error(`${name} ended with ${code ?? signal}`)
    })
    // Whoever waits for an answer races it and hears. Between two answers nobody does: the next one to ask will.
    this.#ended.catch(() => {})
    this.started = this.#answer(startMsMax)
  }

  ask<A>(message: object, msMax: number): Promise<A> {
    const answer = this.#answer<A>(msMax)
    this.child.send(message)
    return answer
  }

  async end(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const ended = once(this.child, 'exit')
    this.child.kill('SIGKILL')
    await ended
  }

  async #answer<A>(msMax: number): Promise<A> {
    const late = new AbortController()
    try {
      const silence = sleep(msMax, undefined, { signal: late.signal }).then(() => {
        throw new Error(`${this.#name} did not answer within ${msMax} ms`)
      })
      const [answer] = (await Promise.race([once(this.child, 'message', late), this.#ended, silence])) as [unknown]
      if (typeof answer === 'object' && answer !== null && 'error' in answer) throw new Error(String(answer.error))
      return answer as A
    } finally {
      late.abort()
    }
  }
}

/** Whether a program of that name is on the PATH. */
export function isInstalled(command: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some(directory => {
    try {
      accessSync(join(directory, command), constants.X_OK)
      return true
    } catch {
      // Not in this directory, or not to be run.
      return false
    }
  })
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  return new Promise(resolve => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
  }).then(isThere => {
    socket.destroy()
    return isThere as boolean
  })
}
