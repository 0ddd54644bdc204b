/**
 * What others say on the local network, after the package has decoded it: names, types and data of any kind. What comes
 * of it must be addresses that can be dialled, and few of them. An input is the packet as JSON, its data as Latin-1.
 */
import { createHash } from 'node:crypto'
import { parseAddress } from '../../lib/adapters/listen-address.ts'
import { mdnsSource } from '../../lib/adapters/mdns-discovery.ts'
import type { Hear, Packet } from '../../lib/adapters/mdns-wire.ts'
import type { Decoder } from './decoders.ts'
import type { Dice } from './dice.ts'

const MESH = 'fuzz'
const SERVICE = `_cm-${createHash('sha256').update(`cachemesh mdns ${MESH}`).digest('hex').slice(0, 12)}._tcp.local`
const ADDRESSES_MAX = 256

interface Said {
  readonly from: string
  readonly questions: readonly { name: string; type: string }[]
  readonly answers: readonly { name: string; type: string; ttl: number; data: string | string[] }[]
}

export function mdnsDecoder(): Decoder {
  let hear: Hear = () => {}
  const source = mdnsSource(
    {},
    {
      clock: { monotonic: () => 1, turnMs: () => 1, wall: () => 1, after: () => () => {}, defer: () => {} },
      random: { float: () => 0.5, integer: () => 0, fork: () => ({}) as never },
      hosts: () => ['10.0.0.5'],
      open: async listener => {
        hear = listener
        return { join() {}, ask: async () => {}, answer: async () => {}, close: async () => {} }
      }
    }
  )
  void source.announce?.({ mesh: MESH, id: 'me', addresses: ['10.0.0.5:7700'] })
  return {
    name: 'mdns',
    share: 1,
    // It keeps what it hears, up to a cap.
    bytesPerByte: 128,
    make: dice => Buffer.from(JSON.stringify(invented(dice))),
    read: input => {
      const { from, questions, answers } = JSON.parse(Buffer.from(input).toString()) as Said
      hear({ questions, answers: answers.map(answer => ({ ...answer, data: dataOf(answer.data) })) } as Packet, from)
    },
    isRefusal: () => false,
    judge: () => 'accepted',
    async settle() {
      const found = await source.find({ signal: new AbortController().signal })
      if (found.length > ADDRESSES_MAX) throw new Error(`mdns() found ${found.length} addresses`)
      for (const address of found) parseAddress(address)
    }
  }
}

function dataOf(data: string | string[]): unknown {
  return typeof data === 'string' ? data : data.map(text => Buffer.from(text, 'latin1'))
}

function invented(dice: Dice): Said {
  const hex = Buffer.from(dice.bytes(8)).toString('hex')
  const names = [
    `${hex}.${SERVICE}`,
    `${hex}.${SERVICE}`,
    SERVICE,
    SERVICE.toUpperCase(),
    dice.text(60),
    '',
    '...',
    hex
  ]
  const hosts = [
    '10.0.0.7',
    '127.0.0.1',
    '0.0.0.0',
    '224.0.0.251',
    '[fe80::1]',
    '[::ffff:127.0.0.1]',
    'name',
    dice.text(40)
  ]
  const text = (): string =>
    `${dice.pick(['a0=', 'a11=', 'a', '', 'b=', '\0'])}${dice.pick(hosts)}:${dice.below(70_000)}`
  const texts = (): string[] => Array.from({ length: dice.size(20) }, text)
  const answer = () => ({
    name: dice.pick(names),
    type: dice.pick(['TXT', 'TXT', 'TXT', 'PTR', 'A', 'UNKNOWN_7']),
    ttl: dice.pick([0, 80, -1, 2 ** 31]),
    data: dice.chance(0.8) ? texts() : text()
  })
  return {
    from: dice.pick(['10.0.0.9', '127.0.0.1', '192.168.1.1']),
    questions: Array.from({ length: dice.size(4) }, () => ({ name: dice.pick(names), type: dice.pick(['PTR', 'A']) })),
    answers: Array.from({ length: dice.size(6) }, answer)
  }
}
