import './with-resolvers.ts'
import { type GossipSub, gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import type { Libp2p } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { createLibp2p, type Libp2pOptions } from 'libp2p'
import { MeshError } from '../base/errors.ts'
import { GOSSIP_BYTES_MAX } from '../ports/pubsub.ts'
import { CONNECT_MS_MAX } from '../ports/transport.ts'
import { meshMuxer } from './mesh-muxer.ts'
import { meshNoise } from './mesh-noise.ts'

/**
 * The libp2p node beneath one member: which parts, which settings, and the few places where we reach inside.
 *
 * libp2p is made for an open network of strangers; a mesh is a small number of processes that trust each other, often
 * on one host. Nearly every number here undoes a defence against strangers that would cut such a mesh into pieces:
 * strangers are kept out earlier, by the handshake.
 */
export interface MeshNode {
  readonly libp2p: Libp2p
  readonly gossip: GossipSub
  /** Listens on one more address; rejects if it cannot. */
  listen(multiaddr: Multiaddr): Promise<void>
  /** The port that is listened on. */
  port(): number | undefined
  /** Closes everything; afterwards nothing of it keeps the process alive. */
  stop(): Promise<void>
}

type Multiaddr = ReturnType<Libp2p['getMultiaddrs']>[number]

const KIB = 1024
const MIB = 1024 * KIB

/** Streams of one protocol on one connection. A link takes two; links that are being replaced overlap for a moment. */
export const STREAMS_PER_PROTOCOL_MAX = 64

/** By default the sixth connection a second from one host is refused, and on one host all come from one address. */
const CONNECTION_MANAGER = {
  maxConnections: 4_000,
  inboundConnectionThreshold: 2_000,
  maxIncomingPendingConnections: 512,
  maxParallelDials: 128,
  dialTimeout: CONNECT_MS_MAX,
  addressDialTimeout: CONNECT_MS_MAX,
  // How long a stranger may hold one of the pending places.
  inboundUpgradeTimeout: CONNECT_MS_MAX,
  // Nothing is tagged to be kept alive: whom to dial, and when, is decided by the core.
  reconnectRetries: 0
} satisfies Libp2pOptions['connectionManager']

/** A unique id stands before every message. Without one the hash of the content is the id, and the second of two equal
 * messages is dropped. */
export const GOSSIP_ID_BYTES = 16

const GOSSIP = {
  // The handshake has admitted the sender; signing each message again costs more than the message.
  globalSignaturePolicy: 'StrictNoSign',
  msgIdFn: (message: { data: Uint8Array }) => message.data.subarray(0, GOSSIP_ID_BYTES),
  emitSelf: false,
  fallbackToFloodsub: false,
  // One hop to everybody that listens, instead of several along a tree that a restart has to mend for seconds.
  floodPublish: true,
  batchPublish: true,
  allowPublishToZeroTopicPeers: true,
  ignoreDuplicatePublishError: true,
  doPX: false,
  tagMeshPeers: false,
  seenTTL: 30_000,
  // Several messages may travel as one, so a stream takes more than the largest of them; a receiver that finds too
  // much drops the stream.
  maxInboundDataLength: 16 * GOSSIP_BYTES_MAX,
  // What a stalled peer may cost here; over it the stream is reset, and opened again by the watchdog of the pubsub.
  maxOutboundBufferSize: 4 * MIB,
  // Of the topics that one peer listens to, for each a KiB and its name: room for those of `topics.ts`, and our own.
  maxTopicBytesPerPeer: 256 * KIB,
  decodeRpcLimits: {
    maxSubscriptions: 256,
    maxMessages: 1_000,
    maxIhaveMessageIDs: 5_000,
    maxIwantMessageIDs: 5_000,
    maxControlMessages: 1_000,
    maxIdontwantMessageIDs: 512,
    maxPeerInfos: 16
  },
  // Peers that share an address are punished as one attacker with many names: with 15 on a host nobody hears anything.
  scoreParams: { IPColocationFactorWeight: 0, behaviourPenaltyWeight: 0 }
} satisfies Parameters<typeof gossipsub>[0]

/** `exclusive` goes to `server.listen`, although the type of these options does not know it. */
const LISTEN_OPTIONS: NonNullable<Parameters<typeof tcp>[0]>['listenOpts'] & object = {
  // Workers of node:cluster would share each listening port, and a dial would be answered by any of them.
  ...{ exclusive: true },
  // An IPv6 wildcard means both families, as everywhere else in Node.
  ...{ ipv6Only: false }
}

const LOGS_TLS_KEYS = /--tls-keylog\b/

export async function meshNode(init: { mesh: string; secrets: readonly string[] }): Promise<MeshNode> {
  if (process.env.DUMP_SESSION_KEYS)
    throw new MeshError(
      'ERR_MESH_SECRET',
      'the environment variable DUMP_SESSION_KEYS is set, with which the keys of every connection would be logged: ' +
        'unset it to start'
    )
  if (LOGS_TLS_KEYS.test(`${process.execArgv.join(' ')} ${process.env.NODE_OPTIONS ?? ''}`))
    throw new MeshError(
      'ERR_MESH_SECRET',
      'Node was started with --tls-keylog, with which the keys of every connection would be logged: leave it out to start'
    )
  const parts: Partial<Parts> = {}
  const libp2p = await createLibp2p({
    start: false,
    addresses: { listen: [] },
    transports: [tcp({ listenOpts: LISTEN_OPTIONS })],
    connectionEncrypters: meshNoise(init.mesh, init.secrets),
    streamMuxers: [() => meshMuxer()],
    connectionManager: CONNECTION_MANAGER,
    // It aborts a connection when one ping fails, for which a stalled peer or a bulk transfer is enough. The core
    // listens for silence itself, with more patience.
    connectionMonitor: { enabled: false },
    services: {
      identify: identify({ timeout: CONNECT_MS_MAX }),
      gossip: gossipsub(GOSSIP),
      parts: components => {
        parts.transports = components.transportManager
        parts.addresses = components.addressManager
        return {}
      }
    }
  })
  const { transports, addresses } = parts
  if (transports === undefined || addresses === undefined) throw new Error('libp2p was built without its parts')
  return wrap(libp2p, libp2p.services.gossip, { transports, addresses })
}

interface Parts {
  transports: { listen(addresses: Multiaddr[]): Promise<void>; getAddrs(): Multiaddr[] }
  addresses: object
}

function wrap(libp2p: Libp2p, gossip: GossipSub, parts: Parts): MeshNode {
  return {
    libp2p,
    gossip,
    listen: multiaddr => parts.transports.listen([multiaddr]),
    port() {
      const tcpPart = parts.transports
        .getAddrs()[0]
        ?.getComponents()
        .find(part => part.name === 'tcp')
      return tcpPart?.value === undefined ? undefined : Number(tcpPart.value)
    },
    async stop() {
      const heartbeat = heartbeatTimer(gossip)
      await libp2p.stop()
      releaseTimers(parts.addresses, heartbeat)
    }
  }
}

/**
 * Two timers survive libp2p's own stop and would keep a finished process for up to a second: the address manager's
 * debounced update (started by the closing listener) and gossipsub's next heartbeat. Both do nothing any more when
 * they fire. They are private, so each is looked for and its absence is no error: what is lost is only that second.
 * A test that starts a process and waits for its end tells when they move.
 */
function releaseTimers(addresses: object, heartbeat: NodeJS.Timeout | undefined): void {
  const update = (addresses as { _updatePeerStoreAddresses?: { stop?: () => void } })._updatePeerStoreAddresses
  update?.stop?.()
  clearTimeout(heartbeat)
}

function heartbeatTimer(gossip: object): NodeJS.Timeout | undefined {
  return (gossip as { status?: { heartbeatTimeout?: NodeJS.Timeout } }).status?.heartbeatTimeout
}
