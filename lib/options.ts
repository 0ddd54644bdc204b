/**
 * Every option: what it is, its unit, its default. Checked once, here at the door, and frozen; inside nothing is
 * optional and nothing is parsed again. A wrong option is an error that says what was expected, what was given and what
 * to write instead, because a default that guesses is found in production.
 */
import { got, MeshError } from './base/errors.ts'
import { type Bytes, byteCount, type Duration, durationMs, TIMER_MS_MAX, ttlMs } from './base/units.ts'
import type { Key } from './codec/keys.ts'
import { isWellFormed, utf8Bytes } from './codec/text.ts'
import { customCodec, defaultCodec, type UserCodec } from './codec/values.ts'
import {
  type CacheDefinition,
  counterNamespaceOf,
  type Load,
  type LoadContext,
  type May,
  namespaceOf
} from './fill/definition.ts'
import { asSource, expandRange } from './membership/discovery.ts'
import type { Discovery, DiscoverySource } from './ports/discovery.ts'
import type { Logger } from './ports/log.ts'
import { WEIGHT_MAX } from './rpc/messages.ts'
import { EVICTION_NAMES, type EvictionName } from './store/eviction.ts'

export interface MeshOptions {
  /** Members of the same name (and secret) that can reach each other are one mesh. Required. */
  name: string
  /** Proves membership in the handshake; at least 32 random bytes. Required off loopback. `[new, old]` while rotating. */
  secret?: string | readonly string[] | undefined
  /** True allows an address off loopback without a secret: whoever reaches the port is a member. Default false. */
  insecure?: boolean | undefined
  /**
   * Where to listen: `'host:port'` or `'host:from-to'`, the first free one. Default `'127.0.0.1:0'`. False is no socket:
   * alone without `discovery`, with it a client that only dials and owns nothing.
   */
  listen?: string | false | undefined
  /** The addresses others dial, where they differ from `listen` (containers, NAT). Default: the one routable address. */
  announce?: readonly string[] | undefined
  /** Where to look for others. Default `[local()]` on loopback; required off loopback. */
  discovery?: readonly Discovery[] | undefined
  /** What this member keeps at most, all caches together. Default the smaller of 256 MB and 15 % of the container. */
  memory?: Bytes | undefined
  /** Share of the keys in proportion to other members. Default 1; 0 owns nothing. */
  weight?: number | undefined
  /** Where this member runs; copies are kept apart by zone, then by host. Default no zone, host the machine's name. */
  zone?: string | undefined
  host?: string | undefined
  /**
   * How long one call to another member may take; never cuts a load short. Default '2s'. A change, which is sent again
   * when nobody answers, has two and a half times as long in all.
   */
  timeout?: Duration | undefined
  /** Where warnings go. Default `process.emitWarning`; false is nowhere. */
  log?: Logger | false | undefined
}

export interface CacheOptions<V, K extends Key> {
  /** How long a value is kept, from when it is stored. Required: the one number we cannot guess. */
  ttl: Duration | 'forever'
  /** The shape of the values: another version is another cache, so that deploys never mix two shapes. Default 1. */
  version?: string | number | undefined
  /** Shortens the TTL of loaded values by up to this share, so that they do not expire together. Default 0.1. */
  jitter?: number | undefined
  /** How long a loaded null or undefined is kept. Default the smaller of `ttl` and '5s'; 0 is not at all. */
  negativeTtl?: Duration | undefined
  /** After this long a load is aborted and its waiters get an error. Default '10s'. */
  loadTimeout?: Duration | undefined
  /** `set` refuses a larger value; a larger loaded one is handed out and not kept. Default '1mb'. */
  maxValueBytes?: Bytes | undefined
  /** What each member keeps of this cache at most. Default none but the member's `memory`. */
  maxBytes?: Bytes | undefined
  /**
   * Who goes first where there is no room: the least recently used, the least often used of late (a scan passes by),
   * what expires soonest, or any. Default 'lru'.
   */
  eviction?: EvictionName | undefined
  /** Instead of MessagePack. Must be given in every process that declares the cache. */
  codec?: { encode(value: V): Uint8Array; decode(bytes: Uint8Array): V } | undefined
  /** Loads a missing key. Runs once in the whole mesh, at the key's owner if it has declared the cache too. */
  load?: ((key: K, context: LoadContext) => May<unknown>) | undefined
}

