/**
 * The store of a member that is primary of some partitions and keeps copies of others, short of memory: whatever
 * happens to it, in random order, its digests are exact, its bytes are bounded, a copy never goes alone for want of
 * room, and a higher version never gives way to a lower one.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeTags, encodeTags, NO_TAGS } from '../../lib/codec/tags.ts'
import { Stats } from '../../lib/observe/stats.ts'
import { seededRandom } from '../../lib/sim/random.ts'
import type { Digest } from '../../lib/store/digests.ts'
import { type Entry, entryBytes, stubOf } from '../../lib/store/entry.ts'
import { EVICTION_NAMES, type EvictionName } from '../../lib/store/eviction.ts'
import type { Floor } from '../../lib/store/floor.ts'
import { type KeepTerms, keptAs, withShadow } from '../../lib/store/keeping.ts'
import type { Evicted } from '../../lib/store/room.ts'
import { Store } from '../../lib/store/store.ts'
import { isNewer } from '../../lib/store/version.ts'

const NAMESPACES = ['m', 'n']
const KEYS = Array.from({ length: 12 }, (_, i) => `s${'abc'[i % 3]}${i}`)
const PARTITIONS = 4
const RANKS = [0, 1, 2, 3]
const NEVER = Number.POSITIVE_INFINITY
const NAMES = NAMESPACES.flatMap(namespace => KEYS.map(key => ({ namespace, key })))
const partitionOf = (key: string): number => KEYS.indexOf(key) % PARTITIONS

type Step =
  | { type: 'put' | 'merge'; entry: Entry; ttlMs: number; shadowMs: number }
  | { type: 'value' | 'drop' | 'markGiven'; namespace: string; key: string }
  | { type: 'pass' | 'expire'; ms: number }
  | { type: 'setRole'; partition: number; isPrimary: boolean }
  | { type: 'dropPartition'; partition: number }
  | { type: 'dropGiven'; partition: number; rank: number }
  | { type: 'dropOlder'; stamp: number }
  | { type: 'addFloor'; kind: Floor['kind']; namespace: string; text: string; stamp: number }
  | { type: 'limit'; namespace: string; bytesMax: number; eviction: EvictionName }

const kinds = <T extends string>(...types: T[]) => fc.constantFrom(...types)
const namespace = fc.constantFrom(...NAMESPACES)
const key = fc.constantFrom(...KEYS)
const partition = fc.nat(PARTITIONS - 1)
const stamp = fc.integer({ min: 1, max: 40 })
const lowStamp = fc.integer({ min: 1, max: 12 })
const version = fc.record({ stamp, writer: fc.constantFrom('v', 'w') })
const entry: fc.Arbitrary<Entry> = fc
  .record({
    namespace,
    key,
    version,
    kind: fc.constantFrom<Entry['kind']>('value', 'value', 'value', 'tombstone'),
    size: fc.integer({ min: 1, max: 300 }),
    tags: fc.constantFrom<string[]>([], [], [], ['a'], ['b'], ['a', 'b']),
    backups: fc.nat(3)
  })
  .map(({ size, tags, ...rest }) => {
    const isValue = rest.kind === 'value'
    const bytes = new Uint8Array(isValue ? size : 0)
    const plain = { expiresAtMs: NEVER, keeping: undefined }
    const kept = isValue && tags.length > 0 ? keptAs(plain, tagged(tags)) : plain
    return { ...rest, partition: partitionOf(rest.key), bytes, negative: false, ...kept }
  })
/** What a value says of its tags when it comes. */
const tagged = (tags: readonly string[]): KeepTerms => ({
  ...{ revalidateMs: 0, staleMs: 0, ahead: 0, earlyMs: 0 },
  tags: encodeTags(tags, 'tags')
})

