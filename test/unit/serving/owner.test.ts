import { beforeEach, describe, expect, it } from 'vitest'
import { cacheDefinition } from '../../../lib/cache-options.ts'
import { BackOffs } from '../../../lib/fill/back-off.ts'
import type { CacheDefinition, Load } from '../../../lib/fill/definition.ts'
import { LEASE_MS } from '../../../lib/fill/fills.ts'
import { Flights } from '../../../lib/fill/flight.ts'
import type { OriginGuard } from '../../../lib/fill/guard.ts'
import { Moves } from '../../../lib/fill/moves.ts'
import { Origin } from '../../../lib/fill/origin.ts'
import { WriteBehind } from '../../../lib/fill/write-behind.ts'
import { Happenings } from '../../../lib/observe/happenings.ts'
import { Journal } from '../../../lib/observe/journal.ts'
import { Stats } from '../../../lib/observe/stats.ts'
import { noLog } from '../../../lib/ports/log.ts'
import { CACHE_ONLY, type MessageOf, OUTRIGHT, type Reply } from '../../../lib/rpc/messages.ts'
import { Owner } from '../../../lib/serving/owner.ts'
import { seededRandom } from '../../../lib/sim/random.ts'
import { Store } from '../../../lib/store/store.ts'
import { MeshClock } from '../../../lib/store/version.ts'
import { ManualClock } from '../rpc/manual-clock.ts'

const BOOT = 42

/** Lets everybody in at once. */
const openGate: OriginGuard = {
  enter: (_definition, _urgency, go) => {
    go.start()
    return { promote: () => {}, withdraw: () => {}, done: () => {} }
  }
}
const KEY = 'sk'

let clock: ManualClock
let store: Store
let flights: Flights
let stats: Stats
let owner: Owner
let definition: CacheDefinition | undefined
let owned: boolean
let moves: Moves
let leaving: boolean
let dropped: unknown[]
let follows: { peer: string; ask: unknown; onReply: (reply: Reply | undefined) => void }[]

/** A queue of writes for a cache that has no origin. */
function nothingBehind(clock: ManualClock, stats: Stats): WriteBehind {
  return new WriteBehind({
    clock,
    random: seededRandom(3),
    stats,
    log: noLog,
    detach: fn => fn(),
    definition: () => definition,
    tell: () => undefined
  })
}

function declare(load?: Load): void {
  definition = cacheDefinition('c', { ttl: '1h', jitter: 0, ...(load === undefined ? {} : { load: load as never }) })
}

beforeEach(() => {
  clock = new ManualClock()
  stats = new Stats()
  store = new Store({ bytesMax: 1e6, stats, random: seededRandom(1) })
  flights = new Flights()
  owned = true
  declare()
  const meshClock = new MeshClock(clock)
  moves = new Moves(clock)
  leaving = false
  dropped = []
  follows = []
  owner = new Owner({
    self: 'self',
    boot: BOOT,
    clock,
    meshClock,
    store,
    behind: nothingBehind(clock, stats),
    flights,
    backOffs: new BackOffs(clock),
    moves,
    isLeaving: () => leaving,
    stats,
    journal: new Journal(() => clock.monotonic()),
    happenings: new Happenings({ clock, stats, detach: fn => fn() }),
    random: seededRandom(2),
    origin: new Origin({ clock, meshClock, random: seededRandom(1), stats, log: noLog, guard: openGate }),
    tell: (peer, notice) => dropped.push([peer, notice]),
    follow: (peer, ask, onReply) => {
      follows.push({ peer, ask, onReply })
      return () => {}
    },
    detach: fn => fn(),
    definition: () => definition,
    partitionOf: () => 5,
    owns: () => owned,
    viewHash: () => 7,
    tombstoneTtlMs: 60_000,
    copies: { changed: () => {}, look: () => false, isWarming: () => false, mayBeOld: () => false }
  })
})

const COPYING = { backups: 0, backupAcks: 0 } as const
const NAMESPACE = cacheDefinition('c', { ttl: '1h' }).namespace

/** A caller and all it is told. */
function ask(peer: string, mode: 'stored' | 'load' | 'lease' = 'lease') {
  const told: Reply[] = []
  const withdraw = owner.read(peer, { type: 'read', namespace: NAMESPACE, key: KEY, mode, wish: 'usual' }, reply =>
    told.push(reply)
  )
  return { told, withdraw: withdraw ?? (() => {}), kinds: () => told.map(({ type }) => type) }
}