export interface CounterOptions {
  /** How long a count lives, from its first add on. Required. */
  ttl: Duration | 'forever'
}

export interface MeshSettings {
  readonly name: string
  readonly secrets: readonly string[]
  readonly listen: string | false
  readonly announce: readonly string[] | undefined
  readonly sources: readonly DiscoverySource[]
  readonly memoryBytes: number
  readonly weight: number
  readonly zone: string
  readonly host: string
  readonly timeoutMs: number
  readonly log: Logger | false | undefined
}

/** What is read from the machine and not from the options. */
export interface Surroundings {
  readonly host: string
  readonly memoryBytes: number
  /** Where meshes are wanted alone unless asked otherwise: test runners and builds. */
  readonly soloBecause: string | undefined
  /** Platforms whose processes cannot reach each other. */
  readonly cutOffBecause: string | undefined
  readonly defaultDiscovery: () => DiscoverySource
}

const MESH_OPTIONS: ReadonlySet<string> = new Set<keyof MeshOptions>([
  'name',
  'secret',
  'insecure',
  'listen',
  'announce',
  'discovery',
  'memory',
  'weight',
  'zone',
  'host',
  'timeout',
  'log'
])
const CACHE_OPTIONS: ReadonlySet<string> = new Set<keyof CacheOptions<unknown, Key>>([
  'ttl',
  'version',
  'jitter',
  'negativeTtl',
  'loadTimeout',
  'maxValueBytes',
  'maxBytes',
  'eviction',
  'codec',
  'load'
])
const COUNTER_OPTIONS: ReadonlySet<string> = new Set<keyof CounterOptions>(['ttl'])
const NAME_BYTES_MAX = 200
const ANNOUNCED_MAX = 16
const SECRET_BYTES_MIN = 32
const DEFAULT_MEMORY_BYTES_MAX = 256 * 1024 ** 2
const DEFAULT_NEGATIVE_TTL_MS = 5_000
/** Above it frames and fairness suffer; keep the large thing elsewhere and cache where it is. */
const VALUE_BYTES_MAX = 14 * 1024 ** 2

export function meshSettings(options: MeshOptions, around: Surroundings): MeshSettings {
  checkNames(options, MESH_OPTIONS, 'createMesh')
  const name = checkText(options.name, 'name', "give the mesh a name, like { name: 'shop' }")
  const solo = options.listen === undefined && options.discovery === undefined && around.soloBecause !== undefined
  const listen = solo ? false : checkListen(options.listen, around)
  const secrets = checkSecrets(options, listen)
  const onlyDials = listen === false && (options.discovery?.length ?? 0) > 0
  return Object.freeze({
    name,
    secrets,
    listen,
    announce: checkAnnounce(options.announce),
    sources: checkDiscovery(options.discovery, listen, around),
    memoryBytes: memoryBytes(options.memory, around),
    weight: checkWeight(options.weight, onlyDials),
    zone: checkLabel(options.zone, 'zone') ?? '',
    host: checkLabel(options.host, 'host') ?? around.host,
    timeoutMs: timerMs(options.timeout ?? '2s', 'timeout'),
    log: checkLog(options.log)
  })
}

