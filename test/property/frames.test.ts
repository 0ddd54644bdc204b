import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ByteReader, ByteWriter, Malformed } from '../../lib/base/bytes.ts'
import { readFields, writeFields } from '../../lib/rpc/fields.ts'
import { FrameBuilder, readFrame } from '../../lib/rpc/frame.ts'
import {
  KINDS,
  type Kind,
  LAYOUTS,
  type Message,
  PAGE_KEYS_MAX,
  readGossip,
  writeGossip
} from '../../lib/rpc/messages.ts'
import { readMessageOf, writeMessage } from '../../lib/rpc/wire.ts'
import { text } from './arbitrary-value.ts'

/**
 * What each field may hold. It is told apart by what its reader takes, not by its name: a new message is covered as
 * soon as it is in the table, and a field nobody has described here fails the test that looks for it.
 */
const real = fc.double({ noNaN: true })
const shortText = text.map(whole => Array.from(whole).slice(0, 50).join(''))
const bytes = fc.uint8Array({ maxLength: 2_000 })
const member = fc.record(
  {
    id: shortText,
    boot: real,
    incarnation: fc.integer({ min: 0, max: 2 ** 31 }),
    status: fc.constantFrom('alive', 'suspect', 'dead', 'left'),
    weight: fc.oneof(fc.constantFrom(0, 1, 1000), fc.double({ min: 0, max: 1000, noNaN: true })),
    zone: shortText,
    host: shortText,
    addresses: fc.array(shortText, { maxLength: 32 }),
    firstHand: fc.boolean()
  },
  { noNullPrototype: true }
)
const count = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const members = fc.array(member, { maxLength: 6 })
const prints = fc.array(real, { maxLength: 20 })
const outcome = {
  code: fc.constantFrom(
    'value',
    'ERR_MESH_LOAD',
    'ERR_MESH_LOAD_TIMEOUT',
    'ERR_MESH_VALUE',
    'ERR_MESH_VALUE_TOO_LARGE',
    'ERR_MESH_BACKOFF',
    'ERR_MESH_OVERLOADED'
  ),
  bytes,
  failure: text
}
const where = { namespace: shortText, key: shortText }
const token = { lease: real, boot: real }
const tags = fc.uint8Array({ maxLength: 200 })
const plain = { noNullPrototype: true }
const maybe = (what: Record<string, fc.Arbitrary<unknown>>) => fc.option(fc.record(what, plain), { nil: undefined })
const keep = maybe({ revalidateMs: real, staleMs: real, ahead: real, earlyMs: real, tags })
const version = { stamp: real, writer: shortText, expiresAtMs: real }
const reason = fc.constantFrom('miss', 'stale', 'early', 'warm')
const origin = { origin: fc.constantFrom('none', 'through', 'behind'), ticket: real }
const backups = fc.integer({ min: 0, max: 3 })
const copying = { backups, backupAcks: fc.integer({ min: 0, max: 255 }) }
const stamped = { stamp: real, writer: shortText }
const once = { boot: real, number: real, openFrom: real, untilMs: real }

const record = fc.record(
  {
    ...where,
    ...stamped,
    kind: fc.constantFrom('value', 'tombstone'),
    negative: fc.boolean(),
    backups,
    expiresAtMs: real,
    bytes,
    keeping: maybe({
      freshUntilMs: real,
      revalidateUntilMs: real,
      aheadFromMs: real,
      earlyMs: real,
      shadowUntilMs: real,
      tags
    })
  },
  plain
)
const answerFields = {
  partition: count,
  peer: shortText,
  ...once,
  reply: fc.constantFrom('written', 'removed', 'compared', 'added', 'touched', 'forgotten'),
  ...stamped,
  existed: fc.boolean(),
  value: real,
  expiresAtMs: real
}
const few = (what: Record<string, fc.Arbitrary<unknown>>) => fc.array(fc.record(what, plain), { maxLength: 5 })
const holdings = few({ partition: count, count, low: count, high: count, heat: count })
const floors = few({
  kind: fc.constantFrom('prefix', 'tag', 'tagged'),
  namespace: shortText,
  text: shortText,
  stamp: real,
  atMs: real
})
const places = fc.array(count, { maxLength: 20 })
const after = fc.record(where, plain)

