/**
 * Writing and reading fixed binary layouts: little-endian numbers, text and bytes behind a 32-bit length.
 *
 * The reader trusts nothing. Every length is checked against the cap its caller names and against what is left
 * before anything is allocated, so a hostile length costs a comparison and not a gigabyte.
 */
const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

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
    this.#bytes = new Uint8Array(capacity)
    this.#view = new DataView(this.#bytes.buffer)
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

  /** What was written, without a copy: the writer must not be used again. */
  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  #room(more: number): void {
    const needed = this.#length + more
    if (needed <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2))
    grown.set(this.#bytes.subarray(0, this.#length))
    this.#bytes = grown
    this.#view = new DataView(grown.buffer)
  }
}

export class ByteReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at: number
  readonly #end: number

  constructor(bytes: Uint8Array, from = 0, to = bytes.length) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#at = from
    this.#end = to
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

  /** A copy: what is kept must not pin the frame it came in. */
  bytes(max: number, what: string): Uint8Array {
    const length = this.length(max, what)
    const at = this.#take(length)
    return this.#bytes.slice(at, at + length)
  }

  text(max: number, what: string): string {
    const length = this.length(max, what)
    const at = this.#take(length)
    try {
      return decoder.decode(this.#bytes.subarray(at, at + length))
    } catch (cause) {
      throw new Malformed(`${what} is not UTF-8 (${(cause as Error).name})`)
    }
  }

  /** A reader of the next `length` bytes, which this one then passes over. */
  part(length: number): ByteReader {
    const at = this.#take(length)
    return new ByteReader(this.#bytes, at, at + length)
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