export function cacheDefinition(name: unknown, options: CacheOptions<never, never>): CacheDefinition {
  const cache = checkText(name, 'the name of a cache', "write mesh.cache('products', { ttl: '1h' })")
  const what = (option: string): string => `${option} of cache '${cache}'`
  checkNames(options, CACHE_OPTIONS, `cache '${cache}'`)
  if (options.ttl === undefined) {
    throw new MeshError(
      'ERR_MESH_OPTION',
      `Expected ${what('ttl')}, got nothing. Say how long values are kept, like { ttl: '1h' }, or { ttl: 'forever' }.`
    )
  }
  const keepMs = ttlMs(options.ttl, what('ttl'))
  return Object.freeze({
    name: cache,
    namespace: namespaceOf(cache, checkVersion(options.version, what('version'))),
    codec: checkCodec(options.codec, what('codec')),
    ttlMs: keepMs,
    negativeTtlMs:
      options.negativeTtl === undefined
        ? Math.min(keepMs, DEFAULT_NEGATIVE_TTL_MS)
        : durationMs(options.negativeTtl, what('negativeTtl'), 'zero'),
    jitter: checkShare(options.jitter, what('jitter')),
    loadTimeoutMs: timerMs(options.loadTimeout ?? '10s', what('loadTimeout')),
    valueBytesMax: checkValueBytes(options.maxValueBytes, what('maxValueBytes')),
    bytesMax: options.maxBytes === undefined ? Number.POSITIVE_INFINITY : byteCount(options.maxBytes, what('maxBytes')),
    eviction: checkEviction(options.eviction, what('eviction')),
    load: checkFunction(options.load, what('load')) as Load | undefined,
    isBare: false
  })
}

/** The records of a counter are kept apart from those of any cache. */
export function counterDefinition(name: unknown, options: CounterOptions): CacheDefinition {
  const counter = checkText(name, 'the name of a counter', "write mesh.counter('hits', { ttl: '1m' })")
  checkNames(options, COUNTER_OPTIONS, `counter '${counter}'`)
  if (options.ttl === undefined) {
    throw new MeshError(
      'ERR_MESH_OPTION',
      `Expected ttl of counter '${counter}', got nothing. Say how long a count lives from its first add on, like { ttl: '1m' }, or { ttl: 'forever' }.`
    )
  }
  ttlMs(options.ttl, `ttl of counter '${counter}'`)
  return Object.freeze({ ...cacheDefinition(counter, options), namespace: counterNamespaceOf(counter) })
}

/** A cache known by name alone: it can be read, and written where each write says its TTL. */
export function bareDefinition(name: unknown): CacheDefinition {
  return Object.freeze({ ...cacheDefinition(name, { ttl: 'forever' }), ttlMs: Number.NaN, isBare: true })
}

/** Fails at a name that is none: a misspelt option would otherwise be a default nobody chose. */
export function checkNames(given: unknown, known: ReadonlySet<string>, where: string): void {
  if (typeof given !== 'object' || given === null) {
    throw new MeshError('ERR_MESH_OPTION', `Expected the options of ${where} to be an object, got ${got(given)}.`)
  }
  for (const name of Object.keys(given)) {
    if (known.has(name)) continue
    throw new MeshError('ERR_MESH_OPTION', `Unknown option '${name}' of ${where}. Known are ${[...known].join(', ')}.`)
  }
}

export function checkSignal(signal: unknown, where: string): void {
  if (signal === undefined || signal instanceof AbortSignal) return
  throw new MeshError('ERR_MESH_OPTION', `Expected signal of ${where} to be an AbortSignal, got ${got(signal)}.`)
}

/** A duration that a timer is set for. */
export function timerMs(value: unknown, what: string): number {
  const ms = durationMs(value, what)
  if (ms <= TIMER_MS_MAX) return ms
  throw new MeshError('ERR_MESH_OPTION', `Expected ${what} to be at most 24 days, got ${got(value)}.`)
}

export function isLoopback(listen: string): boolean {
  const host = listen.slice(0, listen.lastIndexOf(':'))
  return host === 'localhost' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host)
}

function refuse(what: string, expected: string, value: unknown, advice: string): never {
  throw new MeshError('ERR_MESH_OPTION', `Expected ${what} to be ${expected}, got ${got(value)}. ${advice}`)
}

function checkText(value: unknown, what: string, advice: string): string {
  if (isName(value)) return value
  return refuse(
    what,
    `a text of 1 to ${NAME_BYTES_MAX} bytes of UTF-8`,
    value,
    `${advice[0]?.toUpperCase()}${advice.slice(1)}.`
  )
}

