/**
 * Three ways from one process to another that carry the same bytes: the real transport, TCP with the same batching, and
 * TCP with a write for each message. A message is its length, the number of its call and a body.
 */
import { connect, type Socket } from 'node:net'
import { libp2pAdapters } from '../../lib/adapters/libp2p-transport.ts'
import { noLog } from '../../lib/ports/log.ts'
import type { Lane, Transport } from '../../lib/ports/transport.ts'

export const REQUEST_BYTES = 60
export const REPLY_BYTES = 1024
export const LARGE_BYTES = 1024 * 1024
/** The number of a call that asks for one large frame on the bulk lane. */
export const LARGE_CALL = 0xffff_ffff

/** As the core has it. */
const FRAME_BYTES_MAX = 60 * 1024
const MESSAGE_HEAD_BYTES = 8

export type LineKind = 'mesh' | 'tcp, batched' | 'tcp, each alone'
export const LINE_KINDS: readonly LineKind[] = ['mesh', 'tcp, batched', 'tcp, each alone']

export interface Line {
  send(frame: Uint8Array, lane?: Lane): boolean
}

type OnFrame = (frame: Uint8Array, lane: Lane) => void

/** Messages of one turn leave as one frame, at the same point of the turn as in the core. */
export class Batch {
  readonly #line: Line
  readonly #alone: boolean
  #open: Buffer | undefined
  #bytes = 0
  #frames: Uint8Array[] = []

  constructor(line: Line, alone: boolean) {
    this.#line = line
    this.#alone = alone
  }

  add(call: number, body: Uint8Array): void {
    const bytes = MESSAGE_HEAD_BYTES + body.byteLength
    if (this.#open === undefined) {
      if (this.#frames.length === 0) setImmediate(() => this.#flush())
      this.#begin()
    } else if (this.#alone || this.#bytes + bytes > FRAME_BYTES_MAX) this.#begin()
    const to = this.#room(bytes)
    to.writeUInt32LE(body.byteLength, this.#bytes)
    to.writeUInt32LE(call, this.#bytes + 4)
    to.set(body, this.#bytes + MESSAGE_HEAD_BYTES)
    this.#bytes += bytes
  }

  #begin(): void {
    this.#end()
    this.#open = Buffer.allocUnsafe(1024)
    this.#bytes = 0
  }

  /** Grows as the core's frames do. */
  #room(bytes: number): Buffer {
    const open = this.#open as Buffer
    if (this.#bytes + bytes <= open.length) return open
    this.#open = Buffer.allocUnsafe(Math.max(this.#bytes + bytes, 2 * open.length))
    this.#open.set(open.subarray(0, this.#bytes))
    return this.#open
  }

  #end(): void {
    if (this.#open !== undefined) this.#frames.push(this.#open.subarray(0, this.#bytes))
    this.#open = undefined
  }

  #flush(): void {
    this.#end()
    const frames = this.#frames
    this.#frames = []
    for (const frame of frames) if (!this.#line.send(frame)) throw new Error('the benchmark filled a line')
  }
}

export function readMessages(frame: Uint8Array, onMessage: (call: number, body: Uint8Array) => void): void {
  const from = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength)
  for (let at = 0; at < from.length; ) {
    const bytes = from.readUInt32LE(at)
    const body = from.subarray(at + MESSAGE_HEAD_BYTES, at + MESSAGE_HEAD_BYTES + bytes)
    onMessage(from.readUInt32LE(at + 4), body)
    at += MESSAGE_HEAD_BYTES + bytes
  }
}

const MESH = { mesh: 'bench', secrets: ['a secret of at least thirty-two bytes, for a benchmark'], log: noLog }

export async function meshLine(listen: boolean, onFrame: (peer: string, frame: Uint8Array, lane: Lane) => void) {
  const { transport } = await libp2pAdapters({ ...MESH, listen: listen ? '127.0.0.1:0' : false })
  const [address] = await transport.start({
    onUp() {},
    onDown() {},
    onDrain() {},
    onFrame: (peer, lane, frame) => onFrame(peer, frame, lane)
  })
  return { transport, address }
}

export function meshTo(transport: Transport, peer: string): Line {
  return { send: (frame, lane = 'data') => transport.send(peer, lane, frame) }
}

export function tcpLine(socket: Socket, onFrame: OnFrame): Line {
  socket.setNoDelay(true)
  socket.on('error', () => {})
  let rest: Buffer<ArrayBufferLike> = Buffer.alloc(0)
  socket.on('data', chunk => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    let at = 0
    for (; rest.length - at >= 4; ) {
      const end = at + 4 + rest.readUInt32BE(at)
      if (end > rest.length) break
      onFrame(rest.subarray(at + 4, end), 'data')
      at = end
    }
    rest = rest.subarray(at)
  })
  return {
    send(frame) {
      const whole = Buffer.allocUnsafe(4 + frame.byteLength)
      whole.writeUInt32BE(frame.byteLength)
      whole.set(frame, 4)
      socket.write(whole)
      return true
    }
  }
}

export async function dialTcp(port: number, onFrame: OnFrame): Promise<{ line: Line; socket: Socket }> {
  const socket = connect(port, '127.0.0.1')
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('error', reject)
  })
  return { line: tcpLine(socket, onFrame), socket }
}
