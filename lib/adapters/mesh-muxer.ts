import './with-resolvers.ts'
import type { AbortOptions, CreateStreamOptions, MessageStream, Stream, StreamMuxerFactory } from '@libp2p/interface'
import { AbstractStream, type AbstractStreamInit, AbstractStreamMuxer, type SendResult } from '@libp2p/utils'
import type { Uint8ArrayList } from 'uint8arraylist'
import { ByteQueue } from './byte-queue.ts'
import { HEAD_BYTES, type MuxKind, MuxReader, PIECE_BYTES_MAX, writeHead } from './mux-wire.ts'
import { SealedWire } from './sealed-wire.ts'

/**
 * Many streams on one connection, in place of yamux.
 *
 * What a frame of a link needs is a head in front of it and a place in a queue. yamux through libp2p's streams costs
 * three queues, three events and twenty small objects a frame, and answers each with a window update that is encrypted
 * and written by itself. Here a frame that finds nothing before it goes from `write` to the socket in one copy, and one
 * that arrives goes from the socket to its reader as a view, with no event. Other protocols of libp2p take the way of
 * libp2p's own streams.
 *
 * Order of things when the socket takes no more: streams with something to send wait in a row. Each time the socket
 * has room the first sends one piece and goes to the end of the row, so a small frame stands behind what the socket
 * holds (`WIRE_BYTES_MAX`) and one piece of each other stream, not behind a large value.
 *
 * Credit: a stream may send `WINDOW_BYTES` beyond what its reader has consumed. It bounds what a reader that pauses
 * must hold, and what a large value may put in front of a small frame in the buffers of the kernel. It is given back
 * in halves of the window, so a thousand frames are answered once. A peer that sends more than its credit, or anything
 * else out of order, loses its connection.
 *
 * Measured before, with yamux and Noise, and now, in turns on two busy cores, as a share of the calls of bare TCP with
 * the same batches (`bench:transport`: 60 bytes there, 1 KB back), and in microseconds of both processors a call:
 *
 *     callers      1             16             64            256
 *     before   0.09  790    0.13  61     0.23  23     0.34  13.6
 *     now      0.3–0.7 170  0.54–0.64 14 0.58–0.70 9  0.36–0.68 6.5
 *
 * Alone, a call waited 545 µs and waits 119. What is left is the seal and the system's calls: of a busy process's time
 * this file has 1 %.
 *
 * Tried and left: windows of 256 KiB (a large value arrives half as fast) and 1 MiB (small frames beside it wait twice
 * as long); libp2p's own queues for what waits (8 MiB of small frames took 22 s to leave, now 0.6).
 *
 * Not promised: any liveness. Nothing is pinged here; the core listens for silence, and TCP's own keep-alive frees what
 * nobody uses.
 */
export const WINDOW_BYTES = 512 * 1024

/** Streams one peer may have open on one connection; a link takes two, libp2p's own protocols a handful. */
const STREAMS_MAX = 256

/** What waits is sent in pieces of this size, each a turn of its stream's. */
const PIECE_BYTES = 32 * 1024

const PROTOCOL = '/cachemesh-mux/1'

export function meshMuxer(): StreamMuxerFactory {
  return { protocol: PROTOCOL, createStreamMuxer: connection => new MeshMuxer(connection) }
}

interface MuxStreamInit extends AbstractStreamInit {
  readonly muxer: MeshMuxer
  readonly number: number
}

class MeshMuxer extends AbstractStreamMuxer<MuxStream> {
  readonly wire: SealedWire
  readonly #byNumber = new Map<number, MuxStream>()
  /** Streams that have something to send, in the order of their turns. */
  readonly #row = new Set<MuxStream>()
  readonly #dials: boolean
  #lastOwn: number
  #lastRemote = 0

