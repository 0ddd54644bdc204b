import { expect, it } from 'vitest'
import { cacheDefinition } from '../../../lib/cache-options.ts'
import { Stats } from '../../../lib/observe/stats.ts'
import { CallFailed, type CallTerms, type Client } from '../../../lib/rpc/client.ts'
import type { MessageOf, Reply, Request } from '../../../lib/rpc/messages.ts'
import type { CopyReads } from '../../../lib/serving/copy-reads.ts'
import { HedgeBudget } from '../../../lib/serving/hedge-budget.ts'
import { ManyReads } from '../../../lib/serving/many-reads.ts'
import type { Owner } from '../../../lib/serving/owner.ts'
import type { ReadAsk } from '../../../lib/serving/question.ts'
import type { Reads } from '../../../lib/serving/reads.ts'
import { Routes, type RoutesDeps } from '../../../lib/serving/routes.ts'
import { ManualClock } from '../rpc/manual-clock.ts'

const VALUE = Uint8Array.of(1)
const FIRST: MessageOf<'found'> = { type: 'found', last: false, items: [{ state: 'value', bytes: VALUE }] }

/** Three keys of one other member, which answers with the value of the first, and then ends like that. */
async function findThree(end: Reply | CallFailed) {
  const alone: number[] = []
  const clock = new ManualClock()
  const client = {
    begin: (_peer: string, _request: Request, terms: CallTerms, onEnd: (end: Reply | CallFailed) => void) => {
      terms.onPart?.(FIRST)
      onEnd(end)
    }
  } as unknown as Client
  const routes = { self: 'self', clock, ownerOf: () => 'peer', isReachable: () => true } as unknown as RoutesDeps
  const many = new ManyReads({
    routes: new Routes(routes),
    clock,
    client,
    owner: {} as Owner,
    reads: { read: async () => undefined } as unknown as Reads,
    copies: {} as CopyReads,
    budget: new HedgeBudget(),
    stats: new Stats(),
    timeoutMs: 100
  })
  const ask = {
    definition: cacheDefinition('c', { ttl: '1h', backups: 0 }),
    encodedKeys: ['sa', 'sb', 'sc'],
    loads: false,
    isBatched: false,
    isQuorum: false,
    alone: (place: number) => {
      alone.push(place)
      return {} as ReadAsk
    }
  }
  const found = await many.read(ask, { signal: undefined, timeoutMs: undefined })
  const codes = found.map(one => (one !== undefined && 'error' in one ? (one.error as { code: string }).code : one))
  return { codes, alone }
}

const KEPT = { bytes: VALUE, negative: false }

it.each([
  ['is overloaded', { type: 'overloaded' } as const, 'ERR_MESH_OVERLOADED'],
  ['is broken', { type: 'broken', reason: 'TypeError' } as const, 'ERR_MESH_UNAVAILABLE'],
  [
    'answers with nonsense',
    { type: 'removed', existed: true, stamp: 1, writer: 'a', taken: false } as const,
    'ERR_MESH_UNAVAILABLE'
  ],
  ['has too many calls under way', new CallFailed('overloaded', false), 'ERR_MESH_OVERLOADED'],
  ['does not answer', new CallFailed('timeout', true), 'ERR_MESH_TIMEOUT']
])('a member that %s is not asked for each of many keys again', async (_, end, code) => {
  expect(await findThree(end)).toEqual({ codes: [KEPT, code, code], alone: [] })
})

it('keys whose link was lost are asked for alone, for they may have another owner by now', async () => {
  expect(await findThree(new CallFailed('lost', true))).toMatchObject({ alone: [1, 2] })
})
