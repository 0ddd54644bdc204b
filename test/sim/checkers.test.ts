/**
 * The checkers of copies, each shown a history that is wrong and one that is right though it looks alike. That they
 * find a bug of the mesh itself is shown in `sim.test.ts` and `copies.test.ts`; here what they are told is made up, so
 * that each condition under which they keep silent has an example.
 */
import { describe, expect, it } from 'vitest'
import type { Entry } from '../../lib/store/entry.ts'
import { ackedWritesSurvive } from './checkers/acked-writes.ts'
import { antiEntropyEnds } from './checkers/anti-entropy.ts'
import type { Calm, Checker, ClientCall, Holdings, OriginCall } from './checkers/checker.ts'
import { deletesStay } from './checkers/deletes.ts'
import { drainLosesNothing } from './checkers/drains.ts'
import { fillCheckers } from './checkers/fills.ts'
import { membersStand } from './checkers/membership.ts'
import { memoryIsBounded } from './checkers/memory.ts'
import { movedKeysAreNotLoaded } from './checkers/moved-keys.ts'
import { replicaCountRestored } from './checkers/replica-count.ts'
import { replicasConverge } from './checkers/replicas-converge.ts'
import { sessionsGoForward } from './checkers/sessions.ts'
import { singleFill } from './checkers/single-fill.ts'
import { Losses } from './losses.ts'

const ROOMY = { pressure: false, longSplits: false, loss: false }

/** A mesh whose calm and losses a test decides; time passes by `at`. */
class Stage {
  readonly losses = new Losses()
  nowMs = 0
  calmSinceMs = 0
  apartMs = 0
  readonly calm: Calm = {
    nowMs: () => this.nowMs,
    sinceMs: () => this.calmSinceMs,
    lastApartMs: () => this.apartMs,
    lastUnrestMs: () => this.calmSinceMs,
    liveCount: () => 3,
    losses: this.losses
  }

  at(ms: number): this {
    this.nowMs = ms
    this.losses.sample(ms, this.calmSinceMs, 3)
    return this
  }

  loseMember(): void {
    this.losses.memberLost(this.nowMs)
    this.calmSinceMs = this.nowMs
  }

  split(larger?: ReadonlySet<number>): void {
    this.losses.keptApart(this.nowMs, larger)
    this.calmSinceMs = Number.POSITIVE_INFINITY
    this.apartMs = Number.POSITIVE_INFINITY
  }

  heal(): void {
    this.losses.broughtTogether(this.nowMs)
    this.calmSinceMs = this.nowMs
    this.apartMs = this.nowMs
  }
}

type Said = Partial<ClientCall> & Pick<ClientCall, 'kind' | 'cache'>

/** A call of member 0 on key k that took 10 ms and has just ended. */
function say(stage: Stage, checker: Checker, said: Said): void {
  const call: ClientCall = {
    key: 'k',
    member: 0,
    beganMs: stage.nowMs - 10,
    endedMs: stage.nowMs,
    acks: 1,
    backups: 1,
    ...said
  }
  checker.began?.(call)
  checker.called?.(call)
}

function readAtEnd(checker: Checker, read: { cache: string; value?: number; version?: string }): void {
  const state = { views: new Map(), suspects: new Map(), live: [], pending: 0 }
  checker.settled?.({ ...state, finalReads: [{ member: 1, key: 'k', ...read }] })
}

