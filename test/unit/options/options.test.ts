import { describe, expect, it } from 'vitest'
import { isMeshError, type MeshError } from '../../../lib/base/errors.ts'
import { bareDefinition, cacheDefinition, counterDefinition } from '../../../lib/cache-options.ts'
import { seeds } from '../../../lib/membership/discovery.ts'
import { isLoopback, meshSettings, type Surroundings } from '../../../lib/options.ts'
import { ACKS_ALL } from '../../../lib/rpc/words.ts'

const AROUND: Surroundings = {
  host: 'machine',
  memoryBytes: 1024 ** 3,
  soloBecause: undefined,
  cutOffBecause: undefined,
  defaultDiscovery: () => ({ name: 'local', find: () => [] })
}
const SECRET = 'x'.repeat(32)

function refusalOf(call: () => unknown): MeshError {
  try {
    call()
  } catch (error) {
    if (isMeshError(error)) return error
    throw error
  }
  throw new Error('it was taken')
}

const mesh = (options: object, around: Partial<Surroundings> = {}) =>
  meshSettings(options as never, { ...AROUND, ...around })
const cache = (options: unknown, name: unknown = 'products') => cacheDefinition(name, options as never)

describe('options of a mesh', () => {
  it('have defaults, and are frozen', () => {
    const settings = mesh({ name: 'shop' })
    expect(settings).toMatchObject({
      name: 'shop',
      secrets: [],
      listen: '127.0.0.1:0',
      weight: 1,
      zone: '',
      host: 'machine',
      timeoutMs: 2_000,
      minMembers: 1,
      tombstoneTtlMs: 3_600_000,
      transferBytesPerSecond: 32 * 1024 ** 2,
      memoryBytes: Math.floor(1024 ** 3 * 0.15)
    })
    expect(settings.sources.map(({ name }) => name)).toEqual(['local'])
    expect(Object.isFrozen(settings)).toBe(true)
    expect(mesh({ name: 'shop' }, { memoryBytes: 1e12 }).memoryBytes).toBe(256 * 1024 ** 2)
  })

  it('that are undefined are those that were not given', () => {
    const names = [
      'secret',
      'insecure',
      'listen',
      'announce',
      'discovery',
      'memory',
      'weight',
      'zone',
      'host',
      'minMembers',
      'tombstoneTtl',
      'transferRate',
      'timeout',
      'log'
    ]
    const all = Object.fromEntries(names.map(name => [name, undefined]))
    expect(JSON.stringify(mesh({ name: 'shop', ...all }))).toEqual(JSON.stringify(mesh({ name: 'shop' })))
  })

  it.each<[string, unknown, string]>([
    ['no options', undefined, 'to be an object, got undefined'],
    ['no name', {}, 'Expected name to be a text of 1 to 200 bytes of UTF-8, got undefined. Give the mesh a name'],
    ['an empty name', { name: '' }, 'Expected name'],
    ['a long name', { name: '店'.repeat(67) }, 'got a string of 67 characters'],
    ['half a character', { name: 'a\ud800' }, 'Expected name'],
    ['an unknown option', { name: 's', ttl: 1 }, "Unknown option 'ttl' of createMesh. Known are name, secret"],
    [
      'listen true',
      { name: 's', listen: true },
      "Expected listen to be 'host:port', 'host:from-to' or false, got true"
    ],
    ['a port too high', { name: 's', listen: '127.0.0.1:65536' }, 'Expected listen'],
    ['ports backwards', { name: 's', listen: '127.0.0.1:9-8' }, 'Expected listen'],
    ['IPv6 without brackets', { name: 's', listen: '::1:7700' }, 'an IPv6 host needs brackets'],
    ['insecure text', { name: 's', insecure: 'yes' }, 'Expected insecure to be true or false'],
    ['announce text', { name: 's', announce: 'a:1' }, 'Expected announce'],
    ['nothing to announce', { name: 's', announce: [] }, 'Expected announce'],
    ['too much to announce', { name: 's', announce: Array.from({ length: 40 }, () => 'a:1') }, 'Expected announce'],
    ['an address without port', { name: 's', announce: ['host'] }, 'host:port'],
    ['discovery text', { name: 's', discovery: 'a:1' }, 'Expected discovery to be a list of sources'],
    ['a source that is none', { name: 's', discovery: [{ find: 1 }] }, 'Expected discovery'],
    ['no memory', { name: 's', memory: 0 }, 'Expected memory to be a size above 0'],
    ['a weight below 0', { name: 's', weight: -1 }, 'Expected weight to be a number from 0 to 1000, got -1 (number)'],
    ['a weight that is no number', { name: 's', weight: Number.NaN }, 'Expected weight'],
    ['an endless weight', { name: 's', weight: Number.POSITIVE_INFINITY }, 'Expected weight'],
    ['a weight as text', { name: 's', weight: '1' }, 'Expected weight'],
    ['a zone of number', { name: 's', zone: 1 }, 'Expected zone'],
    ['an empty host', { name: 's', host: '' }, 'Expected host'],
    ['minMembers of 0', { name: 's', minMembers: 0 }, 'to be a whole number from 1 to 1024, got 0 (number)'],
    ['half a member', { name: 's', minMembers: 2.5 }, 'Expected minMembers'],
    ['more members than there can be', { name: 's', minMembers: 1_025 }, 'Expected minMembers'],
    ['minMembers as text', { name: 's', minMembers: '3' }, 'Expected minMembers'],
    ['a tombstoneTtl below 10 s', { name: 's', tombstoneTtl: '9s' }, "to be at least '10s', got '9s' (string)"],
    ['a tombstoneTtl for ever', { name: 's', tombstoneTtl: 'forever' }, 'Expected tombstoneTtl'],
    ['a transferRate below 64 KB', { name: 's', transferRate: '63kb' }, "to be at least '64kb' a second, got '63kb'"],
    ['a transferRate of 0', { name: 's', transferRate: 0 }, 'Expected transferRate'],
    ['a timeout of 0', { name: 's', timeout: 0 }, 'Expected timeout to be a duration above 0, got 0 (number)'],
    ['a timeout of a month', { name: 's', timeout: '30d' }, 'Expected timeout to be at most 24 days'],
    ['a log that cannot warn', { name: 's', log: { info: () => {} } }, 'Expected log to be a logger'],
    ['log true', { name: 's', log: true }, 'Expected log'],
    ['nothing to look at off loopback', { name: 's', listen: '10.0.0.5:1', secret: SECRET }, 'there is no discovery'],
    [
      'an empty discovery off loopback',
      { name: 's', listen: '10.0.0.5:1', secret: SECRET, discovery: [] },
      'Expected discovery'
    ],
    [
      'a weight where nobody can dial',
      { name: 's', listen: false, discovery: [seeds(['a:1'])], weight: 2 },
      'Expected weight to be 0'
    ]
  ])('refuse %s and say what to do', (_, options, text) => {
    const error = refusalOf(() => meshSettings(options as never, AROUND))
    expect(error.code).toBe('ERR_MESH_OPTION')
    expect(error.message).toContain(text)
  })

  it.each<[string, object, string]>([
    ['off loopback without one', { listen: '0.0.0.0:0', discovery: [] }, "listen '0.0.0.0:0' is not loopback"],
    ['a short one', { secret: 'short secret' }, 'at least 32 random bytes, got 12 characters'],
    ['an empty one', { secret: '' }, 'got 0 characters'],
    ['one short of two', { secret: [SECRET, 'short'] }, 'got 5 characters'],
    ['null', { secret: null }, 'got object'],
    ['a number', { secret: 42 }, 'got number'],
    ['a list of numbers', { secret: [42] }, 'got number']
  ])('refuse a secret: %s, without ever quoting it', (_, options, text) => {
    const error = refusalOf(() => mesh({ name: 's', ...options }))
    expect(error.code).toBe('ERR_MESH_SECRET')
    expect(error.message).toContain(text)
    expect(error.message).toContain('openssl rand -base64 32')
    expect(error.message).not.toContain('short secret')
  })

  it('take a secret, two while rotating, or insecure spelt out', () => {
    const off = { name: 's', listen: '0.0.0.0:7700-7731', discovery: [seeds(['a:1'])] }
    expect(mesh({ ...off, secret: SECRET }).secrets).toEqual([SECRET])
    expect(mesh({ ...off, secret: [SECRET, `${SECRET}2`] }).secrets).toHaveLength(2)
    expect(mesh({ ...off, insecure: true }).secrets).toEqual([])
    // 32 bytes, not 32 characters.
    expect(mesh({ ...off, secret: 'é'.repeat(16) }).secrets).toHaveLength(1)
  })

  it('make a member alone where a test runner is the reason, and not where it is asked for otherwise', () => {
    expect(mesh({ name: 's' }, { soloBecause: 'a test runs' })).toMatchObject({ listen: false, sources: [], weight: 1 })
    expect(mesh({ name: 's', listen: '127.0.0.1:0' }, { soloBecause: 'a test runs' }).listen).toBe('127.0.0.1:0')
  })

  it('make a client of a member that only dials, and a member alone of one that has nobody to dial', () => {
    expect(mesh({ name: 's', listen: false, discovery: [seeds(['a:1'])] })).toMatchObject({ weight: 0, listen: false })
    expect(mesh({ name: 's', listen: false, discovery: [] })).toMatchObject({ weight: 1, sources: [] })
    expect(mesh({ name: 's', listen: false })).toMatchObject({ weight: 1, sources: [] })
  })

  it('say what to write where processes cannot reach each other', () => {
    const error = refusalOf(() => mesh({ name: 's' }, { cutOffBecause: 'AWS Lambda' }))
    expect(error.code).toBe('ERR_MESH_LISTEN')
    expect(error.message).toContain('Write listen: false')
    expect(mesh({ name: 's', listen: false }, { cutOffBecause: 'AWS Lambda' }).listen).toBe(false)
  })

  it.each([
    ['127.0.0.1:0', true],
    ['127.9.8.7:1', true],
    ['localhost:1-9', true],
    ['[::1]:0', true],
    ['0.0.0.0:0', false],
    ['[::]:0', false],
    ['127.evil.example:1', false],
    ['10.0.0.1:1', false]
  ])('know that %s is loopback: %s', (address, is) => {
    expect(isLoopback(address)).toBe(is)
  })
})

