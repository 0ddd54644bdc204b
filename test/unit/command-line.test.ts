import { afterEach, expect, it, vi } from 'vitest'
import { commandLine, numberOption } from '../command-line.ts'

afterEach(() => {
  vi.restoreAllMocks()
  process.argv.length = 2
})

it('says what it does not know and what it does, and ends with status 2', () => {
  const exit = vi.spyOn(process, 'exit').mockImplementation(status => {
    throw new Error(`status ${status}`)
  })
  const said = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  process.argv.push('--sizess', '3')
  expect(() => commandLine({ sizes: { type: 'string' } }, 'Usage: --sizes COUNT')).toThrow('status 2')
  expect(exit).toHaveBeenCalledOnce()
  expect(said.mock.calls.join('')).toBe("Unknown option '--sizess'\nUsage: --sizes COUNT\n")
})

it('fills in what was not given', () => {
  process.argv.push('--sizes', '3')
  const options = {
    sizes: { type: 'string' },
    hours: { type: 'string' },
    loss: { type: 'string', default: '0' }
  } as const
  expect({ ...commandLine(options, '') }).toEqual({ sizes: '3', loss: '0' })
})

it('takes numbers within their bounds and refuses the rest', () => {
  vi.spyOn(process, 'exit').mockImplementation(status => {
    throw new Error(`status ${status}`)
  })
  const said = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  expect(numberOption('down', '60', { min: 1, max: 60 }, '')).toBe(60)
  for (const wrong of ['', ' ', 'ten', '0', '61', 'Infinity'])
    expect(() => numberOption('down', wrong, { min: 1, max: 60 }, 'Usage: --down'), wrong).toThrow('status 2')
  expect(said.mock.calls.at(-1)).toEqual(["Expected --down from 1 to 60, got 'Infinity'.\nUsage: --down\n"])
})
