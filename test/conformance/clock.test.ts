import { expect, test, vi } from 'vitest'
import { nodeClock } from '../../lib/adapters/node-clock.ts'
import { turn } from '../../lib/adapters/turn.ts'
import { Process, World } from '../../lib/sim/world.ts'
import { clockSuite } from './clock.suite.ts'
import { settleInRealTime } from './settle.ts'
import { settleInVirtualTime } from './sim-world.ts'

clockSuite('node', () => ({ clock: nodeClock(), settle: settleInRealTime }))
clockSuite('simulated', () => {
  const world = new World(turn)
  return { clock: world.clockOf(new Process('one', 0)), settle: settleInVirtualTime(world) }
})

test('fake timers of an application do not freeze the node clock', async () => {
  vi.useFakeTimers()
  const clock = nodeClock()
  const startMs = clock.monotonic()
  try {
    await new Promise<void>(resolve => void clock.after(5, resolve))
    await new Promise<void>(resolve => clock.defer(resolve))
  } finally {
    vi.useRealTimers()
  }
  expect(clock.monotonic() - startMs).toBeGreaterThanOrEqual(5)
})

test('a wait longer than the platform’s timers makes no spinning one of the node clock', async () => {
  const warnings: string[] = []
  const onWarning = (warning: Error) => warnings.push(warning.name)
  process.on('warning', onWarning)
  const cancel = nodeClock().after(2 ** 40, () => {})
  await new Promise<void>(resolve => nodeClock().defer(() => nodeClock().defer(resolve)))
  cancel()
  process.off('warning', onWarning)
  expect(warnings).toEqual([])
})
