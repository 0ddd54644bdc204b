import { describe, expect, it } from 'vitest'
import { isMeshError } from '../../../lib/base/errors.ts'
import { asSource, expandRange, seeds } from '../../../lib/membership/discovery.ts'

const signal = new AbortController().signal

describe('seeds', () => {
  it('are addresses, and ranges of ports are spelt out', async () => {
    const source = seeds(['a:1', '[::1]:7700-7702'])
    expect(await source.find({ signal })).toEqual(['a:1', '[::1]:7700', '[::1]:7701', '[::1]:7702'])
  })

  it.each(['a', 'a:', ':1', 'a:0', 'a:65536', 'a:9-8', 'a:1-400', 'a:1-', 'a:x', ''])(
    '%s is refused with what to write',
    address => {
      try {
        seeds([address])
        expect.unreachable()
      } catch (error) {
        expect(isMeshError(error, 'ERR_MESH_OPTION')).toBe(true)
        expect((error as Error).message).toContain("Write it like '10.0.0.5:7700'")
      }
    }
  )

  it('of one port are themselves', () => {
    expect(expandRange('host.name:7700')).toEqual(['host.name:7700'])
    expect(expandRange('h:1-256')).toHaveLength(256)
  })
})

describe('a function', () => {
  it('is a source under its own name, and a source is itself', async () => {
    const find = (): string[] => ['a:1']
    expect(asSource(find).name).toBe('find')
    expect(await asSource(find).find({ signal })).toEqual(['a:1'])
    const source = seeds(['a:1'])
    expect(asSource(source)).toBe(source)
  })
})
