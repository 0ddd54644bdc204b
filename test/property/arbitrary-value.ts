import fc from 'fast-check'

/** Text of whole characters, now and then long, and now and then behind a byte order mark. */
export const text = fc.oneof(
  { weight: 5, arbitrary: fc.string({ unit: 'binary' }) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', minLength: 60, maxLength: 300 }) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', minLength: 20, maxLength: 80 }).map(rest => `\ufeff${rest}`) }
)

const bytes = fc.oneof(
  fc.uint8Array().map(view => Buffer.from(view)),
  fc.uint8Array(),
  // A window: what lies beside it must not come along.
  fc.uint8Array({ minLength: 2 }).map(view => view.subarray(1, view.length - 1)),
  fc.int8Array(),
  fc.uint8ClampedArray(),
  fc.int16Array(),
  fc.uint16Array(),
  fc.int32Array(),
  fc.uint32Array(),
  fc.float32Array(),
  fc.float64Array(),
  fc.bigInt64Array(),
  fc.bigUint64Array(),
  fc.uint8Array().map(view => Uint8Array.from(view).buffer),
  fc.uint8Array().map(view => new DataView(Uint8Array.from(view).buffer))
)

const scalar = fc.oneof(
  fc.constantFrom(null, undefined, true, false, -0, Number.NaN, Number.POSITIVE_INFINITY),
  fc.integer(),
  fc.double(),
  fc.bigInt(),
  fc.date({ noInvalidDate: true }),
  text,
  bytes
)

/** Everything the codec promises to bring back, nested in everything that nests. */
export const value: fc.Arbitrary<unknown> = fc.letrec<{ value: unknown }>(tie => ({
  value: fc.oneof(
    { depthSize: 'small', maxDepth: 4, withCrossShrink: true },
    scalar,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(
      text.filter(key => key !== '__proto__'),
      tie('value'),
      { noNullPrototype: true, maxKeys: 4 }
    ),
    fc.array(fc.tuple(tie('value'), tie('value')), { maxLength: 4 }).map(entries => new Map(entries)),
    fc.array(tie('value'), { maxLength: 4 }).map(members => new Set(members))
  )
})).value