function leaseOf({ told }: { told: Reply[] }): MessageOf<'lease'> {
  return told.find((reply): reply is MessageOf<'lease'> => reply.type === 'lease') as MessageOf<'lease'>
}

function fill(peer: string, { lease, boot }: MessageOf<'lease'>, over: Partial<MessageOf<'fill'>> = {}): boolean {
  const outcome = { code: 'value', bytes: Uint8Array.of(2), failure: '' } as const
  const token = {
    namespace: NAMESPACE,
    key: KEY,
    lease,
    boot,
    ttlMs: 1_000,
    negative: false,
    keep: undefined,
    backups: 0
  }
  return owner.fills.fill(peer, { type: 'fill', ...token, ...outcome, ...over }).stored
}

const write = () =>
  owner.write({
    type: 'write',
    namespace: NAMESPACE,
    key: KEY,
    bytes: Uint8Array.of(9),
    ttlMs: 1_000,
    keep: undefined,
    ...COPYING,
    ...CACHE_ONLY
  })
const remove = () =>
  owner.remove({ type: 'remove', namespace: NAMESPACE, key: KEY, ...OUTRIGHT, ...COPYING, ...CACHE_ONLY })
const later = async (): Promise<void> => new Promise(resolve => setImmediate(resolve))

describe('a lease', () => {
  it('goes to the first that asks; the others wait for what it brings', () => {
    const [first, second] = [ask('a'), ask('b')]
    expect([first.kinds(), second.kinds()]).toEqual([['lease'], ['waiting']])
    expect(fill('a', leaseOf(first))).toBe(true)
    expect(second.kinds()).toEqual(['waiting', 'loaded'])
    expect(ask('c').told).toMatchObject([{ type: 'hit', stamp: leaseOf(first).lease, writer: 'self' }])
    expect([flights.size, clock.armed]).toEqual([0, 0])
  })

  it.each([
    ['another holder', 'b', {}],
    ['another boot', 'a', { boot: BOOT + 1 }],
    ['another lease', 'a', { lease: 1 }],
    ['another key', 'a', { key: 'sother' }]
  ] as const)('is not filled by %s', (_, peer, over) => {
    const holder = ask('a')
    expect(fill(peer, leaseOf(holder), over)).toBe(false)
    expect(store.size).toBe(0)
    expect(fill('a', leaseOf(holder))).toBe(true)
  })

  it('is filled once', () => {
    const holder = ask('a')
    expect([fill('a', leaseOf(holder)), fill('a', leaseOf(holder))]).toEqual([true, false])
  })

  it('runs out after 3 s and goes to the oldest that waits; the first holder comes too late', () => {
    const holder = ask('a')
    const [next, last] = [ask('b'), ask('c')]
    clock.pass(LEASE_MS)
    expect(next.kinds()).toEqual(['waiting', 'lease'])
    expect(last.kinds().filter(kind => kind !== 'waiting')).toEqual([])
    expect(leaseOf(next).lease).toBeGreaterThan(leaseOf(holder).lease)
    expect(fill('a', leaseOf(holder))).toBe(false)
    expect(fill('b', leaseOf(next))).toBe(true)
    expect(last.kinds().at(-1)).toBe('loaded')
    expect(stats.leasesLostTotal).toBe(1)
  })

  it('tells those who wait on that a load has begun anew', () => {
    ask('a')
    ask('b')
    const last = ask('c')
    clock.pass(LEASE_MS)
    expect(last.kinds()).toEqual(['waiting', 'waiting'])
  })

  it('that is renewed by its holder goes on, and by nobody else', () => {
    const holder = ask('a')
    const next = ask('b')
    const { lease } = leaseOf(holder)
    for (let i = 0; i < 10; i++) {
      clock.pass(LEASE_MS / 3)
      owner.fills.holderSays('a', { type: 'renew', lease, boot: BOOT })
    }
    expect(next.kinds()).toEqual(['waiting'])
    clock.pass(LEASE_MS - 1)
    owner.fills.holderSays('b', { type: 'renew', lease, boot: BOOT })
    owner.fills.holderSays('a', { type: 'renew', lease, boot: BOOT + 1 })
    clock.pass(1)
    expect(next.kinds()).toEqual(['waiting', 'lease'])
  })

  it('that is handed back, or whose holder is gone from the view, is handed on at once', () => {
    const holder = ask('a')
    const [next, last] = [ask('b'), ask('c')]
    owner.fills.holderSays('a', { type: 'release', lease: leaseOf(holder).lease, boot: BOOT })
    expect(next.kinds()).toEqual(['waiting', 'lease'])
    owner.fills.memberGone('b')
    expect(last.kinds().at(-1)).toBe('lease')
    owner.fills.memberGone('c')
    expect([flights.size, clock.armed]).toEqual([0, 0])
  })

  it('goes to our own loader when one who waits may use it', async () => {
    ask('a')
    const next = ask('b', 'load')
    declare(() => 'loaded here')
    clock.pass(LEASE_MS)
    await later()
    expect(next.kinds().at(-1)).toBe('loaded')
    expect(store.size).toBe(1)
  })

  it('of one who waits and gives up passes by it', () => {
    ask('a')
    const [gone, next] = [ask('b'), ask('c')]
    gone.withdraw()
    clock.pass(LEASE_MS)
    expect(gone.kinds()).toEqual(['waiting'])
    expect(next.kinds()).toEqual(['waiting', 'lease'])
  })

  it.each(['ERR_MESH_LOAD', 'ERR_MESH_LOAD_TIMEOUT'] as const)(
    'filled with %s fails those who wait and keeps nothing',
    code => {
      const holder = ask('a')
      const next = ask('b')
      expect(fill('a', leaseOf(holder), { code, failure: '{}' })).toBe(false)
      expect(next.told.at(-1)).toMatchObject({ type: 'loaded', code })
      expect(ask('c').told).toMatchObject([{ type: 'loaded', code: 'ERR_MESH_BACKOFF' }])
      clock.pass(100)
      expect(ask('c').kinds()).toEqual(['lease'])
    }
  )
})

