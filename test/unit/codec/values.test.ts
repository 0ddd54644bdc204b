import { deepStrictEqual } from 'node:assert'
import { describe, expect, it } from 'vitest'
import { isMeshError } from '../../../lib/base/errors.ts'
import { customCodec, defaultCodec, type UserCodec } from '../../../lib/codec/values.ts'

const AT = { cache: 'products', key: 's42' }

function roundTrip(value: unknown): unknown {
  return defaultCodec.decode(defaultCodec.encode(value, { ...AT, allowUndefined: true }), AT)
}

describe('the default codec', () => {
  it.each([
    ['undefined, when a loader may answer it', undefined],
    ['null', null],
    ['falsy values', [false, 0, '', null, undefined, Number.NaN]],
    ['-0, also deep inside', { a: [-0, 0] }],
    ['numbers at the edges of their encodings', [2 ** 31, 2 ** 32, 2 ** 53, -(2 ** 31) - 1, 1e300, 5e-324, -Infinity]],
    ['undefined members', { a: undefined, b: [undefined] }],
    [
      'dates, odd ones too',
      [new Date(0), new Date(-1), new Date(1_700_000_000_123), new Date(8.64e15), new Date(-8.64e15)]
    ],
    ['a Map beside an object of the same content', [new Map([['a', 1]]), { a: 1 }]],
    [
      'a Map whose keys are objects',
      new Map<unknown, unknown>([
        [{ a: 1 }, 2],
        [[1], new Map()]
      ])
    ],
    ['sets', new Set<unknown>([1, '1', { a: new Set() }])],
    ['bigints of any size', [0n, -1n, 2n ** 63n, -(2n ** 64n), 2n ** 5000n, -(2n ** 5000n) - 1n]],
    ['a long text that begins with a byte order mark', ['\ufeff'.repeat(2) + 'x'.repeat(100)]],
    ['a long key that begins with a byte order mark', { [`\ufeff${'x'.repeat(100)}`]: new Map(), b: 1 }],
    [
      'keys that look like something else',
      { '': 1, 1: 2, '01': 3, constructor: 'x', toJSON: 4, hasOwnProperty: 5, length: 6 }
    ],
    ['an object of very many keys', Object.fromEntries(Array.from({ length: 70_000 }, (_, i) => [`k${i}`, i]))],
    ['objects of many shapes', Array.from({ length: 300 }, (_, i) => ({ [`p${i}`]: { [`q${i}`]: i } }))],
    [
      'bytes of every kind',
      [
        Buffer.from('abc'),
        new Uint8Array([1, 2]),
        new Uint8ClampedArray([3]),
        new Int8Array([-4]),
        new Int16Array([-5]),
        new Uint16Array([6]),
        new Int32Array([-7]),
        new Uint32Array([8]),
        new Float32Array([1.5]),
        new Float64Array([2.5]),
        new BigInt64Array([-9n]),
        new BigUint64Array([10n]),
        new Uint8Array([1, 2, 3]).buffer,
        new DataView(new ArrayBuffer(3))
      ]
    ],
    ['a window onto a larger memory', { a: new Float64Array(new ArrayBuffer(24), 8, 1).fill(7) }],
    ['empty containers', [{}, [], new Map(), new Set(), Buffer.alloc(0), new Float32Array(0), new ArrayBuffer(0)]]
  ])('gives back %s', (_, value) => {
    deepStrictEqual(roundTrip(value), value)
  })

  it('gives back an invalid date as one', () => {
    expect((roundTrip([new Date(Number.NaN)]) as Date[])[0]?.getTime()).toBeNaN()
  })

  it('keeps bytes as they are, with one byte before them', () => {
    const buffer = Buffer.from([1, 2, 3])
    expect(defaultCodec.encode(buffer, AT)).toHaveLength(4)
    expect(Buffer.isBuffer(roundTrip(buffer))).toBe(true)
    const plain = roundTrip(new Uint8Array(buffer))
    expect(Object.getPrototypeOf(plain)).toBe(Uint8Array.prototype)
  })

  it('lets an object without a prototype come back as a plain one', () => {
    deepStrictEqual(roundTrip(Object.assign(Object.create(null), { a: 1 })), { a: 1 })
  })

  it('makes two copies of what is shared', () => {
    const shared = { n: 1, s: new Set([1]) }
    const copy = roundTrip({ a: shared, b: [shared] }) as { a: typeof shared; b: (typeof shared)[] }
    deepStrictEqual(copy, { a: shared, b: [shared] })
    expect(copy.a).not.toBe(copy.b[0])
  })

  it('takes the built-in types of another realm for what they are', async () => {
    const { runInNewContext } = await import('node:vm')
    const foreign: unknown = runInNewContext('({ m: new Map([[1, [2]]]), d: new Date(5), u: new Uint8Array([1]) })')
    deepStrictEqual(roundTrip(foreign), { m: new Map([[1, [2]]]), d: new Date(5), u: new Uint8Array([1]) })
  })

  it('returns memory of the right size that later values do not write to', () => {
    const first = defaultCodec.encode({ text: 'first' }, AT)
    const before = first.slice()
    for (let i = 0; i < 50; i++) defaultCodec.encode({ text: 'other'.repeat(i) }, AT)
    expect(first).toEqual(before)
    expect(first.buffer.byteLength).toBe(first.byteLength)
  })

  it.each([
    ['a Buffer', Buffer.from('private')],
    ['a Uint8Array', new Uint8Array([1, 2, 3])],
    ['bytes and text inside', { b: Buffer.from('private'), f: new Float32Array([1]), s: 'text'.repeat(50) }]
  ])('decodes %s into memory of its own', (_, value) => {
    const frame = Buffer.concat([Buffer.from([9, 9]), defaultCodec.encode(value, AT), Buffer.from([9])])
    const window = frame.subarray(2, frame.length - 1)
    const decoded = defaultCodec.decode(window, AT)
    frame.fill(0xff)
    deepStrictEqual(decoded, value)
  })

  it('refuses undefined where it is not allowed', () => {
    expect(() => defaultCodec.encode(undefined, AT)).toThrow(/value is undefined.*store null/)
  })

  it('names the cache, the key and the path in a refusal', () => {
    expect(() => defaultCodec.encode({ price: { amount: Symbol('x') } }, AT)).toThrow(
      expect.objectContaining({
        code: 'ERR_MESH_VALUE',
        cache: 'products',
        key: 's42',
        message: expect.stringContaining('value.price.amount is a symbol')
      })
    )
  })

  it('keeps the error of a getter as its cause', () => {
    const cause = new Error('lazy')
    const value = {
      get relation() {
        throw cause
      }
    }
    expect(() => defaultCodec.encode(value, AT)).toThrow(expect.objectContaining({ code: 'ERR_MESH_VALUE', cause }))
  })

  it('tells a value that unfolds without end from one that is merely unfit', () => {
    let doubled: unknown = ['x'.repeat(1000)]
    for (let i = 0; i < 40; i++) doubled = [doubled, doubled]
    expect(() => defaultCodec.encode(doubled, AT)).toThrow(
      expect.objectContaining({ code: 'ERR_MESH_VALUE_TOO_LARGE' })
    )
  })

  it('turns every damage into an error that holds nothing of the data', () => {
    const bytes = defaultCodec.encode({ secret: 'hunter2hunter2', when: new Date(5), many: [1, 2, 3] }, AT)
    for (let length = 0; length < bytes.length; length++) expectQuietFailure(bytes.slice(0, length))
    expectQuietFailure(Uint8Array.of(...bytes, 0))
    expectQuietFailure(Uint8Array.of(200, 1, 2))
    expectQuietFailure(Uint8Array.of(1, ...new Array(100_000).fill(0x91)))
  })
})

