import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ByteReader, ByteWriter, Malformed } from '../../../lib/base/bytes.ts'

const text = fc.string({ unit: 'binary' })

type Step = { put(to: ByteWriter): void; take(from: ByteReader): unknown; value: unknown }
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.integer({ min: 0, max: 255 }).map(n => ({ put: to => to.u8(n), take: from => from.u8(), value: n }) as Step),
  fc
    .integer({ min: 0, max: 2 ** 32 - 1 })
    .map(n => ({ put: to => to.u32(n), take: from => from.u32(), value: n }) as Step),
  fc.double().map(n => ({ put: to => to.f64(n), take: from => from.f64(), value: n }) as Step),
  text.map(s => ({ put: to => to.text(s), take: from => from.text(10_000, 'text'), value: s }) as Step),
  fc
    .uint8Array({ maxLength: 700 })
    .map(b => ({ put: to => to.bytes(b), take: from => from.bytes(10_000, 'bytes'), value: b }) as Step)
)

describe('what a ByteWriter writes', () => {
  it('a ByteReader reads back, whatever the order and however small the first buffer', () => {
    fc.assert(
      fc.property(fc.array(step), fc.integer({ min: 0, max: 40 }), (steps, capacity) => {
        const to = new ByteWriter(capacity)
        for (const { put } of steps) put(to)
        const from = new ByteReader(to.finish())
        for (const { take, value } of steps) expect(take(from)).toStrictEqual(value)
        from.end('all')
      })
    )
  })

  it('keeps a byte order mark', () => {
    const to = new ByteWriter()
    to.text('\ufeffa')
    expect(new ByteReader(to.finish()).text(100, 'text')).toBe('\ufeffa')
  })

  it('can be filled in afterwards', () => {
    const to = new ByteWriter(4)
    to.u32(0)
    to.f64(0)
    to.text('tail')
    to.patchU32(0, 7)
    to.patchF64(4, 0.5)
    const from = new ByteReader(to.finish())
    expect([from.u32(), from.f64(), from.text(9, 'text')]).toEqual([7, 0.5, 'tail'])
  })
})

describe('a ByteReader', () => {
  it('refuses to read past the end, and to leave something over', () => {
    for (const read of [
      (from: ByteReader) => from.u32(),
      (from: ByteReader) => from.f64(),
      (from: ByteReader) => from.text(10, 'name'),
      (from: ByteReader) => from.narrow(4),
      (from: ByteReader) => from.end('message')
    ])
      expect(() => read(new ByteReader(Uint8Array.of(1, 0, 0)))).toThrow(Malformed)
  })

  it('checks a length against its cap and against what is there, in that order', () => {
    const claim = Uint8Array.of(255, 255, 255, 255, 1)
    expect(() => new ByteReader(claim).bytes(1_000, 'value')).toThrow('value of 4294967295, at most 1000 allowed')
    expect(() => new ByteReader(claim).bytes(2 ** 32, 'value')).toThrow('4294967295 bytes wanted, 1 left')
  })

  it('refuses text that is not UTF-8', () => {
    expect(() => new ByteReader(Uint8Array.of(1, 0, 0, 0, 0xff)).text(10, 'name')).toThrow(/name is not UTF-8/)
  })

  it('that is narrowed does not see what lies behind, and goes on there when it is widened', () => {
    const from = new ByteReader(Uint8Array.of(1, 2, 3, 4))
    const until = from.narrow(2)
    expect([from.u8(), from.u8(), from.left]).toEqual([1, 2, 0])
    expect(() => from.u8()).toThrow(Malformed)
    from.widen(until)
    expect([from.u8(), from.left]).toEqual([3, 1])
  })

  it('reads a window of a larger buffer', () => {
    const from = new ByteReader(Uint8Array.of(9, 9, 1, 0, 0, 0, 9).subarray(2, 6))
    expect(from.u32()).toBe(1)
    expect(from.left).toBe(0)
  })

  it('gives bytes as a view: not one is copied before somebody wants to keep it', () => {
    const input = Uint8Array.of(9, 1, 0, 0, 0, 5)
    const bytes = new ByteReader(input.subarray(1)).bytes(10, 'value')
    expect([...bytes]).toEqual([5])
    expect(bytes.buffer).toBe(input.buffer)
  })

  it('reads the same text again from a glance at its bytes, and another one as it is', () => {
    const to = new ByteWriter()
    for (const name of ['käse', 'käse', 'kase', '', 'käse']) to.text(name)
    const from = new ByteReader(to.finish())
    const last = { text: '', bytes: new Uint8Array(0) }
    const read = Array.from({ length: 5 }, () => from.sameText(9, 'name', last))
    expect(read).toEqual(['käse', 'käse', 'kase', '', 'käse'])
    expect(() => new ByteReader(Uint8Array.of(1, 0, 0, 0, 0xff)).sameText(9, 'name', last)).toThrow(/not UTF-8/)
    expect(last.text).toBe('käse')
  })
})