/** Names travel in every hello: short, and the same text when they arrive as when they left. */
function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && isWellFormed(value) && utf8Bytes(value) <= NAME_BYTES_MAX
}

function checkLabel(value: unknown, what: string): string | undefined {
  if (value === undefined) return undefined
  return checkText(value, what, `give the ${what} a short name, or leave it out`)
}

function checkListen(listen: unknown, around: Surroundings): string | false {
  if (listen === false) return false
  if (listen === undefined && around.cutOffBecause !== undefined) {
    throw new MeshError(
      'ERR_MESH_LISTEN',
      `Processes on ${around.cutOffBecause} cannot reach each other, so a mesh cannot form. Write listen: false to use the same code with a cache of its own in each process.`
    )
  }
  const address = listen ?? '127.0.0.1:0'
  const match =
    typeof address === 'string' ? /^(?:\[[0-9a-fA-F:.]+\]|[^\s:[\]]+):(\d{1,5})(?:-(\d{1,5}))?$/.exec(address) : null
  const [from, to] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])]
  if (match !== null && to <= 65_535 && from <= to && (from > 0 || to === 0)) return address as string
  return refuse(
    'listen',
    "'host:port', 'host:from-to' or false",
    listen,
    "Write '127.0.0.1:0', '10.0.0.5:7700' or '0.0.0.0:7700-7731'; an IPv6 host needs brackets."
  )
}

function checkSecrets(options: MeshOptions, listen: string | false): readonly string[] {
  if (options.insecure !== undefined && typeof options.insecure !== 'boolean') {
    return refuse('insecure', 'true or false', options.insecure, 'It allows an address off loopback without a secret.')
  }
  const given: unknown = options.secret
  if (given !== undefined && typeof given !== 'string' && !Array.isArray(given)) {
    throw new MeshError(
      'ERR_MESH_SECRET',
      `Expected secret to be a text or a list of texts, got ${typeof given}. Make one with: openssl rand -base64 32`
    )
  }
  const secrets: readonly string[] = given === undefined ? [] : typeof given === 'string' ? [given] : [...given]
  for (const secret of secrets) {
    if (typeof secret === 'string' && new TextEncoder().encode(secret).length >= SECRET_BYTES_MIN) continue
    // The secret itself is never quoted.
    const kind = typeof secret === 'string' ? `${secret.length} characters` : typeof secret
    throw new MeshError(
      'ERR_MESH_SECRET',
      `Expected secret to be at least ${SECRET_BYTES_MIN} random bytes, got ${kind}. Make one with: openssl rand -base64 32`
    )
  }
  if (secrets.length === 0 && listen !== false && !isLoopback(listen) && options.insecure !== true) {
    throw new MeshError(
      'ERR_MESH_SECRET',
      `listen '${listen}' is not loopback, so others on the network can reach it, and there is no secret. Give every member the same secret (make one with: openssl rand -base64 32), or write insecure: true.`
    )
  }
  return secrets
}

function checkAnnounce(announce: unknown): readonly string[] | undefined {
  if (announce === undefined) return undefined
  if (Array.isArray(announce) && announce.length > 0 && announce.length <= ANNOUNCED_MAX && announce.every(isAddress)) {
    return [...announce]
  }
  return refuse(
    'announce',
    `a list of 1 to ${ANNOUNCED_MAX} of 'host:port'`,
    announce,
    "Write announce: ['203.0.113.7:7700']."
  )
}

function isAddress(value: unknown): value is string {
  return isName(value) && expandRange(value).length === 1
}

