/**
 * Compiled against the installed package, never run. A line that must not compile says so; were it to compile, the
 * directive above it would be an error.
 */
import {
  type AckOptions,
  type BackupAcks,
  BackupsError,
  type Cache,
  type Count,
  type Counter,
  createMesh,
  type Duration,
  type Entry,
  isMeshError,
  type KeepOptions,
  type Key,
  type Left,
  LoadError,
  type LoadingCache,
  local,
  type Member,
  type Mesh,
  type Moved,
  PartialError,
  type ReadyOptions,
  type SetOptions,
  type StoreContext,
  seeds,
  sharedMesh,
  type Version,
  type WriteBehindOptions
} from 'cachemesh'
import { cluster } from 'cachemesh/testing'

interface Product {
  id: string
  price: number
}

/** Holds for equal types only: assignable is not enough, since anything fits `unknown`. */
type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
function same<A, B>(_: Equal<A, B>): void {}

declare const db: {
  product(id: string, o?: { signal: AbortSignal }): Promise<Product>
  save(id: string, product: Product, o?: StoreContext): Promise<void>
  drop(id: string): Promise<void>
}
declare function saveNumber(id: string, n: number | undefined): void
declare function maybe(id: string): Promise<Product | undefined>
declare function row(id: string): Promise<Product | null>

const mesh: Mesh = await createMesh({ name: 'shop', secret: process.env.MESH_SECRET })
await sharedMesh({
  name: 'shop',
  listen: process.env.LISTEN,
  zone: process.env.ZONE,
  discovery: process.env.SEEDS === undefined ? undefined : [seeds(process.env.SEEDS.split(',')), local()],
  log: console
})

// `get` answers with what `load` returns, and with nothing else.
const products = mesh.cache('products', { ttl: '1h', load: (id: string) => db.product(id) })
same<LoadingCache<Product, string>, typeof products>(true)
const product = await products.get('lamp')
same<Product, typeof product>(true)
const many = await products.getMany(['lamp', 'desk'])
same<Product[], typeof many>(true)
const cached = await products.get('lamp', { load: false })
same<Product | undefined, typeof cached>(true)
const timely = await products.get('lamp', { timeout: '1s' })
same<Product, typeof timely>(true)

// The context of `load` does not stand in the way of that.
const signalled = mesh.cache('signalled', { ttl: '1h', load: (id: string, { signal }) => db.product(id, { signal }) })
same<LoadingCache<Product, string>, typeof signalled>(true)
const bare = mesh.cache('bare', { ttl: '1h', load: async (id, { signal }) => `${id} ${signal.aborted}` })
const fromBare = await bare.get('lamp')
same<string, typeof fromBare>(true)
const methods = mesh.cache('methods', { ttl: 60_000, load: { at: (id: string) => db.product(id) }.at })
const fromMethods = await methods.get('lamp')
same<Product, typeof fromMethods>(true)

// What says that there is none stays in the type.
const optional = mesh.cache('optional', { ttl: '1h', load: maybe })
const fromOptional = await optional.get('lamp')
same<Product | undefined, typeof fromOptional>(true)
const nullable = mesh.cache('nullable', { ttl: '1h', load: row })
const fromNullable = await nullable.get('lamp')
same<Product | null, typeof fromNullable>(true)
await optional.set('lamp', { id: 'lamp', price: 1 })
// @ts-expect-error what is set is a value
await optional.set('lamp', undefined)

// An annotated array is the type of the key.
const prices = mesh.cache('prices', { ttl: '5m', load: ([tenant, sku]: [string, number]) => tenant.length + sku })
same<LoadingCache<number, [string, number]>, typeof prices>(true)
const price = await prices.get(['acme', 7])
same<number, typeof price>(true)
// @ts-expect-error the parts of a key have an order
await prices.get([7, 'acme'])
// @ts-expect-error a text is not that array
await prices.get('acme')

