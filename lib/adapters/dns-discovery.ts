import { Resolver } from 'node:dns/promises'
import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { performance } from 'node:perf_hooks'
import { unlessAborted } from '../base/abort.ts'
import { got, MeshError } from '../base/errors.ts'
import { type Duration, durationMs } from '../base/units.ts'
import type { DiscoverySource } from '../ports/discovery.ts'
import type { Address } from '../ports/transport.ts'
import { formatAddress } from './listen-address.ts'

/**
 * Members find each other through one DNS name that answers with all of them, as a headless service of Kubernetes does.
 *
 * The name servers are asked themselves and not the C library's lookup, because that one knows no SRV, cannot be
 * cancelled and holds a thread of the pool while it waits. Its search list goes with it, so it is read and walked here:
 * without it `shop.svc` would be found by everything in a Kubernetes cluster except by us, and quietly.
 *
 * A name that does not exist is an empty answer: nobody is ready yet. A name server that fails is no reason to forget
 * anybody: the last answer stands for a while, and only then does the failure show. What was learnt, be it an answer or
 * a failure, is not asked for again before `every` has passed, however often and by however many it is wanted.
 *
 * Not promised: names from the hosts file, weights and priorities of SRV records (every member is to be found, none is
 * preferred), or more than 256 addresses. Those are the first in order and so the same for everybody: members who look
 * at different parts of a large mesh could stay two meshes.
 */
const EVERY_DEFAULT = '5s'
/** A failing name server is covered up for this many times `every`. */
const KEEP_EVERY_FACTOR = 10
const ADDRESSES_MAX = 256
const PORT_MAX = 65_535
const NAME_CHARACTERS_MAX = 253
/** Two tries within the two seconds a discovery is given, where Node's own first try alone would take five. */
const TRIES = 2
const TRY_MS = 500

