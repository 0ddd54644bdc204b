import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { BlockList } from 'node:net'
import { networkInterfaces } from 'node:os'
import type { MulticastDNS, Options } from 'multicast-dns'
import { got, MeshError } from '../base/errors.ts'

/**
 * Multicast DNS messages to and from everybody on the local network, by the package `multicast-dns`, which is loaded
 * when the first member is to be announced and not before: most applications need neither.
 *
 * It speaks DNS and joins interfaces as they come up. `@libp2p/mdns`, which is built on it, cannot be kept on one
 * interface, holds the process with its timer, says no goodbye and brings sixty packages.
 *
 * The socket is ours for three reasons. One of theirs would be shared by the workers of node:cluster, of whom only one
 * would hear each answer. It would speak on the system's first choice before it is told the interface to speak on. And
 * it would decode whatever arrives: 64 KB of names that point to names take 0.4 s, so what is too large to be a message
 * of ours, or was sent by a host of another network, does not reach the decoder.
 *
 * Not promised: that a message arrives, or is what its sender wrote.
 */
/** What one Ethernet frame holds. */
const MESSAGE_BYTES_MAX = 1_472

/** What of a DNS message is read here. */
export interface Packet {
  readonly questions: readonly { readonly name: string; readonly type: string }[]
  readonly answers: readonly { readonly name: string; readonly type: string; readonly ttl?: unknown; data?: unknown }[]
}

export type Hear = (packet: Packet, from: string) => void

export type OwnRecord =
  | { readonly name: string; readonly type: 'PTR'; readonly ttl: number; readonly data: string }
  | { readonly name: string; readonly type: 'TXT'; readonly ttl: number; readonly data: string[] }

/** The way to everybody on the local network. */
export interface Wire {
  /** Joins the interfaces that have come up; throws while there is none to hear anybody on. */
  join(): void
  ask(name: string): Promise<void>
  answer(records: OwnRecord[]): Promise<void>
  close(): Promise<void>
}

/** The package's own types do not know it. */
type Joining = MulticastDNS & { update(): void }

export async function openWire(hear: Hear, onlyOn: string | undefined, port: number): Promise<Wire> {
  const multicastDns = await loadPackage()
  const socket = await bind(port, onlyOn)
  const options: Options = { socket, port, bind: false }
  const mdns = multicastDns(onlyOn === undefined ? options : { ...options, interface: onlyOn }) as Joining
  let near = new BlockList()
  let isDeaf = true
  let cause: unknown
  keepOut(socket, (message, from) => message.length > MESSAGE_BYTES_MAX || !near.check(from.address))
  // A question may list answers that its sender knows; only who answers says that he is here.
  mdns.on('query', ({ questions = [] }, { address }) => hear({ questions, answers: [] }, address))
  mdns.on('response', ({ answers = [] }, { address }) => hear({ questions: [], answers }, address))
  mdns.on('networkInterface', () => {
    isDeaf = false
  })
  mdns.on('warning', error => {
    cause = error
  })
  // What cannot be sent is told to whoever sends it.
  mdns.on('error', () => {})
  return {
    join() {
      near = networksOf(onlyOn)
      cause = undefined
      mdns.update()
      if (isDeaf) throw unheard(cause)
    },
    ask: name => settled(done => mdns.query({ questions: [{ name, type: 'PTR' }] }, done)),
    answer: records => settled(done => mdns.respond(records, done)),
    close: () => new Promise(resolve => mdns.destroy(resolve))
  }
}

async function loadPackage() {
  try {
    return (await import('multicast-dns')).default
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new MeshError(
      'ERR_MESH_OPTION',
      `Expected the package 'multicast-dns' to be installed, which mdns() needs, got ${code ?? cause} when loading it. ` +
        'Run npm install multicast-dns, or take another discovery.',
      { cause }
    )
  }
}

/** A socket of this process alone beside those of others on the same port, which speaks on one interface if told so. */
function bind(port: number, onlyOn: string | undefined): Promise<Socket> {
  const socket = createSocket({ type: 'udp4', reuseAddr: true }).unref()
  return new Promise((resolve, reject) => {
    const fail = (error: MeshError): void => {
      socket.close()
      reject(error)
    }
    socket.once('error', cause => fail(unbound(port, cause)))
    socket.bind({ port, address: '0.0.0.0', exclusive: true }, () => {
      socket.removeAllListeners('error')
      try {
        // As the RFC has it: some take no message that may have passed a router.
        socket.setMulticastTTL(255)
        if (onlyOn !== undefined) socket.setMulticastInterface(onlyOn)
        resolve(socket)
      } catch (cause) {
        fail(elsewhere(onlyOn, cause))
      }
    })
  })
}

/** Keeps some messages from those who listen on the socket now. */
function keepOut(socket: Socket, isUnwanted: (message: Buffer, from: RemoteInfo) => boolean): void {
  const listeners = socket.listeners('message')
  socket.removeAllListeners('message')
  socket.on('message', (message, from) => {
    if (!isUnwanted(message, from)) for (const listener of listeners) listener.call(socket, message, from)
  })
}

/** The networks this host is on; who sends from elsewhere does not send by multicast. */
function networksOf(onlyOn: string | undefined): BlockList {
  const networks = new BlockList()
  for (const { address, family, cidr } of Object.values(networkInterfaces()).flatMap(each => each ?? [])) {
    if (family !== 'IPv4' || cidr === null || (onlyOn !== undefined && onlyOn !== address)) continue
    networks.addSubnet(address, Number(cidr.split('/')[1]), 'ipv4')
  }
  return networks
}

/** The IPv4 addresses of this host. */
export function ipv4Hosts(): readonly string[] {
  const all = Object.values(networkInterfaces()).flatMap(each => each ?? [])
  return all.filter(({ family }) => family === 'IPv4').map(({ address }) => address)
}

function settled(send: (done: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => send(error => (error ? reject(unsaid(error)) : resolve())))
}

function unsaid(cause: Error): MeshError {
  return new MeshError(
    'ERR_MESH_UNAVAILABLE',
    `mdns() cannot speak to the local network: ${cause.message}. Where the system knows no way, name the interface: ` +
      `mdns({ interface: '${ipv4Hosts().at(-1)}' }).`,
    { cause }
  )
}

function unheard(cause: unknown): MeshError {
  const why = cause instanceof Error ? `: ${cause.message}` : ''
  return new MeshError('ERR_MESH_UNAVAILABLE', `mdns() hears nobody: no interface of this host has multicast${why}`, {
    cause
  })
}

function unbound(port: number, cause: Error): MeshError {
  return new MeshError(
    'ERR_MESH_LISTEN',
    `mdns() needs UDP port ${port} beside other programs, and one of them does not share it: ${cause.message}`,
    { cause }
  )
}

function elsewhere(onlyOn: string | undefined, cause: unknown): MeshError {
  return new MeshError(
    'ERR_MESH_OPTION',
    `Expected interface of mdns() to be an IPv4 address of this host, got ${got(onlyOn)}. It has ${ipv4Hosts().join(', ')}.`,
    { cause }
  )
}
