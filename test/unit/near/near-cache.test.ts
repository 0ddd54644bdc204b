import { beforeEach, describe, expect, it } from 'vitest'
import type { Line } from '../../../lib/invalidation/origins.ts'
import { type Brought, NearCache, type NearCopy, readsToTell } from '../../../lib/near/near-cache.ts'
import { Stats } from '../../../lib/observe/stats.ts'
import { MeshClock } from '../../../lib/store/version.ts'
import { ManualClock } from '../rpc/manual-clock.ts'

const TTL_MS = 5_000

let clock: ManualClock
let meshClock: MeshClock
let stats: Stats
let line: Line | undefined
let viewHash: number
let primary: string
let unconfirmed: number
let used: NearCopy[]
let deadBelow: number
let hasRoom: boolean
let near: NearCache

beforeEach(() => {
  clock = new ManualClock()
  meshClock = new MeshClock(clock)
  stats = new Stats()
  viewHash = 1
  primary = 'a'
  unconfirmed = 0
  used = []
  deadBelow = 0
  hasRoom = true
  line = lineSince(meshClock.now())
  near = nearCache({})
})

function nearCache(terms: { maxEntries?: number; maxBytes?: number; isForHot?: boolean }): NearCache {
  return new NearCache(
    { maxEntries: 100, maxBytes: 1e6, ttlMs: TTL_MS, isForHot: false, ...terms },
    {
      ...{ meshClock, stats, self: 'me' },
      viewHash: () => viewHash,
      partitionOf: () => 7,
      primaryOf: () => primary,
      lineOf: () => line,
      unconfirmed: () => unconfirmed++,
      used: (_, copy) => used.push(copy),
      hasRoom: () => hasRoom,
      isDead: (_, { tags, stamp }) => tags.length > 0 && stamp < deadBelow
    }
  )
}

function lineSince(sinceMs: number): Line {
  return { origin: 'a', boot: 1, sinceMs, number: 0, confirmedAtMs: sinceMs, isOver: false }
}

function value(over: Partial<Brought> = {}): Brought {
  const expiresAtMs = meshClock.now() + 60_000
  const bytes = Uint8Array.of(1, 2, 3)
  return {
    bytes,
    negative: false,
    stamp: 10,
    writer: 'a',
    expiresAtMs,
    stale: false,
    tags: new Uint8Array(0),
    owner: 'a',
    ...over
  }
}

/** A read that begins now and is over in some milliseconds; what happens in between, and whether the copy is there then. */
function kept(over: Partial<Brought> = {}, meanwhile: () => void = () => {}, key = 'k'): boolean {
  clock.pass(1)
  const beganMs = near.beginRead()
  clock.pass(2)
  meanwhile()
  clock.pass(2)
  near.keep(key, key.slice(1), value(over), beganMs)
  near.endRead()
  return near.find(key) !== undefined
}

function keptUnread(key: string): void {
  clock.pass(1)
  near.keep(key, key.slice(1), value(), meshClock.now() - 0.5)
}

const changed = (stamp: number, expiresAtMs = 0, key = 'k'): boolean =>
  near.changed({ kind: 'key', namespace: 'n', key, stamp, expiresAtMs })

