import fc from 'fast-check'
import { expect, test } from 'vitest'
import { HEAD_BYTES, type MuxKind, MuxReader, PIECE_BYTES_MAX, writeHead } from '../../lib/adapters/mux-wire.ts'

type Heard = [kind: MuxKind, stream: number, number: number] | [stream: number, body: string]

function reader(heard: Heard[]): MuxReader {
  return new MuxReader({
    onHead: (kind, stream, number) => {
      heard.push([kind, stream, number])
      return true
    },
    onBytes: (stream, bytes) => {
      const last = heard.at(-1)
      const body = Buffer.from(bytes).toString('hex')
      if (last?.length === 2 && last[0] === stream) last[1] += body
      else heard.push([stream, body])
    }
  })
}

function message(kind: MuxKind, stream: number, body: Uint8Array): Buffer {
  const whole = Buffer.alloc(HEAD_BYTES + (kind === 'data' ? body.length : 0))
  writeHead(whole, kind, stream, body.length)
  if (kind === 'data') whole.set(body, HEAD_BYTES)
  return whole
}

const kinds = fc.constantFrom<MuxKind>('open', 'data', 'credit', 'fin', 'reset')
const messages = fc.array(fc.tuple(kinds, fc.nat(2 ** 32 - 1), fc.uint8Array({ maxLength: 50 })), { maxLength: 20 })

test('messages come out whole however their bytes are cut', () => {
  fc.assert(
    fc.property(messages, fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (sent, cuts) => {
      const wire = Buffer.concat(sent.map(([kind, stream, body]) => message(kind, stream, body)))
      const [whole, cut]: [Heard[], Heard[]] = [[], []]
      expect(reader(whole).push(wire)).toBe(true)
      const inPieces = reader(cut)
      for (let at = 0, i = 0; at < wire.length; i++) {
        const end = at + cuts[i % cuts.length]!
        expect(inPieces.push(wire.subarray(at, end))).toBe(true)
        at = end
      }
      expect(cut).toEqual(whole)
      expect(whole.filter(each => each.length === 3)).toEqual(
        sent.map(([kind, stream, body]) => [kind, stream, body.length])
      )
    })
  )
})

test('any bytes at all are read or refused, and hand on no more than came', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 500 }), bytes => {
      let handedOn = 0
      const any = new MuxReader({ onHead: () => true, onBytes: (_stream, part) => (handedOn += part.byteLength) })
      expect([true, false]).toContain(any.push(bytes))
      expect(handedOn).toBeLessThanOrEqual(bytes.length)
    })
  )
})

test('an unknown kind, a piece over the limit and a head its owner objects to are refused', () => {
  const head = Buffer.alloc(HEAD_BYTES)
  const accept = { onHead: () => true, onBytes: () => {} }
  writeHead(head, 'data', 1, PIECE_BYTES_MAX)
  expect(new MuxReader(accept).push(head)).toBe(true)
  expect(new MuxReader({ ...accept, onHead: () => false }).push(head)).toBe(false)
  writeHead(head, 'data', 1, PIECE_BYTES_MAX + 1)
  expect(new MuxReader(accept).push(head)).toBe(false)
  writeHead(head, 'open', 1, 0)
  head[0] = 5
  expect(new MuxReader(accept).push(head)).toBe(false)
})
