/**
 * A worker as one of several that a primary starts, which has no say in what they are told: node:cluster or PM2. It
 * becomes a member, waits for the others, and reports to the test's own server, which is the origin as well.
 */
import { createMesh, type MeshOptions } from '../../lib/index.ts'

export interface WorkerPlan extends Pick<MeshOptions, 'name' | 'listen'> {
  members: number
  callers: number
}

export interface WorkerReport {
  readonly id: string
  readonly addresses: readonly string[]
  readonly members: number
  /** What the callers got, each distinct value once. */
  readonly values: readonly unknown[]
}

const { ORIGIN = '', PLAN = '' } = process.env
const plan: WorkerPlan = JSON.parse(PLAN)
const { members, callers, ...options } = plan

async function ask(path: string, body?: unknown): Promise<string> {
  const response = await fetch(
    `${ORIGIN}${path}`,
    body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }
  )
  if (!response.ok) throw new Error(`the origin answered ${response.status} to ${path}`)
  return response.text()
}

try {
  const mesh = await createMesh(options)
  const cache = mesh.cache('products', { ttl: '1h', load: (key: string) => ask(`/load/${key}`) })
  await mesh.ready({ members, timeout: '30s' })
  // Answered when all workers have come so far.
  await ask('/ready')
  const got = await Promise.all(Array.from({ length: callers }, () => cache.get('lamp')))
  const self = mesh.members.find(member => member.self)
  const report: WorkerReport = {
    id: mesh.id,
    addresses: self?.addresses ?? [],
    members: mesh.members.length,
    values: [...new Set(got)]
  }
  await ask('/report', report)
} catch (error) {
  await ask('/failed', String(error))
}
