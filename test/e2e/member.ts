/**
 * One process of an end-to-end test. It does what the test asks over IPC, and asks the test, which plays the origin,
 * for every load.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  createMesh,
  type Discovery,
  isMeshError,
  type Key,
  LoadError,
  local,
  type Member,
  type Mesh,
  type MeshOptions,
  type MeshStats,
  PartialError,
  seeds
} from '../../lib/index.ts'
import { obey, tell } from './answers.ts'

/** The options of a mesh as far as they can be told to another process; discovery only where one is named. */
export interface Plan extends Omit<MeshOptions, 'discovery' | 'log'> {
  localDir?: string
  seeds?: readonly string[]
  /** Of its caches. */
  backups?: 0 | 1
}

export interface ReadPlan {
  how: 'get' | 'getOrSet' | 'getMany'
  cache?: 'products' | 'plain'
  keys: readonly Key[]
  /** Calls begun at once, of each key where the call takes one; each is made in a context of its own. */
  times: number
  /** Bounds each call; without it, the mesh's own defaults do. */
  timeoutMs?: number
}

/** What a tally does not tell of the calls of this process so far. */
export interface Fates {
  /** Errors that callers were given, and how many different ones. */
  readonly errors: number
  readonly ownErrors: number
  readonly slowestMs: number
}

/** An outcome as text, and how many callers had it. */
export type Tally = Record<string, number>

/** What the loader was asked for, and what it saw of the callers' contexts. */
export interface Load {
  readonly pid: number
  readonly key: Key
  readonly context: string | undefined
}

export type OriginAnswer = { value: unknown } | { failure: { name: string; message: string; code: string } }

/** The origin is asked, and has answered. */
export type Asking = { load: number; of: Load }
export type ToChild = { load: number; answer: OriginAnswer }

export type Commands = typeof commands

const request = new AsyncLocalStorage<string>()
const loads = new Map<number, (answer: OriginAnswer) => void>()
let loadsBegun = 0
let readsBegun = 0
let errors = 0
let ownErrors = 0
const given = new WeakSet<Error>()
let slowestMs = 0
let mesh: Mesh | undefined
let backups: 0 | 1 = 1
let reading: { stop: boolean; done: Promise<{ reads: number; failures: string[] }> } | undefined

function the(): Mesh {
  if (mesh === undefined) throw new Error('there is no mesh in this process yet')
  return mesh
}

/** The context that callers of one round stand in. */
export function contextOf(pid: number): string {
  return `a request in process ${pid}`
}

async function origin(key: Key): Promise<unknown> {
  const load = ++loadsBegun
  tell({ load, of: { pid: process.pid, key, context: request.getStore() } } satisfies Asking)
  const answer = await new Promise<OriginAnswer>(resolve => loads.set(load, resolve))
  loads.delete(load)
  if ('value' in answer) return answer.value
  const { name, message, code } = answer.failure
  throw Object.assign(new Error(message), { name, code })
}

function products() {
  return the().cache('products', { ttl: '1h', backups, load: (key: Key) => origin(key) })
}

function plain() {
  return the().cache<unknown, Key>('plain', { ttl: '1h', backups })
}

async function outcome(read: Promise<unknown>): Promise<string> {
  const beganMs = performance.now()
  try {
    return JSON.stringify({ value: await read })
  } catch (error) {
    if (!isMeshError(error)) throw error
    errors++
    if (!given.has(error)) ownErrors++
    given.add(error)
    return JSON.stringify(described(error))
  } finally {
    slowestMs = Math.max(slowestMs, performance.now() - beganMs)
  }
}

/** What a caller can tell of an error, and nothing that differs from one caller to the next. */
function described(error: Error): unknown {
  const { name } = error
  const code = isMeshError(error) ? error.code : undefined
  if (error instanceof PartialError) {
    return { name, code, errors: [...error.errors].map(([at, each]) => [at, described(each)]) }
  }
  if (!(error instanceof LoadError)) return { name, code, message: error.message }
  const { cause } = error
  const isError = cause instanceof Error
  return { name, code, cause: { isError, name: cause.name, message: cause.message, code: cause.code } }
}

const commands = {
  async create({ localDir, seeds: addresses, backups: wanted = 1, ...options }: Plan): Promise<string> {
    backups = wanted
    const discovery: Discovery[] = []
    if (localDir !== undefined) discovery.push(local({ dir: localDir }))
    if (addresses !== undefined) discovery.push(seeds(addresses))
    mesh = await createMesh(discovery.length === 0 ? options : { ...options, discovery })
    products()
    plain()
    return mesh.id
  },
  async ready(members: number, timeoutMs: number): Promise<void> {
    await the().ready({ members, timeout: timeoutMs })
  },
  async members(): Promise<readonly Member[]> {
    return the().members
  },
  async stats(): Promise<MeshStats> {
    return the().stats()
  },
  async read({ how, cache = 'products', keys, times, timeoutMs }: ReadPlan): Promise<Tally> {
    const from = cache === 'products' ? products() : plain()
    const o = { timeout: timeoutMs }
    const calls: (() => Promise<unknown>)[] =
      how === 'getMany'
        ? [() => from.getMany(keys, o)]
        : keys.map(key => () => (how === 'get' ? from.get(key, o) : from.getOrSet(key, () => origin(key), o)))
    const all = Array.from({ length: times }, () => calls).flat()
    const begun = request.run(contextOf(process.pid), () => all.map(call => outcome(call())))
    readsBegun += all.length
    const tally: Tally = {}
    for (const text of await Promise.all(begun)) tally[text] = (tally[text] ?? 0) + 1
    return tally
  },
  /** Reads begun by `read` so far, ended or not. */
  async begun(): Promise<number> {
    return readsBegun
  },
  async fates(): Promise<Fates> {
    return { errors, ownErrors, slowestMs }
  },
  async set(key: Key, value: unknown): Promise<void> {
    await plain().set(key, value)
  },
  /** Reads all keys again and again until told to stop. */
  async startReading(keys: readonly Key[]): Promise<void> {
    const state = { stop: false, done: Promise.resolve({ reads: 0, failures: [] as string[] }) }
    const round = async () => {
      const result = { reads: 0, failures: [] as string[] }
      while (!state.stop) {
        const settled = await Promise.allSettled(keys.map(key => products().get(key)))
        for (const each of settled) {
          result.reads++
          if (each.status === 'rejected') result.failures.push(String(each.reason))
        }
        await sleep(5)
      }
      return result
    }
    state.done = round()
    reading = state
  },
  async stopReading(): Promise<{ reads: number; failures: string[] }> {
    if (reading === undefined) throw new Error('nothing is being read')
    reading.stop = true
    return reading.done
  },
  async leave(): Promise<void> {
    await the().leave()
  }
}

obey(commands)
process.on('message', (message: ToChild | object) => {
  if ('load' in message) loads.get(message.load)?.(message.answer)
})