  constructor(connection: MessageStream) {
    if (!(connection instanceof SealedWire)) throw new Error('the mesh muxer runs on a sealed wire')
    super(connection, { protocol: PROTOCOL, name: 'cachemesh:mux' })
    this.wire = connection
    this.#dials = connection.direction === 'outbound'
    this.#lastOwn = this.#dials ? -1 : 0
    const reader = new MuxReader({
      onHead: (kind, stream, number) => this.#onHead(kind, stream, number),
      onBytes: (stream, bytes) => this.#byNumber.get(stream)?.receive(bytes)
    })
    this.#read = chunk => {
      if (this.status !== 'closed' && !reader.push(chunk))
        this.wire.abort(new Error('the peer broke the muxer’s rules'))
    }
    connection.onChunk = this.#read
    connection.onRoom = () => this.#takeTurns()
  }

  readonly #read: (chunk: Uint8Array) => void

  /** What came before this muxer was made. */
  override onData(data: Uint8Array | Uint8ArrayList): void {
    for (const chunk of data instanceof Uint8Array ? [data] : data) this.#read(chunk)
  }

  override onCreateStream(options: CreateStreamOptions): MuxStream {
    this.#lastOwn += 2
    const stream = this.#make(this.#lastOwn, 'outbound', options)
    this.tell('open', stream.number, 0)
    return stream
  }

  tell(kind: MuxKind, stream: number, number: number): void {
    const head = Buffer.allocUnsafe(HEAD_BYTES)
    writeHead(head, kind, stream, number)
    this.wire.write(head)
  }

  /** This stream has more to send and is told when it is its turn. */
  wait(stream: MuxStream): void {
    this.#row.add(stream)
  }

  override async close(options?: AbortOptions): Promise<void> {
    await super.close(options)
    await this.wire.flush(options?.signal)
  }

  #takeTurns(): void {
    for (const stream of this.#row) {
      if (this.wire.isFull) return
      this.#row.delete(stream)
      stream.takeTurn()
    }
  }

  #make(number: number, direction: 'inbound' | 'outbound', options: CreateStreamOptions = {}): MuxStream {
    const stream = new MuxStream({
      ...options,
      // A protocol is known once it has been negotiated, and not before.
      protocol: '',
      id: `${number}`,
      number,
      direction,
      muxer: this,
      log: this.log.newScope(`${direction}:${number}`),
      // A reader never holds more than the credit it has given.
      maxReadBufferLength: 2 * WINDOW_BYTES,
      maxWriteBufferLength: WRITE_BYTES_MAX
    })
    this.#byNumber.set(number, stream)
    stream.addEventListener('close', () => {
      stream.dropQueued()
      this.#byNumber.delete(number)
      this.#row.delete(stream)
    })
    return stream
  }

  #onHead(kind: MuxKind, number: number, bytes: number): boolean {
    if (kind === 'open') return this.#onOpen(number)
    // Of a stream that has ended here the peer may still send until it hears so; one it never opened it may not name.
    const stream = this.#byNumber.get(number)
    if (stream === undefined) return number <= (this.#isOwn(number) ? this.#lastOwn : this.#lastRemote)
    switch (kind) {
      case 'data':
        return stream.mayReceive(bytes)
      case 'credit':
        return stream.onCredit(bytes)
      case 'fin':
        stream.onRemoteCloseWrite()
        return true
      case 'reset':
        stream.onRemoteReset()
        return true
    }
  }

  #onOpen(number: number): boolean {
    if (this.#isOwn(number) || number <= this.#lastRemote) return false
    this.#lastRemote = number
    if (this.#byNumber.size >= STREAMS_MAX) this.tell('reset', number, 0)
    else this.onRemoteStream(this.#make(number, 'inbound'))
    return true
  }

  #isOwn(number: number): boolean {
    return (number % 2 === 1) === this.#dials
  }
}

/** All streams of a member's connections are of this kind. */
export function asMuxStream(stream: Stream): MuxStream {
  if (stream instanceof MuxStream) return stream
  throw new Error('a stream was not made by the mesh muxer')
}

/** What libp2p's own protocols may have waiting: over it the stream is reset. */
const WRITE_BYTES_MAX = 8 * 1024 * 1024

export class MuxStream extends AbstractStream {
  /** Takes what arrives from now on without an event; what came before comes as one. */
  onBytes: ((bytes: Uint8Array) => void) | undefined
  readonly number: number
  readonly #muxer: MeshMuxer
  readonly #queue = new ByteQueue()
  #sendCredit = WINDOW_BYTES
  #receiveCredit = WINDOW_BYTES
  #isTurn = false

  constructor(init: MuxStreamInit) {
    super({ ...init, maxMessageSize: PIECE_BYTES })
    this.#muxer = init.muxer
    this.number = init.number
  }

  // Sending ---------------------------------------------------------------------------------------------------------