describe('acked writes survive', () => {
  const written = (acks: 0 | 1 | 'all' = 1): { stage: Stage; checker: Checker } => {
    const stage = new Stage().at(5_000)
    const checker = ackedWritesSurvive(stage.calm, ROOMY)
    say(stage, checker, { kind: 'set', cache: 'safe', wrote: 1, version: 'b', acks })
    return { stage, checker }
  }

  it('objects to an older version and to a miss, after one loss', () => {
    for (const read of [{ value: 0, version: 'a' }, {}]) {
      const { stage, checker } = written()
      stage.at(5_100).loseMember()
      stage.at(20_000)
      expect(() => readAtEnd(checker, { cache: 'safe', ...read })).toThrow(/^acked writes survive/)
    }
  })

  it('objects to a read in a calm view, long before the end', () => {
    const { stage, checker } = written()
    stage.at(5_100).loseMember()
    stage.at(6_000)
    expect(() => say(stage, checker, { kind: 'get', cache: 'safe' })).toThrow(/^acked writes survive/)
  })

  it('keeps silent where a newer version is read, where two were lost at once, and where nobody waited', () => {
    const newer = written()
    newer.stage.at(20_000)
    readAtEnd(newer.checker, { cache: 'safe', value: 2, version: 'c' })
    const twice = written()
    twice.stage.at(5_100).loseMember()
    twice.stage.at(5_200).loseMember()
    twice.stage.at(20_000)
    readAtEnd(twice.checker, { cache: 'safe' })
  })

  it('expects a second loss to be survived once the first has been mended', () => {
    const { stage, checker } = written()
    stage.at(5_100).loseMember()
    for (let ms = 6_000; ms < 12_000; ms += 100) stage.at(ms)
    stage.loseMember()
    stage.at(20_000)
    expect(() => readAtEnd(checker, { cache: 'safe' })).toThrow(/^acked writes survive/)
  })

  it('counts what a flush has waited for', () => {
    const { stage, checker } = written(0)
    stage.at(5_100)
    say(stage, checker, { kind: 'flush', cache: 'safe' })
    stage.at(5_200).loseMember()
    expect(() => readAtEnd(checker, { cache: 'safe' })).toThrow(/^acked writes survive/)
    const unflushed = written(0)
    unflushed.stage.at(5_200).loseMember()
    readAtEnd(unflushed.checker, { cache: 'safe' })
  })

  it('counts nothing for the flush of a process that has come in place of the one that wrote', () => {
    const { stage, checker } = written(0)
    stage.at(5_100).loseMember()
    checker.died?.(0)
    stage.at(5_200)
    say(stage, checker, { kind: 'flush', cache: 'safe' })
    readAtEnd(checker, { cache: 'safe' })
  })

  it('takes a miss for right where the key was deleted since, and not where it was deleted before', () => {
    const deleted = written()
    deleted.stage.at(6_000)
    say(deleted.stage, deleted.checker, { kind: 'delete', cache: 'safe' })
    readAtEnd(deleted.checker, { cache: 'safe' })
    const stage = new Stage().at(4_000)
    const checker = ackedWritesSurvive(stage.calm, ROOMY)
    say(stage, checker, { kind: 'delete', cache: 'safe' })
    stage.at(5_000)
    say(stage, checker, { kind: 'set', cache: 'safe', wrote: 1, version: 'b' })
    stage.at(20_000)
    expect(() => readAtEnd(checker, { cache: 'safe' })).toThrow(/^acked writes survive/)
  })
})

