import { beforeEach, describe, expect, it } from 'vitest'
import { Assured } from '../../../lib/replication/assured.ts'
import { Looks } from '../../../lib/replication/looks.ts'
import type { Look, Peeks } from '../../../lib/replication/peeks.ts'
import { ManualClock } from '../rpc/manual-clock.ts'

const NOTHING: Look = { answer: undefined, isFound: false, isHeard: true, apart: undefined }
const BLIND: Look = { ...NOTHING, apart: 'a' }

let clock: ManualClock
let open: ((look: Look) => void)[]
let over: number
let isDoubtful: boolean
let isCutOff: boolean
let isAnybodyThere: boolean
let agreed: string[]
let looks: Looks

beforeEach(() => {
  clock = new ManualClock()
  open = []
  over = 0
  agreed = []
  isDoubtful = false
  isCutOff = false
  isAnybodyThere = true
  const look = (...[, , , , onOver]: Parameters<Peeks['look']>) => isAnybodyThere && open.push(onOver) > 0
  const peeks = { look } as unknown as Peeks
  looks = new Looks({
    clock,
    peeks,
    assured: new Assured(),
    partitionOf: () => 7,
    isWarming: () => true,
    isDoubtful: () => isDoubtful,
    isCutOff: () => isCutOff,
    agreeWith: async peer => void agreed.push(peer)
  })
})

async function end(look: Look): Promise<void> {
  open.shift()?.(look)
  await Promise.resolve()
  clock.pass(10)
}

describe('a look that brings nothing', () => {
  beforeEach(() => {
    expect(looks.look('n', 'k', undefined, () => over++)).toBe(true)
  })

  it('is the answer where all were heard and see what we see', async () => {
    await end(NOTHING)
    expect([over, open.length]).toEqual([1, 0])
  })

  it('is made again where one sees other members, once the views are compared, but for no longer than two seconds', async () => {
    await end(BLIND)
    expect([over, open.length, agreed]).toEqual([0, 1, ['a']])
    for (let i = 0; i < 400; i++) await end(BLIND)
    expect([over, open.length]).toEqual([1, 0])
    expect(agreed.length).toBeLessThanOrEqual(201)
  })

  it('is made again where what we hold may be old and somebody was silent', async () => {
    isDoubtful = true
    await end({ ...NOTHING, isHeard: false })
    expect([over, open.length]).toEqual([0, 1])
  })
})

describe('a look that brings a record, while an owner cannot be asked that may have a newer one', () => {
  const FOUND: Look = { ...NOTHING, isFound: true }
  const CHANGE = { peer: 'writer', boot: 1, number: 1 }

  beforeEach(() => {
    isCutOff = true
  })

  it('is no answer to a change where one who was asked sees others, until the views are compared', async () => {
    isCutOff = false
    looks.look('n', 'k', CHANGE, () => over++)
    await end({ ...FOUND, apart: 'a' })
    expect([over, open.length, agreed]).toEqual([0, 1, ['a']])
    await end(FOUND)
    expect([over, open.length]).toEqual([1, 0])
    looks.look('n', 'k', undefined, () => over++)
    await end({ ...FOUND, apart: 'a' })
    expect([over, open.length, agreed]).toEqual([2, 0, ['a']])
  })

  it('is no answer to a change until that one is asked, but for no longer than half a second', async () => {
    looks.look('n', 'k', CHANGE, () => over++)
    await end(FOUND)
    expect([over, open.length]).toEqual([0, 1])
    isCutOff = false
    // That look began before the link was there.
    await end(FOUND)
    await end(FOUND)
    expect([over, open.length]).toEqual([1, 0])
    isCutOff = true
    looks.look('n', 'other', CHANGE, () => over++)
    for (let i = 0; i < 49; i++) await end(FOUND)
    expect(over).toBe(1)
    for (let i = 0; i < 2; i++) await end(FOUND)
    expect([over, open.length]).toEqual([2, 0])
  })

  it('is an answer to a read', async () => {
    looks.look('n', 'k', undefined, () => over++)
    await end(FOUND)
    expect([over, open.length]).toEqual([1, 0])
  })
})

describe('a look at nobody', () => {
  beforeEach(() => {
    isAnybodyThere = false
  })

  it('is none', () => {
    expect(looks.look('n', 'k', undefined, () => over++)).toBe(false)
  })

  it('waits for an owner that is not linked yet, and then is one', async () => {
    isCutOff = true
    expect(looks.look('n', 'k', undefined, () => over++)).toBe(true)
    clock.pass(100)
    expect([over, open.length]).toEqual([0, 0])
    isCutOff = false
    isAnybodyThere = true
    clock.pass(10)
    expect([over, open.length]).toEqual([0, 1])
    await end(NOTHING)
    expect([over, open.length]).toEqual([1, 0])
  })

  it('waits for no longer than half a second', () => {
    isCutOff = true
    looks.look('n', 'k', undefined, () => over++)
    for (let i = 0; i < 49; i++) clock.pass(10)
    expect(over).toBe(0)
    for (let i = 0; i < 2; i++) clock.pass(10)
    expect(over).toBe(1)
  })
})