  /** Both parts as one, at once if nothing stands before them, and otherwise when their turn comes. */
  write(head: Uint8Array, body: Uint8Array): void {
    if (this.writeStatus !== 'writable') throw new Error(`the stream is ${this.writeStatus}`)
    const bytes = head.byteLength + body.byteLength
    if (this.#mayPass(bytes)) {
      const whole = this.#piece(bytes)
      whole.set(head, HEAD_BYTES)
      whole.set(body, HEAD_BYTES + head.byteLength)
      this.#muxer.wire.write(whole)
      return
    }
    this.#queue.push(head)
    this.#queue.push(body)
    while (this.#sendQueued());
    if (this.#sendCredit > 0) this.#muxer.wait(this)
  }

  /** Of `write`; what libp2p has sent is counted by `writeBufferLength`. */
  get queuedBytes(): number {
    return this.#queue.byteLength + this.writeBuffer.byteLength
  }

  /** One piece, if there is one and credit and room for it. */
  #sendQueued(): boolean {
    const bytes = Math.min(PIECE_BYTES, this.#queue.byteLength, this.#sendCredit)
    if (bytes === 0 || this.writeBuffer.byteLength > 0 || this.#muxer.wire.isFull) return false
    const whole = this.#piece(bytes)
    this.#queue.take(bytes, whole, HEAD_BYTES)
    this.#muxer.wire.write(whole)
    return true
  }

  /** Called by libp2p with a piece of what waits. Takes what credit and room allow, and one piece a turn. */
  override sendData(data: Uint8ArrayList): SendResult {
    const { wire } = this.#muxer
    const bytes = data.byteLength
    const sentBytes = wire.isFull ? 0 : Math.min(data.byteLength, this.#sendCredit)
    if (sentBytes > 0) {
      const whole = this.#piece(sentBytes)
      let at = HEAD_BYTES
      for (const part of sentBytes === bytes ? data : data.sublist(0, sentBytes)) {
        whole.set(part, at)
        at += part.byteLength
      }
      wire.write(whole)
    }
    const isTurnOver = this.#isTurn && this.writeBuffer.byteLength > 0
    const canSendMore = sentBytes === bytes && !wire.isFull && !isTurnOver
    // Without credit it is the peer who decides when to go on.
    if (!canSendMore && (this.#sendCredit > 0 || sentBytes === bytes)) this.#muxer.wait(this)
    return { sentBytes, canSendMore }
  }

  takeTurn(): void {
    const hadQueued = this.#queue.byteLength > 0
    this.#sendQueued()
    if (this.#queue.byteLength > 0 && this.#sendCredit > 0) this.#muxer.wait(this)
    if (hadQueued) this.safeDispatchEvent('drain')
    else this.#continueSending()
  }

  #continueSending(): void {
    this.writableNeedsDrain = false
    this.#isTurn = true
    try {
      this.processSendQueue()
    } finally {
      this.#isTurn = false
    }
    if (!this.writableNeedsDrain) this.safeDispatchEvent('drain')
  }

  onCredit(bytes: number): boolean {
    const hadNone = this.#sendCredit === 0
    this.#sendCredit += bytes
    if (this.#sendCredit > WINDOW_BYTES) return false
    if (hadNone && this.queuedBytes > 0) this.#muxer.wait(this)
    if (!this.#muxer.wire.isFull) this.#muxer.wire.onRoom()
    return true
  }

  #mayPass(bytes: number): boolean {
    return (
      bytes <= this.#sendCredit &&
      bytes <= PIECE_BYTES_MAX &&
      this.queuedBytes === 0 &&
      !this.writableNeedsDrain &&
      !this.#muxer.wire.isFull
    )
  }

  #piece(bytes: number): Buffer {
    const whole = Buffer.allocUnsafe(HEAD_BYTES + bytes)
    writeHead(whole, 'data', this.number, bytes)
    this.#sendCredit -= bytes
    return whole
  }

  // Receiving -------------------------------------------------------------------------------------------------------

  mayReceive(bytes: number): boolean {
    this.#receiveCredit -= bytes
    return this.#receiveCredit >= 0
  }

  receive(bytes: Uint8Array): void {
    if (this.onBytes !== undefined && this.readBuffer.byteLength === 0 && this.readStatus === 'readable') {
      this.onBytes(bytes)
      this.#grant()
    } else this.onData(bytes)
  }

  protected override dispatchReadBuffer(): void {
    super.dispatchReadBuffer()
    this.#grant()
  }

  #grant(): void {
    const consumedBytes = WINDOW_BYTES - this.#receiveCredit - this.readBuffer.byteLength
    if (consumedBytes < WINDOW_BYTES / 2 || this.remoteWriteStatus !== 'writable') return
    this.#receiveCredit += consumedBytes
    this.#muxer.tell('credit', this.number, consumedBytes)
  }

  // Ends ------------------------------------------------------------------------------------------------------------

  override async close(options?: AbortOptions): Promise<void> {
    if (this.#queue.byteLength > 0) await this.#emptied(options?.signal)
    await super.close(options)
  }

  dropQueued(): void {
    this.#queue.clear()
  }

  /** Resolves when nothing waits any more, sent or lost. */
  async #emptied(signal: AbortSignal | undefined): Promise<void> {
    while (this.#queue.byteLength > 0 && this.status === 'open') {
      await new Promise<void>((resolve, reject) => {
        const onAbort = () => reject(signal?.reason)
        const onEvent = () => {
          signal?.removeEventListener('abort', onAbort)
          resolve()
        }
        this.addEventListener('drain', onEvent, { once: true })
        this.addEventListener('close', onEvent, { once: true })
        signal?.addEventListener('abort', onAbort, { once: true })
      })
    }
  }

  override async sendCloseWrite(): Promise<void> {
    this.#muxer.tell('fin', this.number, 0)
  }

  override sendReset(): void {
    this.#muxer.tell('reset', this.number, 0)
  }

  /** As with yamux: the peer is not told, and what it sends is dropped. */
  override async sendCloseRead(): Promise<void> {}
  /** Credit that is not given back is the pause. */
  override sendPause(): void {}
  override sendResume(): void {}
}
