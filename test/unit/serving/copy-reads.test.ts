import { describe, expect, it } from 'vitest'
import type { PeerId } from '../../../lib/ports/transport.ts'
import { Failover } from '../../../lib/serving/copy-reads.ts'

type Ways = ConstructorParameters<typeof Failover>[1]
type Asked = Parameters<Ways['ask']>

const [B, C] = ['B', 'C'] as PeerId[] as [PeerId, PeerId]

/** A read whose primary was lost, and what was asked of its copies. */
function failover(backups: () => readonly PeerId[]): { of: Failover; asked: Asked[] } {
  const asked: Asked[] = []
  const question = { isAbandoned: false, askedAt: () => {} } as unknown as ConstructorParameters<typeof Failover>[0]
  const of = new Failover(question, {
    backups,
    isWell: () => true,
    isReachable: () => true,
    onBegin: () => {},
    ask: (...ask) => {
      asked.push(ask)
      return { departure: { sent: true }, cancel: () => {} }
    }
  })
  return { of, asked }
}

describe('a read that its primary cannot answer', () => {
  it('is loaded by the last of the copies', async () => {
    const { of, asked } = failover(() => [B, C])
    const answer = of.read(() => true)
    asked[0]?.[2]('absent')
    await Promise.resolve()
    asked[1]?.[2]('absent')
    expect(await answer).toBeUndefined()
    expect(asked.map(([peer, { mayFill }]) => [peer, mayFill])).toEqual([
      [B, false],
      [C, true]
    ])
  })

  it('is not loaded by a copy that came up when the primary was buried, for the one before it is primary now', async () => {
    let ranks: PeerId[] = [B]
    let isCutOff = true
    const { of, asked } = failover(() => ranks)
    const answer = of.read(() => isCutOff)
    expect(asked[0]?.[1].mayGoOn(), 'while nobody else could be asked').toBe(false)
    ranks = [C]
    isCutOff = false
    expect(asked[0]?.[1].mayGoOn(), 'once C has come up').toBe(true)
    asked[0]?.[2](undefined)
    await Promise.resolve()
    asked[1]?.[2]('absent')
    expect(await answer).toBeUndefined()
    expect(asked.map(([peer, { mayFill }]) => [peer, mayFill])).toEqual([
      [B, true],
      [C, false]
    ])
  })
})
