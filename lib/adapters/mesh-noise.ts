import './with-resolvers.ts'
import { hkdfSync } from 'node:crypto'
import type { ConnectionEncrypter, MessageStream, SecureConnectionOptions } from '@libp2p/interface'
import { noise } from '@libp2p/noise'

/**
 * Who may join: Noise with the cluster secret in its prologue.
 *
 * Noise mixes the prologue into the hash that both sides authenticate, so a peer with another secret, without one or
 * of a mesh of another name fails in the handshake: before the muxer, before identify, before gossip. The id of the
 * key is a part of the protocol's name, so most strangers are refused earlier still, at the cost of one round trip,
 * and a member that holds two secrets while they are rotated knows which one the other side means.
 *
 * Why the prologue and not the secret mixed into the key schedule. The prologue is Noise's own place for it, needs no
 * cryptography of ours, and was reviewed with the framework. What it does not give: the secret is not a part of the
 * keys, so a stranger who completes the first message can read the second, which holds the peer id of a member, and
 * can try guesses of the secret against it. A peer id is a random key made at start and tells nothing, and a secret
 * has at least 32 random bytes. A pre-shared key in the key schedule would hide both, but would be a handshake of our
 * own making.
 *
 * Both values are derived, so that neither the name on the wire nor the prologue can be turned into the secret, and
 * the mesh's name goes into them: one secret may serve several meshes without joining them.
 */
const VERSION = 1

type NoiseMaker = ReturnType<typeof noise>
type NoiseComponents = Parameters<NoiseMaker>[0]

/** One encrypter per secret, the preferred first; without a secret one that knows the mesh's name alone. */
export function meshNoise(
  mesh: string,
  secrets: readonly string[]
): ((components: NoiseComponents) => ConnectionEncrypter)[] {
  if (secrets.length === 0) return [keyed(mesh, 'open', '')]
  return secrets.map(secret => keyed(mesh, 'secret', secret))
}

function keyed(mesh: string, kind: 'open' | 'secret', secret: string) {
  const derive = (what: string, bytes: number) =>
    Buffer.from(hkdfSync('sha256', secret, mesh, `cachemesh/${VERSION}/${kind}/${what}`, bytes))
  const make = noise({ prologueBytes: derive('prologue', 32) })
  const protocol = `/cachemesh-noise/${VERSION}/${derive('key id', 4).toString('hex')}`
  return (components: NoiseComponents) => renamed(make(components), protocol)
}

function renamed(encrypter: ConnectionEncrypter, protocol: string): ConnectionEncrypter {
  return {
    protocol,
    secureInbound: (connection: MessageStream, options?: SecureConnectionOptions) =>
      encrypter.secureInbound(connection, options),
    secureOutbound: (connection: MessageStream, options?: SecureConnectionOptions) =>
      encrypter.secureOutbound(connection, options)
  }
}
