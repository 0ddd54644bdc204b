import { beforeEach, describe, expect, it } from 'vitest'
import { Complaints } from '../../../lib/observe/complaints.ts'
import { Stats } from '../../../lib/observe/stats.ts'
import { noLog } from '../../../lib/ports/log.ts'
import type { Change, Reply, Request, SignedChange } from '../../../lib/rpc/messages.ts'
import { Changing } from '../../../lib/serving/changing.ts'
import { Done } from '../../../lib/serving/done.ts'
import { Handlers } from '../../../lib/serving/handlers.ts'
import type { Owner } from '../../../lib/serving/owner.ts'
import { seededRandom } from '../../../lib/sim/random.ts'
import type { Entry } from '../../../lib/store/entry.ts'
import { Store } from '../../../lib/store/store.ts'
import { MeshClock } from '../../../lib/store/version.ts'
import { ManualClock } from '../rpc/manual-clock.ts'

let isOurs: boolean
let hotKey: string | undefined
let stored: Entry | undefined
let isCertain: boolean
let settling: Promise<void> | undefined
let made: Change[]
let meshClock: MeshClock
let stats: Stats
let handlers: Handlers

beforeEach(() => {
  isOurs = true
  hotKey = undefined
  stored = undefined
  isCertain = true
  settling = undefined
  made = []
  stats = new Stats()
  meshClock = new MeshClock(new ManualClock())
  const perform = (change: Change): Reply => {
    made.push(change)
    return { type: 'added', done: true, value: made.length, expiresAtMs: 1 }
  }
  const read = (_: string, __: unknown, respond: (reply: Reply) => void): void => respond({ type: 'absent' })
  const owner = { perform, read, glance: () => stored } as unknown as Owner
  const changing = new Changing({
    owner,
    done: new Done(),
    clock: new ManualClock(),
    meshClock,
    stats,
    store: new Store({ bytesMax: 1e6, stats, random: seededRandom(1) }),
    partitionOf: () => 1,
    owns: () => isOurs,
    look: () => false,
    confirm: () => {
      throw new Error('nobody waits for backups')
    }
  })
  handlers = new Handlers({
    owner,
    changing,
    stats,
    complaints: new Complaints({ clock: new ManualClock(), log: noLog, stats }),
    isCertain: () => isCertain,
    settleWith: () => settling,
    owns: () => isOurs,
    viewHash: () => 7,
    explain: () => ({
      type: 'explained',
      entry: undefined,
      fill: undefined,
      backOff: undefined,
      origin: { running: 0, queued: 0, permits: 0, breaker: 'closed', retryAfterMs: 0 },
      mayExist: true,
      storePending: false,
      lines: []
    }),
    page: () => ({ type: 'page', keys: ['sk'], partition: 1, after: '' }),
    filters: () => ({ type: 'filterPart', bytes: new Uint8Array(0) }),
    asked: ({ key }) => hotKey === key,
    confirm: () => ({ type: 'confirmed', boot: 1, number: 0, isWhole: true, changes: [] }),
    replicas: () => undefined
  })
})

function ask(request: Request, peer = 'peer'): Reply[] {
  const replies: Reply[] = []
  handlers.handle(peer, request, reply => replies.push(reply))
  return replies
}

const add = (number: number, untilMs = meshClock.now() + 1_000): SignedChange => {
  const once = { boot: 1, number, openFrom: 1, untilMs }
  return { type: 'add', namespace: 'n', key: 'sk', by: 1, ttlMs: 1, backups: 0, backupAcks: 0, ...once }
}

