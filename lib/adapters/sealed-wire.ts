import './with-resolvers.ts'
import type { TLSSocket } from 'node:tls'
import type { AbortOptions, MessageStream } from '@libp2p/interface'
import { AbstractMessageStream, type SendResult } from '@libp2p/utils'
import type { Uint8ArrayList } from 'uint8arraylist'

/**
 * A connection whose bytes are sealed by the socket itself (see mesh-seal.ts).
 *
 * To libp2p it is a message stream like any other. The muxer, its only user, takes the short way: `write` gives bytes to
 * the socket, `onChunk` brings what came, `onRoom` tells that `isFull` has ended.
 *
 * Node's TLS socket takes the first write of a turn at once and gathers the others for the next.
 *
 * A connection ends with the end of TCP, without a farewell of TLS: who can cut the one can cut the other, and what was
 * lost with it is lost to the core in either case. The sockets beneath belong to libp2p, which closes them.
 */

/** What may wait in the socket: enough to keep it busy for a turn, little enough to be in front of an urgent frame. */
export const WIRE_BYTES_MAX = 128 * 1024

export class SealedWire extends AbstractMessageStream {
  onChunk: ((chunk: Uint8Array) => void) | undefined
  onRoom: () => void = () => {}
  readonly #below: MessageStream
  readonly #socket: TLSSocket

  constructor(below: MessageStream, socket: TLSSocket) {
    super({ log: below.log, direction: below.direction })
    this.#below = below
    this.#socket = socket
    socket.on('data', chunk => (this.onChunk === undefined ? this.onData(chunk) : this.onChunk(chunk)))
    socket.on('drain', () => {
      this.onRoom()
      this.safeDispatchEvent('drain')
    })
    socket.on('end', () => this.onTransportClosed())
    socket.on('close', () => this.onTransportClosed())
    socket.on('error', error => this.abort(error))
    below.addEventListener('close', event => {
      if (event.error === undefined) this.onTransportClosed()
      else if (event.local === true) this.abort(event.error)
      else this.onRemoteReset()
    })
  }

  /** What waits here is all that can be in front of a frame that is urgent. */
  get isFull(): boolean {
    return this.#socket.writableLength >= WIRE_BYTES_MAX
  }

  /** The bytes belong to the socket. On a socket that has gone they are dropped: its end is told by its own event. */
  write(bytes: Uint8Array): void {
    if (this.#socket.writable) this.#socket.write(bytes)
  }

  /** Resolves when all that was written is with the kernel, or never will be. */
  flush(signal?: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      const socket = this.#socket
      if (socket.writableLength === 0 || !socket.writable) return resolve()
      const done = () => {
        socket.off('close', done)
        signal?.removeEventListener('abort', done)
        resolve()
      }
      socket.on('close', done)
      signal?.addEventListener('abort', done)
      socket.write(NOTHING, done)
    })
  }

  override sendData(data: Uint8ArrayList): SendResult {
    for (const part of data) this.write(part)
    return { sentBytes: data.byteLength, canSendMore: !this.isFull }
  }

  override async close(options?: AbortOptions): Promise<void> {
    await this.flush(options?.signal)
    await this.#below.close(options)
  }

  override sendReset(error: Error): void {
    this.#below.abort(error)
  }

  override sendPause(): void {
    this.#socket.pause()
  }

  override sendResume(): void {
    this.#socket.resume()
  }
}

const NOTHING = new Uint8Array(0)
