import { describe, expect, it } from 'vitest'
import { Flights } from '../../../lib/fill/flight.ts'

describe('flights', () => {
  it('are joined while they are open and never after a fence', () => {
    const flights = new Flights()
    const first = flights.begin('n', 'k', 1)
    expect(flights.find('n', 'k')).toBe(first)
    expect(flights.find('m', 'k')).toBeUndefined()
    flights.fence('n', 'k')
    expect(first.open).toBe(false)
    expect(flights.find('n', 'k')).toBeUndefined()
  })

  it('that were fenced do not close the one begun after them', () => {
    const flights = new Flights()
    const first = flights.begin('n', 'k', 1)
    flights.fence('n', 'k')
    const second = flights.begin('n', 'k', 1)
    flights.end(first)
    expect(second.open).toBe(true)
    expect(flights.find('n', 'k')).toBe(second)
  })

  it('are known by their latest lease alone', () => {
    const flights = new Flights()
    const flight = flights.begin('n', 'k', 1)
    flights.lease(flight, 10, 'a')
    flights.lease(flight, 11, 'b')
    expect(flights.byLease(10)).toBeUndefined()
    expect(flights.byLease(11)).toBe(flight)
    expect(flights.heldBy('a')).toEqual([])
    expect(flights.heldBy('b')).toEqual([flight])
    expect(flights.size).toBe(1)
  })

  it('are fenced by partition, and end with their worker stopped', () => {
    const flights = new Flights()
    const [here, there] = [flights.begin('n', 'k', 1), flights.begin('n', 'l', 2)]
    flights.movePartitions(partition => partition === 1)
    expect([here.open, there.open]).toEqual([false, true])
    let stopped = 0
    there.stop = () => stopped++
    flights.lease(there, 5, undefined)
    flights.end(there)
    expect([stopped, there.open, flights.size]).toEqual([1, false, 0])
  })
})
