/**
 * The contenders, each as its users would write it: one client object with its defaults, one connection to a server of
 * its own on loopback, values as Buffers. `getNow` is for those that need no promise.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { BentoCache, bentostore } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'
import { Redis } from 'ioredis'
import { LRUCache } from 'lru-cache'
import memjs from 'memjs'
import { defaultCodec } from '../../lib/codec/values.ts'
import { createMesh, seeds } from '../../lib/index.ts'
import { EchoClient } from './echo.ts'
import { type Abilities, type Copying, cacheOptions } from './mesh-options.ts'

export interface Contender {
  get(key: string): Promise<unknown>
  /** Without a promise. */
  getNow?: ((key: string) => unknown) | undefined
  many(keys: readonly string[]): Promise<readonly unknown[]>
  set(key: string, value: unknown): Promise<unknown>
  /** Throws when what was measured is not what is claimed. */
  prove?(): void
  /** Called before each slice: what has not been used for a while may have to be confirmed first. */
  wake?(keys: readonly string[]): Promise<void>
  close(): Promise<void>
}

export type ContenderPlan =
  | {
      readonly kind: 'cachemesh'
      readonly name: string
      readonly secret: string
      readonly owners: readonly string[]
      readonly abilities: Abilities
      readonly copying: Copying
      readonly cache: string
      /** Where values are read once they have been read before; undefined: at their owner. */
      readonly near?: 'get' | 'peek' | undefined
    }
  | { readonly kind: 'redis'; readonly port: number; readonly autoPipelining: boolean }
  | { readonly kind: 'memcached' | 'echo'; readonly port: number }
  | { readonly kind: 'own' | 'lru' | 'lruAwaited' | 'lruBytes' | 'bentocache' }

export function contender(plan: ContenderPlan): Promise<Contender> {
  switch (plan.kind) {
    case 'cachemesh':
      return remoteMesh(plan)
    case 'redis':
      return redis(plan.port, plan.autoPipelining)
    case 'memcached':
      return memcached(plan.port)
    case 'echo':
      return echo(plan.port)
    case 'own':
      return ownMesh()
    case 'lru':
      return lru()
    case 'lruAwaited':
      return awaitedLru()
    case 'lruBytes':
      return lruBytes()
    case 'bentocache':
      return bentocache()
  }
}

/** A member that owns nothing, beside one that owns everything: each of its gets goes over the wire. */
async function remoteMesh(plan: ContenderPlan & { kind: 'cachemesh' }): Promise<Contender> {
  const { name, secret, owners, abilities, copying, near, cache: cacheName } = plan
  const discovery = [seeds(owners)]
  const mesh = await createMesh({ name, secret, listen: '127.0.0.1:0', weight: 0, discovery, log: false })
  const cache = mesh.cache<unknown>(cacheName, cacheOptions(abilities, copying, near !== undefined))
  await mesh.ready({ members: owners.length + 1, timeout: '20s' })
  return {
    ...(near === 'peek' && {
      getNow: (key: string) => cache.peek(key),
      async wake(keys: readonly string[]) {
        for (let missing = keys; missing.length > 0; missing = keys.filter(key => cache.peek(key) === undefined)) {
          for (let i = 0; i < missing.length; i += 500)
            await Promise.all(missing.slice(i, i + 500).map(key => cache.get(key)))
          await sleep(5)
        }
        // What has just been used is confirmed by then.
        await sleep(20)
      }
    }),
    get: key => cache.get(key),
    many: keys => cache.getMany(keys),
    set: (key, value) => cache.set(key, value),
    prove() {
      const { readsLocalTotal, readsMissTotal, readsLoadTotal } = mesh.stats()
      if (readsLocalTotal + readsMissTotal + readsLoadTotal > 0)
        throw new Error('some gets were not answered by the other process')
      if (near !== undefined && mesh.stats().readsNearTotal === 0) throw new Error('nothing was read near')
    },
    close: async () => {
      await mesh.leave()
    }
  }
}

async function redis(port: number, enableAutoPipelining: boolean): Promise<Contender> {
  const client = new Redis(port, '127.0.0.1', { enableAutoPipelining })
  await client.ping()
  return {
    get: key => client.getBuffer(key),
    many: keys => client.mgetBuffer([...keys]),
    set: (key, value) => client.set(key, value as Buffer),
    close: async () => client.disconnect()
  }
}

async function memcached(port: number): Promise<Contender> {
  // Its default of half a second is a deadline that a busy machine misses.
  const client = memjs.Client.create(`127.0.0.1:${port}`, { timeout: 10, retries: 0 })
  const get = async (key: string): Promise<unknown> => (await client.get(key)).value
  return {
    get,
    many: keys => Promise.all(keys.map(get)),
    set: (key, value) => client.set(key, value as Buffer, {}),
    close: async () => client.close()
  }
}

async function echo(port: number): Promise<Contender> {
  const client = await EchoClient.open(port)
  return {
    get: key => client.get(key),
    many: keys => Promise.all(keys.map(key => client.get(key))),
    set: async () => undefined,
    close: async () => client.close()
  }
}

/** A member alone: the owner of every key is this process. */
async function ownMesh(): Promise<Contender> {
  const mesh = await createMesh({ name: 'own', listen: false, log: false })
  const cache = mesh.cache<unknown>('bench', { ttl: '1h' })
  return {
    get: key => cache.get(key),
    many: keys => cache.getMany(keys),
    set: (key, value) => cache.set(key, value),
    close: async () => {
      await mesh.leave()
    }
  }
}

/** Hands out what it was given: all callers share one object. */
async function lru(): Promise<Contender> {
  const cache = new LRUCache<string, object>({ max: 100_000 })
  return synchronous(
    key => cache.get(key),
    (key, value) => cache.set(key, value as object)
  )
}

/** Through a promise, as those are that may have to ask somebody. */
async function awaitedLru(): Promise<Contender> {
  return { ...(await lru()), getNow: undefined }
}

/** Its memory layer alone, which hands out what it was given, as a bare lru-cache and near copies do. */
async function bentocache(): Promise<Contender> {
  const memory = memoryDriver({ maxItems: 100_000, serialize: false })
  const cache = new BentoCache({ default: 'memory', stores: { memory: bentostore().useL1Layer(memory) } })
  const get = (key: string): Promise<unknown> => cache.get({ key })
  return {
    get,
    many: keys => Promise.all(keys.map(get)),
    set: (key, value) => cache.set({ key, value, ttl: '1h' }),
    close: () => cache.disconnectAll()
  }
}

/** Hands out private copies, as a mesh does: bytes inside, decoded for each caller. */
async function lruBytes(): Promise<Contender> {
  const cache = new LRUCache<string, Uint8Array>({ max: 100_000 })
  return synchronous(
    key => {
      const bytes = cache.get(key)
      return bytes === undefined ? undefined : defaultCodec.decode(bytes)
    },
    (key, value) => cache.set(key, defaultCodec.encode(value, { cache: 'bench', key }))
  )
}

function synchronous(getNow: (key: string) => unknown, setNow: (key: string, value: unknown) => void): Contender {
  return {
    getNow,
    get: async key => getNow(key),
    many: async keys => keys.map(getNow),
    set: async (key, value) => setNow(key, value),
    close: async () => {}
  }
}