describe('a change of another member', () => {
  it('that comes again is answered as before, also when the key is no longer ours', () => {
    const first = ask(add(1))
    isOurs = false
    expect(ask(add(1))).toEqual(first)
    expect(ask(add(2))).toEqual([{ type: 'notOwner' }])
    expect(made).toHaveLength(1)
    expect(stats.changesRepeatedTotal).toBe(1)
  })

  it('that was sent away may be made when the key is ours', () => {
    isOurs = false
    expect(ask(add(1))).toEqual([{ type: 'notOwner' }])
    isOurs = true
    expect(ask(add(1))).toMatchObject([{ type: 'added', value: 1 }])
  })

  it('past its deadline is not made, nor one whose deadline passed while we did not trust our view', () => {
    expect(ask(add(1, meshClock.now() - 1))).toEqual([{ type: 'forgotten' }])
    isCertain = false
    const held = ask(add(2, meshClock.now() + 500))
    expect(held).toEqual([])
    meshClock.hear(meshClock.now() + 1_000)
    isCertain = true
    handlers.becameCertain()
    expect(held).toEqual([{ type: 'forgotten' }])
    expect(made).toEqual([])
    expect(stats.changesRepeatedTotal).toBe(0)
  })

  it('that clears is made whoever owns what', () => {
    isOurs = false
    const once = { boot: 1, number: 1, openFrom: 1, untilMs: meshClock.now() + 1_000 }
    expect(
      ask({ type: 'clear', kind: 'prefix', namespace: 'n', texts: [''], stamp: 1, soft: false, ...once })
    ).toHaveLength(1)
    expect(made).toHaveLength(1)
  })
})

describe('a read of a stored value', () => {
  const read = { type: 'read', namespace: 'n', key: 'sk', mode: 'load', wish: 'usual' } as const
  const bytes = Uint8Array.of(1, 2)

  beforeEach(() => {
    const version = { stamp: 5, writer: 'w' }
    const about = { namespace: 'n', key: 'sk', partition: 1, backups: 0, keeping: undefined }
    stored = { ...about, version, kind: 'value', bytes, negative: false, expiresAtMs: 9 }
  })

  it('says that it is hot, with its tags, and counts that, where it is', () => {
    expect(ask(read)).toMatchObject([{ type: 'hit', stamp: 5, bytes }])
    expect(stats.hotGrantsTotal).toBe(0)
    hotKey = 'sk'
    const plain = { type: 'hot', stamp: 5, writer: 'w', expiresAtMs: 9, negative: false, bytes }
    expect(ask(read)).toEqual([{ ...plain, tags: new Uint8Array(0) }])
    const keeping = { freshUntilMs: 8, tags: Uint8Array.of(7) } as Entry['keeping']
    stored = { ...(stored as Entry), keeping }
    expect(ask(read)).toMatchObject([{ type: 'hot', expiresAtMs: 8, tags: Uint8Array.of(7) }])
    expect(stats.hotGrantsTotal).toBe(2)
  })

  it('is left to the owner where it has tags and is not hot, or where more than the stored value is wanted', () => {
    hotKey = 'other'
    stored = { ...(stored as Entry), keeping: { freshUntilMs: 8, tags: Uint8Array.of(7) } as Entry['keeping'] }
    expect(ask(read)).toEqual([{ type: 'absent' }])
    hotKey = 'sk'
    expect(ask({ ...read, wish: 'fresh' })).toEqual([{ type: 'absent' }])
  })
})

describe('a page of keys', () => {
  it('is made between equal views only', () => {
    const keys = { type: 'keys', namespace: 'n', prefix: '', partition: 0, after: '' } as const
    expect(ask({ ...keys, viewHash: 7 })).toMatchObject([{ type: 'page' }])
    expect(ask({ ...keys, viewHash: 8 })).toEqual([{ type: 'notOwner' }])
  })
})

describe('a member that has just begun', () => {
  it('answers nobody who sees others before it has heard of them, and then by what it has heard', async () => {
    let told = (): void => {}
    settling = new Promise(resolve => {
      told = resolve
    })
    const replies = ask(add(1))
    expect([replies, made]).toEqual([[], []])
    isOurs = false
    told()
    await settling
    expect(replies).toEqual([{ type: 'notOwner' }])
    expect(made).toEqual([])
  })

  it('forgets who has taken the question back meanwhile', async () => {
    let told = (): void => {}
    settling = new Promise(resolve => {
      told = resolve
    })
    const replies: Reply[] = []
    const withdraw = handlers.handle('peer', add(1), reply => replies.push(reply))
    withdraw?.()
    told()
    await settling
    expect([replies, made]).toEqual([[], []])
  })
})
