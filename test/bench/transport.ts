/**
 * What the transport alone costs: calls from one process to another, 60 bytes there and 1 KB back, batched by turn as
 * the core does it, against bare TCP with the same batching and with none.
 *
 *   npm run bench:transport                         the table
 *   npm run bench:transport -- --rounds 9 --ms 400 --json FILE
 *
 * Lines take turns within each round, so that what else the machine does falls on all alike; figures are medians.
 */
import { fork } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { Ports } from './transport-echo.ts'
import {
  Batch,
  dialTcp,
  LARGE_CALL,
  LINE_KINDS,
  type Line,
  type LineKind,
  meshLine,
  meshTo,
  REQUEST_BYTES,
  readMessages
} from './transport-lines.ts'

const CALLERS = [1, 16, 64, 256]
const BESIDE_CALLERS = 64
const WARM_UP_MS = 300
/** Between large frames: without a pause they would measure how two processes share the machine. */
const LARGE_PAUSE_MS = 10

interface Row {
  readonly callsPerSecond: number
  readonly p50Us: number
  readonly p99Us: number
  /** Of both processes together. */
  readonly cpuUsPerCall: number
}

/** Calls of many callers on one line; each asks again as soon as it has its answer. */
class Caller {
  readonly #batch: Batch
  readonly #body = new Uint8Array(REQUEST_BYTES - 8)
  readonly #begun = new Map<number, number>()
  #last = 0
  #running = false
  #tookMs: number[] = []
  #onIdle: () => void = () => {}

  constructor(line: Line, alone: boolean) {
    this.#batch = new Batch(line, alone)
  }

