import './with-resolvers.ts'
import { constants, hkdfSync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Socket } from 'node:net'
import {
  connect,
  createSecureContext,
  createServer,
  type SecureContextOptions,
  type Server,
  type TLSSocket
} from 'node:tls'
import type { MessageStream } from '@libp2p/interface'
import { byteStream } from '@libp2p/utils'
import { CONNECT_MS_MAX } from '../ports/transport.ts'
import { SealedWire } from './sealed-wire.ts'

/**
 * From the Noise handshake on, the socket itself seals what travels: TLS 1.3 with a key that only these two know.
 *
 *     dialer                                   listener
 *     ─────────── Noise XX, see mesh-noise.ts ───────────
 *     32 random bytes ───── through Noise ────▶
 *           ◀───────────── through Noise ───── 32 random bytes
 *     ═══════ TLS 1.3, pre-shared key = HKDF(both) ═══════
 *
 * Why it is as strong as Noise alone. Who is admitted, and as which peer, is decided by Noise as before: a stranger
 * fails there and never speaks TLS. The key of TLS is made of bytes that were encrypted under Noise's forward-secret
 * keys, both sides put half of it in, and nobody else can know it; so whoever completes the TLS handshake, whose
 * binders prove the key in both directions, is who completed the Noise handshake. TLS mixes a fresh X25519 exchange in,
 * so both would have to be broken. Nothing in it is of our own making but the order of the two. There are no
 * certificates: a side that shows one instead of the key is refused, and none would be trusted.
 *
 * Why not Noise alone. Its messages are sealed one by one from JavaScript: four calls into OpenSSL a message, each with
 * objects to be freed, and two writes. TLS is sealed beneath the socket. Measured for 60 bytes there and 1 KB back,
 * in one run each, 1 caller (p50) and 64 callers (one batch of 64):
 *
 *     bare TCP                                      44 µs      64 µs
 *     TLS 1.3 or 1.2, AES-128-GCM                   62 µs     139 µs      ◀ this
 *     TLS 1.2, AES-256-GCM                          60 µs     140 µs
 *     TLS 1.2, ChaCha20-Poly1305                    61 µs     168 µs
 *     sealed by hand, node:crypto ChaCha20, 60 KiB  85 µs     199 µs
 *     the same, pieces of 16 KiB                    84 µs     207 µs
 *     sealed by hand, node:crypto AES-256-GCM       83 µs     171 µs
 *
 * One seal of 80 B / 1.1 KB / 60 KB in a tight loop: node:crypto ChaCha20 6 / 5.5 / 39 µs, AES-GCM 4.5 / 5.5 / 24 µs,
 * the WebAssembly of libp2p-noise 2.4 / 12 / 549 µs, plain JavaScript 8 / 20 / 577 µs.
 *
 * Limits. Noise here may seal 2^32 messages in each direction and is now used for a handful. Of AES-GCM, RFC 8446 (5.5)
 * asks for a new key after 2^24.5 full records, 388 GB in one direction, to keep an observer's advantage under 2^-60;
 * Node has no call for that. Past it the advantage grows with the square: 2^-45 after 70 TB on one connection.
 *
 * Reached inside: the socket of a connection of @libp2p/tcp is its private field `socket`. A test tells when it moves.
 */
const SEAL: SecureContextOptions = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  // The second for machines whose processor does not know AES. With a key from outside, both hash with SHA-256.
  ciphers: 'TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256',
  // Nobody who shows a certificate is trusted, whoever signed it.
  ca: [],
  secureOptions: constants.SSL_OP_NO_TICKET
}

/** After so long without a byte the system asks whether the other machine still knows the connection. */
const KEEP_ALIVE_MS = 30_000

const SHARE_BYTES = 32
const KEY_BYTES = 32

/** TLS wants a name for the key. It says nothing: each connection has one key. */
const IDENTITY = 'cachemesh'

export interface Handover {
  /** The connection of @libp2p/tcp. */
  readonly below: MessageStream
  /** The same, sealed by Noise. */
  readonly noise: MessageStream
  readonly signal: AbortSignal | undefined
}

