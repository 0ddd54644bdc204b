/**
 * `npm run demo`: an origin and five application processes on this machine, one mesh. It shows who owns what, a cold key
 * asked for by all of them at once, and that nothing is lost when a process is killed.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Order, Report } from './protocol.ts'

const MEMBERS = 5
const GETS = 1_000
const PRODUCTS = 500
const ORDER_MS_MAX = 20_000

type OrderOf<O> = O extends { number: number } ? Omit<O, 'number'> : never

class Member {
  readonly child: ChildProcess
  readonly name: string
  id = ''
  #orders = 0

  constructor(name: string, originPort: number, directory: string) {
    this.name = name
    this.child = fork(join(import.meta.dirname, 'member.js'), [String(originPort), directory], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc']
    })
  }

  async started(): Promise<void> {
    const [report] = (await once(this.child, 'message')) as [Report]
    if ('ready' in report) this.id = report.id
  }

  ask<T>(order: OrderOf<Order>): Promise<T> {
    const number = ++this.#orders
    return new Promise((resolve, reject) => {
      const late = setTimeout(
        () => reject(new Error(`${this.name} did not ${order.do} within ${ORDER_MS_MAX} ms`)),
        ORDER_MS_MAX
      )
      const onReport = (report: Report): void => {
        if (!('order' in report) || report.order !== number) return
        clearTimeout(late)
        this.child.off('message', onReport)
        if ('error' in report) reject(new Error(`${this.name}: ${report.error}`))
        else resolve(report.result as T)
      }
      this.child.on('message', onReport)
      this.child.send({ ...order, number })
    })
  }
}

const directory = mkdtempSync(join(tmpdir(), 'cachemesh-demo-'))
const children: ChildProcess[] = []

/** Whatever happens, nothing of the demo stays behind. */
function cleanUp(): void {
  for (const child of children) child.kill('SIGKILL')
  rmSync(directory, { recursive: true, force: true })
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    say('\nstopped')
    process.exit(130)
  })
}
process.on('exit', cleanUp)

try {
  await show()
} catch (error) {
  console.error(`the demo failed: ${(error as Error).message}`)
  process.exitCode = 1
}
process.exit()

async function show(): Promise<void> {
  const originPort = await startOrigin()
  const startedMs = performance.now()
  const members = Array.from({ length: MEMBERS }, (_, i) => new Member(`member ${i + 1}`, originPort, directory))
  children.push(...members.map(member => member.child))
  await Promise.all(members.map(member => member.started()))
  await showOwners(members, startedMs)
  await showColdKey(members, originPort)
  await showKill(members, originPort)
  await Promise.all(members.slice(1).map(member => member.ask({ do: 'leave' })))
  say('\nall members have left')
}

async function startOrigin(): Promise<number> {
  const origin = fork(join(import.meta.dirname, 'origin.js'), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  children.push(origin)
  const [{ port }] = (await once(origin, 'message')) as [{ port: number }]
  return port
}

async function showOwners(members: readonly Member[], startedMs: number): Promise<void> {
  const facts = await Promise.all(
    members.map(member => member.ask<{ partitionsOwned: number; address: string }>({ do: 'meet', members: MEMBERS }))
  )
  say(`${MEMBERS} processes are one mesh, ${seconds(performance.now() - startedMs)} after the first was started:\n`)
  const total = facts.reduce((sum, fact) => sum + fact.partitionsOwned, 0)
  facts.forEach((fact, i) => {
    const share = ((100 * fact.partitionsOwned) / total).toFixed(1)
    say(
      `  ${members[i]?.name}  ${fact.address.padEnd(16)}  owns ${String(fact.partitionsOwned).padStart(5)} of ${total} partitions (${share} %)`
    )
  })
}

async function showColdKey(members: readonly Member[], originPort: number): Promise<void> {
  say(`\n${GETS} concurrent gets of one cold key in each member, ${GETS * MEMBERS} in all:\n`)
  const startedMs = performance.now()
  const results = await Promise.all(
    members.map(member => member.ask<{ failed: number }>({ do: 'get', key: '42', times: GETS }))
  )
  const failed = results.reduce((sum, result) => sum + result.failed, 0)
  say(
    `  origin calls: ${await originCalls(originPort)}   failed gets: ${failed}   time: ${(performance.now() - startedMs).toFixed(0)} ms (the origin takes 50)`
  )
}

/** A mesh keeps each value twice: what a killed process held is read from its copies, and the origin hears nothing. */
async function showKill([victim, ...rest]: readonly Member[], originPort: number): Promise<void> {
  const keys = Array.from({ length: PRODUCTS }, (_, i) => `product-${i}`)
  await Promise.all(
    rest.map((member, m) => member.ask({ do: 'load', keys: keys.filter((_, i) => i % rest.length === m) }))
  )
  await Promise.all([victim as Member, ...rest].map(member => member.ask({ do: 'level' })))
  const before = await originCalls(originPort)
  say(
    `\n${PRODUCTS} products are in the mesh, each with a copy. Killing ${victim?.name} with SIGKILL, and reading all of`
  )
  say('them in every other at the same time:\n')
  victim?.child.kill('SIGKILL')
  let failed = 0
  let slowestMs = 0
  const read = async (member: Member): Promise<void> => {
    for (const key of keys) {
      const result = await member.ask<{ ms: number; failed: number }>({ do: 'get', key, times: 1 })
      failed += result.failed
      slowestMs = Math.max(slowestMs, result.ms)
    }
  }
  await Promise.all(rest.map(read))
  const calls = (await originCalls(originPort)) - before
  say(
    `  reads: ${PRODUCTS * rest.length}   failed: ${failed}   slowest: ${slowestMs.toFixed(0)} ms   origin calls: ${calls}`
  )
  await Promise.all(rest.map(member => member.ask({ do: 'meet', members: rest.length })))
  await Promise.all(rest.map(member => member.ask({ do: 'level' })))
  say(`  the other ${rest.length} agree on who is here, and each product has its copy again`)
}

async function originCalls(port: number): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${port}/calls`)
  return Number(await response.text())
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}

function say(line: string): void {
  console.log(line)
}
