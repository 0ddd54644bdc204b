import type { Stream } from '@libp2p/interface'
import { asMuxStream, type MuxStream } from './mesh-muxer.ts'

/**
 * Frames over one libp2p stream: each is sent behind its length in four bytes, big-endian.
 *
 * A stream keeps the order of bytes but not their division: what one `send` gave may arrive in many pieces, and many
 * sends in one. A frame that lies within one piece is handed on without a copy, as a view of it; it belongs to the
 * receiver, but keeping it keeps the piece (up to 16 KiB), so what is stored for long should be copied.
 *
 * A stream ends when it closes here, when the other side closes its half, or when it breaks the rules; `onEnd` says so
 * once. It does not come after an `abort` or `close` of our own.
 *
 * Not promised: any pace of reading. Frames are handed on as they arrive; who receives bounds its own work.
 */
export interface FrameStreamEvents {
  onFrame(frame: Uint8Array): void
  onEnd(reason: string): void
  /** After `send` had refused: there is room again. May come from inside another call, so only to take note. */
  onRoom(): void
}

/** What may wait in one stream, here and nowhere below but for 128 KiB in the socket. One frame larger than that is taken when nothing else waits. */
const QUEUED_BYTES_MAX = 8 * 1024 * 1024

/** Room is told when this little waits, so that a sender that was refused can send more than one frame. */
const ROOM_BYTES = QUEUED_BYTES_MAX / 2

const HEADER_BYTES = 4

/** A frame that comes in pieces grows by this factor, from this size on: one of a megabyte is copied a quarter more. */
const ROOM_FACTOR = 8
const ROOM_BYTES_MIN = 32 * 1024

export class FrameStream {
  readonly #stream: MuxStream
  readonly #reader: FrameReader
  #events: FrameStreamEvents | undefined
  #refused = false

  constructor(opened: Stream, frameBytesMax: number, events: FrameStreamEvents) {
    const stream = asMuxStream(opened)
    this.#stream = stream
    this.#events = events
    this.#reader = new FrameReader(frameBytesMax, frame => this.#events?.onFrame(frame))
    // What came before there was a frame stream.
    stream.addEventListener('message', event => {
      for (const piece of event.data instanceof Uint8Array ? [event.data] : event.data) this.#onBytes(piece)
    })
    stream.onBytes = bytes => this.#onBytes(bytes)
    stream.addEventListener('close', event => this.#end(event.error?.message ?? 'the connection closed'))
    stream.addEventListener('remoteCloseWrite', () => this.#end('the peer closed the link'))
    stream.addEventListener('drain', () => this.#onRoom())
  }

  /** From now on somebody else listens, and frames may be that long. Does nothing at the end of the stream. */
  handTo(events: FrameStreamEvents, frameBytesMax: number): void {
    if (this.#events === undefined) return
    this.#events = events
    this.#reader.frameBytesMax = frameBytesMax
  }

  /** False once both sides have closed it, or one has reset it. */
  get isOpen(): boolean {
    return this.#stream.status === 'open'
  }

  /** False: not taken, because too much waits or the stream is at its end. */
  send(frame: Uint8Array): boolean {
    if (this.#events === undefined || this.#stream.status !== 'open') return false
    const queuedBytes = this.#stream.queuedBytes
    if (queuedBytes > 0 && queuedBytes + frame.byteLength > QUEUED_BYTES_MAX) {
      this.#refused = true
      return false
    }
    try {
      this.#write(frame)
      return true
    } catch {
      // A stream throws when it closes between the check and the write; its close event tells the rest.
      return false
    }
  }

  /** Says that nothing more comes; what waits is still sent. */
  close(): void {
    this.#events = undefined
    this.#stream.close({ signal: AbortSignal.timeout(CLOSE_MS_MAX) }).catch((error: unknown) => {
      // The peer took nothing within the deadline, or the connection went away meanwhile: the abort frees the stream
      // in the first case and does nothing in the second.
      this.#stream.abort(error instanceof Error ? error : new Error('the link was closed'))
    })
  }

  abort(reason: string): void {
    this.#events = undefined
    this.#stream.abort(new Error(reason))
  }

  #write(frame: Uint8Array): void {
    const header = Buffer.allocUnsafe(HEADER_BYTES)
    header.writeUInt32BE(frame.byteLength)
    this.#stream.write(header, frame)
  }

  #onBytes(bytes: Uint8Array): void {
    // A frame's receiver may have ended the link; what follows it was never for the next one.
    if (this.#events === undefined || this.#reader.push(bytes, () => this.#events !== undefined)) return
    // In this order: the abort tells of a close, and the listener should hear the reason instead.
    this.#end('the peer announced a frame over the limit')
    this.#stream.abort(new Error('frame over the limit'))
  }

  #onRoom(): void {
    if (!this.#refused || this.#stream.queuedBytes > ROOM_BYTES) return
    this.#refused = false
    this.#events?.onRoom()
  }

  #end(reason: string): void {
    const events = this.#events
    this.#events = undefined
    events?.onEnd(reason)
  }
}

const CLOSE_MS_MAX = 1_000

/** Puts frames together from pieces of any size. */
export class FrameReader {
  /** A longer one is refused on sight of its length, before memory is taken for it. */
  frameBytesMax: number
  readonly #onFrame: (frame: Uint8Array) => void
  readonly #header = Buffer.alloc(HEADER_BYTES)
  #headerBytes = 0
  #body: Buffer | undefined
  #bodyBytes = 0
  #frameBytes = 0

