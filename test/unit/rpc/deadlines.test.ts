import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Deadlines, Wait } from '../../../lib/rpc/deadlines.ts'
import { ManualClock } from './manual-clock.ts'

class Named extends Wait {
  readonly name: string

  constructor(name: string) {
    super()
    this.name = name
  }
}

function setup() {
  const clock = new ManualClock()
  const due: string[] = []
  const deadlines = new Deadlines<Named>(clock, wait => due.push(`${wait.name} at ${clock.nowMs - 1_000}`))
  return { clock, due, deadlines }
}

describe('deadlines', () => {
  it('come in the order in which they were set, with one timer for all that wait equally long', () => {
    const { clock, due, deadlines } = setup()
    for (const name of ['a', 'b', 'c']) {
      deadlines.set(new Named(name), 100)
      clock.pass(10)
    }
    expect(clock.armed).toBe(1)
    clock.pass(1_000)
    expect(due).toEqual(['a at 100', 'b at 110', 'c at 120'])
    expect(clock.armed).toBe(0)
  })

  it('do not come for those who have left, from the head, the middle or the end', () => {
    const { clock, due, deadlines } = setup()
    const waits = ['a', 'b', 'c', 'd', 'e'].map(name => new Named(name))
    for (const wait of waits) deadlines.set(wait, 100)
    for (const i of [0, 2, 4]) deadlines.clear(waits[i] as Named)
    deadlines.clear(waits[0] as Named)
    clock.pass(100)
    expect(due).toEqual(['b at 100', 'd at 100'])
  })

  it('set anew hold from then on', () => {
    const { clock, due, deadlines } = setup()
    const [a, b] = [new Named('a'), new Named('b')]
    deadlines.set(a, 100)
    deadlines.set(b, 100)
    clock.pass(50)
    deadlines.set(a, 100)
    clock.pass(1_000)
    expect(due).toEqual(['b at 100', 'a at 150'])
  })

  it('may be set, and taken back, by the one that is told of one', () => {
    const clock = new ManualClock()
    const due: string[] = []
    const [again, never] = [new Named('again'), new Named('never')]
    const deadlines: Deadlines<Named> = new Deadlines<Named>(clock, wait => {
      due.push(`${wait.name} at ${clock.nowMs - 1_000}`)
      deadlines.clear(never)
      if (due.length === 1) deadlines.set(wait, 100)
    })
    deadlines.set(again, 100)
    deadlines.set(never, 100)
    clock.pass(1_000)
    expect(due).toEqual(['again at 100', 'again at 200'])
    expect(clock.armed).toBe(0)
  })

  it('of many lengths leave few timers behind', () => {
    const { clock, deadlines } = setup()
    for (let ms = 1; ms <= 1_000; ms++) {
      const wait = new Named('')
      deadlines.set(wait, ms)
      deadlines.clear(wait)
    }
    expect(clock.armed).toBeLessThanOrEqual(8)
    clock.pass(1_000)
    expect(clock.armed).toBe(0)
  })

  it('are those of a timer for each, whatever is set, left and waited for', () => {
    const act = fc.record({
      wait: fc.nat({ max: 7 }),
      ms: fc.constantFrom(0, 1, 10, 10, 25, 100),
      what: fc.constantFrom('set', 'set', 'clear', 'pass')
    })
    fc.assert(
      fc.property(fc.array(act, { maxLength: 60 }), acts => {
        const { clock, due, deadlines } = setup()
        const model = new ManualClock()
        const modelDue: string[] = []
        const waits = Array.from({ length: 8 }, (_, i) => new Named(String(i)))
        const disarms: (() => void)[] = []
        for (const { wait, ms, what } of acts) {
          if (what === 'pass') {
            clock.pass(ms)
            model.pass(ms)
            continue
          }
          disarms[wait]?.()
          if (what === 'clear') deadlines.clear(waits[wait] as Named)
          else {
            deadlines.set(waits[wait] as Named, ms)
            disarms[wait] = model.after(ms, () => modelDue.push(`${wait} at ${model.nowMs - 1_000}`))
          }
        }
        clock.pass(1_000)
        model.pass(1_000)
        expect(due.sort()).toEqual(modelDue.sort())
      })
    )
  })
})
