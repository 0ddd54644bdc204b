import { beforeEach, expect, it } from 'vitest'
import { Stats } from '../../../lib/observe/stats.ts'
import { CACHE_ONLY } from '../../../lib/rpc/messages.ts'
import { ROWS_MAX, RowVersions } from '../../../lib/serving/row-versions.ts'
import { MeshClock } from '../../../lib/store/version.ts'
import { ManualClock } from '../rpc/manual-clock.ts'

let clock: ManualClock
let rows: RowVersions
let stamp: number

beforeEach(() => {
  clock = new ManualClock()
  stamp = 0
  const partitionOf = (_: string, key: string): number => Number(key.slice(1))
  rows = new RowVersions({ meshClock: new MeshClock(clock), stats: new Stats(), tombstoneTtlMs: 1_000, partitionOf })
})

const told = (key: string, row: string) =>
  rows.once(
    { type: 'remove', namespace: 'n', key, row, soft: false, backups: 0, backupAcks: 0, ...CACHE_ONLY },
    () => ({ type: 'removed', existed: true, stamp: ++stamp, writer: 'w', taken: false })
  )
const isMade = (key: string, row: string): boolean => told(key, row).existed

it('answers with the version of the change that was made, to wait for the same backups', () => {
  expect(told('k1', '5')).toMatchObject({ existed: true, stamp: 1 })
  expect(told('k1', '4')).toEqual({ type: 'removed', existed: false, stamp: 1, writer: 'w', taken: false })
})

it('remembers a bounded number, and forgets the one first that was heard of longest ago', () => {
  for (let i = 0; i < ROWS_MAX; i++) told(`k${i}`, '5')
  told('k0', '6')
  told('knew', '5')
  expect(rows.size).toBe(ROWS_MAX)
  expect([isMade('k0', '6'), isMade('k2', '5'), isMade('k1', '5')]).toEqual([false, false, true])
})

it('forgets what is over, and gives its room back', () => {
  told('k1', '5')
  clock.pass(500)
  told('k2', '5')
  clock.pass(500)
  expect([isMade('k2', '5'), rows.size]).toEqual([false, 1])
})

it('forgets what another member has brought, and the partitions that are lost', () => {
  for (const key of ['k1', 'k2', 'k3']) told(key, '5')
  rows.forget('n', 'k1')
  rows.lose(partition => partition === 2)
  expect([isMade('k1', '5'), isMade('k2', '5'), isMade('k3', '5')]).toEqual([true, true, false])
})

it('forgets what is cleared, and nothing else', () => {
  for (const key of ['k1', 'k2']) told(key, '5')
  rows.forgetMatching('m', () => true)
  rows.forgetMatching('n', key => key === 'k1')
  expect([isMade('k1', '1'), isMade('k2', '1')]).toEqual([true, false])
})

it('remembers nothing of what has no version', () => {
  expect([isMade('k1', ''), isMade('k1', ''), rows.size]).toEqual([true, true, 0])
})
