import { libp2pAdapters } from '../../lib/adapters/libp2p-transport.ts'
import { noLog } from '../../lib/ports/log.ts'

/** Run in a process of its own, which must end soon after: see libp2p-transport.test.ts. */
export async function startMeetAndStop(): Promise<void> {
  const make = () => libp2pAdapters({ mesh: 'exit', secrets: [], listen: '127.0.0.1:0', log: noLog })
  const [a, b] = [await make(), await make()]
  const ignored = { onUp: () => {}, onDown: () => {}, onFrame: () => {}, onDrain: () => {} }
  const [address] = await a.transport.start(ignored)
  await b.transport.start(ignored)
  b.pubsub.subscribe('topic', () => {})
  if (address === undefined) throw new Error('it does not listen')
  await b.transport.connect(address)
  await Promise.all([a.transport.stop(), b.transport.stop()])
}