// A store takes what the cache holds, or undefined for what was deleted; it needs no types of its own.
const kept = mesh.cache('kept', {
  ttl: '1h',
  load: (id: string) => db.product(id),
  store: (id, p, context) => (p === undefined ? db.drop(id) : db.save(id, p, context))
})
same<LoadingCache<Product, string>, typeof kept>(true)
const behind: WriteBehindOptions = { delay: '1s', maxPending: 1_000 }
const typed = mesh.cache<Product>('typed', {
  ttl: '1h',
  store: (id, p) => (p === undefined ? db.drop(id) : db.save(id, p)),
  writeBehind: behind
})
same<Cache<Product, string>, typeof typed>(true)
const inferred = mesh.cache('inferred', {
  ttl: '1h',
  store: (id: string, p: Product | undefined) => (p === undefined ? db.drop(id) : db.save(id, p)),
  writeBehind: true
})
same<Cache<Product, string>, typeof inferred>(true)
const counted = mesh.cache('counted', {
  ttl: '5m',
  load: ([tenant, sku]: [string, number]) => tenant.length + sku,
  store: ([tenant, sku], n) => console.log(tenant.length, sku.toFixed(), n?.toFixed())
})
same<LoadingCache<number, [string, number]>, typeof counted>(true)
// @ts-expect-error a store takes what the cache holds
mesh.cache('other', { ttl: '1h', load: (id: string) => db.product(id), store: saveNumber })

// Without a loader a value may be missing.
const sessions = mesh.cache<{ user: string }>('sessions', { ttl: '30m' })
same<Cache<{ user: string }, string>, typeof sessions>(true)
const session = await sessions.get('abc')
same<{ user: string } | undefined, typeof session>(true)
const version = await sessions.set('abc', { user: 'ann' }, { ttl: '1h' })
same<Version, typeof version>(true)
const deleted = await sessions.delete('abc')
same<boolean, typeof deleted>(true)
const entry = await sessions.getEntry('abc')
same<Entry<{ user: string }> | undefined, typeof entry>(true)
const swapped = await sessions.compareAndSet('abc', entry?.version ?? null, { user: 'bob' })
same<Version | false, typeof swapped>(true)
const updated = await sessions.update('abc', now => (now === undefined ? undefined : { user: `${now.user}!` }))
same<{ user: string } | undefined, typeof updated>(true)
await sessions.setMany([
  ['abc', { user: 'ann' }],
  ['def', { user: 'bob' }, { ttl: '1m' }]
])
await sessions.setMany(new Map([['abc', { user: 'ann' }]]), { ttl: 'forever' })
const touched = await sessions.touch('abc', 'forever')
same<boolean, typeof touched>(true)
const gone = await sessions.deleteMany(['abc', 'def'])
same<number, typeof gone>(true)
for await (const key of sessions.keys({ prefix: 'a' })) same<string, typeof key>(true)
await sessions.clear({ prefix: ['a', 1, true] })
// @ts-expect-error a prefix that got lost is not the whole cache
await sessions.clear({ prefix: undefined })
// @ts-expect-error a version comes from the mesh
await sessions.compareAndSet('abc', '1', { user: 'ann' })
// @ts-expect-error a TTL is not an option of touch
await sessions.touch('abc', { ttl: '1m' })
// A loaded value can be read with its version too, and it is never the miss.
const loadedEntry = await optional.getEntry('lamp')
same<Entry<Product> | undefined, typeof loadedEntry>(true)

// Counters and cached functions.
const hits: Counter<[string, number]> = mesh.counter<[string, number]>('hits', { ttl: '1m' })
const count = await hits.add(['ann', 7], 2, { timeout: '1s' })
same<Count, typeof count>(true)
const sum = await hits.get(['ann', 7])
same<number, typeof sum>(true)
// @ts-expect-error a counter needs a TTL
mesh.counter('hits', {})
const priceOf = mesh.cached('priceOf', async (sku: string, pieces: number) => sku.length * pieces, { ttl: '5m' })
const ofLamp = await priceOf('lamp', 3)
same<number, typeof ofLamp>(true)
same<LoadingCache<number, [sku: string, pieces: number]>, typeof priceOf.cache>(true)
// @ts-expect-error the arguments are those of the function
await priceOf(3, 'lamp')
// @ts-expect-error an argument that is no part of a key
mesh.cached('dated', (at: Date) => at.getTime(), { ttl: '1m' })

const made = await sessions.getOrSet('abc', () => ({ user: 'ann' }), { ttl: '5m' })
same<{ user: string }, typeof made>(true)
const madeOrNot = await sessions.getOrSet('abc', async (): Promise<{ user: string } | undefined> => undefined)
same<{ user: string } | undefined, typeof madeOrNot>(true)
const elsewhere: Cache<number, readonly [string, boolean]> = mesh.cache<number, readonly [string, boolean]>('elsewhere')
await elsewhere.get(['a', true])

