import { describe, expect, test } from 'vitest'
import type { Clock } from '../../lib/ports/clock.ts'
import type { Settle } from './settle.ts'

export interface ClockWorld {
  readonly clock: Clock
  readonly settle: Settle
}

/** What every clock must hold: see lib/ports/clock.ts. */
export function clockSuite(name: string, makeWorld: () => ClockWorld): void {
  describe(`clock: ${name}`, () => {
    test('monotonic starts above 0 and never goes back', async () => {
      const { clock, settle } = makeWorld()
      const seen = [clock.monotonic()]
      expect(seen[0]).toBeGreaterThan(0)
      for (let i = 0; i < 100; i++) {
        let fired = false
        clock.after(i % 3, () => {
          fired = true
        })
        await settle(() => fired, 'a timer')
        seen.push(clock.monotonic())
      }
      expect(seen).toEqual([...seen].sort((a, b) => a - b))
    })

    test('the time of a turn is never ahead, never goes back, and is of this turn', async () => {
      const { clock, settle } = makeWorld()
      let last = 0
      const inOrder = (): boolean => {
        const seenMs = clock.turnMs()
        const isInOrder = seenMs >= last && seenMs <= clock.monotonic()
        last = seenMs
        return isInOrder
      }
      for (let turn = 0; turn < 20; turn++) {
        const beganMs = clock.monotonic()
        expect(clock.turnMs()).toBeGreaterThanOrEqual(beganMs)
        expect(Array.from({ length: 1_000 }, inOrder)).not.toContain(false)
        await turns(clock, settle, 1)
      }
    })

    test('wall is a time of day in milliseconds', () => {
      const { clock } = makeWorld()
      expect(clock.wall()).toBeGreaterThan(Date.UTC(2020))
      expect(clock.wall()).toBeLessThan(Date.UTC(2200))
    })

    test('after runs once, never in the same turn, not before its time', async () => {
      const { clock, settle } = makeWorld()
      for (const ms of [0, 1, 2, 5, 10, 17.5, 30]) {
        const startMs = clock.monotonic()
        const firedMs: number[] = []
        clock.after(ms, () => firedMs.push(clock.monotonic()))
        expect(firedMs).toEqual([])
        await Promise.resolve()
        expect(firedMs).toEqual([])
        await settle(() => firedMs.length > 0, `after ${ms}`)
        await turns(clock, settle, 3)
        expect(firedMs).toHaveLength(1)
        expect(firedMs[0]! - startMs).toBeGreaterThanOrEqual(ms)
      }
    })

    test('timers fire in the order of their time', async () => {
      const { clock, settle } = makeWorld()
      const fired: number[] = []
      for (const ms of [60, 5, 30]) clock.after(ms, () => fired.push(ms))
      await settle(() => fired.length === 3, 'three timers')
      expect(fired).toEqual([5, 30, 60])
    })

    test('a cancelled timer does not fire, and cancelling is idempotent', async () => {
      const { clock, settle } = makeWorld()
      let cancelled = false
      let fired = false
      const cancel = clock.after(5, () => {
        cancelled = true
      })
      cancel()
      cancel()
      const late = clock.after(20, () => {
        fired = true
      })
      await settle(() => fired, 'a later timer')
      late()
      expect(cancelled).toBe(false)
    })

    test('a wait of many days does not fire at once', async () => {
      const { clock, settle } = makeWorld()
      let fired = false
      const cancel = clock.after(2 ** 31 + 1_000, () => {
        fired = true
      })
      await turns(clock, settle, 5)
      cancel()
      expect(fired).toBe(false)
    })

    test('defer runs after the turn and all its promise jobs, in order', async () => {
      const { clock, settle } = makeWorld()
      const order: string[] = []
      clock.defer(() => order.push('first deferred'))
      clock.defer(() => order.push('second deferred'))
      const jobs = async () => {
        for (let i = 0; i < 20; i++) await Promise.resolve()
        order.push('promise jobs')
      }
      void jobs()
      order.push('turn')
      await settle(() => order.length === 4, 'both deferred')
      expect(order).toEqual(['turn', 'promise jobs', 'first deferred', 'second deferred'])
    })
  })
}

async function turns(clock: Clock, settle: Settle, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    let reached = false
    clock.after(1, () => {
      reached = true
    })
    await settle(() => reached, 'a turn')
  }
}
