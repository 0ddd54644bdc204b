/** A process that answers: a member that owns every key, or the bare TCP echo. Tells its parent where it listens. */
import { createMesh, seeds } from '../../lib/index.ts'
import { startEcho } from './echo.ts'
import { type Abilities, cacheOptions, NO_COPIES } from './mesh-options.ts'

export type ServerPlan =
  | { readonly kind: 'echo'; readonly valueBytes: number }
  | {
      readonly kind: 'cachemesh'
      readonly name: string
      readonly secret: string
      /** Owners that run already. */
      readonly beside: readonly string[]
      readonly abilities: Abilities
    }

export type Listening = { readonly addresses: readonly string[] }

async function listen(plan: ServerPlan): Promise<Listening> {
  if (plan.kind === 'echo') return { addresses: [`127.0.0.1:${(await startEcho(plan.valueBytes)).port}`] }
  const { name, secret, beside, abilities } = plan
  const discovery = beside.length === 0 ? [] : [seeds(beside)]
  const mesh = await createMesh({ name, secret, listen: '127.0.0.1:0', discovery, memory: '512mb', log: false })
  // How many copies there are is said by whoever writes.
  mesh.cache('bench', cacheOptions(abilities, NO_COPIES))
  return { addresses: mesh.members.find(member => member.self)?.addresses ?? [] }
}

// Nothing of a benchmark that was cut short stays behind.
process.on('disconnect', () => process.exit())
process.send?.(await listen(JSON.parse(process.argv[2] as string) as ServerPlan))
