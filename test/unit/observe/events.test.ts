import { describe, expect, it } from 'vitest'
import { Events } from '../../../lib/observe/events.ts'
import { Stats } from '../../../lib/observe/stats.ts'

function setup() {
  const errors: unknown[] = []
  const log = { debug: () => {}, info: () => {}, warn: () => {}, error: (o: object) => void errors.push(o) }
  return { errors, events: new Events<{ join: number; ready: undefined }>(log) }
}

describe('events', () => {
  it('reach every listener, a function given twice twice, until it is taken back', () => {
    const { events } = setup()
    const seen: number[] = []
    const listener = (n: number): void => void seen.push(n)
    const off = events.on('join', listener)
    events.on('join', listener)
    events.emit('join', 1)
    off()
    off()
    events.emit('join', 2)
    events.emit('ready', undefined)
    expect(seen).toEqual([1, 1, 2])
  })

  it('reach the others when one listener throws, which is reported', () => {
    const { errors, events } = setup()
    const seen: number[] = []
    events.on('join', () => {
      throw new Error('mine')
    })
    events.on('join', n => seen.push(n))
    events.emit('join', 1)
    expect(seen).toEqual([1])
    expect(errors).toMatchObject([{ code: 'CACHEMESH_LISTENER', event: 'join' }])
  })

  it('cannot take a process down by a listener that rejects', async () => {
    const { errors, events } = setup()
    events.on('join', async () => Promise.reject(new Error('mine')))
    events.emit('join', 1)
    await new Promise(resolve => setImmediate(resolve))
    expect(errors).toHaveLength(1)
  })

  it('may be subscribed to and taken back while they are told', () => {
    const { events } = setup()
    const seen: string[] = []
    const off = events.on('join', () => {
      seen.push('first')
      off()
    })
    events.on('join', () => seen.push('second'))
    events.emit('join', 1)
    events.emit('join', 2)
    expect(seen).toEqual(['first', 'second', 'second'])
  })
})

describe('stats', () => {
  it('begin at 0, each of them a number of its own', () => {
    const stats = new Stats()
    expect(Object.values(stats).every(value => value === 0)).toBe(true)
    stats.loadsTotal++
    expect(new Stats().loadsTotal).toBe(0)
  })
})
