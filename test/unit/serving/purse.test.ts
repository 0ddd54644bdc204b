import { expect, it } from 'vitest'
import type { Gate } from '../../../lib/fill/guard.ts'
import { Purse } from '../../../lib/serving/purse.ts'

function purse() {
  const gate = {
    held: 0,
    wanted: 0,
    queued: 0,
    report: { oks: 0, failures: 0, probe: 'none' },
    reported: () => {},
    definition: { loadConcurrency: 100 }
  }
  return { gate, purse: new Purse(gate as unknown as Gate) }
}

it('tells again what it holds when its words have crossed permits: they were no answer to those', () => {
  const { gate, purse: own } = purse()
  own.begin(7)
  gate.wanted = 90
  own.told()
  expect(own.isUrgent).toBe(false)
  // On their way while it said so: 83 are counted as its own, and it has no use for them any more.
  own.heard(1, 83)
  gate.held = 12
  gate.wanted = 0
  expect(own.isUrgent).toBe(true)
  own.told()
  expect(own.isUrgent).toBe(false)
  own.heard(2, 12)
  expect(own.isUrgent).toBe(false)
})
