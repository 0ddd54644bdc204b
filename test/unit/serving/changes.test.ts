import { expect, it } from 'vitest'
import type { MeshError } from '../../../lib/base/errors.ts'
import { Stats } from '../../../lib/observe/stats.ts'
import { CallFailed, type Client } from '../../../lib/rpc/client.ts'
import { CACHE_ONLY, type Reply } from '../../../lib/rpc/messages.ts'
import { Changes } from '../../../lib/serving/changes.ts'
import { Routes, type RoutesDeps } from '../../../lib/serving/routes.ts'
import { MeshClock } from '../../../lib/store/version.ts'
import { ManualClock } from '../rpc/manual-clock.ts'

const TOO_LARGE: Reply = { type: 'tooLarge', recordBytes: 200, recordBytesMax: 100 }

/** A write whose link to `a` is lost when it may have been made there, and that its owner of then has no room for. */
async function writeAfterLoss(ownerOfThen: string): Promise<MeshError> {
  const clock = new ManualClock()
  const asked: string[] = []
  const client = {
    call: (peer: string) => {
      asked.push(peer)
      const isFirst = asked.length === 1
      return { reply: isFirst ? Promise.reject(new CallFailed('lost', true)) : Promise.resolve(TOO_LARGE) }
    }
  } as unknown as Client
  const routes = {
    self: 'self',
    clock,
    ownerOf: () => (asked.length === 0 ? 'a' : ownerOfThen),
    isReachable: () => true
  } as unknown as RoutesDeps
  const changes = new Changes({
    boot: 1,
    routes: new Routes(routes),
    client,
    makeHere: async () => TOO_LARGE,
    onMade: () => {},
    meshClock: new MeshClock(clock),
    stats: new Stats(),
    attemptMs: 100
  })
  const write = {
    type: 'write',
    namespace: 'n',
    key: 'sk',
    bytes: new Uint8Array(100),
    ttlMs: 1,
    keep: undefined,
    backups: 0,
    backupAcks: 0,
    ...CACHE_ONLY
  } as const
  return changes.write({ name: 'c' }, write, 1_000).then(
    () => Promise.reject(new Error('it was made')),
    (error: MeshError) => error
  )
}

it('a value that its owner has no room for, asked twice, was not made', async () => {
  expect(await writeAfterLoss('a')).toMatchObject({ code: 'ERR_MESH_VALUE_TOO_LARGE', retryable: false })
})

it.each(['b', 'self'])('whether one before %s, which has no room for a value, had it is not known', async owner => {
  expect(await writeAfterLoss(owner)).toMatchObject({ code: 'ERR_MESH_TIMEOUT', outcome: 'unknown', member: 'a' })
})