describe('deletes stay deleted', () => {
  const story = (knobs = ROOMY): { stage: Stage; checker: Checker } => {
    const stage = new Stage().at(5_000)
    const checker = deletesStay(stage.calm, knobs)
    say(stage, checker, { kind: 'set', cache: 'plain', wrote: 1, version: 'a' })
    stage.at(9_000)
    return { stage, checker }
  }

  it('objects to a value of before, also where a split lay between', () => {
    const { stage, checker } = story()
    stage.split()
    stage.at(10_000)
    say(stage, checker, { kind: 'delete', cache: 'plain' })
    stage.at(11_000).heal()
    stage.at(20_000)
    expect(() => readAtEnd(checker, { cache: 'plain', value: 1 })).toThrow(/^deletes stay deleted/)
  })

  it('objects to a read in a calm mesh, and leaves those of near copies to who judges how far these are behind', () => {
    const { stage, checker } = story()
    say(stage, checker, { kind: 'delete', cache: 'plain' })
    stage.at(20_000)
    const read = { kind: 'get', cache: 'plain', value: 1 } as const
    say(stage, checker, { ...read, isNear: true })
    expect(() => say(stage, checker, read)).toThrow(/^deletes stay deleted/)
  })

  it('keeps silent of a value written after, or on its way when the delete was made', () => {
    const { stage, checker } = story()
    say(stage, checker, { kind: 'delete', cache: 'plain' })
    say(stage, checker, { kind: 'set', cache: 'plain', wrote: 2, version: 'c' })
    readAtEnd(checker, { cache: 'plain', value: 2 })
    const soon = new Stage().at(5_000)
    const other = deletesStay(soon.calm, ROOMY)
    say(soon, other, { kind: 'set', cache: 'plain', wrote: 1, version: 'a' })
    soon.at(5_100)
    say(soon, other, { kind: 'delete', cache: 'plain' })
    readAtEnd(other, { cache: 'plain', value: 1 })
  })

  it('judges a split that outlasts the mark by the side on which the key was deleted', () => {
    for (const [member, isKept] of [
      [0, true],
      [2, false]
    ] as const) {
      const { stage, checker } = story({ ...ROOMY, longSplits: true })
      stage.split(new Set([0, 1]))
      stage.at(10_000)
      say(stage, checker, { kind: 'delete', cache: 'plain', member })
      stage.at(25_000).heal()
      stage.at(40_000)
      const judged = (): void => readAtEnd(checker, { cache: 'plain', value: 1 })
      if (isKept) expect(judged).toThrow(/^deletes stay deleted/)
      else judged()
    }
  })

  it('keeps silent where the only one that knew of it was lost in the split', () => {
    const { stage, checker } = story()
    stage.split()
    stage.at(10_000)
    say(stage, checker, { kind: 'delete', cache: 'plain' })
    stage.at(10_500).loseMember()
    stage.at(11_000).heal()
    stage.at(20_000)
    readAtEnd(checker, { cache: 'plain', value: 1 })
  })

  it('judges rows of the origin by when they were asked for', () => {
    const { stage, checker } = story()
    const load = { number: 1, key: 'k', member: 0, askedMs: 0, endedMs: 0, ok: true, aborted: false }
    checker.originEnded?.({ ...load, row: 1, beganMs: 5_000 })
    checker.originEnded?.({ ...load, row: 2, beganMs: 8_990 })
    say(stage, checker, { kind: 'delete', cache: 'loaded', wrote: 3 })
    stage.at(20_000)
    readAtEnd(checker, { cache: 'loaded', value: 2 })
    expect(() => readAtEnd(checker, { cache: 'loaded', value: 1 })).toThrow(/^deletes stay deleted/)
  })
})

