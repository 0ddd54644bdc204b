import { describe, expect, it } from 'vitest'
import { BackupsError, type MeshError } from '../../../lib/base/errors.ts'
import { Stats } from '../../../lib/observe/stats.ts'
import { CallFailed, type Client } from '../../../lib/rpc/client.ts'
import { CACHE_ONLY, type ChangeOf, type MessageOf, OUTRIGHT, type Reply } from '../../../lib/rpc/messages.ts'
import { Changes, type ChangesDeps } from '../../../lib/serving/changes.ts'
import { Routes, type RoutesDeps } from '../../../lib/serving/routes.ts'
import { Sessions } from '../../../lib/serving/sessions.ts'
import { MeshClock } from '../../../lib/store/version.ts'
import { ManualClock } from '../rpc/manual-clock.ts'

const TOO_LARGE: Reply = { type: 'tooLarge', recordBytes: 200, recordBytesMax: 100 }
const RECORD = { namespace: 'n', key: 'sk', backups: 2, backupAcks: 2 } as const
const WRITE: ChangeOf<'write'> = {
  type: 'write',
  ...RECORD,
  bytes: new Uint8Array(100),
  ttlMs: 1,
  keep: undefined,
  ...CACHE_ONLY
}
const REMOVE: ChangeOf<'remove'> = { type: 'remove', ...RECORD, ...OUTRIGHT, ...CACHE_ONLY }
const COMPARE: ChangeOf<'compareAndSet'> = {
  ...WRITE,
  type: 'compareAndSet',
  expectedStamp: 0,
  expectedWriter: '',
  keepTtl: false
}
const TOUCH: ChangeOf<'touch'> = { type: 'touch', ...RECORD, ttlMs: 1 }
const ADD: ChangeOf<'add'> = { type: 'add', ...RECORD, by: 1, ttlMs: 1 }
const ABOUT = { name: 'c' }

/** Changes of a member `self`; `replies` are those of other members, one after the other. */
function changesOf(
  ownerOf: (asked: number) => string,
  replies: readonly (Reply | CallFailed)[],
  deps: Partial<ChangesDeps> = {}
): Changes {
  const clock = new ManualClock()
  let asked = 0
  const client = {
    call: () => {
      const reply = replies[asked++] as Reply | CallFailed
      return { reply: reply instanceof CallFailed ? Promise.reject(reply) : Promise.resolve(reply) }
    }
  } as unknown as Client
  const routes = { self: 'self', clock, ownerOf: () => ownerOf(asked), partitionOf: () => 0, isReachable: () => true }
  return new Changes({
    boot: 1,
    routes: new Routes(routes as unknown as RoutesDeps),
    client,
    makeHere: async () => TOO_LARGE,
    onMade: () => {},
    meshClock: new MeshClock(clock),
    stats: new Stats(),
    sessions: new Sessions(),
    attemptMs: 100,
    ...deps
  })
}

function failure(promise: Promise<unknown>): Promise<MeshError> {
  return promise.then(
    () => Promise.reject(new Error('it was made')),
    (error: MeshError) => error
  )
}

describe('a value that its owner has no room for', () => {
  /** The link to `a` is lost when it may have been made there. */
  const writeAfterLoss = (ownerOfThen: string): Promise<MeshError> => {
    const changes = changesOf(asked => (asked === 0 ? 'a' : ownerOfThen), [new CallFailed('lost', true), TOO_LARGE])
    return failure(changes.write(ABOUT, WRITE, 1_000))
  }

  it('asked twice, was not made', async () => {
    expect(await writeAfterLoss('a')).toMatchObject({ code: 'ERR_MESH_VALUE_TOO_LARGE', retryable: false })
  })

  it.each(['b', 'self'])('at %s, may have been taken by one before', async owner => {
    expect(await writeAfterLoss(owner)).toMatchObject({ code: 'ERR_MESH_TIMEOUT', outcome: 'unknown', member: 'a' })
  })
})