describe('what a read has brought', () => {
  it('is kept, in bytes of its own', () => {
    const bytes = Uint8Array.of(1, 2, 3)
    expect(kept({ bytes })).toBe(true)
    bytes.fill(9)
    expect(near.find('k')).toMatchObject({ bytes: Uint8Array.of(1, 2, 3), from: 'near', stale: false })
  })

  it.each([
    ['from somebody who is not its owner', { owner: undefined }],
    ['from an owner of before', { owner: 'b' }],
    ['from this member itself', { owner: 'me' }],
    ['and is stale', { stale: true }],
    ['and is over', { expiresAtMs: 0 }]
  ])('is not kept if it comes %s', (_, over) => {
    expect(kept(over)).toBe(false)
  })

  it('is not kept if nobody would tell of changes since it was read', () => {
    expect(kept({}, () => Object.assign(line as Line, { sinceMs: meshClock.now() }))).toBe(false)
    line = undefined
    expect(kept()).toBe(false)
  })

  it.each<[string, () => void]>([
    ['was named', () => changed(9)],
    ['was changed from here', () => near.changedHere('k')],
    ['was cleared', () => near.cleared('', 5)],
    ['was one of all that were', () => near.clear()]
  ])('is not kept if its key %s while it was on its way', (_, happens) => {
    expect(kept({}, happens)).toBe(false)
    expect(kept(), 'by the next read').toBe(true)
  })

  it('is not kept either if so many keys were named that its own may have been one of them', () => {
    const many = (): void => {
      for (let i = 0; i < 5_000; i++) changed(9, 0, `other ${i}`)
    }
    expect(kept({}, many)).toBe(false)
    expect(kept()).toBe(true)
  })

  it('does not take the place of something newer', () => {
    expect(kept({ stamp: 20 })).toBe(true)
    kept({ stamp: 10 })
    expect(near.find('k')?.stamp).toBe(20)
  })

  it('takes the place of what was not read for longest, and not of what is read', () => {
    near = nearCache({ maxEntries: 3 })
    for (const key of ['ka', 'kb', 'kc']) keptUnread(key)
    near.findText('a')
    near.find('kb')
    keptUnread('kd')
    keptUnread('ke')
    // c was never read; of a and b, which were spared when c went, a was read first.
    near.find('kb')
    keptUnread('kf')
    expect(['ka', 'kb', 'kc', 'kd', 'ke', 'kf'].filter(key => near.find(key) !== undefined)).toContain('kb')
    expect([near.find('kc'), near.find('kd'), near.size]).toEqual([undefined, undefined, 3])
  })

  it('takes the place of others also where all are read all the time', () => {
    near = nearCache({ maxEntries: 100 })
    for (let i = 0; i < 100; i++) kept({}, undefined, `k${i}`)
    kept({}, undefined, 'knew')
    expect(near.size).toBe(100)
    expect(near.find('knew')).toBeDefined()
  })

  it('takes the place of nobody where it is larger than all together', () => {
    near = nearCache({ maxBytes: 10_000 })
    for (let i = 0; i < 5; i++) kept({}, undefined, `k${i}`)
    expect(kept({ bytes: new Uint8Array(20_000) }, undefined, 'large')).toBe(false)
    expect(near.size).toBe(5)
  })

  it('is bounded by number and by bytes', () => {
    near = nearCache({ maxEntries: 3 })
    for (let i = 0; i < 10; i++) kept({}, undefined, `k${i}`)
    expect(near.size).toBe(3)
    near = nearCache({ maxBytes: 10_000 })
    for (let i = 0; i < 100; i++) kept({ bytes: new Uint8Array(1_000) }, undefined, `k${i}`)
    expect(near.size).toBeGreaterThan(3)
    expect(near.bytes).toBeLessThanOrEqual(10_000)
  })
})

