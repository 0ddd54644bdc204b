import { beforeEach, describe, expect, it } from 'vitest'
import { type CacheOptions, cacheDefinition } from '../../../lib/cache-options.ts'
import type { CacheDefinition } from '../../../lib/fill/definition.ts'
import { type Gate, Guard, type Ruling, type Ticket } from '../../../lib/fill/guard.ts'
import { Stats } from '../../../lib/observe/stats.ts'
import { ManualClock } from '../rpc/manual-clock.ts'

const OPEN: Ruling = { limit: 0, once: 0, scarce: false, breaker: 'closed', retryAfterMs: 0 }

let clock: ManualClock
let stats: Stats
let guard: Guard
let definition: CacheDefinition
let said: string[]
let changes: number
/** What the mesh lets this member do when it asks; undefined is silence. */
let onAsk: ((gate: Gate) => void) | undefined

function declare(options: Partial<CacheOptions<never, never>> = {}): void {
  definition = cacheDefinition('c', { ttl: '1h', loadConcurrency: 2, ...options })
}

beforeEach(() => {
  clock = new ManualClock()
  stats = new Stats()
  said = []
  changes = 0
  onAsk = undefined
  declare()
  guard = new Guard({
    clock,
    stats,
    members: () => 1,
    onChange: gate => {
      changes++
      onAsk?.(gate)
    }
  })
})

function enter(name: string, urgency: 'user' | 'refresh' = 'user'): Ticket {
  return guard.enter(definition, urgency, {
    start: () => said.push(name),
    refuse: (why, retryAfterMs) => said.push(`${name} ${why} ${retryAfterMs}`)
  })
}

function rule(ruling: Partial<Ruling>): void {
  guard.gate(definition.namespace)?.rule({ ...OPEN, ...ruling })
}

