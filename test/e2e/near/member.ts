/**
 * One process of a mesh whose cache keeps near copies. It is told which keys to hold near, which to change, and to watch
 * how long it goes on seeing what was there before.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Cache, createMesh, type LoadingCache, local, type Mesh, type MeshStats } from '../../../lib/index.ts'
import { obey } from '../answers.ts'
import { machineMs } from '../copies/load.ts'

export interface NearPlan {
  readonly name: string
  readonly dir: string
}

export type NearCommands = typeof commands

/** A change, when it was acknowledged, and whether its writer read what was there before after that. */
export interface Made {
  readonly key: string
  readonly doneMs: number
  readonly isOldRead: boolean
}

const WATCH_MS_MAX = 5_000
const KEEP_TRIES = 50

let mesh: Mesh | undefined
let numbers: Cache<number> | undefined
let plain: LoadingCache<number> | undefined
let pages: Cache<number> | undefined

function the<T>(part: T | undefined): T {
  if (part === undefined) throw new Error('this process is not that far yet')
  return part
}

const commands = {
  async create({ name, dir }: NearPlan): Promise<string> {
    mesh = await createMesh({ name, discovery: [local({ dir })] })
    numbers = mesh.cache<number>('numbers', { ttl: '1h', near: { ttl: '30s' } })
    // Nothing is said of near copies: hot keys are kept all the same.
    plain = mesh.cache('plain', { ttl: '1h', load: (key: string) => key.length })
    pages = mesh.cache<number>('pages', { ttl: '1h', near: { ttl: '30s' } })
    return mesh.id
  },
  async ready(members: number): Promise<void> {
    await the(mesh).ready({ members, timeout: '25s' })
  },
  async stats(): Promise<MeshStats> {
    return the(mesh).stats()
  },
  /** Reads them until those that others own are answered near; which those are. */
  async keep(keys: readonly string[]): Promise<readonly string[]> {
    let from: readonly (string | undefined)[] = []
    for (let i = 0; i < KEEP_TRIES; i++) {
      from = await Promise.all(keys.map(async key => (await the(numbers).getEntry(key))?.from))
      if (from.every(each => each === 'near' || each === 'local')) break
      await sleep(5)
    }
    return keys.filter((_, k) => from[k] === 'near')
  },
  /** When each of them no longer shows what it shows now; undefined for one that shows it for ever. */
  async watch(keys: readonly string[]): Promise<readonly (number | undefined)[]> {
    const cache = the(numbers)
    const before = keys.map(key => cache.peek(key))
    const goneMs: (number | undefined)[] = keys.map(() => undefined)
    const untilMs = machineMs() + WATCH_MS_MAX
    for (let open = keys.length; open > 0 && machineMs() < untilMs; ) {
      for (const [i, key] of keys.entries()) {
        if (goneMs[i] !== undefined || cache.peek(key) === before[i]) continue
        goneMs[i] = machineMs()
        open--
      }
      // Not every turn: four processes that never rest would be what is measured.
      await sleep(1)
    }
    return goneMs
  },
  async change(keys: readonly string[], number: number): Promise<readonly Made[]> {
    const cache = the(numbers)
    return Promise.all(
      keys.map(async key => {
        await cache.set(key, number)
        const doneMs = machineMs()
        return { key, doneMs, isOldRead: (await cache.get(key)) !== number }
      })
    )
  },
  /** So many writes a second for so long, to keys of its own and of all; the slowest of them. */
  async write(keys: readonly string[], perSecond: number, ms: number): Promise<number> {
    const [beganMs, open] = [machineMs(), new Set<Promise<void>>()]
    let [begun, slowestMs] = [0, 0]
    while (machineMs() < beganMs + ms) {
      for (; begun < ((machineMs() - beganMs) / 1_000) * perSecond; begun++) {
        const fromMs = machineMs()
        const key = keys[begun % keys.length] as string
        const done = the(numbers)
          .set(key, begun)
          .then(() => {
            slowestMs = Math.max(slowestMs, machineMs() - fromMs)
          })
        open.add(done)
        void done.finally(() => open.delete(done))
        void the(numbers).get(key)
      }
      await sleep(2)
    }
    await Promise.all(open)
    return slowestMs
  },
  /** So many reads a second for so long, nine of ten of them of the first key; how many there were. */
  async read(keys: readonly string[], perSecond: number, ms: number): Promise<number> {
    const [beganMs, open] = [machineMs(), new Set<Promise<unknown>>()]
    let begun = 0
    while (machineMs() < beganMs + ms) {
      for (; begun < ((machineMs() - beganMs) / 1_000) * perSecond; begun++) {
        const key = keys[begun % 10 === 0 ? 1 + ((begun / 10) % (keys.length - 1)) : 0] as string
        const done = the(plain).get(key)
        open.add(done)
        // One that fails stays, and fails all of it at the end.
        done.then(
          () => open.delete(done),
          () => {}
        )
      }
      await sleep(1)
    }
    await Promise.all(open)
    return begun
  },
  /** What this process reads of each, near or not. */
  async values(keys: readonly string[]): Promise<readonly (number | undefined)[]> {
    return Promise.all(keys.map(key => the(numbers).get(key)))
  },
  /** Pages from one number to another, all under one tag and each under one of a hundred others. */
  async fill(from: number, to: number): Promise<void> {
    const all = Array.from({ length: to - from }, (_, i) => from + i)
    await the(pages).setMany(all.map(i => [`page ${i}`, i, { tags: ['page', `part ${i % 100}`] }] as const))
    await the(pages).flush({ timeout: '20s' })
  },
  /** Drops all pages at once; how long that took. */
  async drop(by: 'tag' | 'clear'): Promise<number> {
    const fromMs = machineMs()
    await (by === 'tag' ? the(pages).invalidateTag('page') : the(pages).clear())
    return machineMs() - fromMs
  },
  /** How many of these pages this process still finds, near or not. */
  async found(numbers: readonly number[]): Promise<number> {
    const values = await the(pages).getMany(numbers.map(i => `page ${i}`))
    return values.filter(value => value !== undefined).length
  },
  async truth(keys: readonly string[]): Promise<readonly (number | undefined)[]> {
    return Promise.all(keys.map(async key => (await the(numbers).getEntry(key, { from: 'owner' }))?.value))
  }
}

obey(commands)
