import { beforeEach, expect, it } from 'vitest'
import { Stats } from '../../../lib/observe/stats.ts'
import { saltOf } from '../../../lib/placement/hash.ts'
import { buildTable, type Table } from '../../../lib/placement/table.ts'
import { Gifts } from '../../../lib/replication/gifts.ts'
import { seededRandom } from '../../../lib/sim/random.ts'
import type { Entry } from '../../../lib/store/entry.ts'
import { Store } from '../../../lib/store/store.ts'

/** Owned by `dead`, then by `next`, in a table that is made when somebody asks for it. */
const PARTITION = 0
const VIEW = 2
const BEGINNING = { namespace: '', key: '' }

let store: Store
let gifts: Gifts

beforeEach(() => {
  store = new Store({ bytesMax: 1e6, stats: new Stats(), random: seededRandom(1) })
  let owner = 'dead'
  gifts = new Gifts({
    store,
    viewHash: () => VIEW,
    primaryOf: () => {
      if (owner === 'dead') gifts.tableChanged(tableOf('dead'), tableOf('next'), () => false)
      owner = 'next'
      return owner
    },
    rankOf: () => -1,
    partitionOf: () => PARTITION,
    bootOf: () => 1,
    answerOf: () => undefined,
    passedTo: () => undefined,
    answersIn: () => []
  })
  for (const backups of [0, 1]) {
    store.put(recordOf(`k${backups}`, backups))
    store.markGiven('n', `k${backups}`)
  }
  store.put(recordOf('kept', 0))
})

function tableOf(id: string): Table {
  return buildTable([{ id, weight: 1, host: id, zone: undefined }], saltOf('mesh'), 4)
}

function recordOf(key: string, backups: number): Entry {
  const version = { stamp: 5, writer: 'w' }
  const rest = { partition: PARTITION, kind: 'value', negative: false, keeping: undefined } as const
  return { ...rest, namespace: 'n', key, version, bytes: new Uint8Array(1), backups, expiresAtMs: 1e15 }
}

it('what goes with the owner of before is not shown to the next one who is the first to ask after it', () => {
  expect(gifts.peek('next', { type: 'peek', namespace: 'n', key: 'k0', change: undefined }).record).toBeUndefined()
  expect(gifts.peek('next', { type: 'peek', namespace: 'n', key: 'kept', change: undefined }).record).toBeDefined()
})

it('nor is it listed, and what has copies is: the one before may have gone without giving it to any', () => {
  const listed = gifts.list({ type: 'list', viewHash: VIEW, partition: PARTITION, after: BEGINNING })
  expect(listed).toMatchObject({ versions: [{ key: 'k1' }, { key: 'kept' }] })
})

it('nor is it pulled', () => {
  const ask = { viewHash: VIEW, partitions: [PARTITION], after: BEGINNING, names: [], bytesMax: 1e6 }
  const pulled = gifts.pull('next', { type: 'pull', ...ask })
  expect(pulled).toMatchObject({ records: [{ key: 'k1' }, { key: 'kept' }] })
})