describe('options of a cache', () => {
  const store = (): void => {}

  it('have defaults, and are frozen', () => {
    const definition = cache({ ttl: '1h' })
    expect(definition).toMatchObject({
      ttlMs: 3_600_000,
      negativeTtlMs: 5_000,
      jitter: 0.1,
      loadTimeoutMs: 10_000,
      loadConcurrency: 100,
      breakerFailures: 0,
      breakerOpenMs: 0,
      valueBytesMax: 1024 ** 2,
      bytesMax: Number.POSITIVE_INFINITY,
      eviction: 'lru',
      backups: 1,
      backupAcks: 0,
      merge: undefined,
      load: undefined,
      store: undefined,
      storeTimeoutMs: 10_000,
      writeBehind: undefined
    })
    expect(cache({ ttl: 1, store, writeBehind: false }).writeBehind).toBeUndefined()
    expect(cache({ ttl: 1, store, writeBehind: true }).writeBehind).toEqual({
      delayMs: 500,
      pendingMax: 10_000,
      pendingBytesMax: 64 * 1024 ** 2,
      atOnce: 8,
      retryForMs: 300_000
    })
    expect(cache({ ttl: 1, store, writeBehind: { delay: 0, retryFor: 0 } }).writeBehind).toMatchObject({
      delayMs: 0,
      retryForMs: 0
    })
    expect(Object.isFrozen(definition)).toBe(true)
    expect(cache({ ttl: 1, maxBytes: '1mb', eviction: 'lfu' })).toMatchObject({ bytesMax: 1024 ** 2, eviction: 'lfu' })
    expect(cache({ ttl: '2s' }).negativeTtlMs).toBe(2_000)
    expect(cache({ ttl: 1, breaker: true })).toMatchObject({ breakerFailures: 10, breakerOpenMs: 1_000 })
    expect(cache({ ttl: 1, breaker: false })).toMatchObject({ breakerFailures: 0 })
    expect(cache({ ttl: 1, breaker: { failures: 3, openFor: '5s' }, loadConcurrency: 1 })).toMatchObject({
      breakerFailures: 3,
      breakerOpenMs: 5_000,
      loadConcurrency: 1
    })
    expect(cache({ ttl: 'forever' })).toMatchObject({ ttlMs: Number.POSITIVE_INFINITY, negativeTtlMs: 5_000 })
  })

  it.each<[string, unknown, string]>([
    ['no ttl', {}, "Expected ttl of cache 'products', got nothing. Say how long values are kept"],
    ['undefined as ttl', { ttl: undefined }, 'got nothing'],
    ['a ttl of 0', { ttl: 0 }, 'to be a duration above 0, got 0 (number)'],
    ['a ttl below 0', { ttl: -5 }, 'got -5 (number)'],
    ['a ttl of no unit', { ttl: '60' }, "got '60' (string). Write milliseconds or a text like"],
    ['a ttl of null', { ttl: null }, 'got null'],
    ['an unknown option', { ttl: 1, maxAge: 5 }, "Unknown option 'maxAge' of cache 'products'. Known are ttl, version"],
    ['null as options', null, "Expected the options of cache 'products' to be an object, got null"],
    ['a number as options', 5_000, 'to be an object, got 5000 (number)'],
    ['an empty version', { ttl: 1, version: '' }, 'Expected version'],
    ['a version that is no number', { ttl: 1, version: Number.NaN }, 'Expected version'],
    ['a jitter over 1', { ttl: 1, jitter: 1.1 }, 'Expected jitter of cache'],
    ['a jitter as text', { ttl: 1, jitter: '10%' }, 'Expected jitter'],
    ['a negativeTtl below 0', { ttl: 1, negativeTtl: -1 }, 'to be a duration of 0 or more'],
    ['a loadTimeout of 0', { ttl: 1, loadTimeout: 0 }, 'Expected loadTimeout'],
    ['a loadTimeout for ever', { ttl: 1, loadTimeout: 'forever' }, 'Expected loadTimeout'],
    ['a loadConcurrency of 0', { ttl: 1, loadConcurrency: 0 }, 'to be a whole number from 1 to 1000000, got 0'],
    ['half a loadConcurrency', { ttl: 1, loadConcurrency: 1.5 }, "Expected loadConcurrency of cache 'products'"],
    ['an endless loadConcurrency', { ttl: 1, loadConcurrency: Number.POSITIVE_INFINITY }, 'Expected loadConcurrency'],
    ['loadConcurrency as text', { ttl: 1, loadConcurrency: '5' }, 'Expected loadConcurrency'],
    ['a breaker as text', { ttl: 1, breaker: 'yes' }, 'to be true, false or { failures, openFor }'],
    ['breaker null', { ttl: 1, breaker: null }, "Expected breaker of cache 'products'"],
    ['an unknown option of the breaker', { ttl: 1, breaker: { fails: 3 } }, "Unknown option 'fails' of breaker"],
    [
      'a breaker of no failures',
      { ttl: 1, breaker: { failures: 0 } },
      "Expected failures of breaker of cache 'products'"
    ],
    ['a breaker open for 0', { ttl: 1, breaker: { openFor: 0 } }, "Expected openFor of breaker of cache 'products'"],
    ['maxBytes of 0', { ttl: 1, maxBytes: 0 }, "Expected maxBytes of cache 'products' to be a size above 0"],
    ['maxBytes null', { ttl: 1, maxBytes: null }, 'Expected maxBytes'],
    [
      'backups below 0',
      { ttl: 1, backups: -1 },
      "Expected backups of cache 'products' to be a whole number from 0 to 3"
    ],
    ['four backups', { ttl: 1, backups: 4 }, 'from 0 to 3, got 4 (number)'],
    ['half a backup', { ttl: 1, backups: 0.5 }, 'Expected backups'],
    ['backups as text', { ttl: 1, backups: 'all' }, "got 'all' (string)"],
    ['backups null', { ttl: 1, backups: null }, 'Expected backups'],
    [
      'more backupAcks than backups',
      { ttl: 1, backups: 1, backupAcks: 2 },
      "Expected backupAcks of cache 'products' to be at most 1, for it has 1 backups, got 2 (number). Declare it with backups: 2, or write 'all'."
    ],
    ['backupAcks with no backups', { ttl: 1, backups: 0, backupAcks: 1 }, 'to be at most 0'],
    ['backupAcks below 0', { ttl: 1, backupAcks: -1 }, "to be a whole number, 'all' or 'quorum', got -1"],
    ['half a backupAck', { ttl: 1, backupAcks: 0.5 }, 'Expected backupAcks'],
    ['backupAcks as another word', { ttl: 1, backupAcks: 'most' }, "got 'most' (string)"],
    ['backupAcks null', { ttl: 1, backupAcks: null }, 'Expected backupAcks'],
    ['a merge nobody knows', { ttl: 1, merge: 'first' }, "to be 'latest' or a function of two entries, got 'first'"],
    ['merge null', { ttl: 1, merge: null }, "Expected merge of cache 'products'"],
    ['an eviction nobody knows', { ttl: 1, eviction: 'mru' }, 'to be one of lru, lfu, ttl, random, got'],
    ['eviction null', { ttl: 1, eviction: null }, "Expected eviction of cache 'products'"],
    ['maxValueBytes of 0', { ttl: 1, maxValueBytes: 0 }, 'Expected maxValueBytes'],
    ['maxValueBytes over all bounds', { ttl: 1, maxValueBytes: '15mb' }, 'at most 14680064 bytes'],
    ['a codec of one half', { ttl: 1, codec: { encode: () => new Uint8Array() } }, 'an object with encode and decode'],
    ['a codec as text', { ttl: 1, codec: 'json' }, 'Expected codec'],
    ['a loader that is none', { ttl: 1, load: 'SELECT' }, 'Expected load of cache'],
    ['a store that is none', { ttl: 1, store: 'UPDATE' }, "Expected store of cache 'products' to be a function"],
    ['a storeTimeout of 0', { ttl: 1, store, storeTimeout: 0 }, 'Expected storeTimeout'],
    ['writeBehind without a store', { ttl: 1, writeBehind: true }, 'a store beside it'],
    ['writeBehind as a time', { ttl: 1, store, writeBehind: '1s' }, 'to be true, false or an object'],
    ['writeBehind null', { ttl: 1, store, writeBehind: null }, 'to be true, false or an object'],
    ['an unknown name in it', { ttl: 1, store, writeBehind: { every: '1s' } }, "Unknown option 'every' of writeBehind"],
    ['a delay below 0', { ttl: 1, store, writeBehind: { delay: -1 } }, 'Expected delay in writeBehind'],
    ['a maxPending of 0', { ttl: 1, store, writeBehind: { maxPending: 0 } }, 'Expected maxPending in writeBehind'],
    ['maxPendingBytes of 0', { ttl: 1, store, writeBehind: { maxPendingBytes: 0 } }, 'Expected maxPendingBytes'],
    ['a concurrency of a half', { ttl: 1, store, writeBehind: { concurrency: 0.5 } }, 'a whole number above 0'],
    ['a retryFor as a word', { ttl: 1, store, writeBehind: { retryFor: 'ever' } }, 'Expected retryFor']
  ])('refuse %s and say what to do', (_, options, text) => {
    const error = refusalOf(() => cache(options))
    expect(error.code).toBe('ERR_MESH_OPTION')
    expect(error.message).toContain(text)
  })

  it.each([
    [0, 'quorum', 0],
    [1, 'quorum', 1],
    [2, 'quorum', 1],
    [3, 'quorum', 2],
    [0, 'all', ACKS_ALL],
    [3, 'all', ACKS_ALL],
    [3, 3, 3],
    [3, 0, 0],
    [3, undefined, 0]
  ] as const)('with %s backups and backupAcks %s wait for %s', (backups, backupAcks, acks) => {
    expect(cache({ ttl: 1, backups, backupAcks })).toMatchObject({ backups, backupAcks: acks })
    expect(counterDefinition('hits', { ttl: 1, backups, backupAcks })).toMatchObject({ backups, backupAcks: acks })
  })

  it('of a counter that are wrong are said to be of a counter', () => {
    const wrong = (options: object): string =>
      refusalOf(() => counterDefinition('hits', { ttl: 1, ...options } as never)).message
    expect(wrong({ backups: 4 })).toContain("Expected backups of counter 'hits'")
    expect(wrong({ backupAcks: 2 })).toContain("Expected backupAcks of counter 'hits' to be at most 1")
    expect(wrong({ merge: 'latest' })).toContain("Unknown option 'merge'")
  })

  it('have a merge of their own, or keep the latest', () => {
    const merge = (): number => 1
    expect(cache({ ttl: 1, merge }).merge).toBe(merge)
    expect(cache({ ttl: 1, merge: 'latest' }).merge).toBeUndefined()
  })

  it.each([undefined, '', 42, null, 'x'.repeat(201), '店'.repeat(67), 'a\udc00'])('refuse %s as a name', name => {
    const error = refusalOf(() => cacheDefinition(name, { ttl: '1h' }))
    expect(error.message).toContain('Expected the name of a cache to be a text of 1 to 200 bytes')
  })

  it('give each name and version a namespace of its own', () => {
    const namespaces = [
      ['a', 1],
      ['a', 2],
      ['a', '1@2'],
      ['a@1', 2],
      ['a@1', '2\n'],
      ['a', '1","2'],
      ['a","1', '2']
    ].map(([name, version]) => cache({ ttl: 1, version }, name).namespace)
    expect(new Set(namespaces).size).toBe(namespaces.length)
    expect(cache({ ttl: 1, version: 1 }).namespace).toBe(cache({ ttl: 1 }).namespace)
  })

  it('of a handle by name are those of the declaration, but for a ttl nobody has given', () => {
    expect(bareDefinition('products')).toMatchObject({
      ttlMs: Number.NaN,
      isBare: true,
      namespace: cache({ ttl: 1 }).namespace
    })
  })
})
