/**
 * One process of a mesh whose cache keeps copies. It reads and writes at a fixed rate when it is told to, counts what it
 * gets, and tells its parent, unasked, of each key for which it calls the origin.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type Bytes,
  createMesh,
  type LoadingCache,
  local,
  type Member,
  type Mesh,
  type MeshStats,
  PartialError
} from '../../../lib/index.ts'
import { obey, tell } from '../answers.ts'
import type { Reading } from './figures.ts'
import { type Calls, Load, machineMs } from './load.ts'

export interface CopyPlan {
  readonly name: string
  readonly dir: string
  readonly backups: number
  /** Of each write; those that `fill` makes wait for none. */
  readonly backupAcks: number
  readonly valueBytes: number
  /** 0 is a member that owns nothing. */
  readonly weight?: number
  readonly transferRate?: Bytes
}

/** What a member says of copies, of all that its `stats()` tells. */
export interface CopyState {
  /** The ids of all it sees, in one order. */
  readonly members: readonly string[]
  readonly warming: number
  readonly withoutBackup: number
  readonly records: number
  readonly pulled: number
  readonly pushed: number
}

/** What was found of many keys; those that are all right are only counted. */
export interface Found {
  readonly read: number
  readonly wrong: readonly string[]
  readonly failed: readonly string[]
}

export interface Written {
  readonly calls: Calls
  /** For each key the last number whose write was acknowledged, and the last that was begun. */
  readonly keys: readonly { readonly key: string; readonly acked: number; readonly begun: number }[]
}

/** What the process says unasked: the keys for which it has begun to call the origin. */
export type OriginCalls = { readonly originCalls: readonly string[] }

export type CopyCommands = typeof commands

interface Thing {
  readonly key: string
  readonly number: number
  readonly filler: string
}

const ORIGIN_MS = 5
const KEYS_AT_ONCE = 100
const WATCH_MS = 100

let mesh: Mesh | undefined
let things: LoadingCache<Thing> | undefined
let plan: CopyPlan | undefined
let reading: Load | undefined
let writing: { load: Load; keys: Map<string, { acked: number; begun: number; isOpen: boolean }> } | undefined
let watching: NodeJS.Timeout | undefined
const readings: Reading[] = []
const warnings: string[] = []
let untold: string[] = []

function the<T>(part: T | undefined): T {
  if (part === undefined) throw new Error('this process is not that far yet')
  return part
}

async function origin(key: string): Promise<Thing> {
  // One message a turn: a message a key would be what the run measures.
  if (untold.length === 0) setImmediate(tellCalls)
  untold.push(key)
  await sleep(ORIGIN_MS)
  return thing(key, 0)
}

function tellCalls(): void {
  tell({ originCalls: untold } satisfies OriginCalls)
  untold = []
}

function thing(key: string, number: number): Thing {
  return { key, number, filler: 'x'.repeat(the(plan).valueBytes) }
}

async function checked(key: string): Promise<void> {
  const value = await the(things).get(key)
  if (value?.key !== key) throw new Error(`got ${JSON.stringify(value)?.slice(0, 100)}`)
}

/** A failure of many keys, with what has failed of the first. */
function inFull(error: unknown): Error {
  if (!(error instanceof PartialError)) return error as Error
  return new Error(`${error.message} The first of them: ${String([...error.errors.values()][0])}`)
}

function stats(): MeshStats {
  return the(mesh).stats()
}

