import { describe, expect, it } from 'vitest'
import { Complaints } from '../../../lib/observe/complaints.ts'
import { Stats } from '../../../lib/observe/stats.ts'
import type { Logger } from '../../../lib/ports/log.ts'
import { noLog } from '../../../lib/ports/log.ts'
import { Inbox } from '../../../lib/rpc/inbox.ts'
import { ManualClock } from './manual-clock.ts'

function setup(onMessage?: (inbox: Inbox, call: number) => void, log: Logger = noLog) {
  const clock = new ManualClock()
  const heard: string[] = []
  const inbox: Inbox = new Inbox({
    clock,
    complaints: new Complaints({ clock, log, stats: new Stats() }),
    onMessage: (peer, call) => {
      heard.push(`${peer}${call}`)
      onMessage?.(inbox, call)
    }
  })
  const messages = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) => ({ call: from + i, message: { type: 'absent' } as const }))
  const names = (peer: string, from: number, count: number) =>
    Array.from({ length: count }, (_, i) => `${peer}${from + i}`)
  return { clock, heard, inbox, messages, names }
}

describe('an inbox', () => {
  it('works on a slice at once and on the rest turn by turn, in order, whoever sent it', () => {
    const { clock, heard, inbox, messages, names } = setup()
    inbox.add('a', messages(0, 50))
    inbox.add('b', messages(0, 100))
    expect(heard).toEqual([...names('a', 0, 50), ...names('b', 0, 14)])
    clock.endTurn()
    expect(heard).toHaveLength(128)
    inbox.add('a', messages(50, 1))
    expect(heard).toHaveLength(128)
    clock.endTurn()
    expect(heard).toEqual([...names('a', 0, 50), ...names('b', 0, 100), 'a50'])
    clock.endTurn()
    inbox.add('a', messages(51, 64))
    expect(heard).toHaveLength(151 + 64)
  })

  it('lets nothing wait beyond its bound', () => {
    const { heard, inbox, messages } = setup()
    inbox.add('a', messages(0, 1_000))
    expect(heard).toHaveLength(64)
    inbox.add('a', messages(1_000, 1_000))
    expect(heard).toHaveLength(2_000)
  })

  it('finishes what is left when it is told to, also from within a message', () => {
    const { clock, heard, inbox, messages, names } = setup((inbox, call) => {
      if (call === 3) inbox.finish()
    })
    inbox.add('a', messages(0, 200))
    expect(heard).toEqual(names('a', 0, 200))
    clock.endTurn()
    expect(heard).toHaveLength(200)
  })

  it('reports a message that breaks something and goes on with the next', () => {
    const errors: string[] = []
    const log = { ...noLog, error: (o: object) => errors.push(String((o as { err: Error }).err.message)) }
    const { heard, inbox, messages } = setup((_, call) => {
      if (call === 1) throw new Error('broken')
    }, log)
    inbox.add('a', messages(0, 3))
    expect(heard).toEqual(['a0', 'a1', 'a2'])
    expect(errors).toEqual(['broken'])
  })
})
