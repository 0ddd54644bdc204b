/**
 * What happens to a mesh that keeps copies, and what its callers have of it: processes are killed, stand still, are
 * replaced one by one, join. Each scenario tells what was counted and measured; what is asked of the figures, the tests
 * (counts) and `npm run bench:copies` (times too) say themselves.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { placed } from '../../placed.ts'
import type { CopyMember, Crew, OriginCall } from './crew.ts'
import { failuresOf, type Latency, latencyOf, type Rate, rateOf } from './figures.ts'
import { type Calls, type Failure, machineMs } from './load.ts'
import type { Written } from './member.ts'

/** What is looked at after something has happened. */
const AFTER_MS = 2_000
/** And at most so much of the rest before it, the last. */
const REST_MS_MAX = 4_000
export const DRAIN_MS_MAX = 20_000
const KEYS_A_WRITER = 100

export interface Losses {
  readonly failures: readonly Failure[]
  /** Keys whose value was wrong, missing or could not be read when each was read once at the end. */
  readonly lost: readonly string[]
  readonly originCalls: readonly OriginCall[]
}

export interface Try extends Losses {
  readonly atRest: Latency
  readonly after: Latency
  /** From the replacement's joining until all members say that they and their backups have everything. */
  readonly levelMs: number
}

export interface LoadPlan {
  readonly keys: readonly string[]
  /** Reads of each member. */
  readonly readsPerSecond: number
  /** How long they are watched before anything happens. */
  readonly restMs: number
}

/** The oldest is killed while all read; a new one takes its place. */
export async function killed(crew: Crew, { keys, readsPerSecond, restMs }: LoadPlan): Promise<Try> {
  const began = crew.originCalls.length
  await crew.startReading(keys, readsPerSecond)
  await sleep(restMs)
  const killMs = machineMs()
  await crew.remove(crew.members[0] as CopyMember)
  await sleep(killMs + AFTER_MS - machineMs())
  const calls = await crew.stopReading()
  const lost = await lostOf(crew, keys)
  await crew.seen(crew.members.length)
  await crew.add()
  const levelMs = await crew.level()
  return { ...triedOf(crew, began, calls, killMs), lost, levelMs }
}

export interface StoodStill extends Try {
  /**
   * Of the one that stood still: what failed of the reads that were under way or due meanwhile, and for which of them it
   * called the origin, for it wakes with no links at all.
   */
  readonly own: Pick<Losses, 'failures' | 'originCalls'>
  readonly others: Latency
}

/** The oldest stands still for a while, its sockets open, while all read. */
export async function stoodStill(
  crew: Crew,
  { keys, readsPerSecond, restMs }: LoadPlan,
  stillMs: number
): Promise<StoodStill> {
  const began = crew.originCalls.length
  const [still, ...others] = crew.members as [CopyMember, ...CopyMember[]]
  await crew.startReading(keys, readsPerSecond)
  await sleep(restMs)
  const stopMs = machineMs()
  still.pause()
  await sleep(stopMs + stillMs - machineMs())
  still.resume()
  const wokenMs = machineMs()
  const levelMs = await crew.level()
  await sleep(Math.max(0, wokenMs + AFTER_MS - machineMs()))
  const own = await still.ask('stopReading')
  const calls = await crew.stopReading(others)
  const lost = await lostOf(crew, keys)
  const tried = triedOf(crew, began, calls, stopMs)
  const isOwn = ({ pid }: OriginCall): boolean => pid === still.pid
  return {
    ...tried,
    originCalls: tried.originCalls.filter(each => !isOwn(each)),
    others: latencyOf(calls, stopMs),
    own: { failures: failuresOf([own]), originCalls: tried.originCalls.filter(isOwn) },
    lost,
    levelMs
  }
}

/**
 * All of them, oldest first, are killed and replaced in turn while all read, the next one as soon as the mesh says that it
 * is level again. Whoever says so too early loses what only those two had.
 */
export async function restarted(crew: Crew, { keys, readsPerSecond }: LoadPlan, kills: number): Promise<Restarted> {
  const began = crew.originCalls.length
  const load = (members: readonly CopyMember[]): Promise<unknown> =>
    Promise.all(members.map(member => member.ask('startReading', keys, readsPerSecond)))
  await load(crew.members)
  const levelMs: number[] = []
  for (let i = 0; i < kills; i++) {
    await crew.remove(crew.members[0] as CopyMember)
    const next = await crew.add()
    // Who has not met the others yet has nothing but the origin: a server opens its door after this.
    await next.ask('ready', crew.members.length)
    await load([next])
    levelMs.push(await crew.level())
  }
  const calls = await crew.stopReading()
  const lost = await lostOf(crew, keys)
  return {
    reads: latencyOf(calls),
    failures: failuresOf(calls),
    originCalls: crew.originCalls.slice(began),
    lost,
    levelMs
  }
}

export interface Restarted extends Losses {
  readonly reads: Latency
  readonly levelMs: readonly number[]
}

export interface Rolled extends Losses {
  readonly reads: Latency
  readonly writes: Latency
  readonly writeFailures: readonly Failure[]
  /** Keys of which the last acknowledged write was not found, in words. */
  readonly lostWrites: readonly string[]
  readonly drainMs: readonly number[]
  readonly levelMs: readonly number[]
}

