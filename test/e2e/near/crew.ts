/** Five processes with near copies, and what is asked of them: to change what the others keep, and to write all the time. */
import { fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { AskedProcess } from '../asked.ts'
import type { NearCommands } from './member.ts'

/** The compiled program, also for tests, which run from the sources. */
const PROGRAM = join(
  import.meta.filename.endsWith('.ts')
    ? resolve(import.meta.dirname, '../../../dist/test/e2e/near')
    : import.meta.dirname,
  'member.js'
)
/** Longer than a watcher needs to begin. */
const HEAD_START_MS = 20
const QUIET_MS = 2_000
const PART_MS = 10_000
const SAMPLE = 1_000

type NearMember = AskedProcess<NearCommands>

export interface Trials {
  /** For each copy of each changed key, how long after the acknowledgement it was still shown; 0 where it was not. */
  readonly delaysMs: readonly number[]
  /** Copies that were shown for ever. */
  readonly stuck: number
  /** Writers that read what they had overwritten. */
  readonly oldReads: number
}

export interface Steady {
  readonly writes: number
  readonly slowestMs: number
  /** Keys of which some member read something else than their owner has, after the quiet. */
  readonly wrong: number
  readonly read: number
}

export interface Dropped {
  readonly ms: number
  /** Of so many pages that each member was asked for, what the one that found fewest had before, and most after. */
  readonly asked: number
  readonly before: number
  readonly after: number
}

export interface HotReads {
  readonly reads: number
  /** Requests that each member served for others. */
  readonly served: readonly number[]
  /** The most that one served, in times of the mean. */
  readonly unevenness: number
  readonly loads: number
}

export class NearCrew {
  readonly members: readonly NearMember[]
  readonly #dir = mkdtempSync(join(tmpdir(), 'cachemesh-near-'))

  private constructor(count: number) {
    const { PATH, HOME, USER } = process.env
    const env = { PATH, HOME, USER, TMPDIR: this.#dir }
    this.members = Array.from({ length: count }, () => {
      const child = fork(PROGRAM, {
        env,
        execArgv: [],
        serialization: 'advanced',
        stdio: ['ignore', 'ignore', 'pipe', 'ipc']
      })
      return new AskedProcess<NearCommands>(child)
    })
  }

  static async open(count: number): Promise<NearCrew> {
    const crew = new NearCrew(count)
    try {
      await Promise.all(crew.members.map(member => member.ask('create', { name: 'near', dir: crew.#dir })))
      await Promise.all(crew.members.map(member => member.ask('ready', count)))
      return crew
    } catch (error) {
      await crew.end()
      throw error
    }
  }

  async end(): Promise<void> {
    await Promise.all(this.members.map(member => member.kill()))
    rmSync(this.#dir, { recursive: true, force: true })
  }

  /** One member changes all the keys while every other holds those it does not own. */
  async trial(keys: readonly string[], number: number): Promise<Trials> {
    const writer = this.members[number % this.members.length] as NearMember
    const others = this.members.filter(member => member !== writer)
    const kept = await Promise.all(this.members.map(member => member.ask('keep', keys)))
    const watching = others.map(member => member.ask('watch', kept[this.members.indexOf(member)] as readonly string[]))
    await sleep(HEAD_START_MS)
    const made = await writer.ask('change', keys, number)
    const doneMs = new Map(made.map(one => [one.key, one.doneMs]))
    const gone = await Promise.all(watching)
    const delays = gone.flatMap((times, i) => {
      const theirs = kept[this.members.indexOf(others[i] as NearMember)] as readonly string[]
      return times.map((ms, k) => ms && Math.max(0, ms - (doneMs.get(theirs[k] as string) as number)))
    })
    return {
      delaysMs: delays.filter(ms => ms !== undefined),
      stuck: delays.filter(ms => ms === undefined).length,
      oldReads: made.filter(one => one.isOldRead).length
    }
  }

  /** All write and read for so long; then, after some quiet, each reads what there is. */
  async steady(keys: readonly string[], perSecond: number, ms: number): Promise<Steady> {
    const each = perSecond / this.members.length
    const before = await this.#writes()
    const slowest: number[] = []
    // In parts, each of which a process can be waited for.
    for (let leftMs = ms; leftMs > 0; leftMs -= PART_MS) {
      const part = this.members.map(member => member.ask('write', keys, each, Math.min(leftMs, PART_MS)))
      slowest.push(...(await Promise.all(part)))
    }
    await sleep(QUIET_MS)
    const read = await Promise.all(this.members.map(member => member.ask('values', keys)))
    const truth = await (this.members[0] as NearMember).ask('truth', keys)
    const isWrong = (_: string, i: number): boolean => read.some(values => values[i] !== truth[i])
    const writes = (await this.#writes()) - before
    return { writes, slowestMs: Math.max(...slowest), wrong: keys.filter(isWrong).length, read: keys.length }
  }

  /** All read, nine times of ten the one key, in a cache that was told nothing of near copies. */
  async hot(keys: readonly string[], perSecond: number, ms: number): Promise<HotReads> {
    const before = await this.#stats()
    const each = perSecond / this.members.length
    const reads = await Promise.all(this.members.map(member => member.ask('read', keys, each, ms)))
    const after = await this.#stats()
    const total = (of: readonly number[]): number => of.reduce((sum, one) => sum + one, 0)
    const risen = (name: 'requestsServedTotal' | 'loadsTotal'): number[] =>
      after.map((now, i) => now[name] - (before[i]?.[name] as number))
    const served = risen('requestsServedTotal')
    const unevenness = (Math.max(...served) * served.length) / total(served)
    return { reads: total(reads), served, unevenness, loads: total(risen('loadsTotal')) }
  }

  /** So many pages under one tag, some of them held near by all, are dropped by one member, and asked for at once by all. */
  async drop(pages: number, by: 'tag' | 'clear'): Promise<Dropped> {
    const each = Math.ceil(pages / this.members.length)
    await Promise.all(this.members.map((member, i) => member.ask('fill', i * each, (i + 1) * each)))
    const sample = Array.from({ length: SAMPLE }, (_, i) => Math.floor((i * pages) / SAMPLE))
    const find = (): Promise<number[]> => Promise.all(this.members.map(member => member.ask('found', sample)))
    const before = await find()
    const ms = await (this.members[1] as NearMember).ask('drop', by)
    const after = await find()
    return { ms, asked: sample.length, before: Math.min(...before), after: Math.max(...after) }
  }

  #stats() {
    return Promise.all(this.members.map(member => member.ask('stats')))
  }

  async #writes(): Promise<number> {
    const stats = await this.#stats()
    return stats.reduce((sum, { writesTotal }) => sum + writesTotal, 0)
  }
}
