/**
 * `npm run bench:copies`: what callers have of processes that are killed, stand still, are replaced or join, in a mesh of
 * five real processes with `backups: 1` and 20,000 keys. Each figure is printed against its bound; the exit code is 1 when
 * one is missed. Callers are an open loop: a read is due at a fixed rate, and what it took counts from when it was due.
 *
 *   npm run bench:copies                             all of it, some minutes
 *   npm run bench:copies -- --only kill --tries 5
 *
 * The times are of processes that share this machine's cores with each other and with the callers.
 */
import { availableParallelism, loadavg } from 'node:os'
import { type CopyMember, Crew, keysOf } from '../e2e/copies/crew.ts'
import { inMs, type Latency, latencyText } from '../e2e/copies/figures.ts'
import type { Failure } from '../e2e/copies/load.ts'
import {
  DRAIN_MS_MAX,
  type Grown,
  grown,
  killed,
  type Losses,
  restarted,
  rolled,
  stoodStill
} from '../e2e/copies/scenarios.ts'
import { type CopiesPart, copiesOptions } from './copies-options.ts'
import { say } from './report.ts'
import { median } from './rounds.ts'

const MEMBERS = 5
const KEYS = 20_000
const STILL_MS = 6_000
const RESTARTS = 6
const WRITES_PER_SECOND = 50
/** Slow enough that the move takes seconds with values of `SLOW_VALUE_BYTES`. */
const SLOW_RATE_BYTES = 1024 ** 2
const SLOW_VALUE_BYTES = 1_000
/** Of what went wrong, so many are told. */
const EXAMPLES = 3
const PLAN = { name: 'copies', backups: 1, backupAcks: 0, valueBytes: 100 } as const

const options = copiesOptions(process.argv.slice(2))
if ('problem' in options) {
  process.stderr.write(`${options.problem}\n`)
  process.exit(2)
}
const { parts, tries, readsPerSecond } = options
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129]
] as const)
  process.once(signal, () => process.exit(code))
const keys = keysOf(KEYS)
/** Reads are steady for so long before anything happens: the code of a process that has just begun is still compiled. */
const REST_MS = 10_000
const load = { keys, readsPerSecond, restMs: REST_MS }
let missed = 0

/** One figure against its bound. */
function judge(what: string, value: number, most: number, text: (value: number) => string = String): void {
  const isKept = value <= most
  if (!isKept) missed++
  say(`  ${isKept ? 'kept  ' : 'MISSED'}  ${what}: ${text(value)}, at most ${text(most)}`)
}

function judgeLosses({ failures, lost, originCalls }: Losses): void {
  judge('failed reads', failures.length, 0)
  judge('lost keys', lost.length, 0)
  judge('origin calls', originCalls.length, 0)
  sayFailures(failures)
  for (const what of lost.slice(0, EXAMPLES)) say(`          lost: ${what}`)
}

function sayFailures(failures: readonly Failure[]): void {
  for (const { what, key, tookMs } of failures.slice(0, EXAMPLES))
    say(`          ${key} after ${inMs(tookMs)}: ${what}`)
}

function sumOf(all: readonly Losses[]): Losses {
  return {
    failures: all.flatMap(each => each.failures),
    lost: all.flatMap(each => each.lost),
    originCalls: all.flatMap(each => each.originCalls)
  }
}

async function withCrew(members: number, more: object, run: (crew: Crew) => Promise<void>): Promise<void> {
  const crew = await Crew.open(members, { ...PLAN, ...more })
  try {
    await crew.fill(keys)
    await run(crew)
  } finally {
    await crew.end()
  }
}

