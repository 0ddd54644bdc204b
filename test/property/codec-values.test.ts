import { deepStrictEqual } from 'node:assert'
import fc from 'fast-check'
import { it } from 'vitest'
import { isMeshError } from '../../lib/base/errors.ts'
import { defaultCodec } from '../../lib/codec/values.ts'
import { value } from './arbitrary-value.ts'

const AT = { cache: 'c', key: 'sk', allowUndefined: true }

it('brings back every supported value, in memory of its own', () => {
  fc.assert(
    fc.property(value, original => {
      const frame = defaultCodec.encode(original, AT)
      const decoded = defaultCodec.decode(frame, AT)
      frame.fill(0xff)
      deepStrictEqual(decoded, original)
    }),
    { numRuns: 400 }
  )
})

it('decodes any bytes or says so, and never more than that', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), fc.integer({ min: 0, max: 6 }), (bytes, tag) => {
      bytes[0] = tag
      try {
        defaultCodec.decode(bytes, AT)
      } catch (error) {
        return isMeshError(error, 'ERR_MESH_VALUE')
      }
      return true
    }),
    { numRuns: 2000 }
  )
})

it('survives a flipped byte in the same way', () => {
  fc.assert(
    fc.property(value, fc.nat(), fc.integer({ min: 1, max: 255 }), (original, at, flip) => {
      const bytes = defaultCodec.encode(original, AT)
      const index = at % bytes.length
      bytes[index] = (bytes[index] as number) ^ flip
      try {
        defaultCodec.decode(bytes, AT)
      } catch (error) {
        return isMeshError(error, 'ERR_MESH_VALUE')
      }
      return true
    }),
    { numRuns: 400 }
  )
})
