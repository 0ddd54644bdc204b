/**
 * Workers of one primary share every port that they listen on, unless told not to: a mesh of them would be dialled at
 * one address and answered by any. Here each must have its own, and all must be one mesh.
 */
import { type ChildProcess, execFile, fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { freePorts, PROGRAMS, plainEnv, until } from './processes.ts'
import type { WorkerPlan, WorkerReport } from './worker.ts'

const WORKERS = 4
const CALLERS = 1_000
const ORIGIN_MS = 50
const REPORTS_MS_MAX = 60_000

const require = createRequire(import.meta.url)
let dir: string
let origin: Origin

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'cachemesh-workers-'))
  origin = await startOrigin()
})

afterEach(async () => {
  await origin.close()
  rmSync(dir, { recursive: true, force: true })
})

describe.each([
  ['each on any free port', async () => undefined],
  ['on one range of ports', async () => rangeOf(await freePorts(8), 8)]
])('workers %s', (_, makeListen) => {
  it('of node:cluster are one mesh, each with a port of its own', async () => {
    const listen = await makeListen()
    const primary = startPrimary(planFor(listen))
    try {
      const reports = await origin.reports()
      expectOneMesh(reports, listen)
    } finally {
      await stop(primary)
    }
  })

  it('of PM2 in cluster mode are one mesh, each with a port of its own', async () => {
    const listen = await makeListen()
    const pm2 = pm2In(dir, { ORIGIN: origin.url, PLAN: JSON.stringify(planFor(listen)) })
    try {
      await pm2('start', join(PROGRAMS, 'worker.js'), '-i', String(WORKERS), '--no-autorestart', '--no-pmx')
      const reports = await origin.reports()
      const processes: { pm2_env: { exec_mode: string } }[] = JSON.parse(await pm2('jlist'))
      expect(processes.map(each => each.pm2_env.exec_mode)).toEqual(Array(WORKERS).fill('cluster_mode'))
      expectOneMesh(reports, listen)
    } finally {
      // Ends the workers and then its own daemon.
      await pm2('kill')
    }
  })
})

function planFor(listen: string | undefined): WorkerPlan {
  const plan = { name: 'workers', members: WORKERS, callers: CALLERS }
  return listen === undefined ? plan : { ...plan, listen }
}

function rangeOf(from: number, count: number): string {
  return `127.0.0.1:${from}-${from + count - 1}`
}

function expectOneMesh(reports: readonly WorkerReport[], listen: string | undefined): void {
  const addresses = reports.flatMap(report => report.addresses)
  console.log(`workers at ${[...addresses].sort().join(' ')}, ${origin.loads} origin calls`)
  expect(addresses.length).toBe(WORKERS)
  expect(new Set(addresses).size).toBe(WORKERS)
  expect(new Set(reports.map(report => report.id)).size).toBe(WORKERS)
  expect(reports.map(report => report.members)).toEqual(Array(WORKERS).fill(WORKERS))
  expect(reports.map(report => report.values)).toEqual(Array(WORKERS).fill(['loaded /load/lamp']))
  expect(origin.loads).toBe(1)
  if (listen === undefined) return
  const [, from, to] = /:(\d+)-(\d+)$/.exec(listen) ?? []
  for (const address of addresses) {
    const port = Number(address.split(':').at(-1))
    expect(port).toBeGreaterThanOrEqual(Number(from))
    expect(port).toBeLessThanOrEqual(Number(to))
  }
}

function startPrimary(plan: WorkerPlan): ChildProcess {
  const env = plainEnv(dir, { WORKERS: String(WORKERS), ORIGIN: origin.url, PLAN: JSON.stringify(plan) })
  return fork(join(PROGRAMS, 'primary.js'), { env, execArgv: [] })
}

/** Its workers end with it: the channel to their primary is all that ties them to life. */
async function stop(primary: ChildProcess): Promise<void> {
  if (primary.exitCode !== null) return
  const ended = new Promise(resolve => primary.once('exit', resolve))
  primary.kill()
  await ended
}

/** PM2 with a home of its own, so that it meets no daemon of this machine and leaves none; it calls nobody. */
function pm2In(home: string, more: NodeJS.ProcessEnv): (...args: string[]) => Promise<string> {
  const program = require.resolve('pm2/bin/pm2')
  const own = { PM2_HOME: join(home, 'pm2'), PM2_DISCRETE_MODE: 'true', PM2_DISABLE_VERSION_CHECK: 'true' }
  const env = plainEnv(home, { ...more, ...own, PM2_PROGRAMMATIC: 'true' })
  return async (...args) => {
    const { stdout } = await promisify(execFile)(process.execPath, [program, ...args], { env, timeout: 60_000 })
    return stdout
  }
}

interface Origin {
  readonly url: string
  readonly loads: number
  /** Of all workers; fails with what a worker says when it fails. */
  reports(): Promise<readonly WorkerReport[]>
  close(): Promise<void>
}

/** Workers are started by a primary, not by the test, so they come by HTTP. */
async function startOrigin(): Promise<Origin> {
  const reports: WorkerReport[] = []
  const failures: string[] = []
  const ready: (() => void)[] = []
  let loads = 0
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    const path = request.url ?? ''
    if (path === '/ready') {
      await new Promise<void>(resolve => {
        ready.push(resolve)
        if (ready.length === WORKERS) for (const go of ready) go()
      })
    } else if (path === '/report') reports.push(JSON.parse(body))
    else if (path === '/failed') failures.push(body)
    else {
      loads++
      await sleep(ORIGIN_MS)
    }
    response.end(`loaded ${path}`)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    get loads() {
      return loads
    },
    async reports() {
      await until('all workers report', REPORTS_MS_MAX, () => failures.length > 0 || reports.length === WORKERS)
      expect(failures).toEqual([])
      return reports
    },
    async close() {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    }
  }
}
