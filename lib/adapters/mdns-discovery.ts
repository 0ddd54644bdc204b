import { createHash } from 'node:crypto'
import { BlockList, isIP, isIPv4 } from 'node:net'
import { unlessAborted } from '../base/abort.ts'
import { got, MeshError } from '../base/errors.ts'
import type { Cancel, Clock } from '../ports/clock.ts'
import type { DiscoverySource } from '../ports/discovery.ts'
import type { Random } from '../ports/random.ts'
import type { Address, PeerId } from '../ports/transport.ts'
import { formatAddress, parseAddress } from './listen-address.ts'
import { type Hear, ipv4Hosts, type OwnRecord, openWire, type Packet, type Wire } from './mdns-wire.ts'
import { nodeClock } from './node-clock.ts'
import { nodeRandom } from './node-random.ts'

/**
 * Members of one local network find each other by multicast DNS (RFC 6762): one asks all, and everybody answers to all.
 *
 * Whoever asks hears its own question and answers it too, which is how the others learn of a newcomer. Everybody hears
 * every answer, so a question that somebody else has asked need not be asked again: in a mesh of any size about one
 * question in 20 s goes round, and each member answers it once. A member that leaves says so; one that crashed is
 * forgotten after 80 s of silence.
 *
 * The name of the mesh is not sent, only a hash of it: others need not know it, though who guesses it can tell. What is
 * heard is believed to be an address and nothing more. A name is none: what it stands for is for somebody else to say.
 * An address on loopback counts from this host only, or anybody near could have us dial our own services.
 *
 * Not promised: IPv6 multicast (the addresses may be IPv6), networks that keep multicast from their guests as clouds,
 * Kubernetes and many a Wi-Fi do, or anything against somebody on the network who wants members not to find each
 * other. Nobody can become a member by it: that the handshake decides.
 */
const PORT = 5_353
const LOOPBACK = '127.0.0.1'
const ASK_EVERY_MS = 20_000
/** The first question may be lost as any datagram may, so the second follows soon. */
const ASK_AGAIN_MS = 1_000
const KEEP_MS = 4 * ASK_EVERY_MS
/** The RFC's: no record is sent to all more often, and those who answer the same question do it one after the other. */
const ANSWER_EVERY_MS = 1_000
const ANSWER_DELAY_MS_MIN = 20
const ANSWER_DELAY_MS_SPREAD = 100
/** A newcomer waits so long for the first answer: whoever has just answered another one does it again after a second. */
const FIRST_LOOK_MS = ANSWER_EVERY_MS + 300

const MEMBERS_MAX = 256
const ADDRESSES_MAX = 256
/** So many of the longest take 1,100 bytes; a message may have 1,472. */
const ADDRESSES_EACH_MAX = 16

const OPTIONS: ReadonlySet<string> = new Set(['interface'])
const INSTANCE = /^[0-9a-f]{16}$/
const ADDRESS_TEXT = /^a\d{1,2}=(.{1,60})$/

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

/** Nobody's: unspecified, multicast, reserved, and IPv6 that means nothing without the interface it belongs to. */
const undialable = new BlockList()
undialable.addSubnet('0.0.0.0', 8, 'ipv4')
undialable.addSubnet('224.0.0.0', 3, 'ipv4')
undialable.addAddress('::', 'ipv6')
undialable.addSubnet('ff00::', 8, 'ipv6')
undialable.addSubnet('fe80::', 10, 'ipv6')

/** What of the machine is used, so that a test can be it. */
export interface MdnsSurroundings {
  readonly clock: Clock
  readonly random: Random
  /** The IPv4 addresses of this host. */
  hosts(): readonly string[]
  /** Speaks and hears on one interface only if it is given its address. */
  open(hear: Hear, onlyOn: string | undefined): Promise<Wire>
}

/**
 * Addresses of the local network, by multicast DNS. Needs the package `multicast-dns`, which is not installed by itself.
 * `interface` is this host's address in the network to speak on: by default the one the member announces or, where it
 * announces none of this host's, whichever the system chooses. A member that listens on loopback never speaks off it.
 */
export function mdns(o: { interface?: string | undefined } = {}): DiscoverySource {
  return mdnsSource(o, machine)
}

export function mdnsSource(o: { interface?: string | undefined }, around: MdnsSurroundings): DiscoverySource {
  checkOptions(o)
  return new MdnsSource(o.interface, around)
}

class MdnsSource implements DiscoverySource {
  readonly name = 'mdns'
  readonly #interface: string | undefined
  readonly #around: MdnsSurroundings
  #presence: Presence | undefined

  constructor(onlyOn: string | undefined, around: MdnsSurroundings) {
    this.#interface = onlyOn
    this.#around = around
  }

  async find({ signal }: { signal: AbortSignal }): Promise<readonly Address[]> {
    // Which mesh is meant comes with `announce`.
    return this.#presence === undefined ? [] : this.#presence.find(signal)
  }