const filterState = fc.record(
  {
    stamp: real,
    writer: shortText,
    bits: count,
    hashes: count,
    hashing: count,
    holds: fc.boolean(),
    complete: fc.boolean(),
    level: fc.boolean(),
    doubts: count,
    print: real
  },
  { noNullPrototype: true }
)

const FIELDS: Record<Kind, Record<string, fc.Arbitrary<unknown>>> = {
  hello: { mesh: shortText, partitions: count, placement: real, boot: real, record: member },
  ping: { stateHash: real, news: members },
  pong: { stateHash: real, news: members },
  probe: { peer: shortText },
  probed: { peer: shortText, heard: fc.boolean() },
  view: { round: count, stateHash: real },
  digest: { round: count, same: fc.boolean(), certain: fc.boolean(), prints },
  swap: { round: count, records: members, wanted: prints },
  swapped: { round: count, records: members },
  news: { records: members },
  read: {
    ...where,
    mode: fc.constantFrom('stored', 'load', 'lease'),
    wish: fc.constantFrom('usual', 'fresh', 'refresh', 'warm')
  },
  write: { ...where, bytes, ttlMs: real, keep, ...copying, ...once, ...origin },
  remove: {
    ...where,
    soft: fc.boolean(),
    row: fc.bigInt({ min: 0n, max: 10n ** 64n - 1n }).map(String),
    ...copying,
    ...once,
    ...origin
  },
  fill: { ...where, ...token, ...outcome, ttlMs: real, negative: fc.boolean(), keep, backups },
  renew: token,
  release: token,
  cancel: {},
  hit: { stamp: real, writer: shortText, expiresAtMs: real, negative: fc.boolean(), bytes },
  hot: { stamp: real, writer: shortText, expiresAtMs: real, negative: fc.boolean(), bytes, tags },
  absent: {},
  waiting: {},
  lease: { ...token, reason, previous: maybe({ ...version, stale: fc.boolean(), bytes, tags }) },
  loaded: { ...outcome, negative: fc.boolean(), stamp: real, writer: shortText, expiresAtMs: real, tags },
  written: { stamp: real, writer: shortText, taken: fc.boolean() },
  removed: { existed: fc.boolean(), stamp: real, writer: shortText, taken: fc.boolean() },
  filled: { stored: fc.boolean() },
  notOwner: {},
  overloaded: {},
  broken: { reason: shortText },
  readMany: { namespace: shortText, keys: fc.array(shortText, { maxLength: 20 }) },
  found: {
    last: fc.boolean(),
    items: fc.array(
      fc.record(
        { state: fc.constantFrom('absent', 'elsewhere', 'alone', 'value', 'negative'), bytes },
        { noNullPrototype: true }
      ),
      { maxLength: 5 }
    )
  },
  compareAndSet: {
    ...where,
    expectedStamp: real,
    expectedWriter: shortText,
    bytes,
    ttlMs: real,
    keepTtl: fc.boolean(),
    keep,
    ...copying,
    ...once,
    ...origin
  },
  touch: { ...where, ttlMs: real, ...copying, ...once },
  add: { ...where, by: real, ttlMs: real, ...copying, ...once },
  clear: {
    kind: fc.constantFrom('prefix', 'tag'),
    namespace: shortText,
    texts: fc.array(shortText, { maxLength: 3 }),
    stamp: real,
    soft: fc.boolean(),
    ...once
  },
  keys: { namespace: shortText, prefix: shortText, viewHash: real, partition: count, after: shortText },
  compared: { done: fc.boolean(), stamp: real, writer: shortText, taken: fc.boolean() },
  touched: { existed: fc.boolean() },
  added: { done: fc.boolean(), value: real, expiresAtMs: real },
  cleared: { viewHash: real },
  page: { keys: fc.array(shortText, { maxLength: 20 }), partition: count, after: shortText },
  forgotten: {},
  kept: { ...version, stale: fc.boolean(), negative: fc.boolean(), bytes, tags, ...token, reason },
  follow: where,
  followed: { ...outcome, ttlMs: real, negative: fc.boolean(), keep, backups, stamp: real, writer: shortText },
  idle: token,
  drop: token,
  tooLarge: { recordBytes: real, recordBytesMax: real },
  explain: where,
  explained: {
    entry: maybe({
      ...version,
      kind: fc.constantFrom('value', 'tombstone'),
      overAtMs: real,
      stale: fc.boolean(),
      negative: fc.boolean(),
      bytes: count,
      tags
    }),
    fill: maybe({ member: shortText, waiters: count, ms: real, reason }),
    backOff: maybe({ failures: count, leftMs: real, why: shortText }),
    origin: fc.record(
      {
        running: count,
        queued: count,
        permits: count,
        breaker: fc.constantFrom('closed', 'open', 'half-open'),
        retryAfterMs: real
      },
      plain
    ),
    mayExist: fc.boolean(),
    storePending: fc.boolean(),
    lines: fc.array(fc.record({ agoMs: real, what: shortText }, plain), { maxLength: 5 })
  },
  demand: {
    namespace: shortText,
    session: real,
    serial: count,
    held: count,
    wanted: count,
    oks: count,
    failures: count,
    probe: fc.constantFrom('none', 'running', 'ok', 'failed', 'aborted'),
    retryAfterMs: real,
    loadConcurrency: count,
    breakerFailures: count,
    breakerOpenMs: real
  },
  census: { namespace: shortText, session: real },
  permits: {
    namespace: shortText,
    session: real,
    serial: count,
    limit: count,
    counted: count,
    once: count,
    scarce: fc.boolean(),
    breaker: fc.constantFrom('closed', 'open', 'half-open'),
    retryAfterMs: real
  },
  filterCompare: { namespace: shortText, cutOff: fc.boolean(), state: filterState },
  filterAdd: { namespace: shortText, keys: fc.array(shortText, { maxLength: 20 }) },
  filterPrints: { namespace: shortText, stamp: real, writer: shortText },
  filterPull: { namespace: shortText, stamp: real, writer: shortText, part: count },
  filterTold: { viewHash: real, cutOff: fc.boolean(), state: filterState },
  filterPrinted: { prints },
  filterPart: { bytes },
  ticket: {
    ...where,
    exclusive: fc.boolean(),
    expectedStamp: real,
    expectedWriter: shortText,
    lifeMs: real,
    ...once
  },
  ticketed: {
    state: fc.constantFrom('open', 'busy', 'differs', 'full'),
    ticket: real,
    stamp: real,
    writer: shortText
  },
  originHas: { ...where, stamp: real, writer: shortText, ...once },
  heeded: {},
  readCopy: {
    ...where,
    mode: fc.constantFrom('stored', 'load', 'lease'),
    wish: fc.constantFrom('usual', 'fresh', 'refresh', 'warm'),
    floorStamp: real,
    mayFill: fc.boolean()
  },
  copies: {
    viewHash: real,
    delivers: fc.boolean(),
    records: few({ record, answer: maybe(answerFields) }),
    answers: few(answerFields),
    evicted: few({ ...where, ...stamped }),
    atMs: real,
    digests: holdings,
    floors
  },
  copied: {
    viewHash: real,
    refused: few({ place: count, why: fc.constantFrom('moved', 'room', 'newer'), ...stamped }),
    differing: few({ partition: count, count }),
    floors
  },
  peek: { ...where, change: maybe({ peer: shortText, boot: real, number: real }) },
  peeked: {
    record: fc.option(record, { nil: undefined }),
    answer: maybe(answerFields),
    final: fc.boolean(),
    viewHash: real
  },
  offer: { viewHash: real, tables: count, last: fc.boolean(), holdings, answers: few(answerFields), floors },
  offered: { viewHash: real, tables: count, level: places, floors },
  list: { viewHash: real, partition: count, after },
  listed: { versions: few({ ...where, ...stamped, expiresAtMs: real }), last: fc.boolean() },
  pull: { viewHash: real, partitions: places, after, names: few(where), bytesMax: count },
  pulled: { covered: count, records: fc.array(record, { maxLength: 5 }), answers: few(answerFields) },
  flush: { backupAcks: count, untilMs: real },
  flushed: { acked: count, wanted: count },
  confirm: { boot: real, number: real, used: few({ ...where, reads: count }) },
  confirmed: {
    boot: real,
    number: real,
    isWhole: fc.boolean(),
    changes: few({ kind: fc.constantFrom('key', 'prefix', 'tag', 'tagged'), ...where, stamp: real, expiresAtMs: real })
  },
  unacked: {
    ...stamped,
    taken: fc.boolean(),
    acked: count,
    wanted: count,
    missing: fc.array(shortText, { maxLength: 5 })
  }
}

