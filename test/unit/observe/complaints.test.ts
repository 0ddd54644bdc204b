import { describe, expect, it } from 'vitest'
import { Complaints, LINES_MAX, QUIET_MS } from '../../../lib/observe/complaints.ts'
import { Stats } from '../../../lib/observe/stats.ts'
import { ManualClock } from '../rpc/manual-clock.ts'

function setup() {
  const clock = new ManualClock()
  const stats = new Stats()
  const lines: string[] = []
  const say = (o: object): void => {
    const { peer, type, err } = o as { peer?: string; type: string; err: Error }
    lines.push(`${peer} ${type} ${err.name}`)
  }
  const complaints = new Complaints({ clock, stats, log: { debug() {}, info() {}, warn: say, error: say } })
  const complain = (peer: string, type = 'read', err: Error = new TypeError('a bug')): void =>
    complaints.error({ peer, type, err }, 'it failed')
  return { clock, stats, lines, complaints, complain }
}

describe('what is said of others', () => {
  it('is said once a minute, and what is held back is counted', () => {
    const { clock, stats, lines, complain } = setup()
    for (let i = 0; i < 1_000; i++) complain('a')
    expect([lines.length, stats.logLinesWithheldTotal]).toEqual([1, 999])
    clock.pass(QUIET_MS - 1)
    complain('a')
    expect(lines).toHaveLength(1)
    clock.pass(1)
    complain('a')
    expect([lines.length, stats.logLinesWithheldTotal]).toEqual([2, 1_000])
  })

  it('of one peer, kind of message and kind of error hides nothing of another', () => {
    const { lines, complain } = setup()
    for (let i = 0; i < 2; i++) {
      complain('a')
      complain('b')
      complain('a', 'write')
      complain('a', 'read', new RangeError('another bug'))
      complain('a', 'read', Object.assign(new Error('a bad key'), { code: 'ERR_MESH_KEY' }))
    }
    expect(lines).toEqual([
      'a read TypeError',
      'b read TypeError',
      'a write TypeError',
      'a read RangeError',
      'a read Error'
    ])
  })

  it('of ever new peers is bounded as well, and there is room again after a minute', () => {
    const { clock, stats, lines, complaints, complain } = setup()
    for (let i = 0; i < LINES_MAX + 10; i++) complain(`peer ${i}`)
    complaints.warn({ type: 'gossip', err: new Error('malformed') }, 'refused')
    expect([lines.length, stats.logLinesWithheldTotal]).toEqual([LINES_MAX, 11])
    clock.pass(QUIET_MS)
    complaints.warn({ type: 'gossip', err: new Error('malformed') }, 'refused')
    expect(lines.at(-1)).toBe('undefined gossip Error')
  })
})