describe('a change that fewer backups have than it waits for', () => {
  const unacked: MessageOf<'unacked'> = {
    type: 'unacked',
    stamp: 7,
    writer: 'a',
    taken: false,
    acked: 1,
    wanted: 2,
    missing: ['m3']
  }

  it.each([
    ['write', true, (c: Changes) => c.write(ABOUT, WRITE, 1_000), 'The change stays'],
    ['delete', true, (c: Changes) => c.remove(ABOUT, REMOVE, 1_000), 'delete again'],
    ['touch', true, (c: Changes) => c.touch(ABOUT, TOUCH, 1_000), 'wait with flush'],
    ['comparison', false, (c: Changes) => c.compareAndSet(ABOUT, COMPARE, 1_000), 'fewer by backupAcks'],
    ['add', false, (c: Changes) => c.add(ABOUT, ADD, 1_000), 'read the key']
  ] as const)('(%s) was made, and may be made again: %s', async (name, retryable, change, todo) => {
    const made: string[] = []
    const error = await failure(change(changesOf(() => 'a', [unacked], { onMade: (n, peer) => made.push(n + peer) })))
    expect(error).toBeInstanceOf(BackupsError)
    const told = { written: true, acked: 1, wanted: 2, missing: ['m3'], retryable, member: 'a', cache: 'c' }
    expect(error).toMatchObject({ code: 'ERR_MESH_BACKUPS', name: 'BackupsError', ...told })
    expect(error.outcome).toBeUndefined()
    expect(error.message).toContain(`has made this ${name} (cache 'c'), and 1 of 2 backups have it; still missing: m3.`)
    expect(error.message).toContain(todo)
    expect(made).toEqual(['na'])
  })

  it('in a mesh of one says that there is nobody else', async () => {
    const alone = { ...unacked, acked: 0, wanted: 1, missing: [] }
    const changes = changesOf(() => 'self', [], { makeHere: () => Promise.resolve(alone) })
    const error = await failure(changes.write(ABOUT, WRITE, 1_000))
    expect(error).toMatchObject({ written: true, acked: 0, wanted: 1, missing: [], member: 'self' })
    expect(error.message).toContain('there is no further member to hold one')
  })

  it('is given all of its time by an owner that says that it waits, and one attempt by one that says nothing', async () => {
    const terms: unknown[] = []
    const client = {
      call: (_peer: string, _change: unknown, given: unknown) => {
        terms.push(given)
        return { reply: Promise.resolve(unacked) }
      }
    } as unknown as Client
    await failure(changesOf(() => 'a', [], { client }).write(ABOUT, WRITE, 1_000))
    expect(terms).toEqual([{ timeoutMs: 100, loadMs: 900 }])
  })

  it('at this very member is waited for, with the deadline of the change', async () => {
    const untils: number[] = []
    let settle = (_: Reply): void => {}
    const makeHere = ({ untilMs }: { untilMs: number }): Promise<Reply> => {
      untils.push(untilMs)
      return new Promise<Reply>(resolve => {
        settle = resolve
      })
    }
    const clock = new ManualClock()
    const meshClock = new MeshClock(clock)
    const written = changesOf(() => 'self', [], { makeHere, meshClock }).write(ABOUT, WRITE, 1_000)
    settle({ type: 'written', stamp: 8, writer: 'self', taken: false })
    expect(await written).toMatchObject({ stamp: 8 })
    expect(untils).toEqual([meshClock.now() + 1_000])
  })

  it('tells who is to bring it to the origin all the same', async () => {
    const told: unknown[] = []
    await failure(changesOf(() => 'a', [unacked]).write(ABOUT, WRITE, 1_000, reply => told.push(reply)))
    expect(told).toEqual([unacked])
  })
})

describe('who has taken a change', () => {
  const replied = async (reply: Reply, run: (c: Changes) => Promise<unknown>): Promise<string[]> => {
    const made: string[] = []
    // Some are refused: what their caller is told is told above.
    await Promise.allSettled([run(changesOf(() => 'a', [reply], { onMade: (_, peer) => made.push(peer) }))])
    return made
  }

  it('is told when it was made, and not when it was not', async () => {
    const version = { stamp: 7, writer: 'a', taken: true }
    const write = (c: Changes) => c.write(ABOUT, WRITE, 1_000)
    const compare = (c: Changes) => c.compareAndSet(ABOUT, COMPARE, 1_000)
    expect(await replied({ type: 'written', ...version }, write)).toEqual(['a'])
    expect(await replied({ type: 'compared', done: true, ...version }, compare)).toEqual(['a'])
    expect(await replied({ type: 'compared', done: false, ...version }, compare)).toEqual([])
    expect(await replied(TOO_LARGE, write)).toEqual([])
    expect(await replied({ type: 'overloaded' }, write)).toEqual([])
    const added: Reply = { type: 'added', done: true, value: 1, expiresAtMs: 1 }
    expect(await replied(added, c => c.add(ABOUT, ADD, 1_000))).toEqual(['a'])
    expect(await replied({ type: 'touched', existed: true }, c => c.touch(ABOUT, TOUCH, 1_000))).toEqual(['a'])
    expect(await replied({ type: 'removed', existed: true, ...version }, c => c.remove(ABOUT, REMOVE, 1_000))).toEqual([
      'a'
    ])
  })
})