const OPTIONS: ReadonlySet<string> = new Set(['port', 'every'])
const DNS_NAME = /^[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?$/
/** NXDOMAIN, and a name without records of this type. */
const NOT_THERE: ReadonlySet<unknown> = new Set(['ENOTFOUND', 'ENODATA'])

const monotonicMs = performance.now.bind(performance)

/** What of the machine is used, so that a test can be it. */
export interface DnsSurroundings {
  nameServers(): NameServers
  /** The text of resolv.conf, empty where there is none. */
  resolvConf(): Promise<string>
  monotonicMs(): number
}

export interface NameServers {
  resolve4(name: string): Promise<string[]>
  resolve6(name: string): Promise<string[]>
  resolveSrv(name: string): Promise<{ name: string; port: number }[]>
  cancel(): void
}

/**
 * Addresses from DNS: SRV records, with their own ports, if the name begins with `_`, else A and AAAA with `port`. The
 * search list applies as it does elsewhere on the machine; a dot at the end of the name makes it complete.
 */
export function dns(name: string, o: { port: number; every?: Duration | undefined }): DiscoverySource {
  return dnsSource(name, o, machine)
}

export function dnsSource(
  name: string,
  o: { port: number; every?: Duration | undefined },
  around: DnsSurroundings
): DiscoverySource {
  checkName(name)
  checkOptions(name, o)
  const everyMs = durationMs(o.every ?? EVERY_DEFAULT, `every of dns('${name}')`)
  return new DnsSource(name, o.port, everyMs, around)
}

/** One look at DNS, shared by all who want it while it lasts and given up when the last of them has gone. */
interface Question {
  readonly settled: Promise<void>
  readonly stop: AbortController
  waiting: number
}

class DnsSource implements DiscoverySource {
  readonly name: string
  readonly #dnsName: string
  readonly #port: number
  readonly #everyMs: number
  readonly #around: DnsSurroundings
  #question: Question | undefined
  #askedAtMs = Number.NEGATIVE_INFINITY
  #answer: { readonly addresses: readonly Address[]; readonly atMs: number } | undefined
  /** Set while the latest question has failed. */
  #failure: { readonly error: unknown } | undefined

  constructor(name: string, port: number, everyMs: number, around: DnsSurroundings) {
    this.name = `dns ${name}`
    this.#dnsName = name
    this.#port = port
    this.#everyMs = everyMs
    this.#around = around
  }

  async find({ signal }: { signal: AbortSignal }): Promise<readonly Address[]> {
    signal.throwIfAborted()
    const question = this.#question ?? this.#askIfDue()
    if (question === undefined) return this.#known(this.#failure)
    question.waiting++
    try {
      await unlessAborted(signal, () => question.settled)
    } catch (error) {
      // The usual end of a name server that does not answer at all. What was known is still worth telling.
      if (question.waiting === 1) this.#giveUp(question, error)
      return this.#known({ error })
    } finally {
      question.waiting--
    }
    return this.#known(this.#failure)
  }

  #askIfDue(): Question | undefined {
    const nowMs = this.#around.monotonicMs()
    if (nowMs - this.#askedAtMs < this.#everyMs) return undefined
    this.#askedAtMs = nowMs
    const stop = new AbortController()
    const asking = lookUp(this.#dnsName, this.#port, this.#around, stop.signal)
    const settled = asking.then(
      addresses => this.#settle(question, () => this.#succeed(addresses, nowMs)),
      error => this.#settle(question, () => this.#fail(error))
    )
    const question: Question = { settled, stop, waiting: 0 }
    this.#question = question
    return question
  }

  #giveUp(question: Question, reason: unknown): void {
    this.#settle(question, () => this.#fail(reason))
    question.stop.abort(reason)
  }

  /** Only the question that is being waited for may say anything: one that was given up ends later. */
  #settle(question: Question, learn: () => void): void {
    if (this.#question !== question) return
    this.#question = undefined
    learn()
  }

  #succeed(addresses: readonly Address[], atMs: number): void {
    this.#answer = { addresses, atMs }
    this.#failure = undefined
  }

  #fail(error: unknown): void {
    this.#failure = { error }
  }

  #known(failure: { readonly error: unknown } | undefined): readonly Address[] {
    const { addresses, atMs } = this.#answer ?? { addresses: [], atMs: Number.NEGATIVE_INFINITY }
    const isOld = this.#around.monotonicMs() - atMs > KEEP_EVERY_FACTOR * this.#everyMs
    if (failure !== undefined && isOld) throw failure.error
    return addresses
  }
}

const machine: DnsSurroundings = {
  // A new one for each look: it reads which name servers there are, and cancelling it concerns nobody else.
  nameServers: () => new Resolver({ timeout: TRY_MS, tries: TRIES }),
  async resolvConf() {
    try {
      return await readFile('/etc/resolv.conf', 'utf8')
    } catch {
      // Not every system has one; names are then taken as they are.
      return ''
    }
  },
  monotonicMs: () => monotonicMs()
}

/** Asks for one completed name after the other; the first that has records answers for all. */
async function lookUp(
  name: string,
  port: number,
  around: DnsSurroundings,
  signal: AbortSignal
): Promise<readonly Address[]> {
  const completed = completedNames(name, await around.resolvConf())
  signal.throwIfAborted()
  const servers = around.nameServers()
  signal.addEventListener('abort', () => servers.cancel(), { once: true })
  let failure: { readonly error: unknown } | undefined
  for (const each of completed) {
    try {
      const found = name.startsWith('_') ? await srvAddresses(servers, each) : await ipAddresses(servers, each, port)
      if (found.length > 0) return [...new Set(found)].sort().slice(0, ADDRESSES_MAX)
    } catch (error) {
      // A domain of the list that is out of order must not hide the next one, which may be the right one.
      failure ??= { error }
    }
    signal.throwIfAborted()
  }
  if (failure !== undefined) throw failure.error
  return []
}

async function srvAddresses(servers: NameServers, name: string): Promise<Address[]> {
  const records = (await emptyIfNotThere(servers.resolveSrv(name))).filter(isUsable)
  // The names go on as they are: whoever dials resolves them at that moment, and tries all addresses they have.
  return records.map(record => formatAddress(record.name, record.port))
}