const KEPT = { negative: false, stamp: 1, writer: 'a', expiresAtMs: 1, tags: new Uint8Array() }

const message = (kind: Kind): fc.Arbitrary<Message> =>
  fc.record({ type: fc.constant(kind), ...FIELDS[kind] }, { noNullPrototype: true }) as fc.Arbitrary<Message>
const anyMessage = fc.oneof(...KINDS.map(message))
const header = fc.record({
  clockMs: fc.double({ noNaN: true, noDefaultInfinity: true }),
  viewHash: fc.double({ noNaN: true, noDefaultInfinity: true })
})

function frameOf(messages: readonly Message[], head = { clockMs: 1, viewHash: 2 }): Uint8Array {
  const builder = new FrameBuilder()
  for (const [call, one] of messages.entries()) builder.add(call, one)
  return builder.finish(head)
}

/** Malformed or a frame; anything else thrown is a way to hurt a member with bytes. */
function survives(input: Uint8Array): boolean {
  try {
    readFrame(input)
  } catch (error) {
    return error instanceof Malformed
  }
  return true
}

describe('frames', () => {
  it('describe every field of every message', () => {
    expect(Object.keys(FIELDS).sort()).toEqual([...KINDS].sort())
    for (const kind of KINDS) expect(Object.keys(FIELDS[kind]).sort(), kind).toEqual(Object.keys(LAYOUTS[kind]).sort())
  })

  it.each(KINDS)('bring a %s over as it was', kind => {
    fc.assert(
      fc.property(message(kind), count, (one, call) => {
        const builder = new FrameBuilder()
        builder.add(call, one)
        expect(readFrame(builder.finish({ clockMs: 1, viewHash: 2 })).messages).toStrictEqual([{ call, message: one }])
      }),
      { numRuns: 100 }
    )
  })

  it.each(KINDS)('write and read a %s by hand as the table does', kind => {
    fc.assert(
      fc.property(message(kind), one => {
        const [byHand, byTable] = [new ByteWriter(), new ByteWriter()]
        writeMessage(one, byHand)
        writeFields(LAYOUTS[kind], byTable, one)
        expect(byHand.finish()).toStrictEqual(byTable.finish())
        const read = { type: kind, ...readFields(LAYOUTS[kind], new ByteReader(byTable.finish())) }
        expect(readMessageOf(kind, new ByteReader(byTable.finish()))).toStrictEqual(read)
      }),
      { numRuns: 50 }
    )
  })

  it.each(['read', 'hit', 'hot', 'found'] as const)('refuse by hand what the table refuses in a %s', kind => {
    const change = fc.record({ at: fc.nat(), to: fc.integer({ min: 0, max: 255 }) })
    const verdict = (read: (from: ByteReader) => unknown, input: Uint8Array): unknown => {
      try {
        const from = new ByteReader(input)
        const value = read(from)
        from.end(kind)
        return value
      } catch (error) {
        expect(error).toBeInstanceOf(Malformed)
        return 'malformed'
      }
    }
    fc.assert(
      fc.property(message(kind), fc.array(change, { maxLength: 3 }), fc.nat(), (one, changes, cut) => {
        const to = new ByteWriter()
        writeMessage(one, to)
        const changed = to.finish().slice(0, to.length - (cut % 3))
        for (const { at, to: byte } of changes) if (changed.length > 0) changed[at % changed.length] = byte
        const byTable = verdict(from => ({ type: kind, ...readFields(LAYOUTS[kind], from) }), changed)
        expect(verdict(from => readMessageOf(kind, from), changed)).toStrictEqual(byTable)
      }),
      { numRuns: 1_000 }
    )
  })

  it('bring many messages over in order, with clock and view hash', () => {
    fc.assert(
      fc.property(fc.array(anyMessage, { maxLength: 12 }), header, (messages, head) => {
        const frame = readFrame(frameOf(messages, head))
        expect(frame.messages).toStrictEqual(messages.map((one, call) => ({ call, message: one })))
        expect([frame.clockMs, frame.viewHash]).toStrictEqual([head.clockMs, head.viewHash])
      }),
      { numRuns: 200 }
    )
  })

  it('of random bytes are malformed and nothing worse', () => {
    const behindHeader = fc.uint8Array({ maxLength: 400 }).map(tail => Uint8Array.from([...frameOf([]), ...tail]))
    fc.assert(fc.property(fc.oneof(fc.uint8Array({ maxLength: 400 }), behindHeader), survives), { numRuns: 3_000 })
  })

  it('that are cut short or have a byte changed are malformed or another frame, and nothing worse', () => {
    const change = fc.record({ at: fc.nat(), to: fc.integer({ min: 0, max: 255 }) })
    fc.assert(
      fc.property(
        fc.array(anyMessage, { minLength: 1, maxLength: 4 }),
        fc.array(change, { minLength: 1, maxLength: 4 }),
        fc.nat(),
        (messages, changes, cut) => {
          const whole = frameOf(messages)
          const changed = whole.slice()
          for (const { at, to } of changes) changed[at % changed.length] = to
          return survives(changed) && survives(whole.slice(0, cut % whole.length))
        }
      ),
      { numRuns: 2_000 }
    )
  })

  it.each([
    ['no byte', Uint8Array.of()],
    ['another magic', Uint8Array.from([0, ...frameOf([]).slice(1)])],
    ['another version', Uint8Array.from([0xca, 77, ...frameOf([]).slice(2)])],
    ['a clock that is no number', frameOf([], { clockMs: Number.NaN, viewHash: 0 })],
    ['an endless clock', frameOf([], { clockMs: Number.POSITIVE_INFINITY, viewHash: 0 })],
    ['a view hash that is no number', frameOf([], { clockMs: 0, viewHash: Number.NaN })],
    ['a length beyond the end', Uint8Array.from([...frameOf([]), 255, 255, 255, 0])],
    ['an unknown kind', Uint8Array.from([...frameOf([]), 5, 0, 0, 0, 250, 0, 0, 0, 0])],
    [
      'a byte too many in a message',
      Uint8Array.from([...frameOf([]), 6, 0, 0, 0, KINDS.indexOf('absent'), 0, 0, 0, 0, 9])
    ]
  ])('with %s are malformed', (_, input) => {
    expect(() => readFrame(input)).toThrow(Malformed)
  })

  it('refuse a number that is none, before it poisons a comparison', () => {
    const written = { type: 'written', stamp: Number.NaN, writer: 'a', taken: false } as const
    expect(() => readFrame(frameOf([written]))).toThrow(/NaN/)
  })

  it('do not believe a length: four gigabytes of members in twenty bytes cost nothing', () => {
    const claims = Uint8Array.from([...frameOf([]), 9, 0, 0, 0, KINDS.indexOf('news'), 0, 0, 0, 0, 255, 255, 255, 255])
    expect(() => readFrame(claims)).toThrow(/members of 4294967295/)
  })

  it.each([
    ['key', { type: 'read', namespace: 'n', key: 'x'.repeat(9_000), mode: 'load', wish: 'usual' }],
    ['namespace', { type: 'read', namespace: 'x'.repeat(3_000), key: 'k', mode: 'load', wish: 'usual' }],
    [
      'failure',
      { type: 'loaded', code: 'ERR_MESH_LOAD', bytes: new Uint8Array(), failure: 'x'.repeat(20_000), ...KEPT }
    ],
    ['value', { type: 'loaded', code: 'value', bytes: new Uint8Array(15 * 1024 ** 2 + 1), failure: '', ...KEPT }],
    ['keys', { type: 'page', keys: Array(PAGE_KEYS_MAX + 1).fill('sk'), partition: 1, after: '' }]
  ] as const)('refuse a %s over its cap', (what, one) => {
    expect(() => readFrame(frameOf([one]))).toThrow(new RegExp(`${what} of \\d+, at most`))
  })

  it('refuse an incarnation that could not be contradicted and a weight that is no share', () => {
    const record = { id: 'a', boot: 1, incarnation: 1, status: 'alive', weight: 1, zone: '', host: '' } as const
    const rest = { addresses: [], firstHand: true }
    const told = (over: object): Message => ({ type: 'news', records: [{ ...record, ...rest, ...over }] })
    for (const over of [{ incarnation: 2 ** 32 - 1 }, { weight: Number.POSITIVE_INFINITY }, { weight: -1 }])
      expect(() => readFrame(frameOf([told(over)]))).toThrow(Malformed)
    expect(readFrame(frameOf([told({})])).messages).toHaveLength(1)
  })

  it('refuse more records than a ping may carry, more than there may be members, and more prints than that', () => {
    const one = { id: 'a', boot: 1, incarnation: 1, status: 'alive', weight: 1, zone: '', host: '' } as const
    const records = (length: number) => Array(length).fill({ ...one, addresses: [], firstHand: true })
    const numbers = (length: number) => Array(length).fill(1)
    const digest = { type: 'digest', round: 1, same: false, certain: true } as const
    for (const [fits, tooMany] of [
      [
        { type: 'ping', stateHash: 1, news: records(64) },
        { type: 'ping', stateHash: 1, news: records(65) }
      ],
      [
        { type: 'news', records: records(4_096) },
        { type: 'news', records: records(4_097) }
      ],
      [
        { ...digest, prints: numbers(4_096) },
        { ...digest, prints: numbers(4_097) }
      ]
    ] as const) {
      expect(readFrame(frameOf([fits])).messages).toStrictEqual([{ call: 0, message: fits }])
      expect(() => readFrame(frameOf([tooMany]))).toThrow(/(news|members|prints) of \d+, at most/)
    }
  })
})

describe('gossip', () => {
  it('comes back as it was, with the one who tells it', () => {
    fc.assert(
      fc.property(shortText, members, (teller, records) => {
        const to = new ByteWriter()
        writeGossip(to, { teller, records: records as never })
        expect(readGossip(new ByteReader(to.finish()))).toStrictEqual({ teller, records })
      }),
      { numRuns: 200 }
    )
  })

  it('with a byte too many is malformed', () => {
    const to = new ByteWriter()
    writeGossip(to, { teller: 'a', records: [] })
    const input = Uint8Array.from([...to.finish(), 0])
    expect(() => readGossip(new ByteReader(input))).toThrow(Malformed)
  })

  it('of random bytes is malformed and nothing worse', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), input => {
        try {
          readGossip(new ByteReader(input))
        } catch (error) {
          return error instanceof Malformed
        }
        return true
      }),
      { numRuns: 2_000 }
    )
  })
})