  onFrame(frame: Uint8Array): void {
    const nowMs = performance.now()
    readMessages(frame, call => {
      const begunMs = this.#begun.get(call)
      if (begunMs === undefined) throw new Error('an answer to nothing')
      this.#begun.delete(call)
      this.#tookMs.push(nowMs - begunMs)
      if (this.#running) this.#ask()
      else if (this.#begun.size === 0) this.#onIdle()
    })
  }

  askForLarge(): void {
    this.#batch.add(LARGE_CALL, this.#body)
  }

  async run(callers: number, ms: number): Promise<number[]> {
    this.#tookMs = []
    this.#running = true
    for (let i = 0; i < callers; i++) this.#ask()
    await new Promise(resolve => setTimeout(resolve, ms))
    this.#running = false
    await new Promise<void>(resolve => {
      this.#onIdle = resolve
    })
    return this.#tookMs
  }

  #ask(): void {
    const call = ++this.#last % LARGE_CALL
    this.#begun.set(call, performance.now())
    this.#batch.add(call, this.#body)
  }
}

const { rounds, ms, json } = options()
const child = fork(fileURLToPath(new URL('transport-echo.js', import.meta.url)))
const { ports } = await answerOf<{ ports: Ports }>()
let largeFrames = 0
let wantsLarge = false
const callers = await dialAll(ports)

const results: Record<string, Record<LineKind, Row>> = {}
for (const kind of LINE_KINDS) await callers[kind].run(64, WARM_UP_MS)
for (const count of CALLERS) {
  const rows = new Map<LineKind, Row[]>(LINE_KINDS.map(kind => [kind, []]))
  for (let round = 0; round < rounds; round++)
    for (const kind of LINE_KINDS) rows.get(kind)?.push(await measure(callers[kind], count))
  const medians = LINE_KINDS.map(kind => [kind, medianRow(rows.get(kind) as Row[])] as const)
  results[count] = Object.fromEntries(medians) as Record<LineKind, Row>
  for (const [kind, row] of medians) print(count, kind, row, results[count]['tcp, batched'])
}

const quiet: number[] = []
const beside: number[] = []
let besideMs = 0
for (let round = 0; round < rounds; round++) {
  quiet.push((await measure(callers.mesh, BESIDE_CALLERS)).p99Us)
  wantsLarge = true
  callers.mesh.askForLarge()
  const beganMs = performance.now()
  beside.push((await measure(callers.mesh, BESIDE_CALLERS)).p99Us)
  besideMs += performance.now() - beganMs
  wantsLarge = false
  await new Promise(resolve => setTimeout(resolve, 50))
}
const large = {
  quietP99Us: median(quiet),
  besideP99Us: median(beside),
  besideMiBPerSecond: largeFrames / (besideMs / 1_000)
}
say(
  `p99 of ${BESIDE_CALLERS} callers: ${large.quietP99Us.toFixed(0)} µs alone, ${large.besideP99Us.toFixed(0)} µs beside ` +
    `a stream of 1 MiB frames (${large.besideMiBPerSecond.toFixed(0)} a second)`
)
if (json !== undefined)
  writeFileSync(json, `${JSON.stringify({ node: process.version, rounds, ms, results, large }, null, 2)}\n`)
child.disconnect()
process.exit()

async function dialAll({ mesh, batched, alone }: Ports): Promise<Record<LineKind, Caller>> {
  const { transport } = await meshLine(false, (_peer, frame, lane) => {
    if (lane === 'data') return meshCaller.onFrame(frame)
    largeFrames++
    if (wantsLarge) setTimeout(() => meshCaller.askForLarge(), LARGE_PAUSE_MS)
  })
  const meshCaller = new Caller(meshTo(transport, await transport.connect(mesh)), false)
  return { mesh: meshCaller, 'tcp, batched': await dial(batched, false), 'tcp, each alone': await dial(alone, true) }
}

async function dial(port: number, alone: boolean): Promise<Caller> {
  const { line } = await dialTcp(port, frame => caller.onFrame(frame))
  const caller = new Caller(line, alone)
  return caller
}

async function measure(caller: Caller, count: number): Promise<Row> {
  const before = await cpuUs()
  const beganMs = performance.now()
  const took = await caller.run(count, ms)
  const seconds = (performance.now() - beganMs) / 1_000
  const spentUs = (await cpuUs()) - before
  took.sort((a, b) => a - b)
  const at = (share: number) => (took[Math.floor(took.length * share)] as number) * 1_000
  return { callsPerSecond: took.length / seconds, p50Us: at(0.5), p99Us: at(0.99), cpuUsPerCall: spentUs / took.length }
}

async function cpuUs(): Promise<number> {
  const own = process.cpuUsage()
  child.send('cpu')
  const { cpu } = await answerOf<{ cpu: NodeJS.CpuUsage }>()
  return own.user + own.system + cpu.user + cpu.system
}

function answerOf<T>(): Promise<T> {
  return new Promise((resolve, reject) => {
    const onExit = () => reject(new Error('the other process has ended'))
    child.once('exit', onExit)
    child.once('message', message => {
      child.off('exit', onExit)
      resolve(message as T)
    })
  })
}

function medianRow(rows: readonly Row[]): Row {
  const of = (key: keyof Row) => median(rows.map(row => row[key]))
  return {
    callsPerSecond: of('callsPerSecond'),
    p50Us: of('p50Us'),
    p99Us: of('p99Us'),
    cpuUsPerCall: of('cpuUsPerCall')
  }
}

function median(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] as number
}

function print(count: number, kind: LineKind, row: Row, tcp: Row): void {
  const columns = [
    `${count} callers`.padStart(11),
    kind.padEnd(15),
    `${(row.callsPerSecond / 1_000).toFixed(1)} k/s`.padStart(10),
    `${(row.callsPerSecond / tcp.callsPerSecond).toFixed(2)} × tcp`.padStart(10),
    `p50 ${row.p50Us.toFixed(0)} µs`.padStart(12),
    `${row.cpuUsPerCall.toFixed(1)} µs of processor a call`.padStart(28)
  ]
  say(columns.join('  '))
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

function options() {
  try {
    const { values } = parseArgs({
      options: {
        rounds: { type: 'string', default: '5' },
        ms: { type: 'string', default: '300' },
        json: { type: 'string' }
      }
    })
    return {
      rounds: numberOf('rounds', values.rounds, 1, 100),
      ms: numberOf('ms', values.ms, 20, 60_000),
      json: values.json
    }
  } catch (error) {
    return refuse((error as Error).message)
  }
}

function numberOf(name: string, given: string, min: number, max: number): number {
  const value = Number(given)
  if (Number.isInteger(value) && value >= min && value <= max) return value
  return refuse(`Expected --${name} as a whole number from ${min} to ${max}, got '${given}'.`)
}

function refuse(message: string): never {
  process.stderr.write(`${message}\nOptions: --rounds N, --ms N, --json FILE\n`)
  process.exit(2)
}