describe('a write, a delete or the loss of the partition in the middle of a load', () => {
  it.each([
    ['write', write],
    ['delete', remove],
    ['loss', () => owner.lose(() => true)]
  ])('(%s) lets those who waited have the value and stores nothing of it', (_, change) => {
    const holder = ask('a')
    const early = ask('b')
    change()
    expect(fill('a', leaseOf(holder))).toBe(false)
    expect(early.told.at(-1)).toMatchObject({ type: 'loaded', bytes: Uint8Array.of(2) })
    expect(store.entry(NAMESPACE, KEY)?.bytes ?? new Uint8Array()).not.toEqual(Uint8Array.of(2))
    expect(stats.fillsFencedTotal).toBe(1)
    expect([flights.size, clock.armed]).toEqual([0, 0])
  })

  it('lets nobody who asks afterwards join the older load', () => {
    const older = ask('a')
    remove()
    const newer = ask('b')
    expect(newer.kinds()).toEqual(['lease'])
    expect(leaseOf(newer).lease).toBeGreaterThan(leaseOf(older).lease)
    expect(fill('b', leaseOf(newer), { bytes: Uint8Array.of(3) })).toBe(true)
    expect(fill('a', leaseOf(older))).toBe(false)
    // Kept with the mark of the delete, which is told as well.
    expect(ask('c').told).toMatchObject([{ type: 'kept', bytes: Uint8Array.of(3) }])
  })

  it('sends those who wait for a worker that is lost as well to ask anew', () => {
    ask('a')
    const early = ask('b')
    write()
    owner.fills.memberGone('a')
    expect(early.told.at(-1)).toMatchObject({ type: 'hit', bytes: Uint8Array.of(9) })
    ask('c', 'stored')
    owned = true
    remove()
    ask('d')
    const moved = ask('e')
    owned = false
    owner.lose(() => true)
    owner.fills.memberGone('d')
    expect(moved.kinds().at(-1)).toBe('notOwner')
  })

  it('lets one that asked anew take back its new place, not its old one', () => {
    ask('a')
    const [early, other] = [ask('b'), ask('c')]
    remove()
    owner.fills.memberGone('a')
    expect(early.kinds()).toEqual(['waiting', 'lease'])
    expect(other.kinds().filter(kind => kind !== 'waiting')).toEqual([])
    other.withdraw()
    fill('b', leaseOf(early))
    expect(other.kinds().filter(kind => kind !== 'waiting')).toEqual([])
    expect(flights.size).toBe(0)
  })
})

