import { connect, createServer, type Socket } from 'node:net'
import type { MessageStream } from '@libp2p/interface'
import { multiaddrConnectionPair } from '@libp2p/utils'

/** Both ends of a TCP connection on loopback, each as libp2p would hold it: a message stream with a socket in it. */
export interface End {
  readonly socket: Socket
  readonly below: MessageStream
}

export async function loopback(): Promise<{ dialer: End; listener: End; end(): void }> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const bound = server.address()
  if (bound === null || typeof bound === 'string') throw new Error('no port')
  const accepted = new Promise<Socket>(resolve => server.once('connection', resolve))
  const socket = connect(bound.port, '127.0.0.1')
  const [outbound, inbound] = multiaddrConnectionPair()
  const dialer = ended(socket, outbound)
  const listener = ended(await accepted, inbound)
  server.close()
  return {
    dialer,
    listener,
    end() {
      socket.destroy()
      listener.socket.destroy()
    }
  }
}

function ended(socket: Socket, stream: MessageStream): End {
  // Sockets die here by design.
  socket.on('error', () => {})
  return { socket, below: Object.assign(stream, { socket }) }
}