describe('what lies in the members', () => {
  const entry = (stamp: number, backups = 1): Entry => ({
    namespace: 'n',
    key: 'k',
    partition: 0,
    version: { stamp, writer: 'a' },
    kind: 'value',
    bytes: new Uint8Array(1),
    expiresAtMs: 1,
    negative: false,
    backups
  })
  const lying = (held: Record<string, Entry>): { holdings: Holdings[] } => ({
    holdings: [{ cache: 'plain', key: 'k', ranked: ['a', 'b', 'c'], held: new Map(Object.entries(held)) }]
  })

  it('converges: one version at all replicas, and nothing elsewhere', () => {
    const judge = (held: Record<string, Entry>) => () => replicasConverge(ROOMY).rested?.(lying(held))
    judge({ a: entry(1), b: entry(1) })()
    expect(judge({ a: entry(1), b: entry(2) })).toThrow(/^replicas converge/)
    expect(judge({ b: entry(1) })).toThrow(/^replicas converge/)
    expect(judge({ a: entry(1), b: { ...entry(1), bytes: new Uint8Array(2) } })).toThrow(/^replicas converge/)
    expect(judge({ a: entry(1), b: entry(1), c: entry(1) })).toThrow(/^only replicas hold/)
  })

  it('has as many copies as it is to have', () => {
    const judge = (held: Record<string, Entry>, knobs = ROOMY) => replicaCountRestored(knobs).rested?.(lying(held))
    judge({ a: entry(1), b: entry(1) })
    judge({ a: entry(1, 3), b: entry(1, 3), c: entry(1, 3) })
    judge({ a: entry(1) }, { ...ROOMY, pressure: true })
    expect(() => judge({ a: entry(1) })).toThrow(/^replica count/)
  })

  it('is within its limit', () => {
    expect(() => memoryIsBounded().overfull?.(0, 2, 1)).toThrow(/^memory bound/)
  })

  it('lies still when it is left alone', () => {
    const one = (id: string, moved: number) => [{ member: 0, id, moved }]
    antiEntropyEnds(ROOMY).leftAlone?.(one('a', 3), one('a', 3), 1_000)
    antiEntropyEnds(ROOMY).leftAlone?.(one('a', 3), one('b', 5), 1_000)
    expect(() => antiEntropyEnds(ROOMY).leftAlone?.(one('a', 3), one('a', 4), 1_000)).toThrow(/^anti-entropy ends/)
    const narrow = antiEntropyEnds({ pressure: true })
    narrow.leftAlone?.(one('a', 3), one('a', 4), 1_000)
    expect(() => narrow.leftAlone?.(one('a', 4), one('a', 5), 1_000)).toThrow(/^anti-entropy ends/)
  })
})

describe('members that come and go', () => {
  it('lose nothing', () => {
    const stage = new Stage().at(5_000)
    const checker = drainLosesNothing(stage.calm, ROOMY)
    say(stage, checker, { kind: 'set', cache: 'copied', wrote: 1, version: 'b', acks: 0 })
    stage.at(6_000)
    say(stage, checker, { kind: 'get', cache: 'copied', value: 1, version: 'b' })
    expect(() => say(stage, checker, { kind: 'get', cache: 'copied' })).toThrow(/^drain loses nothing/)
    expect(() => readAtEnd(checker, { cache: 'copied', value: 0, version: 'a' })).toThrow(/^drain loses nothing/)
    say(stage, checker, { kind: 'delete', cache: 'copied' })
    stage.at(7_000)
    say(stage, checker, { kind: 'get', cache: 'copied' })
  })

  it('ask the origin for nothing that is there', () => {
    const stage = new Stage().at(5_000)
    const checker = movedKeysAreNotLoaded(stage.calm, ROOMY)
    const load = { number: 1, key: 'k', member: 0, endedMs: 0, ok: false, aborted: false }
    const begins = (askedMs: number) => () => checker.originBegan?.({ ...load, askedMs, beganMs: stage.nowMs })
    say(stage, checker, { kind: 'get', cache: 'loaded', value: 1 })
    stage.at(6_000)
    begins(4_000)()
    expect(begins(5_500)).toThrow(/^moved key not loaded/)
    say(stage, checker, { kind: 'delete', cache: 'loaded', wrote: 2 })
    begins(5_500)()
  })

  it('never go back in what they read', () => {
    const stage = new Stage().at(5_000)
    const checker = sessionsGoForward(stage.calm, ROOMY)
    say(stage, checker, { kind: 'set', cache: 'safe', version: 'b' })
    stage.at(6_000)
    say(stage, checker, { kind: 'get', cache: 'safe', version: 'a', member: 1 })
    expect(() => say(stage, checker, { kind: 'get', cache: 'safe', version: 'a' })).toThrow(/^sessions/)
    checker.died?.(0)
    say(stage, checker, { kind: 'get', cache: 'safe', version: 'a' })
  })

  it('but for what a member wrote before it knew of anybody', () => {
    const stage = new Stage().at(5_000)
    const checker = sessionsGoForward(stage.calm, ROOMY)
    say(stage, checker, { kind: 'set', cache: 'safe', version: 'b' })
    stage.at(6_000)
    checker.joins?.('member-1')
    say(stage, checker, { kind: 'set', cache: 'safe', version: 'a', member: 1 })
    stage.at(7_000)
    say(stage, checker, { kind: 'get', cache: 'safe', version: 'a' })
    // Nor does that member go back where others do not have it yet.
    say(stage, checker, { kind: 'set', cache: 'copied', version: 'b', member: 1 })
    stage.at(8_000)
    say(stage, checker, { kind: 'get', cache: 'copied', version: 'a', member: 1 })
  })

  /** Member a leaves at 20,000 and is suspected a moment later. */
  const suspectedAfterLeave = (healedMs: number): void => {
    const stage = new Stage().at(healedMs)
    stage.heal()
    stage.at(20_000)
    const checker = membersStand(stage.calm)
    checker.leaves?.('a', 20_000)
    checker.suspected?.('a', 'b', 20_050)
  }

  it('are not suspected when they go in peace', () => {
    expect(() => suspectedAfterLeave(14_000)).toThrow(/^quiet leave/)
  })

  it('but may be for a silence that began while they were kept apart', () => {
    expect(() => suspectedAfterLeave(19_900)).not.toThrow()
  })
})