function checkDiscovery(discovery: unknown, listen: string | false, around: Surroundings): readonly DiscoverySource[] {
  if (discovery === undefined) {
    if (listen === false) return []
    if (isLoopback(listen)) return [around.defaultDiscovery()]
    throw new MeshError(
      'ERR_MESH_OPTION',
      `listen '${listen}' is not loopback and there is no discovery: each process would quietly be a mesh of its own. Write discovery: [seeds(['host:port'])] or another source.`
    )
  }
  const list = Array.isArray(discovery) ? discovery : undefined
  if (list?.length === 0 && listen !== false && !isLoopback(listen)) {
    return refuse(
      'discovery',
      'a list with at least one source',
      discovery,
      'Off loopback a member that looks for nobody is a mesh of its own.'
    )
  }
  if (list?.every(isDiscovery)) return list.map(asSource)
  return refuse(
    'discovery',
    'a list of sources or functions that answer with addresses',
    discovery,
    "Write discovery: [seeds(['10.0.0.5:7700'])]."
  )
}

function isDiscovery(source: unknown): source is Discovery {
  if (typeof source === 'function') return true
  return typeof source === 'object' && source !== null && typeof (source as DiscoverySource).find === 'function'
}

function memoryBytes(memory: unknown, around: Surroundings): number {
  if (memory !== undefined) return byteCount(memory, 'memory')
  return Math.floor(Math.min(DEFAULT_MEMORY_BYTES_MAX, around.memoryBytes * 0.15))
}

function checkWeight(weight: unknown, onlyDials: boolean): number {
  if (onlyDials && (weight === undefined || weight === 0)) return 0
  if (onlyDials)
    return refuse(
      'weight',
      '0 where listen is false',
      weight,
      'A member nobody can dial cannot own keys. Leave weight out.'
    )
  if (weight === undefined) return 1
  if (typeof weight === 'number' && Number.isFinite(weight) && weight >= 0 && weight <= WEIGHT_MAX) return weight
  return refuse(
    'weight',
    `a number from 0 to ${WEIGHT_MAX}`,
    weight,
    'A member of weight 2 owns twice what one of weight 1 owns; 0 owns nothing.'
  )
}

function checkLog(log: unknown): Logger | false | undefined {
  if (log === undefined || log === false) return log
  const methods = ['debug', 'info', 'warn', 'error'] as const
  if (typeof log === 'object' && log !== null && methods.every(name => typeof (log as Logger)[name] === 'function'))
    return log as Logger
  return refuse('log', 'a logger with debug, info, warn and error, or false', log, 'pino() and console fit.')
}

function checkVersion(version: unknown, what: string): string | number {
  if (version === undefined) return 1
  if (isName(version)) return version
  if (typeof version === 'number' && Number.isFinite(version)) return version
  return refuse(what, 'a number or a short text', version, 'Raise it when the shape of the values changes.')
}

function checkShare(share: unknown, what: string): number {
  if (share === undefined) return 0.1
  if (typeof share === 'number' && share >= 0 && share <= 1) return share
  return refuse(what, 'a number from 0 to 1', share, '0.1 shortens TTLs by up to a tenth.')
}

function checkValueBytes(bytes: unknown, what: string): number {
  const max = byteCount(bytes ?? '1mb', what)
  if (max <= VALUE_BYTES_MAX) return max
  return refuse(what, `at most ${VALUE_BYTES_MAX} bytes`, bytes, 'Cache where the large thing lies, not the thing.')
}

function checkEviction(eviction: unknown, what: string): EvictionName {
  if (eviction === undefined) return 'lru'
  const known = EVICTION_NAMES.find(name => name === eviction)
  if (known !== undefined) return known
  return refuse(what, `one of ${EVICTION_NAMES.join(', ')}`, eviction, "'lfu' keeps what is used often through a scan.")
}

function checkCodec(codec: unknown, what: string): CacheDefinition['codec'] {
  if (codec === undefined) return defaultCodec
  const { encode, decode } = (typeof codec === 'object' && codec !== null ? codec : {}) as Partial<UserCodec>
  if (typeof encode === 'function' && typeof decode === 'function') return customCodec(codec as UserCodec)
  return refuse(what, 'an object with encode and decode', codec, 'encode gives a Uint8Array, decode takes it.')
}

function checkFunction(fn: unknown, what: string): unknown {
  if (fn === undefined || typeof fn === 'function') return fn
  return refuse(what, 'a function', fn, 'It gets the key and answers with the value.')
}