describe('a gate', () => {
  it('starts within the call what there is a permit for, and the next when one is over', () => {
    onAsk = gate => gate.limit === 0 && gate.rule({ ...OPEN, limit: 2 })
    const first = enter('a')
    enter('b')
    enter('c')
    expect(said).toEqual(['a', 'b'])
    first.done('ok')
    expect(said).toEqual(['a', 'b', 'c'])
    expect(guard.state(definition.namespace)).toEqual({
      running: 2,
      queued: 0,
      permits: 2,
      breaker: 'closed',
      retryAfterMs: 0
    })
  })

  it('lets users go first, in their order, and a promoted refresh behind them', () => {
    enter('r1', 'refresh')
    const second = enter('r2', 'refresh')
    enter('u1')
    enter('u2')
    second.promote()
    for (let limit = 1; limit <= 4; limit++) rule({ limit })
    expect(said).toEqual(['u1', 'u2', 'r2', 'r1'])
  })

  it('forgets who withdraws, and takes no notice of it once it has started', () => {
    const gone = enter('a')
    const stays = enter('b')
    gone.withdraw()
    rule({ limit: 5 })
    expect(said).toEqual(['b'])
    stays.withdraw()
    stays.promote()
    expect(guard.state(definition.namespace).running).toBe(1)
    stays.done('ok')
    stays.done('ok')
    expect(guard.state(definition.namespace).running).toBe(0)
    clock.pass(60_000)
    expect(said).toEqual(['b'])
  })

  it('refuses at loadTimeout, and not before', () => {
    declare({ loadTimeout: '3s' })
    enter('a')
    clock.pass(2_999)
    expect(said).toEqual([])
    clock.pass(1)
    expect(said).toEqual(['a late 1000'])
    rule({ limit: 5 })
    expect(said).toHaveLength(1)
    expect([stats.loadsRefusedTotal, guard.queued, clock.armed]).toEqual([1, 0, 0])
  })

  it('has room for ten times its share; a user takes the place of the newest refresh', () => {
    for (let i = 0; i < 17; i++) enter(`u${i}`)
    enter('r1', 'refresh')
    enter('r2', 'refresh')
    enter('r3', 'refresh')
    expect(guard.queued).toBe(20)
    enter('r4', 'refresh')
    expect(said).toEqual(['r4 full 1000'])
    enter('u17')
    enter('u18')
    expect(said.slice(1)).toEqual(['r3 full 1000', 'r2 full 1000'])
    enter('u19')
    enter('u20')
    expect(said.slice(3)).toEqual(['r1 full 1000', 'u20 full 1000'])
    expect([guard.queued, stats.loadsRefusedTotal]).toEqual([20, 5])
  })

  it('has room for 16 however small its share is', () => {
    declare({ loadConcurrency: 1 })
    for (let i = 0; i < 17; i++) enter(`u${i}`)
    expect(said).toEqual(['u16 full 1000'])
  })

  it('turns all away while the breaker is open, for as long as it was told', () => {
    enter('a')
    rule({ breaker: 'open', retryAfterMs: 800 })
    clock.pass(300)
    enter('b')
    expect(said).toEqual(['a open 800', 'b open 500'])
    expect(guard.breakersOpen).toBe(1)
    clock.pass(500)
    enter('c')
    expect([said.length, guard.queued]).toEqual([2, 1])
    rule({ limit: 1 })
    expect([said.at(-1), guard.breakersOpen]).toEqual(['c', 0])
  })

  it('lets one try while the breaker is half-open, and tells what it came to apart from the rest', () => {
    declare({ breaker: true })
    enter('a')
    rule({ breaker: 'open', retryAfterMs: 100 })
    clock.pass(100)
    const probe = enter('b')
    enter('c')
    rule({ breaker: 'half-open', once: 1, retryAfterMs: 1_000 })
    expect(said).toEqual(['a open 100', 'b', 'c open 1000'])
    const gate = guard.gate(definition.namespace) as Gate
    expect([gate.held, gate.report.probe]).toEqual([1, 'running'])
    probe.done('failed')
    expect(gate.report).toEqual({ oks: 0, failures: 0, probe: 'failed' })
    gate.reported()
    expect(gate.report.probe).toBe('none')
  })

  it('counts what succeeds and fails where there is a breaker, and not what is aborted', () => {
    declare({ breaker: true })
    const tickets = ['a', 'b', 'c'].map(name => enter(name))
    rule({ limit: 3 })
    tickets[0]?.done('ok')
    tickets[1]?.done('failed')
    tickets[2]?.done('aborted')
    expect(guard.gate(definition.namespace)?.report).toEqual({ oks: 1, failures: 1, probe: 'none' })
  })

  it('holds what runs beyond a limit that was lowered, until it is over', () => {
    const tickets = ['a', 'b', 'c'].map(name => enter(name))
    rule({ limit: 3 })
    rule({ limit: 1 })
    const gate = guard.gate(definition.namespace) as Gate
    enter('d')
    expect([gate.held, gate.running, gate.queued]).toEqual([3, 3, 1])
    tickets[0]?.done('ok')
    tickets[1]?.done('ok')
    expect([gate.held, said.includes('d')]).toEqual([1, false])
    tickets[2]?.done('ok')
    expect(said.at(-1)).toBe('d')
  })

  it('gives back at once what lies idle where others have too few, and else what was idle since it was asked', () => {
    const ticket = enter('a')
    rule({ limit: 3 })
    const gate = guard.gate(definition.namespace) as Gate
    gate.giveBack()
    expect(gate.held).toBe(1)
    rule({ limit: 3 })
    expect(gate.held).toBe(3)
    rule({ limit: 3, scarce: true })
    expect(gate.held).toBe(1)
    ticket.done('ok')
    expect(gate.held).toBe(0)
  })

  it('does not keep a permit for once that nobody was there to use', () => {
    enter('a').withdraw()
    rule({ once: 1 })
    enter('b')
    expect([said, guard.gate(definition.namespace)?.held]).toEqual([[], 0])
  })

  it('bears with callers that come back from within', () => {
    const again = (): void => {
      guard.enter(definition, 'user', { start: () => said.push('inner'), refuse: why => said.push(why) })
    }
    guard.enter(definition, 'user', { start: again, refuse: again })
    rule({ limit: 2 })
    expect([said, guard.state(definition.namespace).running]).toEqual([['inner'], 2])
    guard.enter(definition, 'user', { start: again, refuse: again })
    rule({ breaker: 'open', retryAfterMs: 0 })
    expect(said).toEqual(['inner', 'open'])
  })

  it('tells of each change, and when nothing runs any more', async () => {
    const ticket = enter('a')
    expect(changes).toBe(1)
    rule({ limit: 1 })
    let isIdle = false
    void guard.idle(5_000).then(() => {
      isIdle = true
    })
    await Promise.resolve()
    expect(isIdle).toBe(false)
    ticket.done('ok')
    await Promise.resolve()
    expect([isIdle, clock.armed]).toEqual([true, 0])
    enter('b')
    const waited = guard.idle(5_000)
    clock.pass(5_000)
    await waited
  })

  it('knows nothing of a cache that never loaded', () => {
    expect(guard.state('other')).toEqual({ running: 0, queued: 0, permits: 0, breaker: 'closed', retryAfterMs: 0 })
  })
})
