/** Who is asked how often, when members answer for different generations, views differ or somebody is lost. */
import { beforeEach, describe, expect, it } from 'vitest'
import { Roll } from '../../../lib/fill/roll.ts'
import { CallFailed, type Client } from '../../../lib/rpc/client.ts'
import type { FilterRequest, FilterState, MessageOf, Reply } from '../../../lib/rpc/messages.ts'
import { FilterChanges } from '../../../lib/serving/filter-changes.ts'
import type { Filters } from '../../../lib/serving/filters.ts'
import { Routes, type RoutesDeps } from '../../../lib/serving/routes.ts'
import { MeshClock } from '../../../lib/store/version.ts'
import { ManualClock } from '../rpc/manual-clock.ts'

const ABOUT = { name: 'products', namespace: 'n' }

let clock: ManualClock
let here: string[]
let roll: Roll
let asked: string[]
let agreed: string[]
/** What each member answers, time after time; the last again and again. */
let script: Record<
  string,
  (Partial<FilterState> & { viewHash?: number; cutOff?: boolean; end?: 'lost' | 'overloaded' })[]
>
let changes: FilterChanges

beforeEach(() => {
  clock = new ManualClock()
  here = ['a', 'b', 'c']
  roll = new Roll()
  asked = []
  agreed = []
  script = { a: [{}], b: [{}], c: [{}] }
  const answer = (peer: string, request: FilterRequest): MessageOf<'filterTold'> => {
    asked.push(request.type === 'filterAdd' ? `${peer} ${request.keys.join()}` : peer)
    const said = script[peer] ?? []
    const { viewHash = 1, cutOff = false, end, ...state } = (said.length > 1 ? said.shift() : said[0]) ?? {}
    if (end !== undefined) throw new CallFailed(end, true)
    return { type: 'filterTold', viewHash, cutOff, state: { ...held(1), ...state } }
  }
  const routes = new Routes({
    self: 'a',
    clock,
    owners: () => here.map(id => ({ id, boot: 1 })),
    viewHash: () => 1,
    isReachable: () => true,
    agreeWith: async peer => {
      agreed.push(peer)
      if (!here.includes('d')) here.push('d')
    }
  } as Partial<RoutesDeps> as RoutesDeps)
  const call = (peer: string, request: FilterRequest): { reply: Promise<Reply> } => ({
    reply: (async () => answer(peer, request))()
  })
  const filters = {
    roll,
    hear: () => {},
    of: () => undefined,
    handle: (peer: string, request: FilterRequest) => answer(peer, request)
  } as unknown as Filters
  const client = { call } as unknown as Client
  changes = new FilterChanges({ routes, client, clock, meshClock: new MeshClock(clock), filters, attemptMs: 1_000 })
})

function held(stamp: number): FilterState {
  const geometry = { bits: 64, hashes: 1, hashing: 1 }
  return { stamp, writer: 'w', ...geometry, holds: true, complete: true, level: true, doubts: 0, print: 0 }
}

async function settled(work: Promise<unknown>): Promise<string> {
  let state = 'pending'
  work.then(
    () => {
      state = 'done'
    },
    error => {
      state = error.message
    }
  )
  for (let i = 0; i < 200 && state === 'pending'; i++) {
    clock.pass(100)
    for (let job = 0; job < 20; job++) await Promise.resolve()
  }
  return state
}

describe('an add', () => {
  it('asks everybody once where all are of one generation', async () => {
    expect(await settled(changes.add(ABOUT, ['k'], 5_000))).toBe('done')
    expect(asked.sort()).toEqual(['a k', 'b k', 'c k'])
  })

  it('asks again until all are of one generation: one may have taken up the newer after it answered', async () => {
    script.b = [{ stamp: 1 }, { stamp: 1 }, { stamp: 2 }]
    script.a = [{ stamp: 1 }, { stamp: 2 }]
    script.c = [{ stamp: 2 }]
    expect(await settled(changes.add(ABOUT, ['k'], 5_000))).toBe('done')
    expect(asked.sort()).toEqual(['a k', 'a k', 'a k', 'b k', 'b k', 'b k', 'c k', 'c k', 'c k'])
  })

  it('asks twice, and not for ever, where one holds nothing', async () => {
    script.c = [{ stamp: 0, writer: '', holds: false }]
    expect(await settled(changes.add(ABOUT, ['k'], 5_000))).toBe('done')
    expect(asked).toHaveLength(6)
  })

  it('asks whoever it did not know of, when another view says that there is somebody', async () => {
    script.b = [{ viewHash: 2 }, { viewHash: 1 }]
    script.d = [{}]
    expect(await settled(changes.add(ABOUT, ['k'], 5_000))).toBe('done')
    expect([agreed, asked.includes('d k')]).toEqual([['b'], true])
  })

  it('is not confirmed by one whose view stays another: it knows of somebody in whom we do not believe', async () => {
    script.b = [{ viewHash: 2 }]
    script.d = [{}]
    const message = await settled(changes.add(ABOUT, ['k'], 2_000))
    expect(message).toContain("members have not confirmed what exists in cache 'products': b.")
  })

  it('asks again when its link was lost, and does not wait for one that is gone', async () => {
    script.b = [{ end: 'lost' }, { end: 'lost' }, {}]
    expect(await settled(changes.add(ABOUT, ['k'], 5_000))).toBe('done')
    expect(asked.filter(one => one === 'b k')).toHaveLength(3)
    script.b = [{ end: 'lost' }]
    clock.after(500, () => {
      here = ['a', 'c']
    })
    const work = changes.add(ABOUT, ['k'], 5_000)
    here = ['a', 'c']
    expect(await settled(work)).toBe('done')
  })

  it('waits for who was lost of late, unless that one has confirmed, and names it in the end', async () => {
    const owners = (ids: string) => [...ids].map(id => ({ id, status: 'alive' as const }))
    roll.update(owners('abcx'), () => undefined, clock.nowMs)
    roll.update(owners('abc'), () => 'dead', clock.nowMs)
    const message = await settled(changes.add(ABOUT, ['k'], 2_000))
    expect(message).toContain("1 of 4 members have not confirmed what exists in cache 'products': x.")
    expect(await settled(changes.add(ABOUT, ['k'], 10_000))).toBe('done')
  })

  it('is not confirmed by one that is cut off from members we never knew', async () => {
    script.b = [{ cutOff: true }]
    const message = await settled(changes.add(ABOUT, ['k'], 2_000))
    expect(message).toContain("1 of 3 members have not confirmed what exists in cache 'products': b.")
    script.b = [{ cutOff: true }, { cutOff: true }, {}]
    expect(await settled(changes.add(ABOUT, ['k'], 2_000))).toBe('done')
  })

  it('of many keys goes in parts, each as large as a message may be', async () => {
    here = ['a']
    const keys = Array.from({ length: 1_100 }, (_, i) => `k${i}`)
    const long = ['x'.repeat(10_000), 'y'.repeat(10_000)]
    expect(await settled(changes.add(ABOUT, [...keys, ...long], 5_000))).toBe('done')
    expect(asked.map(one => one.split(',').length)).toEqual([512, 512, 77, 1])
  })

  it('that is refused for want of room says so', async () => {
    script.b = [{ end: 'overloaded' }]
    expect(await settled(changes.add(ABOUT, ['k'], 5_000))).toContain('1 of 3 members have not confirmed')
  })
})
