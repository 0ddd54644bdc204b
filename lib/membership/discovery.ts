/**
 * Where to look for other members. A discovery only names addresses; who answers there is proved by the handshake, so
 * a wrong address costs a dial and nothing else. All of them are asked again for as long as the member lives: what
 * makes two meshes that were started apart become one is that somebody keeps looking.
 */
import { MeshError } from '../base/errors.ts'
import type { Discovery, DiscoverySource } from '../ports/discovery.ts'
import type { Address } from '../ports/transport.ts'

const RANGE_MAX = 256

/** Fixed addresses, `host:port` or `host:from-to`. One that answers is enough: it knows the others. */
export function seeds(addresses: readonly string[]): DiscoverySource {
  const all = addresses.flatMap(expandRange)
  return { name: 'seeds', find: () => all }
}

export function asSource(discovery: Discovery): DiscoverySource {
  if (typeof discovery !== 'function') return discovery
  return { name: discovery.name || 'function', find: () => discovery() }
}

/** `host:7700-7731` is 32 addresses; a plain `host:port` is itself. */
export function expandRange(address: string): Address[] {
  const match = /^(.+):(\d{1,5})(?:-(\d{1,5}))?$/.exec(address)
  const from = Number(match?.[2])
  const to = Number(match?.[3] ?? from)
  if (match === null || from < 1 || to > 65_535 || from > to || to - from >= RANGE_MAX) {
    throw new MeshError(
      'ERR_MESH_OPTION',
      `Expected an address as 'host:port' or 'host:from-to' (at most ${RANGE_MAX} ports), got '${address}'. ` +
        "Write it like '10.0.0.5:7700' or 'cache.internal:7700-7731'; an IPv6 host needs brackets."
    )
  }
  return Array.from({ length: to - from + 1 }, (_, i) => `${match[1]}:${from + i}`)
}