describe('a change whose record is larger than all its cache may hold', () => {
  it('is refused before anything is done: the value of before stays, and so do loads under way', () => {
    write()
    const { stamp, writer } = store.entry(NAMESPACE, KEY)?.version ?? { stamp: 0, writer: '' }
    const [cost, room] = [store.bytes, store.bytes + 100]
    store.limit(NAMESPACE, { bytesMax: room, eviction: 'lru' })
    const terms = {
      namespace: NAMESPACE,
      key: KEY,
      bytes: new Uint8Array(102),
      ttlMs: 1_000,
      keep: undefined,
      ...COPYING,
      ...CACHE_ONLY
    }
    const compare = { ...terms, type: 'compareAndSet', expectedStamp: stamp, expectedWriter: writer } as const
    const refusal = { type: 'tooLarge', recordBytes: room + 1, recordBytesMax: room }
    expect(owner.perform({ ...terms, type: 'write' })).toEqual(refusal)
    expect(owner.perform({ ...compare, keepTtl: true })).toEqual(refusal)
    expect(owner.perform({ ...compare, expectedStamp: 1, keepTtl: true })).toMatchObject({ done: false })
    expect(owner.stored(NAMESPACE, KEY)?.bytes).toEqual(Uint8Array.of(9))
    remove()
    const holder = ask('a')
    owner.perform({ ...terms, type: 'write' })
    expect(fill('a', leaseOf(holder))).toBe(true)
    store.limit(NAMESPACE, { bytesMax: cost - 1, eviction: 'lru' })
    expect(
      owner.perform({ type: 'add', namespace: NAMESPACE, key: KEY, by: 1, ttlMs: 1_000, ...COPYING })
    ).toMatchObject({
      type: 'tooLarge'
    })
    // Nothing but the mark of the delete.
    expect(store.entry(NAMESPACE, KEY)?.kind).toBe('tombstone')
  })
})

describe('our own loader', () => {
  it('runs once for all, and a loader that ends in the same turn answers all the same', async () => {
    let calls = 0
    declare(() => ++calls)
    const all = [ask('a', 'load'), ask('b', 'load'), ask('self', 'load')]
    await later()
    expect(all.map(({ kinds }) => kinds().at(-1))).toEqual(['loaded', 'loaded', 'loaded'])
    expect(calls).toBe(1)
  })

  it('is aborted when the last who waited has gone, and its result is kept by nobody', async () => {
    let signal: AbortSignal | undefined
    let settle = (_: unknown): void => {}
    declare((_, context) => {
      signal = context.signal
      return new Promise(resolve => (settle = resolve))
    })
    const [one, two] = [ask('a', 'load'), ask('b', 'load')]
    one.withdraw()
    expect(signal?.aborted).toBe(false)
    two.withdraw()
    two.withdraw()
    expect(signal?.aborted).toBe(true)
    settle('too late')
    await later()
    expect([store.size, flights.size]).toEqual([0, 0])
    expect(ask('c', 'load').kinds()).toEqual(['waiting'])
  })

  it('that deletes its own key is fenced like any other', async () => {
    declare(() => {
      remove()
      return 1
    })
    const caller = ask('a', 'load')
    await later()
    expect(caller.kinds().at(-1)).toBe('loaded')
    expect(store.value(NAMESPACE, KEY, 0)).toBeUndefined()
  })

  it('is not asked for a key that no member would have written', () => {
    const read = (): unknown =>
      owner.read('a', { type: 'read', namespace: NAMESPACE, key: 'nonsense', mode: 'load', wish: 'usual' }, () => {})
    expect(read).toThrow(/expected an encoded key/)
    expect(flights.size).toBe(0)
    expect(flights.find(NAMESPACE, 'nonsense')).toBeUndefined()
  })
})

