import fc from 'fast-check'
import { it } from 'vitest'
import { decodeFailure, encodeFailure, FAILURE_BYTES_MAX } from '../../lib/codec/load-failure.ts'

const anything = fc.anything({
  withBigInt: true,
  withDate: true,
  withMap: true,
  withNullPrototype: true,
  withSparseArray: true,
  key: fc.oneof(fc.string(), fc.constantFrom('__proto__', 'constructor', 'toString', 'code', 'cause', 'name', 'config'))
})
const thrown = fc.oneof(
  anything,
  fc.tuple(fc.string({ unit: 'binary' }), anything, anything).map(([message, cause, fields]) => {
    const error = new RangeError(message, { cause })
    if (typeof fields === 'object' && fields !== null)
      for (const name of Object.keys(fields))
        Object.defineProperty(error, name, { value: (fields as Record<string, unknown>)[name], enumerable: true })
    return error
  })
)

function isSound(error: unknown): boolean {
  return (
    error instanceof Error &&
    Object.getPrototypeOf(error) === Error.prototype &&
    typeof error.name === 'string' &&
    typeof error.message === 'string' &&
    `${error}`.length > 0 &&
    !Object.hasOwn(error, '__proto__') &&
    !Object.hasOwn(error, 'constructor') &&
    (error.cause === undefined || isSound(error.cause))
  )
}

it('tells anything that can be thrown, within its bound, the same each time', () => {
  fc.assert(
    fc.property(thrown, what => {
      const text = encodeFailure(what)
      const error = decodeFailure(text)
      return Buffer.byteLength(text) <= FAILURE_BYTES_MAX && isSound(error) && encodeFailure(what) === text
    }),
    { numRuns: 1000 }
  )
})

it('makes a sound error of any text', () => {
  const shape = fc.record(
    { name: anything, message: anything, code: anything, stack: anything, fields: anything, cause: anything },
    { requiredKeys: [] }
  )
  const json = shape.map(encoded => JSON.stringify(encoded, (_, part) => (typeof part === 'bigint' ? `${part}` : part)))
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json(), json), text => isSound(decodeFailure(text))),
    { numRuns: 1000 }
  )
})
