import fc from 'fast-check'
import { expect, test } from 'vitest'
import { FrameReader } from '../../lib/adapters/frame-stream.ts'
import { AllocationMeter } from '../fuzz/allocation.ts'

const header = (bytes: number) => {
  const buffer = Buffer.alloc(4)
  buffer.writeUInt32BE(bytes)
  return buffer
}

test('frames come out whole however their bytes are cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 20 }),
      (frames, cuts) => {
        const wire = Buffer.concat(frames.flatMap(frame => [header(frame.byteLength), frame]))
        const got: Uint8Array[] = []
        const reader = new FrameReader(40, frame => got.push(Uint8Array.from(frame)))
        for (let at = 0, i = 0; at < wire.byteLength; i++) {
          const end = at + cuts[i % cuts.length]!
          expect(reader.push(wire.subarray(at, end))).toBe(true)
          at = end
        }
        expect(got).toEqual(frames)
      }
    )
  )
})

test('a frame over the limit is refused by its length alone', () => {
  const got: Uint8Array[] = []
  const reader = new FrameReader(100, frame => got.push(frame))
  expect(reader.push(Buffer.concat([header(1), Buffer.from('x'), header(2 ** 32 - 1)]))).toBe(false)
  expect(got).toHaveLength(1)
})

test('nothing more is handed on once it is not wanted', () => {
  let got = 0
  const reader = new FrameReader(10, () => got++)
  expect(reader.push(Buffer.concat([header(0), header(0), header(0)]), () => got < 2)).toBe(true)
  expect(got).toBe(2)
})

test('large frames come out whole however their bytes are cut', () => {
  const frames = [40_000, 300_000, 1_048_581, 32_768].map(bytes => Buffer.alloc(bytes, bytes % 251))
  const wire = Buffer.concat(frames.flatMap(frame => [header(frame.byteLength), frame]))
  for (const step of [1_000, 65_536, 400_000]) {
    const got: Uint8Array[] = []
    const reader = new FrameReader(2 ** 24, frame => got.push(frame))
    for (let at = 0; at < wire.byteLength; at += step) expect(reader.push(wire.subarray(at, at + step))).toBe(true)
    expect(got.map(frame => frame.byteLength)).toEqual(frames.map(frame => frame.byteLength))
    expect(got.every((frame, i) => Buffer.compare(frame, frames[i]!) === 0)).toBe(true)
  }
})

test('memory is taken for what has come, not for what was announced', () => {
  const meter = new AllocationMeter()
  const readers = Array.from({ length: 50 }, () => new FrameReader(2 ** 24, () => {}))
  const bytes = meter.bytesOf(() => {
    for (const reader of readers) reader.push(Buffer.concat([header(2 ** 24), Buffer.from('x')]))
  })
  expect((bytes ?? Number.NaN) / readers.length).toBeLessThan(64 * 1024)
})