describe('who is left to want a load', () => {
  const idle = (peer: string, lease: MessageOf<'lease'>): void =>
    owner.fills.holderSays(peer, { type: 'idle', lease: lease.lease, boot: BOOT })
  const dropOf = (peer: string, { lease }: MessageOf<'lease'>) => [peer, { type: 'drop', lease, boot: BOOT }]

  it('is asked when the callers of the holder have gone: nobody, so it is dropped', () => {
    const holder = ask('a')
    idle('a', leaseOf(holder))
    expect(dropped).toEqual([dropOf('a', leaseOf(holder))])
    expect([flights.size, clock.armed]).toEqual([0, 0])
    expect(fill('a', leaseOf(holder))).toBe(false)
  })

  it('are those who wait here: it is dropped when they have gone too, and filled if they stay', () => {
    const [holder, one, two] = [ask('a'), ask('b'), ask('c')]
    idle('a', leaseOf(holder))
    one.withdraw()
    expect(dropped).toEqual([])
    expect(fill('a', leaseOf(holder))).toBe(true)
    expect(two.kinds().at(-1)).toBe('loaded')
    remove()
    const [again, last] = [ask('a'), ask('b')]
    last.withdraw()
    expect(dropped).toEqual([])
    idle('a', leaseOf(again))
    expect(dropped).toEqual([dropOf('a', leaseOf(again))])
  })

  it('is nobody of whom this member knows, where it does not know the lease', () => {
    idle('a', { type: 'lease', lease: 5, boot: BOOT, reason: 'miss', previous: undefined })
    expect(dropped).toEqual([['a', { type: 'drop', lease: 5, boot: BOOT }]])
  })
})

describe('a key that has come from another member', () => {
  const PARTITION = 5
  const outcome = {
    code: 'value',
    bytes: Uint8Array.of(3),
    failure: '',
    ttlMs: 1_000,
    negative: false,
    stamp: 0,
    writer: ''
  } as const
  let calls: number

  beforeEach(() => {
    calls = 0
    declare(() => ++calls)
    moves.gained(PARTITION, 'before')
  })

  it('is not loaded while its old owner still loads it: what comes of that is stored here', async () => {
    const [one, two] = [ask('a', 'load'), ask('b', 'load')]
    expect(follows.map(({ peer, ask: asked }) => [peer, asked])).toEqual([
      ['before', { type: 'follow', namespace: NAMESPACE, key: KEY }]
    ])
    follows[0]?.onReply({ type: 'followed', ...outcome, keep: undefined, backups: 0 })
    await later()
    expect([one, two].map(({ kinds }) => kinds().at(-1))).toEqual(['loaded', 'loaded'])
    expect([calls, ask('c').told]).toMatchObject([0, [{ type: 'hit', bytes: Uint8Array.of(3) }]])
  })

  it.each([
    ['is silent', undefined],
    ['loads nothing', { type: 'absent' } as const]
  ])('is loaded here when its old owner %s', async (_, reply) => {
    const caller = ask('a', 'load')
    follows[0]?.onReply(reply)
    await later()
    expect([calls, caller.kinds().at(-1)]).toEqual([1, 'loaded'])
  })

  it('is loaded here once anything has changed in its partition: the old load may have begun before that', async () => {
    remove()
    const caller = ask('a', 'load')
    await later()
    expect([follows.length, calls, caller.kinds().at(-1)]).toEqual([0, 1, 'loaded'])
  })

  it('that is changed while its old owner is followed is not stored', async () => {
    const caller = ask('a', 'load')
    remove()
    follows[0]?.onReply({ type: 'followed', ...outcome, keep: undefined, backups: 0 })
    expect(caller.kinds().at(-1)).toBe('loaded')
    expect(store.value(NAMESPACE, KEY, 0)).toBeUndefined()
  })

  it('that moves on while its old owner is followed sends those who wait to where it is now', () => {
    const caller = ask('a', 'load')
    owned = false
    owner.lose(() => true)
    follows[0]?.onReply({ type: 'absent' })
    expect([caller.kinds().at(-1), calls]).toEqual(['notOwner', 0])
  })

  it('is followed for a while only', async () => {
    clock.pass(30_000)
    ask('a', 'load')
    await later()
    expect([follows.length, calls]).toEqual([0, 1])
  })
})

