import { beforeEach, describe, expect, it } from 'vitest'
import { encodeKey } from '../../../lib/codec/keys.ts'
import { counterNamespaceOf, namespaceOf } from '../../../lib/fill/definition.ts'
import { Demand } from '../../../lib/near/demand.ts'
import { ManualClock } from '../rpc/manual-clock.ts'

const NAMESPACE = namespaceOf('products', 1)

let clock: ManualClock
let owned: (partition: number) => boolean
let told: object[]
let demand: Demand

beforeEach(() => {
  clock = new ManualClock()
  owned = () => true
  told = []
  demand = new Demand({
    clock,
    owns: partition => owned(partition),
    happenings: { tell: (_, namespace, what) => void told.push({ namespace, ...what }) }
  })
})

const key = (name: string | readonly string[]): string => encodeKey(name, 'products')

function ask(times: number, { namespace = NAMESPACE, name = key('k'), partition = 7, bytes = 1_000 } = {}): boolean {
  let isHot = false
  for (let i = 0; i < times; i++) isHot = demand.asked(partition, namespace, name, bytes)
  return isHot
}

describe('the demand for keys of this member', () => {
  it('is shown to people, by the names that they know, and told once when it is great', () => {
    for (let i = 0; i < 16; i++) {
      ask(100)
      ask(200, { name: key(['a', 'b']), partition: 8 })
      ask(300, { namespace: counterNamespaceOf('hits'), partition: 9 })
      clock.pass(500)
    }
    expect(demand.list().map(({ cache, key }) => [cache, key])).toEqual([
      ['hits', 'k'],
      ['products', ['a', 'b']],
      ['products', 'k']
    ])
    expect(demand.list()[2]?.perSecond).toBeCloseTo(200, -1)
    expect(demand.list()[2]?.bytesPerSecond).toBeCloseTo(200_000, -4)
    expect([demand.hotKeys, told.length]).toEqual([3, 3])
  })

  it('of a key that is another’s now is not shown', () => {
    ask(300)
    ask(300, { name: key('l'), partition: 8 })
    clock.pass(500)
    owned = partition => partition === 8
    expect(demand.list().map(({ key }) => key)).toEqual(['l'])
  })

  it('counts what was read near, and keeps a key hot by that alone', () => {
    expect(ask(100)).toBe(true)
    for (let i = 0; i < 20; i++) {
      clock.pass(500)
      demand.readNear(7, NAMESPACE, key('k'), 1_000, 200)
    }
    expect(ask(1)).toBe(true)
    clock.pass(10_000)
    expect(ask(1)).toBe(false)
  })

  it('does not let a large value be kept', () => {
    expect(ask(200, { bytes: 300 * 1024 })).toBe(false)
    expect(demand.hotKeys).toBe(1)
  })

  it('of what no member would write is counted and has no name', () => {
    for (const name of ['', 'no key']) ask(200, { namespace: 'no namespace', name })
    clock.pass(500)
    expect([demand.hotKeys, demand.list(), told.length]).toEqual([2, [], 2])
  })

  it('looks at no clock once nothing is asked for any more', () => {
    ask(300)
    clock.pass(60_000)
    expect([demand.list(), clock.armed]).toEqual([[], 0])
    ask(300)
    clock.pass(500)
    expect([demand.list().length, clock.armed]).toEqual([1, 1])
    demand.stop()
    expect(clock.armed).toBe(0)
  })
})