  constructor(frameBytesMax: number, onFrame: (frame: Uint8Array) => void) {
    this.frameBytesMax = frameBytesMax
    this.#onFrame = onFrame
  }

  /** False: a frame is over the limit, and nothing that follows can be made sense of. */
  push(piece: Uint8Array, wanted: () => boolean = () => true): boolean {
    let at = 0
    while (at < piece.byteLength && wanted()) {
      if (this.#body === undefined) {
        at += this.#readHeader(piece, at)
        if (this.#headerBytes < HEADER_BYTES) return true
        const frameBytes = this.#header.readUInt32BE()
        if (frameBytes > this.frameBytesMax) return false
        at += this.#begin(piece, at, frameBytes)
      } else at += this.#readBody(piece, at, this.#body)
    }
    return true
  }

  #readHeader(piece: Uint8Array, at: number): number {
    const taken = Math.min(HEADER_BYTES - this.#headerBytes, piece.byteLength - at)
    this.#header.set(piece.subarray(at, at + taken), this.#headerBytes)
    this.#headerBytes += taken
    return taken
  }

  #begin(piece: Uint8Array, at: number, frameBytes: number): number {
    this.#headerBytes = 0
    if (piece.byteLength - at >= frameBytes) {
      this.#onFrame(piece.subarray(at, at + frameBytes))
      return frameBytes
    }
    this.#frameBytes = frameBytes
    this.#bodyBytes = 0
    this.#body = Buffer.allocUnsafeSlow(this.#roomFor(piece.byteLength - at))
    return 0
  }

  /** Room for a few times of what has come, not for what was announced: four bytes can announce sixteen megabytes. */
  #roomFor(bytes: number): number {
    return Math.min(this.#frameBytes, Math.max(ROOM_BYTES_MIN, bytes * ROOM_FACTOR))
  }

  #readBody(piece: Uint8Array, at: number, started: Buffer): number {
    const taken = Math.min(this.#frameBytes - this.#bodyBytes, piece.byteLength - at)
    const body = this.#withRoom(started, this.#bodyBytes + taken)
    body.set(piece.subarray(at, at + taken), this.#bodyBytes)
    this.#bodyBytes += taken
    const isWhole = this.#bodyBytes === this.#frameBytes
    this.#body = isWhole ? undefined : body
    if (isWhole) this.#onFrame(body)
    return taken
  }

  #withRoom(body: Buffer, bytes: number): Buffer {
    if (bytes <= body.byteLength) return body
    const larger = Buffer.allocUnsafeSlow(this.#roomFor(bytes))
    larger.set(body.subarray(0, this.#bodyBytes))
    return larger
  }
}
