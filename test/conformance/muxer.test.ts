import type { TLSSocket } from 'node:tls'
import type { Stream, StreamMuxer } from '@libp2p/interface'
import { afterEach, describe, expect, test } from 'vitest'
import { asMuxStream, meshMuxer, WINDOW_BYTES } from '../../lib/adapters/mesh-muxer.ts'
import { HEAD_BYTES, type MuxKind, PIECE_BYTES_MAX, writeHead } from '../../lib/adapters/mux-wire.ts'
import { SealedWire, WIRE_BYTES_MAX } from '../../lib/adapters/sealed-wire.ts'
import { type End, loopback } from './loopback.ts'
import { settleInRealTime as settle } from './settle.ts'

/** The muxer on plain TCP: what it does does not depend on the seal. */
const ends: (() => void)[] = []

afterEach(() => {
  for (const end of ends.splice(0)) end()
})

const wire = ({ below, socket }: End) => new SealedWire(below, socket as TLSSocket)

async function pair() {
  const line = await loopback()
  ends.push(line.end)
  const remote: Stream[] = []
  const [dialer, listener] = [line.dialer, line.listener].map(end => meshMuxer().createStreamMuxer(wire(end)))
  listener!.addEventListener('stream', event => remote.push(event.detail))
  return { dialer: dialer!, listener: listener!, remote, line }
}

async function opened(from: StreamMuxer, remote: readonly Stream[]) {
  const count = remote.length
  const own = asMuxStream(await from.createStream())
  await settle(() => remote.length > count, 'the other side sees the stream')
  return [own, asMuxStream(remote[count]!)] as const
}

/** A peer that writes what it likes. */
async function rude() {
  const line = await loopback()
  ends.push(line.end)
  const listener = meshMuxer().createStreamMuxer(wire(line.listener))
  const streams: Stream[] = []
  listener.addEventListener('stream', event => streams.push(event.detail))
  const say = (kind: MuxKind, stream: number, number: number, bodyBytes = 0) => {
    const bytes = Buffer.alloc(HEAD_BYTES + bodyBytes)
    writeHead(bytes, kind, stream, number)
    line.dialer.socket.write(bytes)
  }
  return { say, streams, listener, line, isCut: () => line.listener.below.status === 'aborted' }
}