/** A target `.`, which arrives as no name, says that the service is decidedly not there. */
function isUsable({ name, port }: { name: string; port: number }): boolean {
  return DNS_NAME.test(name) && port >= 1 && port <= PORT_MAX
}

async function ipAddresses(servers: NameServers, name: string, port: number): Promise<Address[]> {
  const answers = await Promise.allSettled([
    emptyIfNotThere(servers.resolve4(name)),
    emptyIfNotThere(servers.resolve6(name))
  ])
  const found = answers.flatMap(answer => (answer.status === 'fulfilled' ? answer.value : []))
  const failed = answers.find(answer => answer.status === 'rejected')
  // Some name servers fail whenever they are asked for AAAA; the members they do name are members all the same.
  if (found.length === 0 && failed !== undefined) throw failed.reason
  return found.map(ip => formatAddress(ip, port))
}

async function emptyIfNotThere<T>(asking: Promise<T[]>): Promise<T[]> {
  try {
    return await asking
  } catch (error) {
    if (NOT_THERE.has((error as NodeJS.ErrnoException).code)) return []
    throw error
  }
}

/**
 * The names that a short one may stand for, in the order of the C library: with fewer dots than `ndots` the domains of
 * the search list come first, else the name itself.
 */
function completedNames(name: string, resolvConf: string): readonly string[] {
  if (name.endsWith('.')) return [name.slice(0, -1)]
  const { domains, ndots } = searchList(resolvConf)
  const within = domains.map(domain => `${name}.${domain}`)
  const all = name.split('.').length - 1 < ndots ? [...within, name] : [name, ...within]
  return all.filter(each => each.length <= NAME_CHARACTERS_MAX)
}

/** The last `search` or `domain` line counts, and the last `ndots`. */
function searchList(resolvConf: string): { domains: readonly string[]; ndots: number } {
  let domains: readonly string[] = []
  let ndots = 1
  for (const line of resolvConf.split('\n')) {
    const [keyword, ...values] = line.trim().split(/\s+/)
    if (keyword === 'search' || keyword === 'domain') {
      domains = values.filter(value => DNS_NAME.test(value)).map(value => value.replace(/\.$/, ''))
    }
    if (keyword !== 'options') continue
    for (const value of values) ndots = Number(/^ndots:(\d{1,2})$/.exec(value)?.[1] ?? ndots)
  }
  return { domains, ndots }
}

function checkName(name: unknown): void {
  const isName = typeof name === 'string' && name.length <= NAME_CHARACTERS_MAX && DNS_NAME.test(name)
  if (isName && isIP(name) === 0) return
  throw new MeshError(
    'ERR_MESH_OPTION',
    `Expected the name for dns() to be a DNS name, got ${got(name)}. Write it without a port, like ` +
      "dns('cache.shop.svc', { port: 7700 }) or dns('_mesh._tcp.cache.shop.svc', { port: 7700 }); fixed addresses " +
      "belong in seeds(['10.0.0.5:7700'])."
  )
}

function checkOptions(name: string, o: unknown): void {
  const where = `dns('${name}')`
  if (typeof o !== 'object' || o === null) {
    throw new MeshError(
      'ERR_MESH_OPTION',
      `Expected the options of ${where} to be an object, got ${got(o)}. Write dns('${name}', { port: 7700 }).`
    )
  }
  const unknown = Object.keys(o).find(option => !OPTIONS.has(option))
  if (unknown !== undefined) {
    throw new MeshError(
      'ERR_MESH_OPTION',
      `Unknown option '${unknown}' of ${where}. Known are ${[...OPTIONS].join(', ')}.`
    )
  }
  const { port } = o as { port?: unknown }
  if (Number.isInteger(port) && (port as number) >= 1 && (port as number) <= PORT_MAX) return
  throw new MeshError(
    'ERR_MESH_OPTION',
    `Expected port of ${where} to be a whole number from 1 to ${PORT_MAX}, got ${got(port)}. Give the port the ` +
      'members listen on, like { port: 7700 }.'
  )
}
