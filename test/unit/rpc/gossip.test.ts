import { beforeEach, describe, expect, it } from 'vitest'
import { Complaints } from '../../../lib/observe/complaints.ts'
import { Stats } from '../../../lib/observe/stats.ts'
import type { Logger } from '../../../lib/ports/log.ts'
import { Gossip } from '../../../lib/rpc/gossip.ts'
import { ManualClock } from './manual-clock.ts'

let published: { topic: string; message: Uint8Array }[]
let listener: ((message: Uint8Array) => void) | undefined
let stats: Stats
let lines: string[]
let gossip: Gossip<number>

beforeEach(() => {
  published = []
  lines = []
  stats = new Stats()
  const log = { warn: (_: object, line: string) => void lines.push(line) } as unknown as Logger
  const complaints = new Complaints({ clock: new ManualClock(), log, stats })
  const pubsub = {
    publish: (topic: string, message: Uint8Array) => void published.push({ topic, message }),
    subscribe: (_: string, onMessage: (message: Uint8Array) => void) => {
      listener = onMessage
      return () => {
        listener = undefined
      }
    }
  }
  gossip = new Gossip(
    { name: 'numbers', write: (to, told) => to.f64(told), read: from => from.f64() },
    { mesh: 'shop', pubsub, stats, complaints }
  )
})

describe('gossip of one kind', () => {
  it('is told under its name in its mesh, and heard as it was, until nobody listens', () => {
    const heard: number[] = []
    const stop = gossip.listen(told => heard.push(told))
    gossip.tell(7)
    expect(published.map(({ topic }) => topic)).toEqual(['cachemesh/shop/numbers'])
    listener?.(published[0]?.message as Uint8Array)
    expect(heard).toEqual([7])
    stop()
    expect(listener).toBeUndefined()
  })

  it('that is malformed is counted and said, and nobody hears it', () => {
    const heard: number[] = []
    gossip.listen(told => heard.push(told))
    listener?.(Uint8Array.of(1))
    expect([heard, stats.linksRefusedTotal]).toEqual([[], 1])
    expect(lines).toEqual(['refused a malformed gossip message about numbers'])
  })

  it('is not blamed for what fails in who hears it', () => {
    gossip.listen(() => {
      throw new Error('a mistake of ours')
    })
    gossip.tell(7)
    expect(() => listener?.(published[0]?.message as Uint8Array)).toThrow('a mistake of ours')
    expect([stats.linksRefusedTotal, lines]).toEqual([0, []])
  })
})
