/**
 * The floor: the same bytes over one bare TCP connection, and nothing else. A request is a number, a length and a key;
 * the answer is the number, a length and the value. All that is asked in one turn leaves in one write, and all that one
 * read brings is answered in one write, as a good protocol would do it. No encryption, no map, no placement.
 */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

const HEADER_BYTES = 8

export async function startEcho(valueBytes: number): Promise<{ port: number; server: Server }> {
  const value = Buffer.alloc(valueBytes, 7)
  const server = createServer(socket => {
    socket.setNoDelay(true)
    const parcels = new Parcels()
    socket.on('error', () => socket.destroy())
    socket.on('data', piece => {
      const answers: Buffer[] = []
      parcels.push(piece, number => answers.push(headerOf(number, value.length), value))
      if (answers.length > 0) socket.write(Buffer.concat(answers))
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port, server }
}

export class EchoClient {
  readonly #socket: Socket
  readonly #waiting = new Map<number, (value: Buffer) => void>()
  #outgoing: Buffer[] = []
  #asked = 0

  private constructor(socket: Socket) {
    this.#socket = socket
    const parcels = new Parcels()
    socket.on('data', piece =>
      parcels.push(piece, (number, body) => {
        this.#waiting.get(number)?.(body)
        this.#waiting.delete(number)
      })
    )
  }

  static async open(port: number): Promise<EchoClient> {
    const socket = connect(port, '127.0.0.1')
    socket.setNoDelay(true)
    await once(socket, 'connect')
    return new EchoClient(socket)
  }

  get(key: string): Promise<Buffer> {
    const number = ++this.#asked
    if (this.#outgoing.length === 0) queueMicrotask(() => process.nextTick(() => this.#flush()))
    const body = Buffer.from(key, 'latin1')
    this.#outgoing.push(headerOf(number, body.length), body)
    return new Promise(resolve => this.#waiting.set(number, resolve))
  }

  close(): void {
    this.#socket.destroy()
  }

  #flush(): void {
    this.#socket.write(Buffer.concat(this.#outgoing))
    this.#outgoing = []
  }
}

/** Puts parcels together from pieces of any size. */
class Parcels {
  #rest: Buffer = Buffer.alloc(0)

  push(piece: Buffer, onParcel: (number: number, body: Buffer) => void): void {
    const bytes = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece])
    let at = 0
    while (bytes.length - at >= HEADER_BYTES) {
      const end = at + HEADER_BYTES + bytes.readUInt32BE(at + 4)
      if (end > bytes.length) break
      onParcel(bytes.readUInt32BE(at), Buffer.from(bytes.subarray(at + HEADER_BYTES, end)))
      at = end
    }
    this.#rest = bytes.subarray(at)
  }
}

function headerOf(number: number, bodyBytes: number): Buffer {
  const header = Buffer.allocUnsafe(HEADER_BYTES)
  header.writeUInt32BE(number, 0)
  header.writeUInt32BE(bodyBytes, 4)
  return header
}