  async announce(self: { mesh: string; id: PeerId; addresses: readonly Address[] }): Promise<() => Promise<void>> {
    if (this.#presence?.isHere) {
      throw new MeshError(
        'ERR_MESH_OPTION',
        `Expected an mdns() of its own for the mesh '${self.mesh}', got one that another mesh of this process uses. ` +
          'Write discovery: [mdns()] for each.'
      )
    }
    const presence = new Presence(self, this.#interface, this.#around)
    this.#presence = presence
    await presence.begin()
    return () => presence.leave()
  }
}

/** A member on the local network, from its announcement until it leaves. */
class Presence {
  readonly #around: MdnsSurroundings
  readonly #service: string
  readonly #instance: string
  readonly #addresses: readonly Address[]
  readonly #wire: Promise<Wire>
  /** In the order they were last heard. */
  readonly #heard = new Map<string, { readonly addresses: readonly Address[]; readonly atMs: number }>()
  readonly #firstLook: Promise<void>
  #endFirstLook = (): void => {}
  isHere = true
  #asked = 0
  #disarmAsk: Cancel = () => {}
  #disarmAnswer: Cancel | undefined
  #answeredAtMs = Number.NEGATIVE_INFINITY
  /** Why the latest message could not be sent. */
  #failure: { readonly error: unknown } | undefined
  #leaving: Promise<void> | undefined

