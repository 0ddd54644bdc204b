/**
 * What the store costs and how good its policies are, beside bare `lru-cache` with a Buffer for each value.
 *
 *   npm run bench:store                                    all of it, at a million entries
 *   npm run bench:store -- --entries 100000 --json out.json
 *   npm run bench:store -- --only hits                     memory, rates or hits
 *
 * Memory and pauses are measured in a process for each; rates in one, in turns, as processor time. Compare the figures
 * of one run with each other, not with those of another machine.
 */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { EVICTION_NAMES } from '../../lib/store/eviction.ts'
import { bareCache, hitRatio, storeCache, traces } from './store-traces.ts'

const PARTS = ['memory', 'rates', 'hits'] as const
type Part = (typeof PARTS)[number]
const TRACE_KEYS = 100_000
const TRACE_CACHED = 1_000
const TRACE_REQUESTS = 500_000
const ENTRIES_MAX = 10_000_000

const say = (line: string): void => void process.stdout.write(`${line}\n`)

function refuse(problem: string): never {
  process.stderr.write(`${problem}\nKnown are --entries NUMBER, --only ${PARTS.join('|')} and --json FILE.\n`)
  process.exit(2)
}

function options(): { entries: number; parts: readonly Part[]; json: string | undefined } {
  try {
    const known = { entries: { type: 'string' }, only: { type: 'string' }, json: { type: 'string' } } as const
    const { values } = parseArgs({ options: known })
    const entries = Number(values.entries ?? 1_000_000)
    if (!Number.isInteger(entries) || entries < 1_000 || entries > ENTRIES_MAX)
      refuse(`Expected --entries to be a whole number from 1000 to ${ENTRIES_MAX}, got '${values.entries}'.`)
    const parts = values.only === undefined ? PARTS : PARTS.filter(part => part === values.only)
    if (parts.length === 0) refuse(`Expected --only to be one of ${PARTS.join(', ')}, got '${values.only}'.`)
    return { entries, parts, json: values.json }
  } catch (error) {
    return refuse((error as Error).message)
  }
}

function child(...args: readonly string[]): Record<string, number> {
  const file = fileURLToPath(new URL('store-child.js', import.meta.url))
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--expose-gc', file, ...args], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`the measurement '${args.join(' ')}' failed:\n${stderr}`)
  return JSON.parse(stdout) as Record<string, number>
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const width = (column: number): number => Math.max(...[head, ...rows].map(row => (row[column] as string).length))
  for (const row of [head, ...rows])
    say(`  ${row.map((cell, i) => (i === 0 ? cell.padEnd(width(i)) : cell.padStart(width(i) + 2))).join('')}`)
}

function memory(entries: number): Record<string, Record<string, number>> {
  say(`\n${entries} entries of 100 bytes, beyond key and value`)
  const subjects = ['lru-cache', ...EVICTION_NAMES]
  const found = Object.fromEntries(subjects.map(name => [name, child('memory', name, `${entries}`)]))
  const cells = Object.entries(found).map(([name, one]) => [
    name === 'lru-cache' ? name : `store, ${name}`,
    `${(one.overheadRssBytes as number).toFixed(0)} B`,
    `${(one.overheadHeapBytes as number).toFixed(0)} B`,
    `${(one.fullGcMs as number).toFixed(1)} ms`,
    `${(one.longestPutMs as number).toFixed(1)} ms`
  ])
  table(['', 'resident, each', 'heap and external, each', 'full collection', 'longest put'], cells)
  return found
}

function rates(entries: number): Record<string, number> {
  say('\nprocessor nanoseconds, the quickest of several rounds in turns')
  const found = child('rates', 'both', `${entries}`)
  const cells = ['put new', 'put again', 'get hot', 'get any'].map(name => {
    const [ours, theirs] = [found[`${name} ours`] as number, found[`${name} lru-cache`] as number]
    return [name, ours.toFixed(0), theirs.toFixed(0), (ours / theirs).toFixed(2)]
  })
  table(['', 'store', 'lru-cache', 'ratio'], cells)
  return found
}

function hits(): Record<string, Record<string, number>> {
  say(`\nhits in percent, ${TRACE_KEYS} keys, room for ${TRACE_CACHED}, ${TRACE_REQUESTS} requests`)
  const found: Record<string, Record<string, number>> = {}
  for (const { name } of traces(TRACE_KEYS, TRACE_CACHED)) {
    const run = (cache: Parameters<typeof hitRatio>[0]): number => {
      const trace = traces(TRACE_KEYS, TRACE_CACHED).find(one => one.name === name)
      return hitRatio(cache, trace as NonNullable<typeof trace>, TRACE_REQUESTS)
    }
    const policies = EVICTION_NAMES.map(eviction => [eviction, run(storeCache(TRACE_CACHED, eviction))] as const)
    found[name] = { 'lru-cache': run(bareCache(TRACE_CACHED)), ...Object.fromEntries(policies) }
  }
  const subjects = ['lru-cache', ...EVICTION_NAMES]
  const cells = Object.entries(found).map(([name, ratios]) => [
    name,
    ...subjects.map(subject => ((ratios[subject] as number) * 100).toFixed(1))
  ])
  table(['', ...subjects], cells)
  return found
}

const { entries, parts, json } = options()
const found: Record<string, unknown> = { node: process.version, entries }
if (parts.includes('memory')) found.memory = memory(entries)
if (parts.includes('rates')) found.rates = rates(entries)
if (parts.includes('hits')) found.hits = hits()
if (json !== undefined) writeFileSync(json, `${JSON.stringify(found, null, 2)}\n`)
