import { describe, expect, it } from 'vitest'
import { Complaints } from '../../../lib/observe/complaints.ts'
import { Stats } from '../../../lib/observe/stats.ts'
import { noLog } from '../../../lib/ports/log.ts'
import { Handlers } from '../../../lib/serving/handlers.ts'
import type { Owner } from '../../../lib/serving/owner.ts'
import { ManualClock } from '../rpc/manual-clock.ts'

/** A member that owns the keys in `stored`, and those that are missing there, but for what begins with an x. */
function findMany(keys: readonly string[], stored: Record<string, { bytes: Uint8Array; negative: boolean }>) {
  const handlers = new Handlers({
    owner: {
      glance: (_: string, key: string) => stored[key],
      isAbsent: (_: string, key: string) => key !== 'stale'
    } as unknown as Owner,
    stats: new Stats(),
    complaints: new Complaints({ clock: new ManualClock(), log: noLog, stats: new Stats() }),
    changing: undefined as never,
    replicas: () => undefined,
    viewHash: () => 0,
    explain: () => {
      throw new Error('nothing was to be explained')
    },
    page: () => {
      throw new Error('no page was asked for')
    },
    filters: () => {
      throw new Error('no filter was asked for')
    },
    isCertain: () => true,
    settleWith: () => undefined,
    asked: () => true,
    confirm: () => {
      throw new Error('nobody keeps near copies')
    },
    owns: (_, key) => !key.startsWith('x')
  })
  const parts: { last: boolean; items: (string | number)[][] }[] = []
  handlers.handle('peer', { type: 'readMany', namespace: 'n', keys }, reply => {
    if (reply.type !== 'found') throw new Error(`it answered ${reply.type}`)
    // What the store showed may be written over as soon as it is asked again.
    for (const { bytes } of Object.values(stored)) bytes.fill(0xff)
    const items = reply.items.map(({ state, bytes }) => [state, bytes.includes(0xff) ? 'not its own' : bytes.length])
    for (const { bytes } of Object.values(stored)) bytes.fill(0)
    parts.push({ last: reply.last, items })
  })
  return parts
}

const value = (length: number, negative = false) => ({ bytes: new Uint8Array(length), negative })

describe('many keys asked of one member', () => {
  it('are answered in order, each with what is true of it', () => {
    const stored = { a: value(3), nothing: value(1, true), huge: value(15 * 1024 + 1), x: value(9) }
    expect(findMany(['a', 'b', 'x', 'nothing', 'huge', 'stale', 'a'], stored)).toEqual([
      {
        last: true,
        items: [
          ['value', 3],
          ['absent', 0],
          ['elsewhere', 0],
          ['negative', 1],
          ['alone', 0],
          ['alone', 0],
          ['value', 3]
        ]
      }
    ])
  })

  it('come in parts, each small enough for a small frame', () => {
    const stored = { a: value(9_000), b: value(6_000), c: value(15 * 1024), d: value(1) }
    const parts = findMany(['a', 'b', 'c', 'd', 'a', 'b'], stored)
    expect(parts.map(({ items }) => items.map(([, bytes]) => bytes))).toEqual([
      [9_000, 6_000],
      [15 * 1024],
      [1, 9_000, 6_000]
    ])
    expect(parts.map(({ last }) => last)).toEqual([false, false, true])
  })
})
