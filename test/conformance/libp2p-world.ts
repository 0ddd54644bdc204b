import { createServer } from 'node:net'
import { libp2pAdapters } from '../../lib/adapters/libp2p-transport.ts'
import { type Logger, noLog } from '../../lib/ports/log.ts'
import type { PubSub } from '../../lib/ports/pubsub.ts'
import type { Address, Transport } from '../../lib/ports/transport.ts'
import { settleInRealTime } from './settle.ts'
import type { TransportInit, TransportWorld } from './transport.suite.ts'

/** Real sockets, on the loopback of this machine only. */
export async function libp2pWorld(): Promise<TransportWorld> {
  return {
    settle: settleInRealTime,
    nowMs: () => performance.now(),
    make: async init => (await adapters(init)).transport,
    deadAddress: freeAddress,
    end: async () => {}
  }
}

/** Nothing may be logged as an error: a listener that throws, or an adapter that does, must not go by unseen. */
export const loudLog: Logger = {
  ...noLog,
  error(o, message) {
    throw new Error(`${message}: ${JSON.stringify(o)}`)
  }
}

export function adapters(init: TransportInit): Promise<{ transport: Transport; pubsub: PubSub }> {
  const { mesh, secrets, listen } = init
  return libp2pAdapters({ mesh, secrets, listen: listen ? '127.0.0.1:0' : false, log: loudLog })
}

/** An address at which somebody listened a moment ago. */
export async function freeAddress(): Promise<Address> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const bound = server.address()
  await new Promise(resolve => server.close(resolve))
  if (bound === null || typeof bound === 'string') throw new Error('no port')
  return `127.0.0.1:${bound.port}`
}
