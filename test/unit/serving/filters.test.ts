import { beforeEach, describe, expect, it } from 'vitest'
import { geometryFor } from '../../../lib/fill/key-filter.ts'
import { Stats } from '../../../lib/observe/stats.ts'
import { noLog } from '../../../lib/ports/log.ts'
import type { Client } from '../../../lib/rpc/client.ts'
import type { FilterState, MessageOf } from '../../../lib/rpc/messages.ts'
import { Filters } from '../../../lib/serving/filters.ts'
import type { Routes } from '../../../lib/serving/routes.ts'
import { seededRandom } from '../../../lib/sim/random.ts'
import { MeshClock } from '../../../lib/store/version.ts'
import { ManualClock } from '../rpc/manual-clock.ts'

const own = geometryFor(100, 0.01)
let filters: Filters
let meshClock: MeshClock

const state = (): FilterState => {
  const reply = filters.handle('b', { type: 'filterCompare', namespace: 'n', cutOff: false, state: none })
  return (reply as MessageOf<'filterTold'>).state
}
const none: FilterState = {
  stamp: 0,
  writer: '',
  bits: 0,
  hashes: 0,
  hashing: 0,
  holds: false,
  complete: false,
  level: false,
  doubts: 0,
  print: 0
}

beforeEach(() => {
  const clock = new ManualClock()
  meshClock = new MeshClock(clock)
  filters = new Filters({
    routes: {
      deps: {
        self: 'a',
        owners: () => [
          { id: 'a', boot: 1 },
          { id: 'b', boot: 2 }
        ],
        viewHash: () => 7,
        isReachable: () => false
      }
    } as unknown as Routes,
    clock,
    meshClock,
    random: seededRandom(1),
    client: {} as Client,
    stats: new Stats(),
    log: noLog,
    timeoutMs: 1_000,
    isCertain: () => true
  })
  filters.declare('n', own)
  const filling = filters.of('n')?.beginFilling({ stamp: 10, writer: 'a' }, true)
  if (filling === undefined) throw new Error('nothing is filled yet')
  filling.filter.add('k')
  filters.of('n')?.publish(filling)
})

const pull = (peer: string, more: Partial<MessageOf<'filterPull'>> = {}): number => {
  const ask = { type: 'filterPull', namespace: 'n', stamp: 10, writer: 'a', part: 0, ...more } as const
  return (filters.handle(peer, ask) as MessageOf<'filterPart'>).bytes.length
}

describe('the filters of a member', () => {
  it('are given to members of its own view: only these are asked when something is added', () => {
    expect(pull('b')).toBe(own.bits / 8)
    expect(pull('stranger')).toBe(0)
    const prints = { type: 'filterPrints', namespace: 'n', stamp: 10, writer: 'a' } as const
    expect(filters.handle('b', prints)).toMatchObject({ prints: [expect.any(Number)] })
    expect(filters.handle('stranger', prints)).toEqual({ type: 'filterPrinted', prints: [] })
  })

  it('are given whole, and of the generation that was asked for', () => {
    expect([pull('b', { stamp: 11 }), pull('b', { writer: 'b' }), pull('b', { part: 1 })]).toEqual([0, 0, 0])
    expect([pull('b', { part: 2 ** 32 - 1 }), pull('b', { namespace: 'other' })]).toEqual([0, 0])
    const newer = { ...none, stamp: 20, writer: 'b', ...own, holds: true, complete: true }
    filters.handle('b', { type: 'filterCompare', namespace: 'n', cutOff: false, state: newer })
    expect(state()).toMatchObject({ stamp: 20, complete: false, level: false })
    expect(pull('b', { stamp: 20, writer: 'b' })).toBe(0)
  })

  it('are not given up for a stamp that no clock of the mesh can have made', () => {
    const tooLate = (meshClock.now() + 61_000) * 4_096
    for (const stamp of [Number.POSITIVE_INFINITY, 1e300, tooLate, 20.5, -1]) {
      filters.handle('b', {
        type: 'filterCompare',
        namespace: 'n',
        cutOff: false,
        state: { ...none, ...own, stamp, writer: 'b' }
      })
      expect(state()).toMatchObject({ stamp: 10, complete: true })
    }
  })

  it('are in doubt when another member is cut off: it has lost some that may never have been known here', () => {
    expect(filters.of('n')?.isLevel).toBe(true)
    filters.handle('b', { type: 'filterCompare', namespace: 'n', cutOff: true, state: none })
    expect(filters.of('n')?.isLevel).toBe(false)
  })

  it('take no memory for what another member claims', () => {
    const claimed = { ...none, stamp: 20, writer: 'b', bits: 2 ** 32 - 32, hashes: 7, hashing: own.hashing }
    filters.handle('b', { type: 'filterCompare', namespace: 'n', cutOff: false, state: claimed })
    expect([filters.bytes, state().holds]).toEqual([0, false])
    filters.handle('b', { type: 'filterCompare', namespace: 'undeclared', cutOff: false, state: claimed })
    expect([filters.bytes, filters.of('undeclared')]).toEqual([0, undefined])
  })

  it('of a cache that is not declared here hold nothing, and say so', () => {
    const add = { type: 'filterAdd', namespace: 'undeclared', keys: ['k'] } as const
    expect(filters.handle('b', add)).toEqual({ type: 'filterTold', viewHash: 7, cutOff: true, state: none })
  })
})