describe('a copy', () => {
  it('goes when a later version of its key is told, or another end of the same, and stays for its own', () => {
    kept({ expiresAtMs: 1e15 })
    changed(9)
    changed(10, 1e15)
    expect(near.find('k')).toBeDefined()
    changed(10, 2e15)
    expect(near.find('k')).toBeUndefined()
    kept()
    changed(11)
    expect(near.find('k')).toBeUndefined()
    expect(stats.nearDroppedTotal).toBe(2)
  })

  it('goes with all that begin like it and are older than a clear', () => {
    kept({ stamp: 10 }, undefined, 'sab')
    kept({ stamp: 10 }, undefined, 'sb')
    kept({ stamp: 20 }, undefined, 'sac')
    near.cleared('sa', 15)
    expect(['sab', 'sb', 'sac'].map(key => near.find(key) !== undefined)).toEqual([false, true, true])
  })

  it('goes when a tag of it was invalidated, and is not kept then', () => {
    const [tags, key] = [Uint8Array.of(1, 97), 'stagged']
    near.keep(key, 'tagged', value({ tags }), meshClock.now())
    near.keep('splain', 'plain', value(), meshClock.now())
    deadBelow = 11
    expect(near.findText('tagged')).toBeUndefined()
    expect(near.findLast(key)).toBeUndefined()
    expect(near.size).toBe(1)
    near.keep(key, 'tagged', value({ tags }), meshClock.now())
    expect(near.size).toBe(1)
    near.keep(key, 'tagged', value({ tags, stamp: 11 }), meshClock.now())
    expect(near.findText('tagged')?.stamp).toBe(11)
  })

  it('goes when its partition has another owner in a new view, and when its line is over', () => {
    kept()
    viewHash = 2
    expect(near.find('k')).toBeDefined()
    primary = 'b'
    expect(near.find('k'), 'in the same view nobody looks').toBeDefined()
    viewHash = 3
    expect(near.find('k')).toBeUndefined()
    primary = 'a'
    kept()
    Object.assign(line as Line, { isOver: true })
    expect([near.find('k'), near.findLast('k')]).toEqual([undefined, undefined])
  })

  it('is not served two seconds after its line was last confirmed; who has nobody else may have it until its ttl', () => {
    kept()
    clock.pass(1_990)
    expect(near.find('k')).toBeDefined()
    clock.pass(20)
    expect([near.find('k'), unconfirmed]).toEqual([undefined, 2])
    expect(near.findLast('k')).toBeDefined()
    Object.assign(line as Line, { confirmedAtMs: meshClock.now() })
    expect(near.find('k')).toBeDefined()
    clock.pass(TTL_MS - 2_000)
    expect([near.find('k'), near.findLast('k')]).toEqual([undefined, undefined])
  })

  it('is told of once when it is used', () => {
    kept()
    for (let i = 0; i < 3; i++) near.find('k')
    expect(used.map(({ key }) => key)).toEqual(['k'])
    // Of what is not hot, reads in haste are not counted.
    expect([readsToTell(used[0] as NearCopy), near.find('k') !== undefined, used.length]).toEqual([1, true, 1])
  })
})

describe('a copy of a hot key, where none were asked for', () => {
  beforeEach(() => {
    near = nearCache({ isForHot: true })
  })

  const grant = (): void => near.granted('k')

  it('is kept only if the reply to that very read says that it is hot', () => {
    expect([near.isIdle, near.mayKeep('k'), kept()]).toEqual([true, false, false])
    grant()
    expect([near.isIdle, near.mayKeep('k'), near.mayKeep('other')]).toEqual([false, true, false])
    expect(kept(), 'told before it began').toBe(false)
    expect(near.mayKeep('k'), 'its owner has cooled it down').toBe(false)
    expect(kept({}, grant)).toBe(true)
  })

  it('goes when its owner does not say so any more, whatever it answers', () => {
    expect(kept({ stamp: 20 }, grant)).toBe(true)
    kept({ stamp: 20 })
    expect([near.find('k'), near.isIdle]).toEqual([undefined, true])
  })

  it('is not kept where it was changed from here meanwhile, nor where there is no room', () => {
    grant()
    const changedMeanwhile = (): void => {
      grant()
      near.changedHere('k')
    }
    expect(kept({}, changedMeanwhile)).toBe(false)
    hasRoom = false
    expect(kept({}, grant)).toBe(false)
    hasRoom = true
    expect(kept({}, grant)).toBe(true)
  })

  it('is told of again and again while it is used, each time with the reads since', () => {
    kept({}, grant)
    near.find('k')
    expect(used.map(readsToTell)).toEqual([2])
    for (let i = 0; i < 5; i++) near.find('k')
    expect([used.length, readsToTell(used[1] as NearCopy)]).toEqual([2, 5])
  })

  it('is not idle while a read is on its way, and takes no room once it is over', () => {
    near.beginRead()
    expect(near.isIdle).toBe(false)
    near.endRead()
    kept({}, grant)
    clock.pass(TTL_MS)
    expect(near.size).toBe(1)
    near.dropOver()
    expect(near.size).toBe(0)
  })

  it('is one of few that are remembered', () => {
    for (let i = 0; i < 300; i++) near.granted(`k${i}`)
    expect([near.mayKeep('k0'), near.mayKeep('k299')]).toEqual([false, true])
  })
})
