/**
 * What membership costs and how quick it is, for 10, 100 and 1,000 members; nothing but the protocol and the views.
 *
 *   npm run bench:membership                                  the table
 *   npm run bench:membership -- --hours 200 --members 16 --loss 0.05     false removals over a long time
 */
import { saltOf } from '../../lib/placement/hash.ts'
import { buildTable, type Placed } from '../../lib/placement/table.ts'
import { commandLine, numberOption } from '../command-line.ts'
import { MembershipWorld, type Node } from './membership-world.ts'

const SIZES = [10, 100, 1_000]
const LOSSES = [0, 0.01, 0.05, 0.2]
/** A large mesh made all at once has an exchange for each of its links, ten a second, and news of everybody to tell. */
const SETTLE_MS = 320_000
const RANKS = 4

function formed(size: number, seed: number): MembershipWorld {
  const world = new MembershipWorld(seed)
  world.form(size)
  world.run(size > 100 ? SETTLE_MS : 20_000)
  return world
}

const say = (line: string): void => {
  process.stdout.write(`${line}\n`)
}

function agree(nodes: readonly Node[], size: number): boolean {
  const hash = nodes[0]?.protocol.view.stateHash
  return nodes.every(({ protocol: { view } }) => view.stateHash === hash && view.present().length === size)
}

function atRest(world: MembershipWorld, ms: number): string {
  for (const node of world.nodes) node.sentFrames = node.sentBytes = 0
  const before = process.cpuUsage()
  world.run(ms)
  const cpu = process.cpuUsage(before)
  world.isCounting = true
  world.run(ms)
  world.isCounting = false
  const perSecond = (total: number): number => total / world.nodes.length / (ms / 1_000)
  const bytes = perSecond(world.nodes.reduce((sum, { sentBytes }) => sum + sentBytes, 0))
  const frames = perSecond(world.nodes.reduce((sum, { sentFrames }) => sum + sentFrames, 0))
  const share = perSecond((cpu.user + cpu.system) / 1e6)
  return `at rest, each sends: ${frames.toFixed(1)} messages/s, ${bytes.toFixed(0)} B/s on the wire; protocol ${(share * 100).toFixed(3)} % of a core`
}

function falseRemovals(world: MembershipWorld, loss: number, ms: number): string {
  world.loss = loss
  world.falseRemovals = world.suspicions = 0
  world.run(ms)
  const { falseRemovals, suspicions } = world
  world.loss = 0
  world.run(20_000)
  return `${loss * 100} %: ${falseRemovals} (${suspicions} views that suspected)`
}

function tableTimes(size: number): string {
  const members: Placed[] = Array.from({ length: size }, (_, i) => ({ id: `member-${i}`, weight: 1, host: `h${i}` }))
  const salt = saltOf('bench')
  const times = { build: Number.POSITIVE_INFINITY, join: Number.POSITIVE_INFINITY }
  for (let i = 0; i < 9; i++) {
    const began = performance.now()
    const table = buildTable(members, salt, RANKS)
    const built = performance.now()
    buildTable([...members, { id: `joiner-${i}`, weight: 1, host: `j${i}` }], salt, RANKS, table)
    times.build = Math.min(times.build, built - began)
    times.join = Math.min(times.join, performance.now() - built)
  }
  return `table, best of 9: from nothing ${times.build.toFixed(2)} ms, for a joiner ${times.join.toFixed(2)} ms`
}

function measure(size: number): void {
  say(`\n${size} members`)
  const world = formed(size, 1)
  say(`  ${atRest(world, size > 100 ? 20_000 : 60_000)}`)

  const lossyMs = size > 100 ? 30_000 : size > 10 ? 600_000 : 3_600_000
  const removals = LOSSES.map(loss => falseRemovals(world, loss, lossyMs))
  say(`  false removals in ${lossyMs / 60_000} min with loss of ${removals.join(', ')}`)

  world.join(world.nodes[0] as Node)
  const joinMs = world.runUntil(() => agree(world.alive(), size + 1), 60_000)
  say(`  a joiner is in all views, and all views equal, after ${joinMs.toFixed(0)} ms`)

  world.run(20_000)
  world.kill(world.nodes[1] as Node)
  const crashMs = world.runUntil(() => agree(world.alive(), size), 60_000)
  say(`  one killed is out of all views after ${crashMs.toFixed(0)} ms`)

  world.run(20_000)
  const stopped = world.nodes[2] as Node
  stopped.isStopped = true
  const stopMs = world.runUntil(() => agree(world.alive(), size - 1), 60_000)
  say(`  one that falls silent is out of all views after ${stopMs.toFixed(0)} ms`)

  say(`  ${tableTimes(size)}`)
}

function longRun(size: number, hours: number, loss: number): void {
  const began = performance.now()
  const world = formed(size, 1)
  world.loss = loss
  world.falseRemovals = world.suspicions = 0
  for (let hour = 0; hour < hours; hour++) world.run(3_600_000)
  const seconds = (performance.now() - began) / 1_000
  say(
    `${size} members, ${hours} h at ${loss * 100} % loss: ${world.falseRemovals} false removals, ` +
      `${world.suspicions} suspicions, all refuted: ${agree(world.alive(), size)}; the run took ${seconds.toFixed(0)} s`
  )
}

const USAGE =
  'Usage: npm run bench:membership -- [--sizes COUNT,COUNT]   or   npm run bench:membership -- --hours HOURS [--members COUNT] [--loss SHARE]'

const numberOf = (name: string, given: string, min: number, max: number): number =>
  numberOption(name, given, { min, max }, USAGE)

const { hours, members, loss, sizes } = commandLine(
  {
    hours: { type: 'string' },
    members: { type: 'string', default: '16' },
    loss: { type: 'string', default: '0.05' },
    sizes: { type: 'string', default: SIZES.join() }
  },
  USAGE
)
if (hours === undefined) for (const size of sizes.split(',')) measure(Math.floor(numberOf('sizes', size, 3, 2_000)))
else
  longRun(
    Math.floor(numberOf('members', members, 2, 2_000)),
    numberOf('hours', hours, 0.01, 10_000),
    numberOf('loss', loss, 0, 0.9)
  )
