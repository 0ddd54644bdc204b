import { performance } from 'node:perf_hooks'
import { clearTimeout, setImmediate, setTimeout } from 'node:timers'
import type { Cancel, Clock } from '../ports/clock.ts'
import { turnTime } from './turn-time.ts'

/**
 * The clock of this process.
 *
 * Timers and clocks are taken when this module is loaded: an application whose tests put fake ones in their place must
 * not freeze its member of the mesh. Timers are unref'd: a cache never keeps a process alive.
 *
 * Not promised: that a timer is prompt. A busy event loop delays it by as much as it is busy.
 */
const monotonicMs = performance.now.bind(performance)
const wallMs = Date.now.bind(Date)
const startTimer = setTimeout
const stopTimer = clearTimeout
const nextTurn = setImmediate
const turnMs = turnTime(monotonicMs, process.nextTick.bind(process))

/** A longer timeout would fire at once (2^31 − 1 is the platform's limit), so long waits are made of several. */
const TIMER_MS_MAX = 2 ** 31 - 1

export function nodeClock(): Clock {
  return { monotonic: () => monotonicMs(), turnMs, wall: () => wallMs(), after, defer: fn => void nextTurn(fn) }
}

function after(ms: number, fn: () => void): Cancel {
  const dueMs = monotonicMs() + ms
  let timer = arm(ms)

  function arm(waitMs: number) {
    return startTimer(onTimer, Math.min(Math.ceil(waitMs), TIMER_MS_MAX)).unref()
  }

  // Timers count in whole milliseconds of the event loop's own clock and may be up to one early by this one. A core
  // that sets a timer for a deadline and finds it not yet reached would spin, so the rest is waited for.
  function onTimer() {
    const leftMs = dueMs - monotonicMs()
    if (leftMs > 0) timer = arm(leftMs)
    else fn()
  }

  return () => stopTimer(timer)
}
