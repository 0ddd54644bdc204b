/**
 * A process that is asked by the names of its commands, each with a deadline: the side of the parent. The side of the
 * child is `answers.ts`.
 */
import type { ChildProcess } from 'node:child_process'
import type { Answer, Ask, CommandsOf } from './answers.ts'

const ASK_MS_MAX = 30_000

export class AskedProcess<C extends CommandsOf<C>> {
  readonly pid: number
  readonly ended: Promise<void>
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
  #asked = 0
  #stderr = ''
  #hasEnded = false

  /** `onOther` hears what the process says without having been asked. */
  constructor(child: ChildProcess, onOther: (message: object) => void = () => {}) {
    this.#child = child
    this.pid = child.pid as number
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text
    })
    child.on('message', (message: Answer | object) => {
      if ('ask' in message) this.#settle(message)
      else onOther(message)
    })
    this.ended = new Promise(resolve =>
      child.once('close', (code, signal) => {
        this.#hasEnded = true
        const error = new Error(`process ${this.pid} ended (${code ?? signal})\n${this.#stderr}`)
        for (const { reject } of this.#waiting.values()) reject(error)
        resolve()
      })
    )
  }

  /** What it has written to its standard error so far. */
  get stderr(): string {
    return this.#stderr
  }

  ask<N extends keyof C>(name: N, ...args: Parameters<C[N]>): Promise<Awaited<ReturnType<C[N]>>> {
    const ask = ++this.#asked
    return new Promise((resolve, reject) => {
      const fail = (error: Error) => {
        clearTimeout(timer)
        this.#waiting.delete(ask)
        reject(error)
      }
      const timer = setTimeout(() => {
        fail(new Error(`process ${this.pid} did not answer '${String(name)}' within ${ASK_MS_MAX} ms\n${this.#stderr}`))
      }, ASK_MS_MAX)
      if (this.#hasEnded) return fail(new Error(`process ${this.pid} has ended\n${this.#stderr}`))
      this.#waiting.set(ask, {
        resolve: value => {
          clearTimeout(timer)
          this.#waiting.delete(ask)
          resolve(value as Awaited<ReturnType<C[N]>>)
        },
        reject: fail
      })
      this.tell({ ask, name: String(name), args } satisfies Ask)
    })
  }

  /** As a crash would: no handler runs. Resolves when it has gone. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.ended
  }

  /** Stands still with its sockets open, as under a debugger or a full stop of its container. */
  pause(): void {
    this.#child.kill('SIGSTOP')
  }

  resume(): void {
    this.#child.kill('SIGCONT')
  }

  protected tell(message: object): void {
    // It may have been killed while somebody was at work for it: then nobody waits for this.
    if (this.#child.connected) this.#child.send(message)
  }

  #settle(message: Answer): void {
    const waiting = this.#waiting.get(message.ask)
    if ('value' in message) return waiting?.resolve(message.value)
    const { name, message: text, code, stack } = message.failure
    waiting?.reject(Object.assign(new Error(text), { name, code, stack: `in process ${this.pid}: ${stack}` }))
  }
}
