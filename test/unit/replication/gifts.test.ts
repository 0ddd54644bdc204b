import { beforeEach, expect, it } from 'vitest'
import { Stats } from '../../../lib/observe/stats.ts'
import { saltOf } from '../../../lib/placement/hash.ts'
import { buildTable, type Table } from '../../../lib/placement/table.ts'
import { Gifts } from '../../../lib/replication/gifts.ts'
import { seededRandom } from '../../../lib/sim/random.ts'
import type { Entry } from '../../../lib/store/entry.ts'
import { Store } from '../../../lib/store/store.ts'

const PARTITION = 7
const VIEW = 2
const BEGINNING = { namespace: '', key: '' }

let store: Store
let gifts: Gifts
/** By our view; the table of it is made when somebody asks for it. */
let primary: string
let primaryOfTable: string
let rank: number

beforeEach(() => {
  store = new Store({ bytesMax: 1e6, stats: new Stats(), random: seededRandom(1) })
  primary = 'taker'
  primaryOfTable = 'taker'
  rank = -1
  gifts = new Gifts({
    store,
    viewHash: () => VIEW,
    primaryOf: () => {
      if (primary !== primaryOfTable) gifts.tableChanged(tableOf(primaryOfTable), tableOf(primary), () => false)
      primaryOfTable = primary
      return primary
    },
    rankOf: () => rank,
    partitionOf: () => PARTITION,
    bootOf: () => 1,
    answerOf: () => undefined,
    passedTo: () => undefined,
    answersIn: () => []
  })
  put('k0')
  put('k1', { backups: 1 })
  put('gone', { kind: 'tombstone' })
  for (const key of ['k0', 'k1', 'gone']) expect(given('taker', key)).toBe(5)
  put('kept')
})

function tableOf(id: string): Table {
  return buildTable([{ id, weight: 1, host: id, zone: undefined }], saltOf('mesh'), 4)
}

function put(key: string, more: Partial<Entry> = {}): void {
  const rest = { namespace: 'n', partition: PARTITION, kind: 'value', negative: false, keeping: undefined } as const
  const version = { stamp: 5, writer: 'w' }
  store.put({ ...rest, key, version, bytes: new Uint8Array(1), backups: 0, expiresAtMs: 1e15, ...more })
}

/** The version that it is shown. */
function given(peer: string, key: string): number | undefined {
  return gifts.peek(peer, { type: 'peek', namespace: 'n', key, change: undefined }).record?.stamp
}

it('what goes with the owner of before is not shown to the next one who is the first to ask after it', () => {
  primary = 'next'
  expect(['k0', 'kept'].map(key => given('next', key))).toEqual([undefined, 5])
})

it('nor is it listed, and what has copies is: the one before may have gone without giving it to any', () => {
  primary = 'next'
  const listed = gifts.list({ type: 'list', viewHash: VIEW, partition: PARTITION, after: BEGINNING })
  expect(listed).toMatchObject({ versions: [{ key: 'gone' }, { key: 'k1' }, { key: 'kept' }] })
})

it('nor is it pulled; what keeps out all that is older is', () => {
  primary = 'next'
  const ask = { viewHash: VIEW, partitions: [PARTITION], after: BEGINNING, names: [], bytesMax: 1e6 }
  const pulled = gifts.pull('next', { type: 'pull', ...ask })
  expect(pulled).toMatchObject({ records: [{ key: 'gone' }, { key: 'k1' }, { key: 'kept' }] })
})

it('it goes when the one it was given to is linked as another process', () => {
  gifts.linkUp('taker', 1)
  expect(given('taker', 'k0')).toBe(5)
  gifts.linkUp('taker', 9)
  expect(['k0', 'k1', 'gone'].map(key => given('taker', key))).toEqual([undefined, 5, 5])
})

it('who asks before we know it to be primary is not given what another one has had', () => {
  expect(['k0', 'k1', 'gone'].map(key => given('next', key))).toEqual([undefined, 5, undefined])
  // Of what we keep ourselves ours is a truth.
  rank = 0
  expect(given('next', 'k0')).toBe(5)
})
