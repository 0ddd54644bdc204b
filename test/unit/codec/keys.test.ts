import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isMeshError, type MeshError } from '../../../lib/base/errors.ts'
import { decodeKey, encodeKey, encodePrefix, isInRange, KEY_BYTES_MAX, rangeOf } from '../../../lib/codec/keys.ts'

function refusalOf(key: unknown): MeshError {
  try {
    encodeKey(key, 'products')
  } catch (error) {
    if (isMeshError(error, 'ERR_MESH_KEY')) return error
    throw error
  }
  throw new Error('the key was taken')
}

describe('encodeKey', () => {
  it('keeps a string as it is, behind a letter', () => {
    expect(encodeKey('42', 'products')).toBe('s42')
    expect(encodeKey('a["x"]', 'products')).toBe('sa["x"]')
  })

  it('writes an array as JSON, so that types and bounds are told apart', () => {
    expect(encodeKey(['tenant', 42, true], 'products')).toBe('a["tenant",42,true]')
    expect(
      new Set([['1'], [1], '1', ['1', ''], ['', '1'], [true], ['true']].map(key => encodeKey(key, 'c'))).size
    ).toBe(7)
  })

  it('takes -0 for 0', () => {
    expect(encodeKey([-0], 'products')).toBe(encodeKey([0], 'products'))
  })

  it('does not ask an array how it wants to be written', () => {
    const key = Object.assign(['a'], { toJSON: () => ['b'] })
    expect(encodeKey(key, 'products')).toBe('a["a"]')
  })

  it.each([
    ['a bare number', 42, "write '42' or [42]"],
    ['no key', undefined, 'it is missing'],
    ['null', null, 'it is missing'],
    ['an empty string', '', 'got an empty string'],
    ['an empty array', [], 'got an empty array'],
    ['NaN', [Number.NaN], 'at [0], got NaN'],
    ['infinity', ['a', Number.POSITIVE_INFINITY], 'at [1], got Infinity'],
    ['a bigint', [5n], 'write String(id)'],
    ['null inside', [null], 'at [0], got null'],
    ['an array inside', [['a']], 'at [0], got an array of 1'],
    ['a hole', new Array(1), 'at [0], got undefined'],
    ['an object', { id: 1 }, 'got an object (Object)'],
    ['half of a surrogate pair', 'a\ud800', 'surrogate pair in the key'],
    ['half of a surrogate pair inside', ['ok', '\udc00b'], 'surrogate pair in the string at [1]']
  ])('refuses %s and says what to do', (_, key, text) => {
    const error = refusalOf(key)
    expect(error.message).toContain(text)
    expect(error.message).toContain("cache 'products'")
    expect(error.cache).toBe('products')
  })

  it('counts bytes of UTF-8, its own letter included', () => {
    expect(encodeKey('x'.repeat(KEY_BYTES_MAX - 1), 'c')).toHaveLength(KEY_BYTES_MAX)
    expect(() => encodeKey('x'.repeat(KEY_BYTES_MAX), 'c')).toThrow(/at most 1024 bytes/)
    expect(() => encodeKey('é'.repeat(511), 'c')).not.toThrow()
    expect(() => encodeKey('é'.repeat(512), 'c')).toThrow(/at most 1024 bytes/)
    expect(() => encodeKey('€'.repeat(341), 'c')).not.toThrow()
    expect(() => encodeKey('€'.repeat(342), 'c')).toThrow(/at most 1024 bytes/)
    expect(() => encodeKey('😀'.repeat(255), 'c')).not.toThrow()
    expect(() => encodeKey('😀'.repeat(256), 'c')).toThrow(/at most 1024 bytes/)
    expect(() => encodeKey(['€'.repeat(342)], 'c')).toThrow(/at most 1024 bytes/)
  })

  it('does not quote a long key', () => {
    expect(refusalOf('secret'.repeat(1000)).message).not.toContain('secret')
    expect(refusalOf([`${'secret'.repeat(10)}\ud800`]).message).not.toContain('secret')
  })
})

describe('decodeKey', () => {
  it('gives back the key', () => {
    expect(decodeKey('s42')).toBe('42')
    expect(decodeKey('a["tenant",42,true]')).toEqual(['tenant', 42, true])
  })

  it.each([
    '',
    's',
    'a',
    'x42',
    '42',
    'a[]',
    'a[1',
    'a{}',
    'a[null]',
    'a[[1]]',
    'a[{"__proto__":1}]',
    'a[1.0]',
    'a[ 1]',
    'a[-0]',
    'a["\\u0041"]',
    'a[1e400]',
    's\ud800',
    'a["\\ud800"]',
    `s${'x'.repeat(KEY_BYTES_MAX)}`
  ])('refuses what encoding would not have written: %s', encoded => {
    expect(() => decodeKey(encoded)).toThrow(expect.objectContaining({ code: 'ERR_MESH_KEY' }))
  })
})

describe('a prefix', () => {
  const matches = (prefix: unknown, keys: unknown[]): unknown[] => {
    const range = rangeOf(encodePrefix(prefix, 'c'))
    return keys.filter(key => isInRange(encodeKey(key, 'c'), range))
  }

  it('of text is the beginning of text keys; of parts, the first parts of arrays, each whole', () => {
    const keys = ['a', 'ab', 'b', ['a'], ['a', 'b'], ['ab'], [1], [1, 2], [12], ['1'], [true], ['a,b'], ['a"']]
    expect(matches('a', keys)).toEqual(['a', 'ab'])
    expect(matches(['a'], keys)).toEqual([['a'], ['a', 'b']])
    expect(matches([1], keys)).toEqual([[1], [1, 2]])
    expect(matches(['1'], keys)).toEqual([['1']])
    expect(matches([true], keys)).toEqual([[true]])
    expect(matches(['a', 'b'], keys)).toEqual([['a', 'b']])
  })

  it('holds for any keys: exactly those that begin with the same parts', () => {
    const part = fc.oneof(fc.string({ unit: 'binary', maxLength: 3 }), fc.integer({ min: -20, max: 200 }), fc.boolean())
    const parts = fc.array(part, { minLength: 1, maxLength: 3 })
    fc.assert(
      fc.property(parts, parts, (prefix, key) => {
        const begins = prefix.every((one, i) => Object.is(one, key[i]))
        expect(matches(prefix, [key])).toHaveLength(begins ? 1 : 0)
        expect(matches(prefix, [[...prefix, ...key]])).toHaveLength(1)
      })
    )
  })

  it.each([[undefined], [null], [''], [[]], [7], [{}], [[{}]], ['\ud800']])('of %o is refused', prefix => {
    expect(() => encodePrefix(prefix, 'c')).toThrow(expect.objectContaining({ code: 'ERR_MESH_KEY' }))
  })

  it('that is empty on the wire means every key', () => {
    for (const key of ['a', [1]]) expect(isInRange(encodeKey(key, 'c'), rangeOf(''))).toBe(true)
  })
})
