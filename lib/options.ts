/**
 * Every option of a mesh: what it is, its unit, its default. Checked once, here at the door, and frozen; inside nothing is
 * optional and nothing is parsed again. A wrong option is an error that says what was expected, what was given and what
 * to write instead, because a default that guesses is found in production.
 */
import { MeshError } from './base/errors.ts'
import { type Bytes, byteCount, type Duration, durationMs } from './base/units.ts'
import { checkNames, checkText, isName, refuse, timerMs } from './door.ts'
import { asSource, expandRange } from './membership/discovery.ts'
import type { Discovery, DiscoverySource } from './ports/discovery.ts'
import type { Logger } from './ports/log.ts'
import { WEIGHT_MAX } from './rpc/messages.ts'

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
   * While fewer members than this are here, every operation of a cache and a counter is refused with
   * ERR_MESH_MIN_MEMBERS: more than half of them keeps the smaller side of a split from serving. Default 1.
   */
  minMembers?: number | undefined
  /**
   * How long a delete is remembered. A member that was cut off from most of the others for longer brings back nothing
   * from before the split. At least '10s', and longer than any load. Default '1h'.
   */
  tombstoneTtl?: Duration | undefined
  /** Bytes a second that this member moves at most, each way, while keys change hands. Default '32mb'. */
  transferRate?: Bytes | undefined
  /**
   * How long one call to another member may take; never cuts a load short. Default '2s'. A change, which is sent again
   * when nobody answers, has two and a half times as long in all.
   */
  timeout?: Duration | undefined
  /** Where warnings go. Default `process.emitWarning`; false is nowhere. */
  log?: Logger | false | undefined
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
  readonly minMembers: number
  readonly tombstoneTtlMs: number
  readonly transferBytesPerSecond: number
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
  'minMembers',
  'tombstoneTtl',
  'transferRate',
  'timeout',
  'log'
])
const ANNOUNCED_MAX = 16
const MIN_MEMBERS_MAX = 1_024
const SECRET_BYTES_MIN = 32
const DEFAULT_MEMORY_BYTES_MAX = 256 * 1024 ** 2
/** Beyond what the longest detection of a death and the drift of clocks may take together. */
const TOMBSTONE_TTL_MS_MIN = 10_000
/** Below it a single large value would be under way for longer than a move may take. */
const TRANSFER_RATE_MIN = 64 * 1024

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
    minMembers: checkMinMembers(options.minMembers),
    tombstoneTtlMs: tombstoneTtlMs(options.tombstoneTtl),
    transferBytesPerSecond: transferRate(options.transferRate),
    timeoutMs: timerMs(options.timeout ?? '2s', 'timeout'),
    log: checkLog(options.log)
  })
}

export function isLoopback(listen: string): boolean {
  const host = listen.slice(0, listen.lastIndexOf(':'))
  return host === 'localhost' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host)
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

function checkMinMembers(members: unknown): number {
  if (members === undefined) return 1
  if (typeof members === 'number' && Number.isInteger(members) && members >= 1 && members <= MIN_MEMBERS_MAX)
    return members
  const advice = 'Of five members 3 is more than half; 1 serves also alone.'
  return refuse('minMembers', `a whole number from 1 to ${MIN_MEMBERS_MAX}`, members, advice)
}

function tombstoneTtlMs(ttl: unknown): number {
  const ms = durationMs(ttl ?? '1h', 'tombstoneTtl')
  if (ms >= TOMBSTONE_TTL_MS_MIN) return ms
  const advice = "A delete that is forgotten too soon comes back from a member that was away: '1h' is the default."
  return refuse('tombstoneTtl', "at least '10s'", ttl, advice)
}

function transferRate(rate: unknown): number {
  const bytes = byteCount(rate ?? '32mb', 'transferRate')
  if (bytes >= TRANSFER_RATE_MIN) return bytes
  return refuse('transferRate', "at least '64kb' a second", rate, "'32mb' is the default.")
}

function checkLog(log: unknown): Logger | false | undefined {
  if (log === undefined || log === false) return log
  const methods = ['debug', 'info', 'warn', 'error'] as const
  if (typeof log === 'object' && log !== null && methods.every(name => typeof (log as Logger)[name] === 'function'))
    return log as Logger
  return refuse('log', 'a logger with debug, info, warn and error, or false', log, 'pino() and console fit.')
}