describe('calls of the origin', () => {
  const read = { kind: 'get', cache: 'loaded', key: 'k' } as const
  const begun = (beganMs: number): OriginCall => ({
    ...{ number: 1, key: 'k', member: 1, askedMs: beganMs, beganMs },
    ...{ endedMs: Number.POSITIVE_INFINITY, ok: false, aborted: false }
  })

  it('are one for each key, as long as somebody waits for it', () => {
    const stage = new Stage().at(5_000)
    const checker = singleFill(stage.calm)
    for (const member of [1, 2]) checker.began?.({ ...read, member, beganMs: 5_000 })
    checker.originBegan?.(begun(5_001))
    checker.called?.({ ...read, member: 1, beganMs: 5_000, endedMs: 5_100, failed: 'gave up' })
    expect(() => checker.originBegan?.(begun(5_200))).toThrow(/^one origin call/)
  })

  it('but a call that nobody waited for, if only for a moment, is given up, and may not have heard of it yet', () => {
    const stage = new Stage().at(5_000)
    const checker = singleFill(stage.calm)
    checker.began?.({ ...read, member: 1, beganMs: 5_000 })
    checker.originBegan?.(begun(5_001))
    checker.called?.({ ...read, member: 1, beganMs: 5_000, endedMs: 5_100, failed: 'gave up' })
    checker.began?.({ ...read, member: 2, beganMs: 5_101 })
    checker.originBegan?.(begun(5_200))
    expect(() => checker.originBegan?.(begun(5_300))).toThrow(/^one origin call/)
  })

  /** Aborted at 1,400, while member 1 waits from 1,200 to 1,600. */
  const abortedWhileAwaited = (askedMs: number, calmSinceMs: number): void => {
    const stage = new Stage()
    stage.calmSinceMs = calmSinceMs
    const checkers = fillCheckers(['aborts'], stage.calm, ROOMY)
    const call = { kind: 'get', cache: 'loaded', key: 'k', member: 1, beganMs: 1_200 } as const
    for (const checker of checkers) {
      checker.began?.(call)
      stage.at(1_400)
      checker.originAborted?.({ ...begun(askedMs), aborted: true })
      stage.at(1_600)
      checker.called?.({ ...call, endedMs: 1_600 })
    }
  }

  it('may not be aborted while somebody waits who came when they ran', () => {
    expect(() => abortedWhileAwaited(1_150, 1_000)).toThrow(/^not aborted before the last has gone/)
  })

  it('may be aborted where word of them may be older than the view: others wait for another', () => {
    expect(() => abortedWhileAwaited(1_050, 1_000)).not.toThrow()
  })
})
