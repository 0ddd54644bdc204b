/**
 * A key is invalidated at the moments of a fill. A fill is so many events of the simulator from the first get to the
 * last answer; for each of them the mesh is formed again, and the invalidation begins right after that event. The
 * origin changes its row at that very moment, so what a loader has read before is stale from then on: once the
 * invalidation has resolved, nobody who comes gets it and no member stores it.
 *
 * Each history is walked in strides, and each with its own first step, so that together they look at every event.
 *
 * Each history is walked twice, with a key each, one after the other: with callers at all members from the moment the
 * invalidation has resolved, and with nobody for a while after it, because callers that come at once start a load whose
 * newer version would hide that the old value was stored after it.
 */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Flights } from '../../lib/fill/flight.ts'
import { Store } from '../../lib/store/store.ts'
import { type Cluster, cluster } from '../../lib/testing.ts'
import { mesh, ownersOf, watch } from './story.ts'

const FORM_MS = 500
const ORIGIN_MS = 12
/** Other members ask while the first load is on its way, and around its end. */
const WAITERS_AT_MS = [4, 11]
/** By then every load has landed. */
const WHILE_MS = 60
const [OWNER, CALLER, OTHER] = [0, 1, 2]
const MEMBERS = [OWNER, CALLER, OTHER]
/** Copies make many more events of the same story, and longer strides. */
const MOMENTS = 18
const OLD = 1
const NEW = 2

type Kind = 'load' | 'getOrSet'
type Invalidation = 'delete' | 'set' | 'clear'
/** When others ask again. */
type Then = 'at once' | 'later'

interface Walk {
  readonly kind: Kind
  /** Who asks first: with getOrSet it is who has the lease. */
  readonly first: number
  readonly invalidation: Invalidation
  readonly by: number
  readonly backups: number
}

interface Read {
  /** It began after the invalidation had resolved. */
  readonly isLater: boolean
  readonly member: number
  readonly settled: { state: string; value: number | undefined; error: unknown }
}

/** Two keys for all histories: the same seed has the same owners. */
let keys: readonly string[] | undefined

/** One history: a fill for callers at all members, and a key that may be invalidated at any time. */
class Fill {
  readonly t: Cluster
  readonly reads: Read[] = []
  readonly #kind: Kind
  readonly #key: string
  #row = OLD
  isOver = false
  calls = 0

  constructor(t: Cluster, kind: Kind, key: string) {
    this.t = t
    this.#kind = kind
    this.#key = key
  }

  /** Two of them in a mesh that has just formed: the second is to begin when the first is over. */
  static async formed({ kind, backups }: Walk): Promise<[Fill, Fill]> {
    const fills = new Map<string, Fill>()
    const t: Cluster = cluster(MEMBERS.length, {
      seed: 400,
      start: member => {
        const load = (key: unknown): Promise<number> => (fills.get(key as string) as Fill).#origin()
        if (kind === 'load') member.cache('products', { ttl: '1h', backups, load })
        else member.cache('products', { ttl: '1h', backups })
      }
    })
    await t.run(FORM_MS)
    keys ??= ownedBy(t, OWNER)
    for (const key of keys) fills.set(key, new Fill(t, kind, key))
    return [...fills.values()] as [Fill, Fill]
  }

