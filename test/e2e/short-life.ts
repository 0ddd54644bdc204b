/**
 * A whole program that starts a mesh, perhaps uses and leaves it, and ends by itself: nothing ends it. At its end it
 * prints what it saw. Run without an IPC channel, which would keep the process.
 */
import { writeSync } from 'node:fs'
import { Session } from 'node:inspector'
import { createMesh, type MeshOptions, seeds } from '../../lib/index.ts'

export interface ShortLife {
  options: MeshOptions
  /** Makes it look for others there, as `discovery` would. */
  seeds?: readonly string[]
  /** Members to wait for. */
  members?: number
  leave: boolean
}

export interface ShortLifeReport {
  readonly scripts: readonly string[]
  readonly resources: readonly string[]
  readonly members: number
  readonly value: unknown
  /** From `leave()`, or without it from the last thing done, to the end of the process. */
  readonly endedAfterMs: number
}

const plan: ShortLife = JSON.parse(process.argv[2] ?? '')
const before = count(process.getActiveResourcesInfo())

const mesh = await createMesh(
  plan.seeds === undefined ? plan.options : { ...plan.options, discovery: [seeds(plan.seeds)] }
)
if (plan.members !== undefined) await mesh.ready({ members: plan.members, timeout: '20s' })
const cache = mesh.cache('products', { ttl: '1h', load: (id: string) => `loaded ${id}` })
const value = await cache.get('lamp')
const { length: members } = mesh.members
// What the load was told to others at the end of its turn, if there had been any.
await new Promise(resolve => setImmediate(resolve))
const resources = process.getActiveResourcesInfo().filter(name => {
  const left = (before.get(name) ?? 0) - 1
  before.set(name, left)
  return left < 0
})
const scripts = loadedScripts()
if (plan.leave) await mesh.leave()

const doneMs = performance.now()
process.once('exit', () => {
  const report: ShortLifeReport = { scripts, resources, members, value, endedAfterMs: performance.now() - doneMs }
  writeSync(1, JSON.stringify(report))
})

function count(names: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  return counts
}

/** Every script this process has parsed: modules of either kind, however they were imported. */
function loadedScripts(): string[] {
  const urls: string[] = []
  const session = new Session()
  session.connect()
  session.on('Debugger.scriptParsed', ({ params }) => urls.push(params.url))
  session.post('Debugger.enable')
  session.disconnect()
  return urls.filter(url => url.startsWith('file:'))
}
