import { describe, expect, it } from 'vitest'
import { Budget, type Demand, type Permits } from '../../../lib/serving/budget.ts'

const QUIET: Demand = {
  session: 0,
  serial: 0,
  held: 0,
  wanted: 0,
  oks: 0,
  failures: 0,
  probe: 'none',
  retryAfterMs: 0,
  loadConcurrency: 0,
  breakerFailures: 0,
  breakerOpenMs: 0
}

/** A budget of `self`, and what each of the others was told last. */
class Table {
  nowMs = 50_000
  readonly budget: Budget
  readonly sessions = new Map<string, number>()
  readonly serials = new Map<string, number>()
  #sessions = 0

  constructor(cap: number, others: readonly string[], failures = 0) {
    this.budget = new Budget('self', { cap, failures, openForMs: 1_000 }, this.nowMs, () => ++this.#sessions)
    this.hear('self')
    this.budget.setMembers(new Set(['self', ...others]), this.nowMs)
  }

  /** All that are asked answer. */
  answer(held: Record<string, number> = {}): void {
    for (const { peer, session } of this.budget.unasked) {
      this.sessions.set(peer, session)
      this.serials.set(peer, 0)
      this.hear(peer, { held: held[peer] ?? 0, wanted: held[peer] ?? 0 })
    }
  }

  hear(peer: string, demand: Partial<Demand> = {}): boolean {
    const session = this.sessions.get(peer) ?? 0
    return this.budget.hear(peer, { ...QUIET, session, serial: this.serials.get(peer) ?? 0, ...demand }, this.nowMs)
  }

  /** Settled, and heard by all but those named. */
  settle(...deaf: string[]): Record<string, Permits> {
    const told = this.budget.settle(this.nowMs)
    for (const { peer, permits } of told) if (!deaf.includes(peer)) this.serials.set(peer, permits.serial)
    return Object.fromEntries(told.map(({ peer, permits }) => [peer, permits]))
  }

  limits(...deaf: string[]): Record<string, number> {
    return Object.fromEntries(Object.entries(this.settle(...deaf)).map(([peer, { limit }]) => [peer, limit]))
  }
}

function counted(cap: number, others: readonly string[], failures = 0): Table {
  const t = new Table(cap, others, failures)
  t.answer()
  t.settle()
  return t
}

describe('a census', () => {
  it('comes before anything is granted, and counts what members say', () => {
    const t = new Table(10, ['a', 'b'])
    t.hear('self', { wanted: 10 })
    expect(t.settle()).toEqual({})
    expect(t.budget.unasked.map(({ peer }) => peer)).toEqual(['a', 'b'])
    t.answer({ a: 7 })
    expect(t.limits()).toEqual({ self: 3, a: 5 })
  })

  it('waits a second for the silent, then counts them with their static share, rounded down', () => {
    const t = new Table(11, ['a', 'b', 'c'])
    t.hear('self', { wanted: 11 })
    t.nowMs += 999
    expect(t.settle()).toEqual({})
    t.nowMs += 1
    expect(t.limits()).toEqual({ self: 11 - 3 * 2 })
    const tiny = new Table(1, ['a', 'b'])
    tiny.hear('self', { wanted: 1 })
    tiny.nowMs += 1_000
    expect(tiny.limits()).toEqual({ self: 1 })
  })

  it('is needed of a newcomer before there are grants again; what was granted stays', () => {
    const t = counted(10, ['a'])
    t.hear('a', { wanted: 4 })
    t.settle()
    t.budget.setMembers(new Set(['self', 'a', 'new']), t.nowMs)
    t.hear('self', { wanted: 6 })
    expect(t.settle()).toEqual({})
    t.answer({ new: 2 })
    expect(t.limits()).toEqual({ a: 4, new: 2, self: 4 })
  })

  it('asks who answers another one, once, and asks nobody who need not be', () => {
    const t = counted(10, ['a'])
    expect(t.hear('a', { session: 99, held: 3 })).toBe(false)
    const [asked] = t.budget.unasked
    expect(t.hear('a', { session: 99, held: 3 })).toBe(false)
    expect(t.budget.unasked).toEqual([asked])
    expect(t.hear('stranger', { held: 1 })).toBe(false)
    t.answer({ a: 3 })
    expect(t.budget.unasked).toEqual([])
  })
})

describe('permits', () => {
  it('go to whoever wants them, as many as it wants while there are enough', () => {
    const t = counted(10, ['a', 'b'])
    t.hear('a', { wanted: 3 })
    t.hear('b', { wanted: 5 })
    expect(t.limits()).toEqual({ a: 3, b: 5 })
    t.hear('a', { held: 3, wanted: 5 })
    expect(t.limits()).toEqual({ a: 5 })
  })

  it('are shared out max-min fair where there are too few, and taken back from who has more', () => {
    const t = counted(12, ['a', 'b', 'c'])
    t.hear('a', { wanted: 50 })
    expect(t.limits()).toEqual({ a: 12 })
    t.hear('b', { wanted: 2 })
    t.hear('c', { wanted: 50 })
    // 12 for a, 2 and 12 are 2 for b and 5 each: 7 come back.
    const told = t.settle()
    expect(told.a).toMatchObject({ limit: 5, scarce: true })
    expect([told.b?.limit, told.c?.limit]).toEqual([0, 0])
    t.hear('a', { held: 9, wanted: 12 })
    expect(t.limits()).toEqual({ a: 5, b: 2, c: 1 })
    t.hear('a', { held: 5, wanted: 12 })
    expect(t.limits()).toEqual({ a: 5, c: 5 })
  })

  it('that lie idle are taken back no further than others lack them', () => {
    const t = counted(10, ['a', 'b'])
    t.hear('a', { wanted: 10 })
    t.settle()
    t.hear('a', { held: 10, wanted: 1 })
    t.settle()
    t.hear('b', { wanted: 3 })
    expect(t.limits().a).toBe(7)
  })

  it('under way are counted until it is known that they were heard', () => {
    const t = counted(4, ['a', 'b'])
    t.hear('a', { wanted: 4 })
    t.settle('a')
    // Sent before the permits came: it holds nothing, and may have four in a moment.
    t.hear('a', { held: 0, wanted: 4 })
    t.hear('b', { wanted: 2 })
    expect(t.limits('a').b).toBe(0)
    t.serials.set('a', 2)
    t.hear('a', { held: 2, wanted: 2 })
    expect(t.limits().b).toBe(2)
  })

  it('of a member that is gone come back; those of one that is only unlinked, after a while, down to its share', () => {
    const t = counted(10, ['a', 'b'])
    t.hear('a', { wanted: 10 })
    t.settle()
    t.hear('b', { wanted: 10 })
    t.settle()
    t.budget.lost('a', t.nowMs)
    t.nowMs += 2_999
    expect(t.limits()).toEqual({})
    t.nowMs += 1
    expect(t.limits()).toEqual({ b: 7 })
    t.budget.setMembers(new Set(['self', 'b']), t.nowMs)
    expect(t.limits()).toEqual({ b: 10 })
  })

  it('go round, one call each, where there are fewer than members that want one', () => {
    const t = counted(1, ['a', 'b'])
    for (const peer of ['self', 'a', 'b']) t.hear(peer, { wanted: 5 })
    const order: string[] = []
    for (let i = 0; i < 6; i++) {
      const granted = Object.entries(t.settle()).filter(([, { once }]) => once === 1)
      expect(granted).toHaveLength(1)
      const [[peer]] = granted as [[string, Permits]]
      order.push(peer)
      t.hear(peer, { held: 1, wanted: 5 })
      expect(Object.values(t.settle()).some(({ once }) => once > 0)).toBe(false)
      t.hear(peer, { held: 0, wanted: 4 })
    }
    expect(order).toEqual(['self', 'a', 'b', 'self', 'a', 'b'])
  })

  it('are all there for a member that is alone', () => {
    const t = new Table(10, [])
    t.hear('self', { wanted: 1 })
    expect(t.limits()).toEqual({ self: 10 })
  })

  it('answer each question, also where there is nothing to give', () => {
    const t = counted(2, ['a', 'b'])
    t.hear('a', { wanted: 2 })
    t.settle()
    t.hear('b', { wanted: 1 })
    expect(t.settle().b).toMatchObject({ limit: 0, once: 0 })
    expect(t.settle()).toEqual({})
  })

  it('follow the options that members tell, and not those of one that has none', () => {
    const t = counted(2, ['a'])
    t.budget.setTerms({ cap: 5, failures: 0, openForMs: 0 })
    t.budget.setTerms({ cap: 0, failures: 0, openForMs: 0 })
    t.hear('a', { wanted: 9 })
    expect(t.limits()).toEqual({ a: 5 })
  })

  it('are forgotten only when nobody has or wants any', () => {
    const t = counted(2, ['a'])
    expect(t.budget.isIdle(t.nowMs)).toBe(true)
    t.hear('a', { wanted: 1 })
    expect(t.budget.isIdle(t.nowMs)).toBe(false)
    t.settle()
    t.hear('a', { held: 1, wanted: 0 })
    expect(t.budget.isIdle(t.nowMs)).toBe(false)
    t.hear('a')
    expect(t.budget.isIdle(t.nowMs)).toBe(true)
  })
})

describe('a breaker that opens', () => {
  function broken(): Table {
    const t = counted(10, ['a', 'b', 'c'], 3)
    t.hear('a', { wanted: 5 })
    t.settle()
    t.hear('a', { held: 5, wanted: 5, failures: 3 })
    return t
  }

  it('is told to all, and leaves nobody a permit', () => {
    const t = broken()
    const told = t.settle()
    expect(Object.keys(told).sort()).toEqual(['a', 'b', 'c', 'self'])
    for (const permits of Object.values(told))
      expect(permits).toMatchObject({ limit: 0, once: 0, breaker: 'open', retryAfterMs: 1_000 })
    expect([t.budget.takeOpened(), t.budget.takeOpened()]).toEqual([1, 0])
    t.hear('a')
    expect(t.settle()).toEqual({})
    expect(t.budget.isIdle(t.nowMs)).toBe(false)
  })

  it('is told again to who asks too early, with what is left', () => {
    const t = broken()
    t.settle()
    t.nowMs += 400
    t.hear('b', { wanted: 1 })
    expect(t.settle()).toMatchObject({ b: { breaker: 'open', retryAfterMs: 600 } })
  })

  it('lets one in the whole mesh try, and tells all that it succeeded', () => {
    const t = broken()
    t.settle()
    t.hear('a')
    t.nowMs += 1_000
    t.hear('b', { wanted: 1 })
    t.hear('c', { wanted: 1 })
    expect(t.settle()).toMatchObject({ b: { once: 1, limit: 0, breaker: 'half-open' }, c: { once: 0, limit: 0 } })
    t.hear('b', { held: 1, wanted: 1, probe: 'running' })
    t.hear('c', { wanted: 1 })
    expect(t.settle()).toMatchObject({ c: { once: 0, limit: 0, breaker: 'half-open' } })
    t.hear('b', { probe: 'ok' })
    const told = t.settle()
    expect(Object.keys(told).sort()).toEqual(['a', 'b', 'c', 'self'])
    expect(told.a).toMatchObject({ breaker: 'closed', retryAfterMs: 0 })
    expect(t.budget.takeOpened()).toBe(1)
  })

  it('opens for twice as long where the one that tries fails', () => {
    const t = broken()
    t.settle()
    t.nowMs += 1_000
    t.hear('b', { wanted: 1 })
    t.settle()
    t.hear('b', { probe: 'failed' })
    expect(t.settle().c).toMatchObject({ breaker: 'open', retryAfterMs: 2_000 })
    expect(t.budget.takeOpened()).toBe(2)
  })

  it.each(['aborted', 'none'] as const)('lets the next one try when the first has shown nothing (%s)', probe => {
    const t = broken()
    t.settle()
    t.nowMs += 1_000
    t.hear('b', { wanted: 1 })
    t.settle()
    t.hear('c', { wanted: 1 })
    t.hear('b', { probe })
    expect(t.settle()).toMatchObject({ c: { once: 1 } })
  })

  it('lets the next one try when the first is gone, or its link', () => {
    for (const lose of [
      (t: Table) => t.budget.lost('b', t.nowMs),
      (t: Table) => t.budget.setMembers(new Set(['self', 'a', 'c']), t.nowMs)
    ]) {
      const t = broken()
      t.settle()
      t.nowMs += 1_000
      t.hear('b', { wanted: 1 })
      t.settle()
      lose(t)
      t.hear('c', { wanted: 1 })
      expect(t.settle()).toMatchObject({ c: { once: 1 } })
    }
  })

  it('is taken over with the census from those who were told of it', () => {
    const t = new Table(10, ['a', 'b'], 3)
    for (const { peer, session } of t.budget.unasked) {
      t.sessions.set(peer, session)
      t.hear(peer, { retryAfterMs: 700 })
    }
    expect(t.settle().a).toMatchObject({ breaker: 'open', retryAfterMs: 700 })
  })
})