describe('the muxer', () => {
  test('a reader that pauses stops its own stream within a window, and nothing else', async () => {
    const { dialer, remote } = await pair()
    const [slow, slowRemote] = await opened(dialer, remote)
    const [quick, quickRemote] = await opened(dialer, remote)
    slowRemote.pause()
    const body = new Uint8Array(10 * WINDOW_BYTES).map((_, i) => i)
    slow.write(new Uint8Array(0), body)
    const got: Uint8Array[] = []
    quickRemote.onBytes = bytes => got.push(bytes)
    for (let i = 0; i < 50; i++) quick.write(Uint8Array.of(i), new Uint8Array(1_000))
    await settle(() => got.reduce((sum, { length }) => sum + length, 0) === 50 * 1_001, 'the quick stream arrives')
    await settle(() => slowRemote.readBufferLength === WINDOW_BYTES, 'the window is full')
    expect(slow.queuedBytes).toBe(9 * WINDOW_BYTES)
    const late: Uint8Array[] = []
    slowRemote.addEventListener('message', event => late.push(event.data.subarray()))
    slowRemote.resume()
    await settle(() => late.reduce((sum, { length }) => sum + length, 0) === body.length, 'the rest arrives')
    expect(Buffer.compare(Buffer.concat(late), body)).toBe(0)
    expect(slow.queuedBytes).toBe(0)
  })

  test('the socket is given no more than it may hold; the rest waits where it is counted, and takes turns', async () => {
    const { dialer, remote, line } = await pair()
    const streams = []
    for (let i = 0; i < 40; i++) streams.push(await opened(dialer, remote))
    line.listener.socket.pause()
    // Less than a window, which would make them take turns by itself.
    const bytes = WINDOW_BYTES - 100
    for (const [own] of streams) own.write(new Uint8Array(0), new Uint8Array(bytes))
    expect(line.dialer.socket.writableLength).toBeLessThan(WIRE_BYTES_MAX + PIECE_BYTES_MAX)
    const last = streams.slice(-3)
    expect(last.map(([own]) => own.queuedBytes)).toEqual([bytes, bytes, bytes])
    const arrived = streams.map(() => 0)
    let whenFirstOfThoseEnded: number[] | undefined
    for (const [i, [, theirs]] of streams.entries())
      theirs.onBytes = part => {
        arrived[i]! += part.byteLength
        if (i >= 37 && arrived[i] === bytes) whenFirstOfThoseEnded ??= arrived.slice(-3)
      }
    line.listener.socket.resume()
    await settle(() => arrived.every(each => each === bytes), 'all arrive')
    for (const each of whenFirstOfThoseEnded ?? []) expect(each).toBeGreaterThan(bytes - WIRE_BYTES_MAX)
  })

  test('what was written before a close arrives, and then the end', async () => {
    const { dialer, remote } = await pair()
    const [own, theirs] = await opened(dialer, remote)
    let got = 0
    let ended = 0
    theirs.onBytes = bytes => {
      got += bytes.byteLength
    }
    theirs.addEventListener('remoteCloseWrite', () => {
      ended = got
    })
    own.write(new Uint8Array(4), new Uint8Array(5_000_000))
    await own.close()
    await settle(() => ended > 0, 'the end')
    expect(ended).toBe(5_000_004)
    expect(() => own.write(new Uint8Array(1), new Uint8Array(1))).toThrow(/clos/)
  })

  test('a stream that is aborted gives back what it held, and a close in waiting ends', async () => {
    const { dialer, remote } = await pair()
    const [own, theirs] = await opened(dialer, remote)
    theirs.pause()
    own.write(new Uint8Array(4), new Uint8Array(3 * WINDOW_BYTES))
    const closed = own.close().catch((error: Error) => error.message)
    own.abort(new Error('the test aborts it'))
    await closed
    expect(own.queuedBytes).toBe(0)
    await settle(() => theirs.status === 'reset', 'the other side is told')
  })

  test('a peer that opens more streams than it may gets the rest reset, and keeps those it has', async () => {
    const { say, streams, line, isCut } = await rude()
    let answered = 0
    line.dialer.socket.on('data', data => {
      answered += data.length
    })
    for (let i = 0; i < 300; i++) say('open', 1 + 2 * i, 0)
    await settle(() => answered === 44 * HEAD_BYTES, 'forty-four resets')
    expect([streams.length, isCut()]).toEqual([256, false])
  })

  const rules: Record<string, (say: Awaited<ReturnType<typeof rude>>['say']) => void> = {
    'sends more than its credit': say => {
      say('open', 1, 0)
      for (let sent = 0; sent <= WINDOW_BYTES; sent += PIECE_BYTES_MAX) say('data', 1, PIECE_BYTES_MAX, PIECE_BYTES_MAX)
    },
    'gives credit for what was not sent': say => {
      say('open', 1, 0)
      say('credit', 1, 1)
    },
    'opens a stream in our name': say => say('open', 2, 0),
    'opens a stream twice': say => {
      say('open', 3, 0)
      say('open', 3, 0)
    },
    'names a stream it never opened': say => say('data', 7, 0),
    'names a stream we never opened': say => say('fin', 2, 0),
    'announces a piece over the limit': say => {
      say('open', 1, 0)
      say('data', 1, PIECE_BYTES_MAX + 1)
    }
  }
  for (const [name, break_] of Object.entries(rules))
    test(`a peer loses its connection if it ${name}`, async () => {
      const { say, isCut } = await rude()
      break_(say)
      await settle(isCut, 'the connection is cut')
    })

  test('what arrives for a stream that has ended here is dropped', async () => {
    const { say, streams, listener, isCut } = await rude()
    say('open', 1, 0)
    say('data', 1, 10, 10)
    await settle(() => streams.length === 1, 'the stream')
    streams[0]!.abort(new Error('the test aborts it'))
    say('data', 1, 10, 10)
    say('credit', 1, 5)
    say('fin', 1, 0)
    say('open', 3, 0)
    await settle(() => streams.length === 2, 'the next stream')
    expect([listener.streams.length, isCut()]).toEqual([1, false])
  })
})
