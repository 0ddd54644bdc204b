import { describe, expect, it } from 'vitest'
import { cacheDefinition } from '../../../lib/cache-options.ts'
import { Stats } from '../../../lib/observe/stats.ts'
import { CallFailed, type Client } from '../../../lib/rpc/client.ts'
import type { MessageOf, Reply, Request } from '../../../lib/rpc/messages.ts'
import type { RecordFields } from '../../../lib/rpc/replica-talk.ts'
import { type Answer, type FailedLoad, Question, type ReadAsk, STORED } from '../../../lib/serving/question.ts'
import { QuorumReads } from '../../../lib/serving/quorum-reads.ts'
import { Routes, type RoutesDeps } from '../../../lib/serving/routes.ts'
import { Sessions } from '../../../lib/serving/sessions.ts'
import { MeshClock } from '../../../lib/store/version.ts'
import { ManualClock } from '../rpc/manual-clock.ts'

class Asked extends Question {
  answered(_answer: Answer | FailedLoad | undefined): void {}
  failed(_error: unknown): void {}
}

/** A key that 'self', 'b' and 'c' hold; what lies here, and a way to let the other two answer. */
function setup(ours: RecordFields | undefined) {
  const clock = new ManualClock()
  const open = new Map<string, (reply: Reply | CallFailed) => void>()
  const sent: [string, MessageOf<'copies'>][] = []
  const client = {
    begin: (peer: string, request: Request, _terms: unknown, onEnd: (reply: Reply | CallFailed) => void) => {
      if (request.type === 'copies') sent.push([peer, request])
      else open.set(peer, onEnd)
    }
  } as unknown as Client
  const routes = {
    self: 'self',
    clock,
    ownersOf: () => ['self', 'b', 'c', 'd'],
    primaryOf: () => 'self',
    isReachable: () => true,
    viewHash: () => 7
  } as unknown as RoutesDeps
  const quorum = new QuorumReads({
    routes: new Routes(routes),
    client,
    meshClock: new MeshClock(clock),
    sessions: new Sessions(),
    stats: new Stats(),
    peek: () => ({ type: 'peeked', record: ours, answer: undefined, final: false, viewHash: 0 }),
    takeIn: copies => sent.push(['self', copies])
  })
  const definition = { ...cacheDefinition('c', { ttl: '1h' }), backups: 2 }
  const ask: ReadAsk = { definition, key: 'k', encodedKey: 'sk', ...STORED, isQuorum: true, timeoutMs: 100 }
  const say = (peer: string, record: RecordFields | undefined) =>
    open.get(peer)?.({ type: 'peeked', record, answer: undefined, final: false, viewHash: 0 })
  const fail = (peer: string) => open.get(peer)?.(new CallFailed('timeout', true))
  const repaired = () =>
    sent.map(([peer, { delivers, records }]) => [peer, delivers, records.map(one => one.record.stamp)])
  return { read: () => quorum.read(new Asked(ask, 1)), say, fail, repaired, asked: () => [...open.keys()] }
}

function record(stamp: number, kind: RecordFields['kind'] = 'value'): RecordFields {
  const about = { namespace: 'n', key: 'sk', writer: 'a', negative: false, backups: 2, keeping: undefined }
  return { ...about, stamp, kind, expiresAtMs: Number.POSITIVE_INFINITY, bytes: Uint8Array.of(stamp) }
}

describe('a quorum read', () => {
  it('asks all who hold the key and nobody else, and is over with the first majority', async () => {
    const { read, say, asked } = setup(record(5))
    const answer = read()
    expect(asked()).toEqual(['b', 'c'])
    say('c', record(3))
    expect(await answer).toMatchObject({ stamp: 5, from: 'local' })
  })

  it('sends the latest version to those who answered with an older one or none, each once, late ones too', async () => {
    const { read, say, repaired } = setup(record(3))
    const answer = read()
    say('b', record(5))
    expect(await answer).toMatchObject({ stamp: 5, from: 'backup' })
    expect(repaired()).toEqual([['self', true, [5]]])
    say('c', undefined)
    expect(repaired()).toEqual([
      ['self', true, [5]],
      ['c', true, [5]]
    ])
  })

  it('sends nothing to those who have it, and nothing old to one that is ahead', async () => {
    const { read, say, repaired } = setup(record(5))
    const answer = read()
    say('b', record(5))
    say('c', record(9))
    expect(await answer).toMatchObject({ stamp: 5 })
    expect(repaired()).toEqual([])
  })

  it('tells of a delete as it does of a value', async () => {
    const { read, say, repaired } = setup(record(3))
    const answer = read()
    say('b', record(5, 'tombstone'))
    expect(await answer).toBeUndefined()
    expect(repaired()).toEqual([['self', true, [5]]])
  })

  it('fails with the count where fewer than a majority answer', async () => {
    const { read, fail } = setup(record(3))
    const answer = read()
    fail('b')
    fail('c')
    await expect(answer).rejects.toMatchObject({
      code: 'ERR_MESH_UNAVAILABLE',
      message: expect.stringContaining('1 of 3')
    })
  })
})