/** For the side that dialed. */
export async function sealOutbound({ below, noise, signal }: Handover): Promise<SealedWire> {
  const shares = byteStream(noise)
  const ours = randomBytes(SHARE_BYTES)
  await shares.write(ours, abortedBy(signal))
  const theirs = await shares.read({ bytes: SHARE_BYTES, ...abortedBy(signal) })
  const psk = keyOf(ours, theirs.subarray())
  // The listener says nothing more before it hears TLS, so nothing can come in between.
  const socket = connect({
    socket: takeSocket(below),
    secureContext: clientContext(),
    pskCallback: () => ({ psk, identity: IDENTITY }),
    checkServerIdentity: () => new Error('the peer showed a certificate instead of the key')
  })
  // An error in the moment between the end of waiting and what follows must find a listener, or it ends the process.
  socket.on('error', () => {})
  try {
    await once(socket, 'secureConnect', abortedBy(signal))
    if (!socket.isSessionReused()) throw new Error('the peer did not prove the key')
  } catch (error) {
    socket.destroy()
    throw error
  }
  return new SealedWire(below, socket)
}

/** For the side that listened. */
export async function sealInbound({ below, noise, signal }: Handover): Promise<SealedWire> {
  const shares = byteStream(noise)
  const theirs = await shares.read({ bytes: SHARE_BYTES, ...abortedBy(signal) })
  const ours = randomBytes(SHARE_BYTES)
  // Before the answer leaves: what comes after it is TLS and waits in the socket.
  const raw = takeSocket(below)
  await shares.write(ours, abortedBy(signal))
  await written(raw)
  return new Promise((resolve, reject) => {
    const ends = endsOf(raw)
    const settle = (outcome: () => void) => {
      awaited.delete(ends)
      signal?.removeEventListener('abort', onAbort)
      raw.off('close', onClose)
      outcome()
    }
    const fail = (error: Error) => {
      settle(() => reject(error))
      raw.destroy()
    }
    const onAbort = () => fail(signal?.reason)
    const onClose = () => fail(new Error('the connection closed in the handshake'))
    signal?.addEventListener('abort', onAbort)
    raw.once('close', onClose)
    const onSealed = (socket: TLSSocket) => settle(() => resolve(new SealedWire(below, socket)))
    awaited.set(ends, { psk: keyOf(theirs.subarray(), ours), onSealed })
    sealServer().emit('connection', raw)
  })
}

// The listener's half of TLS --------------------------------------------------------------------------------------------

interface Awaited {
  readonly psk: Buffer
  onSealed(socket: TLSSocket): void
}

/** Connections whose peer is about to begin TLS, by their two ends. Each is bounded by the deadline of its caller. */
const awaited = new Map<string, Awaited>()
let server: Server | undefined
let context: ReturnType<typeof createSecureContext> | undefined

/** It does not listen: connections are handed to it. */
function sealServer(): Server {
  if (server !== undefined) return server
  server = createServer({
    ...SEAL,
    handshakeTimeout: CONNECT_MS_MAX,
    pskCallback: socket => awaited.get(endsOf(socket))?.psk ?? null
  })
  server.on('secureConnection', socket => {
    const owner = awaited.get(endsOf(socket))
    // Given up in the meantime, with the socket beneath.
    if (owner === undefined) socket.destroy()
    else owner.onSealed(socket)
  })
  // Whose it was learns it from the close of the socket beneath.
  server.on('tlsClientError', (_error, socket) => socket.destroy())
  return server
}

/** What no two open connections have in common. */
function endsOf(socket: Socket): string {
  return `${socket.localAddress} ${socket.localPort} ${socket.remoteAddress} ${socket.remotePort}`
}

function clientContext() {
  context ??= createSecureContext(SEAL)
  return context
}

// Both ------------------------------------------------------------------------------------------------------------------

function keyOf(dialer: Uint8Array, listener: Uint8Array): Buffer {
  return Buffer.from(hkdfSync('sha256', Buffer.concat([dialer, listener]), '', 'cachemesh/1/seal', KEY_BYTES))
}

/** The socket beneath, from which libp2p hears nothing more but its end. */
function takeSocket(below: MessageStream): Socket {
  const socket: unknown = Reflect.get(below, 'socket')
  if (!(socket instanceof Socket))
    throw new Error('a connection of @libp2p/tcp has no socket in its field of that name')
  socket.pause()
  socket.removeAllListeners('data')
  // It would hear nothing, since all is read above it. The system's own sign of life takes its place.
  socket.setTimeout(0)
  socket.setKeepAlive(true, KEEP_ALIVE_MS)
  return socket
}

function written(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.write(NOTHING, error => (error ? reject(error) : resolve()))
  })
}

const NOTHING = new Uint8Array(0)

function abortedBy(signal: AbortSignal | undefined) {
  return signal === undefined ? {} : { signal }
}
