import './with-resolvers.ts'
import { hkdfSync } from 'node:crypto'
import type { ConnectionEncrypter, MessageStream, SecureConnectionOptions } from '@libp2p/interface'
import { type ICryptoInterface, noise } from '@libp2p/noise'
import { defaultCrypto, nodeCrypto } from '@libp2p/noise/crypto'
import { sealInbound, sealOutbound } from './mesh-seal.ts'

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
 * Noise does the handshake and nothing after it: see mesh-seal.ts for what carries the bytes, and why.
 *
 * Both values are derived, so that neither the name on the wire nor the prologue can be turned into the secret, and
 * the mesh's name goes into them: one secret may serve several meshes without joining them.
 */
const VERSION = 2

type NoiseMaker = ReturnType<typeof noise>
type NoiseComponents = Parameters<NoiseMaker>[0]

/**
 * All of it from OpenSSL. A handshake is run a few times by a process that has just started, where the plain JavaScript
 * and the WebAssembly that libp2p takes for some steps are slowest: 37 instead of 40 ms of processor for both ends of a
 * connection, identify and gossip included.
 */
const NATIVE: ICryptoInterface = {
  ...defaultCrypto,
  ...nodeCrypto,
  getHKDF(chainingKey, material) {
    const keys = Buffer.from(hkdfSync('sha256', material, chainingKey, '', 96))
    return [keys.subarray(0, 32), keys.subarray(32, 64), keys.subarray(64)]
  }
}

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
  const make = noise({ prologueBytes: derive('prologue', 32), crypto: NATIVE })
  const protocol = `/cachemesh-noise/${VERSION}/${derive('key id', 4).toString('hex')}`
  return (components: NoiseComponents) => sealed(make(components), protocol)
}

function sealed(encrypter: ConnectionEncrypter, protocol: string): ConnectionEncrypter {
  return {
    protocol,
    async secureInbound(below: MessageStream, options?: SecureConnectionOptions) {
      const secured = await encrypter.secureInbound(below, options)
      return {
        ...secured,
        connection: await sealInbound({ below, noise: secured.connection, signal: options?.signal })
      }
    },
    async secureOutbound(below: MessageStream, options?: SecureConnectionOptions) {
      const secured = await encrypter.secureOutbound(below, options)
      return {
        ...secured,
        connection: await sealOutbound({ below, noise: secured.connection, signal: options?.signal })
      }
    }
  }
}
