/** A mesh starts nothing that it was not asked for, and lets go of the process when it is told to. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createMesh, sharedMesh } from '../../lib/index.ts'
import { addressOf, PROGRAMS, Processes, plainEnv } from './processes.ts'
import type { ShortLife, ShortLifeReport } from './short-life.ts'

const LIFE_MS_MAX = 30_000
/** After leave(), and where nothing is held. */
const END_MS_MAX = 100

let processes: Processes

beforeEach(() => {
  processes = new Processes()
})

afterEach(() => processes.end())

/** Runs the program to its own end; fails when something keeps it. */
async function live(plan: ShortLife, env: NodeJS.ProcessEnv = {}): Promise<ShortLifeReport> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [join(PROGRAMS, 'short-life.js'), JSON.stringify(plan)],
    { env: plainEnv(processes.dir, env), timeout: LIFE_MS_MAX, maxBuffer: 2 ** 24 }
  )
  return JSON.parse(stdout)
}

function isNetwork(script: string): boolean {
  return /\/adapters\/libp2p-|node_modules\/(@libp2p|libp2p|@chainsafe|@multiformats)\//.test(script)
}

const SOCKETS = ['TCPServerWrap', 'TCPSocketWrap', 'PipeServerWrap', 'UDPWRAP']

describe('a mesh alone in its process', () => {
  it('has no socket, has not loaded libp2p and keeps nothing, without leave()', async () => {
    const report = await live({ options: { name: 'shop', listen: false }, leave: false })
    console.log(`alone: ended ${report.endedAfterMs.toFixed(1)} ms after its last call`)
    expect(report).toMatchObject({ members: 1, value: 'loaded lamp', resources: [] })
    expect(report.scripts.length).toBeGreaterThan(10)
    expect(report.scripts.filter(isNetwork)).toEqual([])
    expect(report.endedAfterMs).toBeLessThan(END_MS_MAX)
  })

  it.each([
    ['VITEST', 'true'],
    ['JEST_WORKER_ID', '1'],
    ['NODE_TEST_CONTEXT', 'child-v8']
  ])('is what a test runner gets that sets %s', async (name, value) => {
    const report = await live({ options: { name: 'shop' }, leave: false }, { [name]: value })
    expect(report).toMatchObject({ members: 1, resources: [] })
    expect(report.scripts.filter(isNetwork)).toEqual([])
  })

  it('is not what a test runner gets that asks for a network', async () => {
    const report = await live({ options: { name: 'shop', listen: '127.0.0.1:0' }, leave: true }, { VITEST: 'true' })
    // Also what shows that the other tests here could see a socket and libp2p if there were any.
    expect(report.resources.filter(name => SOCKETS.includes(name))).toEqual(['TCPServerWrap'])
    expect(report.scripts.filter(isNetwork).length).toBeGreaterThan(0)
  })
})

describe('after leave()', () => {
  it('the process of a member of a real mesh ends within 100 ms', async () => {
    const others = await processes.mesh(2, { name: 'shop' })
    const endedAfterMs: number[] = []
    for (let i = 0; i < 3; i++) {
      const report = await live({ options: { name: 'shop' }, members: 3, leave: true })
      expect(report).toMatchObject({ members: 3, value: 'loaded lamp' })
      endedAfterMs.push(report.endedAfterMs)
    }
    console.log(`ended ${endedAfterMs.map(ms => ms.toFixed(1)).join(', ')} ms after leave()`)
    for (const ms of endedAfterMs) expect(ms).toBeLessThan(END_MS_MAX)
    expect((await others[0]?.ask('members'))?.length).toBe(2)
  })

  it('so does that of a member which has never met anybody, and that of a client', async () => {
    const alone = await live({ options: { name: 'shop' }, leave: true })
    const other = await processes.member({ name: 'shop' })
    const seed = await addressOf(other)
    const client = await live({ options: { name: 'shop', listen: false }, seeds: [seed], members: 2, leave: true })
    console.log(`ended ${alone.endedAfterMs.toFixed(1)} ms and, the client, ${client.endedAfterMs.toFixed(1)} ms after`)
    expect(alone.endedAfterMs).toBeLessThan(END_MS_MAX)
    expect(client.endedAfterMs).toBeLessThan(END_MS_MAX)
  })
})

describe('the life of a mesh in one process', () => {
  const options = { name: 'life', listen: false } as const

  it('is ended by asynchronous disposal, after which calls say that it has left', async () => {
    const mesh = await createMesh(options)
    const cache = mesh.cache<string>('plain', { ttl: '1h' })
    await cache.set('key', 'value')
    await mesh[Symbol.asyncDispose]()
    expect(mesh.state).toBe('left')
    await expect(cache.get('key')).rejects.toMatchObject({ code: 'ERR_MESH_LEFT' })
    await expect(mesh.ready()).rejects.toMatchObject({ code: 'ERR_MESH_LEFT' })
    expect(() => mesh.cache('another', { ttl: '1h' })).toThrow(/has left the mesh 'life'/)
    // A second time is no error.
    await mesh.leave()
  })

  it('is one per name: a second createMesh fails and says so, sharedMesh gives the one there is', async () => {
    const mesh = await createMesh(options)
    await expect(createMesh(options)).rejects.toMatchObject({
      code: 'ERR_MESH_REDEFINED',
      message: expect.stringContaining('sharedMesh')
    })
    expect(await sharedMesh(options)).toBe(mesh)
    await mesh.leave()
    const next = await sharedMesh(options)
    expect(next).not.toBe(mesh)
    expect(await sharedMesh(options)).toBe(next)
    await next.leave()
  })

  it('is one also for two that ask for it at the same time', async () => {
    const [one, other] = await Promise.all([sharedMesh(options), sharedMesh(options)])
    expect(one).toBe(other)
    await one.leave()
  })
})
