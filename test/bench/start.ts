/** A process that starts something and says how long that took from its own beginning, and how large it is then. */
import { setTimeout as sleep } from 'node:timers/promises'

export interface StartPlan {
  readonly what: 'nothing' | 'ioredis' | 'solo' | 'alone' | 'joining'
  readonly port?: number
  readonly seeds?: readonly string[]
  readonly secret: string
}

export interface Started {
  /** From the start of the process. */
  readonly readyMs: number
  readonly rssMiB: number
}

const REST_MS = 300

async function start({ what, port, seeds: addresses = [], secret }: StartPlan): Promise<void> {
  if (what === 'nothing') return
  if (what === 'ioredis') {
    const { Redis } = await import('ioredis')
    await new Redis(port ?? 0, '127.0.0.1').ping()
    return
  }
  const { createMesh, seeds } = await import('../../lib/index.ts')
  if (what === 'solo') {
    await createMesh({ name: 'start', listen: false, log: false })
    return
  }
  const discovery = addresses.length === 0 ? [] : [seeds(addresses)]
  const mesh = await createMesh({ name: 'start', secret, listen: '127.0.0.1:0', discovery, log: false })
  await mesh.ready({ members: what === 'joining' ? 2 : 1, timeout: '20s' })
}

// Nothing of a benchmark that was cut short stays behind.
process.on('disconnect', () => process.exit())
await start(JSON.parse(process.argv[2] as string) as StartPlan)
const readyMs = performance.now()
await sleep(REST_MS)
process.send?.({ readyMs, rssMiB: process.memoryUsage.rss() / 1024 ** 2 } satisfies Started)
