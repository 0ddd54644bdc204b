import { describe, expect, it } from 'vitest'
import { turn } from '../../../lib/adapters/turn.ts'
import { Process, World } from '../../../lib/sim/world.ts'

describe('the simulated world', () => {
  it('holds the events of a stopped process and lets a held timer be cancelled after it goes on', async () => {
    const world = new World(turn)
    const process = new Process('one', 0)
    const clock = world.clockOf(process)
    const happened: string[] = []
    const cancel = clock.after(10, () => happened.push('cancelled timer'))
    clock.after(5, () => cancel())
    clock.after(7, () => happened.push('other timer'))
    process.paused = true
    await world.run(50)
    expect(happened).toEqual([])
    world.resume(process)
    await world.run(1)
    expect(happened).toEqual(['other timer'])
  })

  it('loses the events of a dead process', async () => {
    const world = new World(turn)
    const process = new Process('one', 0)
    let ran = false
    world.clockOf(process).after(5, () => {
      ran = true
    })
    process.alive = false
    await world.run(10)
    expect(ran).toBe(false)
  })

  it('says so when a promise does not settle in time', async () => {
    const world = new World(turn)
    await expect(world.until(new Promise(() => {}), 100)).rejects.toThrow('within 100 ms of virtual time')
  })

  it('runs what is due at the same time in the order it was asked for', async () => {
    const world = new World(turn)
    const order: number[] = []
    for (let i = 0; i < 50; i++) world.after(i % 2 === 0 ? 3 : 1, undefined, () => order.push(i))
    await world.run(5)
    const [odd, even] = [order.slice(0, 25), order.slice(25)]
    expect(odd).toEqual([...odd].sort((a, b) => a - b))
    expect(even).toEqual([...even].sort((a, b) => a - b))
    expect(odd.every(i => i % 2 === 1)).toBe(true)
  })
})
