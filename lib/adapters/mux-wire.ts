/**
 * What two muxers say to each other: a head of nine bytes (kind, stream, number; big-endian), and after a `data` head as
 * many bytes as its number says.
 *
 *     open     the stream begins; its number is odd if the dialer opened it
 *     data     that many bytes of the stream follow
 *     credit   that many more bytes may be sent on the stream
 *     fin      nothing more comes on the stream
 *     reset    the stream is over, in both directions
 *
 * The reader hands bytes on as they arrive, as views of what arrived, and keeps nothing but an unfinished head; so it
 * never takes memory for what a head announces.
 */
export const HEAD_BYTES = 9

const KINDS = ['open', 'data', 'credit', 'fin', 'reset'] as const
export type MuxKind = (typeof KINDS)[number]

/** The most that one head may announce, so that frames of other streams find a gap. */
export const PIECE_BYTES_MAX = 64 * 1024

export function writeHead(to: Buffer, kind: MuxKind, stream: number, number: number): void {
  to[0] = KINDS.indexOf(kind)
  to.writeUInt32BE(stream, 1)
  to.writeUInt32BE(number, 5)
}

export interface MuxEvents {
  /** False: the peer breaks the rules. */
  onHead(kind: MuxKind, stream: number, number: number): boolean
  /** Bytes of the stream that the last `data` head named. */
  onBytes(stream: number, bytes: Uint8Array): void
}

export class MuxReader {
  readonly #events: MuxEvents
  readonly #head = Buffer.alloc(HEAD_BYTES)
  #headBytes = 0
  #stream = 0
  #bodyBytes = 0

  constructor(events: MuxEvents) {
    this.#events = events
  }

  /** False: nothing that follows can be made sense of. */
  push(chunk: Uint8Array): boolean {
    let at = 0
    while (at < chunk.byteLength) {
      if (this.#bodyBytes > 0) {
        const end = Math.min(at + this.#bodyBytes, chunk.byteLength)
        this.#bodyBytes -= end - at
        this.#events.onBytes(this.#stream, at === 0 && end === chunk.byteLength ? chunk : chunk.subarray(at, end))
        at = end
        continue
      }
      at += this.#takeHead(chunk, at)
      if (this.#headBytes === HEAD_BYTES && !this.#readHead()) return false
    }
    return true
  }

  #takeHead(chunk: Uint8Array, at: number): number {
    const taken = Math.min(HEAD_BYTES - this.#headBytes, chunk.byteLength - at)
    for (let i = 0; i < taken; i++) this.#head[this.#headBytes + i] = chunk[at + i] as number
    this.#headBytes += taken
    return taken
  }

  #readHead(): boolean {
    this.#headBytes = 0
    const kind = KINDS[this.#head[0] as number]
    if (kind === undefined) return false
    this.#stream = this.#head.readUInt32BE(1)
    const number = this.#head.readUInt32BE(5)
    if (kind === 'data') {
      if (number > PIECE_BYTES_MAX) return false
      this.#bodyBytes = number
    }
    return this.#events.onHead(kind, this.#stream, number)
  }
}
