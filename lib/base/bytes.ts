/**
 * Writing and reading fixed binary layouts: little-endian numbers, text and bytes behind a 32-bit length.
 *
 * The reader trusts nothing. Every length is checked against the cap its caller names and against what is left
 * before anything is allocated, so a hostile length costs a comparison and not a gigabyte.
 */
const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Up to here text is written and read unit by unit. Keys and names are short and plain ASCII nearly always, and for
 * those the way into the platform's own encoder costs several times the work itself.
 */
const SHORT_TEXT = 96

/** Bytes from outside do not have the shape they must have. The link they came over is closed and counted. */
export class Malformed extends Error {
  constructor(what: string) {
    super(`malformed bytes: ${what}`)
    this.name = 'Malformed'
  }
}

export class ByteWriter {
  #bytes: Uint8Array
  #view: DataView
  #length = 0

  constructor(capacity = 512) {
    this.#bytes = uninitialised(capacity)
    this.#view = viewOf(this.#bytes)
  }

  get length(): number {
    return this.#length
  }

  u8(value: number): void {
    this.#room(1)
    this.#bytes[this.#length++] = value
  }

  u32(value: number): void {
    this.#room(4)
    this.#view.setUint32(this.#length, value, true)
    this.#length += 4
  }

  f64(value: number): void {
    this.#room(8)
    this.#view.setFloat64(this.#length, value, true)
    this.#length += 8
  }

  bytes(value: Uint8Array): void {
    this.u32(value.length)
    this.raw(value)
  }

  raw(value: Uint8Array): void {
    this.#room(value.length)
    this.#bytes.set(value, this.#length)
    this.#length += value.length
  }

  text(value: string): void {
    this.#room(4 + value.length * 3)
    if (value.length <= SHORT_TEXT && this.#plainText(value)) return
    const { written } = encoder.encodeInto(value, this.#bytes.subarray(this.#length + 4))
    this.#view.setUint32(this.#length, written, true)
    this.#length += 4 + written
  }

  /** Fills in a number written earlier as a placeholder. */
  patchU32(at: number, value: number): void {
    this.#view.setUint32(at, value, true)
  }

  patchF64(at: number, value: number): void {
    this.#view.setFloat64(at, value, true)
  }

  /** False at the first unit that is not ASCII: then nothing counts as written. */
  #plainText(value: string): boolean {
    const bytes = this.#bytes
    const { length } = value
    const at = this.#length + 4
    for (let i = 0; i < length; i++) {
      const unit = value.charCodeAt(i)
      if (unit > 0x7f) return false
      bytes[at + i] = unit
    }
    this.#view.setUint32(this.#length, length, true)
    this.#length = at + length
    return true
  }

  /** What was written, without a copy: the writer must not be used again. */
  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  #room(more: number): void {
    const needed = this.#length + more
    if (needed <= this.#bytes.length) return
    const grown = uninitialised(Math.max(needed, this.#bytes.length * 2))
    grown.set(this.#bytes.subarray(0, this.#length))
    this.#bytes = grown
    this.#view = viewOf(grown)
  }
}

/** The text that `sameText` read last, and its bytes. */
export interface LastText {
  text: string
  bytes: Uint8Array
}

export class ByteReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  /** The same bytes, made when text is first read: only a Buffer turns a part of itself into text without a copy. */
  #buffer: Buffer | undefined
  #at = 0
  #end: number

  constructor(bytes: Uint8Array) {
    this.#bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#view = viewOf(bytes)
    this.#end = bytes.length
  }

  get left(): number {
    return this.#end - this.#at
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1))
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true)
  }

  f64(): number {
    return this.#view.getFloat64(this.#take(8), true)
  }

  /** A length that must be at most `max`; it is checked before anything is made of it. */
  length(max: number, what: string): number {
    const length = this.u32()
    if (length > max) throw new Malformed(`${what} of ${length}, at most ${max} allowed`)
    return length
  }

  /** A view: whoever keeps it for longer than the moment copies it, or it pins the whole frame it came in. */
  bytes(max: number, what: string): Uint8Array {
    const length = this.length(max, what)
    // A view is a hundred bytes of its own: for nothing there is one for all.
    if (length === 0) return NOTHING
    const at = this.#take(length)
    return this.#bytes.subarray(at, at + length)
  }

  text(max: number, what: string): string {
    const length = this.length(max, what)
    const at = this.#take(length)
    if (length <= SHORT_TEXT && this.#isPlain(at, at + length)) return this.#plain(at, at + length)
    return this.#decoded(at, at + length, what)
  }

  /**
   * Text that is likely to be the same as last time, as the name of a cache is in every message of a frame. Comparing
   * is cheaper than making a new string, and whoever looks the name up finds one whose hash is known.
   */
  sameText(max: number, what: string, last: LastText): string {
    const length = this.length(max, what)
    const at = this.#take(length)
    if (last.bytes.length === length && this.#equals(last.bytes, at)) return last.text
    last.text = this.#decoded(at, at + length, what)
    last.bytes = this.#bytes.slice(at, at + length)
    return last.text
  }

  #decoded(from: number, to: number, what: string): string {
    try {
      return decoder.decode(this.#bytes.subarray(from, to))
    } catch (cause) {
      throw new Malformed(`${what} is not UTF-8 (${(cause as Error).name})`)
    }
  }

  #plain(from: number, to: number): string {
    const { buffer, byteOffset, byteLength } = this.#bytes
    this.#buffer ??= Buffer.from(buffer, byteOffset, byteLength)
    return this.#buffer.toString('latin1', from, to)
  }

  #isPlain(from: number, to: number): boolean {
    for (let i = from; i < to; i++) if ((this.#bytes[i] as number) > 0x7f) return false
    return true
  }

  #equals(other: Uint8Array, at: number): boolean {
    for (let i = 0; i < other.length; i++) if (other[i] !== this.#bytes[at + i]) return false
    return true
  }

  /** From here on nothing is read beyond the next `length` bytes; the answer is the end until now, for `widen`. */
  narrow(length: number): number {
    const until = this.#end
    if (length > this.left) throw new Malformed(`${length} bytes wanted, ${this.left} left`)
    this.#end = this.#at + length
    return until
  }

  widen(end: number): void {
    this.#end = end
  }

  end(what: string): void {
    if (this.left !== 0) throw new Malformed(`${this.left} bytes too many after ${what}`)
  }

  #take(count: number): number {
    if (count > this.left) throw new Malformed(`${count} bytes wanted, ${this.left} left`)
    const at = this.#at
    this.#at += count
    return at
  }
}

const NOTHING = new Uint8Array(0)

/** Every byte of it is written before any is read. */
function uninitialised(capacity: number): Uint8Array {
  return Buffer.allocUnsafe(capacity)
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