const measures: Record<CopiesPart, () => Promise<void>> = {
  kill: () =>
    withCrew(MEMBERS, {}, async crew => {
      say(`\nkill: one of ${MEMBERS} by SIGKILL, replaced, ${tries} times; the reads that were due in the 2 s after`)
      const all = []
      for (let i = 1; i <= tries; i++) {
        const each = await killed(crew, load)
        all.push(each)
        say(
          `  ${String(i).padStart(2)}  at rest p99 ${inMs(each.atRest.p99Ms)}; after: ${latencyText(each.after)}; ` +
            `failed ${each.failures.length}, lost ${each.lost.length}, origin calls ${each.originCalls.length}; level after ${inMs(each.levelMs)}`
        )
      }
      judgeLosses(sumOf(all))
      judge('p99 of the worst try', worst(all, 'p99Ms'), 100, inMs)
      judge('slowest read of all', worst(all, 'maxMs'), 1_000, inMs)
      say(`          p99, median of the tries: ${inMs(median(all.map(each => each.after.p99Ms)))}`)
    }),
  still: () =>
    withCrew(MEMBERS, {}, async crew => {
      say(`\nstill: one of ${MEMBERS} by SIGSTOP for ${STILL_MS / 1_000} s; the reads of the others`)
      const each = await stoodStill(crew, load, STILL_MS)
      say(`          at rest: ${latencyText(each.atRest)}`)
      say(
        `          in the 2 s after: ${latencyText(each.after)}; till all was level again: ${latencyText(each.others)}`
      )
      judgeLosses(each)
      judge('p99 in the 2 s after', each.after.p99Ms, 250, inMs)
      say(
        `          level ${inMs(each.levelMs)} after it went on; of its own reads ${each.own.failures.length} failed, ${each.own.originCalls.length} called the origin`
      )
    }),
  restart: () =>
    withCrew(3, {}, async crew => {
      say(
        `\nrestart: each of 3 by SIGKILL and replaced, ${RESTARTS} in all, the next as soon as the mesh says it is level`
      )
      const each = await restarted(crew, load, RESTARTS)
      judgeLosses(each)
      say(`          level after ${each.levelMs.map(inMs).join(', ')}; reads: ${latencyText(each.reads)}`)
    }),
  roll: () =>
    withCrew(MEMBERS, { backupAcks: 1 }, async crew => {
      say(
        `\nroll: each of ${MEMBERS} leaves and is replaced, while the others and a client read and write (backupAcks: 1)`
      )
      const each = await rolled(crew, { ...load, restMs: 500 }, WRITES_PER_SECOND)
      judgeLosses(each)
      judge('failed writes', each.writeFailures.length, 0)
      judge('lost acknowledged writes', each.lostWrites.length, 0)
      sayFailures(each.writeFailures)
      for (const line of each.lostWrites.slice(0, EXAMPLES)) say(`          ${line}`)
      say(`          reads: ${latencyText(each.reads)}; writes: ${latencyText(each.writes)}`)
      say(`          drained in ${each.drainMs.map(inMs).join(', ')}; level after ${each.levelMs.map(inMs).join(', ')}`)
    }),
  grow: async () => {
    await grow('as it comes', 3, {})
    await grow('at a limit', 1, { transferRate: `${SLOW_RATE_BYTES}b`, valueBytes: SLOW_VALUE_BYTES })
  }
}

async function grow(how: string, rounds: number, more: { transferRate?: string; valueBytes?: number }): Promise<void> {
  await withCrew(MEMBERS - 1, more, async crew => {
    const limit = more.transferRate === undefined ? '' : `, transferRate ${more.transferRate}`
    say(`\ngrow, ${how}: from ${MEMBERS - 1} members to ${MEMBERS}${limit}, ${rounds} times`)
    const all: Grown[] = []
    for (let i = 0; i < rounds; i++) {
      const each = await grown(crew, load)
      all.push(each)
      say(`          at rest: ${latencyText(each.atRest)}; during: ${latencyText(each.during)}`)
      say(
        `          pulled ${each.pulled} records, ${each.rate.bytes} bytes in ${inMs(each.rate.tookMs)}; level after ${inMs(each.levelMs)}`
      )
      if (i + 1 < rounds) await shrink(crew)
    }
    judgeLosses(sumOf(all))
    judge(`keys with another owner × ${MEMBERS}`, Math.max(...all.map(each => each.shareMoved * MEMBERS)), 1.15, ratio)
    judge(
      'p99 during the move ÷ at rest, median',
      median(all.map(each => each.during.p99Ms / each.atRest.p99Ms)),
      2,
      ratio
    )
    if (more.transferRate === undefined) return
    judge('bytes in any second ÷ limit', Math.max(...all.map(each => each.highest)) / SLOW_RATE_BYTES, 1.1, ratio)
    judge('limit ÷ bytes a second, median', SLOW_RATE_BYTES / median(all.map(each => each.rate.average)), 2, ratio)
  })
}

/** The newest leaves again. */
async function shrink(crew: Crew): Promise<void> {
  const newest = crew.members.at(-1) as CopyMember
  await newest.ask('leave', DRAIN_MS_MAX)
  await crew.remove(newest)
  await crew.level()
}

function ratio(value: number): string {
  return value.toFixed(2)
}

function worst(all: readonly { after: Latency }[], figure: 'p99Ms' | 'maxMs'): number {
  return Math.max(...all.map(each => each.after[figure]))
}

say(`Node ${process.version}, ${availableParallelism()} cores; load before: ${loadavg()[0]?.toFixed(2)}`)
say(`${KEYS} keys, backups: 1, ${readsPerSecond} reads a second in each process, loopback.`)
for (const part of parts) await measures[part]()
say(missed === 0 ? '\nAll bounds are kept.' : `\n${missed} of the bounds are MISSED.`)
process.exit(missed === 0 ? 0 : 1)
