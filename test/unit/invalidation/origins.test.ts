import { beforeEach, describe, expect, it } from 'vitest'
import { type Line, Origins } from '../../../lib/invalidation/origins.ts'
import { Stats } from '../../../lib/observe/stats.ts'
import { CallFailed, type Client } from '../../../lib/rpc/client.ts'
import type { MessageOf, Reply } from '../../../lib/rpc/messages.ts'
import type { Changed } from '../../../lib/rpc/near-talk.ts'
import { MeshClock } from '../../../lib/store/version.ts'
import { ManualClock } from '../rpc/manual-clock.ts'

const BOOT = 7

let clock: ManualClock
let meshClock: MeshClock
let stats: Stats
let asked: { readonly ask: MessageOf<'confirm'>; readonly reply: (reply: Reply | CallFailed) => void }[]
let applied: string[]
let origins: Origins

beforeEach(() => {
  clock = new ManualClock()
  meshClock = new MeshClock(clock)
  stats = new Stats()
  asked = []
  applied = []
  const begin: unknown = (_: string, ask: MessageOf<'confirm'>, __: unknown, reply: never) => asked.push({ ask, reply })
  const client = { begin } as Client
  origins = new Origins({ clock, meshClock, client, stats, apply: ({ key }) => applied.push(key) })
})

const change = (key: string): Changed => ({ kind: 'key', namespace: 'n', key, stamp: 1, expiresAtMs: 2 })
const gossip = (from: number, ...keys: string[]): void =>
  origins.hear({ origin: 'a', boot: BOOT, from, changes: keys.map(change) })

function answer(number: number, { isWhole = true, boot = BOOT, keys = [] as string[] } = {}): void {
  asked.shift()?.reply({ type: 'confirmed', boot, number, isWhole, changes: keys.map(change) })
}

/** Followed, at this number. */
function lineAt(number: number): Line {
  origins.lineOf('a')
  answer(number, { isWhole: false })
  return origins.lineOf('a') as Line
}

describe('the changes of an owner', () => {
  it('are known from the answer to the first question on, and as of when it was asked', () => {
    expect(origins.lineOf('a')).toBeUndefined()
    expect(asked.map(({ ask }) => [ask.boot, ask.number])).toEqual([[0, 0]])
    const askedAtMs = meshClock.now()
    clock.pass(30)
    answer(41, { isWhole: false })
    expect(origins.lineOf('a')).toEqual({
      ...{ origin: 'a', boot: BOOT, number: 41, isOver: false },
      sinceMs: askedAtMs + 30,
      confirmedAtMs: askedAtMs
    })
  })

  it('are taken from gossip in their order, once', () => {
    const line = lineAt(41)
    gossip(42, 'k1', 'k2')
    gossip(42, 'k1', 'k2')
    gossip(43, 'k2', 'k3')
    gossip(40, 'old')
    expect([line.number, applied]).toEqual([44, ['k1', 'k2', 'k3']])
    expect(asked).toEqual([])
  })

  it('are asked for at once where gossip shows that one is missing, and what it tells counts already', () => {
    const line = lineAt(41)
    gossip(43, 'k2')
    expect([line.number, applied, stats.invalidationGapsTotal]).toEqual([41, ['k2'], 1])
    expect(asked.map(({ ask }) => [ask.boot, ask.number])).toEqual([[BOOT, 41]])
    answer(43, { keys: ['k1', 'k2'] })
    expect([line.number, applied]).toEqual([43, ['k2', 'k1', 'k2']])
  })

  it('of another process are none of this line, nor those of somebody who is not followed', () => {
    const line = lineAt(41)
    origins.hear({ origin: 'a', boot: BOOT + 1, from: 42, changes: [change('k1')] })
    origins.hear({ origin: 'b', boot: BOOT, from: 1, changes: [change('k2')] })
    expect([line.number, applied]).toEqual([41, []])
  })

  it('that nobody remembers end the line, and a new one begins', () => {
    const line = lineAt(41)
    clock.pass(500)
    answer(99, { isWhole: false })
    expect(line.isOver).toBe(true)
    expect(origins.lineOf('a')).toMatchObject({ number: 99, isOver: false })
    clock.pass(500)
    answer(3, { boot: BOOT + 1 })
    expect(origins.lineOf('a')).toMatchObject({ number: 3, boot: BOOT + 1 })
    expect(stats.invalidationsLostTotal).toBe(2)
  })
})

describe('a confirmation', () => {
  it('is asked for twice a second while something is used, with what is used, one at a time', () => {
    const line = lineAt(1)
    origins.used(line, { namespace: 'n', key: 'k1', reads: () => 3 })
    clock.pass(500)
    expect(asked[0]?.ask.used).toEqual([{ namespace: 'n', key: 'k1', reads: 3 }])
    const askedAtMs = meshClock.now()
    for (let i = 0; i < 3; i++) {
      origins.lineOf('a')
      clock.pass(500)
    }
    expect(asked).toHaveLength(1)
    answer(1)
    expect(line.confirmedAtMs).toBe(askedAtMs)
    origins.lineOf('a')
    clock.pass(500)
    expect(asked).toHaveLength(1)
    expect(asked[0]?.ask.used).toEqual([])
  })

  it('that does not come confirms nothing, and is asked for again', () => {
    const line = lineAt(1)
    const before = line.confirmedAtMs
    clock.pass(500)
    asked.shift()?.reply(new CallFailed('timeout', true))
    expect(line.confirmedAtMs).toBe(before)
    origins.wanted(line)
    expect(asked).toHaveLength(1)
  })

  it('is not asked for any more once nothing was wanted for a while, and the line is over then', () => {
    const line = lineAt(1)
    for (let i = 0; i < 30; i++) {
      clock.pass(500)
      answer(1)
    }
    expect(line.isOver).toBe(true)
    expect(asked).toEqual([])
    expect(origins.lineOf('a')).toBeUndefined()
  })

  it('of an owner that was forgotten meanwhile is nobody’s', () => {
    const line = lineAt(1)
    clock.pass(500)
    origins.forget('a')
    expect(line.isOver).toBe(true)
    answer(5)
    expect(line.number).toBe(1)
    expect(origins.lineOf('a')).toBeUndefined()
  })
})
