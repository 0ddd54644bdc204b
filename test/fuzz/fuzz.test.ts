/**
 * A part of `npm run fuzz`, with a fixed seed; messages that come back as they were; and planted bugs, one for each family
 * of decoders, that the fuzzer finds.
 */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { FrameReader } from '../../lib/adapters/frame-stream.ts'
import { ByteReader } from '../../lib/base/bytes.ts'
import { Client } from '../../lib/rpc/client.ts'
import { FrameBuilder, readFrame } from '../../lib/rpc/frame.ts'
import { Links } from '../../lib/rpc/links.ts'
import { KINDS } from '../../lib/rpc/messages.ts'
import { MeshClock } from '../../lib/store/version.ts'
import { AllocationMeter } from './allocation.ts'
import { DECODERS, type Decoder } from './decoders.ts'
import { Dice } from './dice.ts'
import { checkAssembly, inventedMessage } from './messages.ts'
import { CAMPAIGNS, fuzz, replay } from './run.ts'

const INPUTS = 50_000
const MESSAGES_OF_A_KIND = 300

describe('hostile inputs', () => {
  const shares = CAMPAIGNS.reduce((sum, { share }) => sum + share, 0)

  it.each(CAMPAIGNS)('do not hurt what reads a $name', async campaign => {
    const inputs = Math.ceil((INPUTS * campaign.share) / shares)
    const tally = await campaign.run('vitest', inputs)
    expect(tally.failure).toBeUndefined()
    expect(tally.accepted + tally.refused).toBe(inputs)
    // A decoder that is given only nonsense, or nothing that is wrong, is not tested.
    expect(tally.accepted).toBeGreaterThan(inputs / 50)
    if (campaign.name !== 'mdns') expect(tally.refused).toBeGreaterThan(inputs / 50)
  })

  it('are the same for the same seed', async () => {
    const decoder = named('frame')
    const made = (seed: string): string => {
      const dice = new Dice(seed)
      return Array.from({ length: 50 }, () => Buffer.from(decoder.make(dice)).toString('hex')).join()
    }
    // The first splice has nothing to splice yet.
    made('a')
    expect(made('b')).not.toBe(made('a'))
    const [one, other] = [await fuzz(decoder, 's', 2_000), await fuzz(decoder, 's', 2_000)]
    expect([one.accepted, one.refused]).toEqual([other.accepted, other.refused])
  })

  it('can be replayed from hex', async () => {
    expect(await replay('key', Uint8Array.from(Buffer.from('sab', 'utf16le')))).toBe('accepted')
    expect(await replay('key', Uint8Array.from(Buffer.from('xab', 'utf16le')))).toBe('refused')
    await expect(replay('kex', new Uint8Array())).rejects.toThrow(/no decoder 'kex'/)
  })
})

describe('messages', () => {
  it.each(KINDS)('of kind %s, made from their layout, come back as they were', kind => {
    const dice = new Dice(`messages/${kind}`)
    for (let call = 0; call < MESSAGES_OF_A_KIND; call++) {
      const message = inventedMessage(dice, kind)
      const builder = new FrameBuilder()
      builder.add(call, message)
      const frame = readFrame(builder.finish({ clockMs: 1, viewHash: 2 }))
      expect(frame).toStrictEqual({ clockMs: 1, viewHash: 2, messages: [{ call, message }] })
    }
  })

  it('are put into frames as the fuzzer thinks they are', () => {
    expect(() => checkAssembly(new Dice('assembly'))).not.toThrow()
  })
})

describe('the meter of allocations', () => {
  it('sees what is allocated in the heap and outside of it, and what has become garbage again', () => {
    const meter = new AllocationMeter()
    const kept: unknown[] = []
    meter.clean()
    const heap = meter.bytesOf(() => kept.push(new Array(20_000).fill(1.5)))
    const outside = meter.bytesOf(() => kept.push(Buffer.allocUnsafeSlow(1_000_000)))
    const garbage = meter.bytesOf(() => void new Uint8Array(500_000))
    expect(kept).toHaveLength(2)
    expect(heap).toBeGreaterThan(150_000)
    expect(outside).toBeGreaterThan(990_000)
    expect(garbage).toBeGreaterThan(490_000)
  })
})

