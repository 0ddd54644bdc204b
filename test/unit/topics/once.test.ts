import { beforeEach, describe, expect, it } from 'vitest'
import { Once, PUBLISHERS_MAX, REMEMBERED } from '../../../lib/topics/once.ts'

let here: Set<string>
let once: Once

beforeEach(() => {
  here = new Set()
  once = new Once(peer => here.has(peer))
})

const first = (number: number, peer = 'a', boot = 1): boolean => once.isFirst(peer, boot, number)

describe('what a publisher has told', () => {
  it('is heard once, in whichever order it comes', () => {
    expect([3, 1, 2, 3, 2, 1, 4, 4].map(number => first(number))).toEqual([
      ...[true, true, true, false, false, false, true, false]
    ])
  })

  it('is of one publisher, and of one process of it', () => {
    expect([first(1, 'a'), first(1, 'b'), first(1, 'a'), first(1, 'a', 2), first(1, 'a', 2)]).toEqual([
      ...[true, true, false, true, false]
    ])
  })

  it('is not heard where it is too late to know', () => {
    expect(first(REMEMBERED + 5)).toBe(true)
    expect([first(5), first(6), first(6)]).toEqual([false, true, false])
  })

  it('is heard after any gap, and what lay before it does not count against it', () => {
    for (let number = 1; number <= REMEMBERED; number++) first(number)
    // The same places in the ring, and beyond it.
    const later = [REMEMBERED + 2, REMEMBERED + 1, 3 * REMEMBERED + 2, 2 * REMEMBERED + 3, 1e9, 1e9 - 1, 2 ** 53 - 1]
    expect(later.map(number => first(number))).toEqual(later.map(() => true))
    expect(later.map(number => first(number))).toEqual(later.map(() => false))
  })

  it('equals a set of all that was ever heard, as far back as is remembered', () => {
    const heard = new Set<number>()
    let [latest, dice] = [0, 12_345]
    for (let i = 0; i < 20_000; i++) {
      dice = (dice * 1_103_515_245 + 12_345) % 2 ** 31
      const number = Math.max(1, i - 600 + (dice % 1_200))
      const isKnown = number > latest - REMEMBERED
      expect(first(number)).toBe(isKnown && !heard.has(number))
      heard.add(number)
      latest = Math.max(latest, number)
    }
  })
})

describe('publishers', () => {
  it('beyond a bound are forgotten, the oldest first, but for those who are here', () => {
    here.add('p0')
    for (let i = 0; i <= PUBLISHERS_MAX; i++) first(1, `p${i}`)
    expect([first(1, 'p0'), first(1, 'p2')]).toEqual([false, false])
    expect(first(1, 'p1')).toBe(true)
  })
})
