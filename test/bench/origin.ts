/**
 * What an origin sees of a mesh of five that asks too much of it: calls at once under a limit, calls a second while it is
 * down, and reads of keys that do not exist. Each section prints one line, as the origin has counted. In the simulator,
 * so that a minute at any rate of reads is the same minute on every machine.
 *
 *   npm run bench:origin [-- --down SECONDS --reads A-SECOND]      60 and 5000 where nothing is said
 */
import { isMeshError, type LoadingCache } from '../../lib/index.ts'
import { type Cluster, cluster } from '../../lib/testing.ts'
import { commandLine, numberOption } from '../command-line.ts'

const MEMBERS = 5
const CAP = 20

const USAGE = 'Usage: npm run bench:origin -- [--down SECONDS] [--reads A-SECOND]'
const options = commandLine(
  { down: { type: 'string', default: '60' }, reads: { type: 'string', default: '5000' } },
  USAGE
)
const downSeconds = numberOption('down', options.down, { min: 1, max: 3_600 }, USAGE)
const readsPerSecond = numberOption('reads', options.reads, { min: 1, max: 100_000 }, USAGE)

class Origin {
  readonly #t: Cluster
  readonly beganMs: number[] = []
  running = 0
  max = 0
  isDown = false

  constructor(t: Cluster) {
    this.#t = t
  }

  load = async (id: string): Promise<string | null> => {
    this.beganMs.push(this.#t.now)
    this.max = Math.max(this.max, ++this.running)
    await this.#t.sleep(20)
    this.running--
    if (this.isDown) throw new Error('the origin is down')
    return id.startsWith('none') ? null : `row ${id}`
  }

  /** The most calls that began within one second after `fromMs`. */
  perSecond(fromMs: number): number {
    const after = this.beganMs.filter(ms => ms > fromMs)
    return Math.max(0, ...after.map(ms => after.filter(other => other >= ms && other < ms + 1_000).length))
  }
}

async function limited(t: Cluster): Promise<void> {
  const origin = new Origin(t)
  const caches = t.meshes.map(mesh => mesh.cache('limited', { ttl: '1h', loadConcurrency: CAP, load: origin.load }))
  const beganMs = t.now
  const readers = caches.flatMap((cache, m) =>
    Array.from({ length: 20 }, async (_, r) => {
      for (let i = 0; i < 20; i++) await cache.get(`${m} ${r} ${i}`)
    })
  )
  await t.until(Promise.all(readers))
  const tookMs = t.now - beganMs
  const ideal = (origin.beganMs.length * 20) / CAP
  console.log(
    `limit: ${origin.beganMs.length} loads at ${MEMBERS} members with loadConcurrency ${CAP}: at most ${origin.max} at once; ${Math.round(tookMs)} ms, ${Math.round(ideal)} if the limit were always used`
  )
}

async function down(t: Cluster): Promise<void> {
  const origin = new Origin(t)
  const terms = { ttl: '1s', staleIfError: '1h', jitter: 0, loadConcurrency: CAP, breaker: true } as const
  const caches = t.meshes.map(mesh => mesh.cache('down', { ...terms, load: origin.load }))
  const known = Array.from({ length: 1_000 }, (_, i) => `known ${i}`)
  await t.until((caches[0] as LoadingCache<string | null>).getMany(known))
  // What was well is out of the breaker's memory.
  await t.run('11s')
  origin.isDown = true
  const told = new Map<string, number>()
  const fromMs = t.now
  let openMs = Number.POSITIVE_INFINITY
  let slowestMs = 0
  let reads = 0
  const pending = new Set<Promise<void>>()
  const read = async (i: number): Promise<void> => {
    const beganMs = t.now
    // Half of the keys have something stale, half have nothing.
    const key = i % 2 === 0 ? (known[i % known.length] as string) : `cold ${i}`
    const cache = caches[i % MEMBERS] as LoadingCache<string | null>
    const what = await cache.get(key).then(
      () => 'stale',
      (error: unknown) => (isMeshError(error) ? error.code : 'another error')
    )
    slowestMs = Math.max(slowestMs, t.now - beganMs)
    told.set(what, (told.get(what) ?? 0) + 1)
  }
  while (t.now - fromMs < downSeconds * 1_000) {
    const due = ((t.now - fromMs) / 1_000) * readsPerSecond
    while (reads < due) {
      const one = read(reads++).finally(() => pending.delete(one))
      pending.add(one)
    }
    if (openMs === Number.POSITIVE_INFINITY && t.meshes.every(mesh => mesh.stats().breakersOpen > 0)) openMs = t.now
    await t.run(2)
  }
  await t.until(Promise.all(pending))
  const after = origin.beganMs.filter(ms => ms > openMs).length
  console.log(
    `down: ${reads} reads in ${downSeconds} s; every breaker open after ${Math.round(openMs - fromMs)} ms and ${origin.beganMs.filter(ms => ms > fromMs && ms <= openMs).length} calls; then ${after} calls of the origin, at most ${origin.perSecond(openMs)} a second; told ${JSON.stringify(Object.fromEntries(told))}; slowest ${Math.round(slowestMs)} ms`
  )
}

async function missing(t: Cluster): Promise<void> {
  const unfiltered = new Origin(t)
  const plain = t.meshes.map(mesh => mesh.cache('plain ids', { ttl: '1h', negativeTtl: '1h', load: unfiltered.load }))
  const some = Array.from({ length: 10_000 }, (_, i) => `none ${i}`)
  for (const cache of plain) await t.until(cache.getMany(some), '10m')
  console.log(
    `missing: ${some.length} ids that do not exist, read ${plain.length} times each within negativeTtl: ${unfiltered.beganMs.length} calls of the origin without a filter`
  )
  const origin = new Origin(t)
  const filtered = t.meshes.map(mesh => mesh.cache('ids', { ttl: '1h', exists: { keys: 100_000 }, load: origin.load }))
  const ids = Array.from({ length: 100_000 }, (_, i) => `id ${i}`)
  await t.until((filtered[0] as (typeof filtered)[0]).exists.fill(ids, { timeout: '60s' }))
  const unknown = Array.from({ length: 100_000 }, (_, i) => `none ${i}`)
  for (let from = 0; from < unknown.length; from += 1_000)
    await t.until(
      (filtered[(from / 1_000) % MEMBERS] as (typeof filtered)[0]).getMany(unknown.slice(from, from + 1_000))
    )
  const share = (origin.beganMs.length / unknown.length) * 100
  console.log(
    `missing: of ${unknown.length} ids that do not exist ${share.toFixed(2)} % reached the origin, filter at 1 %`
  )
}

const t = cluster(MEMBERS, { seed: 5 })
await t.run('40s')
await limited(t)
await missing(t)
await down(t)
