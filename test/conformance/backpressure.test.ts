import { connect, createServer, type Socket } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, describe, expect, test } from 'vitest'
import { libp2pAdapters } from '../../lib/adapters/libp2p-transport.ts'
import type { Lane, LinkEvents } from '../../lib/ports/transport.ts'
import { loudLog } from './libp2p-world.ts'
import { settleInRealTime as settle } from './settle.ts'

/** A peer that stops reading, as a stopped process or a host without memory does, costs its budget and no more. */
const MIB = 1024 * 1024
const BUDGET_BYTES = 8 * MIB
/** What the socket and its seal may add, and what the runner itself makes meanwhile. */
const SLACK_BYTES = 4 * MIB
const TURNS = 2_000

const ends: (() => unknown)[] = []

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

class Counted implements LinkEvents {
  readonly numbers: Record<Lane, number[]> = { data: [], bulk: [] }
  downs = 0
  drains = 0
  onUp(): void {}
  onDown(): void {
    this.downs++
  }
  onFrame(_peer: string, lane: Lane, frame: Uint8Array): void {
    this.numbers[lane].push(new DataView(frame.buffer, frame.byteOffset).getUint32(0))
  }
  onDrain(): void {
    this.drains++
  }
}

async function member() {
  const { transport } = await libp2pAdapters({ mesh: 'stall', secrets: [], listen: '127.0.0.1:0', log: loudLog })
  ends.push(() => transport.stop())
  const heard = new Counted()
  const [address] = await transport.start(heard)
  return { transport, heard, address: address! }
}

/** Passes bytes on; while it is stalled it reads nothing, so that the kernel's buffers fill and then the sender's. */
async function stallingProxy(target: string) {
  const sockets: Socket[] = []
  const server = createServer(client => {
    const upstream = connect(Number(target.split(':')[1]), '127.0.0.1')
    for (const [from, to] of [
      [client, upstream],
      [upstream, client]
    ] as const) {
      sockets.push(from)
      from.on('error', () => {})
      from.on('close', () => to.destroy())
      from.on('data', data => {
        if (to.write(data)) return
        from.pause()
        to.once('drain', () => {
          if (!isStalled) from.resume()
        })
      })
    }
  })
  let isStalled = false
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  ends.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const bound = server.address()
  if (bound === null || typeof bound === 'string') throw new Error('no port')
  return {
    address: `127.0.0.1:${bound.port}`,
    stall() {
      isStalled = true
      for (const socket of sockets) socket.pause()
    },
    resume() {
      isStalled = false
      for (const socket of sockets) socket.resume()
    }
  }
}

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

function heldBytes(): number {
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

describe('a peer that does not read', { timeout: 60_000 }, () => {
  for (const [lane, frameBytes] of [
    ['data', 100],
    ['data', 60_000],
    ['bulk', MIB]
  ] as const)
    test(`frames of ${frameBytes} bytes on ${lane} are refused at the budget, and none is lost`, async () => {
      const [a, b] = [await member(), await member()]
      const proxy = await stallingProxy(b.address)
      const peer = await a.transport.connect(proxy.address)
      a.transport.send(peer, lane, new Uint8Array(4))
      await settle(() => b.heard.numbers[lane].length === 1, 'the first frame')
      proxy.stall()
      const before = heldBytes()
      let taken = 0
      let refusals = 0
      // A frame that was refused is offered again: what is not taken must not be counted as held.
      let frame = numbered(1, frameBytes)
      for (let turn = 0; turn < TURNS; turn++) {
        while (a.transport.send(peer, lane, frame)) frame = numbered(++taken + 1, frameBytes)
        refusals++
        await new Promise(resolve => setImmediate(resolve))
      }
      expect(refusals).toBe(TURNS)
      expect(taken * frameBytes).toBeGreaterThan(BUDGET_BYTES - MIB)
      expect(heldBytes() - before).toBeLessThan(BUDGET_BYTES + SLACK_BYTES)
      expect([a.heard.downs, a.heard.drains]).toEqual([0, 0])
      proxy.resume()
      await settle(() => b.heard.numbers[lane].length === taken + 1, 'all that was taken')
      expect(b.heard.numbers[lane]).toEqual(Array.from({ length: taken + 1 }, (_, i) => i))
      expect(a.heard.drains).toBeGreaterThan(0)
    })
})

function numbered(number: number, bytes: number): Uint8Array {
  const frame = new Uint8Array(bytes)
  new DataView(frame.buffer).setUint32(0, number)
  return frame
}