const commands = {
  async create(its: CopyPlan): Promise<string> {
    plan = its
    const { name, dir, backups, backupAcks, weight, transferRate } = its
    mesh = await createMesh({ name, discovery: [local({ dir })], weight, transferRate })
    mesh.on('warning', ({ code, message }) => warnings.push(`${machineMs().toFixed(0)} ${code} ${message}`))
    things = mesh.cache('things', { ttl: '1h', backups, backupAcks, loadConcurrency: 500, load: origin })
    return mesh.id
  },
  async ready(members: number, warm?: number): Promise<void> {
    await the(mesh).ready({ members, ...(warm === undefined ? {} : { warm }), timeout: '25s' } as object)
  },
  async members(): Promise<readonly Member[]> {
    return the(mesh).members
  },
  async state(): Promise<CopyState> {
    const { partitionsWarming, partitionsWithoutBackup, records, recordsPulledTotal, recordsPushedTotal } = stats()
    return {
      members: the(mesh)
        .members.map(member => member.id)
        .sort(),
      warming: partitionsWarming,
      withoutBackup: partitionsWithoutBackup,
      records,
      pulled: recordsPulledTotal,
      pushed: recordsPushedTotal
    }
  },
  async stats(): Promise<MeshStats> {
    return stats()
  },
  async explain(key: string): Promise<unknown> {
    return the(things).explain(key)
  },
  async warnings(): Promise<readonly string[]> {
    return warnings
  },
  /** Makes the mesh hold these keys: by loads or by writes. */
  async fill(keys: readonly string[], how: 'load' | 'set'): Promise<void> {
    for (let i = 0; i < keys.length; i += KEYS_AT_ONCE) {
      const some = keys.slice(i, i + KEYS_AT_ONCE)
      const once = (): Promise<unknown> =>
        how === 'load' ? the(things).getMany(some) : the(things).setMany(some.map(key => [key, thing(key, 0)] as const))
      // What is judged begins later: here a machine that is too busy for a moment is given a second chance.
      await once()
        .catch(once)
        .catch(error => Promise.reject(inFull(error)))
    }
  },
  /** Reads each of them once. */
  async find(keys: readonly string[]): Promise<Found> {
    const [wrong, failed]: [string[], string[]] = [[], []]
    for (let i = 0; i < keys.length; i += KEYS_AT_ONCE) {
      const some = keys.slice(i, i + KEYS_AT_ONCE)
      try {
        const found = await the(things).getMany(some)
        wrong.push(...some.filter((key, k) => found[k]?.key !== key))
      } catch (error) {
        failed.push(`${some[0]}…: ${inFull(error).message}`)
      }
    }
    return { read: keys.length, wrong, failed }
  },
  /** The numbers of written keys as they are now; undefined where there is none. */
  async numbers(keys: readonly string[]): Promise<readonly (number | undefined)[]> {
    const found = await the(things).getMany(keys)
    return found.map(each => each?.number)
  },
  async startReading(keys: readonly string[], perSecond: number): Promise<void> {
    reading = new Load(perSecond, () => {
      const key = keys[Math.floor(Math.random() * keys.length)] as string
      return { key, done: checked(key) }
    })
  },
  async stopReading(): Promise<Calls> {
    const calls = await the(reading).stop()
    reading = undefined
    return calls
  },
  /** Each key is written by this process alone, one write at a time, with rising numbers. */
  async startWriting(names: readonly string[], perSecond: number): Promise<void> {
    const keys = new Map(names.map(name => [name, { acked: 0, begun: 0, isOpen: false }]))
    const load = new Load(perSecond, n => {
      const name = names[n % names.length] as string
      const state = keys.get(name) as { acked: number; begun: number; isOpen: boolean }
      if (state.isOpen) return undefined
      state.isOpen = true
      const number = ++state.begun
      const done = the(things)
        .set(name, thing(name, number))
        .then(() => {
          state.acked = number
        })
        .finally(() => {
          state.isOpen = false
        })
      return { key: name, done }
    })
    writing = { load, keys }
  },
  async stopWriting(): Promise<Written> {
    const { load, keys } = the(writing)
    const calls = await load.stop()
    writing = undefined
    return { calls, keys: [...keys].map(([key, { acked, begun }]) => ({ key, acked, begun })) }
  },
  /** From now on, notes how many bytes have been moved. */
  async watchTransfers(): Promise<void> {
    clearInterval(watching)
    readings.length = 0
    watching = setInterval(
      () =>
        readings.push({
          atMs: machineMs(),
          bytes: stats().transferBytesTotal
        }),
      WATCH_MS
    )
  },
  async transfers(): Promise<readonly Reading[]> {
    clearInterval(watching)
    return readings
  },
  async leave(deadlineMs: number): Promise<void> {
    await the(mesh).leave({ deadline: deadlineMs })
  }
}

obey(commands)
