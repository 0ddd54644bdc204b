import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ByteQueue } from '../../lib/adapters/byte-queue.ts'

const part = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.integer({ min: 1_000, max: 3_000 }).map(length => new Uint8Array(length).map((_, i) => i))
)

test('what goes in comes out, in order, however it is taken', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(part, fc.nat(4_000)), { maxLength: 200 }), steps => {
      const queue = new ByteQueue()
      const put: Uint8Array[] = []
      const got: Uint8Array[] = []
      const take = (bytes: number) => {
        const to = new Uint8Array(bytes + 2)
        queue.take(bytes, to, 1)
        expect([to[0], to.at(-1)]).toEqual([0, 0])
        got.push(to.subarray(1, -1))
      }
      for (const [bytes, taken] of steps) {
        queue.push(bytes)
        put.push(bytes)
        take(Math.min(taken, queue.byteLength))
      }
      take(queue.byteLength)
      expect(queue.byteLength).toBe(0)
      expect(Buffer.compare(Buffer.concat(got), Buffer.concat(put))).toBe(0)
    })
  )
})

test('small parts cost their bytes, and those in front do not pay for those behind', () => {
  const queue = new ByteQueue()
  const before = process.memoryUsage()
  for (let i = 0; i < 400_000; i++) queue.push(new Uint8Array(50))
  const after = process.memoryUsage()
  // An object for each would be 200 bytes for 50.
  expect(after.external + after.heapUsed - before.external - before.heapUsed).toBeLessThan(60_000_000)
  const to = new Uint8Array(50)
  for (let i = 0; i < 400_000; i++) queue.take(50, to, 0)
  expect(queue.byteLength).toBe(0)
})
