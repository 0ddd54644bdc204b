import { connect, createServer } from 'node:tls'
import { multiaddrConnectionPair } from '@libp2p/utils'
import { afterEach, describe, expect, test } from 'vitest'
import { sealInbound, sealOutbound } from '../../lib/adapters/mesh-seal.ts'
import { loopback } from './loopback.ts'
import { settleInRealTime as settle } from './settle.ts'

/** What happens between the Noise handshake and the first sealed byte, with the Noise channel played by a pair in memory. */
const ends: (() => void)[] = []

afterEach(() => {
  for (const end of ends.splice(0)) end()
})

async function pair() {
  const line = await loopback()
  ends.push(line.end)
  const [dialerNoise, listenerNoise] = multiaddrConnectionPair()
  const signal = AbortSignal.timeout(5_000)
  return {
    dialer: { below: line.dialer.below, noise: dialerNoise, signal },
    listener: { below: line.listener.below, noise: listenerNoise, signal },
    sockets: [line.dialer.socket, line.listener.socket] as const
  }
}

const KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgyByj5IWxaAhPHrhn
bk4nZFc8bmBPnxizvlsSS7Ysq4ahRANCAAS2f71g/BYXDEzv2+pGRbvwG6s7fneU
cuRou3KxOkwh30qi2t1uM8UB9WWE93B4nllO4fSH/ERApFam+T9kRCIW
-----END PRIVATE KEY-----
`
const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBdjCCARugAwIBAgIUYmZhufFJA9tpjqaaa5PoR9vqga0wCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjEwODI3MTNaGA8yMTI2MTAyODA4Mjcx
M1owDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABLZ/
vWD8FhcMTO/b6kZFu/Abqzt+d5Ry5Gi7crE6TCHfSqLa3W4zxQH1ZYT3cHieWU7h
9If8RECkVqb5P2REIhajUzBRMB0GA1UdDgQWBBSv8tdEKugDGtBU3T9xDKvdzdso
XzAfBgNVHSMEGDAWgBSv8tdEKugDGtBU3T9xDKvdzdsoXzAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0kAMEYCIQCQHOSpTlQY6noopajOQr7wjB/cyxvqN6Gx
lgIgQpvOQQIhAN5Dve5iB8Mp1Qks6ezkgtpoG+WHGRkMoSQhEvt/RItf
-----END CERTIFICATE-----
`

describe('the seal', () => {
  test('both sides hear each other, and libp2p hears nothing more of the socket', async () => {
    const { dialer, listener, sockets } = await pair()
    const heard: string[] = []
    // As libp2p listens, which must not take these bytes for Noise.
    for (const socket of sockets) socket.on('data', () => heard.push('libp2p heard the sealed bytes'))
    const [a, b] = await Promise.all([sealOutbound(dialer), sealInbound(listener)])
    a.onChunk = chunk => heard.push(`a heard ${Buffer.from(chunk)}`)
    b.onChunk = chunk => heard.push(`b heard ${Buffer.from(chunk)}`)
    a.write(Buffer.from('to the listener'))
    b.write(Buffer.from('to the dialer'))
    await settle(() => heard.length === 2, 'both hear')
    expect(heard.sort()).toEqual(['a heard to the dialer', 'b heard to the listener'])
  })

  test('a dialer that is quicker than the listener is heard', async () => {
    const { dialer, listener, sockets } = await pair()
    let overheard = 0
    sockets[1].on('data', () => overheard++)
    sockets[1].cork()
    const both = Promise.all([sealOutbound(dialer), sealInbound(listener)])
    await settle(() => sockets[1].readableLength > 0, 'TLS has come before the listener is ready')
    sockets[1].uncork()
    await both
    expect(overheard).toBe(0)
  })

  test('many at once find each their own key', async () => {
    const pairs = await Promise.all(Array.from({ length: 20 }, pair))
    const wires = await Promise.all(
      pairs.map(({ dialer, listener }) => Promise.all([sealOutbound(dialer), sealInbound(listener)]))
    )
    const heard: string[] = []
    for (const [i, [dialer, listener]] of wires.entries()) {
      listener.onChunk = chunk => heard.push(`${i}: ${Buffer.from(chunk)}`)
      dialer.write(Buffer.from(`from ${i}`))
    }
    await settle(() => heard.length === 20, 'all hear')
    expect(new Set(heard)).toEqual(new Set(wires.map((_, i) => `${i}: from ${i}`)))
  })

  test('who did not take part in the handshake cannot speak for the dialer', async () => {
    const [real, other] = [await pair(), await pair()]
    // The dialer hears the share of another listener: it makes another key, as a stranger in between would.
    const listened = sealInbound(real.listener)
    const otherListened = sealInbound(other.listener)
    const dialed = sealOutbound({ ...real.dialer, noise: other.dialer.noise })
    const shares = sealOutbound({ ...other.dialer, noise: real.dialer.noise })
    const outcomes = await Promise.allSettled([listened, otherListened, dialed, shares])
    expect(outcomes.map(({ status }) => status)).toEqual(Array(4).fill('rejected'))
  })

  test('a listener that shows a certificate instead of the key is refused', async () => {
    const { dialer, listener } = await pair()
    const server = createServer({ key: KEY, cert: CERTIFICATE, minVersion: 'TLSv1.3' })
    server.on('tlsClientError', () => {})
    listener.noise.addEventListener('message', () => {
      listener.noise.send(new Uint8Array(32))
      server.emit('connection', Reflect.get(listener.below, 'socket'))
    })
    await expect(sealOutbound(dialer)).rejects.toThrow(/self-signed|certificate|alert|key/)
  })

  test('a dialer without the key is refused', async () => {
    const { dialer, listener } = await pair()
    const listened = sealInbound(listener)
    dialer.noise.addEventListener('message', () => {
      const socket = connect({ socket: Reflect.get(dialer.below, 'socket'), rejectUnauthorized: false })
      socket.on('error', () => {})
    })
    dialer.noise.send(new Uint8Array(32))
    await expect(listened).rejects.toThrow(/closed in the handshake/)
  })

  test('a peer that falls silent in the middle is given up at the deadline', async () => {
    const { dialer, listener, sockets } = await pair()
    const signal = AbortSignal.timeout(100)
    // As a socket does that was given the signal when it was opened.
    signal.addEventListener('abort', () => sockets[0].destroy(new Error('the dial was aborted')))
    listener.noise.addEventListener('message', () => listener.noise.send(new Uint8Array(32)))
    await expect(sealOutbound({ ...dialer, signal })).rejects.toThrow(/abort/)
    const other = await pair()
    const otherSignal = AbortSignal.timeout(100)
    other.dialer.noise.send(new Uint8Array(32))
    await expect(sealInbound({ ...other.listener, signal: otherSignal })).rejects.toThrow(/abort|timeout/)
  })

  test('a connection without a socket where @libp2p/tcp has one says so', async () => {
    const { dialer, listener } = await pair()
    const [below] = multiaddrConnectionPair()
    const listened = sealInbound(listener)
    await expect(sealOutbound({ ...dialer, below })).rejects.toThrow(/no socket in its field/)
    ends.splice(0)[0]?.()
    await expect(listened).rejects.toThrow(/closed in the handshake/)
  })
})