/** Each of them, oldest first, leaves in peace and is replaced, while the others and a client read and write. */
export async function rolled(
  crew: Crew,
  { keys, readsPerSecond, restMs }: LoadPlan,
  writesPerSecond: number
): Promise<Rolled> {
  const began = crew.originCalls.length
  const client = crew.start()
  await client.ask('create', { ...crew.plan, weight: 0 })
  await crew.seen(crew.members.length + 1)
  const [reads, written]: [Calls[], Written[]] = [[], []]
  const [drainMs, levelMs]: [number[], number[]] = [[], []]
  const load = async (member: CopyMember): Promise<void> => {
    await member.ask('startReading', keys, readsPerSecond)
    await member.ask('startWriting', ownKeysOf(member), writesPerSecond)
  }
  const rest = async (member: CopyMember): Promise<void> => {
    reads.push(await member.ask('stopReading'))
    written.push(await member.ask('stopWriting'))
  }
  const all = [...crew.members, client]
  await Promise.all(all.map(load))
  for (const leaver of [...crew.members]) {
    await sleep(restMs)
    // A server closes its own door before it leaves.
    await rest(leaver)
    const beganMs = performance.now()
    await leaver.ask('leave', DRAIN_MS_MAX)
    drainMs.push(performance.now() - beganMs)
    await crew.remove(leaver)
    const next = await crew.add()
    levelMs.push(await crew.level(crew.members.length + 1))
    await load(next)
  }
  await Promise.all([...crew.members, client].map(rest))
  const lost = await lostOf(crew, keys)
  const lostWrites = await lostWritesOf(crew, written)
  const originCalls = crew.originCalls.slice(began)
  await client.kill()
  await crew.seen(crew.members.length)
  return {
    failures: failuresOf(reads),
    writeFailures: failuresOf(written.map(each => each.calls)),
    reads: latencyOf(reads),
    writes: latencyOf(written.map(each => each.calls)),
    lost,
    lostWrites,
    originCalls,
    drainMs,
    levelMs
  }
}

export interface Grown extends Losses {
  readonly atRest: Latency
  readonly during: Latency
  /** Of all keys, how many have another owner than before. */
  readonly shareMoved: number
  /** How fast the new member got what is to be its own. */
  readonly rate: Rate
  /** Of all members, the most bytes that one moved within any second, be they pulled or pushed. */
  readonly highest: number
  readonly pulled: number
  readonly levelMs: number
}

/** One more joins while all read. */
export async function grown(crew: Crew, { keys, readsPerSecond, restMs }: LoadPlan): Promise<Grown> {
  const began = crew.originCalls.length
  const before = await ownersOf(crew, keys)
  const old = [...crew.members]
  // A process that starts takes a core for itself; that is not the mesh's doing.
  const joiner = crew.start()
  await Promise.all(crew.members.map(member => member.ask('watchTransfers')))
  await crew.startReading(keys, readsPerSecond)
  await sleep(restMs)
  const joinMs = machineMs()
  await joiner.ask('create', crew.plan)
  await joiner.ask('watchTransfers')
  crew.members.push(joiner)
  const levelMs = await crew.level()
  const overMs = machineMs()
  const calls = await crew.stopReading(old)
  const after = await ownersOf(crew, keys)
  const rates = await Promise.all(crew.members.map(async member => rateOf(await member.ask('transfers'))))
  const rate = rates.at(-1) as Rate
  const { pulled } = await joiner.ask('state')
  const lost = await lostOf(crew, keys)
  return {
    atRest: latencyOf(calls, joinMs - Math.min(restMs, REST_MS_MAX), joinMs),
    during: latencyOf(calls, joinMs, overMs),
    failures: failuresOf(calls),
    shareMoved: after.filter((owner, i) => owner !== before[i]).length / keys.length,
    rate,
    highest: Math.max(...rates.map(each => each.highest)),
    originCalls: crew.originCalls.slice(began),
    pulled,
    lost,
    levelMs
  }
}

function triedOf(crew: Crew, began: number, calls: readonly Calls[], atMs: number): Omit<Try, 'lost' | 'levelMs'> {
  return {
    atRest: latencyOf(calls, atMs - REST_MS_MAX, atMs),
    after: latencyOf(calls, atMs, atMs + AFTER_MS),
    failures: failuresOf(calls),
    originCalls: crew.originCalls.slice(began)
  }
}

async function lostOf(crew: Crew, keys: readonly string[]): Promise<string[]> {
  const { wrong, failed } = await crew.find(keys)
  return [...wrong, ...failed]
}

function ownKeysOf(member: CopyMember): string[] {
  return Array.from({ length: KEYS_A_WRITER }, (_, i) => `written by ${member.pid} ${i}`)
}

async function lostWritesOf(crew: Crew, written: readonly Written[]): Promise<string[]> {
  const all = written.flatMap(each => each.keys).filter(each => each.acked > 0)
  const reader = crew.members[0] as CopyMember
  const found = await reader.ask(
    'numbers',
    all.map(each => each.key)
  )
  const isLost = (acked: number, number: number | undefined): boolean => number === undefined || number < acked
  return all.flatMap(({ key, acked }, i) =>
    isLost(acked, found[i]) ? [`${key}: ${found[i]} found, ${acked} acknowledged`] : []
  )
}

async function ownersOf(crew: Crew, keys: readonly string[]): Promise<string[]> {
  const seen = await (crew.members[0] as CopyMember).ask('members')
  return placed(crew.plan.name, seen, 'things', keys)
}
