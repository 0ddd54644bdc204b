/**
 * `npm run bench`: the data plane beside what it would replace, in one run, on one machine. Every figure is the median
 * of interleaved rounds; what was measured and what was left out is said beside the figures.
 *
 *   npm run bench                                   everything, some minutes
 *   npm run bench -- --only get,many --rounds 9
 *   npm run bench -- --quick --json bench.json
 */
import { writeFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg } from 'node:os'
import { parseOptions } from './options.ts'
import { Processes } from './processes.ts'
import { jsonOf, say, type Told, tableOf } from './report.ts'
import { measured } from './sections.ts'

const options = parseOptions(process.argv.slice(2))
if ('problem' in options) {
  process.stderr.write(`${options.problem}\n`)
  process.exit(2)
}

const machine = {
  node: process.version,
  cpu: cpus()[0]?.model.trim() ?? 'unknown',
  cores: availableParallelism(),
  loadBefore: Number(loadavg()[0]?.toFixed(2))
}
say(`Node ${machine.node}, ${machine.cores} cores, ${machine.cpu}; load before: ${machine.loadBefore}`)
say(
  `Medians of ${options.rounds} interleaved rounds of ${options.sliceMs} ms. Loopback only, client and server a process each.`
)
say('Links of cachemesh are always encrypted, here with a secret too; those of the others are bare TCP.')

const processes = new Processes()
const leftOut: string[] = []
const told: Told[] = []
for (const section of options.sections) {
  // A section has processes of its own: what one leaves behind in a heap is not in the way of the next.
  const result = await measured(section, options, processes, leftOut)
  await processes.endAll()
  told.push(result)
  say(`\n${section}: ${result.about}`)
  for (const each of result.cases) say(`\n${tableOf(each)}`)
  for (const note of result.notes) say(`  ${note}`)
}
if (leftOut.length > 0) say(`\nLeft out: ${leftOut.join('; ')}.`)
if (options.json !== undefined) {
  const { rounds, sliceMs } = options
  writeFileSync(options.json, jsonOf(told, { machine, rounds, sliceMs, leftOut }))
  say(`\nWritten to ${options.json}.`)
}
process.exit()