describe('a planted bug is found:', () => {
  afterEach(() => vi.restoreAllMocks())

  const found = async (decoder: Decoder, inputs = 4_000): Promise<string> => {
    const { failure } = await fuzz(decoder, 'planted', inputs)
    return failure?.error.message ?? 'nothing'
  }

  it.each(['frame', 'gossip'])('a %s that allocates what is claimed', async name => {
    const { length } = ByteReader.prototype
    vi.spyOn(ByteReader.prototype, 'length').mockImplementation(function (this: ByteReader, max, what) {
      const claimed = length.call(this, 2 ** 32, what)
      new Uint8Array(Math.min(claimed, 2 ** 26))
      if (claimed > max) throw new RangeError(what)
      return claimed
    })
    expect(await found(named(name))).toMatch(
      /bytes were allocated for|^(text|member|news|message|prints|key|address|zone|namespace)/
    )
  })

  it('a frame whose text throws something else', async () => {
    const { text } = ByteReader.prototype
    vi.spyOn(ByteReader.prototype, 'text').mockImplementation(function (this: ByteReader, max, what) {
      const read = text.call(this, max, what)
      if (read.includes('€')) throw new TypeError('planted')
      return read
    })
    expect(await found(named('frame'))).toBe('planted')
  })

  it('a frame with a number that is none', async () => {
    const frame = named('frame')
    const read = (input: Uint8Array): unknown => {
      const whole = readFrame(input)
      return {
        ...whole,
        messages: whole.messages.map(each => ({ ...each, message: { ...each.message, stamp: Number.NaN } }))
      }
    }
    expect(await found({ ...frame, read })).toMatch(/a number that is none/)
  })

  it('a greeting that ignores a byte', async () => {
    const greeting = named('greeting')
    const read = (input: Uint8Array): unknown => {
      const copy = input.slice()
      if (copy.length > 7) copy[7] = 0
      return greeting.read(copy)
    }
    expect(await found({ ...greeting, read })).toMatch(/come back/)
  })

  it('a stream that loses what a cut leaves over', async () => {
    const { push } = FrameReader.prototype
    vi.spyOn(FrameReader.prototype, 'push').mockImplementation(function (this: FrameReader, piece, wanted) {
      return push.call(this, piece.length > 58 ? piece.subarray(1) : piece, wanted)
    })
    expect(await found(named('stream'))).not.toBe('nothing')
  })

  it('a value whose damage throws what the library throws', async () => {
    const value = named('value')
    const isRefusal = (error: unknown): boolean => value.isRefusal(error)
    const read = (input: Uint8Array): unknown => {
      if (input[0] === 0xdc) throw new RangeError('planted')
      return value.read(input)
    }
    const make = (dice: Dice): Uint8Array => value.make(dice)
    expect(await found({ ...value, make, read, isRefusal }, 40_000)).toBe('planted')
  })

  it('a value that is a window onto the frame', async () => {
    const value = named('value')
    const read = (input: Uint8Array): unknown => (input[0] === 4 ? input.subarray(1) : value.read(input))
    expect(await found({ ...value, read })).toMatch(/shares its memory/)
  })

  it('a key that is not the only way to write it', async () => {
    const key = named('key')
    const read = (input: Uint8Array): unknown => {
      const text = Buffer.from(input).toString('utf16le')
      return text.startsWith('a[ ') ? JSON.parse(text.slice(1)) : key.read(input)
    }
    expect(await found({ ...key, read })).not.toBe('nothing')
  })

  it('a failure that throws', async () => {
    const failure = named('failure')
    const read = (input: Uint8Array): unknown => JSON.parse(Buffer.from(input).toString('utf16le'))
    expect(await found({ ...failure, read })).not.toBe('nothing')
  })

  it('a member that follows the clock of a frame it has not checked', async () => {
    const clock = { monotonic: () => 1, turnMs: () => 1, wall: () => 1, after: () => () => {}, defer: () => {} }
    const { onFrame } = Links.prototype
    vi.spyOn(Links.prototype, 'onFrame').mockImplementation(function (this: Links, peer, lane, bytes) {
      new MeshClock(clock).hear(1)
      onFrame.call(this, peer, lane, bytes)
    })
    expect(await foundInMember()).toMatch(/changed the member/)
  })

  it('a member that lets an error out', async () => {
    const { reply } = Client.prototype
    vi.spyOn(Client.prototype, 'reply').mockImplementation(function (this: Client, ...args) {
      if (args[2].type === 'absent') throw new TypeError('planted')
      reply.apply(this, args)
    })
    expect(await foundInMember()).toBe('planted')
  })

  async function foundInMember(): Promise<string | undefined> {
    const member = CAMPAIGNS.find(({ name }) => name === 'member')
    return (await member?.run('planted', 1_000))?.failure?.error.message
  }
})

function named(name: string): Decoder {
  return DECODERS.find(decoder => decoder.name === name) as Decoder
}
