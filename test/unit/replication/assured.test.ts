import { describe, expect, it } from 'vitest'
import { Assured } from '../../../lib/replication/assured.ts'

const record = (key: string, backups: number) => ({ namespace: 'n', key, partition: 7, backups })

describe('while a partition warms', () => {
  it('a record counts if its backups reached our rank of before', () => {
    const assured = new Assured()
    assured.won(7, 2)
    expect([0, 1, 2, 3].map(backups => assured.covers(record('a', backups)))).toEqual([false, false, true, true])
  })

  it('nothing counts where we had no rank, or once something was pulled', () => {
    const assured = new Assured()
    assured.won(7, -1)
    expect(assured.covers(record('a', 3))).toBe(false)
    assured.won(7, 0)
    expect(assured.covers(record('a', 0))).toBe(true)
    assured.pulled(7)
    expect(assured.covers(record('a', 3))).toBe(false)
  })

  it('a key counts from when its holders were asked until the partition is won again', () => {
    const assured = new Assured()
    assured.won(7, -1)
    assured.asked('n', 'a')
    expect([assured.covers(record('a', 0)), assured.covers(record('b', 0))]).toEqual([true, false])
    assured.won(7, -1)
    expect(assured.covers(record('a', 0))).toBe(false)
  })

  it('more keys than are remembered are asked for again', () => {
    const assured = new Assured()
    assured.won(7, -1)
    for (let i = 0; i <= 10_000; i++) assured.asked('n', `k${i}`)
    expect([assured.covers(record('k9999', 0)), assured.covers(record('k10000', 0))]).toEqual([true, false])
    assured.forgetAsked()
    expect(assured.covers(record('k9999', 0))).toBe(false)
  })
})