const ttlMs = fc.oneof(fc.integer({ min: 1, max: 3_000 }), fc.constant(60_000), fc.constant(60_000))
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 24,
    arbitrary: fc.record({ type: kinds('put', 'merge', 'merge'), entry, ttlMs, shadowMs: fc.constantFrom(0, 0, 9_000) })
  },
  { weight: 3, arbitrary: fc.record({ type: kinds('value', 'value', 'drop', 'markGiven'), namespace, key }) },
  {
    weight: 2,
    arbitrary: fc.record({
      type: kinds('pass', 'expire'),
      ms: fc.oneof({ weight: 4, arbitrary: fc.nat(300) }, { weight: 1, arbitrary: fc.nat(20_000) })
    })
  },
  { weight: 2, arbitrary: fc.record({ type: kinds('setRole'), partition, isPrimary: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ type: kinds('dropPartition'), partition }) },
  { weight: 1, arbitrary: fc.record({ type: kinds('dropGiven'), partition, rank: fc.integer({ min: -1, max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ type: kinds('dropOlder'), stamp: lowStamp }) },
  {
    weight: 1,
    arbitrary: fc.record({
      type: kinds('addFloor'),
      kind: fc.constant('prefix' as const),
      namespace,
      text: fc.constantFrom('', 'sa', 'sb', 'sc1'),
      stamp: lowStamp
    })
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: kinds('addFloor'),
      kind: fc.constantFrom<Floor['kind']>('tag', 'tag', 'tagged'),
      namespace: fc.constantFrom('', ...NAMESPACES),
      text: fc.constantFrom('a', 'b'),
      stamp: lowStamp
    })
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: kinds('limit'),
      namespace,
      bytesMax: fc.constantFrom(700, 1_500, NEVER),
      eviction: fc.constantFrom(...EVICTION_NAMES)
    })
  }
)

/** A store of another member: what single records come to must not depend on who holds them. */
const probe = new Store({ bytesMax: 1e6, stats: new Stats(), random: seededRandom(77) })

const probed = new Map<string, Digest>()

function digestOfAll(entries: readonly Entry[]): Digest {
  let [low, high] = [0, 0]
  for (const one of entries) {
    const digest = digestOfOne(one)
    low ^= digest.low
    high ^= digest.high
  }
  return { count: entries.length, low: low >>> 0, high: high >>> 0 }
}

function digestOfOne(one: Entry): Digest {
  const name = `${one.version.stamp} ${one.version.writer} ${one.expiresAtMs}`
  const known = probed.get(name)
  if (known !== undefined) return known
  probe.put(one)
  const digest = probe.digestOf(one.partition, 0)
  probe.drop(one.namespace, one.key)
  probed.set(name, digest)
  return digest
}

/** As `toEqual`, which takes longer than all the rest. */
function checkSame(a: Digest, b: Digest): void {
  if (a.count !== b.count || a.low !== b.low || a.high !== b.high) expect(a).toEqual(b)
}

