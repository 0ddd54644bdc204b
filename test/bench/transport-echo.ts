/** The other process of the transport's benchmark: answers each request of 60 bytes with 1 KB, on every kind of line. */
import { createServer } from 'node:net'
import type { Lane } from '../../lib/ports/transport.ts'
import {
  Batch,
  LARGE_BYTES,
  LARGE_CALL,
  meshLine,
  meshTo,
  REPLY_BYTES,
  readMessages,
  tcpLine
} from './transport-lines.ts'

export interface Ports {
  readonly mesh: string
  readonly batched: number
  readonly alone: number
}

const reply = Buffer.alloc(REPLY_BYTES, 7)
const large = Buffer.alloc(LARGE_BYTES, 9)

function answer(batch: Batch, frame: Uint8Array, sendLarge?: () => void): void {
  readMessages(frame, call => {
    if (call === LARGE_CALL) sendLarge?.()
    else batch.add(call, reply)
  })
}

const batches = new Map<string, Batch>()
const { transport, address } = await meshLine(true, (peer, frame, lane: Lane) => {
  if (lane === 'bulk') return
  const line = meshTo(transport, peer)
  const batch = batches.get(peer) ?? new Batch(line, false)
  batches.set(peer, batch)
  answer(batch, frame, () => line.send(large, 'bulk'))
})

async function tcpEcho(alone: boolean): Promise<number> {
  const server = createServer(socket => {
    const batch = new Batch({ send: frame => line.send(frame) }, alone)
    const line = tcpLine(socket, frame => answer(batch, frame))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const bound = server.address()
  if (bound === null || typeof bound === 'string') throw new Error('no port')
  return bound.port
}

const ports: Ports = { mesh: address as string, batched: await tcpEcho(false), alone: await tcpEcho(true) }
process.on('message', () => process.send?.({ cpu: process.cpuUsage() }))
process.on('disconnect', () => process.exit())
process.send?.({ ports })
