import { beforeEach, describe, expect, it } from 'vitest'
import { Stats } from '../../../lib/observe/stats.ts'
import { Peeks } from '../../../lib/replication/peeks.ts'
import { CallFailed, type Client } from '../../../lib/rpc/client.ts'
import type { MessageOf } from '../../../lib/rpc/messages.ts'

const CHANGE = { peer: 'writer', boot: 1, number: 2 }

let asked: Map<string, (reply: MessageOf<'peeked'> | CallFailed) => void>
let takenIn: string[]
let over: boolean[]
let holders: string[]
let peeks: Peeks

beforeEach(() => {
  asked = new Map()
  takenIn = []
  over = []
  holders = ['before', 'other']
  const client = {
    begin: (peer: string, _peek: unknown, _terms: unknown, onEnd: (reply: MessageOf<'peeked'> | CallFailed) => void) =>
      asked.set(peer, onEnd)
  } as unknown as Client
  peeks = new Peeks({
    client,
    stats: new Stats(),
    holdersOf: () => holders,
    viewHash: () => 1,
    isBefore: peer => peer === 'before',
    takeIn: ({ version }, from) => void takenIn.push(`${version.stamp} from ${from}`)
  })
})

function peeked(stamp: number | undefined, final: boolean): MessageOf<'peeked'> {
  const kept = { expiresAtMs: 1_000, backups: 1, keeping: undefined } as const
  const terms = { namespace: 'n', key: 'k', writer: 'w', kind: 'value', negative: false, bytes: new Uint8Array() }
  const record = stamp === undefined ? undefined : { ...terms, ...kept, stamp }
  return { type: 'peeked', record, answer: undefined, final, viewHash: 1 } as unknown as MessageOf<'peeked'>
}

const look = (change?: typeof CHANGE): boolean =>
  peeks.look('n', 'k', 7, change, ({ isHeard }) => void over.push(isHeard))

describe('a look', () => {
  it('waits for all, and takes nothing in before: who reads meanwhile would take the older of two', () => {
    expect(look()).toBe(true)
    asked.get('other')?.(peeked(1, false))
    expect([takenIn, over]).toEqual([[], []])
    asked.get('before')?.(peeked(2, false))
    expect([takenIn, over]).toEqual([['1 from other', '2 from before'], [true]])
  })

  it.each([
    [2, ['2 from before']],
    [undefined, []]
  ])('is over with the last word of who had the say (%s), and takes in what comes late', (stamp, taken) => {
    look()
    asked.get('before')?.(peeked(stamp, true))
    expect([takenIn, over]).toEqual([taken, [true]])
    asked.get('other')?.(peeked(1, false))
    expect([takenIn, over]).toEqual([[...taken, '1 from other'], [true]])
  })

  it('is not over with the last word of another, nor for a change, whose answer anybody may have', () => {
    look()
    asked.get('other')?.(peeked(1, true))
    expect(over).toEqual([])
    look(CHANGE)
    asked.get('before')?.(peeked(2, true))
    expect(over).toEqual([])
  })

  it('is joined by who would ask the same, and not by who can ask one more', () => {
    holders = ['before']
    look()
    look()
    holders = ['before', 'other']
    look()
    const first = asked.get('other')
    expect(first, 'the third has asked it').toBeDefined()
    asked.get('before')?.(peeked(undefined, false))
    first?.(peeked(1, false))
    expect([takenIn, over]).toEqual([['1 from other'], [true]])
  })

  it('asks those again who were silent', () => {
    look()
    asked.get('before')?.(new CallFailed('timeout', true))
    asked.get('other')?.(peeked(undefined, false))
    expect(over).toEqual([])
    asked.get('before')?.(peeked(2, false))
    expect([takenIn, over]).toEqual([['2 from before'], [true]])
  })
})
