/**
 * `npm run bench:near`: how long near copies outlive a change, in a mesh of five real processes over real gossip,
 * whether they are right after a minute of writes, what a hot key costs its owner, and how long it takes to drop all
 * that has a tag. Each figure is printed against its bound; the exit code is 1 when one is missed.
 *
 *   npm run bench:near
 *   npm run bench:near -- --trials 1000 --seconds 5
 *
 * A copy is shown for as long as `peek` answers with the old value after the change was acknowledged to its writer, by
 * the clock that the processes of this machine share.
 */
import { availableParallelism, loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { NearCrew } from '../e2e/near/crew.ts'
import { say } from './report.ts'

const MEMBERS = 5
const KEYS = Array.from({ length: 100 }, (_, i) => `key ${i}`)
const WRITES_PER_SECOND = 2_000
const READS_PER_SECOND = 20_000
const HOT_MS = 8_000
const PAGES = 100_000
const KNOWN = 'Known are --trials N (changes, 10000) and --seconds N (of steady writing, 60).'

function whole(text: string, name: string, most: number): number {
  const number = Number(text)
  if (Number.isInteger(number) && number >= 1 && number <= most) return number
  process.stderr.write(`Expected --${name} from 1 to ${most}, got '${text}'. ${KNOWN}\n`)
  process.exit(2)
}

function options(): { readonly trials: number; readonly seconds: number } {
  try {
    const { values } = parseArgs({
      options: { trials: { type: 'string', default: '10000' }, seconds: { type: 'string', default: '60' } }
    })
    return { trials: whole(values.trials, 'trials', 1_000_000), seconds: whole(values.seconds, 'seconds', 3_600) }
  } catch (error) {
    process.stderr.write(`${(error as Error).message.split(/[.\n]/, 1)[0]}. ${KNOWN}\n`)
    process.exit(2)
  }
}

let missed = 0
function judge(what: string, value: number, most: number, unit = ''): void {
  const isKept = value <= most
  if (!isKept) missed++
  const shown = Number.isInteger(value) ? value : value.toFixed(1)
  say(`  ${isKept ? 'kept  ' : 'MISSED'}  ${what}: ${shown}${unit}, at most ${most}${unit}`)
}

const { trials, seconds } = options()
say(`Node ${process.version}, ${availableParallelism()} cores; load before: ${loadavg()[0]?.toFixed(2)}`)
const crew = await NearCrew.open(MEMBERS)
try {
  await crew.trial(KEYS, 0)
  const delaysMs: number[] = []
  let [stuck, oldReads] = [0, 0]
  for (let round = 1; round * KEYS.length <= trials; round++) {
    const trial = await crew.trial(KEYS, round)
    for (const ms of trial.delaysMs) delaysMs.push(ms)
    stuck += trial.stuck
    oldReads += trial.oldReads
  }
  delaysMs.sort((a, b) => a - b)
  const at = (share: number): number =>
    delaysMs[Math.min(delaysMs.length - 1, Math.floor(delaysMs.length * share))] ?? 0
  say(`\n${trials} changes, ${delaysMs.length} copies in other processes; p50 ${at(0.5).toFixed(1)} ms`)
  judge('shown after the change, p99', at(0.99), 50, ' ms')
  judge('shown after the change, longest', at(1), 1_000, ' ms')
  judge('copies shown for ever', stuck, 0)
  judge('writers that read what they had overwritten', oldReads, 0)
  const steady = await crew.steady(KEYS, WRITES_PER_SECOND, seconds * 1_000)
  say(
    `\n${WRITES_PER_SECOND} writes a second for ${seconds} s, ${steady.writes} in all; the slowest took ${steady.slowestMs.toFixed(0)} ms`
  )
  judge('keys read wrong somewhere after 2 s of quiet', steady.wrong, 0)
  const hot = await crew.hot(KEYS, READS_PER_SECOND, HOT_MS)
  say(
    `\n${hot.reads} reads, 90 % of one key, in a cache told nothing of near copies; served for others: ${hot.served.join(', ')}`
  )
  judge('the most that one member served, in times of the mean', hot.unevenness, 2)
  judge('loads of the origin', hot.loads, KEYS.length)
  for (const by of ['tag', 'clear'] as const) {
    const dropped = await crew.drop(PAGES, by)
    say(`\n${PAGES} values dropped by ${by}; of ${dropped.asked} each member found ${dropped.before} before`)
    judge(`${by === 'tag' ? 'invalidateTag' : 'clear'} took`, dropped.ms, 50, ' ms')
    judge('found by anybody at once after', dropped.after, 0)
    judge('not found by somebody before', dropped.asked - dropped.before, 0)
  }
} finally {
  await crew.end()
}
say(missed === 0 ? '\nAll bounds are kept.' : `\n${missed} of the bounds are MISSED.`)
process.exitCode = missed === 0 ? 0 : 1
