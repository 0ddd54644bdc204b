import { deepStrictEqual } from 'node:assert'
import fc from 'fast-check'
import { expect, it, vi } from 'vitest'
import { value } from './arbitrary-value.ts'

// MessagePack is read by another piece of code where its native part is not installed. That code has habits of its own
// (it drops a leading byte order mark), and which one runs differs from machine to machine of one mesh.
vi.hoisted(() => {
  process.env.MSGPACKR_NATIVE_ACCELERATION_DISABLED = 'true'
})

it('brings back every supported value without the native part too', async () => {
  const { defaultCodec } = await import('../../lib/codec/values.ts')
  expect((await import('msgpackr')).isNativeAccelerationEnabled).toBe(false)
  const at = { cache: 'c', key: 'sk', allowUndefined: true }
  fc.assert(
    fc.property(value, original => deepStrictEqual(defaultCodec.decode(defaultCodec.encode(original, at)), original)),
    { numRuns: 400, examples: [[`\ufeff${'x'.repeat(100)}`], [{ [`\ufeff${'x'.repeat(100)}`]: 1 }]] }
  )
})