// A function over any loading cache keeps both types.
async function read<R, K extends Key>(cache: LoadingCache<R, K>, key: K): Promise<R> {
  return cache.get(key)
}
same<Product, Awaited<ReturnType<typeof read<Product, string>>>>(true)

// How many copies there are, how many a write waits for, and what becomes of two that differ.
const copied = mesh.cache('copied', {
  ttl: '1h',
  backups: 2,
  backupAcks: process.env.ACKS === undefined ? undefined : 'quorum',
  load: (id: string) => db.product(id),
  merge: (a, b) => (a.value.price < b.value.price ? a.value : b.value)
})
same<LoadingCache<Product, string>, typeof copied>(true)
const carts = mesh.cache<string[]>('carts', { ttl: '1d', merge: (a, b) => [...a.value, ...b.value] })
mesh.cache<string[]>('latest', { ttl: '1d', backups: 0, backupAcks: 'all', merge: 'latest' })
// @ts-expect-error what is kept is a value of the cache
mesh.cache<string[]>('counted', { ttl: '1d', merge: (a, b) => a.value.length + b.value.length })
// @ts-expect-error there is no such word
mesh.cache('worded', { ttl: '1d', backupAcks: 'most' })
await carts.set('abc', ['lamp'], { backupAcks: 1, ttl: '1h' })
await carts.setMany([['abc', [], { backupAcks: 'all' }]], { backupAcks: 'quorum' })
await carts.touch('abc', '1h', { backupAcks: 'all' })
await hits.add(['ann', 7], 1, { backupAcks: 1 })
const held = await carts.flush({ backupAcks: 1, timeout: '1s' })
same<number, typeof held.acked>(true)
await hits.flush()
await copied.flush()
const acks: BackupAcks = 'quorum'
const ack: AckOptions = { backupAcks: acks }
const keep: KeepOptions = { ttl: '1m' }
const set: SetOptions = { ...ack, ...keep }
await carts.update('abc', now => now, set)
await carts.getOrSet('abc', () => [], keep)
// @ts-expect-error what is loaded is no write
await carts.getOrSet('abc', () => [], { backupAcks: 1 })
// @ts-expect-error a delete waits for every copy
await carts.delete('abc', { backupAcks: 1 })
mesh.counter('copied', { ttl: '1m', backups: 2, backupAcks: 1 })
// @ts-expect-error counts are not merged
mesh.counter('merged', { ttl: '1m', merge: 'latest' })
const ready: ReadyOptions = { members: undefined, warm: 0.9, timeout: '5s' }
await mesh.ready(ready)
mesh.on('moved', moved => same<Moved, typeof moved>(true))
await createMesh({ name: 'shop', minMembers: 3, tombstoneTtl: '2h', transferRate: '8mb' })

// Errors and members.
try {
  await products.get('lamp')
} catch (error) {
  if (error instanceof LoadError) same<string, typeof error.cause.message>(true)
  if (error instanceof BackupsError) same<readonly string[], typeof error.missing>(true)
  if (error instanceof PartialError) same<ReadonlyMap<number, Error>, typeof error.errors>(true)
  if (isMeshError(error, 'ERR_MESH_LOAD')) console.error(error.code, error.retryable)
  // @ts-expect-error there is no such code
  isMeshError(error, 'ERR_MESH_NONSENSE')
}
const off = mesh.on('join', member => same<Member, typeof member>(true))
off()
const left = await mesh.leave({ deadline: '2s' })
same<Left, typeof left>(true)

// Mistakes.
const ttl: Duration = '90s'
// @ts-expect-error a duration has a unit that exists
const wrong: Duration = '90 parsecs'
// @ts-expect-error a name is required
await createMesh({})
// @ts-expect-error options are known by name
await createMesh({ name: 'shop', secrets: ['x'] })
// @ts-expect-error a ttl is required
mesh.cache('no ttl', { load: (id: string) => db.product(id) })
// @ts-expect-error a third argument is an object
await sessions.set('abc', { user: 'ann' }, 60_000)
// @ts-expect-error a number is no key
await sessions.get(42)
// @ts-expect-error nor may a loader ask for one
mesh.cache('numbered', { ttl, load: (id: number) => id })
// @ts-expect-error another type of value
await sessions.set('abc', { name: 'ann' })
// @ts-expect-error what is stored must fit the cache
await sessions.getOrSet('abc', () => 42)
// @ts-expect-error there is no such event
mesh.on('error', () => {})
void wrong

// The simulator.
const simulated = cluster(3, { seed: 1 })
void simulated