  constructor(
    self: { mesh: string; id: PeerId; addresses: readonly Address[] },
    chosen: string | undefined,
    around: MdnsSurroundings
  ) {
    // A service name is at most fifteen characters.
    this.#service = `_cm-${hashOf(self.mesh).slice(0, 12)}._tcp.local`
    this.#instance = hashOf(self.id).slice(0, 16)
    this.#around = around
    this.#firstLook = new Promise(resolve => {
      this.#endFirstLook = resolve
    })
    const onlyOn = chosen ?? networkOf(self.addresses, around.hosts())
    this.#addresses = announceable(self.addresses, onlyOn)
    this.#wire = around.open((packet, from) => this.#hear(packet, from), onlyOn)
  }

  async begin(): Promise<void> {
    try {
      await this.#wire
    } catch (error) {
      this.isHere = false
      throw error
    }
    this.#around.clock.after(FIRST_LOOK_MS, this.#endFirstLook)
    this.#ask()
  }

  async find(signal: AbortSignal): Promise<readonly Address[]> {
    await unlessAborted(signal, () => this.#wire.then(() => this.#firstLook))
    const sinceMs = this.#around.clock.monotonic() - KEEP_MS
    const lately = [...this.#heard.values()].filter(({ atMs }) => atMs > sinceMs).reverse()
    const addresses = new Set(lately.flatMap(member => member.addresses))
    if (addresses.size === 0 && this.#failure !== undefined && this.isHere) throw this.#failure.error
    return [...addresses].slice(0, ADDRESSES_MAX)
  }

  leave(): Promise<void> {
    this.#leaving ??= this.#leave()
    return this.#leaving
  }

  async #leave(): Promise<void> {
    this.isHere = false
    this.#disarmAsk()
    this.#disarmAnswer?.()
    this.#endFirstLook()
    this.#heard.clear()
    // A lifetime of nothing: others forget us now.
    if (this.#addresses.length > 0) await this.#say(wire => wire.answer(this.#records(0)))
    await (await this.#wire).close()
  }

  #ask(): void {
    this.#asked++
    this.#askLater()
    void this.#say(wire => {
      wire.join()
      return wire.ask(this.#service)
    })
  }

  #askLater(): void {
    this.#disarmAsk()
    const everyMs = this.#asked < 2 ? ASK_AGAIN_MS : ASK_EVERY_MS
    const inMs = everyMs * (0.75 + this.#around.random.float() / 2)
    this.#disarmAsk = this.#around.clock.after(inMs, () => this.#ask())
  }

  #answerSoon(): void {
    if (this.#addresses.length === 0 || this.#disarmAnswer !== undefined) return
    const { clock, random } = this.#around
    const delayMs = ANSWER_DELAY_MS_MIN + random.float() * ANSWER_DELAY_MS_SPREAD
    const againInMs = this.#answeredAtMs + ANSWER_EVERY_MS - clock.monotonic()
    this.#disarmAnswer = clock.after(Math.max(delayMs, againInMs), () => {
      this.#disarmAnswer = undefined
      this.#answeredAtMs = clock.monotonic()
      void this.#say(wire => wire.answer(this.#records(KEEP_MS / 1_000)))
    })
  }

  #records(ttlSeconds: number): OwnRecord[] {
    const name = `${this.#instance}.${this.#service}`
    return [
      { name: this.#service, type: 'PTR', ttl: ttlSeconds, data: name },
      { name, type: 'TXT', ttl: ttlSeconds, data: this.#addresses.map((address, i) => `a${i}=${address}`) }
    ]
  }

  async #say(what: (wire: Wire) => Promise<void>): Promise<void> {
    try {
      await what(await this.#wire)
      this.#failure = undefined
    } catch (error) {
      // The network may be down; the next question tries again, and whoever looks meanwhile is told.
      this.#failure = { error }
    }
  }

  #hear({ questions, answers }: Packet, from: string): void {
    if (!this.isHere) return
    if (questions.some(({ name, type }) => type === 'PTR' && name.toLowerCase() === this.#service)) {
      this.#answerSoon()
      this.#askLater()
    }
    for (const answer of answers) if (answer.type === 'TXT') this.#hearMember(answer, from)
  }

  #hearMember({ name, ttl, data }: Packet['answers'][number], from: string): void {
    const [instance = '', ...service] = name.toLowerCase().split('.')
    if (service.join('.') !== this.#service || !INSTANCE.test(instance) || instance === this.#instance) return
    this.#heard.delete(instance)
    const addresses = ttl === 0 ? [] : heardAddresses(data, from)
    if (addresses.length === 0) return
    this.#heard.set(instance, { addresses, atMs: this.#around.clock.monotonic() })
    const [longestSilent = ''] = this.#heard.keys()
    if (this.#heard.size > MEMBERS_MAX) this.#heard.delete(longestSilent)
    this.#endFirstLook()
  }
}

/** Only hashes are sent, and made for this alone: what is heard here says nothing about a hash made elsewhere. */
function hashOf(text: string): string {
  return createHash('sha256').update(`cachemesh mdns ${text}`).digest('hex')
}

/** Where a member speaks: on loopback if it is nowhere else, or in the network in which others are to dial it. */
function networkOf(addresses: readonly Address[], hosts: readonly string[]): string | undefined {
  const away = addresses.filter(address => !isOnLoopback(address))
  if (addresses.length > 0 && away.length === 0) return LOOPBACK
  return hosts.find(host => away.some(address => address.startsWith(`${host}:`)))
}

/** Those that can be dialled by whoever hears of them. */
function announceable(addresses: readonly Address[], onlyOn: string | undefined): readonly Address[] {
  const isHome = onlyOn !== undefined && loopback.check(onlyOn)
  const usable = addresses.filter(address => dialable(address, isHome) !== undefined).slice(0, ADDRESSES_EACH_MAX)
  if (usable.length > 0 || addresses.length === 0) return usable
  throw new MeshError(
    'ERR_MESH_OPTION',
    `Expected IP addresses that others on the local network can dial, for mdns() to announce, got ${addresses[0]}. ` +
      "Write listen: '0.0.0.0:7700' or announce: ['10.0.0.5:7700']."
  )
}

function heardAddresses(data: unknown, from: string): readonly Address[] {
  const texts = Array.isArray(data) ? data.slice(0, ADDRESSES_EACH_MAX) : []
  const isFromHere = loopback.check(from)
  return texts.flatMap(text => {
    const [, address] = (Buffer.isBuffer(text) && ADDRESS_TEXT.exec(text.toString('latin1'))) || []
    return (address === undefined ? undefined : dialable(address, isFromHere)) ?? []
  })
}

/** The address as we would write it, if it is one: an IP and one port. */
function dialable(text: string, isLoopbackFine: boolean): Address | undefined {
  try {
    const { host, port } = parseAddress(text)
    const family = isIP(host) === 6 ? 'ipv6' : 'ipv4'
    if (isIP(host) === 0 || host.includes('%') || undialable.check(host, family)) return undefined
    return isLoopbackFine || !loopback.check(host, family) ? formatAddress(host, port) : undefined
  } catch {
    // Not an address; `undefined` says so.
    return undefined
  }
}

function isOnLoopback(address: Address): boolean {
  return dialable(address, true) !== undefined && dialable(address, false) === undefined
}

const machine: MdnsSurroundings = {
  clock: nodeClock(),
  random: nodeRandom(),
  hosts: ipv4Hosts,
  open: (hear, onlyOn) => openWire(hear, onlyOn, PORT)
}

function checkOptions(o: unknown): void {
  if (typeof o !== 'object' || o === null) {
    throw new MeshError(
      'ERR_MESH_OPTION',
      `Expected the options of mdns() to be an object, got ${got(o)}. Write mdns({ interface: '10.0.0.5' }) or mdns().`
    )
  }
  const unknown = Object.keys(o).find(option => !OPTIONS.has(option))
  if (unknown !== undefined) {
    throw new MeshError(
      'ERR_MESH_OPTION',
      `Unknown option '${unknown}' of mdns(). Known is ${[...OPTIONS].join(', ')}.`
    )
  }
  const only = (o as { interface?: unknown }).interface
  if (only === undefined || (typeof only === 'string' && isIPv4(only))) return
  throw new MeshError(
    'ERR_MESH_OPTION',
    `Expected interface of mdns() to be an IPv4 address of this host, got ${got(only)}. ` +
      "Write mdns({ interface: '10.0.0.5' }), or leave it out for the one the system chooses."
  )
}