class Play {
  readonly stats = new Stats()
  readonly store: Store
  readonly #bytesMax: number
  readonly #roles = [true, false, false, false]
  readonly #limits = new Map<string, number>()
  readonly #floors: Omit<Floor, 'atMs'>[] = []
  #given = new Set<string>()
  #evicted: Evicted[] = []
  #givenUp: number[] = []
  #nowMs = 1_000

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
    this.store = new Store({ bytesMax, stats: this.stats, random: seededRandom(1), floorsMs: NEVER })
    this.store.expire(this.#nowMs)
    for (const [partition, isPrimary] of this.#roles.entries()) this.store.setRole(partition, isPrimary)
    this.store.leaving.evicted = entry => this.#evicted.push(entry)
    this.store.leaving.givenUp = partition => this.#givenUp.push(partition)
  }

  step(one: Step): void {
    const before = this.#known()
    const roles = [...this.#roles]
    const isMeant = this.#perform(one)
    const incoming = one.type === 'put' || one.type === 'merge' ? one.entry : undefined
    this.#checkLosses(before, roles, isMeant, incoming)
    this.#checkSums()
    this.#checkDigests()
    // Its mark, if it leaves one, has been shown to nobody.
    for (const { namespace, key } of this.#evicted) this.#given.delete(`${namespace} ${key}`)
    this.#evicted = []
    this.#givenUp = []
  }

  /** Plays it and says which losses were asked for. */
  #perform(one: Step): (entry: Entry) => boolean {
    const { store } = this
    switch (one.type) {
      case 'put':
        this.#given.delete(`${one.entry.namespace} ${one.entry.key}`)
        store.put(this.#timed(one))
        return () => false
      case 'merge':
        this.#merge(this.#timed(one))
        return () => false
      case 'value':
        expect(store.value(one.namespace, one.key, this.#nowMs)?.kind).not.toBe('tombstone')
        return () => false
      case 'drop':
        store.drop(one.namespace, one.key)
        return ({ namespace, key }) => namespace === one.namespace && key === one.key
      case 'markGiven':
        if (store.entry(one.namespace, one.key) !== undefined) this.#given.add(`${one.namespace} ${one.key}`)
        store.markGiven(one.namespace, one.key)
        return () => false
      case 'pass':
        this.#nowMs += one.ms
        return () => false
      case 'expire':
        this.#nowMs += one.ms
        store.expire(this.#nowMs)
        return () => false
      case 'setRole':
        this.#roles[one.partition] = one.isPrimary
        store.setRole(one.partition, one.isPrimary)
        return () => false
      case 'dropPartition':
        store.dropPartition(one.partition)
        return ({ partition }) => partition === one.partition
      case 'dropGiven': {
        const given = this.#given
        const isOurs = (e: Entry): boolean => one.rank >= 0 && e.backups >= one.rank
        const isGiven = (e: Entry): boolean =>
          e.partition === one.partition && given.has(`${e.namespace} ${e.key}`) && !isOurs(e)
        const wanted = this.#known().filter(isGiven).length
        const gone = new Set(
          this.#known()
            .filter(isGiven)
            .map(e => `${e.namespace} ${e.key}`)
        )
        expect(store.dropGiven(one.partition, one.rank)).toBe(wanted)
        this.#given = new Set([...given].filter(name => !gone.has(name)))
        return isGiven
      }
      case 'dropOlder':
        store.dropOlder(one.stamp)
        for (const { version } of this.#known()) expect(version.stamp).toBeGreaterThanOrEqual(one.stamp)
        return ({ version }) => version.stamp < one.stamp
      case 'addFloor':
        this.#floors.push(one)
        store.addFloor({ ...one, atMs: this.#nowMs })
        expect(this.#known().filter(entry => this.#isDead(entry))).toEqual([])
        return entry => this.#isDead(entry)
      case 'limit':
        this.#limits.set(one.namespace, one.bytesMax)
        store.limit(one.namespace, one)
        return () => false
    }
  }

  #merge(entry: Entry): void {
    const before = this.store.entry(entry.namespace, entry.key)
    const merged = this.store.merge(entry, this.#nowMs)
    const after = this.store.entry(entry.namespace, entry.key)
    const standing = entry.expiresAtMs > this.#nowMs ? entry : stubOf(entry, this.#nowMs)
    const isOlder = before !== undefined && isNewer(before.version, entry.version)
    if (after !== undefined && before !== undefined) expect(isNewer(before.version, after.version)).toBe(false)
    if (this.#isDead(entry)) expect(merged).toBe('refused')
    else if (isOlder) expect(merged).toBe('older')
    else if (standing === undefined) expect(merged).toBe('refused')
    // Marks of what is over may push it out in the same call, past an eighth of all there may be.
    if (merged === 'kept' && !this.#wasPushedOut(entry)) {
      expect(after).toEqual(standing)
      this.#given.delete(`${entry.namespace} ${entry.key}`)
    }
    if (merged === 'same') expect([after?.version, after?.expiresAtMs]).toEqual([entry.version, standing?.expiresAtMs])
    // The mark of a delete stays under what is dead by a tag: it keeps out what is older still.
    const isMark = after?.kind === 'tombstone' && this.#isDead(entry)
    if (merged === 'refused' && after !== undefined && !isMark)
      expect(isNewer(entry.version, after.version)).toBe(false)
  }

  #wasPushedOut({ namespace, key, kind }: Entry): boolean {
    return kind === 'tombstone' && this.#evicted.some(gone => gone.namespace === namespace && gone.key === key)
  }

  #timed({ entry, ttlMs, shadowMs }: { entry: Entry; ttlMs: number; shadowMs: number }): Entry {
    // One version is one change: it has one end, but for a touch.
    const expiresAtMs = this.#nowMs + ttlMs - 500
    if (entry.kind === 'tombstone' || shadowMs === 0) return { ...entry, expiresAtMs }
    return { ...entry, ...withShadow({ expiresAtMs, keeping: entry.keeping }, expiresAtMs + shadowMs) }
  }

  #known(): Entry[] {
    return NAMES.map(({ namespace, key }) => this.store.entry(namespace, key)).filter(one => one !== undefined)
  }

  #isDead({ namespace, key, version, keeping }: Entry): boolean {
    const tags = decodeTags(keeping?.tags ?? NO_TAGS)
    return this.#floors.some(floor => {
      if (version.stamp >= floor.stamp || (floor.namespace !== namespace && floor.namespace !== '')) return false
      if (floor.kind === 'prefix') return key.startsWith(floor.text)
      return floor.kind === 'tag' ? tags.includes(floor.text) : tags.length > 0
    })
  }

  /** What is gone and was neither meant nor over went for want of room, and then by the rules. */
  #checkLosses(before: Entry[], roles: boolean[], isMeant: (e: Entry) => boolean, incoming: Entry | undefined): void {
    const told = new Set(this.#evicted.map(({ namespace, key }) => `${namespace} ${key}`))
    for (const entry of before) {
      const { namespace, key, partition, version, expiresAtMs } = entry
      if (namespace === incoming?.namespace && key === incoming.key) continue
      const after = this.store.entry(namespace, key)
      const isOver = expiresAtMs <= this.#nowMs
      if (after?.kind === entry.kind || isMeant(entry)) continue
      if (after !== undefined) expect([after.kind, after.version]).toEqual(['tombstone', version])
      if (isOver) continue
      if (roles[partition]) expect(told).toContain(`${namespace} ${key}`)
      else expect(this.#givenUp).toContain(partition)
    }
    for (const { partition } of this.#evicted) expect(roles[partition]).toBe(true)
    for (const given of this.#givenUp) {
      expect(roles[given]).toBe(false)
      expect(given).not.toBe(incoming?.partition)
      expect(this.store.holds(given)).toBe(false)
    }
  }

  #checkSums(): void {
    const known = this.#known()
    const sum = (entries: Entry[]): number => entries.reduce((total, entry) => total + entryBytes(entry), 0)
    expect(this.store.size).toBe(known.length)
    expect(this.store.bytes).toBe(sum(known))
    expect(this.store.bytes).toBeLessThanOrEqual(this.#bytesMax)
    for (const name of NAMESPACES) {
      expect(this.store.bytesOf(name)).toBe(sum(known.filter(({ namespace }) => namespace === name)))
      expect(this.store.bytesOf(name)).toBeLessThanOrEqual(this.#limits.get(name) ?? NEVER)
    }
  }

  #checkDigests(): void {
    const known = this.#known()
    for (let partition = 0; partition < PARTITIONS; partition++)
      for (const rank of RANKS) {
        const held = known.filter(one => one.partition === partition && one.backups >= rank)
        checkSame(this.store.digestOf(partition, rank), digestOfAll(held))
        const standing = held.map(one => (one.expiresAtMs > this.#nowMs ? one : stubOf(one, this.#nowMs)))
        checkSame(
          this.store.digestAt(partition, rank, this.#nowMs),
          digestOfAll(standing.filter(one => one !== undefined))
        )
      }
  }
}

describe('a store with copies', () => {
  it('keeps to its rules, whatever happens to it', () => {
    const [evicted, givenUp] = [[] as number[], [] as number[]]
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 30, maxLength: 70 }),
        fc.integer({ min: 300, max: 1_800 }),
        (steps, bytesMax) => {
          const play = new Play(bytesMax)
          for (const one of steps) play.step(one)
          evicted.push(play.stats.evictionsTotal)
          givenUp.push(play.stats.copiesGivenUpTotal)
        }
      ),
      { numRuns: 150 }
    )
    // It has been where it is about.
    expect(evicted.filter(times => times > 0).length).toBeGreaterThan(10)
    expect(givenUp.filter(times => times > 0).length).toBeGreaterThan(10)
  })

  it('comes to the same from the same records in any order', () => {
    const one = fc.record({ entry, shadowMs: fc.constantFrom(0, 9_000) })
    // A version is made once.
    const all = fc.uniqueArray(one, {
      maxLength: 40,
      selector: ({ entry: { version: v } }) => `${v.stamp} ${v.writer}`
    })
    const shuffled = all.chain(list =>
      fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length }), fc.array(partition))
    )
    fc.assert(
      fc.property(shuffled, ([list, other, copied]) => {
        const merged = (records: typeof list, copies: readonly number[]): Store => {
          const store = new Store({ bytesMax: 1e9, stats: new Stats(), random: seededRandom(copies.length) })
          for (const copy of copies) store.setRole(copy, false)
          for (const { entry, shadowMs } of records) {
            const kept = withShadow({ expiresAtMs: 1_000 + entry.version.stamp, keeping: undefined }, shadowMs)
            expect(store.merge({ ...entry, ...kept }, 10)).not.toBe('refused')
            expect(store.merge({ ...entry, ...kept }, 10)).not.toBe('kept')
          }
          return store
        }
        const [a, b] = [merged(list, copied), merged(other, [])]
        for (const { namespace, key } of NAMES) expect(a.entry(namespace, key)).toEqual(b.entry(namespace, key))
        for (let p = 0; p < PARTITIONS; p++)
          for (const rank of RANKS) {
            expect(a.digestOf(p, rank)).toEqual(b.digestOf(p, rank))
            expect(a.digestAt(p, rank, 1_020)).toEqual(b.digestAt(p, rank, 1_020))
          }
        const before = { namespace: '', key: '' }
        for (let p = 0; p < PARTITIONS; p++)
          expect(a.versionsIn(p, 1, before, 99)).toEqual(b.versionsIn(p, 1, before, 99))
      }),
      { numRuns: 200 }
    )
  })
})
