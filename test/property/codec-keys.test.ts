import fc from 'fast-check'
import { expect, it } from 'vitest'
import { decodeKey, encodeKey, type Key } from '../../lib/codec/keys.ts'

const part = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('', '1', 'true', ',', '"', '\\', '],["', '\0'),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.integer({ min: -2, max: 2 }),
  fc.boolean()
)
const key: fc.Arbitrary<Key> = fc.oneof(
  fc.string({ unit: 'binary', minLength: 1, maxLength: 100 }),
  fc.array(part, { minLength: 1, maxLength: 6 })
)

it('decodes to the key that was encoded', () => {
  fc.assert(
    fc.property(key, original => {
      const expected = typeof original === 'string' ? original : original.map(one => (Object.is(one, -0) ? 0 : one))
      expect(decodeKey(encodeKey(original, 'c'))).toStrictEqual(expected)
    }),
    { numRuns: 1000 }
  )
})

it('gives different keys different encodings, and like keys the same', () => {
  fc.assert(
    fc.property(key, key, (a, b) => (encodeKey(a, 'c') === encodeKey(b, 'c')) === isSameKey(a, b)),
    { numRuns: 2000 }
  )
})

it('takes no text for a key that it would write differently', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json().map(json => `a${json}`)
      ),
      encoded => {
        let decoded: Key
        try {
          decoded = decodeKey(encoded)
        } catch {
          return true
        }
        return encodeKey(decoded, 'c') === encoded
      }
    ),
    { numRuns: 2000 }
  )
})

function isSameKey(a: Key, b: Key): boolean {
  if (typeof a === 'string' || typeof b === 'string') return a === b
  return a.length === b.length && a.every((one, i) => one === b[i])
}