describe('a member that is followed', () => {
  const follow = (): Reply[] => {
    const told: Reply[] = []
    owner.fills.followed('after', { type: 'follow', namespace: NAMESPACE, key: KEY }, reply => told.push(reply))
    return told
  }

  it('says that it loads nothing', () => {
    expect(follow()).toEqual([{ type: 'absent' }])
  })

  it('tells what its load brings, and keeps nothing itself', () => {
    const holder = ask('a')
    owned = false
    owner.lose(() => true)
    const told = follow()
    expect(fill('a', leaseOf(holder))).toBe(false)
    expect(told).toMatchObject([{ type: 'waiting' }, { type: 'followed', code: 'value', bytes: Uint8Array.of(2) }])
    expect(store.size).toBe(0)
  })

  it('that leaves hands over what it has stored, also what came after it said so, under its version', () => {
    const first = ask('a')
    fill('a', leaseOf(first), {
      keep: { revalidateMs: 500, staleMs: 700, ahead: 0, earlyMs: 1, tags: Uint8Array.of(1) }
    })
    leaving = true
    owned = false
    owner.lose(() => true)
    expect(follow()).toMatchObject([
      {
        type: 'followed',
        bytes: Uint8Array.of(2),
        ttlMs: 1_000,
        keep: { revalidateMs: 500, staleMs: 700, tags: Uint8Array.of(1) },
        stamp: leaseOf(first).lease,
        writer: 'self'
      }
    ])
    owned = true
    remove()
    const late = ask('a')
    owned = false
    owner.lose(() => true)
    expect(fill('a', leaseOf(late), { bytes: Uint8Array.of(8) })).toBe(false)
    expect(follow()).toMatchObject([{ type: 'followed', bytes: Uint8Array.of(8), stamp: leaseOf(late).lease }])
  })

  it('does not lend its lease to who follows: it has a loader of its own', () => {
    const holder = ask('a')
    owned = false
    owner.lose(() => true)
    const told = follow()
    owner.fills.memberGone('a')
    expect(told).toEqual([{ type: 'waiting' }, { type: 'absent' }])
    expect(fill('a', leaseOf(holder))).toBe(false)
  })

  it('is not asked about a load that was fenced: it began before the change', () => {
    ask('a')
    remove()
    owned = false
    owner.lose(() => true)
    expect(follow()).toEqual([{ type: 'absent' }])
  })
})

describe('what a reviewer found', () => {
  const outcome = { code: 'value', bytes: Uint8Array.of(3), failure: '', ttlMs: 1_000, negative: false } as const

  it('a load that was fenced tells whoever follows it nothing: it began before the change', () => {
    const holder = ask('a')
    const told: Reply[] = []
    owner.fills.followed('after', { type: 'follow', namespace: NAMESPACE, key: KEY }, reply => told.push(reply))
    remove()
    fill('a', leaseOf(holder))
    expect(told.map(({ type }) => type)).toEqual(['waiting', 'absent'])
  })

  it('what a member that leaves still has is not what a refresh asked for', async () => {
    declare(() => 'new')
    moves.gained(5, 'before')
    const told: Reply[] = []
    const refresh = { type: 'read', namespace: NAMESPACE, key: KEY, mode: 'load', wish: 'refresh' } as const
    owner.read('a', refresh, reply => told.push(reply))
    follows[0]?.onReply({ type: 'followed', ...outcome, keep: undefined, backups: 0, stamp: 9, writer: 'before' })
    await later()
    expect(told.map(({ type }) => type)).toEqual(['waiting', 'waiting', 'loaded'])
    expect(told.at(-1)).not.toMatchObject({ bytes: Uint8Array.of(3) })
  })

  it('nobody is followed for a cache that was cleared a moment ago, though the partition came after that', async () => {
    let calls = 0
    declare(() => ++calls)
    owner.perform({ type: 'clear', kind: 'prefix', namespace: NAMESPACE, texts: [''], stamp: 1, soft: false })
    moves.gained(5, 'before')
    ask('a', 'load')
    await later()
    expect([follows.length, calls]).toEqual([0, 1])
  })

  it('a value that is stale, or kept for ever with tags, is handed over as it is or not at all', () => {
    const tags = Uint8Array.of(1, 65)
    const terms = { revalidateMs: 500, staleMs: 700, ahead: 0, earlyMs: 0, tags }
    const follow = (): Reply[] => {
      const told: Reply[] = []
      owner.fills.followed('after', { type: 'follow', namespace: NAMESPACE, key: KEY }, reply => told.push(reply))
      return told
    }
    const put = (ttlMs: number) =>
      owner.write({
        type: 'write',
        namespace: NAMESPACE,
        key: KEY,
        bytes: Uint8Array.of(9),
        ttlMs,
        keep: terms,
        ...COPYING,
        ...CACHE_ONLY
      })
    put(Number.POSITIVE_INFINITY)
    leaving = true
    expect(follow()).toMatchObject([
      { type: 'followed', ttlMs: Number.POSITIVE_INFINITY, keep: { revalidateMs: 0, staleMs: 0 } }
    ])
    leaving = false
    put(100)
    leaving = true
    clock.pass(101)
    expect(follow()).toEqual([{ type: 'absent' }])
  })
})
