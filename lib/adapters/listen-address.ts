import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os'
import { got, MeshError } from '../base/errors.ts'
import type { Address } from '../ports/transport.ts'

/**
 * Addresses as people write them, and which of them others may dial.
 *
 * A range of ports exists because processes of one host each need their own: under node:cluster and PM2 workers would
 * otherwise share one listening port, and a dial would be answered by any of them. A wildcard address is never
 * announced, since it names nobody: either one address of this host is the obvious one, or a person has to say which.
 */
export interface ListenAddress {
  readonly host: string
  readonly portFrom: number
  readonly portTo: number
}

const PORT_MAX = 65_535

/** `host:port`, `host:from-to`, with an IPv6 host in brackets. Port 0 is any free one. */
export function parseListen(text: string): ListenAddress {
  const { host, port } = splitHostPort(text)
  const range = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(port ?? '')
  const portFrom = Number(range?.[1])
  const portTo = Number(range?.[2] ?? range?.[1])
  if (host === '' || range === null || portTo > PORT_MAX || portFrom > portTo)
    throw new MeshError(
      'ERR_MESH_LISTEN',
      `listen must be 'host:port' or 'host:from-to' with ports up to ${PORT_MAX} (an IPv6 host in brackets), got ${got(text)}`
    )
  return { host, portFrom, portTo }
}

/** One address to dial. */
export function parseAddress(address: Address): { host: string; port: number } {
  const { host, port } = splitHostPort(address)
  const number = /^\d{1,5}$/.test(port ?? '') ? Number(port) : Number.NaN
  if (host === '' || !(number >= 1 && number <= PORT_MAX))
    throw new MeshError(
      'ERR_MESH_OPTION',
      `an address must be 'host:port' with an IPv6 host in brackets, got ${got(address)}`
    )
  return { host, port: number }
}

export function formatAddress(host: string, port: number): Address {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`
}

/** The text of a multiaddr for it, without a peer id: who answers is learnt from the handshake. */
export function multiaddrText(host: string, port: number): string {
  const kind = { 0: 'dns', 4: 'ip4', 6: 'ip6' }[isIP(host)] ?? 'dns'
  return `/${kind}/${host}/tcp/${port}`
}

/** Listening needs an IP: a name is looked up once. */
export async function resolveHost(host: string): Promise<string> {
  if (isIP(host) !== 0) return host
  try {
    return (await lookup(host)).address
  } catch (cause) {
    throw new MeshError('ERR_MESH_LISTEN', `listen names the host '${host}', which cannot be looked up`, { cause })
  }
}

/**
 * The hosts others may dial, known before listening so that a bad setting fails before a port is taken; `announced`
 * adds the port. `announce` may leave the port out, or give 0, for the one that was listened on.
 */
export function announcedHosts(
  listenIp: string,
  announce: readonly string[] | undefined,
  interfaces: NodeJS.Dict<NetworkInterfaceInfo[]> = networkInterfaces()
): readonly { host: string; port: number }[] {
  if (announce !== undefined && announce.length > 0) return announce.map(parseAnnounce)
  if (!isWildcard(listenIp)) return [{ host: listenIp, port: 0 }]
  const candidates = routableHosts(listenIp, interfaces)
  const [only] = candidates
  if (only === undefined || candidates.length > 1)
    throw new MeshError(
      'ERR_MESH_LISTEN',
      `listen is ${listenIp}, and which address others should dial is not clear: this host has ` +
        `${candidates.length === 0 ? 'no routable address' : candidates.join(', ')}. Set announce to the right one, ` +
        `for example announce: ['${only ?? '10.0.0.5'}']`
    )
  return [{ host: only, port: 0 }]
}

export function announced(hosts: readonly { host: string; port: number }[], boundPort: number): readonly Address[] {
  return hosts.map(({ host, port }) => formatAddress(host, port === 0 ? boundPort : port))
}

function parseAnnounce(text: string): { host: string; port: number } {
  const bare = isIP(text) !== 0 || !text.includes(':') ? { host: text, port: '0' } : splitHostPort(text)
  const port = /^\d{1,5}$/.test(bare.port ?? '0') ? Number(bare.port ?? '0') : Number.NaN
  if (bare.host === '' || !(port >= 0 && port <= PORT_MAX) || isWildcard(bare.host))
    throw new MeshError(
      'ERR_MESH_LISTEN',
      `announce must hold addresses others can dial, 'host:port' or 'host' for the port listened on, got ${got(text)}`
    )
  return { host: bare.host, port }
}

function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}

/** IPv4 for 0.0.0.0. For [::], whoever asks for IPv6 means it: IPv6 if there is any, else IPv4. */
function routableHosts(listenIp: string, interfaces: NodeJS.Dict<NetworkInterfaceInfo[]>): readonly string[] {
  const outward = Object.values(interfaces)
    .flatMap(infos => infos ?? [])
    .filter(info => !info.internal && !/^(169\.254\.|fe80:)/i.test(info.address))
  const of = (family: 'IPv4' | 'IPv6') => [
    ...new Set(outward.filter(info => info.family === family).map(info => info.address))
  ]
  const v6 = listenIp === '::' ? of('IPv6') : []
  return v6.length > 0 ? v6 : of('IPv4')
}

function splitHostPort(text: string): { host: string; port: string | undefined } {
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/.exec(text)
  if (bracketed !== null) {
    const host = bracketed[1] ?? ''
    return { host: isIP(host) === 6 ? host : '', port: bracketed[2] }
  }
  const plain = /^([A-Za-z0-9._-]*)(?::(.*))?$/.exec(text)
  return { host: plain?.[1] ?? '', port: plain?.[2] }
}