function expectQuietFailure(bytes: Uint8Array): void {
  let thrown: unknown
  try {
    defaultCodec.decode(bytes, AT)
  } catch (error) {
    thrown = error
  }
  if (!isMeshError(thrown, 'ERR_MESH_VALUE')) throw new Error(`${bytes.length} bytes were decoded`)
  expect(thrown).toMatchObject({ cache: 'products', key: 's42' })
  expect(thrown.cause).toBeUndefined()
  expect(thrown.message).not.toContain('hunter2')
}

describe('a codec of the user', () => {
  class Money {
    readonly cents: number
    constructor(cents: number) {
      this.cents = cents
    }
  }
  const money: UserCodec = {
    encode: value => Buffer.from(String((value as Money).cents)),
    decode: bytes => new Money(Number(Buffer.from(bytes).toString()))
  }
  const codec = customCodec(money)

  it('brings back what it likes', () => {
    const back = codec.decode(codec.encode(new Money(1999), AT), AT)
    expect(back).toBeInstanceOf(Money)
    expect(back).toEqual(new Money(1999))
  })

  it('is not asked about undefined', () => {
    expect(codec.decode(codec.encode(undefined, { ...AT, allowUndefined: true }))).toBeUndefined()
    expect(() => codec.encode(undefined, AT)).toThrow(expect.objectContaining({ code: 'ERR_MESH_VALUE' }))
  })

  it('is needed to read what it wrote, and reads nothing else', () => {
    expect(() => defaultCodec.decode(codec.encode(new Money(1), AT))).toThrow(/a codec that this cache does not have/)
    expect(() => codec.decode(defaultCodec.encode({ cents: 1 }, AT))).toThrow(/without the codec of this cache/)
  })

  it('is held to answer with bytes at once', () => {
    const late = customCodec({
      encode: (async () => new Uint8Array(1)) as unknown as UserCodec['encode'],
      decode: bytes => bytes
    })
    expect(() => late.encode(1, AT)).toThrow(/expected a Uint8Array.*Promise/)
  })

  it('fails with its own error as the cause', () => {
    const cause = new Error('no')
    const broken = customCodec({
      encode: () => {
        throw cause
      },
      decode: () => {
        throw cause
      }
    })
    expect(() => broken.encode(1, AT)).toThrow(expect.objectContaining({ code: 'ERR_MESH_VALUE', cause }))
    expect(() => broken.decode(Uint8Array.of(3, 1), AT)).toThrow(
      expect.objectContaining({ code: 'ERR_MESH_VALUE', cause })
    )
  })

  it('gets bytes of its own', () => {
    const kept: Uint8Array[] = []
    const keeper = customCodec({ encode: () => Uint8Array.of(7), decode: bytes => kept.push(bytes) })
    const frame = Buffer.from(keeper.encode(1, AT))
    keeper.decode(frame)
    frame.fill(0)
    expect(kept[0]).toEqual(Uint8Array.of(7))
  })
})
