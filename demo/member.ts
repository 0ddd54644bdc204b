/** One application process of the demo: it embeds a member, and does what the demo tells it over IPC. */
import { setTimeout as sleep } from 'node:timers/promises'
import { createMesh, type LoadingCache, local, type Mesh } from '../lib/index.ts'
import type { Order, Report } from './protocol.ts'

interface Product {
  readonly id: string
  readonly name: string
  readonly price: number
}

const LEVEL_POLL_MS = 20
const [originPort, directory] = process.argv.slice(2)

const mesh: Mesh = await createMesh({ name: 'demo', discovery: [local({ dir: directory as string })] })
const products: LoadingCache<Product> = mesh.cache('products', {
  ttl: '1h',
  load: async (id: string, { signal }): Promise<Product> => {
    const response = await fetch(`http://127.0.0.1:${originPort}/product/${encodeURIComponent(id)}`, { signal })
    return (await response.json()) as Product
  }
})

process.on('message', (order: Order) => {
  obey(order).then(
    result => tell({ order: order.number, result }),
    error => tell({ order: order.number, error: String(error) })
  )
})
process.on('disconnect', () => process.exit(0))
tell({ ready: true, id: mesh.id })

async function obey(order: Order): Promise<unknown> {
  switch (order.do) {
    case 'meet':
      await mesh.ready({ members: order.members, timeout: '10s' })
      return {
        partitionsOwned: mesh.stats().partitionsOwned,
        address: mesh.members.find(member => member.self)?.addresses[0]
      }
    case 'get':
      return getMany(order.key, order.times)
    case 'load':
      return { loaded: (await products.getMany(order.keys)).length }
    case 'level':
      return level()
    case 'leave':
      return mesh.leave({ deadline: '1s' })
  }
}

/** Till whatever this member decides for has its backup. */
async function level(): Promise<void> {
  while (mesh.stats().partitionsWithoutBackup > 0) await sleep(LEVEL_POLL_MS)
}

async function getMany(key: string, times: number): Promise<{ ms: number; failed: number }> {
  const startedMs = performance.now()
  const results = await Promise.allSettled(Array.from({ length: times }, () => products.get(key)))
  const failed = results.filter(result => result.status === 'rejected' || result.value.id !== key).length
  return { ms: performance.now() - startedMs, failed }
}

function tell(report: Report): void {
  process.send?.(report)
}