  /** Read first and slow then: what arrives may be old, as with a real database. */
  async #origin(): Promise<number> {
    this.calls++
    const row = this.#row
    await this.t.sleep(ORIGIN_MS)
    return row
  }

  begin(first: number): void {
    this.read(first)
    const others = MEMBERS.filter(index => index !== first)
    for (const ms of WAITERS_AT_MS) for (const index of others) void this.t.sleep(ms).then(() => this.read(index))
  }

  read(member: number): void {
    const cache = mesh(this.t, member).cache<number>('products')
    const value = this.#kind === 'load' ? cache.get(this.#key) : cache.getOrSet(this.#key, () => this.#origin())
    this.reads.push({ isLater: this.isOver, member, settled: watch(this.t, value) })
  }

  get hasSettled(): boolean {
    return this.reads.every(({ settled }) => settled.state !== 'pending')
  }

  async invalidate({ invalidation, by }: Walk): Promise<void> {
    this.#row = NEW
    const cache = mesh(this.t, by).cache<number>('products')
    if (invalidation === 'delete') await this.t.until(cache.delete(this.#key))
    else if (invalidation === 'clear') await this.t.until(cache.clear())
    else await this.t.until(cache.set(this.#key, NEW))
    this.isOver = true
  }
}

/** Two keys of this member. */
function ownedBy(t: Cluster, index: number): string[] {
  const candidates = Array.from({ length: 100 }, (_, i) => `key-${i}`)
  const owners = ownersOf(t, candidates)
  return candidates.filter((_, i) => owners[i] === index).slice(0, 2)
}

/** Every value that any member stores meanwhile. */
async function storedDuring(work: () => Promise<void>): Promise<Buffer[]> {
  const stored: Buffer[] = []
  const { put } = Store.prototype
  Store.prototype.put = function (this: Store, entry) {
    const bytes = Buffer.from(entry.bytes)
    const isStored = put.call(this, entry)
    if (isStored && entry.kind === 'value') stored.push(bytes)
    return isStored
  }
  try {
    await work()
  } finally {
    Store.prototype.put = put
  }
  return stored
}

/** How many events it is from the first get to the last answer, and the bytes of the value that will be old. */
async function measure(along: Walk): Promise<{ events: number; old: Buffer }> {
  const [fill] = await Fill.formed(along)
  const before = fill.t.world.steps
  let events = 0
  const stored = await storedDuring(async () => {
    fill.begin(along.first)
    while (fill.reads.length < 1 + 2 * WAITERS_AT_MS.length || !fill.hasSettled) await fill.t.world.step()
    events = fill.t.world.steps - before
    await fill.t.run(WHILE_MS)
  })
  expect(fill.reads.map(({ settled }) => settled.value)).toEqual(fill.reads.map(() => OLD))
  expect(fill.calls).toBe(1)
  expect(stored).toHaveLength(1)
  return { events, old: stored[0] as Buffer }
}

/** What was wrong when it was invalidated after that many events. */
async function invalidateAfter(fill: Fill, events: number, along: Walk, old: Buffer, then: Then): Promise<string[]> {
  fill.begin(along.first)
  for (let i = 0; i < events; i++) await fill.t.world.step()
  await fill.invalidate(along)
  const stored = await storedDuring(async () => {
    if (then === 'at once') for (const index of MEMBERS) fill.read(index)
    await fill.t.run(WHILE_MS)
    for (const index of MEMBERS) fill.read(index)
    await fill.t.run(WHILE_MS)
  })
  return [...wrongIn(fill), ...stored.filter(bytes => bytes.equals(old)).map(() => 'stored')]
}

function wrongIn({ reads }: Fill): string[] {
  return reads.flatMap(({ isLater, member, settled: { state, value, error } }) => {
    if (state !== 'fulfilled') return [`${state} at ${member} (${error})`]
    if (value !== OLD && value !== NEW) return [`${value} at ${member}`]
    return isLater && value === OLD ? [`returned at ${member}`] : []
  })
}

async function walk(along: Walk, phase = 0): Promise<{ moments: number; wrong: string[] }> {
  const { events, old } = await measure(along)
  const wrong: string[] = []
  const stride = Math.max(1, Math.ceil(events / MOMENTS))
  let moments = 0
  for (let i = phase % stride; i <= events; i += stride) {
    moments++
    const [first, second] = await Fill.formed(along)
    for (const what of await invalidateAfter(first, i, along, old, 'at once'))
      wrong.push(`event ${i}, at once: ${what}`)
    for (const what of await invalidateAfter(second, i, along, old, 'later')) wrong.push(`event ${i}, later: ${what}`)
  }
  return { moments, wrong }
}

afterEach(() => {
  vi.restoreAllMocks()
})

describe.each([
  ['load', 'at its owner', OWNER],
  ['load', 'at another member', CALLER],
  ['getOrSet', 'with the lease at the owner', OWNER],
  ['getOrSet', 'with the lease at another member', CALLER]
] as const)('%s, asked for %s', (kind, _, first) => {
  it.each(['delete', 'set', 'clear'] as const)(
    '%s at any moment leaves nothing old behind, whoever calls it',
    async invalidation => {
      let moments = 0
      let phase = 0
      for (const backups of [0, 1])
        for (const by of [OWNER, OTHER]) {
          const walked = await walk({ kind, first, invalidation, by, backups }, phase++)
          moments += walked.moments
          expect(walked.wrong, `called by member ${by}, ${backups} backups`).toEqual([])
        }
      console.log(`${kind} first asked for by member ${first}, ${invalidation}: ${moments} moments, nothing stale`)
      // A walk of a few steps would prove nothing.
      expect(moments).toBeGreaterThan(60)
    }
  )
})

describe('the walk sees', () => {
  const along = { kind: 'getOrSet', first: CALLER, by: OTHER, backups: 0 } as const

  it('a load that is kept although its key was deleted', async () => {
    vi.spyOn(Flights.prototype, 'fence').mockImplementation(() => {})
    const { wrong } = await walk({ ...along, invalidation: 'delete' })
    expect(wrong.some(each => each.includes('returned'))).toBe(true)
  })

  it('a load that is kept although its cache was cleared', async () => {
    vi.spyOn(Flights.prototype, 'fenceMatching').mockImplementation(() => {})
    // The floor that a clear lays keeps it out as well.
    vi.spyOn(Store.prototype, 'addFloor').mockImplementation(() => {})
    const { wrong } = await walk({ ...along, invalidation: 'clear' })
    expect(wrong.some(each => each.includes('stored'))).toBe(true)
  })
})
